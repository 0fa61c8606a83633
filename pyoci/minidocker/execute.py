"""exec: a further process in a running container, with this process's own streams.

In the foreground the runtime gives the process descriptors 0, 1 and 2, or pumps its terminal; what it must not hold itself is carried (relay.py).  It ends
with us no more than docker's: signals are passed on.  Source: docker-exec(1); Engine API v1.44 ContainerExec.
"""

import _socket
import contextlib
import json
import os
import stat

from pyoci.errors import PyociError
from pyoci.kernel import calls
from pyoci.minidocker import bundle, containers, monitor, users
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError
from pyoci.minidocker.paths import private
from pyoci.minidocker.start import runtime_of

DETACH_MS = 60_000
NULL = os.makedev(1, 3)


def process_of(container, given):
    """The process object: the container's own, with what the request says.  config.md#process"""
    try:
        with open(f"{container.folder}/bundle/config.json", encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError) as error:
        raise MiniDockerError(f"container {container.short_id}: its config.json can't be read: {error}", hint="minidocker system check") from error
    process = config["process"]
    process["args"] = list(given.get("Cmd") or [])
    if not process["args"]:
        raise BadRequest("No exec command specified")
    bundle.check_words("argument", process["args"])
    bundle.check_words("environment variable", given.get("Env") or [])
    process["terminal"] = bool(given.get("Tty"))
    process.pop("consoleSize", None)
    process.pop("oomScoreAdj", None)
    words = {word.partition("=")[0]: word for word in [*process["env"], *(["TERM=xterm"] if process["terminal"] else []), *(given.get("Env") or [])]}
    process["env"] = [word for word in words.values() if "=" in word]  # a name alone takes a variable away
    if given.get("WorkingDir"):
        process["cwd"] = given["WorkingDir"]
        if not process["cwd"].startswith("/"):
            raise BadRequest(f"the working directory '{process['cwd']}' is invalid, it needs to be an absolute path")
    if given.get("User"):
        process["user"] = users.resolve(container.rootfs, given["User"], container.host.get("GroupAdd"))
    _set_capabilities(process, container, given)
    return process


def _set_capabilities(process, container, given):
    from pyoci.minidocker import bundle_security, prepare

    host = {**container.host, "Privileged": True} if given.get("Privileged") else container.host
    names = bundle_security.capabilities(host, prepare.held_capabilities())
    process["capabilities"] = bundle_security.capability_sets(names, process["user"]["uid"])
    if given.get("Privileged") and process.get("apparmorProfile"):
        process["apparmorProfile"] = "unconfined"


def check_running(container, ref):
    """Raise Conflict in docker's words unless it runs."""
    status = containers.status_of(container)
    if status == "paused":
        raise Conflict(f"Container {ref} is paused, unpause the container before exec")
    if status == "restarting":
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if status != "running":
        raise Conflict(f"Container {container.id} is not running", hint=f"minidocker start {ref}")


def execute(store, ref, given, *, detach=False, warn=None):
    """Run the request's Cmd in a container.  Returns its exit status, 0 when detached, attach.DETACHED when it was left by the keys.

    Raises RuntimeFailed with docker's 126 or 127.
    """
    container = containers.find(store, ref)
    check_running(container, ref)
    process = process_of(container, given)
    exec_id = containers.new_id()
    line = f"{process['args'][0]} {' '.join(process['args'][1:])}"
    with store.change():
        container.event(f"exec_create: {line}", execID=exec_id)
        container.event(f"exec_start: {line}", execID=exec_id)
    if detach:
        _detached(container, exec_id, process)
        return 0
    if process["terminal"] and given.get("AttachStdin") and os.isatty(0):
        from pyoci.minidocker import attach, exec_terminal

        status = exec_terminal.run(store, container, process, attach.parse_keys(given.get("DetachKeys")))
        if status == attach.DETACHED:
            container.event_alone("exec_detach")
            return status
    else:
        status = in_foreground(store, container, process, stdin=bool(given.get("AttachStdin")), warn=warn)
    with store.change():
        container.event("exec_die", execID=exec_id, exitCode=str(status))
    return status


class Streams:
    """Our descriptors 0, 1 and 2 as another process is to have them, for a with block; -1 leaves one as it is."""

    def __init__(self, *fds):
        self._fds = fds
        self._saved = []

    def __enter__(self):
        for number, fd in enumerate(self._fds):
            if fd >= 0:
                self._saved.append((number, os.dup(number)))
                os.dup2(fd, number)
        return self

    def __exit__(self, *_):
        for number, fd in self._saved:
            os.dup2(fd, number)
            os.close(fd)


