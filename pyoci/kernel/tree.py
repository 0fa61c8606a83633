"""Calls below a directory descriptor that must not leave it, and overlay mounts by the mount API.  Cold: MiniDocker's.

Each raises SyscallError.  Paths are str or bytes.  Sources: open(2) (O_PATH), openat2(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), mount(2).
"""

import contextlib
import errno
import os
import stat

from pyoci.errors import SyscallError
from pyoci.kernel.calls import RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT  # noqa: F401 - for who calls these
from pyoci.native._sys import ffi, lib


def _checked(value, call, on=""):
    if value < 0:
        raise SyscallError(call, -value, os.fsdecode(on))
    return value


def open_below(folder_fd, path, flags, resolve):
    """A descriptor of a path below a folder, or -errno: who unpacks meets ENOENT too often for exceptions.  openat2(2)"""
    return lib.sys_openat2(folder_fd, path, flags, 0, resolve)


def open_regular(folder_fd, path, resolve, *, follow=False):
    """A descriptor to read a regular file below a folder, or -errno; -ENXIO for whatever else is there, which is not opened: to open a device or a FIFO is to use it.

    follow   whether the last part may be a link, which then leads as `resolve` lets it; -ENXIO otherwise
    """
    place = open_below(folder_fd, os.fsencode(path), os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), resolve)
    if place < 0:
        return place
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            return -errno.ENXIO
        # This very file, whatever bears its name by now.  There are files of procfs that wait for more, such as kmsg.
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return -error.errno
    finally:
        os.close(place)


# How many folders in each other remove_tree holds open, and how often it calls itself.
DEEPEST = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path, *, dir_fd=None, told=None):
    """Remove a folder and all in it, following no link; what is gone already is fine.  A tree may be deeper than descriptors or a stack allow, where shutil's gives up.

    told(facts)  gets the os.stat_result of each file before it goes.  Raises OSError.
    """
    try:
        top = os.open(path, _FOLDER, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        while _empty(top, top, 0, told):
            pass  # what lay too deep was moved up here
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path, dir_fd=dir_fd)


def _empty(fd, top, depth, told):
    """Remove what is in an open folder.  Returns whether something was moved to the top instead."""
    moved = False
    with os.scandir(fd) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in names:
        with contextlib.suppress(FileNotFoundError):
            if not is_folder:
                if told:
                    told(os.stat(name, dir_fd=fd, follow_symlinks=False))
                os.unlink(name, dir_fd=fd)
            elif depth == DEEPEST:
                os.rename(name, f".{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=top)
                moved = True
            else:
                inner = os.open(name, _FOLDER, dir_fd=fd)
                try:
                    moved = _empty(inner, top, depth + 1, told) or moved
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=fd)
    return moved


def fsopen(kind):
    """A context for a new file system of that kind.  fsopen(2)"""
    return _checked(lib.sys_fsopen(os.fsencode(kind)), "fsopen", kind)


def fsconfig(context_fd, key, value):
    """Set a string.  fsconfig(2), FSCONFIG_SET_STRING"""
    _checked(lib.sys_fsconfig(context_fd, 1, os.fsencode(key), os.fsencode(value)), "fsconfig", f"{os.fsdecode(key)}={os.fsdecode(value)}")


def fsconfig_flag(context_fd, key):
    """Set a flag.  fsconfig(2), FSCONFIG_SET_FLAG"""
    _checked(lib.sys_fsconfig(context_fd, 0, os.fsencode(key), ffi.NULL), "fsconfig", key)


def fsmount(context_fd, attributes=0):
    """Make the file system and its mount, attached nowhere.  Returns the mount's descriptor.  FSCONFIG_CMD_CREATE, fsmount(2)"""
    _checked(lib.sys_fsconfig(context_fd, 6, ffi.NULL, ffi.NULL), "fsconfig", "create")
    return _checked(lib.sys_fsmount(context_fd, attributes), "fsmount")


def said(context_fd):
    """What the file system says about a failure, one line, or "".  fsopen(2): reading the context gives its messages."""
    lines = []
    try:
        while line := os.read(context_fd, 4096):
            lines.append(line.decode("utf-8", "replace").strip()[2:])
    except OSError:  # ENODATA: that was all
        pass
    return "; ".join(lines)


def attach(mount_fd, target):
    """Attach a detached mount at a path.  move_mount(2)"""
    _checked(lib.sys_move_mount(mount_fd, os.fsencode(target)), "move_mount", target)


def mount(source, target, kind, flags=0, options=""):
    """The classic call, whose options fit one page.  mount(2)"""
    _checked(lib.sys_mount(os.fsencode(source), os.fsencode(target), os.fsencode(kind), flags, os.fsencode(options)), "mount", target)
