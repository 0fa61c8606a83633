"""Readiness: what the process tells its notify socket is told to the caller's.  sd_notify(3).  Cold.

The directory was bound into the container at create; the socket in it is made here, before the process begins.
"""

import os
import socket

from pyoci.errors import SyscallError
from pyoci.kernel import calls
from pyoci.runtime.foreground import forward

BARRIER_TIMEOUT_S = 30


class Readiness:
    """The container's notify socket, listening.  `target`: the caller's NOTIFY_SOCKET, a path or @abstract."""

    def __init__(self, container, target):
        self.target = "\0" + target[1:] if target[:1] == "@" else target
        self.path = container.file("notify/notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        directory = os.open(container.file("notify"), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.socket.bind(f"/proc/self/fd/{directory}/notify.sock")
            os.chmod(self.path, 0o777)
        except OSError as error:
            self.socket.close()
            raise SyscallError("bind", error.errno, self.path) from None
        finally:
            os.close(directory)

    def forward(self, record, signals=None):
        """Wait until the process says READY=1 or ends; then tell the caller, and who the main process is.

        `signals`: calls.Signals whose signals are the process's meanwhile: a service that is not ready may be told to end.
        """
        try:
            pidfd = calls.pidfd_open(record["pid"])
        except SyscallError:
            return self.socket.close()
        try:
            while True:
                wanted = [(self.socket.fileno(), calls.POLLIN), (pidfd, calls.POLLIN)]
                ready = calls.poll([*wanted, (signals.fd, calls.POLLIN)] if signals else wanted)
                if signals and signals.fd in ready:
                    forward(pidfd, None, signals, False)
                if self.socket.fileno() in ready and self._is_ready():
                    return self._tell(record["pid"])
                if pidfd in ready:
                    return None
        finally:
            os.close(pidfd)
            self.socket.close()

    def _is_ready(self):
        return any(line.startswith(b"READY=1") for line in self.socket.recv(4096).split(b"\n"))

    def _tell(self, pid):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            try:
                out.connect(self.target)
                out.send(f"MAINPID={pid}\nREADY=1\n".encode())
                self._barrier(out)
            except OSError as error:
                raise SyscallError("notify", error.errno, self.target) from None

    def _barrier(self, out):
        """Not before the manager has read it: the write end closes on its side then (sd_notify_barrier(3))."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            socket.send_fds(out, [b"BARRIER=1"], [writer])
            os.close(writer)
            writer = -1
            calls.poll([(reader, calls.POLLHUP)], BARRIER_TIMEOUT_S * 1000)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)
