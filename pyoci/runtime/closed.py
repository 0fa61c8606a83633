"""Sources of bind mounts that root of the container's user namespace can't reach.  Cold: only the host's root makes such a container.

Podman 5 keeps what it binds (/dev/shm, /etc/hosts) below folders that are closed to all but the host's root.  path_resolution(7)
"""

import posix

from pyoci.compile.namespaces import host_id
from pyoci.runtime.facts import real_path
from pyoci.spec.names import bind_source, parse_mount_options


def closed_sources(config, bundle):
    """The absolute sources, as the compiler names them, above which a directory denies the search to that root.  Access lists are
    not looked at: who is let in by one is taken for shut out, and the runtime opens the source, which does no harm."""
    linux = config["linux"]
    owner = host_id(linux.get("uidMappings") or (), 0), host_id(linux.get("gidMappings") or (), 0)
    found = set()
    for mount in config.get("mounts") or ():
        if mount.get("source") and (mount.get("type") == "bind" or parse_mount_options(mount.get("options") or ()).bind):
            source = bind_source(mount, bundle)
            if not source.startswith("/proc/") and not _is_open(source, *owner):  # what is in /proc is another for each who looks
                found.add(source)
    return frozenset(found)


def _is_open(source, uid, gid):
    """Whether every directory on the way, and on the way to where it leads, may be searched by that user, as far as they are there."""
    try:
        return all(_may_search(path, uid, gid) for path in _above(source)) and all(_may_search(path, uid, gid) for path in _above(real_path(source)))
    except OSError:
        return True


def _above(path):
    """The directories that hold it, from the top."""
    for at, letter in enumerate(path.rstrip("/")):
        if letter == "/" and at:
            yield path[:at]


def _may_search(path, uid, gid):
    found = posix.stat(path)
    bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid == gid else 0o001
    return found.st_mode & bit != 0
