"""events and stats: what a container uses, every so often, and what the kernel killed for want of memory."""

from time import monotonic

from pyoci.cgroup import face
from pyoci.cgroup.stats import open_oom
from pyoci.cgroup.stats import stats as cgroup_stats
from pyoci.errors import SyscallError, WrongStatus
from pyoci.kernel import calls
from pyoci.state.status import derive, has_ended
from pyoci.state.store import Container


def stats(root, container_id):
    """The `data` of a stats event.  Raises WrongStatus for a stopped container."""
    container = Container(root, container_id)
    directories, version = _cgroups(container)
    try:
        return cgroup_stats(directories, version)
    except SyscallError as error:
        if has_ended(container.record, error.errno):
            raise WrongStatus(f"container with id {container_id} is not running") from error
        raise


def _cgroups(container):
    if derive(container, face.frozen) == "stopped":
        raise WrongStatus(f"container with id {container.id} is not running")
    directories = container.record["cgroups"]
    if not directories:
        from pyoci.runtime.without_cgroup import refuse

        refuse(container.id, "events")
    return directories, 2 if face.is_v2(directories) else 1


def events(root, container_id, interval_s):
    """Yield {"type", "id", "data"} or {"type": "oom", "id"} until the container's cgroup is gone."""
    container = Container(root, container_id)
    directories, version = _cgroups(container)
    with open_oom(directories, version) as notice:
        next_s = monotonic()
        while not notice.gone():
            left_s = next_s - monotonic()
            if left_s <= 0:
                next_s += interval_s
                try:
                    data = cgroup_stats(directories, version)
                except SyscallError:
                    return
                yield {"type": "stats", "id": container_id, "data": data}
                continue
            # A cgroup's end is told by the same descriptor; looked for at least every second where it is not.
            calls.poll([(notice.fileno(), calls.POLLIN | 2)], int(min(left_s, 1.0) * 1000) + 1)
            for _ in range(notice.read()):
                yield {"type": "oom", "id": container_id}
