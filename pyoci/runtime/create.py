"""create: read, judge and compile the bundle, then carry the plan out up to the gate.

All refusals come before any effect; a failure after that undoes everything, and the error says what could not be undone.
"""

import posix
from time import gmtime, strftime, time_ns

from pyoci.cgroup.layout import read_layout
from pyoci.compile.container import Facts, compile_container
from pyoci.errors import CleanupError, ConfigError, OperationFailed, PyociError, SyscallError
from pyoci.kernel.proc import in_user_namespace, kernel_version
from pyoci.launch.run import Launch
from pyoci.plan.ops import NUMBER
from pyoci.runtime.facts import check_preserved, check_rootfs, exists, load_filter, meaningless_labels, real_path
from pyoci.spec.decode import decode, encode, read_document
from pyoci.spec.names import SPEC_VERSION
from pyoci.spec.validate import unsupported, validate
from pyoci.state.store import Container

_GATE = NUMBER["gate"]


class Options:
    """What create and run take beside the bundle; the names are the command line's."""

    __slots__ = ("console_socket", "pidfd_socket", "pid_file", "no_pivot", "no_new_keyring", "preserve_fds", "environ", "detach", "starts",
                 "systemd_cgroup", "rootless")  # fmt: skip

    def __init__(self, console_socket=None, pidfd_socket=None, pid_file=None, no_pivot=False, no_new_keyring=False, preserve_fds=0,
                 environ=None, detach=True, starts=False, systemd_cgroup=False, rootless=None):  # fmt: skip
        self.console_socket = console_socket or ""
        self.pidfd_socket = pidfd_socket or ""
        self.pid_file = pid_file or ""
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.preserve_fds = preserve_fds
        self.environ = environ or {}
        self.detach = detach
        self.starts = starts
        self.systemd_cgroup = systemd_cgroup
        self.rootless = rootless


def real_bundle(bundle):
    """The bundle's absolute path with no link in it, as the state and the hooks show it; as it is where it can't be opened."""
    try:
        return real_path(bundle)
    except OSError:
        return bundle  # reading its config.json says what is wrong


def read_bundle(bundle):
    """(text, config) of a bundle, judged.  Raises ConfigError."""
    text = read_document(f"{bundle}/config.json")
    config = decode(text)
    return text, config


def make_plan(root, container_id, bundle, config, options, warn):
    """The Plan for a config; every refusal is made here, and nothing is done."""
    for warning in validate(config):
        warn(warning)
    unsupported(config)
    _check_console(config, options)
    facts = gather_facts(root, container_id, bundle, config, options, warn)
    facts.without = meaningless_labels(config, warn)
    plan = compile_container(container_id, bundle, config, facts)
    for warning in plan.warnings:
        warn(warning)
    return plan, facts


def gather_facts(root, container_id, bundle, config, options, warn):
    """What the compiler needs to know of this host and this call."""
    facts = Facts(read_layout(), kernel_version(), check_rootfs(bundle, config))
    facts.has_kcore = exists("/proc/kcore")
    if options.systemd_cgroup:
        from pyoci.cgroup.unit import find_manager  # only with the systemd driver

        facts.manager = find_manager(facts.layout, options.environ)
    seccomp = (config.get("linux") or {}).get("seccomp")
    if seccomp:
        facts.seccomp = load_filter(root, seccomp)
    facts.no_pivot = options.no_pivot
    facts.no_new_keyring = options.no_new_keyring
    facts.preserve_fds = options.preserve_fds
    facts.listen_fds = _listen_fds(options.environ)
    if options.environ.get("NOTIFY_SOCKET"):
        facts.notify = f"{root}/{container_id}"
    facts.pid_file = options.pid_file
    facts.console_socket = options.console_socket
    facts.pidfd_socket = options.pidfd_socket
    check_preserved(facts.preserve_fds + facts.listen_fds)
    is_nested = in_user_namespace()
    if posix.geteuid() or is_nested or options.rootless:
        from pyoci.runtime.rootless import gather  # the host's root does without

        facts.rootless = gather(facts, config, container_id, options.environ, is_nested, options.rootless)
    elif any(one["type"] == "user" for one in (config.get("linux") or {}).get("namespaces") or ()):
        from pyoci.runtime.closed import closed_sources  # as above

        facts.closed = closed_sources(config, bundle)
    return facts


