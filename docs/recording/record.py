#!/usr/bin/env python3
"""Play session.txt at a real shell on a terminal, and write what it showed as an asciicast (version 2).

    docs/recording/record.py OUT.cast        as root, after `make install`; Debian's docker-registry, busybox-static and iproute2

The registry listens on loopback in a network namespace of this script's own, with one image that is made here; MiniDocker's roots are a temporary folder.
Nothing is left.  Source: docs.asciinema.org, "asciicast file format (version 2)".
"""

import fcntl
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS, ROWS = 116, 26
PORT = 5000
PROMPT = b"\x1b[1;32m#\x1b[0m "
KEY_S, BEFORE_S, AFTER_S = 0.045, 0.5, 1.6  # between keys; before and after a command
LONGEST_S = 60
REGISTRY = """version: 0.1
storage: {filesystem: {rootdirectory: '%s'}}
http: {addr: 'localhost:%d', secret: secret}
"""


def main(out):
    if os.environ.get("MINIDOCKER_RECORDING") != "1":
        words = ["unshare", "--net", sys.executable, __file__, out]
        os.execvpe(words[0], words, {**os.environ, "MINIDOCKER_RECORDING": "1"})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        registry = start_registry(folder)
        try:
            fill_registry(folder)
            environ = environment(f"{folder}/roots")
            try:
                events = play((HERE / "session.txt").read_text().splitlines(), environ)
            finally:
                remove_containers(environ)
        finally:
            registry.kill()
            registry.wait()
    with open(out, "w", encoding="utf-8") as file:
        for line in ({"version": 2, "width": COLUMNS, "height": ROWS, "title": "MiniDocker"}, *events):
            print(json.dumps(line, ensure_ascii=False), file=file)


def environment(roots):
    """What the shell has: these roots, and this tree's or the PATH's minidocker."""
    path = f"{HERE.parents[1]}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/nonexistent", "TERM": "xterm-256color", "LANG": "C.UTF-8", "MINIDOCKER_ROOT": f"{roots}/data", "MINIDOCKER_RUN": f"{roots}/run",
            "PS1": r"\[\e[1;32m\]#\[\e[0m\] ", "INPUTRC": f"{HERE}/inputrc", "HISTFILE": ""}  # fmt: skip


def start_registry(folder):
    """A docker-registry on loopback, which answers when this returns."""
    pathlib.Path(f"{folder}/registry.yml").write_text(REGISTRY % (f"{folder}/registry", PORT))
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["docker-registry", "serve", f"{folder}/registry.yml"], **quiet)
    end = time.monotonic() + LONGEST_S
    while True:
        try:
            socket.create_connection(("localhost", PORT), 1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise
            time.sleep(0.05)


def fill_registry(folder):
    """An image of three layers, from roots of its own."""
    environ = environment(f"{folder}/maker")

    def minidocker(*words):
        subprocess.run(["minidocker", *words], env=environ, check=True, stdout=subprocess.DEVNULL)

    name = f"localhost:{PORT}/busybox"
    minidocker("image", "make", "busybox", name)
    for count in (2, 5):
        minidocker("run", "--name", "maker", "--network", "none", name, "dd", "if=/dev/urandom", f"of=/var/{count}", "bs=1M", f"count={count}")
        minidocker("commit", "maker", name)
        minidocker("rm", "maker")
    minidocker("push", name)
    shutil.rmtree(f"{folder}/maker")


def remove_containers(environ):
    """Whatever the session left."""
    found = subprocess.run(["minidocker", "ps", "-aq"], env=environ, capture_output=True, text=True, check=False).stdout.split()
    if found:
        subprocess.run(["minidocker", "rm", "-f", *found], env=environ, check=False, stdout=subprocess.DEVNULL)


def play(commands, environ):
    """[[seconds, "o", text]] of a shell that is typed these lines."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile"], environ)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    shell = Shell(fd)
    try:
        shell.until_prompt()
        for command in commands:
            shell.pause(BEFORE_S)
            for key in command:
                os.write(fd, key.encode())
                shell.pause(KEY_S)
            os.write(fd, b"\r")
            shell.until_prompt()
            shell.pause(AFTER_S)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)
    return shell.events


class Shell:
    """What comes from the terminal, and when."""

    def __init__(self, fd):
        self.events = []
        self._fd = fd
        self._began = time.monotonic()
        self._partial = b""

    def pause(self, seconds):
        """Take what comes in that time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take(left)

    def until_prompt(self):
        """Take what comes until the shell asks for the next command."""
        seen, end = b"", time.monotonic() + LONGEST_S
        while not seen.endswith(PROMPT):
            if time.monotonic() > end:
                raise TimeoutError(f"no prompt after {LONGEST_S} seconds: {seen[-400:]!r}")
            seen += self._take(1)

    def _take(self, seconds):
        if not select.select([self._fd], [], [], seconds)[0]:
            return b""
        data = os.read(self._fd, 65536)
        try:
            text, self._partial = (self._partial + data).decode(), b""
        except UnicodeDecodeError as error:  # a character was cut in two
            whole = self._partial + data
            text, self._partial = whole[: error.start].decode(), whole[error.start :]
        self.events.append([round(time.monotonic() - self._began, 3), "o", text])
        return data


if __name__ == "__main__":
    main(sys.argv[1])
