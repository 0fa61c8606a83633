"""After the end of a container's process: what it left is removed, the record says how it ended, and --rm or the restart policy get their due.

Done by whoever the monitor tells (the foreground command, stop, kill) or by the deed that it starts; idempotent, under the container's lock.
Source: docker-run(1), --restart, --rm; docker's exit statuses; cgroup-v1 memory.txt, cgroup-v2.rst (oom_kill).
"""

import contextlib
import json
import os
import time

from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.minidocker import containers, monitor, prepare
from pyoci.minidocker.errors import Conflict
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.start import forget_run, runtime_of

FIRST_DELAY_MS, LONGEST_DELAY_MS, RESET_NS = 100, 60_000, 10 * 10**9
LONGEST_POLL_MS = (1 << 31) - 1  # 24 days: poll(2) takes an int
LOST_STATUS = 137  # a container whose monitor was killed is killed


class Outcome:
    """What is to follow: `restart_ms`, -1 for no restart; `status`, the exit status; `removed`, whether --rm took the container away."""

    __slots__ = ("removed", "restart_ms", "status")

    def __init__(self, status, restart_ms=-1, removed=False):
        self.status = status
        self.restart_ms = restart_ms
        self.removed = removed

    def answer(self):
        """What the monitor is told: the next deed and when."""
        return f"restart {self.restart_ms}".encode() if self.restart_ms >= 0 else b""


def read_exit(container):
    """(exit status, when) as the monitor noted it for this life of the container, or None."""
    try:
        with open(f"{container.live}/exit", encoding="ascii") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return None
    if container.pid and found["pid"] != container.pid:
        return None
    return found["status"], found["time_ns"]


def is_settled(container):
    """Whether there is nothing to settle: it does not run by the record."""
    return container.status not in containers.ALIVE


