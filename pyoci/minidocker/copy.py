"""cp: files out of a container and into it, as tar streams.

Every path is resolved by the kernel with the container's root as root (openat2, RESOLVE_IN_ROOT), so that no link of a container leads to the host, whoever exchanges what
meanwhile.  A running container is seen as its processes see it, with its mounts; a stopped one as its layers.
Source: docker-cp(1); Engine API v1.44 ContainerArchive, PutContainerArchive; openat2(2); CVE-2018-15664, CVE-2019-14271.
"""

import contextlib
import errno
import os
import posixpath
import stat
import sys
import tarfile
import tempfile

from pyoci.errors import SyscallError, errno_text
from pyoci.kernel import calls
from pyoci.kernel.tree import open_regular
from pyoci.minidocker import containers, prepare
from pyoci.minidocker.errors import BadRequest, MiniDockerError, NotFound
from pyoci.minidocker.images.pax import shown
from pyoci.minidocker.life import held
from pyoci.minidocker.show import moment

NO_MAGICLINKS, IN_ROOT = 0x02, 0x10
_PATH_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def _no_warning(text):
    """Where the caller wants none."""


@contextlib.contextmanager
def root_of(store, ref):
    """(container, descriptor of its root).  A stopped one is mounted meanwhile, under its lock."""
    container = containers.find(store, ref)
    if containers.status_of(container) in containers.ALIVE:
        fd = os.open(f"/proc/{container.pid}/root", _PATH_FOLDER)
        try:
            if not container.is_process_alive():
                raise MiniDockerError(f"container {container.short_id} ended meanwhile")
            yield container, fd
        finally:
            os.close(fd)
        return
    from pyoci.minidocker.images import layers

    with held(store, container.id) as container:
        layers.mount(store, container.chain, container.folder, container.rootfs)
        try:
            fd = os.open(container.rootfs, _PATH_FOLDER)
            try:
                yield container, fd
            finally:
                os.close(fd)
        finally:
            prepare.undo(store, container)


def resolve(root, path, flags):
    """A descriptor below the root.  Raises NotFound, MiniDockerError."""
    try:
        return calls.openat2(root, path.lstrip("/") or ".", flags | os.O_CLOEXEC, IN_ROOT | NO_MAGICLINKS)
    except SyscallError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"Could not find the file {path}") from error
        raise MiniDockerError(f"{path}: {errno_text(error.errno)}") from error


def _parts(path):
    """(folder, name) of a path; a trailing slash or dot means the folder itself."""
    folder, name = posixpath.split(path if path.startswith("/") else f"/{path}")
    return (path, "") if name in ("", ".", "..") else (folder, name)


# --- out


def path_stat(store, ref, path):
    """What docker's header X-Docker-Container-Path-Stat says: {name, size, mode, mtime, linkTarget}."""
    with root_of(store, ref) as (_, root):
        return _stat(root, path)


def _stat(root, path):
    fd = resolve(root, path.rstrip("/") or "/", os.O_PATH | os.O_NOFOLLOW)
    try:
        facts = os.fstat(fd)
        target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(facts.st_mode) else ""
    finally:
        os.close(fd)
    # Go's os.FileMode: the kind in the upper bits.
    kinds = {stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFIFO: 1 << 25, stat.S_IFSOCK: 1 << 24, stat.S_IFBLK: 1 << 26,
             stat.S_IFCHR: 1 << 26 | 1 << 21}  # fmt: skip
    mode = stat.S_IMODE(facts.st_mode) & 0o777 | kinds.get(stat.S_IFMT(facts.st_mode), 0)
    for bit, go_bit in ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20)):
        mode |= go_bit if facts.st_mode & bit else 0
    name = posixpath.basename(path.rstrip("/")) or "/"
    return {"name": name, "size": facts.st_size, "mode": mode, "mtime": moment(facts.st_mtime_ns), "linkTarget": target}


