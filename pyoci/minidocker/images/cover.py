"""What a layer covers in the layers below it: a folder's looks, which the topmost layer decides, and what a whiteout hides.

Source: overlayfs.rst ("Merging of directories": names are merged, attributes are the upper's).
"""

import contextlib
import errno
import os
import stat

from pyoci.kernel.tree import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_below
from pyoci.minidocker.images.rootless import is_opaque

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def adopt(top, paths, lowers):
    """Give each folder `path` of the layer at `top` the owner, mode, time and attributes of the one that it covers: an overlay shows the topmost's.

    lowers   the folders of the layers below, the topmost first
    """
    if not lowers:
        return
    root = os.open(top, _FOLDER)
    try:
        for path in paths:
            fd = -1 if path and _is_sealed(top, path.rpartition(b"/")[0]) else covered(lowers, path)
            if fd >= 0:
                try:
                    copy_attributes(fd, root, path)
                finally:
                    os.close(fd)
    finally:
        os.close(root)


def _is_sealed(top, path):
    """Whether the layer itself hides what lies below it in that folder."""
    fd, sealed = _in_layer(top, path)
    if fd >= 0:
        os.close(fd)
    return sealed


def drop_idle_whiteouts(top, whiteouts, lowers):
    """Remove the 0:0 devices (paths in `whiteouts`) that hide nothing: overlayfs would list their names in a folder that no lower layer has."""
    inside = {}
    for path in whiteouts:
        above, _slash, name = path.rpartition(b"/")
        inside.setdefault(above, set()).add(name)
    for above, names in inside.items():
        fd, sealed = _in_layer(top, above)
        if fd < 0:
            continue
        try:
            idle = names if sealed else names - _hidden(lowers, above, names)
            before = os.fstat(fd)
            for name in idle:
                os.unlink(name, dir_fd=fd)
            if idle:
                os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(fd)


def _hidden(lowers, above, names):
    """Those of the names that the layers below show in a folder."""
    found, looked = set(), set(names)
    for lower in lowers:
        fd, sealed = _in_layer(lower, above)
        if fd >= 0:
            for name in list(looked):
                with contextlib.suppress(FileNotFoundError):
                    mode = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    looked.discard(name)
                    if not (stat.S_ISCHR(mode.st_mode) and mode.st_rdev == 0):
                        found.add(name)
            os.close(fd)
        if sealed or not looked:
            break
    return found


def covered(lowers, path):
    """A descriptor of the folder that this path is in the layers below, or -1."""
    for lower in lowers:
        fd, sealed = _in_layer(lower, path)
        if fd >= 0 or sealed:
            return fd
    return -1


def _in_layer(lower, path):
    """(descriptor of the path in one layer or -1, whether that layer hides what lies below it there)."""
    fd = os.open(lower, _FOLDER)
    sealed = is_opaque(fd)
    for part in path.split(b"/") if path else ():
        inner = open_below(fd, part, _FOLDER, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        os.close(fd)
        if inner < 0:
            return -1, sealed or inner != -errno.ENOENT
        fd = inner
        sealed = sealed or is_opaque(fd)
    return fd, sealed


def copy_attributes(source, root, path=b""):
    """Give the folder `path` below `root` what the open folder `source` has, but for what overlayfs itself wrote there."""
    fd = open_below(root, path or b".", _FOLDER, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    if fd < 0:
        return
    try:
        found = os.fstat(source)
        os.fchown(fd, found.st_uid, found.st_gid)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
        for name in os.listxattr(source):
            if not name.startswith(("trusted.overlay.", "user.overlay.")):
                with contextlib.suppress(OSError):
                    os.setxattr(fd, name, os.getxattr(source, name))
        os.utime(fd, ns=(found.st_mtime_ns, found.st_mtime_ns))
    finally:
        os.close(fd)
