"""Without root: the user namespace in which MiniDocker is root, and the mount namespace with it, where containers' file systems are mounted.

All commands of a user share one pair of them for a data root, so that each sees the others' mounts.  It lives as long as somebody is in it: commands at work, monitors
of running containers (with them their deeds).  Nobody is kept alive for its sake: the first command of an idle user makes a new one.  DATA/namespace lists who is in it, a
line each, `PID START KIND BOOT`; who comes reads it under the lock of the data root, joins one who lives, and adds itself.  (The run root would not do: it goes when its user
logs out, and containers may stay.)

    mounts     a command or a monitor: both namespaces can be joined through it
    ids        a container's first process: the user namespace alone, for when its monitor was killed

Ids: 0 is the user, 1 and on are its subordinate ids; without those the user is alone.  Cold: root never loads it.
Source: user_namespaces(7), mount_namespaces(7), setns(2) with a pidfd, newuidmap(1), subuid(5); docs/decisions/0025.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import re
import shutil

from pyoci.errors import SyscallError, errno_text
from pyoci.kernel import calls, tree
from pyoci.kernel.proc import is_alive, start_time
from pyoci.minidocker.containers import boot_id
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.store import alone

MOUNTS, IDS = "mounts", "ids"
ROW = re.compile(rf"\d+ \d+ ({MOUNTS}|{IDS}) [0-9a-f-]+\n", re.ASCII)
MOST_RANGES = 300  # the kernel takes 340 lines
_BOTH = calls.CLONE_NEWUSER | calls.CLONE_NEWNS
MS_REC, MS_SLAVE = 0x4000, 0x80000
NS_GET_PARENT = 0xB702
TOOL_PATH = "/usr/local/bin:/usr/bin:/bin"
_FORBIDDEN = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1 lets users have user namespaces"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000 lets users have user namespaces"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids it: sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows it"),
)


def enter(roots):
    """Become root in this user's namespaces for these roots, made if nobody is in them.  One-threaded callers only.  Raises MiniDockerError."""
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    path = _current_folder()
    roots.make()
    try:
        with alone(roots.data):
            alive = _alive(roots)
            if not any(_join(*one) for one in alive):
                _make()
            _write(roots, [*alive, (os.getpid(), start_time(os.getpid()), MOUNTS)])
        _return(here, path)
    except SyscallError as error:
        raise MiniDockerError(f"user namespace: {error}", _advice(error)) from error
    finally:
        os.close(here)


def note(roots, pid, kind=MOUNTS):
    """List a process that is in the namespaces; nothing where nobody entered them through here."""
    if not os.path.exists(_list_of(roots)):
        return
    with alone(roots.data):
        _write(roots, [*_alive(roots), (pid, start_time(pid), kind)])


def _list_of(roots):
    return f"{roots.data}/namespace"


def _alive(roots):
    """[(pid, start time, kind)] of who is in the namespaces, those through whom the mounts can be joined first."""
    try:
        with open(_list_of(roots), encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file if ROW.fullmatch(line)]  # after a power cut there may be anything
    except FileNotFoundError:
        return []
    now = boot_id()
    found = [(int(pid), int(started), kind) for pid, started, kind, boot in rows if boot == now]
    return sorted((one for one in found if is_alive(one[0], one[1])), key=lambda one: one[2] != MOUNTS)


def _write(roots, members):
    path, boot = _list_of(roots), boot_id()
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write("".join(f"{pid} {started} {kind} {boot}\n" for pid, started, kind in members))
    os.rename(f"{path}.new", path)


def _join(pid, started, kind):
    """Whether the namespaces of that very process could be joined."""
    try:
        fd = calls.pidfd_open(pid) if kind == MOUNTS else _user_namespace(pid)
    except (SyscallError, OSError):
        return False
    try:
        if not is_alive(pid, started):
            return False
        calls.setns(fd, _BOTH if kind == MOUNTS else calls.CLONE_NEWUSER)
    except SyscallError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    finally:
        os.close(fd)
    if kind == IDS:
        calls.unshare(calls.CLONE_NEWNS)
        _receive_only()
    return True