def copy_out(store, ref, path, sink):
    """Write a tar of what is at path to `sink` (write(bytes)): the entry has the path's last name.  Returns its path_stat."""
    with root_of(store, ref) as (_, root):
        found = _stat(root, path)
        folder, name = _parts(path)
        first = name or posixpath.basename(path.rstrip("/.")) or "."
        fd = resolve(root, folder if name else path, _PATH_FOLDER)
        try:
            with tarfile.open(fileobj=_Sink(sink), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                _Packer(tar).add(fd, name or ".", first)
        finally:
            os.close(fd)
        return found


class _Sink:
    """A file object of write() alone."""

    def __init__(self, sink):
        self.write = sink.write


class _Packer:
    """Adds trees to a tar, by descriptor."""

    def __init__(self, tar):
        self._tar = tar
        self._links = {}  # (device, inode) of what has several names: the first

    def add(self, folder_fd, name, shown):
        """One entry of an open folder, and all below it."""
        facts = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        info = self._describe(facts, folder_fd, name, shown)
        if info is None:
            return
        if info.isreg():
            fd = open_regular(folder_fd, name, IN_ROOT | NO_MAGICLINKS)
            if fd in (-errno.ENOENT, -errno.ENXIO):  # it went meanwhile, or became something else
                return
            if fd < 0:
                raise OSError(-fd, os.strerror(-fd))
            with open(fd, "rb") as file:
                info.size = os.fstat(fd).st_size
                self._tar.addfile(info, file)
            return
        self._tar.addfile(info)
        if info.isdir():
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
            try:
                for inner in sorted(os.listdir(fd)):
                    self.add(fd, inner, f"{shown}/{inner}")
            finally:
                os.close(fd)

    def _describe(self, facts, folder_fd, name, shown):
        info = tarfile.TarInfo(shown)
        info.mode, info.uid, info.gid, info.mtime = stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime_ns / 10**9
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFSOCK:
            return None  # no tar has a socket
        info.type = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE,
                     stat.S_IFBLK: tarfile.BLKTYPE}.get(kind, tarfile.REGTYPE)  # fmt: skip
        if kind == stat.S_IFLNK:
            info.linkname = os.readlink(name, dir_fd=folder_fd)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            info.devmajor, info.devminor = os.major(facts.st_rdev), os.minor(facts.st_rdev)
        elif kind == stat.S_IFREG and facts.st_nlink > 1:
            first = self._links.setdefault((facts.st_dev, facts.st_ino), shown)
            if first != shown:
                info.type, info.linkname = tarfile.LNKTYPE, first
        return info


# --- in


def copy_in(store, ref, path, stream):
    """Unpack a tar (`stream.read(n)`) into the folder at path.  Raises NotFound, BadRequest (not a tar, not a folder)."""
    with root_of(store, ref) as (container, root):
        _check_writable(container)
        fd = resolve(root, path, _PATH_FOLDER)
        try:
            unpack(stream, fd, f"copy to {path}")
        finally:
            os.close(fd)


def _check_writable(container):
    if container.host.get("ReadonlyRootfs"):
        raise BadRequest("container rootfs is marked read-only")


def unpack(stream, fd, what, change=lambda member: member):
    """Unpack a tar into an open folder.  change(member) renames or re-owns each first; None leaves it out."""
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            folders = [unpack_one(tar, changed, fd) for member in tar if (changed := change(member))]
        for name, member in reversed([one for one in folders if one]):
            _finish(fd, name, member)
    except tarfile.TarError as error:
        raise BadRequest(f"{what}: this is no tar: {error}") from error
    except SyscallError as error:
        raise MiniDockerError(f"{what}: {error}") from error
    except OSError as error:
        raise MiniDockerError(f"{what}: {errno_text(error.errno or 0)}") from error


def _clean(name):
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadRequest(f"{name!r}: '..' may not lead out of where it is copied to")
    return parts


