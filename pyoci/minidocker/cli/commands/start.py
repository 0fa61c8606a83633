"""start and attach.  docker-start(1), docker-attach(1)"""

from pyoci.minidocker.cli.commands.each import for_each, foreground_status
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, TEXT, Option
from pyoci.minidocker.errors import BadRequest


def start(call):
    """Start each; with -a stay with the one."""
    values = call.values
    if not (values["attach"] or values["interactive"]):
        return for_each(call.arguments, lambda ref: call.engine.start(ref) and None or ref)
    if len(call.arguments) > 1:
        raise BadRequest("you cannot start and attach multiple containers at once")
    return foreground_status(call.engine.run_attached(call.arguments[0], detach_keys=values["detach-keys"] or "", sig_proxy=_proxy(values)))


def attach(call):
    """Stay with a running container."""
    values = call.values
    stdin = not values["no-stdin"]
    return foreground_status(call.engine.attach(call.arguments[0], stdin=stdin, detach_keys=values["detach-keys"] or "", sig_proxy=_proxy(values)))


def _proxy(values):
    return values["sig-proxy"] is None or values["sig-proxy"]


KEYS = Option("detach-keys", "", TEXT, "key sequence that detaches (default ctrl-p,ctrl-q)")
PROXY = Option("sig-proxy", "", FLAG, "pass received signals to the process (default true)")
COMMANDS = {
    "start": Command(start, "[OPTIONS] CONTAINER [CONTAINER...]", "start stopped containers", "minidocker start -a web", least=1, most=None, options=(
        Option("attach", "a", FLAG, "show its output and pass on signals"),
        Option("interactive", "i", FLAG, "give it our standard input"),
        KEYS, PROXY)),
    "attach": Command(attach, "[OPTIONS] CONTAINER", "join a running container's input and output", "minidocker attach web", least=1, most=1, options=(
        Option("no-stdin", "", FLAG, "don't give it our standard input"), KEYS, PROXY)),
}  # fmt: skip
