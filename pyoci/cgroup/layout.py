"""Where this host keeps its cgroups, and which directories a container gets: facts and paths, no effect.

A `Layout` is read once per create, from /proc/self/cgroup and either the conventional mount points or /proc/self/mountinfo.
Version 1 covers hybrid hosts too: controllers on v1, and a cgroup2 hierarchy (key "") that is joined and limits nothing.
Sources: cgroups(7), proc(5), cgroup-v1 and cgroup-v2 of the kernel's admin guide.
"""

from posix import O_CLOEXEC, O_RDONLY, close, open as sys_open, read, stat

from pyoci.errors import ConfigError, UnsupportedConfig

# Each level is a cgroup in every hierarchy, made and removed one by one: with a thousand the host is busy for minutes.
DEEPEST = 100
MOUNT_POINT = "/sys/fs/cgroup"
SYSTEMD = "name=systemd"
UNIFIED = ""  # the key of the cgroup2 hierarchy, alone on v2, beside the controllers on hybrid hosts
KERNFS_ROOT_INODE = 1


class Layout:
    """version      1 (also hybrid) or 2
    mounts       controller -> (mount point, the directory of the hierarchy that is mounted there)
    own          controller -> this process's path in the hierarchy
    controllers  frozenset of the controllers that can limit something here
    """

    __slots__ = ("version", "mounts", "own", "controllers")

    def __init__(self, version, mounts, own, controllers):
        self.version = version
        self.mounts = mounts
        self.own = own
        self.controllers = controllers


def read_layout():
    """The `Layout` of this host as the calling process sees it. Raises OSError where /proc is missing."""
    hierarchies = parse_own(_read("/proc/self/cgroup"))
    try:
        controllers = _read(f"{MOUNT_POINT}/cgroup.controllers")
    except OSError:
        controllers = None
    if controllers is not None:
        return layout_v2(hierarchies, controllers)
    mounts = conventional_mounts(hierarchies)
    if mounts is None:
        mounts = parse_mounts(_read("/proc/self/mountinfo"), hierarchies)
    return layout_v1(hierarchies, mounts)


def layout_v2(hierarchies, controllers):
    """The `Layout` of a host with cgroup2 at /sys/fs/cgroup; `controllers` is its cgroup.controllers."""
    own = next((path for names, path in hierarchies if names == (UNIFIED,)), "/")
    return Layout(2, {UNIFIED: (MOUNT_POINT, "/")}, {UNIFIED: own}, frozenset(controllers.split()))


def layout_v1(hierarchies, mounts):
    """The `Layout` of a host with v1 controllers; a hierarchy that is not mounted is left out."""
    own = {name: path for names, path in hierarchies for name in names if name in mounts}
    controllers = frozenset(name for name in own if name and "=" not in name)
    return Layout(1, mounts, own, controllers)


def parse_own(text):
    """[(names, path)] of /proc/PID/cgroup; names of a co-mounted pair share one row, cgroup2's is ("",)."""
    rows = []
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        rows.append((tuple(names.split(",")), path))
    return rows


def parse_mounts(text, hierarchies):
    """controller -> (mount point, root) from mountinfo; of several mounts the first below /sys/fs/cgroup counts."""
    known = {name for names, _ in hierarchies for name in names}
    found = {}
    for line in text.splitlines():
        left, dash, right = line.partition(" - cgroup")
        if not dash:
            continue
        root, point = map(_unescape, left.split(" ")[3:5])
        if right.startswith("2 "):
            names = (UNIFIED,)
        else:
            names = [option for option in right.split(" ")[-1].split(",") if option in known]
        for name in names:
            held = found.get(name)
            if held is None or not _is_usual(held[0]) and _is_usual(point):
                found[name] = (point, root)
    return found


def conventional_mounts(hierarchies):
    """As parse_mounts, by a stat of each usual place, much cheaper with many mounts; None where one is not as usual.

    The root of a whole hierarchy has inode 1; a mount of a part of one, or a bare directory, has not.
    """
    mounts = {}
    for names, _ in hierarchies:
        for point in _usual_places(names):
            if _is_hierarchy_root(point):
                for name in names:
                    mounts[name] = (point, "/")
                break
        else:
            if names not in ((UNIFIED,), (SYSTEMD,)):
                return None
    return mounts


def directories(layout, cgroups_path, container_id, is_tolerant=False):
    """The container's cgroups, controller -> absolute directory; on v2 the one key is "".

    An absolute `cgroups_path` starts at the mount point; a relative one, or the id where it is empty, below the runtime's
    own cgroup (v1) or beside it (v2: a cgroup with processes of its own can't have controllers below it). `..` never leads
    out. Raises ConfigError, and UnsupportedConfig without a devices controller unless `is_tolerant`. config-linux.md#cgroups-path
    """
    inner = _inner_path(cgroups_path, container_id)
    if layout.version == 2:
        base = "" if cgroups_path.startswith("/") else clean(layout.own[UNIFIED]).rpartition("/")[0]
        return {UNIFIED: _join(MOUNT_POINT, base + inner)}
    if "devices" not in layout.controllers and not is_tolerant:
        raise UnsupportedConfig("linux.cgroupsPath", "this host has no devices cgroup controller, so devices would be open to all")
    found = {}
    for name in layout.own:
        if "=" in name and name != SYSTEMD:
            continue
        point, root = layout.mounts[name]
        base = "" if cgroups_path.startswith("/") else _below_root(layout.own[name], root)
        found[name] = _join(point, base + inner)
    return found


def own_directory(layout, name):
    """The directory of the caller's own cgroup."""
    point, root = layout.mounts[name]
    return _join(point, _below_root(layout.own[name], root))


def clean(path):
    """`path` as an absolute one without `.`, `..` and doubled slashes, all resolved by their letters; "" for the root."""
    parts = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts) if parts else ""


def _inner_path(cgroups_path, container_id):
    if "\0" in cgroups_path or "\n" in cgroups_path:
        raise ConfigError("linux.cgroupsPath", "a NUL or a newline can't be in a path of a cgroup", "config-linux.md#cgroups-path")
    if cgroups_path.count("/") > DEEPEST:
        raise ConfigError("linux.cgroupsPath", f"it has more than {DEEPEST} slashes", "config-linux.md#cgroups-path")
    return clean(cgroups_path) if cgroups_path else "/" + container_id


def _join(point, inner):
    return point + inner if inner else point


def _below_root(own, root):
    """The caller's own path as it looks below a mount of `root`; outside of it, as a container without its cgroup namespace
    sees the host's path, it is taken from the mount point."""
    if root != "/" and (own == root or own.startswith(root + "/")):
        return clean(own[len(root) :])
    return clean(own)


def _usual_places(names):
    if names == (UNIFIED,):
        return (f"{MOUNT_POINT}/unified",)
    joined = ",".join(names)
    return (f"{MOUNT_POINT}/{joined.removeprefix('name=')}", f"{MOUNT_POINT}/{names[0]}")


def _is_usual(point):
    return point.startswith(MOUNT_POINT)


def _is_hierarchy_root(path):
    try:
        return stat(path).st_ino == KERNFS_ROOT_INODE
    except OSError:
        return False


def _unescape(field):
    """mountinfo writes blank, tab, newline and backslash as three octal digits."""
    if "\\" not in field:
        return field
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _read(path):
    fd = sys_open(path, O_RDONLY | O_CLOEXEC)
    try:
        parts = []
        while part := read(fd, 65536):
            parts.append(part)
    finally:
        close(fd)
    return b"".join(parts).decode("utf-8", "surrogateescape")
