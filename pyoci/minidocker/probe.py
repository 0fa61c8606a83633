"""One health check: the command run in the container with its time limit, the result judged and recorded.  The monitor's deed `health`.

The lock is not held while the command runs; what it says counts only if the container is still in the same life.
Source: docker-run(1), --health-*; docker's event `health_status: healthy`.
"""

import contextlib
import json
import os
import time

from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.minidocker import containers, execute
from pyoci.minidocker.errors import NotFound
from pyoci.minidocker.health import OUTPUT_BYTES, STARTING, Check, judge
from pyoci.minidocker.show import moment

SIGKILL = 9


def probe(store, container_id):
    """Check once.  Returns what the monitor is to do next: `health MILLISECONDS`, or nothing for a container that no longer runs."""
    try:
        container = containers.get(store, container_id)
    except NotFound:
        return ""
    check = Check(container.body)
    status = containers.status_of(container)
    if not check.argv or status not in containers.ALIVE or not container.health:
        return ""
    if status == "paused":
        return f"health {check.next_ms(json.loads(container.health), time.time_ns() - container.started_ns)}"
    began_ns = time.time_ns()
    code, output = run_check(store, container, check)
    result = {"Start": moment(began_ns), "End": moment(time.time_ns()), "ExitCode": code, "Output": output}
    return _record(store, container, check, result, began_ns)


def _record(store, container, check, result, began_ns):
    with contextlib.suppress(NotFound), containers.locked(store, container.id) as now:
        if now.started_ns != container.started_ns or not now.is_process_alive() or not now.health:
            return ""
        before = json.loads(now.health)
        running_ns = began_ns - now.started_ns
        after = judge(check, before, result, running_ns)
        with store.change() as db:
            now.update(db, health=json.dumps(after))
            if after["Status"] != before["Status"] and after["Status"] != STARTING:
                now.event(f"health_status: {after['Status']}")
        return f"health {check.next_ms(after, time.time_ns() - now.started_ns)}"
    return ""


def run_check(store, container, check):
    """(exit code, output) of the command; -1 after its time limit, when all of it is killed."""
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _in_child(store, container, check, output, writer)
    os.close(writer)
    try:
        if not calls.poll([(reader, calls.POLLIN)], check.timeout_ns // 1_000_000):
            _kill_family(child)
            os.waitpid(child, 0)
            return -1, f"Health check exceeded timeout ({check.timeout_ns / 10**9:g}s)"
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = os.pread(output, OUTPUT_BYTES, 0).decode("utf-8", "replace")
        return (code if 0 <= code < 256 else -1), text
    finally:
        os.close(reader)
        os.close(output)


def _in_child(store, container, check, output, writer):
    """Become the one that calls the runtime; the pipe ends when this process does."""
    code = 125
    try:
        os.setsid()
        calls.subreaper(1)
        process = execute.process_of(container, {"Cmd": check.argv})
        code = execute.in_foreground(store, container, process, stdin=False, outputs=(output, output))
    except PyociError as error:
        os.write(output, str(error).encode("utf-8", "replace"))
        code = getattr(error, "exit_status", 125)
    finally:
        os._exit(code)


def _kill_family(pid):
    """Kill a process's children, and then it: the check itself is a child of the one that called the runtime."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            for child in file.read().split():
                os.kill(int(child), SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, SIGKILL)
