"""Staying with a container in the foreground: bytes both ways between this process's streams and the monitor, signals passed on, the terminal resized.

Everything is non-blocking towards the monitor, so that a container that does not read never keeps us from showing what it writes.
Source: docker-attach(1), docker-run(1) --detach-keys, --sig-proxy; termios(3), signalfd(2).
"""

import os

from pyoci.kernel import calls
from pyoci.minidocker import monitor
from pyoci.minidocker.errors import BadRequest, MiniDockerError

DETACHED, LEFT = -1, -2  # by the keys; by a third ^C
INSISTING = 3
DEFAULT_KEYS = "ctrl-p,ctrl-q"
POLLOUT = 4
SIGINT, SIGPIPE, SIGTERM, SIGCHLD, SIGURG, SIGXFSZ, SIGWINCH = 2, 13, 15, 17, 23, 25, 28
KEPT = (SIGPIPE, SIGCHLD, SIGURG, SIGXFSZ)
STREAM_NAMES = {1: "standard output", 2: "standard error"}
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class Unwritten(MiniDockerError):
    """What the container writes can't be passed on: nobody reads the pipe any more, the disk is full."""


def parse_keys(text):
    """`ctrl-p,ctrl-q` or `a,b` as bytes.  Raises BadRequest."""
    made = bytearray()
    for word in (text or DEFAULT_KEYS).split(","):
        if len(word) == 1 and word.isascii():
            made += word.encode()
            continue
        key = word.lower().removeprefix("ctrl-")
        if len(key) != 1 or not word.lower().startswith("ctrl-") or not ("a" <= key <= "z" or key in _CONTROL):
            raise BadRequest(f"invalid detach keys ({text}): unknown character: '{word}'")
        made.append(_CONTROL[key] if key in _CONTROL else ord(key) - 96)
    return bytes(made)


class DetachKeys:
    """Looks for the sequence in what is typed; holds back what may be its beginning."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys):
        self._keys = keys
        self._held = b""

    def feed(self, data):
        """(bytes to pass on, whether the sequence was typed)."""
        passed = bytearray()
        for byte in data:
            self._held += bytes([byte])
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._keys:
                return bytes(passed), True
        return bytes(passed), False


class Terminal:
    """Our terminal in raw mode, as long as it lives."""

    __slots__ = ("_saved", "fd")

    def __init__(self, fd=0):
        from pyoci.kernel.terminal import make_raw  # only for a terminal

        self.fd = fd
        self._saved = make_raw(fd)

    def restore(self):
        """Give it back as it was."""
        from pyoci.kernel.terminal import restore

        restore(self.fd, self._saved)


def attend(pidfd, signals):
    """Stay with a child of ours until it ends, and pass on our signals.  Closes pidfd.  Returns its exit status, 128 + n for signal n."""
    try:
        ready = ()
        while pidfd not in ready:
            ready = calls.poll([(pidfd, calls.POLLIN), (signals.fd, calls.POLLIN)])
            pass_signals(signals, pidfd)
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


def pass_signals(signals, pidfd):
    """Send the process what came for us, but what is about our own terminal, children and output.  Returns the numbers."""
    taken = signals.take()
    for number in taken:
        if number not in KEPT and number != SIGWINCH and pidfd >= 0:
            try:
                calls.pidfd_send_signal(pidfd, number)
            except calls.SyscallError:
                pass
    return taken


def window_size(fd=0):
    """(rows, columns) of a terminal, None where it is none."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


def say_size(link, size):
    """Tell the monitor."""
    if size:
        link.say(monitor.RESIZE, size[0].to_bytes(2, "little") + size[1].to_bytes(2, "little"))


class Attachment:
    """One client in the foreground.

    link        to the monitor, attached
    pid         whom signals go to, 0: nobody
    stdin       whether what comes on descriptor 0 is passed on
    tty         the container has a terminal
    keys        the bytes that detach, b"" for none
    signals     calls.Signals, or None where they are not ours to take
    """

    def __init__(self, link, *, pid=0, stdin=False, tty=False, keys=b"", signals=None):
        self.link = link
        self.tty = tty
        self.signals = signals
        self._pidfd = -1
        if pid:
            try:
                self._pidfd = calls.pidfd_open(pid)
            except calls.SyscallError:
                pass
        self._keys = DetachKeys(keys) if keys and tty else None
        self._stdin_open = stdin
        self._pending = b""  # input that the monitor can't take yet
        self._pending_eof = False
        self._asked_to_end = 0

    def run(self):
        """Stay until the end.  Returns (whether we are to settle, exit status), None where the monitor died, DETACHED or LEFT.  Raises Unwritten."""
        terminal = Terminal() if self.tty and self._stdin_open else None
        try:
            if self.tty:
                say_size(self.link, window_size())
            while True:
                found = self._turn()
                if found is not False:
                    return found
        finally:
            if terminal:
                terminal.restore()
            if self._pidfd >= 0:
                os.close(self._pidfd)

    def _turn(self):
        wanted = [(self.link.fileno(), calls.POLLIN | (POLLOUT if self._pending or self._pending_eof else 0))]
        if self._stdin_open and not self._pending:
            wanted.append((0, calls.POLLIN))
        if self.signals:
            wanted.append((self.signals.fd, calls.POLLIN))
        ready = calls.poll(wanted)
        if self.signals and self.signals.fd in ready:
            self._pass_signals()
            if self._asked_to_end >= (INSISTING if self._pidfd >= 0 else 1):  # the program may ignore it
                return LEFT
        if 0 in ready and self._take_input():
            return DETACHED
        events = ready.get(self.link.fileno(), 0)
        if events & POLLOUT:
            self._give_input()
        if events & ~POLLOUT:
            return self._hear()
        return False

    def _hear(self):
        kind, data = self.link.receive()
        if kind in (monitor.OUT, monitor.ERR):
            self._show(1 if kind == monitor.OUT else 2, data)
            return False
        if kind == monitor.EXIT:
            return monitor.read_exit(data)
        return None if not kind else False

    def _show(self, fd, data):
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:  # a terminal that somebody else made so
                calls.poll([(fd, POLLOUT)])
            except OSError as error:
                raise Unwritten(f"write {STREAM_NAMES[fd]}: {error.strerror}") from error

    def _take_input(self):
        """Read what was typed.  True if it detaches."""
        try:
            data = os.read(0, monitor.PACKET_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._stdin_open = False
            self._pending_eof = True
        elif self._keys:
            data, detaches = self._keys.feed(data)
            if detaches:
                return True
        self._pending = data
        self._give_input()
        return False

    def _give_input(self):
        if self._pending:
            if self.link.offer(monitor.INPUT, self._pending) is False:
                return
            self._pending = b""
        if self._pending_eof and self.link.offer(monitor.EOF, b"") is not False:
            self._pending_eof = False

    def _pass_signals(self):
        taken = pass_signals(self.signals, self._pidfd)
        self._asked_to_end += sum(number in (SIGINT, SIGTERM) for number in taken)
        if SIGWINCH in taken and self.tty:
            say_size(self.link, window_size())
