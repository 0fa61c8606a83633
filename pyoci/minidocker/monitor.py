"""The monitor seen from Python: how it is started, and what is said to it over attach.sock.

native/monitor/monitor.h has the other side.  Messages are packets whose first byte is their kind.  Nothing here waits but `Link.receive`.
Source: unix(7), SOCK_SEQPACKET.
"""

import _socket
import os

from pyoci.kernel import calls
from pyoci.minidocker.errors import Conflict, MiniDockerError

ATTACH, INPUT, EOF, RESIZE, SETTLED, TIMER, DEED, QUIT = b"A", b"I", b"E", b"R", b"S", b"T", b"D", b"Q"
OUT, ERR, LOGGED, EXIT, FULL = b"O", b"e", b"N", b"X", b"F"
CLIENTS = 64
WANTS_OUT, WANTS_ERR, WANTS_IN, WANTS_OWNING, WANTS_LOGGED, WANTS_RECORDED = 1, 2, 4, 8, 16, 32
PACKET_BYTES = 16384
HIGHEST = (1 << 31) - 1
MONITOR = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/native/monitor/minidocker-monitor"


class Link:
    """A connection to a monitor."""

    __slots__ = ("socket",)

    def __init__(self, fd):
        self.socket = _socket.socket(fileno=fd)

    def fileno(self):
        """For poll."""
        return self.socket.fileno()

    def say(self, kind, data=b""):
        """Say something.  False where the monitor is gone."""
        try:
            self.socket.send(kind + data, _socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def offer(self, kind, data):
        """Say something if the monitor can take it now: True; False if it can't; None where it is gone."""
        try:
            self.socket.send(kind + data, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

    def attach(self, wants):
        """Say what is wanted: WANTS_ bits."""
        return self.say(ATTACH, bytes([wants]))

    def receive(self):
        """(kind, bytes) of the next packet; (b"", b"") when the monitor is gone.  Raises Conflict where it has no place for us."""
        for _ in range(2):  # ECONNRESET is told once, when it ended with words of ours unread; what it said last comes after it
            try:
                packet = self.socket.recv(PACKET_BYTES + 1)
            except ConnectionResetError:
                continue
            if packet[:1] == FULL:
                raise Conflict(f"{CLIENTS} commands are attached to the container or wait for it: no more can")
            return packet[:1], packet[1:]
        return b"", b""

    def wait_exit(self):
        """Wait for the end: (whether we are to settle it, exit status); None where the monitor died without a word."""
        while True:
            kind, data = self.receive()
            if kind == EXIT:
                return read_exit(data)
            if not kind:
                return None

    def close(self):
        """Close."""
        self.socket.close()


def read_exit(data):
    """(whether we are to settle it, exit status)."""
    settles, _, status = data.decode().partition(" ")
    return settles == "1", int(status)


def connect(live):
    """A Link to the monitor of a container's live folder, or None where nobody listens."""
    try:
        folder = os.open(live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return Link(calls.connect(f"/proc/self/fd/{folder}/attach.sock", seqpacket=True))
    except calls.SyscallError:
        return None
    finally:
        os.close(folder)


def listen(folder_fd, name, kind=_socket.SOCK_SEQPACKET):
    """A listening socket of that name in the folder, over whatever had it; the path may be longer than sun_path.  Returns its descriptor."""
    listener = _socket.socket(_socket.AF_UNIX, kind)
    os.fchmod(listener.fileno(), 0o600)  # before the name is there: bind(2) takes the mode from it
    path = f"/proc/self/fd/{folder_fd}/{name}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener.bind(path)
    listener.listen(64)
    return listener.detach()


class Wiring:
    """Every descriptor between the container, its monitor and whoever starts them: made whole, then each process keeps its part.

    container   descriptors for the container's 0, 1, 2 (the terminal's come through console.sock instead)
    monitor     {key of its command line: descriptor}
    link        our end of the first client's connection, a Link
    pid_writer  by which the creator tells the monitor the pid
    report      (reader, writer) by which the creator tells its starter how it went
    """

    __slots__ = ("container", "link", "live", "monitor", "pid_writer", "report")

    def __init__(self, live, tty, open_stdin):
        keep_standard_numbers()
        self.live = os.open(live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.monitor = {"live": self.live, "listen": listen(self.live, "attach.sock")}
        self.container = []
        if tty:
            self.monitor["console"] = listen(self.live, "console.sock", _socket.SOCK_STREAM)
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            self.container = [null, null, null]
        else:
            self._pipes(open_stdin)
        ours, theirs = calls.socketpair()
        self.link = Link(ours)
        self.monitor["client"] = theirs
        reader, self.pid_writer = os.pipe2(os.O_CLOEXEC)
        self.monitor["pid"] = reader
        self.report = os.pipe2(os.O_CLOEXEC)

    def _pipes(self, open_stdin):
        if open_stdin:
            reader, self.monitor["in"] = os.pipe2(os.O_CLOEXEC)
        else:
            reader = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.monitor["out"], out = os.pipe2(os.O_CLOEXEC)
        self.monitor["err"], err = os.pipe2(os.O_CLOEXEC)
        self.container = [reader, out, err]

    def close_all_but(self, *kept):
        """Close what this process has no part in."""
        for fd in {*self.monitor.values(), *self.container, self.pid_writer, *self.report} - set(kept):
            os.close(fd)


def keep_standard_numbers():
    """See that 0, 1 and 2 are open, so that nothing of ours ever has these numbers."""
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    while fd < 3:
        fd = os.dup(fd)
    os.close(fd)


def close_all_but(*kept):
    """Close every descriptor from 3 on but these: what the caller left open, a pipe or a locked file, is not held for a container's life."""
    first = 3
    for fd in (*sorted(kept), HIGHEST):
        os.closerange(first, fd)
        first = fd + 1


def exec_monitor(wiring, container_id, options, deed, environ):
    """Become the monitor.  options: further words of its command line; deed: the command for its deeds.  Does not return."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in range(3):
        os.dup2(null, number)  # nobody's pipe or terminal stays open for our sake
    words = ["minidocker-monitor", container_id]
    for key, fd in wiring.monitor.items():
        os.set_inheritable(fd, True)
        words.append(f"client={fd}:{options['wants']}" if key == "client" else f"{key}={fd}")
    words += options["words"]
    close_all_but(*wiring.monitor.values())
    os.execve(MONITOR, [*words, "--", *deed], environ)


def check_installed():
    """Raise MiniDockerError where the monitor was not built."""
    if not os.access(MONITOR, os.X_OK):
        raise MiniDockerError(f"this installation is incomplete: {MONITOR} is missing", hint="install the package again")
