"""update: other limits for containers.  docker-update(1)"""

from pyoci.minidocker.cli import flags
from pyoci.minidocker.cli.commands.each import for_each
from pyoci.minidocker.cli.main import Command, warn
from pyoci.minidocker.errors import BadRequest

NAMES = (
    "memory", "memory-swap", "memory-reservation", "cpus", "cpuset-cpus", "cpuset-mems", "cpu-shares", "cpu-period", "cpu-quota",
    "cpu-rt-period", "cpu-rt-runtime", "pids-limit", "blkio-weight", "restart",
)  # fmt: skip


def update(call):
    """Change each."""
    if not call.values:
        raise BadRequest("you must provide one or more flags when using this command")
    changes = flags.host_config(call.values)

    def one(ref):
        for text in call.engine.update(ref, changes) or ():
            warn(text)

    return for_each(call.arguments, one)


COMMANDS = {
    "update": Command(update, "[OPTIONS] CONTAINER [CONTAINER...]", "change the limits of containers", "minidocker update -m 256m --cpus 0.5 web", least=1, most=None,
                      options=tuple(option for option in flags.OPTIONS if option.name in NAMES)),
}  # fmt: skip
