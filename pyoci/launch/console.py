"""Sends descriptors to a caller's socket, and shows a foreground container's terminal on the caller's.  unix(7), termios(3)"""

import posix

from pyoci.kernel import calls

POLLOUT = 4


def send(socket, fd, payload):
    """One descriptor with its payload over a stream socket at that path.  Raises SyscallError."""
    if len(socket.encode("utf-8", "surrogateescape")) > 107:
        folder, _, name = socket.rpartition("/")
        directory = posix.open(folder or "/", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            channel = calls.connect(f"/proc/self/fd/{directory}/{name}")
        finally:
            posix.close(directory)
    else:
        channel = calls.connect(socket)
    try:
        calls.send(channel, payload, [fd])
    finally:
        posix.close(channel)


class Pump:
    """Carries bytes between standard input, standard output and the master of a terminal; raw mode while it lives."""

    __slots__ = ("master", "_saved", "_input_open", "_pending")

    def __init__(self, master):
        self.master = master
        posix.set_blocking(master, False)  # only ours; a process that doesn't read must not keep us from showing what it writes
        self._input_open = True
        self._pending = b""  # what the terminal does not take yet
        from pyoci.kernel.terminal import make_raw  # only for a terminal

        self._saved = make_raw(0)
        self.resize()

    def resize(self):
        """Give the container the size of the caller's terminal."""
        from fcntl import ioctl

        try:
            ioctl(self.master, 0x5414, ioctl(0, 0x5413, b"\0" * 8))  # TIOCSWINSZ, TIOCGWINSZ
        except OSError:
            pass

    def wanted(self):
        """What to poll for."""
        if self._pending:
            return [(self.master, calls.POLLIN | POLLOUT)]
        return [(self.master, calls.POLLIN), (0, calls.POLLIN)] if self._input_open else [(self.master, calls.POLLIN)]

    def serve(self, ready):
        """Carry what is there.  False when the container's side is closed."""
        if 0 in ready:
            self._pending = _read(0)
            self._input_open = bool(self._pending)
        if self._pending:
            self._give()
        if ready.get(self.master, 0) & ~POLLOUT:
            data = _read(self.master)
            if not data:
                return False
            _write_all(1, data)
        return True

    def _give(self):
        try:
            self._pending = self._pending[posix.write(self.master, self._pending) :]
        except BlockingIOError:
            pass
        except OSError:
            self._pending = b""

    def drain(self):
        """What the container wrote last."""
        while calls.poll([(self.master, calls.POLLIN)], 0):
            data = _read(self.master)
            if not data:
                return
            _write_all(1, data)

    def close(self):
        """Give the caller's terminal back as it was."""
        from pyoci.kernel.terminal import restore

        restore(0, self._saved)
        posix.close(self.master)


def _read(fd):
    try:
        return posix.read(fd, 65536)
    except OSError:  # EIO: the last holder of the other side is gone
        return b""


def _write_all(fd, data):
    while data:
        try:
            data = data[posix.write(fd, data) :]
        except BlockingIOError:  # a terminal that somebody else made so
            calls.poll([(fd, POLLOUT)])
        except OSError:
            return
