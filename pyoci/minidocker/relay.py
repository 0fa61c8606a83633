"""What a process in a container gets in place of streams that it must not hold itself, and the forked process that carries the bytes.

A terminal, a file or a device of the caller's outlives his command in whatever is left behind in the container: it reads what is typed later, types itself
(TIOCSTI), or goes on writing.  So these are carried through pipes.  Pipes, sockets and /dev/null give nothing away and pass as they are.
After the process's end the input is over; what it wrote is shown, and what its children write for as long as docker waits, or until the last of them closes
it; what they write later goes nowhere.  Source: pipe(7), TIOCSTI(2const), FIONREAD(2const); dockerd 20.10, which waits 2 s.
"""

import fcntl
import os
import time

from pyoci.kernel import calls
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.monitor import MONITOR, close_all_but

GRACE_S = 2.0
CHUNK_BYTES = 65536
POLLOUT = 4
_FIONREAD = 0x541B  # termios is a file of its own to load


class Relay:
    """Stands in for some of our descriptors 0, 1 and 2 (`carried`).  `fds`: {number: what the process is to have there}.

    close() ends it, and has to be called when nobody of ours holds `fds` any more.
    """

    __slots__ = ("_end", "_pid", "fds")

    def __init__(self, carried):
        pipes = {number: os.pipe2(os.O_CLOEXEC) for number in carried}
        if 1 in pipes and 2 in pipes and os.path.sameopenfile(1, 2):
            for fd in pipes.pop(2):
                os.close(fd)  # one pipe for both, so that what is written stays in order
        ours = {number: pair[number == 0] for number, pair in pipes.items()}
        self.fds = {number: pair[number != 0] for number, pair in pipes.items()}
        over, self._end = os.pipe2(os.O_CLOEXEC)
        signals = calls.Signals()  # all held back: ^C is for the process that runs, and what it writes last is still carried
        try:
            self._pid = os.fork()
        except OSError as error:
            raise MiniDockerError(f"fork: {error.strerror}") from error
        if self._pid == 0:
            _become_carrier(ours, over, [*self.fds.values(), self._end])
        signals.close()
        for fd in (*ours.values(), over):
            os.close(fd)
        if 2 in carried and 2 not in self.fds:
            self.fds[2] = self.fds[1]

    def close(self):
        """Say that the process has ended, and wait until its output is delivered.  Raises MiniDockerError where it can't be."""
        for fd in {*self.fds.values(), self._end}:
            os.close(fd)
        errno = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if errno:
            raise MiniDockerError(f"the output could not be written: {os.strerror(errno) if errno > 0 else 'its carrier was killed'}")


def _become_carrier(ours, over, others):
    errno = 0
    try:
        for fd in others:
            os.close(fd)
        errno = _Carrier(ours, over).run()
    except OSError as error:
        errno = error.errno
    finally:
        os._exit(errno)


class _Carrier:
    """The bytes, both ways.  ours: {number: our end of its pipe}; over: ends when the process has, or whoever waits for it was killed."""

    def __init__(self, ours, over):
        self._over = over
        self._input = ours.get(0, -1)
        self._outputs = {fd: number for number, fd in ours.items() if number}
        self._pending = b""  # input that the process has not taken yet
        self._owed = {}  # what the process had written and we not read when it ended: bytes of each
        self._errno = 0
        if self._input >= 0:
            os.set_blocking(self._input, False)

    def run(self):
        """Carry until the end.  Returns the errno of an output that can't be written, 0 if all can."""
        while self._over not in self._turn():
            pass
        self._end_input()
        self._drain()
        if self._outputs:
            leave(self._outputs)
        return self._errno

    def _turn(self):
        wanted = [(self._over, calls.POLLIN), *((fd, calls.POLLIN) for fd in self._outputs)]
        if self._input >= 0:
            wanted.append((self._input, POLLOUT) if self._pending else (0, calls.POLLIN))
        ready = calls.poll(wanted)
        self._show(ready)
        if 0 in ready:
            self._take()
        if self._input in ready:
            self._give()
        return ready

    def _take(self):
        try:
            self._pending = os.read(0, CHUNK_BYTES)
        except BlockingIOError:  # a terminal that somebody else made so
            return
        except OSError:  # EIO: it hung up, or is not ours to read in the background
            self._pending = b""
        if self._pending:
            self._give()
        else:
            self._end_input()

    def _give(self):
        try:
            self._pending = self._pending[os.write(self._input, self._pending) :]
        except BlockingIOError:
            pass
        except OSError:  # EPIPE: nobody will read it
            self._end_input()

    def _end_input(self):
        if self._input >= 0:
            os.close(self._input)
        self._input, self._pending = -1, b""

    def _show(self, ready):
        for fd in [fd for fd in self._outputs if fd in ready]:
            data = os.read(fd, CHUNK_BYTES)
            self._owed[fd] = self._owed.get(fd, 0) - len(data)
            if not data or not self._write(self._outputs[fd], data):
                os.close(fd)
                del self._outputs[fd]

    def _write(self, number, data):
        while data:
            try:
                data = data[os.write(number, data) :]
            except BlockingIOError:
                calls.poll([(number, POLLOUT)])
            except OSError as error:
                self._errno = error.errno
                return False
        return True

    def _drain(self):
        end = time.monotonic() + GRACE_S
        self._owed = {fd: int.from_bytes(fcntl.ioctl(fd, _FIONREAD, bytes(4)), "little") for fd in self._outputs}
        while self._outputs:
            left_ms = max(0, int((end - time.monotonic()) * 1000))
            if not left_ms and not any(self._owed[fd] > 0 for fd in self._outputs):
                return
            self._show(calls.poll([(fd, calls.POLLIN) for fd in self._outputs], left_ms))


def leave(readers):
    """Have a small process read these until nobody writes to them any more: without a reader, who was left behind would die of SIGPIPE."""
    if os.fork():
        return
    try:
        import _signal

        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number, fd in zip(range(3), (*readers, null, null), strict=False):
            os.dup2(fd, number)
        close_all_but()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.execve(MONITOR, ["minidocker-monitor", f"--discard={len(readers)}"], {})
    finally:
        os._exit(125)
