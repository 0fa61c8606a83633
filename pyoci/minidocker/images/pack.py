"""A folder as a tar, the same bytes for the same tree: names sorted, owners by number, times in whole seconds as docker's, no user names, no atime.

POSIX ustar, with a pax header only for what it can't say (long or not-ASCII names, large numbers, negative times, extended attributes).  Read by descriptors that follow no
link, so that a container that runs meanwhile can't lead it astray; a file that shrinks under the reader is filled up with zeros, one that grows is cut, as tar does.
With `layer`, overlayfs's marks become a layer's: a 0:0 device `.wh.NAME`, an opaque folder has `.wh..wh..opq`.  Sockets are left out: tar has none.
Source: pax (POSIX.1-2008), image-spec layer.md ("Creating", whiteouts), overlayfs.rst.
"""

import contextlib
import errno
import os
import stat
import threading

from pyoci.errors import errno_text
from pyoci.kernel.tree import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_below, open_regular
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images import tar
from pyoci.minidocker.images.disk import hint_of
from pyoci.minidocker.images.pax import shown
from pyoci.minidocker.images.rootless import is_opaque
from pyoci.minidocker.images.unpack import OPAQUE, WHITEOUT

CHUNK = 1 << 20
UNTOLD = 16 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


def make_entry(name, kind, mode=0o644, *, uid=0, gid=0, size=0, mtime_ns=0, link=b"", device=None, xattrs=None):
    """A tar.Entry."""
    entry = tar.Entry()
    entry.name, entry.kind, entry.mode, entry.uid, entry.gid = name, kind, mode, uid, gid
    entry.size = entry.stored = size
    entry.mtime_ns, entry.link, entry.device, entry.xattrs, entry.sparse = mtime_ns, link, device, xattrs, None
    return entry


def header(entry):
    """The header blocks of an entry: one, or a pax header before it."""
    records = {}
    name = entry.name + b"/" if entry.kind == tar.FOLDER and not entry.name.endswith(b"/") else entry.name
    prefix, short = _split(name)
    if short is None or not name.isascii():
        records["path"] = name
        prefix, short = b"", name.decode("ascii", "replace").encode("ascii", "replace")[:100]
    link = entry.link
    if len(link) > 100 or not link.isascii():
        records["linkpath"] = link
        link = link.decode("ascii", "replace").encode("ascii", "replace")[:100]
    seconds = entry.mtime_ns // 1_000_000_000
    numbers = {"uid": entry.uid, "gid": entry.gid, "size": entry.size, "mtime": seconds}
    most = {"uid": 0o7777777, "gid": 0o7777777, "size": 0o77777777777, "mtime": 0o77777777777}
    for key, value in numbers.items():
        if not 0 <= value <= most[key]:
            records[key] = b"%d" % value
            numbers[key] = 0
    for key in sorted(entry.xattrs or ()):
        records[f"SCHILY.xattr.{key}"] = entry.xattrs[key]
    block = _block(short, entry.mode, numbers, entry.kind, link, entry.device or (0, 0), prefix)
    if not records:
        return block
    data = b"".join(_record(os.fsencode(key), value) for key, value in records.items())
    none = {"uid": 0, "gid": 0, "size": len(data), "mtime": 0}
    return _block(b"PaxHeaders.0/" + short[-80:], 0o644, none, b"x"[0], b"", (0, 0), b"") + data + bytes(-len(data) % tar.BLOCK) + block


def _split(name):
    """(prefix, name) of the header's two fields; the name is None if they can't hold it."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101, len(name) - 1)
    return (name[:cut], name[cut + 1 :]) if 0 < cut <= 155 else (b"", None)


def _block(name, mode, numbers, kind, link, device, prefix):
    fields = [
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"%07o\0" % numbers["uid"], b"%07o\0" % numbers["gid"], b"%011o\0" % numbers["size"],
        b"%011o\0" % numbers["mtime"], b" " * 8, bytes([kind]), link.ljust(100, b"\0"), b"ustar\x0000", bytes(64), b"%07o\0" % device[0],
        b"%07o\0" % device[1], prefix.ljust(155, b"\0"), bytes(12),
    ]  # fmt: skip
    fields[6] = b"%06o\0 " % sum(b"".join(fields))
    return b"".join(fields)


def _record(key, value):
    """`LENGTH KEY=VALUE\\n`, where LENGTH counts itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


