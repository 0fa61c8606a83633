"""A tar into a folder that is in use: what cp unpacks into, a container's or the host's.

Every call names a directory descriptor and one name below it; paths are resolved by the kernel with the folder as root, so that no link leads out of it.  What is made is
given its owner, mode, attributes and time by its descriptor: a process of the container that puts something else in its place meanwhile gains nothing.  `judge` reads a tar
to its end and refuses what can't be unpacked, so that a broken one changes nothing.
Unlike images/unpack.py, the folder is not empty, what is in it stays, and nothing here knows layers.
Source: openat2(2), RESOLVE_IN_ROOT; proc_pid_fd(5) for what can't be opened; dockerd's behaviour for what replaces what.
"""

import contextlib
import errno
import os
import stat

from pyoci.errors import errno_text
from pyoci.kernel.tree import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_below
from pyoci.minidocker.errors import BadRequest, ImageProblem, MiniDockerError
from pyoci.minidocker.images import tar
from pyoci.minidocker.images.disk import hint_of
from pyoci.minidocker.images.pax import MAX_TIME_NS, shown
from pyoci.minidocker.images.rootless import in_user_namespace, unmapped_hint

PATH_BYTES = 4095
_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {tar.FIFO: stat.S_IFIFO, tar.CHARACTER: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK}


def judge(stream, what):
    """Read a tar to its end.  Raises BadRequest for what merge could not unpack."""
    with _explained(what, None):
        for entry in tar.Reader(stream):
            clean(entry.name)
            _judge_facts(entry)


def merge(stream, folder_fd, what, change=lambda entry: entry, *, has_top=False):
    """Unpack a plain tar (`stream.read(n)`) into an open folder.  Raises BadRequest, MiniDockerError, both beginning with `what`.

    change(entry)  renames or re-owns each entry first; None leaves it out      has_top  whether an entry of the folder itself counts
    """
    merger = _Merger(folder_fd, tar.Reader(stream), has_top)
    with _explained(what, merger):
        try:
            for entry in merger.reader:
                if changed := change(entry):
                    merger.place(changed)
            merger.finish()
        finally:
            merger.close()


@contextlib.contextmanager
def _explained(what, merger):
    try:
        yield
    except ImageProblem as error:
        raise BadRequest(f"{what}: {error}") from error
    except BadRequest as error:
        raise BadRequest(f"{what}: {error}", error.hint) from error
    except OSError as error:
        at = f"{shown(merger.at)}: " if merger and merger.at else ""
        raise MiniDockerError(f"{what}: {at}{errno_text(error.errno or 0)}", hint_of(error) or unmapped_hint(error)) from error


