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

SIGKILL, SIGSTOP = 9, 19


def probe(store, container_id):
    """Check once.  Returns what the monitor is to do next: `health MILLISECONDS`, or nothing for a container that no longer runs."""
    try:
        with containers.locked(store, container_id) as container:
            pass  # a check that is due before the start is on record waits for it
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
    """(exit code, output) of the command; -1 after its time limit, when all of it is killed.  However much it writes, OUTPUT_BYTES are kept.

    Its output is a pipe that it has both ends of: whom it leaves behind dies of no SIGPIPE, and nobody of ours has to stay and read for him, check after check.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _in_child(store, container, check, writer)
    os.close(writer)
    pidfd = calls.pidfd_open(child)
    try:
        output, is_over = _listen(reader, pidfd, time.monotonic() + check.timeout_ns / 10**9)
        if not is_over:
            _kill_family(child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not is_over:
            return -1, f"Health check exceeded timeout ({check.timeout_ns / 10**9:g}s)"
        return (code if 0 <= code < 256 else -1), output.decode("utf-8", "replace")
    finally:
        os.close(pidfd)
        os.close(reader)


def _listen(reader, pidfd, end):
    """(the first OUTPUT_BYTES of what comes, whether the process ended before `end`).  What was written until then is there when it ends."""
    kept, wanted = b"", [(reader, calls.POLLIN), (pidfd, calls.POLLIN)]
    while (left_s := end - time.monotonic()) > 0:
        ready = calls.poll(wanted, int(min(left_s, 3600) * 1000) + 1)  # poll(2) takes an int
        if reader in ready:
            data = os.read(reader, 65536)
            kept += data[: OUTPUT_BYTES - len(kept)]
            if not data:
                wanted = wanted[1:]
        if pidfd in ready and (reader not in ready or len(kept) == OUTPUT_BYTES):
            return kept, True
    return kept, False


def _in_child(store, container, check, output):
    """Become the one that calls the runtime."""
    code = 125
    try:
        os.setsid()
        calls.subreaper(1)
        process = execute.process_of(container, {"Cmd": check.argv})
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        both = os.open(f"/proc/self/fd/{output}", os.O_RDWR | os.O_CLOEXEC)
        code = execute.with_streams(store, container, process, {0: null, 1: both, 2: both})
    except PyociError as error:
        os.write(output, str(error).encode("utf-8", "replace"))
        code = getattr(error, "exit_status", 125)
    finally:
        os._exit(code)


def _kill_family(pid):
    """Kill a process's children, and then it: the check itself is a child of the one that called the runtime."""
    os.kill(pid, SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # from here on it reaps none of them, so that their pids stay theirs
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            for child in file.read().split():
                os.kill(int(child), SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, SIGKILL)
