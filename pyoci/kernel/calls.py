"""One thin wrapper a call that the posix module lacks; each raises SyscallError.  No policy.

Sources: the man page of the same name.  Hot.
"""

from errno import ECONNRESET, EINTR

from pyoci.errors import SyscallError
from pyoci.native._sys import ffi, lib

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
CONNECT_TIMEOUT_MS = 30_000
POLLIN, POLLERR, POLLHUP = 1, 8, 16


def _checked(value, call, on=""):
    if value < 0:
        raise SyscallError(call, -value, on)
    return value


_SPAWN_STAGES = ("clone3", "capset", "close_range", "execveat")


def spawn(flags, *, exe_fd, channel_fd, channel_number, cgroup_fd=-1, raise_capabilities=False, is_open=False):
    """Start exe_fd as a child in new namespaces (clone3(2) flags).  Returns (pid, pidfd).  `is_open`: init's /proc/PID is ours."""
    pidfd = ffi.new("int *")
    pid = lib.sys_spawn(flags, cgroup_fd, exe_fd, channel_fd, channel_number, raise_capabilities, is_open, pidfd)
    return _checked(pid, _SPAWN_STAGES[-1 - pidfd[0]] if pid < 0 else ""), pidfd[0]


def socketpair():
    """Two connected SOCK_SEQPACKET descriptors, close-on-exec.  socketpair(2)"""
    pair = ffi.new("int[2]")
    _checked(lib.sys_socketpair(pair), "socketpair")
    return pair[0], pair[1]


def send(fd, data, fds=()):
    """Send one message with descriptors.  Raises SyscallError.  sendmsg(2), unix(7)"""
    return _checked(lib.sys_send(fd, data, len(data), ffi.new("int[]", list(fds)) if fds else ffi.NULL, len(fds)), "sendmsg")


def receive(fd, capacity=8192):
    """(bytes, descriptors) of one message; (b"", []) at the end.  recvmsg(2)"""
    data = ffi.new("char[]", capacity)
    fds = ffi.new("int[16]")
    count = ffi.new("int *")
    length = lib.sys_receive(fd, data, capacity, fds, 16, count)
    if length == -ECONNRESET:  # told once, when the peer ended with messages of ours unread; what it said last comes after it
        length = lib.sys_receive(fd, data, capacity, fds, 16, count)
    _checked(length, "recvmsg")
    return ffi.buffer(data, length)[:], [fds[i] for i in range(count[0])]


def listen(path):
    """A listening SOCK_SEQPACKET socket at path.  unix(7)"""
    return _checked(lib.sys_unix_listen(path.encode("utf-8", "surrogateescape"), 16), "bind", path)


def connect(path, *, seqpacket=False, timeout_ms=CONNECT_TIMEOUT_MS):
    """A connected stream (or SOCK_SEQPACKET) socket.  EAGAIN where the queue of the listener stays full for that time (0: at once,
    and the socket doesn't block then).  connect(2)"""
    return _checked(lib.sys_unix_connect(path.encode("utf-8", "surrogateescape"), seqpacket, timeout_ms), "connect", path)


def openat2(dirfd, path, flags, resolve):
    """A descriptor, resolved as openat2(2) is told."""
    return _checked(lib.sys_openat2(dirfd, path.encode("utf-8", "surrogateescape"), flags, 0, resolve), "openat2", path)


def open_tree(path, flags):
    """A clone of a mount tree, attached nowhere.  open_tree(2)"""
    return _checked(lib.sys_open_tree(-100, path.encode("utf-8", "surrogateescape"), flags), "open_tree", path)


def move_mount(tree_fd, path):
    """Attach a tree that is attached nowhere.  move_mount(2)"""
    _checked(lib.sys_move_mount(tree_fd, path.encode("utf-8", "surrogateescape")), "move_mount", path)


