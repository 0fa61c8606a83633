"""cp: files out of a container and into it, as tar streams.

Every path is resolved by the kernel with the container's root as root (openat2, RESOLVE_IN_ROOT), so that no link of a container leads to the host, whoever exchanges what
meanwhile.  A running container is seen as its processes see it, with its mounts; a stopped one as its layers with its bind mounts.
Source: docker-cp(1); Engine API v1.44 ContainerArchive, PutContainerArchive; openat2(2); CVE-2018-15664, CVE-2019-14271.
"""

import contextlib
import errno
import os
import posixpath
import stat
import sys
import tempfile

from pyoci.errors import SyscallError, errno_text
from pyoci.kernel import calls
from pyoci.kernel.tree import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from pyoci.minidocker import containers, prepare
from pyoci.minidocker.errors import BadRequest, ImageProblem, MiniDockerError, NotFound
from pyoci.minidocker.images import tar
from pyoci.minidocker.images.compress import Plain
from pyoci.minidocker.images.disk import disk_errors
from pyoci.minidocker.images.pack import pack_at
from pyoci.minidocker.images.pax import shown
from pyoci.minidocker.images.unpack import Limits
from pyoci.minidocker.life import held
from pyoci.minidocker.merge import judge, merge
from pyoci.minidocker.paths import absolute
from pyoci.minidocker.show import moment

_PATH_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def _no_warning(text):
    """Where the caller wants none."""


class _Absent(NotFound):
    """A path that is not in the container, whose name the catcher adds."""


@contextlib.contextmanager
def root_of(store, ref, with_binds=False):
    """(container, descriptor of its root).  A stopped one is mounted meanwhile, under its lock; with_binds: its bind mounts too, for us alone."""
    try:
        with _root_of(store, ref, with_binds) as found:
            yield found
    except _Absent as error:
        raise NotFound(f"{error} in container {ref}") from error


@contextlib.contextmanager
def _root_of(store, ref, with_binds):
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
            fds = _opened(container, with_binds)
            try:
                yield container, fds[0]
            finally:
                for fd in fds:
                    os.close(fd)
        finally:
            prepare.undo(store, container)


def _opened(container, with_binds):
    """The descriptor of a mounted container's root, and what keeps its mounts."""
    if with_binds and (container.host.get("Binds") or container.host.get("Mounts")):
        from pyoci.minidocker.bind_view import binds_of, open_view

        if binds := binds_of(container):
            return open_view(container.rootfs, binds)
    return [os.open(container.rootfs, _PATH_FOLDER)]


def resolve(root, path, flags):
    """A descriptor below the root.  Raises NotFound, MiniDockerError."""
    try:
        return calls.openat2(root, path.lstrip("/") or ".", flags | os.O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except SyscallError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise _Absent(f"Could not find the file {path}") from error
        raise MiniDockerError(f"{path}: {errno_text(error.errno)}") from error


def _last_name(path):
    """What a path is called: its last part, "." for a root."""
    name = posixpath.basename(posixpath.normpath(path))
    return "." if name in ("", "..") else name


def _parts(path):
    """(folder, name) of a path; a trailing slash or dot means the folder itself."""
    folder, name = posixpath.split(path if path.startswith("/") else f"/{path}")
    return (path, "") if name in ("", ".", "..") else (folder, name)


# --- out


def path_stat(store, ref, path):
    """What docker's header X-Docker-Container-Path-Stat says: {name, size, mode, mtime, linkTarget}."""
    with root_of(store, ref, with_binds=True) as (_, root):
        return _stat(root, path)


def _stat(root, path):
    fd = resolve(root, path.rstrip("/") or "/", os.O_PATH | os.O_NOFOLLOW)
    try:
        facts = os.fstat(fd)
        target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(facts.st_mode) else ""
    except OSError as error:  # a link of procfs leads nowhere for us
        raise MiniDockerError(f"{path}: {errno_text(error.errno)}") from error
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
    if not path:
        raise BadRequest("the path in the container is empty", hint="CONTAINER:/ is its root")
    with root_of(store, ref, with_binds=True) as (_, root):
        found = _stat(root, path)
        folder, name = _parts(path)
        fd = resolve(root, folder if name else path, _PATH_FOLDER)
        try:
            shown_as = name or ("." if path.endswith("/.") else _last_name(path))
            pack_at(sink, fd, os.fsencode(name or "."), os.fsencode(shown_as), f"copy {path}")
        finally:
            os.close(fd)
        return found


# --- in


def copy_in(store, ref, path, stream):
    """Unpack a tar (`stream.read(n)`, packed or not) into the folder at path.  Raises NotFound, BadRequest (not a tar, not a folder); a broken tar changes nothing."""
    what = f"copy to {path}"
    with _spooled(stream, what) as spool, root_of(store, ref, with_binds=True) as (container, root):
        _check_writable(container)
        fd = resolve(root, path, _PATH_FOLDER)
        try:
            merge(spool, fd, what)
        finally:
            os.close(fd)


def _check_writable(container):
    if container.host.get("ReadonlyRootfs"):
        raise BadRequest("container rootfs is marked read-only")


@contextlib.contextmanager
def _spool():
    """A file without a name."""
    with disk_errors("temporary file"):
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):  # what it could not keep was said
            file.close()


