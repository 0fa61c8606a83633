"""The status of a container, derived from facts and never stored.  runtime.md#state

    stopped   its first process is gone, or a zombie; or on its way there, which is waited for
    paused    its cgroup is frozen
    created   init still listens at the gate
    running   the rest
"""

import posix
from errno import EAGAIN, ENODEV, ENOENT, ENOMEM, ESRCH

from pyoci.errors import SyscallError
from pyoci.kernel import calls
from pyoci.kernel.proc import is_alive, is_exiting

ENDING_MS = 300


def derive(container, frozen):
    """One of the four words.  `frozen`: callable(directories) -> bool.  Raises NoSuchContainer."""
    record = container.record
    if not is_alive(record["pid"], record["started"]):
        return "stopped"
    if frozen(record["cgroups"]):
        return "paused"
    if waits_at_gate(container):
        return "created"
    return "stopped" if is_exiting(record["pid"]) and _ends_soon(record["pid"]) else "running"


def waits_at_gate(container):
    """Whether init still listens.  A start that was killed may have left the name behind, but not the listener.

    An init that was stopped (SIGSTOP) listens too, but accepts nobody: once its queue is full this must not wait.
    """
    try:
        posix.close(connect_gate(container, 0))
    except SyscallError as error:
        return error.errno == EAGAIN
    return True


def connect_gate(container, timeout_ms=calls.CONNECT_TIMEOUT_MS):
    """A connection to the gate.  Raises SyscallError."""
    return container.at_gate(lambda path: calls.connect(path, seqpacket=True, timeout_ms=timeout_ms))


def has_ended(record, number):
    """Whether a call that failed with that errno did so because the container's first process has ended, or is about to: its
    namespaces go before it shows as a zombie."""
    if not is_alive(record["pid"], record["started"]):
        return True
    return number in (ENOENT, ESRCH, ENOMEM, ENODEV) and _ends_soon(record["pid"])


def _ends_soon(pid):
    """Wait a moment for the end of a process that seems to be ending."""
    try:
        pidfd = calls.pidfd_open(pid)
    except SyscallError:
        return True
    try:
        return bool(calls.poll([(pidfd, calls.POLLIN)], ENDING_MS))
    finally:
        posix.close(pidfd)
