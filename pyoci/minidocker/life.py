"""A container's life after create: start, stop, kill, restart, pause, wait, remove, rename.  Each holds the container's lock for what it changes.

Source: docker-start(1), docker-stop(1), docker-kill(1), docker-wait(1), docker-rm(1), docker-rename(1); dockerd's answers.
"""

import contextlib
import os
import time

from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.minidocker import attach, containers, monitor
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError, NotFound
from pyoci.minidocker.judge import signal_of
from pyoci.minidocker.settle import finish, is_settled, refresh, settle, wait_gone
from pyoci.minidocker.start import clear_half_made, runtime_of
from pyoci.minidocker.start import start as start_locked

STOP_S = 10
DEATH_MS = 15_000
SIGKILL, SIGTERM = 9, 15
STREAMS = (("AttachStdout", monitor.WANTS_OUT), ("AttachStderr", monitor.WANTS_ERR), ("AttachStdin", monitor.WANTS_IN))


@contextlib.contextmanager
def held(store, ref):
    """The container under its lock, settled if it had ended unnoticed.  Raises NotFound."""
    with containers.locked(store, containers.find(store, ref).id) as container:
        yield refresh(store, container)


def start(store, ref, warn=None):
    """Start in the background.  A container that runs already is left alone; returns whether it was started."""
    with held(store, ref) as container:
        if container.status == "running":
            return False
        _quit_monitor(container)
        start_locked(store, container, warn=warn).link.close()
    return True


def _quit_monitor(container):
    """End a monitor that waits for a restart."""
    link = monitor.connect(container.live)
    if link:
        link.say(monitor.QUIT)
        link.close()


def wants_of(container, stdin=None):
    """The WANTS_ bits of what the request attaches; nothing said means both outputs."""
    body = container.body
    wants = sum(bit for name, bit in STREAMS if body.get(name))
    if stdin is not None:
        wants = wants & ~monitor.WANTS_IN | (monitor.WANTS_IN if stdin else 0)
    return wants if wants & 3 or body.get("AttachStdin") else wants | 3


def run_attached(store, ref, *, detach_keys="", sig_proxy=True, warn=None, wants=None):
    """Start a container and stay with it.  Returns its exit status, or attach.DETACHED."""
    keys = attach.parse_keys(detach_keys)
    signals = calls.Signals()
    try:
        with held(store, ref) as container:
            if container.status == "running":
                raise Conflict(f"container {container.name} is running already", hint=f"minidocker attach {container.name}")
            _quit_monitor(container)
            wants = wants_of(container) if wants is None else wants
            started = start_locked(store, container, wants=wants | monitor.WANTS_OWNING, warn=warn)
        client = attach.Attachment(
            started.link, pid=started.pid if sig_proxy else 0, stdin=bool(wants & monitor.WANTS_IN), tty=bool(container.body.get("Tty")),
            keys=keys if wants & monitor.WANTS_IN else b"", signals=signals,
        )  # fmt: skip
        try:
            return conclude(store, container, started.link, _stay(container, client))
        finally:
            started.link.close()
    finally:
        signals.close()


def attach_to(store, ref, *, stdin=True, detach_keys="", sig_proxy=True):
    """Attach to a running container.  Returns its exit status, or attach.DETACHED."""
    keys = attach.parse_keys(detach_keys)
    container = containers.find(store, ref)
    status = containers.status_of(container)
    if status == "paused":
        raise Conflict("You cannot attach to a paused container, unpause it first")
    if status == "restarting":
        raise Conflict("You cannot attach to a restarting container, wait until it is running")
    link = monitor.connect(container.live) if status == "running" else None
    if link is None:
        raise Conflict("You cannot attach to a stopped container, start it first")
    tty = bool(container.body.get("Tty"))
    stdin = stdin and bool(container.body.get("OpenStdin"))
    signals = calls.Signals()
    try:
        link.attach(monitor.WANTS_OUT | monitor.WANTS_ERR | (monitor.WANTS_IN if stdin else 0))
        container.event_alone("attach")
        pid = container.pid if sig_proxy and not tty else 0
        client = attach.Attachment(link, pid=pid, stdin=stdin, tty=tty, keys=keys, signals=signals)
        return conclude(store, container, link, _stay(container, client))
    finally:
        signals.close()
        link.close()


