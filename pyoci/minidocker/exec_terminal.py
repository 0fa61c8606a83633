"""`exec -it`: a further process on a terminal of ours that can be left by the detach keys, and goes on then.

Between the caller's terminal and the process lies another one.  At its far end a forked process of ours calls the runtime, as from a shell, and waits; the caller carries
the bytes.  When he leaves, a small process reads what is still written.  Source: docker-exec(1), --detach-keys; pty(7), TIOCSCTTY(2const).
"""

import contextlib
import fcntl
import os
import termios

from pyoci import hot
from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.kernel.terminal import make_raw
from pyoci.minidocker import attach
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.monitor import close_all_but
from pyoci.minidocker.start import runtime_of

CHUNK_BYTES = 65536
POLLOUT = 4


def run(store, container, process, keys):
    """The exit status of the process, or attach.DETACHED.  keys: the bytes that detach.  Raises MiniDockerError with docker's 126 or 127."""
    try:
        master, slave = os.openpty()
    except OSError:  # a host whose devpts is closed to users (ptmxmode=000): the container's own terminal does, but can't be left
        from pyoci.minidocker.execute import with_streams

        return with_streams(store, container, process)
    make_raw(slave)
    _pass_size(master)
    told, tells = os.pipe2(os.O_CLOEXEC)
    signals = calls.Signals()
    try:
        pid = os.fork()
        if pid == 0:
            _call_runtime(store, container, process, slave, tells)
        os.close(slave)
        os.close(tells)
        if _Caller(master, pid, keys, signals).run() == attach.DETACHED:
            from pyoci.minidocker.relay import leave

            os.set_blocking(master, True)
            leave([master])
            return attach.DETACHED
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if text := os.read(told, 4096).decode("utf-8", "replace"):
            error = MiniDockerError(text)
            error.exit_status = status
            raise error
        return status if status >= 0 else 128 - status
    finally:
        signals.close()
        os.close(master)
        os.close(told)


def _pass_size(master):
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))


def _call_runtime(store, container, process, slave, tells):
    """In the child: never returns."""
    import _signal

    status = 125
    try:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for number in range(3):
            os.dup2(slave, number)
        close_all_but(tells, *hot.descriptors())  # who leaves takes what he had open along
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        status = runtime_of(store, container).exec(container.id, process)
    except PyociError as error:
        status = getattr(error, "exit_status", 125)
        os.write(tells, str(error).encode("utf-8", "replace")[:4096])
    except OSError as error:
        os.write(tells, f"exec on a terminal: {error}".encode("utf-8", "replace"))
    finally:
        os._exit(status)


class _Caller:
    """Bytes between descriptors 0 and 1 and the master, until the child ends or the keys are typed."""

    def __init__(self, master, pid, keys, signals):
        self._master = master
        self._pid = pid
        self._keys = attach.DetachKeys(keys)
        self._signals = signals
        self._typed = b""  # what the master has not taken yet
        self._stdin_open = True

    def run(self):
        """None at the end, or attach.DETACHED."""
        os.set_blocking(self._master, False)
        ended = os.pidfd_open(self._pid)
        terminal = attach.Terminal()
        try:
            while True:
                wanted = [(ended, calls.POLLIN), (self._signals.fd, calls.POLLIN), (self._master, calls.POLLIN | (POLLOUT if self._typed else 0))]
                if self._stdin_open and not self._typed:
                    wanted.append((0, calls.POLLIN))
                ready = calls.poll(wanted)
                if self._signals.fd in ready:
                    self._pass_signals()
                if 0 in ready and self._take():
                    return attach.DETACHED
                if ready.get(self._master, 0) & POLLOUT:
                    self._give()
                if ended in ready:
                    while self._show():
                        pass
                    return None
                if ready.get(self._master, 0) & ~POLLOUT:
                    self._show()
        finally:
            terminal.restore()
            os.close(ended)

    def _show(self):
        """Whether there was something to show."""
        try:
            data = os.read(self._master, CHUNK_BYTES)
        except OSError:  # nothing now, or for ever: the child's end is awaited
            return False
        while data:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                calls.poll([(1, POLLOUT)])
            except OSError:
                return True
        return True

    def _take(self):
        """Read what was typed.  Whether it detaches."""
        try:
            data = os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._stdin_open = bool(data)
        self._typed, detaches = self._keys.feed(data)
        self._give()
        return detaches

    def _give(self):
        with contextlib.suppress(OSError):
            if self._typed:
                self._typed = self._typed[os.write(self._master, self._typed) :]

    def _pass_signals(self):
        for number in self._signals.take():
            if number == attach.SIGWINCH:
                _pass_size(self._master)
            elif number not in attach.KEPT:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)
