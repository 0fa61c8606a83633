"""start: open the gate, see the process begin, run the poststart hooks.  runtime.md#start"""

import posix

from pyoci.cgroup import face
from pyoci.errors import OperationFailed, SyscallError, WrongStatus
from pyoci.kernel import calls
from pyoci.plan import wire
from pyoci.state.status import connect_gate, derive

_REFUSED = {
    "stopped": "cannot start a container that has stopped",
    "running": "cannot start an already running container",
    "paused": "cannot start a container in the paused state",
}


def start(container, warn, notify_socket="", signals=None, *, is_new=False):
    """Start a created container that the caller has locked.  Raises WrongStatus, OperationFailed.

    `is_new`: the caller has just created it, under the same lock.
    `notify_socket`: where readiness is told to, sd_notify(3); then this waits for it.
    `signals`: calls.Signals of a caller who has blocked them.  Before the process begins, those that ask us to end make this fail; then
    all are the process's.

    A config without a process is created and ends when it is started, which is told (docs/decisions: start without a process).
    """
    if not is_new:
        _check_status(container)
    readiness = _readiness(container, notify_socket)
    channel = _connect(container)
    try:
        calls.send(channel, wire.message(wire.GO, 0))
        posix.unlink(container.file("gate"))
        if signals:
            from pyoci.launch.run import wait_or_end  # loaded by create

            wait_or_end(channel, signals)
        data, _ = calls.receive(channel)
    finally:
        posix.close(channel)
    if data:
        _failed(container, wire.Message(data))
    reached = _word(container)
    if reached != container.record["last"]:  # every failure of the last operation is told before
        _ended_silently(container, reached)
    if not container.record["process"]:
        warn("process: it is not set, so the container has ended (config.md#process)")
    if readiness:
        readiness.forward(container.record, signals)
    if container.record.get("hooks", {}).get("poststart"):
        _poststart(container, signals)


def _check_status(container):
    status = derive(container, face.frozen)
    if status != "created":
        raise WrongStatus(_REFUSED[status])


def _connect(container):
    try:
        return connect_gate(container)
    except SyscallError:
        _check_status(container)  # it has ended since
        raise


def _readiness(container, notify_socket):
    if not notify_socket:
        return None
    from pyoci.runtime.notify import Readiness  # cold: only below systemd

    return Readiness(container, notify_socket)


def _word(container):
    """The operation that init came to."""
    return int.from_bytes(container.read("word")[4:8], "little")


def _failed(container, message):
    """Init's failure record; the operation is found in the plan, which is made again from the stored config."""
    from pyoci.launch.explain import init_failure  # cold
    from pyoci.launch.undo import end_process
    from pyoci.runtime.replan import operation, with_line

    end_process(container.record["pid"], container.record["started"])  # whoever reads the error finds it stopped
    raise with_line(container, init_failure(operation(container, message.index), message))


def _ended_silently(container, reached):
    from pyoci.launch.explain import silent_death  # cold
    from pyoci.launch.undo import end_process
    from pyoci.runtime.replan import operation, with_line

    end_process(container.record["pid"], container.record["started"])
    raise with_line(container, silent_death(operation(container, reached), None, container.record["cgroups"]))


def _poststart(container, signals):
    """A hook that fails ends the container (runtime.md#lifecycle, step 9)."""
    from pyoci.launch.undo import end_process  # cold
    from pyoci.runtime.hooks import run_hooks

    record = container.record
    try:
        run_hooks("poststart", record, "running", record["pid"], signals=signals)
    except OperationFailed as error:
        from pyoci.runtime.replan import with_line

        end_process(record["pid"], record["started"])
        raise with_line(container, error) from None