def _stay(container, client):
    """What the client was told.  Where it can't write, the container goes on without it, as docker's does: who feeds a pipe to `head` must not wait for ever."""
    try:
        return client.run()
    except attach.Unwritten as error:
        _note_leaving(container)
        error.hint = f"container {container.name} is left to itself; 'minidocker rm -f {container.name}' ends it"
        raise


def _note_leaving(container):
    with contextlib.suppress(PyociError):
        container.event_alone("detach")


def conclude(store, container, link, told):
    """What follows when a foreground client was told the end.  Returns the exit status, or DETACHED."""
    if told in (attach.DETACHED, attach.LEFT):
        _note_leaving(container)
        return told
    if told is not None and not told[0]:
        return told[1]
    try:
        with containers.locked(store, container.id) as now:
            if is_settled(now) or (told is not None and now.pid != container.pid):
                status, answer = (told[1] if told else now.exit_code), b""
            elif told is None:
                return refresh(store, now).exit_code
            else:
                outcome = settle(store, now, told[1])
                status, answer = told[1], outcome.answer()
    except NotFound:
        return told[1] if told else 137
    link.say(monitor.SETTLED, answer)
    return status


def wait(store, ref, condition="not-running"):
    """Wait for the end, and return the exit status.  condition: not-running, next-exit or removed.  Engine API ContainerWait"""
    if condition not in ("", "not-running", "next-exit", "removed"):
        raise BadRequest(f'invalid condition: "{condition}"')
    container = containers.find(store, ref)
    while True:
        link = monitor.connect(container.live)
        if link is None:
            break
        try:
            link.attach(0)
            told = link.wait_exit()
            if told and condition == "removed":
                while link.receive()[0]:
                    pass
        finally:
            link.close()
        if told:
            return told[1]
        break
    with contextlib.suppress(NotFound), held(store, container.id) as now:
        container = now
    return container.exit_code if containers.status_of(container) != "created" or condition != "next-exit" else 0


# --- stopping


def _signal(store, container, number):
    """Signal the container's first process.  A paused one can only be thawed or killed."""
    runtime = runtime_of(store, container)
    try:
        runtime.kill(container.id, number)
    except PyociError:
        if container.is_process_alive():
            if runtime.has(container.id):
                raise
            _signal_alone(container, number)


def _signal_alone(container, number):
    """Signal a process that the runtime knows nothing of: the run root was emptied, as it is when a user logs out."""
    pidfd = calls.pidfd_open(container.pid)
    try:
        if container.is_process_alive():
            calls.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def _stop_signal(container):
    """The number of the signal that asks it to end; SIGTERM where its image says what is none, for it must be possible to stop it."""
    try:
        return signal_of(container.body.get("StopSignal") or "TERM")
    except BadRequest:
        return SIGTERM


def stop(store, ref, timeout_s=None, signal=None):
    """Ask it to end, and kill it after timeout_s (the container's, or 10; -1: never).  A stopped one is no error."""
    with held(store, ref) as container:
        _stop_locked(store, container, timeout_s, signal)


def _mark_stopped(store, container):
    """No policy restarts it from here on."""
    with store.change() as db:
        container.update(db, stopped_by_user=1)


def _stop_locked(store, container, timeout_s=None, signal=None):
    number = signal_of(signal) if signal else _stop_signal(container)
    if container.status == "restarting":
        _quit_monitor(container)
        with store.change() as db:
            container.update(db, status="exited", stopped_by_user=1)
        return
    if container.status not in containers.ALIVE:
        return
    if timeout_s is None:
        timeout_s = container.body.get("StopTimeout") if container.body.get("StopTimeout") is not None else STOP_S
    _mark_stopped(store, container)
    if container.status == "paused":
        _thaw(store, container)
    link = claim(container)
    _signal(store, container, number)
    with store.change():
        container.event("kill", signal=str(number))
    if not wait_gone(container.pid, container.pid_started, -1 if timeout_s < 0 else int(timeout_s * 1000)):
        _signal(store, container, SIGKILL)
        with store.change():
            container.event("kill", signal=str(SIGKILL))
        await_death(container, link)
    finish(store, container, link)
    with store.change():
        container.event("stop")


def await_death(container, link):
    """Wait for what was killed.  Raises MiniDockerError where it does not end."""
    if not wait_gone(container.pid, container.pid_started, DEATH_MS):
        if link:
            link.close()
        raise MiniDockerError(
            f"tried to kill container {container.short_id}, but it has not ended in {DEATH_MS // 1000} s",
            hint=f"a process of it may hang in the kernel, or wait to be reaped: ps -o pid,stat,wchan {container.pid}",
        )