class Packer:
    """Writes entries to `sink.write(bytes)`."""

    def __init__(self, sink):
        self._write = sink.write

    def add(self, entry, data=b""):
        """An entry and its content, which is as long as the entry says."""
        self._write(header(entry))
        if entry.size:
            self._write(data)
            self._pad(entry.size)

    def add_file(self, entry, fd):
        """An entry whose content is read from a descriptor, exactly as much as the entry says."""
        self._write(header(entry))
        left = entry.size
        while left and (data := os.read(fd, min(CHUNK, left))):
            self._write(data)
            left -= len(data)
        while left:
            self._write(bytes(min(CHUNK, left)))
            left -= min(CHUNK, left)
        self._pad(entry.size)

    def _pad(self, size):
        if size % tar.BLOCK:
            self._write(bytes(-size % tar.BLOCK))

    def close(self):
        """The two blocks at the end."""
        self._write(bytes(2 * tar.BLOCK))


def pack_tree(sink, folder, *, layer=False, root=True, skip=()):
    """Write the tree below a folder as a whole tar.  Raises MiniDockerError.

    layer  overlayfs's marks become whiteouts      root  the folder itself is the entry `./`
    skip   paths (bytes, from the folder) left out with all that is below them
    """
    try:
        fd = os.open(folder, _FOLDER & ~os.O_NOFOLLOW)
    except OSError as error:
        raise MiniDockerError(f"pack {folder}: {errno_text(error.errno)}") from error
    tree = _Tree(Packer(sink), fd, layer=layer, skip=set(skip))
    try:
        with _explained(tree, f"pack {folder}"):
            tree.pack(root)
    finally:
        os.close(fd)


def pack_at(sink, folder_fd, name, called, what):
    """Write one entry of an open folder, and all that is below it, as a whole tar in which it is `called` so (bytes).  Raises MiniDockerError, beginning with `what`."""
    tree = _Tree(Packer(sink), -1, called=called)
    with _explained(tree, what):
        found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            tree.add_other(folder_fd, name, b"", found)
            tree.packer.close()
            return
        tree.root = os.open(name, _FOLDER, dir_fd=folder_fd)
        try:
            tree.pack(True)
        finally:
            os.close(tree.root)


@contextlib.contextmanager
def _explained(tree, what):
    try:
        yield
    except BrokenPipeError:  # nobody wants the rest: no fault of the tree's
        raise
    except OSError as error:
        raise MiniDockerError(f"{what}: {shown(tree.at)}: {errno_text(error.errno or 0)}", hint_of(error)) from error


class packed_tree:  # used as a function
    """A context: a readable stream of a folder's tar, written by a thread; an error there is raised here, at the end."""

    def __init__(self, folder, **options):
        self._arguments = folder, options
        self._error = None

    def __enter__(self):
        reading, writing = os.pipe()
        self._sink = os.fdopen(writing, "wb", buffering=1 << 16)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        self._stream = os.fdopen(reading, "rb", buffering=0)
        return self

    def read(self, count):
        """Up to `count` bytes; at the end, the writer's error if it had one."""
        data = self._stream.read(count)
        if not data:
            self._thread.join()
            if self._error:
                raise self._error
        return data

    def _write(self):
        folder, options = self._arguments
        try:
            with self._sink:
                pack_tree(self._sink, folder, **options)
        except BrokenPipeError:  # nobody wants the rest
            pass
        except BaseException as error:
            self._error = error

    def __exit__(self, *_):
        self._stream.close()
        self._thread.join()


def _read(fd):
    """What can be read now, 16 MB at most."""
    data = bytearray()
    with contextlib.suppress(BlockingIOError):  # what comes later is not waited for
        while len(data) < UNTOLD and (more := os.read(fd, CHUNK)):
            data += more
    return bytes(data)


