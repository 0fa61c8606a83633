"""Starting a container: its root file system mounted, its bundle written, its monitor and its creator forked, and what came of it recorded.

    this process forks A; A becomes the subreaper and forks B; A executes the monitor, B calls the runtime (in process, so without a second
    interpreter), tells the pid to the monitor and to us, and leaves: the container's first process is the monitor's child from then on.

All of it under the container's lock.  A start that fails leaves the record `created` (or `exited`) with its error, and nothing on the host.
Source: docs/decisions/0022; PR_SET_CHILD_SUBREAPER(2const).
"""

import contextlib
import os
import sys
import time

from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.minidocker import containers, health, monitor, prepare
from pyoci.minidocker.errors import Conflict, MiniDockerError
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.runtimes import open_runtime

FORMAT_HINT = "the program is for another machine, or a script without #! in its first line; --platform chooses an image's platform"
LONGEST_SOCKET = 107  # unix(7), sun_path
HERE = os.path.dirname(os.path.abspath(__file__))


class StartFailed(MiniDockerError):
    """The container could not be started.  `exit_status`: 125, 126 or 127."""

    def __init__(self, text, exit_status, hint=""):
        super().__init__(text, hint)
        self.exit_status = exit_status


class Started:
    """What a start gives to who goes on: `link` to the monitor (attached as was asked), and the `pid`."""

    __slots__ = ("link", "pid")

    def __init__(self, link, pid):
        self.link = link
        self.pid = pid


def deed_command():
    """The command that the monitor starts for a deed, without its name and the container's id."""
    site = sys._xoptions.get("pyoci_site", "")
    option = ["-X", f"pyoci_site={site}"] if site else []
    flags = ["-IS", "-Xutf8"] if site else []
    return [sys.executable, *flags, *option, f"{HERE}/deeds.py"]


def deed_environment(roots):
    """Its environment: where things are, and nothing else of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **kept, "MINIDOCKER_ROOT": roots.data, "MINIDOCKER_RUN": roots.run}


def runtime_of(store, container, warn=None):
    """The runtime that this container is run by."""
    return open_runtime(container.host.get("Runtime") or "", store.roots.runtime, warn)


def start(store, container, *, wants=0, warn=None, is_restart=False):
    """Start a container whose lock is held and whose last life is settled.  wants: monitor.WANTS_ bits of our own link.

    Returns Started.  Raises StartFailed, MiniDockerError.
    """
    if container.status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    monitor.check_installed()
    options = log_options(container)
    clear_half_made(store, container)
    forget_run(container)
    try:
        bundle = prepare.prepare(store, container, warn)
        started, columns = _launch(store, container, bundle, {**options, "wants": wants | monitor.WANTS_RECORDED}, warn)
    except BaseException as error:
        _undo(store, container, error)
        raise
    try:
        if in_user_namespace():
            from pyoci.minidocker import rootless  # never for root

            rootless.note(store.roots, started.pid, rootless.IDS)
        with store.change() as db:
            restarts = container.restarts + 1 if is_restart else 0
            cleared = {"exit_code": 0, "error": "", "oom_killed": 0, "finished_ns": 0, "stopped_by_user": 0, "health": health.first(container)}
            container.update(db, status="running", started_ns=time.time_ns(), restarts=restarts, **cleared, **columns)
            if wants:
                container.event("attach")
            container.event("start")
    except BaseException as error:
        _take_back(store, container, started, error)
        raise
    started.link.attach(wants)  # and so the monitor knows that the start is on record
    return started


def _take_back(store, container, started, error):
    """It runs, but can't be recorded: end it, and its monitor."""
    started.link.attach(monitor.WANTS_OWNING)
    _undo(store, container, error)
    started.link.wait_exit()
    started.link.say(monitor.SETTLED)
    started.link.close()


def _undo(store, container, error):
    """Leave the host as it was; note why in the record."""
    with contextlib.suppress(PyociError):
        runtime_of(store, container).delete(container.id)
    try:
        prepare.undo(store, container)
    except PyociError as left:
        error.add_note(str(left))
    if container.host.get("AutoRemove") and not container.started_ns:
        with contextlib.suppress(PyociError):
            containers.delete(container)
        return
    status = getattr(error, "exit_status", 128)
    with contextlib.suppress(PyociError), store.change() as db:
        container.update(db, error=str(error), exit_code=status if isinstance(error, StartFailed) else 128)


def clear_half_made(store, container):
    """What a killed start or settle may have left of a container that does not run."""
    runtime = runtime_of(store, container)
    if os.path.ismount(container.rootfs) or runtime.has(container.id):
        with contextlib.suppress(PyociError):
            runtime.delete(container.id)
        prepare.undo(store, container)


