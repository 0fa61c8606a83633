"""The plan of a restore, out of the plan that create would have.  Pure.  Cold: only restore loads it, and checkpoint for external().

HOST alone acts: what INIT would do inside is in criu's images.  The runtime's hooks run once the namespaces are made, the limits
hold before anything runs (design: restore is a plan with criu as one operation, its notifications named steps).
"""

from pyoci.cgroup.limits import BEFORE, writes
from pyoci.cgroup.systemd import properties, rounded
from pyoci.compile.container import SLOT_FREE
from pyoci.plan.plan import Op
from pyoci.spec.names import MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

_KEPT = ("claim", "make_cgroup", "start_scope", "delegate_cgroup")
# Mounts whose content criu restores, or which have nothing of ours in them: nothing has to be made there.
_FIRST_OF_A_KIND = {"mount", "cgroup_view"}


class Images:
    """What is restored, and how.

    path, work   directories of the images and of criu's log (or "")
    switches     names of criu's options that are on
    values       {name: value} of its others
    inherit      {key: number of a standard stream}
    """

    __slots__ = ("path", "work", "switches", "values", "inherit")

    def __init__(self, path, work="", switches=(), values=None, inherit=None):
        self.path = path
        self.work = work
        self.switches = list(switches)
        self.values = values or {}
        self.inherit = inherit or {}


def restore_plan(plan, config, facts, images, mounts, points):
    """Turn create's plan into that of a restore.

    mounts  [(key in the images, source on the host, attributes set, cleared)] of what criu takes from outside
    points  words for make_mount_points
    """
    linux = config.get("linux") or {}
    created = plan.create
    before, after = _limits(linux, facts)
    ops = [op for op in created if op.name in _KEPT]
    if facts.manager:
        ops, after = _by_systemd(ops, after, linux.get("resources") or {}, facts.layout.version)
    ops += before
    if points:
        ops.append(Op("make_mount_points", "mounts", facts.rootfs, points))
    ops.append(
        Op("restore_namespaces", "default", images.path, images.work, facts.rootfs, images.switches,
           [f"{name}\t{value}" for name, value in images.values.items()], [str(word) for mount in mounts for word in mount],
           [f"{key}\t{number}" for key, number in images.inherit.items()], _joined(linux))
    )  # fmt: skip
    if any(one["type"] == "network" and not one.get("path") for one in linux.get("namespaces") or ()):
        ops.append(Op("raise_loopback", "default"))
    ops += [op for op in created if op.name == "hook"]
    slot = SLOT_FREE if (config.get("process") or {}).get("terminal") else -1
    ops.append(Op("restore_processes", "default", slot))
    ops += after
    if slot >= 0:
        ops.append(Op("send_console", "process.terminal", facts.console_socket, slot))
    ops += [Op("resume_processes", "default"), Op("record", "default")]
    if facts.pid_file:
        ops.append(Op("write_pid", "default", facts.pid_file))
    plan.create = ops
    return plan


def _by_systemd(ops, after, resources, version):
    """A scope is made around a process, and its limits, too, come once the processes stand."""
    limits = properties(rounded(resources), version)
    found = []
    for op in ops:
        if op.name == "start_scope":
            *where, told = op.args
            late = [line for line in told if line in limits]
            found += [Op("spawn_stand_in", op.origin), Op("start_scope", op.origin, *where, [line for line in told if line not in late])]
            after = [Op("change_scope", "linux.resources", where[0], where[1], late), *after] if late else after
        else:
            op.overlapped = False  # there is nobody to overlap with
            found.append(op)
    return found, after


def _limits(linux, facts):
    """(before criu joins, once the processes stand): criu needs memory, and processes, that are not the container's."""
    resources = linux.get("resources") or {}
    found = writes(rounded(resources) if facts.manager else resources, facts.layout)
    ops = [Op("limit", one.origin, one.controller, one.file, list(one.values), int(one.optional)) for one in found]
    return ([op for op, one in zip(ops, found) if one.phase == BEFORE], [op for op, one in zip(ops, found) if one.phase != BEFORE])


def _joined(linux):
    return [f"{one['type']}\t{one['path']}" for one in linux.get("namespaces") or () if one.get("path")]


class Bind:
    """A mount whose content is outside of the container: target inside, source on the host, the bits that it gets (those of all
    that a recursive one brings along are `below`)."""

    __slots__ = ("target", "source", "recursive", "attributes", "cleared", "attributes_below", "cleared_below")

    def __init__(self, target, source, recursive=False, attributes=0, cleared=0, attributes_below=0, cleared_below=0):
        self.target = target
        self.source = source
        self.recursive = recursive
        self.attributes = attributes | attributes_below
        self.cleared = cleared | cleared_below
        self.attributes_below = attributes_below
        self.cleared_below = cleared_below


def external(plan):
    """The Binds of create's plan."""
    found = []
    for op in plan.create:
        if op.name == "bind":
            source, target, _, recursive, *attributes, _ = op.args
            found.append(Bind(target, source, bool(recursive), *attributes))
        elif op.name == "bind_device":
            found.append(Bind(op.args[0], op.args[4]))
    return found


# As init covers a file: nobody inside changes the mode of the host's device.
NULL = Bind("/dev/null", "/dev/null", False, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)


def hidden(plan):
    """The paths that are hidden: a file among them is covered by the host's null device."""
    return [op.args[0] for op in plan.create if op.name == "hide"]


def mount_points(plan, is_directory):
    """The words for make_mount_points.  `is_directory`: callable(path on the host) -> bool.

    Below a bind the point is made in its source; below any other mount there is nothing to make it in, or criu brings it.
    """
    places = [("", "")]  # (target, source or None): what covers what, the last that fits counts
    words = []
    for op in plan.create:
        if op.name == "bind":
            source, target = op.args[0], op.args[1]
        elif op.name in _FIRST_OF_A_KIND:
            source, target = None, op.args[2] if op.name == "mount" else op.args[0]
        else:
            continue
        over, base = next(place for place in reversed(places) if target.startswith(place[0] + "/"))
        if base is not None and target != over:
            kind = "d" if source is None or is_directory(source) else "f"
            words += [kind, base, target[len(over) :]]
        places.append((target, source))
    return words