def _check_console(config, options):
    terminal = (config.get("process") or {}).get("terminal")
    if terminal and options.detach and not options.console_socket:
        raise ConfigError("process.terminal", "cannot allocate tty if pyoci will detach without setting console socket")
    if options.console_socket and not (terminal and options.detach):
        raise ConfigError("process.terminal", "cannot use console socket if pyoci will not detach or allocate tty")


def _listen_fds(environ):
    """Descriptors of socket activation, sd_listen_fds(3): only when they are meant for this process."""
    if environ.get("LISTEN_PID") != str(posix.getpid()):
        return 0
    count = environ.get("LISTEN_FDS", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 5 else 0


def create(root, container_id, bundle, options, warn, signals=None):
    """Create the container.  Returns (Container, Launch), the container locked.  Raises PyociError; then nothing is left.

    `signals`: calls.Signals of a caller who has blocked them; those that ask us to end make it fail.
    """
    container = Container(root, container_id)
    bundle = real_bundle(bundle)
    text, config = read_bundle(bundle)
    if options.starts and not config.get("process"):
        raise ConfigError("process", "must be set for the container to be started", "config.md#process")
    plan, facts = make_plan(root, container_id, bundle, config, options, warn)
    container.claim(text)
    launch = Launch(
        plan.create,
        container,
        tell=lambda launch: container.save(record_of(launch, container_id, bundle, config, facts)),
        warn=warn,
        state=lambda status, pid: state_text(container_id, bundle, config, status, pid),
        signals=signals if config.get("hooks") else None,  # nothing else takes long that a signal could end
    )
    try:
        launch.carry_out(end=_gate_of(plan.create))
    except BaseException as error:
        give_back(launch, container, error)
        if isinstance(error, OperationFailed) and error.origin.startswith("hooks."):
            _poststop(config, container_id, bundle, warn)
        raise
    return container, launch


def _gate_of(ops):
    """Where the gate is: close to the end."""
    index = len(ops) - 1
    while ops[index].number != _GATE:
        index -= 1
    return index


def _poststop(config, container_id, bundle, warn):
    """After a hook of create failed and all is undone (runtime.md#lifecycle, steps 3 to 5 and 12)."""
    from pyoci.runtime.hooks import run_hooks  # cold

    run_hooks("poststop", {**config, "id": container_id, "bundle": bundle}, "stopped", 0, warn)


def give_back(launch, container, error):
    """Undo what was done of a plan that failed; what can't be undone is noted on the error."""
    from pyoci.launch.undo import undo  # cold

    launch.kill()
    launch.close()
    try:
        undo(container)
        container.remove()
    except (CleanupError, SyscallError) as left:
        if isinstance(error, PyociError):
            error.add_note(str(left))
    finally:
        container.unlock()


def record_of(launch, container_id, bundle, config, facts):
    """What the other verbs need to know of a container whose plan was carried out.  state/store.py keeps it"""
    linux = config.get("linux") or {}
    record = {
        "id": container_id,
        "bundle": bundle,
        "rootfs": facts.rootfs,
        "created": timestamp(),
        "pid": launch.pid,
        "started": launch.started,
        "last": len(launch.ops) - 1,
        "cgroups": launch.directories,
        "owner": posix.geteuid(),
        "process": bool(config.get("process")),
        "pid_namespace": any(one.get("type") == "pid" and not one.get("path") for one in linux.get("namespaces") or ()),
    }
    if facts.rootless:
        record["rootless"] = True
    if launch.scope:
        record["scope"] = launch.scope
    if facts.no_new_keyring:
        record["keyring"] = False
    hooks = config.get("hooks")
    if hooks:
        record["hooks"] = {kind: hooks[kind] for kind in ("poststart", "poststop") if hooks.get(kind)}
    if config.get("annotations"):
        record["annotations"] = config["annotations"]
    return record


def timestamp():
    """Now, RFC 3339 with nanoseconds, UTC."""
    now_ns = time_ns()
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(now_ns // 10**9))}.{now_ns % 10**9:09}Z"


def state_text(container_id, bundle, config, status, pid):
    """The state document for a hook's stdin.  runtime.md#state"""
    document = {"ociVersion": SPEC_VERSION, "id": container_id, "status": status}
    if pid:
        document["pid"] = pid
    document["bundle"] = bundle
    if config.get("annotations"):
        document["annotations"] = config["annotations"]
    return encode(document)