def _open_parent(root, parts):
    """The folder of an entry, made if it is missing.  Links on the way are followed within the folder that is copied to, never out of it."""
    inner = "/".join(parts)
    try:
        return calls.openat2(root, inner or ".", _PATH_FOLDER, IN_ROOT | NO_MAGICLINKS)
    except SyscallError as error:
        if error.errno != errno.ENOENT or not parts:
            raise
    above = _open_parent(root, parts[:-1])
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(parts[-1], 0o755, dir_fd=above)
        return calls.openat2(above, parts[-1], _PATH_FOLDER, IN_ROOT | NO_MAGICLINKS)
    finally:
        os.close(above)


def unpack_one(tar, member, root):
    """One entry.  Returns (its parts, member) of a folder, whose mode and time are set last."""
    parts = _clean(member.name)
    if not parts:
        return None
    folder = _open_parent(root, parts[:-1])
    try:
        name = parts[-1]
        if member.isdir():
            return _make_folder(folder, name, parts, member)
        _remove_old(folder, name)
        if member.isreg():
            _write_file(tar, member, folder, name)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=folder)
            os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
            return None
        elif member.islnk():
            _link(root, member, folder, name)
            return None
        elif member.ischr() or member.isblk() or member.isfifo():
            kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(name, kind | member.mode & 0o7777, os.makedev(member.devmajor, member.devminor), dir_fd=folder)
        else:
            return None
        _give(folder, name, member)
    finally:
        os.close(folder)
    return None


def _make_folder(folder, name, parts, member):
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            _remove_old(folder, name)
            os.mkdir(name, 0o700, dir_fd=folder)
    return parts, member


def _remove_old(folder, name):
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except IsADirectoryError as error:
        raise BadRequest(f"cannot overwrite directory {name!r} with non-directory") from error


def _write_file(tar, member, folder, name):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(fd, "wb") as file:
        source = tar.extractfile(member)
        while data := source.read(1 << 20):
            file.write(data)


def _link(root, member, folder, name):
    target = _clean(member.linkname)
    above = _open_parent(root, target[:-1])
    try:
        os.link(target[-1], name, src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(above)


def _give(folder, name, member):
    os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{fd}", member.mode & 0o7777)
        time_ns = int(member.mtime * 10**9)
        os.utime(f"/proc/self/fd/{fd}", ns=(time_ns, time_ns))
    finally:
        os.close(fd)


def _finish(root, parts, member):
    folder = _open_parent(root, parts[:-1])
    try:
        if stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
            _give(folder, parts[-1], member)
    finally:
        os.close(folder)


# --- between a container and the host, as docker cp does


def place(found, source, target, target_mode):
    """(folder, name or "" for the contents alone) where a copy goes.  target_mode: st_mode of what is there, 0 for nothing.  Raises BadRequest."""
    name = posixpath.basename(source.rstrip("/.")) or "."
    is_folder, target_is_folder = bool(found["mode"] & 1 << 31), stat.S_ISDIR(target_mode)
    if is_folder:
        if target_mode and not target_is_folder:
            raise BadRequest(f"cannot copy directory {source} to the file {target}")
        return target, "" if source.endswith("/.") or not target_mode or name == "." else name
    if target_is_folder:
        return target, name
    if target.endswith("/"):
        raise BadRequest(f"no such directory: {target}")
    return posixpath.dirname(target) or ".", posixpath.basename(target)


def _renaming(name, keep_ids, uid, gid):
    """A change of members: the first part of their names is `name`, or nothing; without keep_ids they are uid's."""

    def rename(path):
        rest = path.partition("/")[2] if "/" in path else ""
        return "/".join(part for part in (name, rest) if part)

    def change(member):
        member.name = rename(member.name)
        if member.islnk():
            member.linkname = rename(member.linkname)
        if not keep_ids:
            member.uid, member.gid = uid, gid
        return member if member.name else None

    return change


def _without_danger(change, devices):
    """A change of members for the host: what a container's root could plant there is left out, set-uid and set-gid bits and device nodes, whose names go to `devices`.

    docker keeps both.  With them, who is root in a container, and any user of the host together, would be root of the host.
    """

    def safe(member):
        if member.ischr() or member.isblk():
            devices.append(member.name)
            return None
        member.mode &= 0o1777
        return change(member)

    return safe


def to_host(store, ref, path, target, *, follow_links=False, keep_ids=False, warn=_no_warning):
    """Copy what is at path in a container to the host's `target`; "-" is a tar on standard output, which keeps everything.  docker-cp(1)

    Set-uid and set-gid bits never come to the host.  A device is refused; those below a folder are left out, and warn(text) says so.
    """
    with root_of(store, ref) as (_, root):
        if follow_links:
            path = _followed(root, path)
    if target == "-":
        copy_out(store, ref, path, sys.stdout.buffer)
        return
    with tempfile.TemporaryFile() as spool:
        found = copy_out(store, ref, path, spool)
        if found["mode"] & 1 << 26:
            raise BadRequest(f"{path} is a device, which cp makes none of on the host", hint="CONTAINER:PATH - writes a tar that has it")
        spool.seek(0)
        folder, name = place(found, path, target, os.stat(target).st_mode if os.path.exists(target) else 0)
        try:
            if not name:
                os.makedirs(folder, 0o777, exist_ok=True)
            fd = os.open(folder, _PATH_FOLDER)
        except OSError as error:
            raise BadRequest(f"{folder}: {errno_text(error.errno)}") from error
        try:
            devices = []
            unpack(spool, fd, f"copy to {target}", _without_danger(_renaming(name, keep_ids, os.geteuid(), os.getegid()), devices))
        finally:
            os.close(fd)
    if devices:
        more = f" and {len(devices) - 1} more" if devices[1:] else ""
        warn(f"{shown(os.fsencode(devices[0]))}{more} not copied: cp makes no device on the host")


def _followed(root, path):
    """The path behind a chain of links."""
    for _ in range(40):
        found = _stat(root, path)
        if not found["linkTarget"]:
            return path
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), found["linkTarget"]))
    raise BadRequest(f"{path}: too many links")


