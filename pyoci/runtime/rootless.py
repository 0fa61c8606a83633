"""What only the kernel and this host can say of a caller who is not the host's root.  Cold: root loads it never.

user_namespaces(7), cgroups(7), docs/decisions/0019.
"""

import posix
from errno import EACCES, EROFS

from pyoci.compile.rootless import Rootless
from pyoci.errors import SyscallError
from pyoci.kernel.proc import read_file

PLACES = ("/usr/local/bin", "/usr/bin", "/bin")


def gather(facts, config, container_id, environ, is_nested, asked):
    """The Rootless of this caller.  `asked`: --rootless, None for auto; `facts`: those of compile."""
    found = Rootless(posix.geteuid(), posix.getegid(), is_nested, asked is not False)
    linux = config.get("linux") or {}
    found.denies_groups = _denies_groups(linux)
    if found.euid:
        path = environ.get("PATH") or ""
        found.uid_tool, found.gid_tool = _program("newuidmap", path), _program("newgidmap", path)
    if found.tolerant and not facts.manager:
        facts.rootless = found
        directories = facts.cgroups(linux, container_id)
        own = facts.layout.own.get("") if facts.layout.version == 2 else None
        found.refused = {name: number for name, path in directories.items() if (number := _refusal(path, own))}
    return found


def _denies_groups(linux):
    """Whether setgroups(2) is denied in the user namespace that the container is in or joins; that of a new one is known to compile."""
    path = "/proc/self"
    for one in linux.get("namespaces") or ():
        target = one.get("path") or ""
        if one.get("type") == "user" and target.startswith("/proc/") and target.endswith("/ns/user"):
            path = target[: -len("/ns/user")]
    try:
        return read_file(f"{path}/setgroups").strip() == b"deny"
    except SyscallError:
        return False


def _program(name, path):
    for folder in [*path.split(":"), *PLACES]:
        if folder[:1] == "/" and posix.access(f"{folder}/{name}", posix.X_OK):
            return f"{folder}/{name}"
    return ""


def _refusal(directory, own):
    """Why the cgroup can't be made, or init not be moved into it, as an errno; 0 if it can.

    own   on version 2, the caller's own path: whoever moves a process must be allowed to write to the cgroup that both share
    """
    above = directory
    while not _exists(above):
        above = above.rpartition("/")[0] or "/"
    target = f"{above}/cgroup.procs" if above == directory else above
    number = _writable(target)
    if number or own is None:
        return number
    return _writable(f"{_shared(directory, '/sys/fs/cgroup' + own.rstrip('/'))}/cgroup.procs")


def _shared(one, other):
    parts = []
    for left, right in zip(one.split("/"), other.split("/")):
        if left != right:
            break
        parts.append(left)
    return "/".join(parts)


def _exists(path):
    try:
        posix.stat(path)
    except OSError:
        return path == "/"
    return True


def _writable(path):
    if posix.access(path, posix.W_OK, effective_ids=True):
        return 0
    return EROFS if posix.statvfs(path).f_flag & posix.ST_RDONLY else EACCES
