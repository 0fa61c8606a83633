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

    record = container.record
    config = container.config()
    try:
        facts = Facts(read_layout(), (6, 0), record["rootfs"])
        seccomp = (config.get("linux") or {}).get("seccomp")
        if seccomp:
            facts.seccomp = load_filter(container.path.rpartition("/")[0], seccomp)
        ops = compile_container(record["id"], record["bundle"], config, facts).create
        return ops[index - (record["last"] + 1 - len(ops))]
    except Exception:  # noqa: BLE001 - whatever is wrong with the stored config, the failure itself must be told
        return Op("undo", "")


def with_line(container, error):
    """The error, knowing on which line of the container's config.json its origin stands."""
    from pyoci.spec.locate import locate

    error.line = locate(container.config_text(), error.origin)
    return error
