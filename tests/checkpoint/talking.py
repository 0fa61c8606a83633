"""What checkpoint tests share: a process with a memory, and the other side of its standard streams."""

import os
import pathlib
import select
import socket
import subprocess

import support

# Counts the lines that it reads: the count is in its memory alone.  It ends with 7 when its input does.
# runc reopens a standard stream that is the host's /dev/null in the container, and restores no other file.
COUNTER = 'exec 2>&1; n=0; while read -r word; do n=$((n+1)); echo "$n $word"; done; exit 7'


class Talk:
    """Pipes to and from a container.  `given` goes to subprocess; ask() says a word and returns the line that comes back."""

    def __init__(self):
        self._theirs = []
        self.input, self.output = -1, -1

    def given(self):
        """The ends that the container gets."""
        theirs_in, self.input = os.pipe()
        self.output, theirs_out = os.pipe()
        self._theirs = [theirs_in, theirs_out]
        return {"stdin": theirs_in, "stdout": theirs_out, "stderr": subprocess.DEVNULL}

    def begun(self):
        """The container has its ends: let go of them."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def ask(self, word):
        """The answer to a word.  Raises AssertionError after TIMEOUT_S."""
        os.write(self.input, f"{word}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self.output], [], [], support.TIMEOUT_S)[0], f"no answer to {word}"
            piece = os.read(self.output, 1)
            assert piece, f"the end instead of an answer to {word}"
            line += piece
        return line.decode().strip()

    def close(self):
        """End the container's input."""
        self.begun()
        for fd in (self.input, self.output):
            if fd >= 0:
                os.close(fd)
        self.input = self.output = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def call(pyoci, talk, *words):
    """Run a verb that leaves a container with those streams behind.  Raises AssertionError where it fails."""
    log = pathlib.Path(pyoci.root).with_name("log")
    words = pyoci.command(*words)
    with subprocess.Popen([words[0], "--log", str(log), *words[1:]], env=pyoci.environment, **talk.given()) as process:
        talk.begun()
        assert process.wait(support.TIMEOUT_S) == 0, log.read_text()


def started(pyoci, bundle, talk, *flags):
    """A counter that has counted one word.  Returns its id."""
    bundle.shell(COUNTER)
    name = pyoci.new_id()
    call(pyoci, talk, "run", "--detach", *flags, "--bundle", bundle.path, name)
    assert talk.ask("one") == "1 one"
    return name


def checkpointed(pyoci, bundle, images, *flags):
    """The images of a counter that has counted one word.  Returns the id that it had."""
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        pyoci.ok("checkpoint", "--image-path", images, *flags, name)
    support.reap()
    return name


def restored(pyoci, bundle, images, talk, *flags):
    """Restore it, detached.  Returns its id."""
    name = pyoci.new_id("restored")
    call(pyoci, talk, "restore", "--detach", "--bundle", bundle.path, "--image-path", images, *flags, name)
    return name


def mounts(pid):
    """What is mounted where and how in a process's mount namespace, sorted; ids and peer groups are left out.  proc_pid_mountinfo(5)"""
    rows = []
    for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        rows.append((left.split()[4], *left.split()[3:6:2], right.split()[0]))
    return sorted(rows)


class Receiver:
    """A console socket."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(support.TIMEOUT_S)

    def take(self):
        """The descriptor that was sent."""
        with self.socket.accept()[0] as channel:
            return socket.recv_fds(channel, 4096, 1)[1][0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def read_until(fd, wanted):
    """What is read until the words are in it.  Raises AssertionError after TIMEOUT_S."""
    text = b""
    while wanted.encode() not in text:
        assert select.select([fd], [], [], support.TIMEOUT_S)[0], text
        text += os.read(fd, 4096)
    return text.decode()
