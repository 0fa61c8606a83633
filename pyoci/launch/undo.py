"""The journal run backwards.  Serves a create that failed, one that was killed, and delete.

Every item is checked to be what was noted (start time of a pid, inode of a cgroup, directory and emptiness of a mount
point) before it is touched: a stranger's thing is never removed.  Everything is tried; what is left is reported after.
"""

import posix

from pyoci.cgroup import face
from pyoci.errors import CleanupError, DamagedState, PyociError, SyscallError
from pyoci.kernel import calls
from pyoci.kernel.proc import is_alive, read_file, start_time
from pyoci.spec.names import bind_source
from pyoci.state.journal import parse, unit_description

ESRCH = 3
KILL_TIMEOUT_MS = 10_000
O_PATH = posix.O_PATH | posix.O_CLOEXEC
# The kinds of `made` lines that are no directories, and what stat(2) calls them.
_MADE_AS = {"f": (0o100000,), "n": (0o020000, 0o060000, 0o010000), "l": (0o120000,)}


class Trail:
    """The journal's lines, sorted by kind."""

    __slots__ = ("root", "bundle", "directories", "cgroups", "processes", "hooks", "made", "files", "mounts", "units", "complete")

    def __init__(self, lines):
        self.root = self.bundle = ""
        self.directories = {}
        self.cgroups = {}
        self.processes = []
        self.hooks = []
        self.made = []
        self.files = []
        self.mounts = []
        self.units = {}
        self.complete = False
        for fields in lines:
            try:
                self._take(fields[0], fields[1:])
            except (IndexError, ValueError):
                continue  # not a line of ours

    def _take(self, kind, fields):
        if kind == "cgroup":
            self.cgroups.setdefault(fields[0], None)
        elif kind == "inode":
            self.cgroups[fields[0]] = int(fields[1])
        elif kind == "process":
            self.processes.append((int(fields[0]), int(fields[1])))
        elif kind == "hook":
            self.hooks.append((int(fields[0]), int(fields[1])))
        elif kind == "cgroups":
            self.directories = {line[: line.index("/")]: line[line.index("/") :] for line in fields[0].split("\n")}
        elif kind == "made":
            device, inode, made_kind, place = fields
            directory, _, name = place.rpartition("/")
            self.made.append((device, int(inode), made_kind, directory, name))
        elif kind == "file":
            self.files.append(fields[0])
        elif kind == "mount":
            self.mounts.append(fields[0])
        elif kind == "unit":
            self.units[fields[0], fields[1]] = fields[2]
        elif kind == "complete":
            self.complete = True
        elif kind == "root":
            self.root = fields[0]
        elif kind == "bundle":
            self.bundle = fields[0]

    def believe(self, container):
        """What the record of a container knows of it."""
        record = container.record
        self.processes = [(record["pid"], record["started"])]
        self.directories = record["cgroups"]
        self.cgroups = {path: face.inode_of(path) for path in record["cgroups"].values()}
        if record.get("scope"):
            self.units[tuple(record["scope"])] = unit_description(container)


def journal_of(container):
    """Its bytes; none where no journal was begun."""
    try:
        return container.read("journal")
    except (SyscallError, DamagedState):
        return b""


def undo(container, *, own_pids=False, is_whole=False):
    """End the processes, remove the cgroups, and where create did not come to its end what it made in the rootfs and for its caller.

    `own_pids`: the container has a pid namespace of its own, which ends with its first process; whoever is in its cgroup then is
    another container's, made at the same path, and stays.
    `is_whole`: create has finished it, so that its record tells of it where the journal is lost.

    Raises CleanupError with all that could not be undone.
    """
    leftovers = []
    text = journal_of(container)
    trail = Trail(parse(text))
    is_lost = is_whole and not trail.processes
    if is_lost:
        trail.believe(container)
    survivors = []
    living = [(pid, started) for pid, started in reversed(trail.processes) if start_time(pid) == started]
    if living:
        _attempt(leftovers, _thaw, trail.directories, trail.cgroups)
    for pid, started in living:
        _attempt(survivors, end_process, pid, started)
    leftovers += survivors
    for pid, started in trail.hooks:
        _attempt(leftovers, _end_group, pid, started)
    if not (is_lost or trail.complete) and (later := journal_of(container)) != text:  # an init that outlived its runtime wrote on until now
        trail = Trail(parse(later))
    for (bus, unit), description in trail.units.items():
        if description and not survivors:
            _attempt(survivors, _stop_unit, bus, unit, description, trail.directories)
            leftovers += survivors
    if trail.cgroups and not survivors:  # with one left in them they can't go, and removing waits for its end
        if not own_pids and not is_lost:
            _attempt(leftovers, _end_stragglers, trail.directories, trail.cgroups)
        _attempt(leftovers, face.remove, trail.directories, trail.cgroups)
    for mount_id in reversed(trail.mounts):
        _attempt(leftovers, _unmount, trail.root, mount_id)
    if trail.made and not trail.complete:
        _attempt(leftovers, _remove_made, trail, container)
    if not trail.complete:
        for path in trail.files:
            _attempt(leftovers, _remove_file, path, [pid for pid, _ in trail.processes])
    if leftovers:
        raise CleanupError(leftovers)


def _attempt(leftovers, deed, *args):
    try:
        deed(*args)
    except CleanupError as error:
        leftovers.extend(error.leftovers)
    except (PyociError, OSError) as error:
        leftovers.append(str(error))