def _current_folder():
    """Its path, "" where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _user_namespace(pid):
    """A descriptor of the one right below ours that a process is in: a container's first may have gone into one of its own making.  ioctl_ns(2)  Raises OSError."""
    own = os.stat("/proc/self/ns/user").st_ino
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while os.stat(above := fcntl.ioctl(fd, NS_GET_PARENT)).st_ino != own:
            os.dup2(above, fd, inheritable=False)
            os.close(above)
    except OSError:
        os.close(fd)
        raise
    os.close(above)
    return fd


def _return(here, path):
    """Joining a mount namespace leads to its root: go back to where the caller was."""
    try:
        os.chdir(path)
    except OSError:
        os.fchdir(here)  # its folder is gone, or closed to who comes by its path


# --- a new one


def _make():
    ids = Ids(os.geteuid(), os.getegid())
    if not ids.problem:
        _make_with_tools(ids)
    else:
        own = os.geteuid(), os.getegid()
        calls.unshare(_BOTH)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {own[0]} 1"), ("gid_map", f"0 {own[1]} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    _receive_only()


def _receive_only():
    """What the host mounts later is seen; what is mounted here is not the host's to see.  mount_namespaces(7)"""
    tree.mount("none", "/", "", MS_REC | MS_SLAVE)


def _make_with_tools(ids):
    """newuidmap works for others alone, so that a child that stays outside calls it."""
    target = os.getpid()
    ready, go = os.pipe2(os.O_CLOEXEC)
    answer, teller = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(go)
            if os.read(ready, 1):
                os.write(teller, ids.map_all(target).encode("utf-8", "replace"))
        finally:
            os._exit(0)
    try:
        os.close(ready)
        os.close(teller)
        calls.unshare(_BOTH)
        os.write(go, b"1")
        with open(answer, encoding="utf-8", errors="replace") as file:
            said = file.read()
    finally:
        os.close(go)
        os.waitpid(child, 0)
    if said != "mapped":
        raise MiniDockerError(f"user namespace: {said or 'its ids could not be mapped'}", "/etc/subuid and /etc/subgid say which ids a user may map")


class Ids:
    """What a user may map.  `uids`, `gids`: [(first, count)] of its subordinate ids; `problem`: why there are none, or ""."""

    def __init__(self, uid, gid):
        self.uid = uid
        self.gid = gid
        self.uids = subordinate("/etc/subuid", uid)
        self.gids = subordinate("/etc/subgid", uid)
        self.tools = [shutil.which(name, path=TOOL_PATH) for name in ("newuidmap", "newgidmap")]
        self.problem = self._problem()

    def _problem(self):
        for file, ranges in (("/etc/subuid", self.uids), ("/etc/subgid", self.gids)):
            if not ranges:
                return f"{file} has no ids for {name_of(self.uid)}"
        if not all(self.tools):
            return "newuidmap and newgidmap are not installed (Debian: the package uidmap)"
        return ""

    def map_all(self, pid):
        """Write both maps of a process.  Returns "mapped", or what was wrong."""
        from pyoci.kernel.idmap import map_by_tool

        try:
            for tool, own, ranges in zip(self.tools, (self.uid, self.gid), (self.uids, self.gids), strict=True):
                if said := map_by_tool(tool, pid, lines(own, ranges)):
                    return said
        except SyscallError as error:
            return str(error)
        return "mapped"


def lines(own, ranges):
    """The map: 0 is one's own id, the subordinate ones follow without a gap."""
    made, inside = [f"0 {own} 1"], 1
    for first, count in ranges[:MOST_RANGES]:
        made.append(f"{inside} {first} {count}")
        inside += count
    return "\n".join(made)


def name_of(uid):
    """The user's name, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def subordinate(path, uid):
    """[(first, count)] that the file gives to a user, by name or number.  subuid(5)"""
    names = (name_of(uid), str(uid))
    found = []
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.strip().split(":")
            if len(words) == 3 and words[0] in names and words[1].isdecimal() and words[2].isdecimal() and int(words[2]):
                found.append((int(words[1]), int(words[2])))
    return found


def _advice(error):
    for path, value, hint in _FORBIDDEN:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            if file.read().strip() == value:
                return hint
    if error.errno == errno.ENOSPC:
        return "there are too many user namespaces: sysctl user.max_user_namespaces"
    return f"MiniDocker without root needs user namespaces: {errno_text(error.errno)}" if error.errno == errno.EPERM else ""
