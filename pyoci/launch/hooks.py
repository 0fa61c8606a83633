"""Hooks in the runtime's namespaces: state on stdin, environment, time-out for the whole process group, streams captured.

config.md#posix-platform-hooks
"""

import posix
from time import monotonic

from pyoci.errors import OperationFailed, errno_text
from pyoci.kernel import calls

CAPTURE_BYTES = 4096


def run_hook(kind, index, path, args, env, timeout_s, state, began=None, signals=None):
    """Run one hook.  `state`: the JSON for its stdin; `began`: called with its pid; `signals`: calls.Signals, of which those that ask us
    to end end the hook.  Raises OperationFailed where it fails or runs too long."""
    reason = _run(path, args, env, timeout_s, state, began, signals)
    if reason:
        raise OperationFailed(f"hooks.{kind}[{index}]", f"{path}: {reason}", prefix=f"error running {kind} hook #{index}")


def _run(path, args, env, timeout_s, state, began, signals):
    pipes = [posix.pipe2(posix.O_CLOEXEC) for _ in range(3)]
    ends = [fd for pair in pipes for fd in pair]
    try:
        theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
        actions = [(posix.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(theirs)]
        actions += [(posix.POSIX_SPAWN_CLOSE, fd) for fd in inheritable()]
        values = dict(word.partition("=")[::2] for word in env)
        try:
            pid = posix.posix_spawn(path, args, values, file_actions=actions, setsid=True, setsigdef=(13, 25), setsigmask=())
        except OSError as error:
            return f"execve: {errno_text(error.errno)}"
        except ValueError as error:  # what execve(2) takes and Python doesn't: an empty argv[0], a variable without a name
            return str(error)
        try:
            if began:
                began(pid)
            for fd in theirs:
                posix.close(fd)
                ends.remove(fd)
            return _follow(pid, pipes[0][1], pipes[1][0], pipes[2][0], timeout_s, state, ends, signals)
        except BaseException:  # a full disk, an interrupt: the hook is not left alone
            _end(pid)
            raise
    finally:
        for fd in ends:
            posix.close(fd)


def inheritable():
    """What the caller left open across execve; a hook gets none of it."""
    return [fd for fd in map(int, posix.listdir("/proc/self/fd")) if fd > 2 and _is_inheritable(fd)]


def _is_inheritable(fd):
    try:
        return posix.get_inheritable(fd)
    except OSError:  # the one that listed
        return False


def _end(pid):
    try:
        posix.killpg(pid, 9)
        posix.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _follow(pid, stdin, stdout, stderr, timeout_s, state, ends, signals):
    pidfd = calls.pidfd_open(pid)
    ends.append(pidfd)
    for fd in (stdin, stdout, stderr):
        posix.set_blocking(fd, False)
    captured = {stdout: b"", stderr: b""}
    open_fds = {stdout, stderr}
    end_s = monotonic() + timeout_s if timeout_s else 0
    pending = state.encode()
    while True:
        wanted = [(pidfd, calls.POLLIN), *((fd, calls.POLLIN) for fd in open_fds)]
        if pending:
            wanted.append((stdin, 4))  # POLLOUT
        if signals:
            wanted.append((signals.fd, calls.POLLIN))
        left_ms = max(0, int((end_s - monotonic()) * 1000)) if end_s else -1
        ready = calls.poll(wanted, left_ms)
        if end_s and not ready and monotonic() >= end_s:
            _end(pid)
            return f"hook ran past specified timeout of {timeout_s:.1f}s, {_streams(captured, stdout, stderr)}"
        if signals and signals.fd in ready and (number := signals.ending()):
            _end(pid)
            return f"it was ended, since pyoci got signal {number}"
        if pending and stdin in ready:
            pending = _feed(stdin, pending)
            if not pending:
                posix.close(stdin)
                ends.remove(stdin)
        for fd in [fd for fd in open_fds if fd in ready]:
            _drain(fd, captured, open_fds)
        if pidfd in ready:
            break
    return _judge(pid, captured, open_fds, stdout, stderr)


def _feed(stdin, pending):
    """What is still to be written; a hook need not read its input."""
    try:
        return pending[posix.write(stdin, pending) :]
    except BlockingIOError:
        return pending
    except OSError:
        return b""


def _drain(fd, captured, open_fds):
    try:
        data = posix.read(fd, 65536)
    except BlockingIOError:  # the hook has read it itself, through /proc
        return
    if not data:
        open_fds.discard(fd)
    elif len(captured[fd]) < CAPTURE_BYTES:
        captured[fd] += data[: CAPTURE_BYTES - len(captured[fd])]


def _judge(pid, captured, open_fds, stdout, stderr):
    while open_fds:  # what it wrote before it ended; a child that lives on may keep the pipes open
        ready = calls.poll([(fd, calls.POLLIN) for fd in open_fds], 0)
        if not ready:
            break
        for fd in ready:
            _drain(fd, captured, open_fds)
    status = posix.waitpid(pid, 0)[1]
    if posix.WIFSIGNALED(status):
        return f"signal {posix.WTERMSIG(status)}, {_streams(captured, stdout, stderr)}"
    code = posix.WEXITSTATUS(status)
    return f"exit status {code}, {_streams(captured, stdout, stderr)}" if code else ""


def _streams(captured, stdout, stderr):
    out, err = (" ".join(captured[fd].decode("utf-8", "replace").split("\n")).strip() for fd in (stdout, stderr))
    return f"stdout: {out}, stderr: {err}"
