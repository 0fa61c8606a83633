"""Facts about processes from /proc, and small file helpers.  proc(5).  Hot."""

import posix

from pyoci.errors import SyscallError

READ = posix.O_RDONLY | posix.O_CLOEXEC


def read_file(path, dir_fd=None):
    """All bytes of a file.  Raises SyscallError (open, read)."""
    try:
        fd = posix.open(path, READ, dir_fd=dir_fd)
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None
    try:
        return read_all(fd, path)
    finally:
        posix.close(fd)


def read_all(fd, path, regular_size=None):
    """What is left of an open file; `path` is for the error.  Raises SyscallError (read).

    `regular_size`: the size of one that is a regular file, where a short read is the last.
    """
    length = 65536 if regular_size is None else regular_size + 1
    pieces = []
    try:
        while piece := posix.read(fd, length):
            pieces.append(piece)
            if regular_size is not None and len(piece) < length:
                break
    except OSError as error:
        raise SyscallError("read", error.errno, path) from None
    return b"".join(pieces)


def write_file(path, data, flags=posix.O_WRONLY | posix.O_CLOEXEC, mode=0o600):
    """Write bytes in one call.  Raises SyscallError (open, write)."""
    try:
        fd = posix.open(path, flags, mode)
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None
    try:
        if posix.write(fd, data) != len(data):
            raise SyscallError("write", 28, path)
    except OSError as error:
        raise SyscallError("write", error.errno, path) from None
    finally:
        posix.close(fd)


def kernel_version():
    """(major, minor) of the running kernel.  uname(2)"""
    major, minor = posix.uname().release.split(".")[:2]
    return int(major), int(minor[: len(minor) - len(minor.lstrip("0123456789"))])


def in_user_namespace():
    """Whether this process is in another user namespace than the host's: then root has no privilege on the host.  user_namespaces(7)"""
    try:
        return read_file("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]
    except SyscallError:
        return False  # a kernel without any, or no procfs


def has_apparmor():
    """Whether AppArmor is enabled.  apparmor_module(7)"""
    try:
        return read_file("/sys/module/apparmor/parameters/enabled")[:1] == b"Y"
    except SyscallError:
        return False


def stat_fields(pid):
    """The fields of /proc/PID/stat after the command name (field 3 is [0]), or None if there is no such process."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", READ)
    except OSError:
        return None
    try:
        text = posix.read(fd, 4096)
    except OSError:  # ESRCH: it ended between the two calls
        return None
    finally:
        posix.close(fd)
    return text[text.rindex(b")") + 2 :].split()


def start_time(pid):
    """Field 22 of /proc/PID/stat, clock ticks after boot, or 0 if it is gone: with the pid it names one process."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def is_alive(pid, started):
    """Whether that very process runs, and is no zombie."""
    fields = stat_fields(pid)
    return bool(fields) and int(fields[19]) == started and fields[0] not in (b"Z", b"X", b"x")


def is_exiting(pid):
    """Whether the process is on its way out (PF_EXITING): it has closed its files or is about to, and is no zombie yet.  proc_pid_stat(5)"""
    fields = stat_fields(pid)
    return bool(fields) and bool(int(fields[6]) & 0x4)


def put_file(path, data, before=None):
    """A file that appears whole or not at all, over whatever bears the name.  `before(path)` is told of each path first.

    Raises SyscallError.  rename(2)
    """
    name = path.rpartition("/")[2]
    fresh = f"{path[: len(path) - len(name)]}.{name}.{posix.getpid()}"
    for one in (fresh, path) if before else ():
        before(one)
    write_file(fresh, data, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
    try:
        posix.rename(fresh, path)
    except OSError as error:
        posix.unlink(fresh)
        raise SyscallError("rename", error.errno, path) from None