def _thaw(directories, cgroups):
    """SIGKILL does not act in a frozen v1 cgroup."""
    freezer = directories.get("freezer", "")
    if freezer in cgroups and cgroups[freezer] == face.inode_of(freezer) and face.frozen(directories):
        face.thaw(directories)


def end_process(pid, started):
    """SIGKILL that very process and wait until it is gone.  Raises PyociError if it is still there after 10 s."""
    if not started or start_time(pid) != started:
        return
    try:
        pidfd = calls.pidfd_open(pid)
    except SyscallError as error:
        if error.errno == ESRCH:
            return
        raise
    try:
        if start_time(pid) != started:
            return
        try:
            calls.pidfd_send_signal(pidfd, 9)
        except SyscallError as error:
            if error.errno != ESRCH:
                raise
        if not calls.poll([(pidfd, calls.POLLIN)], KILL_TIMEOUT_MS) and is_alive(pid, started):
            raise PyociError(f"process {pid} is still there 10 s after SIGKILL")
    finally:
        posix.close(pidfd)


def _end_group(pid, started):
    """A hook that a killed create left behind, with what it started."""
    if started and start_time(pid) == started:
        posix.killpg(pid, 9)


def _stop_unit(bus, unit, description, directories):
    """All that is in a unit of ours is ours, too: what a killed create had not come to write down, and what has left its pid namespace."""
    from pyoci.cgroup.unit import stop  # only with the systemd driver

    processes = lambda: face.processes(directories) if directories else ()  # noqa: E731
    stop(bus, unit, description, processes, lambda: face.kill_all(directories, 9))


def _end_stragglers(directories, cgroups):
    """Without a pid namespace of its own, a container's other processes outlive its first.  In cgroups that others made, or made
    anew, there may be strangers: nobody there is touched."""
    inodes = {path: face.inode_of(path) for path in directories.values()}
    there = {path: inode for path, inode in inodes.items() if inode}
    if there and all(cgroups.get(path) == inode for path, inode in there.items()) and face.processes(directories):
        face.kill_all(directories, 9)


def _unmount(root, mount_id):
    """Take the mount with that very id off the rootfs, and with it all that lies on it."""
    for line in read_file("/proc/self/mountinfo").split(b"\n"):
        fields = line.split(b" ", 5)
        if fields[0] == mount_id.encode() and fields[4] == _escaped(root):
            calls.unmount(root)


def _escaped(path):
    """As mountinfo shows a path, proc_pid_mountinfo(5)."""
    data = path.encode("utf-8", "surrogateescape").replace(b"\\", b"\\134")
    return data.replace(b" ", b"\\040").replace(b"\t", b"\\011").replace(b"\n", b"\\012")


def _remove_made(trail, container):
    """The mount points and files below the rootfs, newest first, if they are still there, empty, and where they were made: in the rootfs
    itself, or in the volume that lay there, which is the host's."""
    if not trail.root:
        return
    volumes = None
    for device, inode, kind, directory, name in reversed(trail.made):
        if _remove_below(trail.root, directory, device, inode, kind, name):
            continue
        if volumes is None:
            volumes = _volumes(container, trail.bundle)
        inside = "/" + directory.strip("/")
        for target, source in volumes:
            if f"{inside}/".startswith(f"{target}/") and _remove_below(source, inside[len(target) :], device, inode, kind, name):
                break


def _volumes(container, bundle):
    """[(where it lies inside, its source)] of the config's binds, the last first.  A restore names what is made in a source by that."""
    try:
        mounts = container.config().get("mounts") or []
    except (PyociError, OSError):
        return []
    found = []
    for mount in reversed(mounts):
        if {"bind", "rbind"}.intersection(mount.get("options") or ()) or mount.get("type") == "bind":
            full = bind_source(mount, bundle).rstrip("/")
            found += [("/" + mount["destination"].strip("/"), full), (full, full)]
    return found


def _remove_below(base, directory, device, inode, kind, name):
    """Whether it was made below `base`; then it is removed, if it is still what was made."""
    try:
        base_fd = posix.open(base, O_PATH | posix.O_DIRECTORY)
    except OSError:
        return False
    try:
        parent = calls.openat2(base_fd, directory.strip("/") or ".", O_PATH | posix.O_DIRECTORY, calls.RESOLVE_IN_ROOT)
    except SyscallError:
        return False
    finally:
        posix.close(base_fd)
    try:
        facts = posix.fstat(parent)
        if facts.st_ino != inode or device != f"{posix.major(facts.st_dev)}:{posix.minor(facts.st_dev)}":
            return False
        if kind == "d":
            posix.rmdir(name, dir_fd=parent)
            return True
        found = posix.stat(name, dir_fd=parent, follow_symlinks=False)
        if found.st_mode & 0o170000 in _MADE_AS.get(kind, ()) and (kind != "f" or found.st_size == 0):
            posix.unlink(name, dir_fd=parent)
    except OSError:
        pass  # gone, filled or exchanged: no longer what was made
    finally:
        posix.close(parent)
    return True


def _remove_file(path, pids):
    """A pid file, or the file that was to become it, which may be empty still: only one that holds what we wrote."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)  # by now it may be a FIFO
    except OSError:
        return
    try:
        text = posix.read(fd, 64)
    except OSError:
        return
    finally:
        posix.close(fd)
    fresh = path.rpartition("/")[2].startswith(".") and not text
    if fresh or text in [str(pid).encode() for pid in pids]:
        posix.unlink(path)
