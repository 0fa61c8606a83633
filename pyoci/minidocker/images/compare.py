"""Whether two trees are the same, entry by entry: a layer as it lies here, beside what its blob unpacks to.

Both are read by descriptors that follow no link.  Times of folders don't count, nor SELinux's labels, which the host gives.
Source: image-spec layer.md#file-attributes.
"""

import errno
import os
import stat

from pyoci.kernel.tree import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_below

CHUNK_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


def differences(found, wanted):
    """[(path, what)] of the folder `found`, sorted: (b"etc/passwd", "content"); what: missing, added, or what of it differs.  Raises OSError."""
    roots = os.open(found, _FOLDER), os.open(wanted, _FOLDER)
    told, pending = [], [b""]
    try:
        if what := _attributes(os.fstat(roots[0]), os.fstat(roots[1])):
            told.append((b"", what))
        while pending:
            path = pending.pop()
            for name, what, is_folder in _compare_folder(*(_open(root, path) for root in roots)):
                inner = path + b"/" + name if path else name
                if what:
                    told.append((inner, what))
                if is_folder:
                    pending.append(inner)
    finally:
        for root in roots:
            os.close(root)
    return sorted(told)


def _open(root, path):
    fd = open_below(root, path or b".", _FOLDER, _BENEATH)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), path)
    return fd


def _compare_folder(found, wanted):
    """[(name, what differs or "", whether it is a folder on both sides)].  Closes both."""
    try:
        names, others = ({os.fsencode(name) for name in os.listdir(fd)} for fd in (found, wanted))
        told = [(name, "added", False) for name in names - others] + [(name, "missing", False) for name in others - names]
        for name in names & others:
            mine, theirs = (os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in (found, wanted))
            what = _attributes(mine, theirs) or _content(found, wanted, name, mine, theirs) or _xattrs(found, wanted, name)
            told.append((name, what, stat.S_ISDIR(mine.st_mode) and stat.S_ISDIR(theirs.st_mode)))
        return told
    finally:
        os.close(found)
        os.close(wanted)


def _attributes(mine, theirs):
    if stat.S_IFMT(mine.st_mode) != stat.S_IFMT(theirs.st_mode):
        return "kind"
    if (mine.st_uid, mine.st_gid) != (theirs.st_uid, theirs.st_gid):
        return "owner"
    if mine.st_mode != theirs.st_mode:
        return "mode"
    return "device" if mine.st_rdev != theirs.st_rdev else ""


def _content(found, wanted, name, mine, theirs):
    if stat.S_ISLNK(mine.st_mode):
        return "" if os.readlink(name, dir_fd=found) == os.readlink(name, dir_fd=wanted) else "target"
    if not stat.S_ISREG(mine.st_mode):
        return ""
    if mine.st_size != theirs.st_size or not _same_bytes(found, wanted, name):
        return "content"
    return "time" if mine.st_mtime_ns != theirs.st_mtime_ns else ""


def _same_bytes(found, wanted, name):
    """Of two files of one size.  What is a hole in both is not read: there may be terabytes of it."""
    fds = [os.open(name, _FILE, dir_fd=folder) for folder in (found, wanted)]
    try:
        size, at = os.fstat(fds[0]).st_size, 0
        while (at := min(_next_data(fd, at, size) for fd in fds)) < size:
            mine, theirs = (os.pread(fd, CHUNK_BYTES, at) for fd in fds)
            if mine != theirs or not mine:
                return False
            at += len(mine)
        return True
    finally:
        for fd in fds:
            os.close(fd)


def _next_data(fd, at, size):
    """Where the next bytes are that are no hole's.  lseek(2)"""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else at


def _xattrs(found, wanted, name):
    return "attributes" if _xattrs_of(found, name) != _xattrs_of(wanted, name) else ""


def _xattrs_of(fd, name):
    path = b"/proc/self/fd/%d/%s" % (fd, name)
    return {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False) if key != "security.selinux"}
