"""config.json -> the plan for one container: the table of contents, in the order in which things happen.

Pure: the facts of this host come in as an argument.  Refuses (ConfigError, UnsupportedConfig) what can't be planned.
"""

from pyoci.cgroup.layout import directories as cgroup_directories
from pyoci.cgroup.limits import writes
from pyoci.compile import mounts, namespaces, process
from pyoci.compile.devices import devices
from pyoci.kernel.calls import CLONE_NEWCGROUP, CLONE_NEWUSER
from pyoci.plan.plan import Op, Plan

SLOT_GATE = 3
SLOT_FREE = 4


class Facts:
    """What the compiler must know of the host and of the call.

    layout        cgroup.layout.Layout
    kernel        (major, minor)
    rootfs        absolute path of the rootfs, checked
    has_kcore     /proc/kcore exists
    seccomp       (flags, filter) resolved by the caller, or None
    manager       cgroup.systemd.Manager where systemd makes the cgroups, or None
    rootless      rootless.Rootless where the caller is not the host's root, or None
    closed        sources of binds that root of the user namespace can't reach
    without       names of the labels whose security module this host does not have
    no_pivot, no_new_keyring, preserve_fds, listen_fds, pid_file, console_socket, pidfd_socket
    notify        the state directory, where the caller wants to be notified of readiness (NOTIFY_SOCKET), or ""
    """

    __slots__ = ("layout", "kernel", "rootfs", "has_kcore", "seccomp", "no_pivot", "no_new_keyring", "preserve_fds", "listen_fds",
                 "pid_file", "console_socket", "pidfd_socket", "notify", "without", "manager", "rootless", "closed")  # fmt: skip

    def __init__(self, layout, kernel, rootfs, has_kcore=True, seccomp=None):
        self.layout = layout
        self.kernel = kernel
        self.rootfs = rootfs
        self.has_kcore = has_kcore
        self.seccomp = seccomp
        self.no_pivot = self.no_new_keyring = False
        self.preserve_fds = self.listen_fds = 0
        self.pid_file = self.console_socket = self.pidfd_socket = self.notify = ""
        self.without = self.closed = ()
        self.manager = self.rootless = None

    def cgroups(self, linux, container_id):
        """The directories that the container is to have."""
        return cgroup_directories(self.layout, linux.get("cgroupsPath") or "", container_id, bool(self.rootless and self.rootless.tolerant))


class Slots:
    """Gives out the descriptor slots that the actors share."""

    __slots__ = ("next",)

    def __init__(self):
        self.next = SLOT_FREE

    def take(self, count=1):
        """The first of as many."""
        self.next += count
        return self.next - count


class _Waiting:
    """Puts the wait for the cgroup placement, and the cgroup namespace made after it, where they are first needed."""

    __slots__ = ("index", "namespaces", "waited")

    def __init__(self, namespaces, index):
        self.index = index
        self.namespaces = namespaces
        self.waited = False

    def __call__(self, ops):
        if self.waited:
            return
        self.waited = True
        if self.index >= 0:
            ops.append(Op("wait_for", "linux.cgroupsPath", self.index))
        if self.namespaces.new & CLONE_NEWCGROUP:
            ops.append(Op("unshare", namespaces.ORIGIN, CLONE_NEWCGROUP))