def claim(container):
    """A Link that claims the settling, before the end comes; None where the monitor is gone."""
    link = monitor.connect(container.live)
    if link:
        link.attach(monitor.WANTS_OWNING)
    return link


def kill(store, ref, signal="KILL"):
    """Send a signal; SIGKILL is waited for."""
    number = signal_of(signal)
    with held(store, ref) as container:
        if container.status not in containers.ALIVE:
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        if number == _stop_signal(container) or number == SIGKILL:
            _mark_stopped(store, container)
        if number == SIGKILL:
            _kill_locked(store, container)
        else:
            _signal(store, container, number)
            with store.change():
                container.event("kill", signal=str(number))


def _kill_locked(store, container):
    link = claim(container)
    _signal(store, container, SIGKILL)
    if container.status == "paused":
        with contextlib.suppress(PyociError):  # SIGKILL does not act in a frozen version 1 cgroup; most runtimes have thawed it by now
            runtime_of(store, container).resume(container.id)
    with store.change():
        container.event("kill", signal=str(SIGKILL))
    await_death(container, link)
    finish(store, container, link)


def restart(store, ref, timeout_s=None, signal=None, warn=None):
    """Stop and start."""
    with held(store, ref) as container:
        automatic, container.host["AutoRemove"] = container.host.get("AutoRemove"), False
        _stop_locked(store, container, timeout_s, signal)
        container = containers.get(store, container.id)
        _quit_monitor(container)
        container.host["AutoRemove"] = automatic
        start_locked(store, container, warn=warn).link.close()
        with store.change():
            container.event("restart")


def restart_by_policy(store, container_id):
    """The monitor's deed after the back-off.  Returns what it is to do next: nothing, the new life has a monitor of its own."""
    try:
        with containers.locked(store, container_id) as container:
            if container.status != "restarting" or container.stopped_by_user:
                return ""
            try:
                start_locked(store, container, is_restart=True).link.close()
            except PyociError as error:
                with store.change() as db:
                    container.update(db, status="exited", error=str(error), finished_ns=time.time_ns())
                raise
    except NotFound:
        pass
    return ""


# --- pausing


def pause(store, ref):
    """Freeze all its processes."""
    with held(store, ref) as container:
        if container.status == "paused":
            raise Conflict(f"Container {container.id} is already paused")
        if container.status != "running":
            raise Conflict(f"Container {container.id} is not running")
        runtime_of(store, container).pause(container.id)
        with store.change() as db:
            container.update(db, status="paused")
            container.event("pause")


def _thaw(store, container):
    runtime_of(store, container).resume(container.id)
    with store.change() as db:
        container.update(db, status="running")
        container.event("unpause")


def unpause(store, ref):
    """Let them go on."""
    with held(store, ref) as container:
        if container.status != "paused":
            raise Conflict(f"Container {container.id} is not paused")
        _thaw(store, container)


# --- removing


def remove(store, ref, *, force=False):
    """Remove a container that does not run; with `force` it is killed first."""
    with held(store, ref) as container:
        if container.status in containers.ALIVE and not force:
            what = "paused" if container.status == "paused" else "running"
            text = f"cannot remove container {ref!r}: container is {what}: stop the container before removing or force remove"
            raise Conflict(text.replace("'", '"'))
        if container.status == "restarting":
            if not force:
                raise Conflict(f'cannot remove container "{ref}": container is restarting: stop the container before removing or force remove')
            _stop_locked(store, container)
        if container.status in containers.ALIVE:
            _mark_stopped(store, container)
            _kill_locked(store, container)
            if not os.path.exists(container.folder):
                return
            container = containers.get(store, container.id)
        clear_half_made(store, container)
        containers.delete(container)


def rename(store, ref, name):
    """Give it another name."""
    if not ref or not name:
        raise BadRequest("neither old nor new names may be empty")
    containers.find(store, ref)
    name = containers.check_name(name)
    with held(store, ref) as container, store.change() as db:
        if name == container.name:
            raise BadRequest("Renaming a container with the same name as its current name")
        containers.refuse_taken_name(db, name)
        before = container.name
        container.update(db, name=name)
        container.event("rename", oldName=f"/{before}")
