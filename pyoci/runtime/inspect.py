"""state, list, ps: what is, derived from facts.  runtime.md#state"""

from pyoci.cgroup import face
from pyoci.errors import PyociError
from pyoci.spec.names import SPEC_VERSION
from pyoci.state.status import derive
from pyoci.state.store import Container, ids


def state(root, container_id):
    """The state document, in the order in which runc prints it."""
    return document(Container(root, container_id))


def document(container):
    """The same of a Container."""
    record = container.record
    status = derive(container, face.frozen)
    found = {
        "ociVersion": SPEC_VERSION,
        "id": record["id"],
        "pid": 0 if status == "stopped" else record["pid"],
        "status": status,
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "created": record["created"],
    }
    if record.get("annotations"):
        found["annotations"] = record["annotations"]
    found["owner"] = ""
    return found


def list_all(root, warn):
    """The state documents of all containers; a damaged one is told and left out."""
    found = []
    for container_id in ids(root):
        container = Container(root, container_id)
        try:
            one = document(container)
            one["owner"] = _owner(container.record["owner"])
        except PyociError as error:
            if container.exists():
                warn(f"{container_id}: {error}")
            continue
        found.append(one)
    return found


def _owner(uid):
    import pwd  # only `list` shows names

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def processes(root, container_id):
    """The pids of the container's processes, as this pid namespace numbers them."""
    record = Container(root, container_id).record
    if not record["cgroups"]:
        from pyoci.runtime import without_cgroup  # only a rootless one

        return without_cgroup.processes(record)
    return face.processes(record["cgroups"])
