"""The container's cgroups as every verb sees them: make, place, freeze, signal, remove. One face over v1 and v2.

`directories` everywhere is what layout.directories() gave: controller -> absolute directory; {"": directory} is v2, anything
else v1 (where "" is the cgroup2 hierarchy of a hybrid host). Limits are limits.py's. Sources: cgroups(7), the kernel's
cgroup-v1/freezer-subsystem.rst, cgroup-v1/cpusets.rst, cgroup-v2.rst.
"""

from errno import EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ESRCH, ETIMEDOUT
from posix import F_OK, O_CLOEXEC, O_RDONLY, O_WRONLY, access, close, getpid, kill, mkdir, open as sys_open, pread, rmdir, scandir, stat, write
from time import monotonic, sleep

from pyoci.errors import CleanupError, StateError, SyscallError

SYSTEMD = "name=systemd"
SIGKILL = 9
FREEZE_TIMEOUT_S = 10.0
REMOVE_TIMEOUT_S = 10.0
MAKE_ATTEMPTS = 20
# A task that was just cloned can't be moved yet (TASK_NEW): the kernel says EINVAL for some milliseconds.
PLACE_ATTEMPTS = 6
PLACE_PAUSE_S = 0.02


def is_v2(directories):
    """True for the {"": directory} of a host with cgroup2 alone."""
    return len(directories) == 1 and "" in directories


# --- making


def make(directories, before, created=None):
    """Make the cgroups that are missing, parents first, and return the created directories in order.

    `before(paths)` is called before any of them is made, for the undo journal. `created`, where it is given, is the list that is filled
    meanwhile: what was told and is not in it in the end, or when this fails, is not ours. v1: empty cpuset files are copied from the
    parent down the tree. v2: the controllers are enabled in every ancestor. A cgroup that exists already must be empty and not frozen.
    name=systemd and a hybrid host's cgroup2 are made if possible. Raises SyscallError, StateError.
    """
    created = [] if created is None else created
    v2 = is_v2(directories)
    wanted = _unique(directories)
    missing = {path for _, path in wanted if not access(path, F_OK, effective_ids=True)}  # or mkdir says what is wrong
    if missing:
        before([path for _, path in wanted if path in missing])
    for name, path in wanted:
        if path not in missing:
            _refuse_used(directories, path)
            if v2:
                _enable_controllers(path)
        else:
            try:
                _make_tree(path, before, created)
            except SyscallError:
                if v2 or name not in ("", SYSTEMD):
                    raise
                continue
            if v2:
                _enable_controllers(path)
                _leave_invalid_mode(path)
        if name == "cpuset":
            _fill_cpuset(path, path in missing)
    return created


def adopt(directories, before, created=None):
    """Make what is missing of cgroups that systemd has begun, and return the created directories; `before` and `created` as for make().

    It makes those of its own controllers (v1), and enables no more than those (v2). Raises SyscallError.
    """
    created = [] if created is None else created
    if is_v2(directories):
        _enable_controllers(directories[""])
        return created
    for name, path in _unique(directories):
        try:
            if not exists(path):
                before([path])
                _make_tree(path, before, created)
        except SyscallError:
            if name not in ("", SYSTEMD):
                raise
        if name == "cpuset":
            _fill_cpuset(path)
    return created


def identities(created):
    """path -> inode of each directory of `created`, for a later remove(); 0 for one that others have taken away."""
    return {path: inode_of(path) for path in created}


def inode_of(path):
    """The inode, 0 where there is none."""
    try:
        return stat(path).st_ino
    except OSError:
        return 0


def _unique(directories):
    """(controller, directory) without the repeats of co-mounted controllers; cpuset wins for a directory that it shares."""
    found = {path: name for name, path in directories.items()}
    if "cpuset" in directories:
        found[directories["cpuset"]] = "cpuset"
    return [(name, path) for path, name in found.items()]


def _make_tree(path, before, created):
    """Make a cgroup that was told, and the parents that it lacks.

    Containers that share a parent come and go at the same time: one may make it, or take it away, under our hands.
    """
    for _ in range(MAKE_ATTEMPTS - 1):
        if _mkdir(path, created, (ENOENT,)):
            return
        missing = _missing_above(path)
        before(missing)
        for parent in missing:
            _mkdir(parent, created, (EEXIST, ENOENT))
    _mkdir(path, created, ())


def _mkdir(path, created, accepted):
    """Whether it was made; False after one of the accepted errors."""
    try:
        mkdir(path, 0o755)
    except OSError as error:
        if error.errno in accepted:
            return False
        raise SyscallError("mkdir", error.errno, path) from error
    created.append(path)
    return True


def _missing_above(path):
    """The ancestors that are not there, from the top."""
    missing = []
    while not exists(path := path.rpartition("/")[0] or "/"):
        missing.insert(0, path)
    return missing


