"""checkpoint: have criu write a container's processes into a directory, and end them, or let them go on.  Cold.

criu is told what it can't see: which mounts, namespaces and standard streams come from outside of the container.  The names for these in
the images are runc's where runc has one, so that each restores what the other dumped.  After a failure the container runs as before.

Sources: criu(8); criu.org, "External bind mounts", "External files", "Inheriting FDs on restore"; runc-checkpoint(8).
"""

import json
import os
import stat

from pyoci.cgroup import face
from pyoci.errors import PyociError, SyscallError, UnsupportedConfig, UsageError, WrongStatus
from pyoci.kernel import calls
from pyoci.kernel.proc import put_file
from pyoci.launch import criu as criu_process
from pyoci.launch import criu_wire as wire
from pyoci.launch.restore import INHERITED, NAMESPACE_NAMES
from pyoci.state.status import derive
from pyoci.state.store import Container

LOG = "dump.log"
DESCRIPTORS = "descriptors.json"
# Where administrators set criu's options for containers, as with runc; the annotation names another file, or "" for none.
CONFIG_FILES = ("/etc/criu/pyoci.conf", "/etc/criu/runc.conf")
CONFIG_ANNOTATION = "org.criu.config"
OLDEST, OLDEST_EXTERNAL_PID, OLDEST_FREEZER_2 = 31100, 31500, 31400
TTY_MAJORS = (4, 5, 136, 137, 138, 139, 140, 141, 142, 143, 204)
# The switches that both verbs hand on to criu as they are.
SWITCHES = ("tcp_established", "ext_unix_sk", "shell_job", "file_locks", "auto_dedup", "lazy_pages")
DUMP_SWITCHES = (*SWITCHES, "leave_running", "tcp_skip_in_flight", "link_remap")


class Options:
    """What checkpoint and restore take alike; the names are the command line's.

    image_path, work_path   absolute directories; without the second criu's log goes to the first
    manage_cgroups_mode     "", soft, full, strict or ignore
    empty_ns                names of namespaces whose content is left out: network, which always is
    """

    def __init__(self, image_path, work_path="", *, tcp_established=False, ext_unix_sk=False, shell_job=False, file_locks=False,
                 auto_dedup=False, lazy_pages=False, link_remap=False, manage_cgroups_mode="", empty_ns=(), environ=None):  # fmt: skip
        if manage_cgroups_mode not in wire.CGROUP_MODES:
            raise UsageError(f"invalid manage-cgroups-mode value: {manage_cgroups_mode!r} is none of soft, full, strict, ignore")
        for name in empty_ns:
            if name != "network":
                raise UsageError(f"namespace {name!r} is not supported: --empty-ns takes network")
        self.image_path = image_path
        self.work_path = work_path or ""
        self.tcp_established = tcp_established
        self.ext_unix_sk = ext_unix_sk
        self.shell_job = shell_job
        self.file_locks = file_locks
        self.auto_dedup = auto_dedup
        self.lazy_pages = lazy_pages
        self.link_remap = link_remap
        self.manage_cgroups_mode = manage_cgroups_mode
        self.environ = environ or {}

    def switched_on(self, names):
        """The switches among `names` that are on."""
        return [name for name in names if getattr(self, name)]


class RestoreOptions(Options):
    """What only restore takes: `lsm_profile`, TYPE:NAME, and `lsm_mount_context`, which replace those of the images."""

    def __init__(self, image_path, work_path="", *, lsm_profile="", lsm_mount_context="", **shared):
        super().__init__(image_path, work_path, **shared)
        self.lsm_profile = lsm_profile
        self.lsm_mount_context = lsm_mount_context


class DumpOptions(Options):
    """What only checkpoint takes.

    parent_path   of an earlier pre-dump, relative to image_path
    page_server   (address, port), or None
    status_fd     written to when the pages are ready to be fetched (lazy_pages), -1 for none
    """

    def __init__(self, image_path, work_path="", *, parent_path="", leave_running=False, tcp_skip_in_flight=False, page_server=None,
                 status_fd=-1, pre_dump=False, **shared):  # fmt: skip
        super().__init__(image_path, work_path, **shared)
        if parent_path.startswith("/"):
            raise UsageError("--parent-path must be relative")
        self.parent_path = parent_path
        self.leave_running = leave_running
        self.tcp_skip_in_flight = tcp_skip_in_flight
        self.page_server = page_server
        self.status_fd = status_fd
        self.pre_dump = pre_dump


def checkpoint(root, container_id, options, warn):
    """Write the images.  Then the container is deleted, with its poststop hooks, unless it is to go on (leave_running, pre_dump)."""
    container = Container(root, container_id)
    container.lock()
    try:
        _checkpoint_locked(container, options, warn)
    finally:
        container.unlock()


