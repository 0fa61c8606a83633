"""The state directory: <root>/<id>/, one directory a container.

    config.json   the bundle's, as it was at create
    state.json    the record: who the process is, its cgroups, what acts two and three need; written last, by rename
    journal       what create is about to make, a line before each deed (journal.py)
    gate          the socket that `start` connects to; its listener is init
    word          the running words of HOST and INIT

Whoever changes the container holds a lock on the directory itself, flock(2): a lock file could come back while it is removed.

The root is the caller's, and so is the directory: what another user put there, root must not act on.  An id is checked before it is
joined to a path.  Nothing here knows cgroups or processes.
"""

import posix
from errno import EEXIST, ELOOP, ENAMETOOLONG, ENOTEMPTY, ENXIO
from fcntl import LOCK_EX, LOCK_NB, flock

from pyoci.errors import AlreadyExists, ConfigError, DamagedState, NoSuchContainer, StateError, SyscallError, UsageError
from pyoci.kernel.calls import rename_new
from pyoci.kernel.proc import read_all, stat_fields, write_file
from pyoci.spec.decode import decode, encode

_ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")
ID_BYTES = 1024
_S_IFMT, _S_IFREG = 0o170000, 0o100000
_FILES = ("state.json", "journal", "word", "config.json")  # of a container that has been started, in the order in which they go
_OPEN = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW
_MAKE = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW


def check_id(container_id):
    """The id itself.  Raises UsageError with runc's words for one that can't name a directory."""
    if not container_id:
        raise UsageError("container id cannot be empty")
    if len(container_id) > ID_BYTES or not _ID_LETTERS.issuperset(container_id) or container_id in (".", ".."):
        raise UsageError(f"invalid container ID format: {container_id[:100]!r}")
    return container_id


