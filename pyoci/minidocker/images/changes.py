"""What a container changed of its image: docker's A, C and D, told by comparing, not by what overlayfs copied up.

The upper folder is read by descriptors that follow no link (the container may be running), the layers below are never written to.  A file that overlayfs copied up without
anything being different afterwards is no change; a folder is one if it differs itself or if something in it is.
Source: docker-container-diff(1) and dockerd's behaviour; overlayfs.rst (whiteouts, opaque directories).
"""

import errno
import os
import stat

from pyoci.errors import errno_text
from pyoci.kernel.tree import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_below
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images.rootless import is_opaque

ADDED, CHANGED, DELETED = "A", "C", "D"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


def changes(upper, lowers):
    """[(kind, path)], sorted by path: `("C", "/etc")`, `("A", "/etc/new")`.  lowers: the folders of the layers below, the topmost first.

    Paths are str with surrogates for what is not UTF-8.  Raises MiniDockerError.
    """
    comparison = _Comparison(upper, lowers)
    try:
        comparison.walk()
        return sorted(((kind, os.fsdecode(b"/" + path)) for path, kind in comparison.found.items()), key=lambda one: os.fsencode(one[1]).split(b"/"))
    except OSError as error:
        raise MiniDockerError(f"compare {upper}: {errno_text(error.errno or 0)}") from error
    finally:
        comparison.close()


class _Comparison:
    def __init__(self, upper, lowers):
        self.fds = []
        self.found = {}
        try:
            for folder in (upper, *lowers):
                self.fds.append(os.open(folder, _FOLDER))
        except OSError as error:
            self.close()
            raise MiniDockerError(f"compare {upper}: {folder}: {errno_text(error.errno)}") from error

    def close(self):
        for fd in self.fds:
            os.close(fd)

    def walk(self):
        """Each folder of the upper, with the layers that have it too, and whether an opaque folder at or above it hides what they have in it."""
        pending = [(b"", self._through([*range(1, len(self.fds))], b""), False)]
        while pending:
            path, below, sealed = pending.pop()
            fd = open_below(self.fds[0], path or b".", _FOLDER, _BENEATH)
            if fd in (-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP):  # gone meanwhile, or something else by now
                continue
            if fd < 0:
                raise OSError(-fd, os.strerror(-fd))
            try:
                pending += self._compare_folder(fd, path, below, sealed)
            finally:
                os.close(fd)

    def _compare_folder(self, fd, path, below, sealed):
        """Note what is different in one folder.  Returns [(path, layers below, sealed)] of the folders in it."""
        sealed = sealed or bool(path and is_opaque(fd))
        names = [os.fsencode(name) for name in os.listdir(fd)]
        inner = []
        for name in names:
            here = path + b"/" + name if path else name
            try:
                mine = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            theirs, through = self._look(below, here)
            if stat.S_ISCHR(mine.st_mode) and mine.st_rdev == 0:
                if theirs:
                    self._note(here, DELETED)
                continue
            if theirs is None:
                self._note(here, ADDED)
            elif self._differs(mine, theirs, fd, name, here, below):
                self._note(here, CHANGED)
            if stat.S_ISDIR(mine.st_mode):
                inner.append((here, through, sealed))
        if sealed and below:
            self._note_hidden(path, below, set(names))
        return inner

    def _note_hidden(self, path, below, names):
        """An opaque folder hides all that it does not have itself."""
        for name in self._names(below, path) - names:
            self._note(path + b"/" + name, DELETED)

    def _note(self, path, kind):
        """A change in a folder makes the folders above it changed ones, up to the root, which is never named."""
        self.found[path] = kind
        above = path.rpartition(b"/")[0]
        while above and above not in self.found:
            self.found[above] = CHANGED
            above = above.rpartition(b"/")[0]

    def _look(self, below, path):
        """(what the layers show at a path, or None; the layers whose folder it is there, the topmost first)."""
        shown, folders = None, []
        for layer in below:
            found = _stat(self.fds[layer], path)
            if found is None:
                continue
            if not stat.S_ISDIR(found.st_mode):
                hidden = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
                shown = shown or (None if hidden else found)
                break
            shown = shown or found
            folders.append(layer)
            if self._is_opaque(layer, path):
                break
        return shown, folders

    def _through(self, below, path):
        found = []
        for layer in below:
            found.append(layer)
            if self._is_opaque(layer, path):
                break
        return found

    def _is_opaque(self, layer, path):
        return is_opaque(b"/proc/self/fd/%d/%s" % (self.fds[layer], path))

    def _names(self, below, path):
        """The names that the layers show in a folder."""
        shown, gone = set(), set()
        for layer in below:
            fd = open_below(self.fds[layer], path, _FOLDER, _BENEATH)
            if fd < 0:
                continue
            try:
                here = {os.fsencode(name) for name in os.listdir(fd)}
                hidden = {name for name in here if _is_whiteout(fd, name)}
            finally:
                os.close(fd)
            shown |= here - hidden - gone
            gone |= hidden
        return shown

    def _differs(self, mine, theirs, fd, name, path, below):
        """As dockerd compares: of folders neither size nor time, of files both, and the capabilities of programs."""
        if (mine.st_mode, mine.st_uid, mine.st_gid, mine.st_rdev) != (theirs.st_mode, theirs.st_uid, theirs.st_gid, theirs.st_rdev):
            return True
        if stat.S_ISDIR(mine.st_mode):
            return False
        if mine.st_size != theirs.st_size or mine.st_mtime_ns != theirs.st_mtime_ns:
            return True
        if not stat.S_ISREG(mine.st_mode):
            return False
        lower = next(layer for layer in below if _stat(self.fds[layer], path))
        return _capability(b"/proc/self/fd/%d/%s" % (fd, name)) != _capability(b"/proc/self/fd/%d/%s" % (self.fds[lower], path))


def _stat(fd, path):
    """lstat below a layer, or None.  A layer's folders that a path goes through are known to be folders."""
    try:
        return os.stat(path, dir_fd=fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_whiteout(fd, name):
    found = _stat(fd, name)
    return found is not None and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _capability(path):
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return b""