def _checkpoint_locked(container, options, warn):
    directories = container.record["cgroups"]
    status = derive(container, face.frozen)
    if status in ("created", "stopped"):
        raise WrongStatus(f"Container cannot be checkpointed in {status} state")
    refuse_user_namespace(container.config())
    program, environ, version = ready(options)
    _check(options, program, environ)
    request = _request(container, options, version, status)
    try:
        _dump(program, environ, request, options)
    except BaseException:
        if status != "paused" and face.frozen(directories):
            face.thaw(directories)
        raise
    if not options.leave_running and not options.pre_dump:
        from pyoci.runtime.delete import delete_locked

        delete_locked(container, True, warn)


def refuse_user_namespace(config):
    """criu reads images and bind sources as the root of the new user namespace, who may not: what can't be restored is not saved."""
    for index, one in enumerate((config.get("linux") or {}).get("namespaces") or ()):
        if one["type"] == "user":
            raise UnsupportedConfig(f"linux.namespaces[{index}]", "checkpoint and restore don't serve containers with a user namespace")


def ready(options):
    """(program, environment, version) of a criu that works here.  Raises PyociError; for both verbs, before any effect."""
    if os.geteuid():
        raise PyociError("checkpoint and restore take root")
    program, environ = criu_process.find(options.environ)
    version = criu_process.version(program, environ)
    if version < OLDEST:
        raise PyociError(f"{program} is too old: version {version // 10000}.{version // 100 % 100}, needed is 3.11 or newer")
    if options.lazy_pages:
        criu_process.check_features(program, environ, ["lazy_pages"])
    return program, environ, version


def _check(options, program, environ):
    if options.parent_path:
        parent = os.path.join(options.image_path, options.parent_path)
        if not os.path.isdir(parent):
            raise UsageError(f"invalid --parent-path: {parent} is no directory")
    if options.pre_dump:
        criu_process.check_features(program, environ, ["mem_track"])
    if options.status_fd >= 0:
        try:
            os.write(options.status_fd, b"")
        except OSError as error:
            raise UsageError(f"invalid --status-fd argument {options.status_fd}: {error.strerror}") from None


def make_directories(*paths):
    """Make the directories that are missing.  Raises SyscallError."""
    for path in filter(None, paths):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise SyscallError("mkdir", error.errno, path) from None


def config_file(annotations):
    """The file with criu's options, or None.  What it says goes before what we say."""
    if CONFIG_ANNOTATION in annotations:
        return annotations[CONFIG_ANNOTATION] or None
    return next((path for path in CONFIG_FILES if os.path.exists(path)), None)


# --- the request


class _Request:
    """criu's options, and the names of the standard streams that are stored beside the images."""

    def __init__(self, options, streams):
        self.options = options
        self.streams = streams


def _request(container, given, version, status):
    from pyoci.runtime.replan import remade

    record = container.record
    pid = record["pid"]
    config = container.config()
    mode = given.manage_cgroups_mode
    options = dict.fromkeys(given.switched_on(DUMP_SWITCHES), True) | {
        "pid": pid, "root": record["rootfs"], "log_level": 4, "log_file": LOG, "notify_scripts": True, "orphan_pts_master": True,
        "manage_cgroups": True, "manage_cgroups_mode": wire.CGROUP_MODES[mode], "empty_ns": calls.CLONE_NEWNET,
        "config_file": config_file(record.get("annotations") or {}), "freeze_cgroup": _freezer(record["cgroups"], version),
        "external": _external_namespaces(config, version),
    }  # fmt: skip
    if given.page_server:
        options["ps"] = {"address": given.page_server[0], "port": given.page_server[1]}
    if given.parent_path or given.pre_dump:
        options |= {"parent_img": given.parent_path or None, "track_mem": True}
    streams = [""] * 3
    if not given.pre_dump:
        options["ext_mnt"] = [{"key": key, "val": name} for key, name in _external_mounts(remade(container), pid)]
        streams, files = _standard_streams(pid, face.processes(record["cgroups"]))
        options["external"] += files
    return _Request(options, streams)


def _freezer(directories, version):
    if face.is_v2(directories):
        return directories[""] if version >= OLDEST_FREEZER_2 else None
    return directories.get("freezer")


def _external_namespaces(config, version):
    """Network and pid namespaces that were joined by path stay what they are; their keys are runc's."""
    found = []
    for one in (config.get("linux") or {}).get("namespaces") or ():
        kind, path = one["type"], one.get("path")
        if not path or kind not in INHERITED:
            continue
        if kind == "pid" and version < OLDEST_EXTERNAL_PID:
            raise PyociError("linux.namespaces: a pid namespace that was joined takes criu 3.15 or newer")
        try:
            inode = os.stat(path).st_ino
        except OSError as error:
            raise SyscallError("stat", error.errno, path) from None
        found.append(f"{NAMESPACE_NAMES[kind]}[{inode}]:{INHERITED[kind]}")
    return found