def _refuse_used(directories, path):
    count = len(_processes_below(path))
    if count:
        raise StateError(f"container's cgroup is not empty: {count} process(es) found: {path}")
    if frozen(directories):
        raise StateError(f"container's cgroup unexpectedly frozen: {path}")


def _fill_cpuset(path, is_new=False):
    """A v1 cpuset takes no task before cpus and mems are set; in a new one they are not, or by clone_children to the same."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if is_new or not read_file(f"{path}/{file}").strip() and exists(f"{path}/../{file}"):
            write_file(f"{path}/{file}", _value_above(path, file))


def _value_above(path, file):
    """The parent's value; where it has none it gets its own parent's. The root's are always set, so the way up ends there."""
    parent = path.rpartition("/")[0]
    value = read_file(f"{parent}/{file}").strip()
    if not value and exists(f"{parent}/../{file}"):
        value = _value_above(parent, file)
        write_file(f"{parent}/{file}", value)
    return value


def _enable_controllers(path):
    """Enable in every ancestor what it offers; what it refuses shows as a missing file when a limit is written."""
    ancestors = []
    path = path.rpartition("/")[0]
    while exists(f"{path}/cgroup.controllers"):
        ancestors.append(path)
        path = path.rpartition("/")[0]
    for path in reversed(ancestors):
        offered = read_file(f"{path}/cgroup.controllers").split()
        enabled = read_file(f"{path}/cgroup.subtree_control").split()
        missing = [f"+{name}" for name in offered if name not in enabled]
        if missing:
            _enable(f"{path}/cgroup.subtree_control", missing)


def _enable(path, names):
    """All at once, or else one by one. Not so where the cgroup has processes (EBUSY): it would take the threaded controllers
    alone, and with them turn into the root of a threaded subtree, below which no container can live."""
    try:
        write_file(path, " ".join(names))
    except SyscallError as error:
        for name in names if error.errno != EBUSY else ():
            _try_write(path, name)


def _leave_invalid_mode(path):
    """Below a threaded cgroup a new one is unusable until it is threaded too."""
    if read_file(f"{path}/cgroup.type").strip() == "domain invalid":
        _try_write(f"{path}/cgroup.type", "threaded")


def delegate(directories, uid):
    """v2: give the cgroup and its delegation files to the user `uid`, as a new cgroup namespace with a writable cgroup mount
    wants. Nothing on v1. Raises SyscallError. cgroup-v2.rst#delegation"""
    if not is_v2(directories):
        return
    from posix import chown

    directory = directories[""]
    try:
        files = read_file("/sys/kernel/cgroup/delegate").split()
    except SyscallError:
        files = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
    for path in [directory, *(f"{directory}/{file}" for file in files)]:
        try:
            chown(path, uid, -1)
        except OSError as error:
            if error.errno != ENOENT:
                raise SyscallError("chown", error.errno, path) from error


# --- processes


def place(directories, pid, beside_pid=0):
    """Move a process into the cgroups. `beside_pid`: on v2, where the container has put its processes into cgroups of its own
    (EBUSY), join the one of that process. name=systemd and a hybrid host's cgroup2 may fail. Raises SyscallError."""
    v2 = is_v2(directories)
    for name, path in _unique(directories):
        try:
            _enter(path, pid)
        except SyscallError as error:
            if v2 and error.errno == EBUSY and beside_pid:
                _enter(_cgroup2_of(beside_pid, path), pid)
            elif v2 or name not in ("", SYSTEMD):
                raise


def _enter(path, pid):
    for attempt in range(1, PLACE_ATTEMPTS + 1):
        try:
            return write_file(f"{path}/cgroup.procs", str(pid))
        except SyscallError as error:
            if error.errno != EINVAL or attempt == PLACE_ATTEMPTS:
                raise
        sleep(PLACE_PAUSE_S)


