"""Processes and descriptors to wait for, none of it by the clock: lines of a pipe, terminals, sockets that get descriptors."""

import array
import contextlib
import os
import pty
import re
import select
import socket
import subprocess
import termios

TIMEOUT_S = 30


class Running:
    """A verb in the foreground whose standard output is read line by line."""

    def __init__(self, pyoci, *words, **more):
        # Unbuffered: a line in a buffer of ours would be none to select.
        self.process = pyoci.start_process(*words, stdout=subprocess.PIPE, bufsize=0, **more)

    def line(self):
        """The next line; "" at the end."""
        assert select.select([self.process.stdout], [], [], TIMEOUT_S)[0], "no line"
        return self.process.stdout.readline().decode().rstrip("\n")

    def status(self):
        """The exit status, once it has ended."""
        return self.process.wait(TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Screen:
    """What is shown on the master of a terminal."""

    def __init__(self, master):
        self.master = master
        self.shown = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, wanted):
        """The match of the regular expression in what was shown since the last call.  Raises AssertionError at the end."""
        while not (found := re.search(wanted, self.shown)):
            assert select.select([self.master], [], [], TIMEOUT_S)[0], f"{wanted!r} is not in {self.shown!r}"
            data = b""
            with contextlib.suppress(OSError):
                data = os.read(self.master, 4096)
            assert data, f"the end, and {wanted!r} is not in {self.shown!r}"
            self.shown += data.decode(errors="replace")
        self.shown = self.shown[found.end() :]
        return found

    def rest(self):
        """All that is still shown, up to the end."""
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], TIMEOUT_S)[0] and (data := os.read(self.master, 4096)):
                self.shown += data.decode(errors="replace")
        return self.shown

    def close(self):
        os.close(self.master)


class Terminal(Screen):
    """A terminal of ours with a command on it."""

    def __init__(self, command, rows=24, columns=80):
        master, peer = pty.openpty()
        super().__init__(master)
        termios.tcsetwinsize(master, (rows, columns))
        self.mode = termios.tcgetattr(master)
        self.process = subprocess.Popen(command, stdin=peer, stdout=peer, stderr=peer, start_new_session=True, env={})
        os.close(peer)

    def status(self):
        return self.process.wait(TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.close()


class Receiver:
    """A stream socket at a path that is sent descriptors: --console-socket, --pidfd-socket."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen(1)
        self.socket.settimeout(TIMEOUT_S)

    def take(self):
        """(payload, descriptor) of the one message."""
        channel, _ = self.socket.accept()
        with channel:
            channel.settimeout(TIMEOUT_S)
            data, control, _, _ = channel.recvmsg(4096, socket.CMSG_SPACE(16))
        fds = array.array("i")
        for level, kind, content in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(content)
        (fd,) = fds
        return data, fd

    def is_untouched(self):
        """Whether nobody connected."""
        return not select.select([self.socket], [], [], 0)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def ended(fd):
    """Wait until the descriptor of a process (pidfd) says that it ended."""
    assert select.select([fd], [], [], TIMEOUT_S)[0]


def inside(pyoci, container_id, script, *flags):
    """What a shell script prints that is executed in the container."""
    return pyoci.ok("exec", *flags, container_id, "sh", "-c", script).strip()
