"""The deeds of a restore: mount points, and criu's work cut at its notifications.  Cold: launch/host.py calls them.

criu makes the processes as children of this one (rst_sibling), so that they are waited for like those that init became.
"""

import os
from fcntl import ioctl
from shutil import rmtree

from pyoci.cgroup import face
from pyoci.errors import PyociError, SyscallError
from pyoci.kernel import calls
from pyoci.kernel.proc import start_time, stat_fields
from pyoci.launch import criu_wire as wire
from pyoci.launch.criu import FIRST_FD, STDIO_FD, Criu, find, in_thread

O_PATH = os.O_PATH | os.O_CLOEXEC
LOG = "restore.log"
TIOCGPTN = 0x80045430
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PLACE = "criu"
# As criu spells them, and the two that it takes by descriptor: their keys are runc's, so that either restores what the other dumped.
NAMESPACE_NAMES = {"cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "network": "net", "pid": "pid", "time": "time", "user": "user", "uts": "uts"}
INHERITED = {"network": "extRootNetNS", "pid": "extRootPidNS"}


# --- mount points


def make_mount_points(launch, rootfs, points):
    """`points`: three words each, the kind (d or f), the base ("" for the rootfs, else a bind's source) and the path."""
    for kind, base, path in _groups(points, 3):
        base_fd = os.open(base or rootfs, O_PATH | os.O_DIRECTORY)
        try:
            _make_point(base_fd, path, kind, launch.note, base)
        finally:
            os.close(base_fd)


def _groups(words, size):
    return zip(*[iter(words)] * size)


def _make_point(base_fd, path, kind, note, base):
    names = [name for name in path.split("/") if name]
    for count in range(1, len(names) + 1):
        if _is_there(base_fd, "/".join(names[:count])):
            continue
        _make(base_fd, "/".join(names[: count - 1]), names[count - 1], "d" if count < len(names) else kind, note, base)


def _is_there(base_fd, path):
    try:
        os.close(calls.openat2(base_fd, path, O_PATH, calls.RESOLVE_IN_ROOT))
    except SyscallError as error:
        if error.errno == 2:
            return False
        raise
    return True


def _make(base_fd, directory, name, kind, note, base):
    parent = calls.openat2(base_fd, directory or ".", O_PATH | os.O_DIRECTORY, calls.RESOLVE_IN_ROOT)
    try:
        facts = os.fstat(parent)
        note("made", f"{os.major(facts.st_dev)}:{os.minor(facts.st_dev)}", str(facts.st_ino), kind, f"{base}/{directory}/{name}")
        if kind == "d":
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent))
    except OSError as error:
        raise SyscallError("mkdir" if kind == "d" else "open", error.errno, f"{directory}/{name}") from None
    finally:
        os.close(parent)


# --- criu, from notification to notification


def restore_namespaces(launch, images, work, rootfs, switches, values, mounts, inherit, join):
    """Start criu in the container's cgroups and go on until the namespaces are made.

    switches  names of criu's options that are on      values   lines of NAME and VALUE for others
    mounts    four words each: the key in the images, the source, attributes set and cleared
    inherit   lines of KEY and the number of one of our standard streams
    join      lines of KIND and PATH of namespaces
    """
    program, environ = find(launch.environ)
    binds, keys = _mount_points(launch.container.file(PLACE), rootfs, mounts)
    opened = []
    try:
        fds, options = _descriptors(inherit, join, opened)
        launch.criu = Criu(program, environ, {"images_dir_fd": images, "work_dir_fd": work}, LOG, fds, binds)
    finally:
        for fd in opened:
            os.close(fd)
    launch.note("process", str(launch.criu.pid), str(start_time(launch.criu.pid)))
    face.place(launch.directories, launch.criu.pid)
    if launch.pid:
        launch.dismiss()  # the stand-in that held the scope
    options |= dict.fromkeys(switches, True) | dict(map(_option, values))
    # Its newer mount engine can't restore several binds that are slaves of one group of the host's mounts: the older one does.
    options |= {
        "log_level": 4, "log_file": LOG, "root": binds[0][1], "rst_sibling": True, "evasive_devices": True, "mntns_compat_mode": True, "notify_scripts": True,
        "orphan_pts_master": True, "manage_cgroups": True, "cg_root": _cgroup_roots(launch.criu.pid),
        "ext_mnt": [{"key": key, "val": path} for key, path in keys],
    }  # fmt: skip
    launch.criu.ask(wire.RESTORE, options)
    _adopt(launch, launch.criu.answer("setup-namespaces", "post-restore"))