def from_host(store, ref, source, path, *, follow_links=False, keep_ids=False):
    """Copy the host's `source` to a path in a container; "-" is a tar on standard input.  docker-cp(1)"""
    if source == "-":
        copy_in(store, ref, path, sys.stdin.buffer)
        return
    with tempfile.TemporaryFile() as spool:
        is_folder = _pack_host(source, spool, follow_links)
        spool.seek(0)
        with root_of(store, ref) as (container, root):
            _check_writable(container)
            folder, name = place({"mode": is_folder << 31}, source, path, _mode_in(root, path))
            if not name:
                above = resolve(root, posixpath.dirname(folder.rstrip("/")) or "/", _PATH_FOLDER)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(posixpath.basename(folder.rstrip("/")) or ".", 0o755, dir_fd=above)
                os.close(above)
            fd = resolve(root, folder, _PATH_FOLDER)
            try:
                unpack(spool, fd, f"copy to {path}", _renaming(name, keep_ids, 0, 0))
            finally:
                os.close(fd)


def _mode_in(root, path):
    try:
        fd = resolve(root, path, os.O_PATH)
    except NotFound:
        return 0
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)


def _pack_host(source, spool, follow_links):
    """Pack a file or folder of the host.  Returns whether it is a folder."""
    try:
        real = os.path.realpath(source) if follow_links or source.endswith("/") else source.rstrip("/") or "/"
        facts = os.lstat(real)
        folder, name = os.path.split(os.path.abspath(real)) if source[-2:] not in ("/.", ".") else (real, ".")
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadRequest(f"{source}: {errno_text(error.errno)}") from error
    try:
        with tarfile.open(fileobj=spool, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            _Packer(tar).add(fd, name or ".", name or ".")
    except OSError as error:
        raise MiniDockerError(f"{source}: {errno_text(error.errno)}") from error
    finally:
        os.close(fd)
    return stat.S_ISDIR(facts.st_mode)
