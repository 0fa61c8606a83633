"""The HOST operations: one function each, in the order of ops.TABLE.  launch/run.py calls them with the operation's arguments."""

import posix
from errno import EACCES, EPERM

from pyoci.cgroup import face
from pyoci.errors import BusError, PyociError, SyscallError
from pyoci.kernel import calls
from pyoci.kernel.proc import put_file, start_time, write_file
from pyoci.plan import wire
from pyoci.plan.ops import NUMBER
from pyoci.state.journal import open_journal, unit_description

SLOT_PLAN, SLOT_WORD, SLOT_JOURNAL = 0, 1, 2
WORD_BYTES = 4096
RESOLVE_FLAGS = posix.O_RDONLY | posix.O_CLOEXEC


def claim(launch, container_id, bundle, rootfs):
    """The directory is made by Container.claim before; here the journal and the running words begin."""
    container = launch.container
    launch.journal = open_journal(container.file("journal"))
    launch.note_all([("root", rootfs), ("bundle", bundle)])
    launch.word_fd = posix.open(container.file("word"), posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600)
    # Allocated, not only as long: on a full disk init's first write to a hole would be a SIGBUS.
    posix.posix_fallocate(launch.word_fd, 0, WORD_BYTES)


def listen(launch, slot):
    """Init gets the listener by descriptor, so that the path crosses no namespace."""
    launch.fds[slot] = launch.container.at_gate(calls.listen)
    launch.outbox.append(slot)


def make_directory(launch, name, mode):
    """In the state directory, so that it goes with it; whatever the umask is."""
    path = launch.container.file(name)
    try:
        posix.mkdir(path, mode)
        posix.chmod(path, mode)
    except OSError as error:
        raise SyscallError("mkdir", error.errno, path) from None


def open_namespace(launch, kind, path, slot):
    """Open what is to be joined, and see that it is what the config says."""
    try:
        fd = posix.open(path, RESOLVE_FLAGS)
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None
    launch.fds[slot] = fd
    try:
        found = calls.namespace_type(fd)
    except SyscallError:
        found = 0
    if found != kind:
        raise PyociError(f"{path!r} is {'another kind of namespace' if found else 'no namespace'}")
    launch.outbox.append(slot)


