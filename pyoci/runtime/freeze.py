"""pause and resume."""

from pyoci.cgroup import face
from pyoci.errors import WrongStatus
from pyoci.state.status import derive
from pyoci.state.store import Container


def pause(root, container_id):
    """Freeze a created or running container."""
    container = Container(root, container_id)
    container.lock()
    try:
        if derive(container, face.frozen) not in ("running", "created"):
            raise WrongStatus("container not running")
        if not container.record["cgroups"]:
            from pyoci.runtime.without_cgroup import refuse  # only a rootless one

            refuse(container_id, "pause")
        face.freeze(container.record["cgroups"])
    finally:
        container.unlock()


def resume(root, container_id):
    """Thaw a paused one."""
    container = Container(root, container_id)
    container.lock()
    try:
        if derive(container, face.frozen) != "paused":
            raise WrongStatus("container not paused")
        face.thaw(container.record["cgroups"])
    finally:
        container.unlock()
