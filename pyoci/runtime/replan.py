"""The plan of an existing container, made again from its stored config: to name an operation that failed.  Cold."""

from pyoci.cgroup.layout import read_layout
from pyoci.compile.container import Facts, compile_container
from pyoci.plan.plan import Op


def operation(container, index):
    """The plan's operation at that index; a stand-in where the plan can't be made again.

    What create knew of its call (sockets, pid file) only adds operations that are HOST's, before the gate: the index is
    counted from the end, and the operations after the gate depend on the config alone.
    """
    from pyoci.runtime.facts import load_filter

    seccomp = (container.config().get("linux") or {}).get("seccomp")
    try:
        ops = remade(container, load_filter(container.path.rpartition("/")[0], seccomp) if seccomp else None).create
        return ops[index - (container.record["last"] + 1 - len(ops))]
    except Exception:  # noqa: BLE001 - whatever is wrong with the stored config, the failure itself must be told
        return Op("undo", "")


def remade(container, seccomp=None):
    """The Plan from the stored config; without `seccomp` it has no operation for the filter.  Raises ConfigError."""
    record = container.record
    facts = Facts(read_layout(), (6, 0), record["rootfs"])
    facts.seccomp = seccomp
    return compile_container(record["id"], record["bundle"], container.config(), facts)


def with_line(container, error):
    """The error, knowing on which line of the container's config.json its origin stands."""
    from pyoci.spec.locate import locate

    error.line = locate(container.config_text(), error.origin)
    return error