def settle(store, container, status=None):
    """Settle a container whose process has ended and whose lock is held.  Returns an Outcome."""
    noted = read_exit(container)
    code, finished_ns = noted or (LOST_STATUS if status is None else status, time.time_ns())
    oom = was_oom_killed(container)
    left = _clear(store, container)
    automatic = bool(container.host.get("AutoRemove"))
    delay_ms = -1 if automatic or container.stopped_by_user else restart_delay_ms(container, code, finished_ns)
    with store.change() as db:
        if oom:
            container.event("oom")
        duration = str(max(0, finished_ns - container.started_ns) // 10**9)
        container.event("die", exitCode=str(code), execDuration=duration)
        status = "restarting" if delay_ms >= 0 else "removing" if automatic else "exited"
        container.update(db, status=status, pid=0, exit_code=code, finished_ns=finished_ns, oom_killed=int(oom), error=left)
        if automatic:
            db.execute("delete from containers where id = ?", (container.id,))
            container.event("destroy")
    if automatic:
        containers.remove_folders(store.roots, container.id)
    else:
        forget_run(container)  # now that its end is on record: who is killed before leaves it to be settled again, as it was
    return Outcome(code, delay_ms, automatic)


def _clear(store, container):
    """Remove what the runtime and the mounts left; everything is tried.  Returns what could not be done, "" if all was."""
    problems = []
    for deed in (lambda: runtime_of(store, container).delete(container.id), lambda: prepare.undo(store, container)):
        try:
            deed()
        except PyociError as error:
            problems.append(str(error))
    return "; ".join(problems)


def was_oom_killed(container):
    """Whether the kernel killed something of it for want of memory: its cgroup counts that, as long as it is there."""
    path = f"{(container.host.get('CgroupParent') or 'minidocker').strip('/')}/{container.id}"
    files = (f"/sys/fs/cgroup/memory/{path}/memory.oom_control", f"/sys/fs/cgroup/{path}/memory.events")
    if in_user_namespace():
        from pyoci.minidocker.confined import delegated  # never for root

        files = (f"{delegated().folder(container.id, container.host.get('CgroupParent') or '')}/memory.events",)
    for file in files:
        with contextlib.suppress(OSError), open(file, encoding="ascii") as lines:
            return any(line.startswith("oom_kill ") and int(line.split()[1]) for line in lines)
    return False


# --- restart policies


def wants_restart(container, code):
    """Whether the policy restarts one that ended so, and nobody stopped."""
    policy = container.host.get("RestartPolicy") or {}
    name, most = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    return name in ("always", "unless-stopped") or (name == "on-failure" and code != 0 and (not most or container.restarts < most))


def restart_delay_ms(container, code, finished_ns):
    """How long to wait until the restart that the policy asks for, -1 for none.  100 ms, doubled each time, reset by a life of 10 s."""
    if not wants_restart(container, code):
        return -1
    before = 0 if finished_ns - container.started_ns >= RESET_NS else _last_delay_ms(container)
    delay_ms = min(before * 2, LONGEST_DELAY_MS) if before else FIRST_DELAY_MS
    with contextlib.suppress(OSError), open(f"{container.live}/delay", "w", encoding="ascii") as file:
        file.write(str(delay_ms))
    return delay_ms


def _last_delay_ms(container):
    try:
        with open(f"{container.live}/delay", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


# --- who does it


def settle_after_exit(store, container_id):
    """The monitor's deed: settle if nobody has.  Returns what the monitor is to do next, as text."""
    try:
        with containers.locked(store, container_id) as container:
            if is_settled(container) and container.status != "created":
                return ""
            if container.status == "created":  # who started it was killed before he could say so
                adopt(store, container)
            elif _is_a_later_life(container):
                return ""
            return settle(store, container).answer().decode()
    except containers.NotFound:
        return ""


def _is_a_later_life(container):
    """Whether the container was started again while this deed of its last life waited for the lock: its own monitor sees to it now."""
    return os.getppid() != container.monitor and (container.is_process_alive() or container.is_monitor_alive())


def adopt(store, container):
    """Record a life that began without anybody to record it: its starter was killed.  In the monitor's deed, whose parent the monitor is."""
    monitor_pid = os.getppid()
    monitor_started, boot = containers.identity(monitor_pid)
    noted = read_exit(container)
    pid = 0
    if noted is None:
        with contextlib.suppress(PyociError):
            pid = runtime_of(store, container).pid(container.id)
    started = containers.identity(pid)[0] if pid else 0
    with store.change() as db:
        container.update(db, status="running", pid=pid, pid_started=started, boot=boot, monitor=monitor_pid,
                         monitor_started=monitor_started, started_ns=time.time_ns(), stopped_by_user=0)  # fmt: skip
        container.event("start")


def adopt_running(store, container_id):
    """The monitor's deed when its starter went without a word.  Returns ""."""
    try:
        with containers.locked(store, container_id) as container:
            if container.status not in containers.ALIVE and runtime_of(store, container).pid(container.id):
                adopt(store, container)
    except containers.NotFound:
        pass
    return ""


def refresh(store, container):
    """Settle a container, whose lock is held, that ended without being settled: its monitor died, or is about to start the deed.

    Afterwards the record says what is.  Returns the Container as recorded then; raises NotFound where --rm has taken it away.
    """
    if container.status == "restarting" and not container.is_monitor_alive():
        with store.change() as db:
            container.update(db, status="exited")
        return container
    if container.status not in containers.ALIVE:
        return container
    if container.is_process_alive():
        if not container.is_monitor_alive():
            _end_orphan(store, container)
            settle(store, container)
            return containers.get(store, container.id)
        return container
    if container.is_monitor_alive():
        finish(store, container)
    else:
        settle(store, container)
    return containers.get(store, container.id)


def _end_orphan(store, container):
    """A container whose monitor was killed has no streams and no one to wait for it: it is killed, as docker does when its shim dies."""
    with contextlib.suppress(PyociError):
        runtime_of(store, container).delete(container.id)


def finish(store, container, link=None):
    """Take over the settling of a container that has ended or is about to, whose lock is held: the monitor tells when all is logged.

    Returns the Outcome, or None where another had settled it.
    """
    link = link or monitor.connect(container.live)
    if link is None:
        wait_gone(container.monitor, container.monitor_started)
        return settle(store, container)
    try:
        link.attach(monitor.WANTS_OWNING)
        told = None
        with contextlib.suppress(Conflict):  # too many others wait for the end: so we don't
            told = link.wait_exit()
        if told is None:
            wait_gone(container.pid, container.pid_started)
            return settle(store, container)
        settles, status = told
        if not settles:
            return None
        outcome = settle(store, container, status)
        link.say(monitor.SETTLED, outcome.answer())
        return outcome
    finally:
        link.close()


def wait_gone(pid, started, timeout_ms=10_000):
    """Wait until a process has ended.  False after the time-out."""
    if not pid or containers.start_time(pid) != started:
        return True
    try:
        fd = calls.pidfd_open(pid)
    except calls.SyscallError:
        return True
    try:
        return containers.start_time(pid) != started or bool(calls.poll([(fd, calls.POLLIN)], min(timeout_ms, LONGEST_POLL_MS)))
    finally:
        os.close(fd)