def compile_container(container_id, bundle, config, facts):
    """The Plan for `config`, a valid document.  `bundle`: its absolute path."""
    plan = Plan()
    ops = plan.create
    linux = config.get("linux") or {}
    slots = Slots()
    spaces = namespaces.Namespaces(linux, slots)
    preserve = facts.preserve_fds + facts.listen_fds
    scope = _Scope(config, container_id, facts) if facts.manager else None
    directories = scope.directories if scope else facts.cgroups(linux, container_id)
    limits = writes(scope.resources if scope else linux.get("resources") or {}, facts.layout)
    keep_groups = False
    if facts.rootless:
        from pyoci.compile import rootless  # root's containers do without

        config, keep_groups = rootless.judge(config, spaces, facts.rootless, plan.warnings)
        directories, limits = rootless.cgroups(directories, limits, linux, facts.rootless)

    ops.append(Op("claim", "default", container_id, bundle, facts.rootfs))
    ops.append(Op("listen", "default", SLOT_GATE))
    if facts.notify:
        ops.append(Op("make_directory", "default", "notify", 0o755))
    delegation = _delegation(config, linux, spaces) if facts.layout.version == 2 else []
    into, enter = None, []
    if facts.rootless and facts.rootless.unprivileged:
        delegation = []  # a file's owner can't give it away
    if not scope and directories:
        into, enter = _make_cgroup(ops, directories, delegation, limits, slots)
    labels = process.labels(config.get("process") or {}, "process", facts.without, slots.take)
    ops.extend(labels[:1])
    road = namespaces.spawn(ops, spaces, linux, preserve, facts.kernel, into, facts.rootless)
    _score(ops, config.get("process") or {})
    namespaces.enter(ops, spaces, linux, road, facts.rootless)
    ops.extend(enter)
    entered, after = scope.start(ops, delegation, limits) if scope else (-1, [])
    wait = _Waiting(spaces, entered)
    ops.append(Op("new_session", "default"))
    if not facts.no_new_keyring:
        process.keyring(ops, f"_ses.{container_id}", labels)
    mounts.rootfs(ops, linux, spaces, facts.rootfs, facts.no_pivot)
    closed = dict.fromkeys(facts.closed, slots.take()) if facts.closed else {}
    shown = mounts.CgroupMounts(facts.layout, directories, spaces, wait)
    seals = mounts.mounts(ops, config, bundle, shown, plan.warnings, _mount_label(linux, spaces, facts), closed)
    if facts.notify:
        mounts.notify(ops, f"{facts.notify}/notify")
    devices(ops, config, linux, spaces, facts.has_kcore, bool(facts.rootless and facts.rootless.nested))
    wait(ops)
    _wait_for_all(ops, entered, after)
    _process(plan, config, linux, spaces, container_id, bundle, facts, seals, slots, labels[1:], keep_groups)
    _later_acts(plan, config)
    return plan


class _Scope:
    """The systemd driver's part: a scope is made around a process, so init comes first."""

    __slots__ = ("version", "bus", "slice", "unit", "directories", "resources", "properties")

    def __init__(self, config, container_id, facts):
        from pyoci.cgroup import systemd  # only with the systemd driver

        linux = config.get("linux") or {}
        self.version = facts.layout.version
        self.bus = facts.manager.bus
        self.slice, self.unit = systemd.scope_of(linux.get("cgroupsPath") or "", container_id, facts.manager.is_user)
        self.directories = systemd.directories(facts.layout, facts.manager, self.slice, self.unit)
        self.resources = systemd.rounded(linux.get("resources") or {})
        limits = systemd.properties(self.resources, self.version)
        if self.version == 1:
            limits += systemd.device_properties(self.resources, facts.manager.drivers)
        self.properties = systemd.merged(limits, systemd.annotated(config.get("annotations") or {}))

    def start(self, ops, delegation, limits):
        """(the operation to wait for or -1, what comes after it).  On v2 init mounts meanwhile; on v1 it must not make a device
        while a list of devices is half written."""
        overlapped = self.version == 2
        ops.append(Op("start_scope", "linux.cgroupsPath", self.bus, self.unit, self.slice, process.cgroup_lines(self.directories), self.properties, overlapped=overlapped))
        entered = len(ops) - 1
        for op in delegation:
            op.overlapped = overlapped
            ops.append(op)
        _limit(ops, limits, overlapped)
        return (entered, [*delegation, *limits]) if overlapped else (-1, [])


def _make_cgroup(ops, directories, delegation, limits, slots):
    """(the cgroup of version 2 that init is to be born in or None, [the operation by which it enters those of version 1]).

    Either way every limit is in force before, and nobody waits for the kernel's RCU, as for a process that is moved by another.
    """
    ops.append(Op("make_cgroup", "linux.cgroupsPath", process.cgroup_lines(directories)))
    ops.extend(delegation)
    _limit(ops, limits, False)
    into = directories.get("")
    if not any(directories):
        return into, []
    opened, entered = process.cgroup_entry(directories, "linux.cgroupsPath", slots.take)
    ops.append(opened)
    return into, [entered]


def _delegation(config, linux, spaces):
    """[the operation that gives the cgroup to the container's user], or []."""
    if not _wants_delegation(config, spaces):
        return []
    user = (config.get("process") or {}).get("user") or {}
    owner = namespaces.host_id(linux.get("uidMappings") or (), user.get("uid") or 0)
    return [Op("delegate_cgroup", "linux.cgroupsPath", owner)]


def _wants_delegation(config, spaces):
    """A cgroup namespace of its own and a cgroup mount that may be written to.  config-linux.md#cgroup-ownership"""
    if not spaces.new & CLONE_NEWCGROUP:
        return False
    for mount in config.get("mounts") or ():
        if mount.get("type") in ("cgroup", "cgroup2") and mounts.clean(mount["destination"]) == "/sys/fs/cgroup":
            return "ro" not in (mount.get("options") or ())
    return False