def forget_run(container):
    """The files of a life that is over: its exit is no other's."""
    for name in ("exit", "console.sock"):
        with contextlib.suppress(OSError):
            os.unlink(f"{container.live}/{name}")


def log_options(container):
    """The monitor's words on the log and stdin, from LogConfig.  Raises BadRequest."""
    from pyoci.minidocker.logs import log_words

    # A terminal outlives who typed at it: he may come back, or another.
    once = container.body.get("StdinOnce") and not container.body.get("Tty")
    words = [*log_words(container), f"stdin-once={int(bool(once))}"]
    if interval := health.first_ms(container):
        words.append(f"timer=health {interval}")
    return {"words": words}


def _launch(store, container, bundle, options, warn):
    body = container.body
    wiring = monitor.Wiring(container.live, bool(body.get("Tty")), bool(body.get("OpenStdin")))
    command, environ = deed_command(), deed_environment(store.roots)
    pid = os.fork()
    if pid == 0:
        _become_monitor_and_creator(store, container, bundle, wiring, options, command, environ)
    wiring.close_all_but(wiring.report[0])
    if options["wants"] & monitor.WANTS_OWNING:
        runtime_of(store, container).load("delete")  # for the end, while the creator works
    try:
        with open(wiring.report[0], encoding="utf-8", errors="surrogateescape") as report:
            text = report.read()
        return _read_report(text, wiring, pid, warn)
    except BaseException:
        wiring.link.close()
        _end_monitor(pid)
        raise


def _end_monitor(pid):
    """The monitor of a failed start ends by itself; a stuck one is killed."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        fd = os.pidfd_open(pid)
        try:
            if not calls.poll([(fd, calls.POLLIN)], 2000):
                os.kill(pid, 9)
            os.waitpid(pid, 0)
        finally:
            os.close(fd)


def _read_report(text, wiring, monitor_pid, warn):
    lines = text.split("\n")
    for line in lines:
        if line.startswith("warning ") and warn:
            warn(line[len("warning ") :])
    last = next((line for line in lines if line.startswith(("pid ", "error "))), "")
    if last.startswith("pid "):
        _, pid, started = last.split(" ")
        monitor_started, boot = containers.identity(monitor_pid)
        columns = {"pid": int(pid), "pid_started": int(started), "boot": boot, "monitor": monitor_pid, "monitor_started": monitor_started}
        return Started(wiring.link, int(pid)), columns
    if last:
        _, status, message = last.split(" ", 2)
        raise StartFailed(message, int(status), FORMAT_HINT if "exec format error" in message.lower() else "")
    raise StartFailed("the process that calls the runtime was killed", 125)


def _become_monitor_and_creator(store, container, bundle, wiring, options, command, environ):
    """In A: never returns."""
    try:
        os.setsid()
        calls.subreaper(1)
        if in_user_namespace():
            from pyoci.minidocker import rootless  # never for root

            rootless.note(store.roots, os.getpid())
        creator = os.fork()
        if creator == 0:
            _create(store, container, bundle, wiring)
        options["words"].append(f"creator={creator}")
        monitor.exec_monitor(wiring, container.id, options, command, environ)
    finally:
        os._exit(125)


def _create(store, container, bundle, wiring):
    """In B: call the runtime, tell how it went, and leave."""
    import _signal

    status = 1
    try:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())  # a foreground command holds all signals back
        lines = []
        try:
            pid, started = _call_runtime(store, container, bundle, wiring, lines.append)
            lines.append(f"pid {pid} {started}")
            os.write(wiring.pid_writer, str(pid).encode())
            status = 0
        except PyociError as error:
            lines.append(f"error {getattr(error, 'exit_status', 125)} {error}")
        except Exception as error:
            lines.append(f"error 125 internal error: {type(error).__name__}: {error}")
        text = "\n".join(line.replace("\n", " ") for line in lines) + "\n"
        os.write(wiring.report[1], text.encode("utf-8", "surrogateescape"))
    finally:
        os._exit(status)


def _call_runtime(store, container, bundle, wiring, say):
    for number, fd in enumerate(wiring.container):
        os.dup2(fd, number)
    os.close(wiring.monitor["client"])
    runtime = runtime_of(store, container, lambda text: say(f"warning {text}"))
    console = f"{container.live}/console.sock" if container.body.get("Tty") else ""
    if len(os.fsencode(console)) > LONGEST_SOCKET:  # by our own descriptor of the folder, which the runtime sees too
        console = f"/proc/{os.getpid()}/fd/{wiring.live}/console.sock"
    pid = runtime.create(container.id, bundle, console)
    started, _ = containers.identity(pid)
    try:
        runtime.start(container.id)
    except PyociError:
        with contextlib.suppress(PyociError):
            runtime.delete(container.id)
        raise
    return pid, started