def in_foreground(store, container, process, *, stdin=True, warn=None):
    """The exit status of a process that has our streams, or what stands in for them; without `stdin`, /dev/null for it."""
    if process["terminal"]:
        return with_streams(store, container, process, warn=warn)
    monitor.keep_standard_numbers()
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        given = {} if stdin else {0: null}
        carried = [number for number in range(3) if number not in given and not _passes(number)]
        if not carried:
            return with_streams(store, container, process, given, warn)
        from pyoci.minidocker.relay import Relay  # not for who calls us in a script

        relay = Relay(carried)
        try:
            return with_streams(store, container, process, {**given, **relay.fds}, warn)
        finally:
            relay.close()
    finally:
        os.close(null)


def _passes(fd):
    """Whether a process in a container may have the open file itself: pipes, sockets and /dev/null give nothing away."""
    found = os.fstat(fd)
    return stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode) or (stat.S_ISCHR(found.st_mode) and found.st_rdev == NULL)


def with_streams(store, container, process, fds=(), warn=None):
    """The exit status of a process that has these: {number: descriptor}, ours for what is not in it."""
    with Streams(*(dict(fds).get(number, -1) for number in range(3))):
        return runtime_of(store, container, warn).exec(container.id, process)


# --- detached: a deed of the monitor, so that the process is the monitor's to reap and nobody's zombie holds the container


def _detached(container, exec_id, process):
    name = f"exec-{exec_id[:12]}"
    path = f"{container.live}/{name}"
    with open(path, "w", encoding="utf-8", errors="surrogateescape", opener=private) as file:
        json.dump(process, file)
    os.mkfifo(f"{path}.said", 0o600)
    answer = os.open(f"{path}.said", os.O_RDWR | os.O_CLOEXEC)  # both ends: an answer is never lost
    link = monitor.connect(container.live)
    try:
        if link is None or not link.say(monitor.DEED, name.encode()):
            if link:
                link.receive()  # it may have no place for us
            raise Conflict(f"Container {container.id} is not running")
        ready = calls.poll([(answer, calls.POLLIN), (link.fileno(), calls.POLLIN)], DETACH_MS)
        if answer not in ready:
            if ready:
                link.receive()
            raise MiniDockerError(f"container {container.short_id}: the process was not started in {DETACH_MS // 1000} s, or the container ended")
        status, _, text = os.read(answer, 4096).decode("utf-8", "replace").partition(" ")
        if text:
            error = MiniDockerError(text.strip())
            error.exit_status = int(status)
            raise error
    finally:
        for one in (path, f"{path}.said"):
            with contextlib.suppress(OSError):
                os.unlink(one)
        os.close(answer)
        if link:
            link.close()


def carry_out_detached(store, container_id, name):
    """The deed `exec-ID`: start the process that the file of this name describes, and answer `STATUS TEXT` into its FIFO.

    One with a terminal keeps this process as the keeper of its master.  Returns "".
    """
    container = containers.get(store, container_id)
    try:
        process, answer = _taken(f"{container.live}/{name}")
    except FileNotFoundError:  # who asked has given up
        return ""
    master = -1
    try:
        if process["terminal"]:
            master = _exec_on_terminal(store, container, process, name)
        else:
            runtime_of(store, container).exec(container.id, process, detach=True)
        os.write(answer, b"0 ")
    except PyociError as error:
        os.write(answer, f"{getattr(error, 'exit_status', 125)} {error}".encode("utf-8", "replace")[:4096])
    finally:
        os.close(answer)
    if master >= 0:
        with contextlib.suppress(OSError):  # EIO: the last holder of the other side is gone
            while os.read(master, 65536):
                pass
    return ""


def _taken(path):
    """(the process object, a descriptor of the FIFO) that somebody left here; he may have been killed since, so he is not waited for, and his files go now."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        process = json.load(file)
    answer = os.open(f"{path}.said", os.O_RDWR | os.O_CLOEXEC)
    for one in (path, f"{path}.said"):
        with contextlib.suppress(OSError):
            os.unlink(one)
    return process, answer


def _exec_on_terminal(store, container, process, name):
    """Start it detached, and return the master of its terminal, which somebody has to hold and to empty."""
    folder = os.open(container.live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = _socket.socket(fileno=monitor.listen(folder, f"{name}.sock", _socket.SOCK_STREAM))
    try:
        path = f"/proc/{os.getpid()}/fd/{folder}/{name}.sock"
        runtime_of(store, container).exec(container.id, process, detach=True, console_socket=path)
        connection, _ = listener._accept()
        _, fds = calls.receive(connection)
        os.close(connection)
        return fds[0]
    finally:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(f"{container.live}/{name}.sock")
        os.close(folder)
