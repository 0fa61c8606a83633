"""delete: undo what create did, newest first, then the poststop hooks.  runtime.md#delete"""

from pyoci.cgroup import face
from pyoci.errors import DamagedState, NoSuchContainer, WrongStatus
from pyoci.launch.undo import undo
from pyoci.state.status import derive
from pyoci.state.store import Container


def delete(root, container_id, force, warn):
    """Delete a stopped or created container; with `force` any, and a missing one is no error.

    What a killed create left behind is removed either way; without `force` it still counts as no container.
    """
    container = Container(root, container_id)
    try:
        container.lock()
    except NoSuchContainer:
        if force:
            container.sweep()
            return
        raise
    try:
        delete_locked(container, force, warn)
    finally:
        container.unlock()


def delete_locked(container, force, warn):
    """The same for a container that the caller has locked."""
    try:
        record = container.record
    except (NoSuchContainer, DamagedState) as error:
        if isinstance(error, DamagedState) and not force:
            raise
        undo(container)
        container.remove()
        if force:
            return
        raise
    status = derive(container, face.frozen)
    if status not in ("stopped", "created") and not force:
        raise WrongStatus(f"cannot delete container {container.id} that is not stopped: {status}")
    end(container, status)
    container.remove()
    if record.get("hooks", {}).get("poststop"):
        from pyoci.runtime.hooks import run_hooks  # cold

        run_hooks("poststop", record, "stopped", 0, warn)


def end(container, status):
    """End every process and remove the cgroups; the mount points made in the rootfs stay (docs/decisions/0004)."""
    directories = container.record["cgroups"]
    if not directories and not container.record["pid_namespace"]:
        from pyoci.runtime.without_cgroup import signal_all  # only a rootless one: after its first process nobody knows the others

        signal_all(container.record, 9)
    if status == "paused":
        face.thaw(directories)  # SIGKILL does not act in a frozen v1 cgroup
    undo(container, own_pids=container.record["pid_namespace"], is_whole=True)