def _limit(ops, limits, overlapped):
    for one in limits:
        ops.append(Op("limit", one.origin, one.controller, one.file, list(one.values), int(one.optional), overlapped=overlapped))


def _score(ops, config_process):
    score = config_process.get("oomScoreAdj")
    if score is not None:
        ops.append(Op("score_oom", "process.oomScoreAdj", score))


def _wait_for_all(ops, entered, limits):
    if entered < 0:
        return
    last = entered + len(limits)
    ops.append(Op("wait_for", "linux.resources" if last > entered else "linux.cgroupsPath", last))


def _mount_label(linux, spaces, facts):
    label = linux.get("mountLabel") if "mountLabel" not in facts.without else ""
    return mounts.Label(label, spaces) if label else None


def _process(plan, config, linux, spaces, container_id, bundle, facts, seals, slots, labels, keep_groups):
    ops = plan.create
    one = config.get("process")
    hooks = config.get("hooks") or {}
    namespaces.names(ops, config, linux, spaces)
    start_hooks = []
    if hooks:
        start_hooks = _create_hooks(ops, config, hooks, container_id, bundle)
    if one:
        ops.append(Op("make_cwd", "process.cwd", mounts.clean(one["cwd"])))
    console_slot = _console(ops, one, spaces, slots) if one else -1
    mounts.hidden(ops, linux)
    mounts.enter(ops, config, linux, spaces, facts.no_pivot, seals)
    _personality(ops, linux)
    if one:
        limits_late = _stays_the_callers(one, spaces, facts)
        if not limits_late:
            process.limits(ops, one, "process")
        process.identity(ops, one, "process", process.capability_masks(one), facts.seccomp, facts.preserve_fds + facts.listen_fds,
                         keep_groups=keep_groups, labels=labels)  # fmt: skip
    if console_slot >= 0:
        ops.append(Op("send_console", "process.terminal", facts.console_socket, console_slot))
    if facts.pidfd_socket:
        ops.append(Op("send_pidfd", "default", facts.pidfd_socket, "standard"))
    if one and limits_late:
        process.limits(ops, one, "process")
    ops.append(Op("record", "default"))
    if facts.pid_file:
        ops.append(Op("write_pid", "default", facts.pid_file))
    ops.append(Op("gate", "default", SLOT_GATE))
    ops.extend(start_hooks)
    if not one:
        ops.append(Op("leave", "process"))
        return
    if facts.seccomp and one.get("noNewPrivileges"):
        ops.append(Op("seccomp", "linux.seccomp", facts.seccomp[0], facts.seccomp[1]))
    ops.append(process.execute(one, "process", facts.listen_fds, bool(facts.notify)))


def _stays_the_callers(one, spaces, facts):
    """Whether init remains the user that the runtime is, the host's root: then its limits are set with the record, which saves a turn."""
    user = one.get("user") or {}
    return not (user.get("uid") or user.get("gid") or spaces.has(CLONE_NEWUSER) or facts.rootless)


def _create_hooks(ops, config, hooks, container_id, bundle):
    from pyoci.compile import hooks as compile_hooks  # most bundles have none

    state = compile_hooks.state_document(container_id, bundle, config.get("annotations") or {})
    compile_hooks.runtime_hooks(ops, hooks, "prestart", "created")  # by its clause it runs when the container exists
    compile_hooks.runtime_hooks(ops, hooks, "createRuntime", "creating")
    compile_hooks.container_hooks(ops, hooks, "createContainer", "creating", state, [])
    start = []
    env, _, _ = process.environment(config.get("process") or {})
    compile_hooks.container_hooks(start, hooks, "startContainer", "created", state, env)
    return start


def _console(ops, one, spaces, slots):
    if not one.get("terminal"):
        return -1
    slot = slots.take()
    process.console(ops, one, slot, spaces.has(mounts.CLONE_NEWNS))
    return slot


def _personality(ops, linux):
    domain = (linux.get("personality") or {}).get("domain")
    if domain:
        ops.append(Op("personality", "linux.personality", {"LINUX": 0, "LINUX32": 8}[domain]))


def _later_acts(plan, config):
    hooks = config.get("hooks") or {}
    plan.delete.append(Op("undo", "default"))
    if hooks:
        from pyoci.compile import hooks as compile_hooks

        compile_hooks.runtime_hooks(plan.start, hooks, "poststart", "running")
        compile_hooks.runtime_hooks(plan.delete, hooks, "poststop", "stopped")
