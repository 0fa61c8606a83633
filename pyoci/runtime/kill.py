"""kill: send a signal to the container's first process, or to all of them.  runtime.md#kill"""

import posix

from pyoci.cgroup import face
from pyoci.errors import SyscallError, WrongStatus
from pyoci.kernel import calls
from pyoci.kernel.proc import start_time
from pyoci.state.status import derive
from pyoci.state.store import Container

SIGKILL = 9
ESRCH = 3


def kill(root, container_id, signal, all_processes):
    """Send `signal`.  Raises WrongStatus with the words that callers match where there is nobody to signal."""
    container = Container(root, container_id)
    record = container.record
    directories = record["cgroups"]
    status = derive(container, face.frozen)
    if not directories and status != "stopped" and (all_processes or signal == SIGKILL and not record["pid_namespace"]):
        from pyoci.runtime.without_cgroup import signal_all  # only a rootless one

        return signal_all(record, signal)
    if all_processes:
        # What lives in the cgroup of a container whose pid namespace has ended is another container's, made at the same path.
        if status != "stopped" or not record["pid_namespace"]:
            face.kill_all(directories, signal)
        return
    if status == "stopped":
        raise WrongStatus("container not running")
    if signal == SIGKILL and not record["pid_namespace"]:
        # Nobody ends the others when the first process ends.
        face.kill_all(directories, signal)
        return
    send(record["pid"], record["started"], signal)
    if signal == SIGKILL and status == "paused":
        face.thaw(directories)  # it does not act in a frozen v1 cgroup


def send(pid, started, signal):
    """Signal that very process, never another with its number."""
    try:
        pidfd = calls.pidfd_open(pid)
    except SyscallError as error:
        if error.errno == ESRCH:
            raise WrongStatus("container not running") from None
        raise
    try:
        if start_time(pid) != started:
            raise WrongStatus("container not running")
        calls.pidfd_send_signal(pidfd, signal)
    except SyscallError as error:
        if error.errno == ESRCH:
            raise WrongStatus("container not running") from None
        raise
    finally:
        posix.close(pidfd)
