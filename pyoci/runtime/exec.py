"""exec: a further process in a running container.  Not in the runtime-spec; runc's command."""

import posix

from pyoci.cgroup import face
from pyoci.compile.joining import Joining, compile_exec
from pyoci.errors import ConfigError, OperationFailed, PyociError, SyscallError, WrongStatus
from pyoci.kernel import calls
from pyoci.kernel.proc import in_user_namespace, put_file, read_file, start_time
from pyoci.launch.run import Launch
from pyoci.runtime.facts import check_preserved, load_filter, meaningless_labels
from pyoci.spec.validate import unsupported_process, validate_process
from pyoci.state.status import derive, has_ended
from pyoci.state.store import Container

# In the order in which they are joined; mount last of them, since it changes what paths mean.
_KINDS = (
    ("ipc", calls.CLONE_NEWIPC), ("uts", calls.CLONE_NEWUTS), ("net", calls.CLONE_NEWNET), ("pid", calls.CLONE_NEWPID),
    ("cgroup", calls.CLONE_NEWCGROUP), ("time", calls.CLONE_NEWTIME), ("mnt", calls.CLONE_NEWNS), ("user", calls.CLONE_NEWUSER),
)  # fmt: skip


class Options:
    """What exec takes beside the process; the names are the command line's."""

    __slots__ = ("detach", "console_socket", "pidfd_socket", "pid_file", "preserve_fds", "cgroup", "ignore_paused")

    def __init__(self, detach=False, console_socket=None, pidfd_socket=None, pid_file=None, preserve_fds=0, cgroup=None,
                 ignore_paused=False):  # fmt: skip
        self.detach = detach
        self.console_socket = console_socket or ""
        self.pidfd_socket = pidfd_socket or ""
        self.pid_file = pid_file or ""
        self.preserve_fds = preserve_fds
        self.cgroup = cgroup or {}
        self.ignore_paused = ignore_paused


def execute(root, container_id, process, options, warn):
    """Run `process` and return its exit status, 0 at once when detached.  Raises PyociError where it could not be run."""
    container = Container(root, container_id)
    _check_status(container, options)
    for warning in validate_process(process):
        warn(warning)
    unsupported_process(process)
    _check_console(process, options)
    check_preserved(options.preserve_fds)
    config = container.config()
    process = _with_labels(process, config.get("process") or {})
    try:
        facts = _gather(root, container, config, options)
        facts.without = meaningless_labels({"process": process}, warn)
        return _launch(compile_exec(process, facts), container.record, options, warn)
    except (OperationFailed, SyscallError) as error:
        # A container that ends meanwhile takes its namespaces with it, and any of the calls may be the first to see it.
        if has_ended(container.record, error.errno):
            raise WrongStatus("cannot exec in a stopped container") from error
        raise


def _launch(ops, record, options, warn):
    launch = Launch(ops, warn=warn, opened=lambda: _check_identity(record))
    signals = None if options.detach else calls.Signals()
    try:
        try:
            launch.carry_out()
            if options.pid_file:
                put_file(options.pid_file, str(launch.pid).encode())  # now: conmon takes its absence for failure
        except BaseException:
            launch.kill()
            raise
        if options.detach:
            return 0
        from pyoci.runtime.foreground import wait  # only where somebody waits

        console, launch.console = launch.console, -1
        return wait(launch.pidfd, console, signals, False)
    finally:
        launch.close()
        if signals:
            signals.close()


def _check_status(container, options):
    status = derive(container, face.frozen)
    if status == "stopped":
        raise WrongStatus("cannot exec in a stopped container")
    if status == "paused" and not options.ignore_paused:
        raise WrongStatus("cannot exec in a paused container (use --ignore-paused to override)")


def _check_console(process, options):
    terminal = process.get("terminal")
    if terminal and options.detach and not options.console_socket:
        raise ConfigError("process.terminal", "cannot allocate tty if pyoci will detach without setting console socket", document="process")
    if options.console_socket and not (terminal and options.detach):
        raise ConfigError("process.terminal", "cannot use console socket if pyoci will not detach or allocate tty", document="process")


def _with_labels(process, own):
    """What confines the container confines whatever runs in it, unless it names a label itself."""
    for name in ("apparmorProfile", "selinuxLabel"):
        if own.get(name) and not process.get(name):
            process = {**process, name: own[name]}
    return process


def _gather(root, container, config, options):
    record = container.record
    pid = record["pid"]
    facts = Joining(_namespaces(pid), _directories(record["cgroups"], options.cgroup), pid)
    kinds = {flag for flag, _ in facts.namespaces}
    if calls.CLONE_NEWNS not in kinds:
        facts.root = f"/proc/{pid}/root"
    facts.unprivileged = posix.geteuid() != 0
    facts.rootless = facts.unprivileged or in_user_namespace()
    if facts.rootless and not options.cgroup:
        facts.scope = record.get("scope") or facts.scope
    if calls.CLONE_NEWUSER in kinds or facts.rootless:
        facts.keep_groups = read_file(f"/proc/{pid}/setgroups").strip() == b"deny"
    seccomp = (config.get("linux") or {}).get("seccomp")
    if seccomp:
        facts.seccomp = load_filter(root, seccomp)
    if record.get("keyring", True):
        facts.keyring = f"_ses.{record['id']}"
    facts.preserve_fds = options.preserve_fds
    facts.console_socket = options.console_socket
    facts.pidfd_socket = options.pidfd_socket
    return facts


def _check_identity(record):
    """Once the namespaces are open: if the container's process is still there, they are its own, and not those of whoever has its pid."""
    if start_time(record["pid"]) != record["started"]:
        raise WrongStatus("cannot exec in a stopped container")


def _namespaces(pid):
    """[(flag, path)] of the container's namespaces that are not our own."""
    found = []
    for name, flag in _KINDS:
        path = f"/proc/{pid}/ns/{name}"
        try:
            if posix.readlink(path) != posix.readlink(f"/proc/self/ns/{name}"):
                found.append((flag, path))
        except FileNotFoundError:
            continue  # a kernel without that kind
        except OSError as error:
            raise SyscallError("readlink", error.errno, path) from None
    return found


def _directories(directories, wanted):
    """The cgroups to enter: the container's, or what --cgroup names below them."""
    if not wanted:
        return directories
    found = dict(directories)
    for controller, path in wanted.items():
        names = [controller] if controller else list(directories)
        for name in names:
            if name not in directories:
                raise PyociError(f"--cgroup {controller}:{path}: the container has no such controller")
            found[name] = _below(directories[name], path)
    return found


def _below(directory, path):
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PyociError(f"--cgroup {path}: {'..'!r} may not lead out of the container's cgroup")
    full = "/".join([directory, *parts])
    try:
        posix.stat(full)
    except OSError as error:
        raise SyscallError("stat", error.errno, full) from None
    return full