class _Tree:
    """What is below an open folder.  `called` is what the folder itself is called in the archive, b"" for `./`, of which no name of an entry below speaks."""

    def __init__(self, packer, root, *, layer=False, skip=(), called=b""):
        self.packer = packer
        self.root = root
        self.layer = layer
        self.skip = skip
        self.called = called
        self.at = called or b"/"
        self.links = {}  # (device, inode) of what has several names: the first, once it is in the archive

    def pack(self, root):
        """Folders as they come, each one's names sorted; a folder is opened when it is its turn, by its path from the root: no depth uses up descriptors."""
        pending = [b""]
        while pending:
            path = pending.pop()
            self.at = self._name(path)
            fd = open_below(self.root, path or b".", _FOLDER, _BENEATH)
            if fd in (-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP):  # gone meanwhile, or something else by now
                continue
            if fd < 0:
                raise OSError(-fd, os.strerror(-fd))
            try:
                if path or root:
                    self._add_folder(fd, path)
                folders = self._add_inside(fd, path)
            finally:
                os.close(fd)
            pending += reversed(folders)
        self.packer.close()

    def _add_folder(self, fd, path):
        found = os.fstat(fd)
        self.packer.add(self._entry(path, tar.FOLDER, found, self._xattrs(fd)))
        if self.layer and path and is_opaque(fd):
            self.packer.add(make_entry(path + b"/" + OPAQUE, tar.FILE))

    def _add_inside(self, fd, path):
        folders = []
        for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
            inside = path + b"/" + name if path else name
            if inside in self.skip:
                continue
            self.at = self._name(inside)
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(found.st_mode):
                folders.append(inside)
            else:
                self.add_other(fd, name, inside, found)
        return folders

    def add_other(self, fd, name, path, found):
        """An entry of an open folder that is no folder itself."""
        if self.layer and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            above = path[: len(path) - len(name)]
            self.packer.add(make_entry(above + WHITEOUT + name, tar.FILE))
            return
        identity = (found.st_dev, found.st_ino)
        if first := found.st_nlink > 1 and self.links.get(identity):
            self.packer.add(self._entry(path, tar.LINK, found, link=first))
        elif self._add_first(fd, name, path, found) and found.st_nlink > 1:
            self.links[identity] = self._name(path)

    def _add_first(self, fd, name, path, found):
        """Returns whether it is in the archive."""
        if stat.S_ISREG(found.st_mode):
            return self._add_regular(fd, name, path)
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            return False
        xattrs = self._xattrs(b"/proc/self/fd/%d/%s" % (fd, name), False)
        try:
            link = os.readlink(name, dir_fd=fd) if kind == tar.SYMLINK else b""
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):  # gone meanwhile, or something else by now
                return False
            raise
        device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in (tar.CHARACTER, tar.BLOCK_DEVICE) else None
        self.packer.add(self._entry(path, kind, found, xattrs, link=link, device=device))
        return True

    def _add_regular(self, parent, name, path):
        fd = open_regular(parent, name, _BENEATH)
        if fd in (-errno.ENOENT, -errno.ENXIO):  # it went, or became something else
            return False
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        try:
            found = os.fstat(fd)
            if not path and not found.st_size and (data := _read(fd)):  # procfs, sysfs: files that don't tell their size
                self.packer.add(self._entry(path, tar.FILE, found, size=len(data)), data)
            else:
                self.packer.add_file(self._entry(path, tar.FILE, found, self._xattrs(fd), size=found.st_size), fd)
        finally:
            os.close(fd)
        return True

    def _name(self, path):
        """What a path below the root is called in the archive."""
        if not self.called:
            return path or b"./"
        return self.called + b"/" + path if path else self.called

    def _entry(self, path, kind, found, xattrs=None, **more):
        facts = {"uid": found.st_uid, "gid": found.st_gid, "mtime_ns": found.st_mtime_ns, "xattrs": xattrs}
        return make_entry(self._name(path), kind, stat.S_IMODE(found.st_mode), **facts, **more)

    def _xattrs(self, where, follow=True):
        """Those of an image: what overlayfs and the host's security modules wrote is not of it, but for capabilities.

        Follows docker, which keeps security.capability and user.* alone.
        """
        try:
            names = os.listxattr(where, follow_symlinks=follow)
            kept = [name for name in names if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay."))]
            return {name: os.getxattr(where, name, follow_symlinks=follow) for name in kept} or None
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.ENOENT):
                return None
            raise


_KINDS = {stat.S_IFLNK: tar.SYMLINK, stat.S_IFCHR: tar.CHARACTER, stat.S_IFBLK: tar.BLOCK_DEVICE, stat.S_IFIFO: tar.FIFO}
