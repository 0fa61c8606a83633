"""A stopped container's file system with its bind mounts, as docker cp shows it: in a mount namespace of its own, so that the host sees none of it
and nothing stays, whoever is killed.  Source: open_tree(2), move_mount(2), mount_namespaces(7), unix(7) SCM_RIGHTS.
"""

import errno
import os
import stat

from pyoci.errors import SyscallError
from pyoci.kernel import calls
from pyoci.kernel.tree import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from pyoci.minidocker import bundle_mounts
from pyoci.minidocker.errors import MiniDockerError

CLONE_NEWNS = 0x20000
OPEN_TREE_CLONE, AT_RECURSIVE = 1, 0x8000
MOUNT_ATTR_RDONLY = 1
MS_PRIVATE = 1 << 18
_PATH_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def binds_of(container):
    """The container's bind mounts whose sources are there, the outermost first: Mounts of the Engine API."""
    found = [mount for mount in bundle_mounts.requested(container.host) if mount["Type"] == "bind" and os.path.exists(mount["Source"])]
    return sorted(found, key=lambda mount: mount["Target"].count("/"))


def open_view(rootfs, binds):
    """(descriptor of the root, descriptor of the namespace) where the binds are mounted below the mounted rootfs; both are to be closed.

    A process of ours makes the namespace and is gone by then: what it mounted lasts as long as the descriptors.  Raises MiniDockerError.
    """
    ours, theirs = calls.socketpair()
    pid = os.fork()
    if pid == 0:
        _make(rootfs, binds, theirs)
    os.close(theirs)
    try:
        said, fds = calls.receive(ours)
    finally:
        os.close(ours)
        os.waitpid(pid, 0)
    if len(fds) != 2:
        raise MiniDockerError(said.decode(errors="replace") or "the bind mounts could not be made ready")
    return fds


def _make(rootfs, binds, channel):
    """In the child: never returns."""
    try:
        calls.unshare(CLONE_NEWNS)
        calls.mount_setattr(os.open("/", os.O_PATH | os.O_CLOEXEC), propagation=MS_PRIVATE, recursive=True)
        for mount in binds:
            _bind(os.open(rootfs, _PATH_FOLDER), mount)
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        calls.send(channel, b"made", [os.open(rootfs, _PATH_FOLDER), namespace])
    except (SyscallError, OSError) as error:
        calls.send(channel, f"bind mounts: {error}".encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _bind(root, mount):
    given = mount.get("BindOptions") or {}
    tree = calls.open_tree(mount["Source"], OPEN_TREE_CLONE | (0 if given.get("NonRecursive") else AT_RECURSIVE) | os.O_CLOEXEC)
    if mount.get("ReadOnly"):
        calls.mount_setattr(tree, attributes=MOUNT_ATTR_RDONLY, recursive=not given.get("NonRecursive"))
    target = _mount_point(root, mount["Target"], stat.S_ISDIR(os.fstat(tree).st_mode))
    calls.move_mount(tree, os.readlink(f"/proc/self/fd/{target}"))  # move_mount(2) follows no link at its end; nobody else is in here


def _mount_point(root, target, is_folder):
    """A descriptor of the mount point, made as a start would make it."""
    fd, done = root, ""
    parts = target.strip("/").split("/")
    for at, name in enumerate(parts):
        done = f"{done}/{name}"
        try:
            fd = calls.openat2(root, done.lstrip("/"), os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
            continue
        except SyscallError as error:
            if error.errno != errno.ENOENT:
                raise
        if is_folder or at < len(parts) - 1:
            os.mkdir(name, 0o755, dir_fd=fd)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_WRONLY, 0o755, dir_fd=fd))
        fd = calls.openat2(root, done.lstrip("/"), os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    return fd
