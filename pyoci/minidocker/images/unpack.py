"""A layer's tar into a folder, in the shape in which overlayfs wants a layer; hostile ones are refused.

Every call names a directory descriptor and one name below it.  A parent is resolved by openat2, beneath the folder: a link that an
earlier entry made can't lead out, and nothing that is checked by its path is then used by its path.  Absolute names count from the layer's root, as for docker.
Whiteouts become 0:0 devices, opaque marks the overlay's attribute; a name that stands beside its own whiteout stays.  The later of two entries of one name wins.
A folder that no entry describes is made all the same and told in Facts.implied: layers.py gives it what the layer below says.
Nothing here removes what a refused archive has left in the folder: whoever made the folder does.

Four calls a small file: openat, write, utimensat, close.  Owners and modes cost one only where they differ from what open gives; those of directories come last,
so that set-group-id is not inherited and no file's arrival changes an mtime.
Source: image-spec layer.md (whiteouts, opaque whiteouts, hard links), overlayfs.rst, openat2(2).
"""

import errno
import os
import stat

from pyoci.errors import errno_text
from pyoci.kernel.tree import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    open_below,
    remove_tree,
)
from pyoci.minidocker.errors import ImageProblem, MiniDockerError
from pyoci.minidocker.images import tar
from pyoci.minidocker.images.disk import hint_of
from pyoci.minidocker.images.pax import MAX_TIME_NS, shown
from pyoci.minidocker.images.rootless import in_user_namespace, overlay_attribute, unmapped_hint

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
# What aufs kept for itself in layers of old; docker passes over it too.
AUFS = b".wh..wh."
PATH_BYTES = 4095
CACHED_PARENTS = 128

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
_AS_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
# Overlayfs obeys these: a layer that brings its own could point into other layers.
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_OF_THE_ARCHIVE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EMLINK)


class Limits:
    """How much one layer may be.  max_bytes: what is stored; max_size: with holes; max_ratio: unpacked to packed bytes, asked above free_bytes (compress.py)."""

    def __init__(self, max_bytes=256 << 30, max_entries=10_000_000, max_ratio=250, free_bytes=1 << 30, max_size=1 << 52):
        self.max_bytes = max_bytes
        self.max_size = max_size  # of 500 layers the sum is still a number for SQLite
        self.max_entries = max_entries
        self.max_ratio = max_ratio
        self.free_bytes = free_bytes


class Facts:
    """What came of it.

    size       bytes of its files and links, each once    entries    how many the archive has
    implied    paths of folders without an entry, the root as b"", parents first
    whiteouts  paths of the 0:0 devices
    lost       what this host could not keep: [(path, attribute or "device")]
    """

    def __init__(self):
        self.size = 0
        self.entries = 0
        self.implied = []
        self.whiteouts = []
        self.lost = []


def unpack(stream, folder, limits=None):
    """Unpack a plain tar (`stream.read(n)`) into an empty folder.  Returns Facts.  Reads the stream to its end.

    Raises ImageProblem for what can't be trusted or read, MiniDockerError for what this host refused (a full disk).
    """
    reader = tar.Reader(stream)
    unpacker = Unpacker(folder, reader, limits or Limits())
    path = b""
    try:
        for entry in reader:
            path = entry.name
            unpacker.place(entry)
        reader.source.drain()
        return unpacker.finish()
    except OSError as error:
        raise _trouble(path, error) from error
    finally:
        unpacker.close()


def _trouble(path, error):
    """The host's refusal as a line; what only entries can do to each other in a folder of our own is the archive's fault."""
    kind = ImageProblem if error.errno in _OF_THE_ARCHIVE else MiniDockerError
    return kind(f"layer: {shown(path)}: {errno_text(error.errno)}", hint_of(error) or unmapped_hint(error))


def clean(name):
    """A path of the archive from the layer's root: no slashes at the ends, no empty parts or dots.  Raises ImageProblem for `..`."""
    if b"/." not in name and b"//" not in name and name[:1] != b"." and len(name) <= PATH_BYTES:
        return name.strip(b"/")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ImageProblem(f"layer: {shown(name)}: leads out of the layer")
    path = b"/".join(parts)
    if len(path) > PATH_BYTES:
        raise ImageProblem(f"layer: {shown(name)}: longer than {PATH_BYTES} bytes")
    return path