# --- mounts


def _external_mounts(plan, pid):
    """[(mount point as the container sees it, name in the images)]."""
    from pyoci.compile.restoring import external, hidden

    root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts = Mounts(pid)
        own = {op.args[2] for op in plan.create if op.name == "mount"}
        found = []
        for bind in external(plan):
            point = _resolved(root_fd, bind.target)
            found.append((point, bind.target))
            if bind.recursive:
                tails = mounts.shared_below(point, bind.source)
                found += [(point + tail, bind.target + tail) for tail in tails if bind.target + tail not in own]
        found += [(path, "/dev/null") for path in hidden(plan) if _is_device(root_fd, path)]
    finally:
        os.close(root_fd)
    return found


def _resolved(root_fd, target):
    """The mount point, links followed, as criu reads it from mountinfo."""
    try:
        fd = calls.openat2(root_fd, target, os.O_PATH | os.O_CLOEXEC, calls.RESOLVE_IN_ROOT)
    except SyscallError:
        return target
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _is_device(root_fd, path):
    """Whether a path is a character device for the container: its links lead nowhere else."""
    try:
        fd = calls.openat2(root_fd, path, os.O_PATH | os.O_CLOEXEC, calls.RESOLVE_IN_ROOT)
    except SyscallError:
        return False
    try:
        return stat.S_ISCHR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


class Mounts:
    """The mounts of a process and our own, {mount point: (device, root)} each."""

    def __init__(self, pid):
        self.theirs = read_mounts(pid)
        self.ours = read_mounts("self")

    def shared_below(self, point, source):
        """The tails of mounts below `point` that are the host's below `source`: a recursive bind brought them."""
        tails = [path[len(point) :] for path in self.theirs if path.startswith(point.rstrip("/") + "/")]
        return [tail for tail in tails if self.ours.get(source + tail) == self.theirs[point + tail]]


def read_mounts(pid):
    """{mount point: (device, root)}; of several at one place the last.  proc_pid_mountinfo(5)"""
    found = {}
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(" ", 5)
            found[_unescaped(fields[4])] = (fields[2], fields[3])
    return found


def _unescaped(field):
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


# --- standard streams


def _standard_streams(first, pids):
    """(names for descriptors.json, what criu has to be told is external): of the first process, or else of one that has kept its own."""
    known = _mount_ids(first)
    names, external = [], []
    for number in range(3):
        keys = filter(None, (_key(pid, number, known) for pid in [first, *pids]))
        key = next(keys, None)
        names.append(key or _link(first, number))
        if key and not key.startswith("pipe:") and key not in external:
            external.append(key)
    return names, external


def _key(pid, number, known):
    """criu's key of a stream whose other side is outside of the container, or None."""
    try:
        facts = os.stat(f"/proc/{pid}/fd/{number}")
        link = os.readlink(f"/proc/{pid}/fd/{number}")
        with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as lines:
            mount_id = next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))
    except (OSError, StopIteration):
        return None
    if link.startswith("pipe:["):
        return link
    if mount_id in known:
        return None
    if stat.S_ISCHR(facts.st_mode) and os.major(facts.st_rdev) in TTY_MAJORS:
        return f"tty[{facts.st_rdev:x}:{facts.st_dev:x}]"
    return f"file[{mount_id:x}:{facts.st_ino:x}]" if stat.S_ISREG(facts.st_mode) or stat.S_ISCHR(facts.st_mode) else None


def _mount_ids(pid):
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return {int(line.split(" ", 1)[0]) for line in lines}


def _link(pid, number):
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""


# --- the dump


def _dump(program, environ, request, options):
    make_directories(options.image_path, options.work_path)
    if not options.pre_dump:
        # Over whatever bears the name: in a directory that others may write to it could be a link, or a FIFO.
        put_file(os.path.join(options.image_path, DESCRIPTORS), json.dumps(request.streams).encode())
    criu = criu_process.Criu(program, environ, {"images_dir_fd": options.image_path, "work_dir_fd": options.work_path}, LOG)
    try:
        criu.ask(wire.PRE_DUMP if options.pre_dump else wire.DUMP, request.options)
        if options.status_fd >= 0:
            _tell_when_ready(criu, options.status_fd)
        else:
            criu.answer()
        criu.finish()
    finally:
        criu.end()


def _tell_when_ready(criu, status_fd):
    """One NUL byte once the pages can be fetched, and the end of the descriptor."""
    try:
        if criu.answer("status-ready")["type"] == wire.NOTIFY:
            os.write(status_fd, b"\0")
    finally:
        os.close(status_fd)
    if criu.waits_at:
        criu.answer()