def _cgroup2_of(pid, directory):
    """The directory of a process's cgroup2, which must lie below the container's."""
    for line in read_file(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            _, found, inner = ("/sys/fs/cgroup" + line[3:]).partition(directory + "/")
            if found:
                return f"{directory}/{inner}"
    return directory


def processes(directories):
    """Sorted pids of the whole subtree; empty when the cgroup is gone, or there is none. Raises SyscallError."""
    return [] if not directories else sorted(_processes_below(_main(directories)))


def _main(directories):
    """The hierarchy that stands for the container: v2's only one, else the freezer's, else that of devices."""
    if is_v2(directories):
        return directories[""]
    return directories.get("freezer") or directories.get("devices") or next(iter(directories.values()))


def _processes_below(path):
    found = set()
    for directory in _subtree(path):
        try:
            text = read_file(f"{directory}/cgroup.procs")
        except SyscallError as error:
            if error.errno in (ENOENT, ENODEV):
                continue
            if error.errno != EOPNOTSUPP:
                raise
            text = read_file(f"{directory}/cgroup.threads")  # a threaded cgroup lists only threads
        found.update(map(int, text.split()))
    found.discard(0)  # how a process outside of our pid namespace is shown
    return found


def _subtree(path):
    """The directory and all below it, parents first; what vanishes meanwhile is left out."""
    found = [path]
    for directory in found:
        try:
            if stat(directory).st_nlink <= 2:  # of itself and its name: no cgroup below
                continue
            with scandir(directory) as entries:
                found.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            if error.errno not in (ENOENT, ENODEV):
                raise SyscallError("scandir", error.errno, directory) from error
    return found


def kill_all(directories, signal):
    """Send a signal to every process of the subtree, so that none escapes by forking: v2 cgroup.kill for SIGKILL, otherwise
    frozen first and thawed after. A cgroup that was frozen is thawed after SIGKILL (which acts in no frozen v1 cgroup) and
    stays frozen after any other. The caller is never signalled. Raises SyscallError. cgroup-v2.rst"""
    if not directories:
        return
    inside = getpid() in processes(directories)
    if signal == SIGKILL and is_v2(directories) and not inside and _try_write(f"{directories['']}/cgroup.kill", "1"):
        return
    was_frozen = frozen(directories)
    held = was_frozen or not inside and _freeze_for_signal(directories)  # frozen, we could not go on
    try:
        _signal_each(directories, signal)
        # Only where it could not be frozen can a child have been missed; each round leaves fewer that could fork.
        for _ in range(0 if held or signal != SIGKILL else 100):
            if not _signal_each(directories, signal):
                break
            sleep(0.005)
    finally:
        if signal == SIGKILL or held and not was_frozen:
            thaw(directories)


def _freeze_for_signal(directories):
    try:
        freeze(directories, 2.0)
    except SyscallError:
        return False
    return True


def _signal_each(directories, signal):
    """Signal every process but ourselves; the number reached."""
    count = 0
    for pid in processes(directories):
        if pid == getpid():
            continue
        try:
            kill(pid, signal)
            count += 1
        except OSError as error:
            if error.errno != ESRCH:
                raise SyscallError("kill", error.errno, str(pid)) from error
    return count


# --- freezing


def frozen(directories):
    """True if the cgroup was told to freeze itself (not through an ancestor); False when it is gone. Raises SyscallError."""
    try:
        if is_v2(directories):
            return read_file(f"{directories['']}/cgroup.freeze").strip() == "1"
        if "freezer" not in directories:
            return False
        if read_file(f"{directories['freezer']}/freezer.state").strip() == "THAWED":
            return False
        return read_file(f"{directories['freezer']}/freezer.self_freezing").strip() == "1"
    except SyscallError as error:
        if error.errno in (ENOENT, ENODEV):
            return False
        raise


def halts(directory):
    """Whether a process would stop in this cgroup of version 2, by itself or by an ancestor, or soon will. Raises SyscallError."""
    return frozen({"": directory}) or "frozen 1" in read_file(f"{directory}/cgroup.events")


def freeze(directories, timeout_s=FREEZE_TIMEOUT_S):
    """Freeze the cgroup and wait until it is frozen. Thaws it again and raises SyscallError (ETIMEDOUT) if it is not in time."""
    deadline = monotonic() + timeout_s
    done = _freeze_v2(directories[""], deadline) if is_v2(directories) else _freeze_v1(_freezer(directories), deadline)
    if not done:
        thaw(directories)
        raise SyscallError("freeze", ETIMEDOUT, _main(directories))


def thaw(directories):
    """Let the processes run again. Raises SyscallError."""
    if is_v2(directories):
        write_file(f"{directories['']}/cgroup.freeze", "0")
    elif "freezer" in directories:
        write_file(f"{directories['freezer']}/freezer.state", "THAWED")


def _freezer(directories):
    if "freezer" not in directories:
        raise SyscallError("freeze", EOPNOTSUPP, "this host has no freezer cgroup controller")
    return directories["freezer"]


def _freeze_v1(path, deadline):
    """The v1 freezer needs asking again while processes fork or join; a thaw in between helps it (freezer-subsystem.rst)."""
    attempt = 0
    while True:
        write_file(f"{path}/freezer.state", "FROZEN")
        if read_file(f"{path}/freezer.state").strip() == "FROZEN":
            return True
        if monotonic() >= deadline:
            return False
        attempt += 1
        if attempt % 50 == 0:
            write_file(f"{path}/freezer.state", "THAWED")
        if attempt > 5:
            sleep(min(0.0001 * attempt, 0.01))


def _freeze_v2(path, deadline):
    write_file(f"{path}/cgroup.freeze", "1")
    return wait_event(path, "frozen 1", deadline)


def wait_event(path, line, deadline):
    """v2: wait until cgroup.events has the line (`frozen 1`, `populated 0`); False past the deadline of time.monotonic()."""
    from select import POLLERR, POLLPRI, poll  # a shared library of its own, which most verbs don't need

    fd = open_file(f"{path}/cgroup.events", O_RDONLY)
    try:
        watch = poll()
        watch.register(fd, POLLPRI | POLLERR)
        while line not in _read_all(fd).splitlines():
            left_s = deadline - monotonic()
            if left_s <= 0:
                return False
            watch.poll(left_s * 1000)
        return True
    finally:
        close(fd)


# --- removing


def remove(directories, identities, timeout_s=REMOVE_TIMEOUT_S):
    """Remove the given cgroups, deepest first, and below those of `directories` what the container made inside.

    `identities`: path -> inode, or None where it is not known, as identities() gave it; nothing else is touched, and a
    directory with another inode is a stranger's and stays. A missing one is fine, and so is a parent that others use by
    now. A busy one (its last process is just dying) is tried again until timeout_s. Raises CleanupError with all that is
    left, after everything was tried. `directories` is {} where they are not known: then nothing lies below.
    """
    deadline = monotonic() + timeout_s
    own = set(directories.values())
    leftovers = []
    for path in sorted(identities, key=lambda path: -path.count("/")):
        if path not in own and _is_parent(path, identities):
            number = _rmdir(path, identities[path])
            failed = "" if number in (0, EBUSY) else str(SyscallError("rmdir", number, path))
        else:
            failed = _remove_leaf(path, identities[path], deadline, path in own)
        if failed:
            leftovers.append(failed)
    if leftovers:
        raise CleanupError(leftovers)


def _is_parent(path, paths):
    return any(other.startswith(path + "/") for other in paths)


def _remove_leaf(path, inode, deadline, with_inside):
    """"" when it is gone or not ours, else what failed."""
    pause_s = 0.001
    while True:
        number = _rmdir(path, inode)
        if number == EBUSY and with_inside:
            _remove_below(path)
            number = _rmdir(path, inode)
        if not number:
            return ""
        if number != EBUSY or monotonic() >= deadline:
            return _why_busy(path, number)
        sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def _rmdir(path, inode):
    """0 when it is gone or a stranger's, else the errno."""
    try:
        if inode is not None and stat(path).st_ino != inode:
            return 0
        rmdir(path)
    except OSError as error:
        return 0 if error.errno in (ENOENT, ENODEV) else error.errno
    return 0


def _remove_below(path):
    for directory in reversed(_subtree(path)[1:]):
        try:
            rmdir(directory)
        except OSError as error:
            if error.errno not in (ENOENT, EBUSY):
                raise SyscallError("rmdir", error.errno, directory) from error


def _why_busy(path, number):
    try:
        count = len(_processes_below(path))
    except SyscallError:
        count = 0
    held = f" ({count} process(es) left)" if count else ""
    return str(SyscallError("rmdir", number, path + held))


# --- files


def read_file(path):
    """The whole text of a cgroup file. Raises SyscallError."""
    fd = open_file(path, O_RDONLY)
    try:
        return _read_all(fd)
    except OSError as error:
        raise SyscallError("read", error.errno, path) from error
    finally:
        close(fd)


def write_file(path, value):
    """Write `value` to a cgroup file with one write(2). Raises SyscallError."""
    fd = open_file(path, O_WRONLY)
    try:
        write(fd, value.encode())
    except OSError as error:
        raise SyscallError("write", error.errno, path) from error
    finally:
        close(fd)


def write_many(path, values):
    """Write the values to a cgroup file by one descriptor, up to the first that is refused. Returns how many; 0 for a single one."""
    if len(values) < 2:
        return 0
    done = 0
    try:
        fd = open_file(path, O_WRONLY)
        try:
            for value in values:
                write(fd, value.encode())
                done += 1
        finally:
            close(fd)
    except (SyscallError, OSError):
        pass  # whoever writes it once more tells why
    return done


def _try_write(path, value):
    try:
        write_file(path, value)
    except SyscallError:
        return False
    return True


def open_file(path, flags):
    """A descriptor, close-on-exec. Raises SyscallError."""
    try:
        return sys_open(path, flags | O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno, path) from error


def _read_all(fd):
    """From the start, whatever was read before."""
    parts = []
    offset = 0
    while part := pread(fd, 65536, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts).decode()


def exists(path):
    """Whether there is something at `path`. Raises SyscallError where that can't be told."""
    try:
        stat(path)
    except OSError as error:
        if error.errno == ENOENT:
            return False
        raise SyscallError("stat", error.errno, path) from error
    return True
