"""stop, restart, kill, rm, pause, unpause, wait, rename: what changes a container's life.  docker-stop(1) and its sisters"""

from pyoci.minidocker.cli.commands.each import for_each
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, NUMBER, TEXT, Option
from pyoci.minidocker.cli.visible import visible

SEVERAL = "[OPTIONS] CONTAINER [CONTAINER...]"
STOP_OPTIONS = (
    Option("time", "t", NUMBER, "seconds to wait before it is killed (default 10; -1 waits for ever)"),
    Option("timeout", "", NUMBER, "the same as --time"),
    Option("signal", "s", TEXT, "signal to send first"),
)


def _timeout(values):
    return values["time"] if values["time"] is not None else values["timeout"]


def stop(call):
    """Ask each to end, then make it."""
    return for_each(call.arguments, lambda ref: call.engine.stop(ref, _timeout(call.values), call.values["signal"]))


def restart(call):
    """Stop and start each."""
    return for_each(call.arguments, lambda ref: call.engine.restart(ref, _timeout(call.values), call.values["signal"]))


def kill(call):
    """Send a signal to each."""
    return for_each(call.arguments, lambda ref: call.engine.kill(ref, call.values["signal"] or "KILL"))


def pause(call):
    """Freeze each."""
    return for_each(call.arguments, lambda ref: call.engine.pause(ref))


def unpause(call):
    """Thaw each."""
    return for_each(call.arguments, lambda ref: call.engine.unpause(ref))


def remove(call):
    """Remove each."""
    if call.values["plan"]:
        return for_each(call.arguments, lambda ref: call.engine.plan_remove(ref, force=bool(call.values["force"])), lambda text: print(visible(text, "\n"), end=""))
    force, volumes = bool(call.values["force"]), bool(call.values["volumes"])
    return for_each(call.arguments, lambda ref: call.engine.remove(ref, force=force, volumes=volumes), may_lack=force)


def wait(call):
    """Print the exit status of each, once it has one."""
    return for_each(call.arguments, lambda ref: call.engine.wait(ref))


def rename(call):
    """Give a container another name."""
    call.engine.rename(*call.arguments)


COMMANDS = {
    "stop": Command(stop, SEVERAL, "stop running containers", "minidocker stop -t 3 web", options=STOP_OPTIONS, least=1, most=None, frees=True),
    "restart": Command(restart, SEVERAL, "stop containers and start them again", "minidocker restart web", options=STOP_OPTIONS, least=1, most=None),
    "kill": Command(kill, SEVERAL, "send a signal to running containers", "minidocker kill -s HUP web",
                    options=(Option("signal", "s", TEXT, "signal to send (default KILL)"),), least=1, most=None, frees=True),
    "pause": Command(pause, "CONTAINER [CONTAINER...]", "freeze all processes of containers", "minidocker pause web", least=1, most=None),
    "unpause": Command(unpause, "CONTAINER [CONTAINER...]", "let frozen containers go on", "minidocker unpause web", least=1, most=None),
    "rm": Command(remove, SEVERAL, "remove containers", "minidocker rm -f web", least=1, most=None, frees=True, options=(
        Option("force", "f", FLAG, "kill it first if it runs"),
        Option("volumes", "v", FLAG, "remove its anonymous volumes too"),
        Option("plan", "", FLAG, "show what would be done, and do nothing"),
    )),
    "wait": Command(wait, "CONTAINER [CONTAINER...]", "wait until containers stop, and print their exit statuses", "minidocker wait web", least=1, most=None),
    "rename": Command(rename, "CONTAINER NEW_NAME", "rename a container", "minidocker rename web old-web", least=2, most=2),
}  # fmt: skip