def mount_setattr(fd, *, attributes=0, cleared=0, propagation=0, recursive=False):
    """Change the attributes (MOUNT_ATTR_*) and the propagation of the mount that the descriptor is of.  mount_setattr(2)"""
    flags = AT_EMPTY_PATH | AT_RECURSIVE if recursive else AT_EMPTY_PATH
    _checked(lib.sys_mount_setattr(fd, flags, attributes, cleared, propagation), "mount_setattr")


def unshare(flags):
    """New namespaces for the calling thread (CLONE_NEW flags).  unshare(2)"""
    _checked(lib.sys_unshare(flags), "unshare")


def setns(fd, kind):
    """Move the calling thread into a namespace.  setns(2)"""
    _checked(lib.sys_setns(fd, kind), "setns")


def rename_new(old, new):
    """Rename, but never over something.  renameat2(2), RENAME_NOREPLACE"""
    code = lib.sys_renameat2(-100, old.encode("utf-8", "surrogateescape"), -100, new.encode("utf-8", "surrogateescape"), 1)
    _checked(code, "renameat2", new)


def unmount(path):
    """Detach the top mount at path.  umount2(2)"""
    _checked(lib.sys_unmount(path.encode("utf-8", "surrogateescape")), "umount2", path)


def namespace_type(fd):
    """The CLONE_NEW flag of a namespace descriptor.  ioctl_ns(2); raises SyscallError if it is none."""
    return _checked(lib.sys_namespace_type(fd), "ioctl NS_GET_NSTYPE")


def prlimit(pid, resource, soft, hard):
    """Set a resource limit of another process.  prlimit(2)"""
    _checked(lib.sys_prlimit(pid, resource, soft, hard), "prlimit")


def poll(wanted, timeout_ms=-1):
    """{fd: revents} of [(fd, events)]; {} after the time-out or a signal.  poll(2)"""
    fds = ffi.new("int[]", [fd for fd, _ in wanted])
    revents = ffi.new("short[]", len(wanted))
    ready = lib.sys_poll(fds, ffi.new("short[]", [events for _, events in wanted]), revents, len(wanted), timeout_ms)
    if ready == -EINTR:
        return {}
    _checked(ready, "poll")
    return {fd: revents[i] for i, (fd, _) in enumerate(wanted) if revents[i]}


def pidfd_open(pid):
    """A descriptor of the process.  pidfd_open(2)"""
    return _checked(lib.sys_pidfd_open(pid, 0), "pidfd_open", str(pid))


def pidfd_send_signal(pidfd, signal):
    """Send a signal to the very process that the descriptor is of.  pidfd_send_signal(2)"""
    _checked(lib.sys_pidfd_send_signal(pidfd, signal), "pidfd_send_signal")


def subreaper(on):
    """Become the reaper of orphaned descendants, or stop being it; returns what was.  PR_SET_CHILD_SUBREAPER(2const)"""
    was = _checked(lib.sys_is_subreaper(), "prctl")
    if was != on:
        _checked(lib.sys_subreaper(on), "prctl")
    return was


_ENDING = (1, 2, 3, 15)


class Signals:
    """Every signal of this thread, blocked and read from a descriptor.  signalfd(2)"""

    __slots__ = ("fd", "_old", "_kept")

    def __init__(self):
        self._kept = []
        old = ffi.new("unsigned long long *")
        self.fd = _checked(lib.sys_signals_open(old), "signalfd")
        self._old = old[0]

    def take(self):
        """The numbers of the signals that are pending, oldest first."""
        number = ffi.new("int *")
        found, self._kept = self._kept, []
        while lib.sys_signals_read(self.fd, number) == 1:
            found.append(number[0])
        return found

    def ending(self):
        """The first pending one of those that ask a program to end (HUP, INT, QUIT, TERM), 0 for none; take() still gives the others."""
        found = self.take()
        self._kept = [number for number in found if number not in _ENDING]
        return next((number for number in found if number in _ENDING), 0)

    def close(self):
        """Unblock what was not blocked before."""
        lib.sys_signals_close(self.fd, self._old)
