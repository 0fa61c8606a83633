"""root, mounts, maskedPaths, readonlyPaths -> operations.  Pure: paths are cleaned by their letters, never looked up.

The kernel resolves every target below the rootfs when init acts.  config.md#mounts, config-linux.md
"""

from pyoci.cgroup.layout import clean as clean_by_letters
from pyoci.cgroup.layout import own_directory
from pyoci.errors import ConfigError
from pyoci.kernel.calls import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNS
from pyoci.plan.plan import Op
from pyoci.spec.names import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    bind_source,
    parse_mount_options,
)

PROPAGATION = {
    "": MS_SLAVE | MS_REC, "private": MS_PRIVATE | MS_REC, "rprivate": MS_PRIVATE | MS_REC, "slave": MS_SLAVE | MS_REC,
    "rslave": MS_SLAVE | MS_REC, "shared": MS_SHARED | MS_REC, "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE | MS_REC, "runbindable": MS_UNBINDABLE | MS_REC,
}  # fmt: skip
# What lxcfs and the like put over a container's procfs; anything else there could hide what the runtime verifies.
_PROC_FILES = frozenset((
    "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
    "/proc/slabinfo", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
))  # fmt: skip
_CGROUP_TMPFS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def clean(path):
    """`path` as an absolute one in the container, without `.`, `..` and doubled slashes."""
    if "//" not in path and "/." not in path and path[:1] == "/" and path[-1:] != "/":
        return path
    return clean_by_letters(path) or "/"


def rootfs(ops, linux, namespaces, rootfs_path, no_pivot):
    """Propagation of the whole tree, and the rootfs held open, a mount of its own."""
    word = linux.get("rootfsPropagation") or ""
    flags = PROPAGATION[word]
    if not namespaces.has(CLONE_NEWNS):
        ops.append(Op("open_rootfs", "root.path", rootfs_path, 3))
        return
    if no_pivot and flags & MS_PRIVATE:
        raise ConfigError("linux.rootfsPropagation", f"{word!r} needs pivot_root, which --no-pivot forbids")
    origin = "linux.rootfsPropagation" if word else "default"
    # Unbindable from the start would forbid the bind mounts that are to come: it is set on the finished tree.
    ops.append(Op("propagate_root", origin, MS_SLAVE | MS_REC if flags & MS_UNBINDABLE else flags))
    ops.append(Op("open_rootfs", "root.path", rootfs_path, 2 if flags & MS_SHARED else 1))


class Label:
    """linux.mountLabel, for the file systems that are the container's alone: one that others mount too has one label already."""

    __slots__ = ("option", "shared")

    def __init__(self, text, namespaces):
        self.option = f"context={text}"
        self.shared = {"proc", "sysfs", "cgroup", "cgroup2"}
        if not namespaces.new & CLONE_NEWIPC:
            self.shared.add("mqueue")

    def add(self, fstype, data):
        """The options of a new mount with the label, unless they name one."""
        if fstype in self.shared or any(word.startswith("context=") for word in data):
            return data
        return [*data, self.option]


def mounts(ops, config, bundle, cgroups, warnings, label=None, closed=()):
    """mounts[], in order.  `cgroups`: CgroupMounts; `label`: Label; `closed`: {source that init can't reach: slot in which it finds it}.

    Returns the operations that seal what is filled later.
    """
    seals = []
    for index, mount in enumerate(config.get("mounts") or ()):
        _mount(ops, mount, f"mounts[{index}]", bundle, cgroups, seals, warnings, label, closed)
    return seals


def _mount(ops, mount, origin, bundle, cgroups, seals, warnings, label, closed):
    target = clean(mount["destination"])
    options = parse_mount_options(mount.get("options") or ())
    fstype = mount.get("type") or ""
    if target == "/":
        raise ConfigError(f"{origin}.destination", f"{mount['destination']!r} is the rootfs itself", "config.md#mounts")
    is_bind = options.bind or (fstype == "bind" and not options.remount)
    if target == "/dev" and options.attr_set & MOUNT_ATTR_RDONLY and not options.remount:
        # The devices are made in it first.
        options.attr_set &= ~MOUNT_ATTR_RDONLY
        seals.append(Op("seal_mount", origin, target))
    if options.remount:
        ops.append(Op("remount", origin, target, options.attr_set, options.attr_clr, options.rattr_set, options.rattr_clr))
    elif is_bind:
        _bind(ops, mount, origin, target, options, bundle, warnings, closed)
    elif fstype == "cgroup" or fstype == "cgroup2":
        cgroups.show(ops, origin, target, options)
    else:
        if label:
            options.data = label.add(fstype, options.data)
        _new(ops, mount, origin, target, fstype, options, seals)
    for flags in options.propagation:
        ops.append(Op("propagate", origin, target, flags))


def _bind(ops, mount, origin, target, options, bundle, warnings, closed):
    if not mount.get("source"):
        raise ConfigError(f"{origin}.source", "a bind mount needs a source", "config.md#mounts")
    if options.data:
        warnings.append(f"{origin}.options: no meaning for a bind mount, so left out: {','.join(options.data)}")
    source, slot = bind_source(mount, bundle), -1
    if source in closed:
        slot = closed[source]
        ops.append(Op("open_source", origin, source, target, slot))
    ops.append(
        Op("bind", origin, source, target, slot, int(options.recursive), options.attr_set, options.attr_clr, options.rattr_set,
           options.rattr_clr, _procfs_rule(target, origin, True))
    )  # fmt: skip


