"""update: change the limits of a container that exists.  Not in the runtime-spec; runc's command."""

from pyoci.cgroup import face
from pyoci.cgroup.update import update as update_cgroups
from pyoci.errors import WrongStatus
from pyoci.spec.validate import validate_resources
from pyoci.state.status import derive
from pyoci.state.store import Container


def update(root, container_id, resources, warn):
    """Apply `resources` over the container's present ones, all or nothing, and remember the result."""
    for warning in validate_resources(resources) or ():
        warn(warning)
    container = Container(root, container_id)
    container.lock()
    try:
        record = container.record
        if derive(container, face.frozen) == "stopped":
            raise WrongStatus("container not running")
        if not record["cgroups"]:
            from pyoci.runtime.without_cgroup import refuse

            refuse(container_id, "update")
        old = record.get("resources")
        if old is None:
            old = (container.config().get("linux") or {}).get("resources") or {}
        directories = record["cgroups"]
        merged = update_cgroups(directories, 2 if face.is_v2(directories) else 1, old, resources, record.get("scope"))
        container.save({**record, "resources": merged})
    finally:
        container.unlock()