def clean(name):
    """A path of the archive as its parts.  Raises BadRequest."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise BadRequest(f"{shown(name)}: '..' may not lead out of where it is copied to")
    if len(name) > PATH_BYTES:
        raise BadRequest(f"{shown(name)}: longer than {PATH_BYTES} bytes")
    return parts


def _judge_facts(entry):
    """What no file system could keep."""
    if not (0 <= entry.uid < 0xFFFFFFFF and 0 <= entry.gid < 0xFFFFFFFF):
        raise BadRequest(f"{shown(entry.name)}: no owner can be {entry.uid}:{entry.gid}")
    if entry.device and not (0 <= entry.device[0] < 1 << 12 and 0 <= entry.device[1] < 1 << 20):
        raise BadRequest(f"{shown(entry.name)}: no device has the number {entry.device[0]}:{entry.device[1]}")
    if entry.kind == tar.LINK and not clean(entry.link):
        raise BadRequest(f"{shown(entry.name)}: a hard link to a folder")
    if entry.kind == tar.SYMLINK and not entry.link:
        raise BadRequest(f"{shown(entry.name)}: a symbolic link to nothing")


class _Merger:
    def __init__(self, root, reader, has_top):
        self.root = root
        self.reader = reader
        self.at = b""
        self.folders = {}  # parts -> (device and inode, entry), dressed in finish()
        self.above = (None, -1)  # the parts of the last parent, and its descriptor
        self.has_top = has_top

    def close(self):
        self._forget_parent()

    def place(self, entry):
        """Make what the entry says, in the place of what was there."""
        self.at = entry.name
        _judge_facts(entry)
        parts = clean(entry.name)
        if not parts:
            if self.has_top and entry.kind == tar.FOLDER:
                self.folders[()] = (_identity(os.fstat(self.root)), entry)
            return
        name = parts[-1]
        parent = self._parent(parts[:-1])
        if entry.kind == tar.FOLDER:
            self.folders[tuple(parts)] = (self._make_folder(parent, name), entry)
            return
        if entry.kind == tar.LINK and clean(entry.link) == parts:
            return
        self._remove_old(parent, name)
        if entry.kind == tar.FILE:
            self._make_file(parent, name, entry)
        elif entry.kind == tar.LINK:
            self._make_link(parent, name, entry)
        else:
            self._make_other(parent, name, entry)

    # --- parents

    def _parent(self, parts):
        """The folder of an entry, made if it is missing.  Links on the way are followed within the folder that is copied to."""
        if self.above[0] != parts:
            self._forget_parent()
            self.above = (parts, self._open_parent(parts))
        return self.above[1]

    def _forget_parent(self):
        if self.above[1] >= 0:
            os.close(self.above[1])
        self.above = (None, -1)

    def _open(self, parts, flags=_PARENT):
        return open_below(self.root, b"/".join(parts) or b".", flags, _IN_ROOT)

    def _open_parent(self, parts):
        fd = self._open(parts)
        if fd != -errno.ENOENT:
            return _checked(fd)
        above = _checked(self._open([]))
        for number, part in enumerate(parts):
            try:
                fd = self._open(parts[: number + 1])
                if fd == -errno.ENOENT:
                    os.mkdir(part, 0o755, dir_fd=above)
                    fd = open_below(above, part, _PARENT | os.O_NOFOLLOW, _IN_ROOT)
                fd = _checked(fd)
            finally:
                os.close(above)
            above = fd
        return above

    # --- one kind of entry each

    def _remove_old(self, parent, name):
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except IsADirectoryError as error:
            raise BadRequest(f"cannot overwrite directory {shown(name)} with non-directory") from error

    def _make_folder(self, parent, name):
        """Make a folder, or take the one that is there.  Returns its identity."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._remove_old(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        return _identity(os.stat(name, dir_fd=parent, follow_symlinks=False))

    def _make_file(self, parent, name, entry):
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            self.reader.write_to(fd, entry)
            _dress(fd, entry)
        finally:
            os.close(fd)

    def _make_link(self, parent, name, entry):
        source = clean(entry.link)
        above = self._open(source[:-1])
        try:
            os.link(source[-1], name, src_dir_fd=_checked(above), dst_dir_fd=parent, follow_symlinks=False)
        finally:
            if above >= 0:
                os.close(above)

    def _make_other(self, parent, name, entry):
        """A symbolic link, FIFO or device: they can't be opened, so that they are dressed through a descriptor for the path alone."""
        if entry.device and in_user_namespace():
            return  # which can make none, as unpack.py leaves them out of layers
        if entry.kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            kind, device = stat.S_IFLNK, 0
        else:
            kind, device = _NODES[entry.kind], os.makedev(*entry.device) if entry.device else 0
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            found = os.fstat(fd)
            if (stat.S_IFMT(found.st_mode), found.st_rdev) != (kind, device):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))  # exchanged meanwhile
            _dress(f"/proc/self/fd/{fd}", entry, has_mode=kind != stat.S_IFLNK)
        finally:
            os.close(fd)

    def finish(self):
        """Dress the folders, last of all, for a file's arrival changes the time.  One that was exchanged meanwhile is left as it is."""
        for parts, (identity, entry) in self.folders.items():
            self.at = entry.name
            fd = self._open(parts, _FOLDER)
            if fd < 0:
                continue
            try:
                if _identity(os.fstat(fd)) == identity:
                    _dress(fd, entry)
            finally:
                os.close(fd)


def _checked(fd):
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    return fd


def _identity(facts):
    return facts.st_dev, facts.st_ino


def _dress(where, entry, *, has_mode=True):
    """Owner, mode, attributes and time, in the order in which none undoes another.  where: a descriptor, or its path below /proc."""
    os.chown(where, entry.uid, entry.gid)
    if has_mode:
        os.chmod(where, entry.mode & 0o7777)
    for name, value in (entry.xattrs or {}).items():
        # Of the others, overlayfs would obey some, and the host's security modules write the rest themselves.
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
            _set_xattr(where, name, value)
    time = max(-MAX_TIME_NS, min(entry.mtime_ns, MAX_TIME_NS))
    os.utime(where, ns=(time, time))


def _set_xattr(where, name, value):
    try:
        os.setxattr(where, name, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EINVAL):  # a file system or a kind of file without them
            raise