def _new(ops, mount, origin, target, fstype, options, seals):
    if not fstype:
        raise ConfigError(f"{origin}.type", "a mount that is no bind mount needs a type", "config.md#mounts")
    if fstype != "proc":
        _procfs_rule(target, origin, False)
    attributes = options.attr_set | options.rattr_set
    if fstype == "tmpfs" and attributes & MOUNT_ATTR_RDONLY:
        # Mount points may have to be made in it.
        attributes &= ~MOUNT_ATTR_RDONLY
        seals.append(Op("seal_mount", origin, target))
    if options.tmpcopyup and fstype != "tmpfs":
        raise ConfigError(f"{origin}.options", f"tmpcopyup is for tmpfs, not for {fstype!r}", "config.md#mounts")
    ops.append(
        Op("mount", origin, fstype, mount.get("source") or fstype, target, attributes, options.sb_flags, options.data,
           int(options.tmpcopyup), int(fstype == "tmpfs"))
    )  # fmt: skip


def _procfs_rule(target, origin, is_bind):
    """bind's must_proc: 0 not on a procfs, 1 the source is one, 2 a file of it that may be covered."""
    if target == "/proc":
        if is_bind:
            return 1
        raise ConfigError(f"{origin}.destination", "only a procfs may be mounted on /proc", "config.md#mounts")
    if not target.startswith("/proc/"):
        return 0
    if target in _PROC_FILES:
        return 2
    raise ConfigError(
        f"{origin}.destination",
        f"{target!r} cannot be mounted because it is inside /proc",
        hint="only these may be covered: " + " ".join(sorted(_PROC_FILES)),
    )


class CgroupMounts:
    """How a container is shown its cgroups: by mounting them in its own cgroup namespace, or by binding its own directories."""

    __slots__ = ("layout", "directories", "namespaces", "wait")

    def __init__(self, layout, directories, namespaces, wait):
        self.layout = layout
        self.directories = directories
        self.namespaces = namespaces
        self.wait = wait

    def show(self, ops, origin, target, options):
        """A mount of type cgroup (config-linux.md#cgroup-ownership; cgroup_namespaces(7))."""
        self.wait(ops)
        attributes = options.attr_set | options.rattr_set
        if not self.directories:
            attributes |= MOUNT_ATTR_RDONLY  # what is shown is the caller's own (CVE-2023-25809)
        if self.layout.version == 2:
            directory = self.directories.get("") or own_directory(self.layout, "")
            ops.append(Op("cgroup_view", origin, target, "cgroup", directory, -1, attributes))
            return
        writable = attributes & ~MOUNT_ATTR_RDONLY
        ops.append(
            Op("mount", origin, "tmpfs", "tmpfs", target, writable or _CGROUP_TMPFS, [], ["mode=755"], 0, 0)
        )
        links = []
        for names, point in _hierarchies(self.layout):
            self._one(ops, origin, target, names, point, attributes, options)
            folder = point.rpartition("/")[2]
            links += [(name, folder) for name in names if name != folder and "=" not in name]
        for name, folder in links:
            ops.append(Op("make_link", origin, f"{target}/{name}", folder, 0))
        if attributes & MOUNT_ATTR_RDONLY:
            ops.append(Op("remount", origin, target, MOUNT_ATTR_RDONLY, 0, 0, 0))

    def _one(self, ops, origin, target, names, point, attributes, options):
        inside = f"{target}/{point.rpartition('/')[2]}"
        if self.namespaces.has(CLONE_NEWCGROUP):
            data = ["none", names[0], "xattr"] if "=" in names[0] else list(names)
            ops.append(Op("mount", origin, "cgroup", "cgroup", inside, attributes, [], data, 0, 0))
        else:
            source = self.directories.get(names[0]) or own_directory(self.layout, names[0])
            ops.append(Op("bind", origin, source, inside, -1, 1, attributes, options.attr_clr, 0, 0, 0))


def _hierarchies(layout):
    """[(names mounted together, mount point)] of v1, in the order of the layout."""
    points = {}
    for name in layout.own:
        if name and name in layout.mounts and ("=" not in name or name == "name=systemd"):
            points.setdefault(layout.mounts[name][0], []).append(name)
    return [(names, point) for point, names in points.items()]


NOTIFY = "/run/notify"


def notify(ops, directory):
    """Where the process finds the socket that `start` makes, sd_notify(3)."""
    attributes = MOUNT_ATTR_RDONLY | _CGROUP_TMPFS
    ops.append(Op("bind", "default", directory, NOTIFY, -1, 0, attributes, 0, 0, 0, 0))


def hidden(ops, linux):
    """readonlyPaths, then maskedPaths; what is listed twice is done once."""
    for key, name in (("readonlyPaths", "protect"), ("maskedPaths", "hide")):
        seen = set()
        for index, path in enumerate(linux.get(key) or ()):
            path = clean(path)
            if path not in seen:
                seen.add(path)
                ops.append(Op(name, f"linux.{key}[{index}]", path))


def enter(ops, config, linux, namespaces, no_pivot, seals):
    """Make the rootfs the root, and give it its last properties."""
    if not namespaces.has(CLONE_NEWNS):
        ops.append(Op("change_root", "root.path"))
        return
    ops.append(Op("move_root" if no_pivot else "pivot", "root.path"))
    flags = PROPAGATION[linux.get("rootfsPropagation") or ""]
    if flags & (MS_SHARED | MS_UNBINDABLE):
        # Only the root's own: a mount may have asked for another one (docker sets rshared here when one volume is shared).
        ops.append(Op("propagate", "linux.rootfsPropagation", "/", flags & ~MS_REC))
    ops.extend(seals)
    if config["root"].get("readonly"):
        ops.append(Op("seal_root", "root.readonly"))