def _mount_points(place, rootfs, mounts):
    """([what criu.Criu binds], [(key, where it is bound)]).

    Each source is bound with its attributes first: where two mounts are of one file system, criu gives the second none of its own.
    """
    os.mkdir(place, 0o700)
    binds, keys = [(rootfs, _place(place, "root", rootfs), 0, 0, True)], []
    for index, (key, source, attributes, cleared) in enumerate(_groups(mounts, 4)):
        path = _place(place, str(index), source)
        binds.append((source, path, int(attributes), int(cleared), False))
        keys.append((key, path))
    return binds, keys


def _place(place, name, source):
    path = f"{place}/{name}"
    if os.path.isdir(source):
        os.mkdir(path)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return path


def _option(line):
    name, value = line.split("\t", 1)
    return name, value if wire.MESSAGES["options"][name][1] == "text" else int(value)


def _descriptors(inherit, join, opened):
    """({number in criu: ours}, the options that name them)."""
    fds = {}
    options = {"inherit_fd": [], "join_ns": []}
    for line in inherit:
        key, number = line.rsplit("\t", 1)
        fds[STDIO_FD + int(number)] = int(number)
        options["inherit_fd"].append({"key": key, "fd": STDIO_FD + int(number)})
    for index, line in enumerate(join):
        kind, path = line.split("\t", 1)
        if kind in INHERITED:
            fds[FIRST_FD + index] = _open(path, opened)
            options["inherit_fd"].append({"key": INHERITED[kind], "fd": FIRST_FD + index})
        else:
            options["join_ns"].append({"ns": NAMESPACE_NAMES[kind], "ns_file": path})
    return fds, options


def _open(path, opened):
    try:
        opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None
    return opened[-1]


def _cgroup_roots(pid):
    """Where the container's cgroups are now: criu puts there what was in those of the images."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
        rows = [line.rstrip("\n").split(":", 2) for line in lines]
    return [{"ctrl": name, "path": path} for _, names, path in rows for name in names.split(",")]


def _adopt(launch, response):
    """The first process, as soon as criu names it: a child of ours, for whoever it is is ended where the restore fails."""
    pid = (response.get("notify") or response.get("restore") or {}).get("pid", 0)
    if launch.pid:
        return
    if not pid:
        raise PyociError("criu names no process that it restored")
    fields = stat_fields(pid)
    if not fields or int(fields[1]) != os.getpid() or pid == launch.criu.pid:
        raise PyociError(f"criu names process {pid}, which is none that it restored")
    launch.pid, launch.pidfd = pid, calls.pidfd_open(pid)
    launch.begin()


def raise_loopback(launch):
    """criu leaves `lo` of an empty network namespace down."""
    fd = os.open(f"/proc/{launch.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        in_thread(_raise_loopback, fd)
    finally:
        os.close(fd)


def _raise_loopback(namespace_fd):
    import socket

    calls.setns(namespace_fd, calls.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        request = b"lo".ljust(16, b"\0") + bytes(24)  # struct ifreq
        flags = int.from_bytes(ioctl(channel, SIOCGIFFLAGS, request)[16:18], "little") | IFF_UP
        ioctl(channel, SIOCSIFFLAGS, request[:16] + flags.to_bytes(2, "little") + bytes(22))


def restore_processes(launch, slot):
    """Go on until all processes are made, none of which runs yet."""
    criu = launch.criu
    if criu.waits_at != "post-restore":  # it is there at once where no namespace was made
        _adopt(launch, criu.answer("post-restore"))
    if slot < 0:
        return
    if not criu.masters:
        raise PyociError("process.terminal: the images hold no terminal, so there is none to hand over (config.md#process)")
    first = min(criu.masters, key=_terminal_number)
    criu.masters.remove(first)
    launch.fds[slot] = first


def _terminal_number(master):
    """0 for /dev/pts/0: the container's own is the first of its devpts, an exec's comes later.  ioctl_tty(2)"""
    return int.from_bytes(ioctl(master, TIOCGPTN, bytes(4)), "little")


def resume_processes(launch):
    """Let criu come to its end."""
    launch.criu.answer()
    launch.criu.finish()
    launch.criu.end()
    launch.criu = None
    rmtree(launch.container.file(PLACE))