def open_procfs(launch, slot):
    """For `label`: after init's root has changed, no procfs that it sees can be trusted (CVE-2019-19921)."""
    launch.fds[slot] = posix.open("/proc", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    launch.outbox.append(slot)


def _directories(lines):
    """{controller: directory} of an operation's argument."""
    return dict(line.split("\t", 1) for line in lines)


def make_cgroup(launch, lines):
    """Each directory is noted before it is made, and its inode after."""
    launch.directories = directories = _directories(lines)
    launch.note("cgroups", "\n".join(name + path for name, path in directories.items()))
    _make_noted(launch, face.make, directories)


def _make_noted(launch, make, directories):
    """`make`: face.make or face.adopt.  What was noted and then made by another, who was faster, is not ours to remove."""
    noted, made = [], []

    def before(paths):
        noted.extend(paths)
        launch.note_all([("cgroup", path) for path in paths])

    try:
        make(directories, before, made)
    finally:
        inodes = {**dict.fromkeys(noted, 0), **face.identities(made)}
        launch.note_all([("inode", path, str(inode)) for path, inode in inodes.items()])


def delegate_cgroup(launch, uid):
    """v2 only: the user inside manages what lies below."""
    face.delegate(launch.directories, uid)


def limit(launch, controller, file, values, optional):
    """One file of one cgroup."""
    from pyoci.cgroup.limits import AFTER, Write, write  # loaded by whoever compiled a limit; an exec has none

    write(launch.directories, Write(AFTER, controller, file, values, "", bool(optional)))


def open_cgroups(launch, lines, paths, required, slot):
    """Opened here, since init may have no right to; what is optional may be missing."""
    launch.directories = launch.directories or _directories(lines)
    for number, path in enumerate(paths):
        try:
            launch.fds[slot + number] = posix.open(f"{path}/tasks", posix.O_WRONLY | posix.O_CLOEXEC)
        except OSError as error:
            if number < required:
                raise SyscallError("open", error.errno, f"{path}/tasks") from None
        else:
            launch.outbox.append(slot + number)


def spawn(launch, flags, preserve, raise_capabilities, cgroup, is_open):
    """Start init and hand it the whole plan."""
    if launch.opened:
        launch.opened()
    _start_init(launch, flags, preserve, raise_capabilities, cgroup, is_open)
    if launch.word_fd < 0:
        launch.word_fd = posix.memfd_create("word", 1)
        posix.ftruncate(launch.word_fd, WORD_BYTES)
    plan_fd = posix.memfd_create("plan", 1)
    posix.write(plan_fd, wire.encode(launch.ops))
    launch.fds[SLOT_PLAN] = plan_fd
    launch.fds[SLOT_WORD] = posix.dup(launch.word_fd)
    launch.outbox += (SLOT_PLAN, SLOT_WORD)
    if launch.journal >= 0:
        launch.fds[SLOT_JOURNAL] = posix.dup(launch.journal)
        launch.outbox.append(SLOT_JOURNAL)


def _start_init(launch, flags, preserve, raise_capabilities, cgroup, is_open):
    from pyoci.launch.run import sealed_init  # run imports this module

    exe = sealed_init()
    ours, theirs = calls.socketpair()
    launch.channel = ours
    start = lambda cgroup_fd: calls.spawn(  # noqa: E731
        flags, exe_fd=exe, channel_fd=theirs, channel_number=3 + preserve, cgroup_fd=cgroup_fd, raise_capabilities=raise_capabilities, is_open=is_open)
    try:
        launch.pid, launch.pidfd = _born_in(launch, cgroup, start) if cgroup else start(-1)
    finally:
        posix.close(exe)
        posix.close(theirs)
    launch.begin()


def _born_in(launch, cgroup, start):
    """Start init as a member of the cgroup.  A hybrid host's is optional; an exec's may be full, or have its processes below: place_in_cgroup
    knows how.  In a frozen one the child would stop while we lend it our memory, and no signal but SIGKILL would reach us."""
    is_exec = launch.container is None
    fd = -1
    try:
        if not is_exec or not face.halts(cgroup):
            fd = posix.open(cgroup, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            made = start(fd)
            launch.is_placed = True
            return made
    except (OSError, SyscallError):
        if not is_exec and face.is_v2(launch.directories):
            raise
    finally:
        if fd >= 0:
            posix.close(fd)
    return start(-1)


def map_ids(launch, uid_map, gid_map, deny_setgroups, uid_tool, gid_tool):
    """setgroups before gid_map: without privilege the kernel demands that order (CVE-2014-8989)."""
    base = f"/proc/{launch.pid}"
    if deny_setgroups:
        write_file(f"{base}/setgroups", b"deny")
    for name, tool, lines in (("uid_map", uid_tool, uid_map), ("gid_map", gid_tool, gid_map)):
        if tool:
            from pyoci.launch.idmap import map_by_tool  # only without privilege

            map_by_tool(tool, launch.pid, lines)
        else:
            write_file(f"{base}/{name}", lines.encode())


def place_in_cgroup(launch, lines, beside, optional, bus, unit):
    """Place init into the cgroups; those of an exec were made long ago, and may have moved below (`beside` its first process).

    Who comes from a cgroup that is not the user's, such as a session's, may not move itself into one that is: systemd may.
    """
    launch.directories = launch.directories or _directories(lines)
    if launch.is_placed:
        return
    try:
        face.place(launch.directories, launch.pid, beside)
    except SyscallError as error:
        if not optional or error.errno not in (EACCES, EPERM):
            raise
        if unit and _placed_by_systemd(launch, bus, unit):
            return
        if launch.warn:
            launch.warn(f"the process stays outside of the container's cgroup, which this user may not move it into from here: {error}")


def _placed_by_systemd(launch, bus, unit):
    from pyoci.cgroup.unit import attach  # only for a user's exec

    try:
        attach(bus, unit, launch.pid)
    except (BusError, SyscallError):  # a systemd that has gone with its user's session; or processes have moved below the scope
        return False
    return True


def spawn_stand_in(launch):
    """It waits for a plan that never comes, and ends when its channel does."""
    _start_init(launch, 0, 0, 0, None, 0)


def start_scope(launch, bus, unit, slice_, lines, properties):
    """The unit is noted before, with the description that tells it from a stranger's; then what systemd did not make of its cgroups."""
    from pyoci.cgroup.unit import EXISTS, start  # only with the systemd driver

    directories = _directories(lines)
    description = unit_description(launch.container)
    launch.note("cgroups", "\n".join(name + path for name, path in directories.items()))
    launch.note("unit", bus, unit, description)
    try:
        start(bus, unit, slice_, description, launch.pid, properties)
    except BusError as error:
        if error.name == EXISTS:  # a stranger's, and not ours to stop
            launch.note("unit", bus, unit, "")
        raise
    launch.directories, launch.scope = directories, [bus, unit]
    if face.is_v2(directories) and not face.exists(directories[""]):
        raise PyociError(f"systemd made the cgroup of {unit} elsewhere than {directories['']}")
    _make_noted(launch, face.adopt, directories)
    if not face.is_v2(directories):
        face.place(directories, launch.pid)


def change_scope(launch, bus, unit, properties):
    """After a restore: criu needs memory, and processes, that are not the container's."""
    from pyoci.cgroup.unit import change  # only with the systemd driver

    change(bus, unit, properties)


def score_oom(launch, value):
    """The kernel lets anybody raise it; lowering takes CAP_SYS_RESOURCE."""
    write_file(f"/proc/{launch.pid}/oom_score_adj", str(value).encode())


def open_source(launch, source, target, slot):
    """In init's mount namespace, not in ours: a clone of a mount that it has keeps what the kernel locked there (mount_namespaces(7))."""
    root = posix.open(f"/proc/{launch.pid}/root", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        launch.fds[slot] = calls.openat2(root, source, posix.O_PATH | posix.O_CLOEXEC, calls.RESOLVE_IN_ROOT)
    finally:
        posix.close(root)
    launch.outbox.append(slot)


def hook(launch, kind, index, path, args, env, timeout_s, status):
    """A hook in the runtime's namespaces."""
    from pyoci.launch.hooks import run_hook  # cold: most bundles have none

    began = lambda pid: launch.note("hook", str(pid), str(start_time(pid)))  # noqa: E731
    run_hook(kind, index, path, args, env, timeout_s, launch.state(status, launch.pid), began, launch.signals)


def limit_process(launch, resource, soft, hard, name):
    """Set from outside: in its user namespace init has no privilege to raise one."""
    calls.prlimit(launch.pid, resource, soft, hard)


def send_console(launch, socket, slot):
    """To the console socket; without one (a foreground run) the caller keeps the master."""
    master = launch.fds.pop(slot)
    try:
        if socket:
            from pyoci.launch.console import send  # cold

            send(socket, master, b"/dev/ptmx")
        else:
            launch.console = posix.dup(master)
    finally:
        posix.close(master)


def send_pidfd(launch, socket, payload):
    """The payload tells the first process ("standard") from a further one ("setns")."""
    from pyoci.launch.console import send  # cold

    send(socket, launch.pidfd, payload.encode())


def record(launch):
    """The caller stores what the other verbs need."""
    launch.tell(launch)


def write_pid(launch, path):
    """All of it or nothing, and only now: callers take its presence for success."""
    put_file(path, str(launch.pid).encode(), lambda made: launch.note("file", made))


def make_mount_points(launch, rootfs, points):
    """What criu mounts on, where the rootfs is not the one that was left."""
    from pyoci.launch.restore import make_mount_points as deed  # cold, as the next four

    deed(launch, rootfs, points)


def restore_namespaces(launch, images, work, rootfs, switches, values, mounts, inherit, join):
    """criu runs in the container's cgroups, so that what it makes is there from the start."""
    from pyoci.launch.restore import restore_namespaces as deed

    deed(launch, images, work, rootfs, switches, values, mounts, inherit, join)


def raise_loopback(launch):
    """Network namespaces are restored empty, so this is not in the images."""
    from pyoci.launch.restore import raise_loopback as deed

    deed(launch)


def restore_processes(launch, slot):
    """`slot`: where the master of the terminal goes, -1 without one."""
    from pyoci.launch.restore import restore_processes as deed

    deed(launch, slot)


def resume_processes(launch):
    """From here on it runs."""
    from pyoci.launch.restore import resume_processes as deed

    deed(launch)


DEEDS = {
    NUMBER[deed.__name__]: deed
    for deed in (claim, listen, make_directory, open_namespace, open_procfs, make_cgroup, delegate_cgroup, limit, open_cgroups, spawn, map_ids, start_scope,
                 place_in_cgroup, score_oom, open_source, hook, limit_process, send_console, send_pidfd, record, write_pid,
                 spawn_stand_in, change_scope, make_mount_points, restore_namespaces, raise_loopback, restore_processes, resume_processes)
}  # fmt: skip