class Container:
    """One container's directory.  `record` is read when it is first asked for."""

    __slots__ = ("id", "path", "_record", "_lock_fd")

    def __init__(self, root, container_id):
        self.id = check_id(container_id)
        self.path = f"{root}/{container_id}"
        self._record = None
        self._lock_fd = -1

    def file(self, name):
        """The path of a file in the directory."""
        return f"{self.path}/{name}"

    def at_gate(self, call):
        """call(path) with a path of the gate that fits into an address: its own, or where that is too long (unix(7), 108 bytes) one by a
        descriptor of the directory.  Raises SyscallError."""
        try:
            return call(self.file("gate"))
        except SyscallError as error:
            if error.errno != ENAMETOOLONG:
                raise
        try:
            directory = posix.open(self.path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except OSError as error:
            raise SyscallError("open", error.errno, self.path) from None
        try:
            return call(f"/proc/self/fd/{directory}/gate")
        finally:
            posix.close(directory)

    def exists(self):
        """Whether the directory is there, half-made or whole."""
        try:
            posix.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return True

    @property
    def record(self):
        """The record, a dict.  Raises NoSuchContainer where create has not finished, DamagedState where it is not what was saved."""
        if self._record is None:
            try:
                text = self.read("state.json")
            except SyscallError as error:
                if error.errno in (2, 20):
                    raise NoSuchContainer(self.id) from None
                raise
            self._record = _checked(text, f"{self.path}/state.json", self.id)
        return self._record

    def read(self, name):
        """All bytes of a file that this user wrote: no link is followed, no FIFO waited for.  Raises SyscallError, DamagedState,
        StateError for another user's."""
        path = self.file(name)
        try:
            fd = posix.open(path, _OPEN | posix.O_NONBLOCK)
        except OSError as error:
            if error.errno in (ELOOP, ENXIO):  # a link, a socket
                raise DamagedState(f"{path}: damaged: it is no file; delete --force removes the container") from None
            raise SyscallError("open", error.errno, path) from None
        try:
            facts = posix.fstat(fd)
            if facts.st_uid != posix.geteuid():
                raise _anothers(self.id, path, facts)
            if facts.st_mode & _S_IFMT != _S_IFREG:
                raise DamagedState(f"{path}: damaged: it is no file; delete --force removes the container")
            return read_all(fd, path, facts.st_size)
        finally:
            posix.close(fd)

    def claim(self, config_text):
        """Make the directory: whoever gives it its name has the id.  Raises AlreadyExists, SyscallError.

        It is made under another name, locked and filled, and renamed: nobody ever sees it half-made, nor without its holder.
        """
        if self.exists():
            raise AlreadyExists(self.id)
        root = self.path[: -len(self.id) - 1]
        fresh = f"{root}/@{posix.getpid()}.{id(self):x}"  # not the id, which may be as long as a name can be
        _make_fresh(root, fresh)
        try:
            posix.chmod(fresh, 0o711)  # whatever the umask is
            self._lock_fd = _open_locked(fresh)
            write_file(f"{fresh}/config.json", config_text, _MAKE)
            rename_new(fresh, self.path)
        except BaseException as error:
            self.unlock()
            _remove_tree(fresh)
            if isinstance(error, SyscallError) and error.errno == EEXIST:
                raise AlreadyExists(self.id) from None
            if isinstance(error, OSError):
                raise SyscallError("chmod", error.errno, fresh) from None
            raise

    def sweep(self):
        """Remove what creates that were killed before they had an id have left: nobody holds it any more."""
        root = self.path[: -len(self.id) - 1]
        for name in _names(root):
            pid = name[1:].partition(".")[0]
            if name[:1] == "@" and pid.isdigit() and not stat_fields(pid):
                fd = _open_locked(f"{root}/{name}")
                if fd >= 0:
                    _remove_tree(f"{root}/{name}")
                    posix.close(fd)

    def lock(self):
        """Hold the container until unlock().  Raises NoSuchContainer, StateError if another command holds it for 30 s."""
        try:
            fd = posix.open(self.path, _OPEN | posix.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer(self.id) from None
        except OSError as error:
            raise SyscallError("open", error.errno, self.path) from None
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except OSError:
            try:
                self._wait_for_lock(fd)
            except BaseException:
                posix.close(fd)
                raise
        # The directory may have gone, or been made anew, while we waited.
        held = posix.fstat(fd)
        if held.st_uid != posix.geteuid() or _is_gone(held, self.path):
            posix.close(fd)
            raise NoSuchContainer(self.id) if held.st_uid == posix.geteuid() else _anothers(self.id, self.path, held)
        self._lock_fd = fd
        self._record = None

    def _wait_for_lock(self, fd):
        from time import monotonic, sleep  # cold: only where two commands meet

        end_s = monotonic() + 30
        pause_s = 0.001
        while True:
            try:
                return flock(fd, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                if monotonic() > end_s:
                    raise StateError(f"container {self.id} is held by another command for more than 30 s") from None
            sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)

    def unlock(self):
        """Let go; harmless when not held."""
        if self._lock_fd >= 0:
            posix.close(self._lock_fd)
            self._lock_fd = -1

    def save(self, record):
        """Write the record so that a reader sees the old one or the new one.  Raises SyscallError."""
        fresh = self.file(".state.json")
        data = encode(record).encode("utf-8", "surrogateescape")
        try:
            write_file(fresh, data, _MAKE)
        except SyscallError as error:
            if error.errno != EEXIST:
                raise
            _unlink(".state.json", self._lock_fd, self.path)  # of a command that was killed here
            write_file(fresh, data, _MAKE)
        try:
            posix.rename(fresh, self.file("state.json"))
        except OSError as error:
            raise SyscallError("rename", error.errno, fresh) from None
        self._record = record

    def config(self):
        """The config as it was at create, decoded."""
        return decode(self.config_text())

    def config_text(self):
        """Its bytes."""
        return self.read("config.json")

    def remove(self):
        """Remove the directory, which is held, and all that is in it, the record first, so that a half-removed one is nobody's
        container."""
        try:
            for name in _FILES:
                _unlink(name, self._lock_fd, self.path)
            try:
                posix.rmdir(self.path)
            except OSError as error:
                if error.errno != ENOTEMPTY:
                    raise
                _empty(self._lock_fd, self.path)
                posix.rmdir(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SyscallError("rmdir", error.errno, self.path) from None
        self.unlock()


def _anothers(container_id, path, facts):
    """Its journal and hooks would be carried out with the rights of whoever deletes it."""
    return StateError(f"container {container_id} is another user's: {path} belongs to uid {facts.st_uid}, not to {posix.geteuid()}")


# What save() always stores, with its type.
_RECORD = (
    ("bundle", str), ("rootfs", str), ("created", str), ("pid", int), ("started", int), ("last", int), ("owner", int),
    ("process", bool), ("pid_namespace", bool), ("cgroups", dict),
)  # fmt: skip


def _checked(text, path, container_id):
    """The record in `text`.  Raises DamagedState."""
    try:
        record = decode(text, path)
    except ConfigError as error:
        raise DamagedState(f"{error}; delete --force removes the container") from None
    wrong = [name for name, kind in _RECORD if type(record.get(name)) is not kind]
    if record.get("id") != container_id:
        wrong.append("id")
    if not wrong and (record["pid"] < 1 or not _are_cgroups(record)):
        wrong.append("cgroups" if record["pid"] > 0 else "pid")
    wrong += [name for name in ("hooks", "annotations", "resources") if type(record.get(name) or {}) is not dict]
    if record.get("hooks") and not wrong and not _are_hooks(record["hooks"]):
        wrong.append("hooks")
    scope = record.get("scope") or ["", ""]
    if type(scope) is not list or len(scope) != 2 or set(map(type, scope)) != {str}:
        wrong.append("scope")
    if wrong:
        raise DamagedState(f"{path}: damaged: {wrong[0]} is missing or not what create wrote; delete --force removes the container")
    return record


def _are_hooks(hooks):
    """Lists of objects with a path; create has judged the rest."""
    lists = hooks.values()
    return all(type(one) is list for one in lists) and all(
        type(hook) is dict and type(hook.get("path")) is str for one in lists for hook in one
    )


def _are_cgroups(record):
    """Without root some can't be made, or none."""
    directories = record["cgroups"]
    if {"", "devices", "freezer"}.isdisjoint(directories) and record.get("rootless") is not True:
        return False
    return all(type(path) is str and path[:1] == "/" for path in directories.values())


def _open_locked(path):
    """A descriptor of the directory that holds its lock; -1 where somebody else holds it or it is gone."""
    try:
        fd = posix.open(path, _OPEN | posix.O_DIRECTORY)
    except OSError:
        return -1
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except OSError:
        posix.close(fd)
        return -1
    return fd


def _make_fresh(root, fresh):
    try:
        return posix.mkdir(fresh, 0o711)
    except OSError:
        make_root(root)
        _remove_tree(fresh)  # of a create that was killed here and had our pid
    try:
        posix.mkdir(fresh, 0o711)
    except OSError as error:
        raise SyscallError("mkdir", error.errno, fresh) from None


def _remove_tree(path):
    """A directory with files in it, where it is there."""
    try:
        fd = posix.open(path, _OPEN | posix.O_DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None
    try:
        _empty(fd, path)
        posix.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SyscallError("rmdir", error.errno, path) from None
    finally:
        posix.close(fd)


def _empty(fd, path):
    """Remove what is in a directory.  By descriptors: nobody can put a link in the place of one on the way; `path` is for the error."""
    for name in posix.listdir(fd):
        _unlink(name, fd, path)


def _unlink(name, fd, path):
    try:
        posix.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        inner = posix.open(name, _OPEN | posix.O_DIRECTORY, dir_fd=fd)
        try:
            _empty(inner, f"{path}/{name}")
        finally:
            posix.close(inner)
        posix.rmdir(name, dir_fd=fd)
    except OSError as error:
        raise SyscallError("unlink", error.errno, f"{path}/{name}") from None


def make_root(root):
    """Make the root directory where it is missing, with its parents.  Raises SyscallError."""
    missing = [root]
    while missing[-1] and not _mkdir(missing[-1]):
        missing.append(missing[-1].rpartition("/")[0])
    # Where the parent is there and this fails once more (a procfs takes no directories), it fails for good.
    for path in reversed(missing[:-1]):
        if not _mkdir(path):
            raise SyscallError("mkdir", 2, path)


def _mkdir(path):
    """Whether the directory is there now; False where its parent is missing."""
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SyscallError("mkdir", error.errno, path) from None
    return True


def ids(root):
    """The names of all containers below root, sorted; NoSuchContainer is not among its troubles: a missing root is []."""
    return sorted(name for name in _names(root) if _ID_LETTERS.issuperset(name))


def _names(path):
    try:
        return posix.listdir(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SyscallError("readdir", error.errno, path) from None


def _is_gone(held, path):
    try:
        there = posix.stat(path, follow_symlinks=False)
    except OSError:
        return True
    return (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino)
