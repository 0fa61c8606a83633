"""delete: undo what create did, newest first, then the poststop hooks.  runtime.md#delete"""

from pyoci.cgroup import face
from pyoci.errors import NoSuchContainer, OperationFailed, WrongStatus
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
            return
        raise
    try:
        _delete_locked(container, force, warn)
    finally:
        container.unlock()


def _delete_locked(container, force, warn):
    try:
        record = container.record
    except NoSuchContainer:
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
    _poststop(record, warn)


def end(container, status):
    """End every process and remove the cgroups; the mount points made in the rootfs stay (docs/decisions/0004)."""
    directories = container.record["cgroups"]
    if status == "paused":
        face.thaw(directories)  # SIGKILL does not act in a frozen v1 cgroup
    undo(container)


def _poststop(record, warn):
    """A hook that fails is told, and the next one runs (runtime.md#lifecycle, step 12)."""
    hooks = record.get("hooks", {}).get("poststop")
    if not hooks:
        return
    from pyoci.launch.hooks import run_hook  # cold
    from pyoci.runtime.create import state_text

    state = state_text(record["id"], record["bundle"], record, "stopped", 0)
    for index, hook in enumerate(hooks):
        args = hook.get("args") or [hook["path"]]
        try:
            run_hook("poststop", index, hook["path"], args, hook.get("env") or [], hook.get("timeout") or 0, state)
        except OperationFailed as error:
            warn(str(error))
