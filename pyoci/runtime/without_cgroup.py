"""The processes of a container that has no cgroup.  Cold: only a rootless container may be without one.

pid_namespaces(7): all in its pid namespace, and their descendants; without one of its own, the first process and its descendants.
"""

import posix

from pyoci.errors import StateError, SyscallError
from pyoci.kernel import calls
from pyoci.kernel.proc import is_alive, start_time, stat_fields

ESRCH = 3


def refuse(container_id, what):
    """Raise StateError: this takes a cgroup."""
    raise StateError(
        f"container {container_id} has no cgroup, which {what} needs: it was made by a user who may make none"
        "; systemd delegates cgroups to users on version 2 alone"
    )


def processes(record):
    """Sorted pids, as this pid namespace numbers them."""
    first = record["pid"]
    if not is_alive(first, record["started"]):
        return []
    parents = {}
    for name in posix.listdir("/proc"):
        if name.isdigit() and (fields := stat_fields(name)):
            parents[int(name)] = int(fields[1])
    found = {first}
    if record["pid_namespace"]:
        space = _namespace(first)
        found.update(pid for pid in parents if space and _namespace(pid) == space)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        found |= more
        grown = bool(more)
    return sorted(found)


def _namespace(pid):
    try:
        return posix.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def signal_all(record, signal):
    """Signal each of them, the first process last: its end takes the others' parent away."""
    first = record["pid"]
    for pid in [one for one in processes(record) if one != first] + [first]:
        started = record["started"] if pid == first else start_time(pid)
        try:
            pidfd = calls.pidfd_open(pid)
            try:
                if started and start_time(pid) == started:
                    calls.pidfd_send_signal(pidfd, signal)
            finally:
                posix.close(pidfd)
        except SyscallError as error:
            if error.errno != ESRCH:
                raise