def _umask():
    """The umask, read so that no other thread sees it changed: proc_pid_status(5)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))


class Unpacker:
    """One archive on its way into one folder."""

    def __init__(self, folder, reader, limits):
        self.root = os.open(folder, _OPEN_FOLDER | os.O_NOFOLLOW)
        self.reader = reader
        self.limits = limits
        self.facts = Facts()
        self.parents = {b"": self.root}
        self.folders = {}  # path -> the entry that describes it
        self.implied = {b"": None}  # in the order in which they were made
        self.whiteouts = set()
        self.climbs = False  # whether there is a link with more `..` than folders above it
        self.owner = (os.geteuid(), os.getegid())
        self.late_mode = 0o7000 | _umask()
        self.stored = 0
        self.makers = {
            tar.FILE: self._file, tar.LINK: self._link, tar.SYMLINK: self._symlink, tar.CHARACTER: self._device,
            tar.BLOCK_DEVICE: self._device, tar.FOLDER: self._folder, tar.FIFO: self._device,
        }  # fmt: skip

    def close(self):
        """Close every descriptor."""
        self._forget_parents()
        os.close(self.root)

    def place(self, entry):
        """Make what the entry says.  Raises ImageProblem, OSError."""
        facts = self.facts
        facts.entries += 1
        self.stored += entry.stored
        if facts.entries > self.limits.max_entries:
            raise ImageProblem(f"layer: more than {self.limits.max_entries} entries")
        if self.stored > self.limits.max_bytes:
            raise ImageProblem(f"layer: more than {self.limits.max_bytes} bytes")
        if not (0 <= entry.uid < 0xFFFFFFFF and 0 <= entry.gid < 0xFFFFFFFF):
            raise ImageProblem(f"layer: {shown(entry.name)}: no owner can be {entry.uid}:{entry.gid}")
        path = clean(entry.name)
        above, _slash, name = path.rpartition(b"/")
        if path.startswith(AUFS) and path != OPAQUE:
            return
        parent = self.parents.get(above)
        if parent is None:
            parent = self._parent(above, entry)
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name, above, entry)
        elif not path and entry.kind != tar.FOLDER:
            raise ImageProblem(f"layer: {shown(entry.name)}: the root is no folder")
        else:
            self.makers[entry.kind](parent, name, path, entry)

    # --- parents

    def _parent(self, path, entry):
        """The descriptor of a folder; it is made if it isn't there."""
        if any(part.startswith(WHITEOUT) for part in path.split(b"/")):
            raise ImageProblem(f"layer: {shown(entry.name)}: lies below a whiteout")
        fd = self._open(path)
        if fd in (-errno.ENOENT, -errno.ENOTDIR):
            fd = self._make_parents(path, entry)
        if fd < 0:
            raise self._no_way(path, entry, -fd)
        if len(self.parents) > CACHED_PARENTS:
            self._forget_parents()
        self.parents[path] = fd
        return fd

    def _open(self, path):
        """A folder's descriptor or -errno.  A link is followed within the layer; from its root if it is absolute."""
        fd = open_below(self.root, path or b".", _OPEN_FOLDER, _BENEATH)
        if fd == -errno.EXDEV and not self.climbs:
            fd = open_below(self.root, path, _OPEN_FOLDER, _AS_ROOT)
        return fd

    def _make_parents(self, path, entry):
        above, fd = b"", os.dup(self.root)
        for part in path.split(b"/"):
            here = above + b"/" + part if above else part
            try:
                found = self._open(here)
                if found < 0:
                    found = self._make_parent(fd, part, here, entry, -found)
            finally:
                os.close(fd)
            above, fd = here, found
        return fd

    def _make_parent(self, fd, name, path, entry, error):
        hidden = path in self.whiteouts
        if hidden:
            self._clear(fd, name, path)
        elif error != errno.ENOENT:
            raise self._no_way(path, entry, error)
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
        except FileExistsError:  # a link to nothing
            raise self._no_way(path, entry, errno.ENOENT) from None
        self.implied[path] = None
        made = os.open(name, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        if hidden:
            self._make_opaque(made)
        return made

    def _no_way(self, path, entry, error):
        if error in (errno.EXDEV, errno.ENOENT, errno.ELOOP):
            return ImageProblem(f"layer: {shown(entry.name)}: goes through the link {shown(path)}, which leads out of the layer or nowhere")
        if error == errno.ENOTDIR:
            return ImageProblem(f"layer: {shown(entry.name)}: {shown(path)} is no folder")
        return OSError(error, os.strerror(error))

    def _forget_parents(self):
        """Close the cached descriptors: there are too many, or what a path means has changed."""
        for path, fd in self.parents.items():
            if path:
                os.close(fd)
        self.parents = {b"": self.root}

    # --- one kind of entry each

    def _file(self, parent, name, path, entry):
        try:
            fd = os.open(name, _NEW_FILE, entry.mode & 0o777, dir_fd=parent)
        except FileExistsError:
            parent = self._clear(parent, name, path)
            fd = os.open(name, _NEW_FILE, entry.mode & 0o777, dir_fd=parent)
        try:
            self.reader.write_to(fd, entry)
            self._dress(fd, path, entry)
        finally:
            os.close(fd)
        self.facts.size += entry.size
        if self.facts.size > self.limits.max_size:
            raise ImageProblem(f"layer: its files have more than {self.limits.max_size} bytes")

    def _dress(self, fd, path, entry, made_so=True):
        """Owner, mode, attributes and time of an open file or folder, in the order in which none undoes another."""
        if (entry.uid, entry.gid) != self.owner:
            os.fchown(fd, entry.uid, entry.gid)
        if entry.mode & self.late_mode or not made_so:
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(fd, path, entry, True)
        time = _time(entry)
        os.utime(fd, ns=(time, time))

    def _link(self, parent, name, path, entry):
        source = clean(entry.link)
        above, _slash, source_name = source.rpartition(b"/")
        if source_name.startswith(WHITEOUT) or source in self.whiteouts:
            raise ImageProblem(f"layer: {shown(entry.name)}: a hard link to a whiteout")
        if source == path:
            return
        fd = self._open(above)
        if fd < 0:
            raise ImageProblem(f"layer: {shown(entry.name)}: a hard link to {shown(entry.link)}, which is not in the layer")
        try:
            found = _look(fd, source_name)
            if found is None or stat.S_ISDIR(found.st_mode):
                raise ImageProblem(f"layer: {shown(entry.name)}: a hard link to {shown(entry.link)}, which is {'a folder' if found else 'not in the layer'}")
            if _look(parent, name):
                parent = self._clear(parent, name, path)
            os.link(source_name, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(fd)

    def _symlink(self, parent, name, path, entry):
        if not entry.link:
            raise ImageProblem(f"layer: {shown(entry.name)}: a symbolic link to nothing")
        try:
            os.symlink(entry.link, name, dir_fd=parent)
        except FileExistsError:
            parent = self._clear(parent, name, path)
            os.symlink(entry.link, name, dir_fd=parent)
        if b".." in entry.link and not entry.link.startswith(b"/"):
            self.climbs = self.climbs or _climbs(path, entry.link)
        self.facts.size += len(entry.link)
        self._dress_name(parent, name, path, entry)

    def _device(self, parent, name, path, entry):
        if entry.kind != tar.FIFO and in_user_namespace():
            self.facts.lost.append((path, "device"))
            return
        if _look(parent, name):
            parent = self._clear(parent, name, path)
        if entry.kind == tar.FIFO:
            os.mkfifo(name, entry.mode & 0o777, dir_fd=parent)
        else:
            major, minor = entry.device
            if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
                raise ImageProblem(f"layer: {shown(entry.name)}: no device has the number {major}:{minor}")
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
            os.mknod(name, kind | entry.mode & 0o777, os.makedev(major, minor), dir_fd=parent)
        if entry.mode & self.late_mode or (entry.uid, entry.gid) != self.owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            os.chmod(name, entry.mode, dir_fd=parent)
        self._dress_name(parent, name, path, entry, owned=True)

    def _dress_name(self, parent, name, path, entry, owned=False):
        """What _dress does, for what must not be opened."""
        if not owned and (entry.uid, entry.gid) != self.owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs(b"/proc/self/fd/%d/%s" % (parent, name), path, entry, False)
        time = _time(entry)
        os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)

    def _folder(self, parent, name, path, entry):
        """Made at once, dressed in finish()."""
        if path:
            self._make_folder(parent, name, path, entry)
        self.implied.pop(path, None)
        self.folders[path] = entry

    def _make_folder(self, parent, name, path, entry):
        mode = entry.mode & 0o777 | 0o700
        try:
            os.mkdir(name, mode, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                return
            hidden = path in self.whiteouts
            parent = self._clear(parent, name, path)
            os.mkdir(name, mode, dir_fd=parent)
            if hidden:
                self._make_opaque_at(parent, name)

    def _whiteout(self, parent, name, above, entry):
        if name == OPAQUE:
            return self._make_opaque(parent)
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b"..") or hidden.startswith(WHITEOUT):
            raise ImageProblem(f"layer: {shown(entry.name)}: a whiteout of no name")
        path = above + b"/" + hidden if above else hidden
        found = _look(parent, hidden)
        if found is None:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
            self.whiteouts.add(path)
        elif stat.S_ISDIR(found.st_mode):
            self._make_opaque_at(parent, hidden)
        return None

    def _make_opaque_at(self, parent, name):
        fd = os.open(name, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        try:
            self._make_opaque(fd)
        finally:
            os.close(fd)

    def _make_opaque(self, fd):
        os.setxattr(fd, overlay_attribute("opaque"), b"y")

    def _set_xattrs(self, where, path, entry, follow):
        for name, value in entry.xattrs.items():
            if name.startswith(_OVERLAY):
                continue
            try:
                os.setxattr(where, name, value, follow_symlinks=follow)
            except OSError as error:
                # As docker: a file system without them, or a namespace that may not write them, is no reason to refuse the image.
                if error.errno in (errno.EINVAL, errno.ERANGE, errno.E2BIG):
                    raise ImageProblem(f"layer: {shown(path)}: extended attribute {shown(os.fsencode(name))}: {errno_text(error.errno)}") from error
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
                self.facts.lost.append((path, name))

    # --- what was there before

    def _clear(self, parent, name, path):
        """Remove what bears the name.  Returns the parent's descriptor, which may be another afterwards."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            self._clear_folder(parent, name, path)
            self._forget_parents()
            above = path.rpartition(b"/")[0]
            if above:
                self.parents[above] = parent = self._open(above)
        else:
            os.unlink(name, dir_fd=parent)
            self.whiteouts.discard(path)
            if found.st_nlink == 1:
                self.facts.size -= found.st_size
        return parent

    def _clear_folder(self, parent, name, path):
        left = {}  # inode -> names outside of the folder

        def count(found):
            left[found.st_ino] = left.get(found.st_ino, found.st_nlink) - 1
            self.facts.size -= 0 if left[found.st_ino] else found.st_size

        remove_tree(name, dir_fd=parent, told=count)
        inside = path + b"/"
        for known in (self.folders, self.implied):
            for gone in [one for one in known if one == path or one.startswith(inside)]:
                del known[gone]
        self.whiteouts = {one for one in self.whiteouts if not one.startswith(inside)}

    def finish(self):
        """Dress the folders.  Returns Facts."""
        for path, entry in self.folders.items():
            fd = self._open(path)
            if fd < 0:  # reached by a link that a later entry replaced
                continue
            try:
                self._dress(fd, path, entry, made_so=False)
            finally:
                os.close(fd)
        for path in self.implied:
            fd = self._open(path)
            if fd >= 0:
                os.utime(fd, ns=(0, 0))
                os.close(fd)
        self.facts.implied = list(self.implied)
        self.facts.whiteouts = sorted(self.whiteouts)
        return self.facts


def _time(entry):
    time = entry.mtime_ns
    return time if -MAX_TIME_NS < time < MAX_TIME_NS else MAX_TIME_NS if time > 0 else -MAX_TIME_NS


def _look(parent, name):
    """lstat below a folder, or None."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _climbs(path, link):
    """Whether a relative link has more `..` than there are folders above it."""
    depth = path.count(b"/")
    for part in link.split(b"/"):
        if part == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif part and part != b".":
            depth += 1
    return False