@contextlib.contextmanager
def _spooled(stream, what):
    """A file of the plain tar, which was read to its end and can be unpacked."""
    with _spool() as spool:
        try:
            plain = Plain(stream, Limits())
            with disk_errors(what):
                while data := plain.read():
                    spool.write(data)
                spool.seek(0)
        except ImageProblem as error:
            raise BadRequest(f"{what}: {error}") from error
        judge(spool, what)
        spool.seek(0)
        yield spool


# --- between a container and the host, as docker cp does


def place(found, source, target, target_mode):
    """(folder, name or "" for the contents alone) where a copy goes.  target_mode: st_mode of what is there, 0 for nothing.  Raises BadRequest."""
    name = _last_name(source)
    is_folder, target_is_folder = bool(found["mode"] & 1 << 31), stat.S_ISDIR(target_mode)
    if target_mode and not target_is_folder and not stat.S_ISREG(target_mode):
        raise BadRequest(f"{target}: neither a folder nor a regular file")
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
    """A change of entries: the first part of their names is `name`, or nothing; without keep_ids they are uid's."""
    first = os.fsencode(name)

    def rename(path):
        return b"/".join(part for part in (first, path.partition(b"/")[2]) if part)

    def change(entry):
        entry.name = rename(entry.name)
        if entry.kind == tar.LINK:
            entry.link = rename(entry.link)
        if not keep_ids:
            entry.uid, entry.gid = uid, gid
        return entry

    return change


def _without_danger(change, devices):
    """A change of entries for the host: what a container's root could plant there is left out, set-uid and set-gid bits, capabilities, and devices, whose names go to `devices`.

    docker keeps them.  With them, who is root in a container, and any user of the host together, would be root of the host.
    """

    def safe(entry):
        if entry.kind in (tar.CHARACTER, tar.BLOCK_DEVICE) or (entry.kind == tar.LINK and entry.link in devices):
            devices.append(entry.name)
            return None
        entry.mode &= 0o1777
        entry.xattrs = None
        return change(entry)

    return safe


def to_host(store, ref, path, target, *, follow_links=False, keep_ids=False, warn=_no_warning):
    """Copy what is at path in a container to the host's `target`; "-" is a tar on standard output, which keeps everything.  docker-cp(1)

    Set-uid and set-gid bits never come to the host.  A device is refused; those below a folder are left out, and warn(text) says so.
    """
    if follow_links:
        with root_of(store, ref, with_binds=True) as (_, root):
            path = _followed(root, path)
    if target == "-":
        copy_out(store, ref, path, sys.stdout.buffer)
        return
    what = f"copy to {target}"
    with _spool() as spool:
        found = copy_out(store, ref, path, spool)
        if found["mode"] & 1 << 26:
            raise BadRequest(f"{path} is a device, which cp makes none of on the host", hint="CONTAINER:PATH - writes a tar that has it")
        with disk_errors(what):
            spool.seek(0)
        devices = []
        name, fd, is_new = _open_target(found, path, target)
        try:
            merge(spool, fd, what, _without_danger(_renaming(name, keep_ids, os.geteuid(), os.getegid()), devices), has_top=is_new)
        finally:
            os.close(fd)
    if devices:
        more = f" and {len(devices) - 1} more" if devices[1:] else ""
        warn(f"{shown(devices[0])}{more} not copied: cp makes no device on the host")


def _open_target(found, path, target):
    """(name, descriptor of its folder, whether it was made) of where a copy goes on the host: place()."""
    if os.path.islink(target):
        target = os.path.realpath(target)
    try:
        mode = os.stat(target).st_mode
    except OSError:
        mode = 0
    folder, name = place(found, path, target, mode)
    is_new = not name and not mode
    try:
        if is_new:
            os.mkdir(folder, 0o700)
        return name, os.open(folder, _PATH_FOLDER), is_new
    except OSError as error:
        raise BadRequest(f"{folder}: {errno_text(error.errno)}") from error


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
    with _spool() as spool:
        is_folder = _pack_host(source, spool, follow_links)
        with disk_errors(f"copy {source}"):
            spool.seek(0)
        with root_of(store, ref, with_binds=True) as (container, root):
            _check_writable(container)
            mode = _mode_in(root, path)
            path = _followed(root, path) if mode else path
            folder, name = place({"mode": is_folder << 31}, source, path, mode)
            is_new = not name and not mode
            if is_new:
                _make_in(root, folder)
            fd = resolve(root, folder, _PATH_FOLDER)
            try:
                merge(spool, fd, f"copy to {path}", _renaming(name, keep_ids, 0, 0), has_top=is_new)
            finally:
                os.close(fd)


def _make_in(root, path):
    """Make a folder in a container."""
    above = resolve(root, posixpath.dirname(path.rstrip("/")) or "/", _PATH_FOLDER)
    try:
        os.mkdir(posixpath.basename(path.rstrip("/")), 0o755, dir_fd=above)
    except OSError as error:
        raise MiniDockerError(f"{path}: {errno_text(error.errno)}") from error
    finally:
        os.close(above)


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
        if source.endswith("/") and not stat.S_ISDIR(facts.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        folder, name = os.path.split(absolute(real)) if source[-2:] not in ("/.", ".") else (real, ".")
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadRequest(f"{source}: {errno_text(error.errno)}") from error
    try:
        pack_at(spool, fd, os.fsencode(name or "."), os.fsencode(name or "."), f"copy {source}")
    finally:
        os.close(fd)
    return stat.S_ISDIR(facts.st_mode)
