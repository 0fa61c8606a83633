"""exec: a further process in a running container.  docker-exec(1)"""

import os

from pyoci.minidocker.cli import values as words
from pyoci.minidocker.cli.commands.each import check_terminal, foreground_status
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, TEXT, Option


def execute(call):
    """Run it; its exit status is ours."""
    values = call.values
    body = {
        "Cmd": call.arguments[1:],
        "Env": words.environment(values["env"], values["env-file"], os.environ),
        "User": values["user"] or "",
        "WorkingDir": values["workdir"] or "",
        "Tty": bool(values["tty"]),
        "Privileged": bool(values["privileged"]),
        "AttachStdin": bool(values["interactive"]) and not values["detach"],
        "AttachStdout": not values["detach"],
        "AttachStderr": not values["detach"],
        "DetachKeys": values["detach-keys"] or "",
    }
    check_terminal(body)
    return foreground_status(call.engine.exec(call.arguments[0], body, detach=bool(values["detach"])))


COMMANDS = {
    "exec": Command(
        execute, "[OPTIONS] CONTAINER COMMAND [ARG...]", "run a command in a running container", "minidocker exec -it web sh",
        least=2, most=None, interspersed=False, options=(
            Option("interactive", "i", FLAG, "keep standard input open"),
            Option("tty", "t", FLAG, "give it a terminal"),
            Option("detach", "d", FLAG, "run it in the background"),
            Option("env", "e", LIST, "set a variable, NAME=VALUE"),
            Option("env-file", "", LIST, "read variables from a file"),
            Option("user", "u", TEXT, "user or uid[:group or gid]"),
            Option("workdir", "w", TEXT, "working directory in the container"),
            Option("privileged", "", FLAG, "give it every capability"),
            Option("detach-keys", "", TEXT, "key sequence that detaches (default ctrl-p,ctrl-q)"),
        )),
}  # fmt: skip
