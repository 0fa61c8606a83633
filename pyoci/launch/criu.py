"""One `criu swrk`: its start, its requests, its notifications, and what went wrong in words.  Cold: checkpoint and restore.

criu waits at each of its notifications for our word, so a restore is cut there into named steps.  Where it needs mounts (the rootfs
has to be one) it has a mount namespace of its own: whatever ends, and however, leaves none of them behind.
Knows no config.  Sources: criu(8); criu.org, "RPC", "Inheriting FDs on restore".
"""

import errno
import fcntl
import os
import threading

from pyoci.errors import PyociError, SyscallError, errno_text
from pyoci.kernel import calls
from pyoci.launch import criu_wire as wire
from pyoci.launch.hooks import inheritable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The numbers that criu finds its descriptors under.  Those of its directories are looked up in ours (cr-service.c: by the peer's pid).
CHANNEL_FD, STDIO_FD, FIRST_FD = 3, 4, 7
_ABOVE = 64  # where ours are moved before they take those numbers
MS_SLAVE = 0x80000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, 0x80000
END_TIMEOUT_MS = 10_000
NAMES = {wire.DUMP: "dump", wire.RESTORE: "restore", wire.PRE_DUMP: "pre-dump", wire.FEATURE_CHECK: "feature check", wire.VERSION: "version"}
# Errors of criu's log that name no reason, or that it survives.
_NO_REASON = ("Dumping FAILED", "Restoring FAILED", "Pre-dumping FAILED", "Can't setup RLIMIT_NOFILE", "Couldn't reset link remap")


def find(environ):
    """(program, environment) of the criu in the caller's $PATH.  Raises PyociError with a line that names it where there is none."""
    path = environ.get("PATH") or PATH
    for folder in path.split(":"):
        program = os.path.join(folder, "criu")
        if folder[:1] == "/" and os.path.isfile(program) and os.access(program, os.X_OK):
            return program, {**environ, "PATH": path}
    raise PyociError("criu: executable file not found in $PATH; checkpoint and restore need it (https://criu.org, Debian: criu)")


def version(program, environ):
    """criu's version as 31500 for 3.15.  Raises PyociError where it does not run on this host."""
    return _ask_alone(program, environ, wire.VERSION)["version"]


def check_features(program, environ, wanted):
    """Raises PyociError where criu, or the kernel below it, lacks one of `wanted` (mem_track, lazy_pages)."""
    found = _ask_alone(program, environ, wire.FEATURE_CHECK, dict.fromkeys(wanted, True)).get("features", {})
    missing = [name for name in wanted if not found.get(name)]
    if missing:
        raise PyociError(f"criu is missing features: {' '.join(missing)}; the kernel or this criu does not have them")


def _ask_alone(program, environ, kind, features=None):
    criu = Criu(program, environ)
    try:
        criu.ask(kind, None, features)
        answer = criu.answer()
        found = answer.get("version", {})
        numbers = [found.get(name, 0) for name in ("major", "minor", "sublevel")]
        return {"version": numbers[0] * 10000 + numbers[1] * 100 + numbers[2], "features": answer.get("features", {})}
    except PyociError as error:
        raise PyociError(f"{program} does not work on this host: {error}") from None
    finally:
        criu.end()


class Criu:
    """A criu that waits for one request.

    directories  {images_dir_fd: path, work_dir_fd: path or ""}: those that it works in
    log          the name of its log in the second, else the first; then its path, for the error
    fds          {number in criu: our descriptor}, beside its channel
    mounts       [(source, mount point, attributes set, attributes cleared, whether all below comes along)]: bound in a mount namespace
                 that criu has for itself
    waits_at     the notification at which it waits for our word, or ""
    masters      the terminals' masters that it handed out
    """

    __slots__ = ("pid", "channel", "log", "masters", "waits_at", "_errors", "_kind", "_directories")

    def __init__(self, program, environ, directories=None, log="", fds=None, mounts=()):
        self._directories = {}
        self.log = os.path.join(directories.get("work_dir_fd") or directories["images_dir_fd"], log) if directories else ""
        if self.log and os.path.exists(self.log):
            os.unlink(self.log)  # of another time: its errors are not ours
        self.masters = []
        self._kind = 0
        self.waits_at = ""
        self._errors = os.memfd_create("criu")
        self.channel, theirs = calls.socketpair()
        self.pid = 0
        try:
            fds = {CHANNEL_FD: theirs, 1: self._errors, 2: self._errors, **(fds or {})}
            self.pid = in_thread(self._spawn, program, environ, fds, mounts, directories or {})
        except BaseException:
            self.end()
            raise
        finally:
            os.close(theirs)

    def _spawn(self, program, environ, fds, mounts, directories):
        """In a thread of its own.  The directories are opened in criu's mount namespace: it mounts below them."""
        if mounts:
            _leave_mounts()
        for mount in mounts:
            _bind(*mount)
        for name, path in directories.items():
            if path:
                self._directories[name] = _open_directory(path)
        return _spawn(program, environ, fds)

    def ask(self, kind, options=None, features=None):
        """Send the request: criu's options, its directories among them.  Raises PyociError."""
        self._kind = kind
        if options is not None:
            options = {**self._directories, **options}
        self._send({"type": kind, "opts": options, "features": features})

    def _send(self, request):
        try:
            calls.send(self.channel, wire.encode("request", request))
        except SyscallError:
            raise self._ended() from None

    def answer(self, *scripts):
        """Go on until criu notifies of one of `scripts`, at which it then waits, or answers the request.  Returns the response.

        Masters of terminals that criu hands out meanwhile are in `masters`.  Raises PyociError where it failed or ended.
        """
        if self.waits_at:
            self._acknowledge()
        while True:
            response = self._receive()
            if not response.get("success"):
                raise self._failed(response)
            if response["type"] != wire.NOTIFY:
                return response
            script = response.get("notify", {}).get("script")
            if script in scripts:
                self.waits_at = script
                return response
            self._acknowledge()

    def _acknowledge(self):
        self.waits_at = ""
        self._send({"type": wire.NOTIFY, "notify_success": True})

    def _receive(self):
        data, fds = calls.receive(self.channel, 65536)
        self.masters += fds
        if not data:
            raise self._ended()
        try:
            response = wire.decode("response", data)
            response["type"]  # noqa: B018 - required
        except (ValueError, KeyError) as error:
            raise PyociError(f"criu: an answer that can't be read: {error}") from None
        return response

    def _failed(self, response):
        number = response.get("cr_errno", 0)
        reason = response.get("cr_errmsg") or (errno_text(number) if number else "")
        status = self._wait(END_TIMEOUT_MS)
        killed = f"it was killed by signal {os.WTERMSIG(status)}" if status is not None and os.WIFSIGNALED(status) else ""
        return self._error([reason, killed, self._said()])

    def _ended(self):
        status = self._wait(END_TIMEOUT_MS)
        if status is None:
            how = "it does not answer"
        elif os.WIFSIGNALED(status):
            how = f"it was killed by signal {os.WTERMSIG(status)}" + (" (possibly OOM-killed)" if os.WTERMSIG(status) == 9 else "")
        else:
            how = f"it ended without an answer, exit status {os.WEXITSTATUS(status)}"
        return self._error([how, self._said()])

    def _error(self, reasons):
        words = log_errors(self.log) or []
        text = ": ".join(word for word in [f"criu {NAMES[self._kind]} failed", *(words or reasons)] if word)
        return PyociError(f"{text}; criu's log is {self.log}" if self.log and os.path.exists(self.log) else text)

    def _said(self):
        text = os.pread(self._errors, 4096, 0).decode("utf-8", "replace")
        return " ".join(text.split())[-500:]

    def finish(self):
        """Let a criu that has answered end by itself.  Raises PyociError where it then fails, except after a pre-dump."""
        os.close(self.channel)
        self.channel = -1
        status = self._wait(-1)
        if status and self._kind != wire.PRE_DUMP:
            raise self._error([f"exit status {os.waitstatus_to_exitcode(status)}", self._said()])

    def _wait(self, timeout_ms):
        """criu's wait status; None if it has not ended in time, or if somebody else reaped it."""
        if not self.pid:
            return None
        try:
            pidfd = calls.pidfd_open(self.pid)
        except SyscallError:
            return None
        try:
            if not calls.poll([(pidfd, calls.POLLIN)], timeout_ms):
                return None
            pid, self.pid = self.pid, 0
            return os.waitpid(pid, 0)[1]
        except ChildProcessError:
            return None
        finally:
            os.close(pidfd)

    def end(self):
        """End criu if it still runs, and close what is left.  Harmless when done twice."""
        if self.pid:
            try:
                os.kill(self.pid, 9)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.pid = 0
        for fd in [self.channel, self._errors, *self.masters, *self._directories.values()]:
            if fd >= 0:
                os.close(fd)
        self.channel = self._errors = -1
        self.masters, self._directories = [], {}


def in_thread(deed, *args):
    """What `deed` returns or raises, in a thread of its own, whose namespaces it may change: they end with it, but for what it
    started."""
    found = []

    def carry_out():
        try:
            found.append((deed(*args), None))
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            found.append((None, error))

    thread = threading.Thread(target=carry_out)
    thread.start()
    thread.join()
    value, error = found[0]
    if error is not None:
        raise error
    return value


def _spawn(program, environ, fds):
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for number, fd in fds.items()}
    try:
        actions = [(os.POSIX_SPAWN_CLOSE, fd) for fd in inheritable()]
        actions += [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moved.items()]
        args = [program, "swrk", str(CHANNEL_FD)]
        return os.posix_spawn(program, args, environ, file_actions=actions, setsigdef=(13, 25), setsigmask=())
    except OSError as error:
        raise PyociError(f"{program}: execve: {errno_text(error.errno or errno.EIO)}") from None
    finally:
        for fd in moved.values():
            os.close(fd)


def _open_directory(path):
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None


def _leave_mounts():
    calls.unshare(calls.CLONE_NEWNS)
    root = calls.open_tree("/", OPEN_TREE_CLOEXEC)
    try:
        calls.mount_setattr(root, propagation=MS_SLAVE, recursive=True)
    finally:
        os.close(root)


def _bind(source, mount_point, attributes, cleared, with_all_below):
    tree = calls.open_tree(source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (calls.AT_RECURSIVE if with_all_below else 0))
    try:
        if attributes | cleared:
            calls.mount_setattr(tree, attributes=attributes, cleared=cleared)
        calls.move_mount(tree, mount_point)
    except SyscallError as error:
        raise SyscallError(error.call, error.errno, source) from None
    finally:
        os.close(tree)


def log_errors(path):
    """What criu's log says of the failure: the first error with a reason and the last, each once.  [] where it says nothing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            found = [line.partition("Error (")[2].partition("): ")[2].strip() for line in lines if "Error (" in line]
    except OSError:
        return []
    found = [text for text in found if text and not any(word in text for word in _NO_REASON)]
    return list(dict.fromkeys([found[0], found[-1]])) if found else []
