"""What runtime tests share: a bundle to spoil, the runtime as its callers run it, and the host before and after.

    bundle = Bundle(folder)                    a busybox rootfs and a minimal config.json
    bundle.edit(lambda config: ...)            change the config and write it again
    pyoci = Pyoci(folder / "state")            pyoci as a subprocess, with its own --root
    name = pyoci.new_id()                      unique on this host, and findable in its cgroups
    line = pyoci.fails("create", ..., name)    the one line that a failure printed
    before = snapshot(folder); ...; assert_unchanged(before)

Orphans of this process come to it (adopt_orphans), and mounts are seen in a namespace of our own (private_mounts), so that
what other tests do on the same host at the same moment shows in no snapshot.
"""

import contextlib
import copy
import ctypes
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

from pyoci.api import Runtime
from pyoci.spec.names import CAPABILITIES

PYOCI = pathlib.Path(sys.executable).parent / "pyoci"
TIMEOUT_S = 60
SETTLE_S = 3
# In every id and cgroup of this test process; a snapshot looks for it in the host's cgroups and keyrings.
TOKEN = f"pytest{os.getpid()}"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
APPLETS = (
    "sh", "ash", "cat", "chmod", "cp", "cut", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ln", "ls",
    "mkdir", "mkfifo", "mknod", "mount", "mv", "nc", "pidof", "ps", "pwd", "readlink", "rm", "sed", "sleep", "sort", "stat", "tail",
    "test", "touch", "tr", "true", "tty", "umount", "wc", "[",
)  # fmt: skip


def held_capabilities():
    """The permitted set of this process, as a mask."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapPrm:")), 16)


NAMESPACES = ("pid", "network", "ipc", "uts", "mount")
# What this host can give; a container without process.capabilities holds none.
HELD = [name for name, number in CAPABILITIES.items() if held_capabilities() >> number & 1]
CONFIG = {
    "ociVersion": "1.2.0",
    "process": {
        "user": {"uid": 0, "gid": 0},
        "args": ["sleep", "1000"],
        "env": ["PATH=/bin", "TERM=xterm"],
        "cwd": "/",
        "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), HELD),
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "namespaces": [{"type": kind} for kind in NAMESPACES],
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
    },
}  # fmt: skip


# --- a bundle


class Bundle:
    """A directory with config.json and a rootfs of a static busybox.  `config` is a dict; edit() writes what changed."""

    def __init__(self, path, *args, config=None):
        self.path = pathlib.Path(path)
        self.rootfs = self.path / "rootfs"
        self.config = copy.deepcopy(CONFIG if config is None else config)
        if args:
            self.config["process"]["args"] = list(args)
        make_rootfs(self.rootfs)
        self.write()

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def edit(self, change):
        """Call change(config), and write the config.  Returns the bundle."""
        change(self.config)
        return self.write()

    def write(self):
        """Write config.json.  Returns the bundle."""
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self

    def shell(self, script):
        """Let the process run a shell script."""
        self.process["args"] = ["sh", "-c", script]
        return self.write()

    def mount(self, destination, kind="tmpfs", source="tmpfs", *options):
        """One more mount, the last."""
        self.config["mounts"].append({"destination": destination, "type": kind, "source": str(source), "options": list(options)})
        return self.write()

    def add_user_namespace(self, host_id=100_000):
        """A new user namespace; its root owns the rootfs, or it could make no mount points there."""
        self.linux["namespaces"].append({"type": "user"})
        for key in ("uidMappings", "gidMappings"):
            self.linux[key] = [{"containerID": 0, "hostID": host_id, "size": 65536}]
        give(self.rootfs, host_id)
        return self.write()


def make_rootfs(folder):
    """A busybox under its usual names, /etc/passwd, and the folders that images have; no mount points but these."""
    for name in ("bin", "etc", "tmp", "root", "proc", "sys", "dev"):
        (folder / name).mkdir(parents=True)
    shutil.copy(busybox(), folder / "bin" / "busybox")
    for name in APPLETS:
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
    (folder / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\n")
    (folder / "tmp").chmod(0o1777)


def give(rootfs, host_id):
    """Make an id of the host the owner of every directory of a rootfs."""
    for folder, _, _ in os.walk(rootfs):
        os.chown(folder, host_id, host_id)


def busybox():
    """The host's static busybox (ability `busybox`)."""
    return shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")


# --- the runtime


_numbers = itertools.count()


class Pyoci:
    """pyoci as its callers run it: a process of its own, an almost empty environment, its own --root."""

    def __init__(self, root, *flags):
        self.root = pathlib.Path(root)
        self.flags = flags

    def new_id(self, word="c"):
        """An id that no other test on this host has."""
        return f"{TOKEN}-{word}-{next(_numbers)}"

    def command(self, *words):
        """The command line as a list."""
        return [str(PYOCI), "--root", str(self.root), *self.flags, *map(str, words)]

    def __call__(self, *words, timeout_s=TIMEOUT_S, stdin=subprocess.DEVNULL, env=ENVIRONMENT, **more):
        """Run a verb.  Returns CompletedProcess with texts.  A container may keep the streams, so they are files, not pipes."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            words = self.command(*words)
            done = subprocess.run(words, stdin=stdin, stdout=out, stderr=err, timeout=timeout_s, env=env, check=False, **more)
            for name, file in (("stdout", out), ("stderr", err)):
                file.seek(0)
                setattr(done, name, file.read().decode("utf-8", "surrogateescape"))
            return done

    def start_process(self, *words, **more):
        """Run a verb and don't wait.  Returns Popen; its streams go nowhere unless they are given."""
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT, **more}
        return subprocess.Popen(self.command(*words), **given)

    def ok(self, *words, **more):
        """Run a verb that succeeds, and return its standard output."""
        done = self(*words, **more)
        assert done.returncode == 0, f"{words}: exit {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout

    def fails(self, *words, status=1, **more):
        """Run a verb that fails as it should: that status, and one line on standard error, which is returned."""
        done = self(*words, **more)
        assert_one_line(done, status)
        return done.stderr.strip()

    def create(self, bundle, container_id=None, *flags, **more):
        """Create a container.  Returns its id."""
        container_id = container_id or self.new_id()
        self.ok("create", *flags, "--bundle", bundle.path, container_id, **more)
        return container_id

    def run(self, bundle, container_id=None, *flags, **more):
        """Run a container in the foreground.  Returns CompletedProcess."""
        return self("run", *flags, "--bundle", bundle.path, container_id or self.new_id(), **more)

    def start(self, bundle, container_id=None, *flags, **more):
        """Create and start one.  Returns its id."""
        container_id = self.create(bundle, container_id, *flags, **more)
        self.ok("start", container_id)
        return container_id

    def state(self, container_id):
        """The state document."""
        return json.loads(self.ok("state", container_id))

    def pid(self, container_id):
        """The pid of the container's process."""
        return self.state(container_id)["pid"]

    def api(self):
        """The same root as a library."""
        return Runtime(str(self.root))

    def clean(self):
        """Delete every container of this root, then the root.  Raises AssertionError for one that can't be deleted."""
        left = []
        with contextlib.suppress(FileNotFoundError):
            left = [done for name in os.listdir(self.root) if name[0] != "@" and (done := self("delete", "--force", name)).returncode]
        assert not left, left
        shutil.rmtree(self.root, ignore_errors=True)
        reap()


def wait_until_stopped(pyoci, container_id):
    """Wait for the end of the container's process, which was started by pyoci and is ours to reap."""
    wait_for_end(json.loads((pyoci.root / container_id / "state.json").read_text())["pid"])
    assert pyoci.state(container_id)["status"] == "stopped"


def until(condition):
    """Wait for what no descriptor tells of.  Raises AssertionError after TIMEOUT_S."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        select.select([], [], [], 0.01)


class Signal:
    """A FIFO by which something that a container or a hook runs says that it has come so far: `echo > PATH`."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # both ends: nobody waits for a partner

    def wait(self):
        """Wait until it was given.  Raises AssertionError after TIMEOUT_S."""
        ready, _, _ = select.select([self.fd], [], [], TIMEOUT_S)
        os.close(self.fd)
        assert ready, f"nobody wrote to {self.path}"

    def give(self):
        """Let whoever reads the FIFO go on."""
        os.write(self.fd, b"\n")
        os.close(self.fd)


def wait_for_end(pid):
    """Wait until a process has ended, and reap it if it is ours."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            assert select.select([pidfd], [], [], TIMEOUT_S)[0]
        finally:
            os.close(pidfd)
    reap()


def assert_one_line(done, status=1):
    """A failure as users may see it: the exit status, one clear line on standard error, nothing of our insides."""
    lines = done.stderr.splitlines()
    errors = [line for line in lines if not line.startswith("warning: ")]
    said = f"exit {done.returncode}: {done.stderr[:2000]}{done.stdout[:500]}"
    assert done.returncode == status, said
    assert len(errors) == 1 and errors[0] == lines[-1], said
    assert errors[0].isprintable(), said
    for word in ("Traceback", "internal error"):
        assert word not in done.stderr, said


# --- the host


class Snapshot:
    """What a failed or deleted container may not have changed, as {kind: {name: what it is}}."""

    def __init__(self, folders):
        self.folders = folders
        self.kinds = {
            "mounts": _mounts(),
            "cgroups": _cgroups(),
            "processes": _processes(),
            "files": {path: what for folder in folders for path, what in _files(folder)},
            "descriptors": _descriptors(),
            "keyrings": _keyrings(),
            "this process": _this_process(),
            "/dev/null": {"/dev/null": _what(os.lstat("/dev/null"), "/dev/null")},
        }


def snapshot(*folders):
    """The host now: mounts, cgroups and keyrings of this test process, its descendants, its descriptors, files below folders."""
    reap()
    return Snapshot(folders)


def assert_unchanged(before):
    """Nothing of `before` changed, and nothing came.  Ending takes the kernel a moment, so a difference is looked at for some seconds."""
    deadline_s = time.monotonic() + SETTLE_S
    while changes := _changes(before, snapshot(*before.folders)):
        # There is no descriptor that tells of the end of a keyring or of an orphan's orphan.
        if time.monotonic() > deadline_s:
            raise AssertionError("the host has changed:\n" + "\n".join(changes))
        time.sleep(0.01)


def _changes(before, after):
    found = []
    for kind, was in before.kinds.items():
        now = after.kinds[kind]
        found += [f"{kind}: new: {name} {now[name]}" for name in now if name not in was]
        if kind != "keyrings":  # those of an earlier container, which the kernel collects when it likes
            found += [f"{kind}: gone: {name} {was[name]}" for name in was if name not in now]
        found += [f"{kind}: {name} was {was[name]}, is {now[name]}" for name in was if name in now and was[name] != now[name]]
    return found


def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return {line.split(" ", 1)[0]: line.rstrip("\n") for line in lines}


def _cgroups():
    found = {}
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        ours = [name for name in names if TOKEN in name or TOKEN in folder]
        found.update((os.path.join(folder, name), "cgroup") for name in ours)
    return found


def _processes():
    """Descendants of this process: with adopt_orphans() none gets away."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
                parents[int(name)] = (int(fields[1]), int(fields[19]))
    found, layer = {}, {os.getpid()}
    while layer:
        layer = {pid for pid, (parent, _) in parents.items() if parent in layer}
        found.update((pid, f"started {parents[pid][1]}, {_program(pid)}") for pid in layer)
    return found


def _program(pid):
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return "(ended)"


def files_below(folder):
    """{path: what it is} of a folder and all in it."""
    return dict(_files(folder))


def _files(folder):
    """(path, what) of everything below; a directory counts with its owner and mode, a file with its size too."""
    with contextlib.suppress(FileNotFoundError):
        yield str(folder), _what(os.lstat(folder), folder)
    for where, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(where, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, _what(os.lstat(path), path)


def _what(facts, path):
    words = [stat.filemode(facts.st_mode), f"{facts.st_uid}:{facts.st_gid}"]
    if stat.S_ISLNK(facts.st_mode):
        words.append(f"-> {os.readlink(path)}")
    elif stat.S_ISREG(facts.st_mode):
        words.append(f"{facts.st_size} bytes")
    elif not stat.S_ISDIR(facts.st_mode):
        words.append(f"device {facts.st_rdev:#x}")
    return " ".join(words)


def _descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _keyrings():
    with open("/proc/keys", encoding="utf-8", errors="replace") as lines:
        return {line.split()[0]: line.partition(" keyring ")[2].strip() for line in lines if TOKEN in line}


def _this_process():
    umask = os.umask(0)
    os.umask(umask)
    facts = {f"ns/{name}": os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        own = [line.strip().split(":", 2) for line in lines]
    # Those that every host has: others mount a further hierarchy when they like.
    facts.update((f"cgroup {names}", path) for _, names, path in own if names in ("", "memory", "freezer", "devices", "pids"))
    return {**facts, "umask": umask, "cwd": os.getcwd(), "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))}


# --- this process's place in the host

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER, CLONE_FS, CLONE_NEWNS = 36, 0x200, 0x20000
MS_REC, MS_PRIVATE, MS_SHARED = 0x4000, 1 << 18, 1 << 20


def adopt_orphans():
    """Be the parent of what our children leave behind: containers, and what they forget.  prctl(2)"""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def reap():
    """Wait for orphans that have ended; a Popen of somebody's is left to it."""
    known = {process.pid for process in getattr(subprocess, "_active", [])}
    for pid in _zombies():
        if pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _zombies():
    for thread in os.listdir("/proc/self/task"):
        children = ""
        with contextlib.suppress(FileNotFoundError):  # the thread has ended by now
            children = pathlib.Path(f"/proc/self/task/{thread}/children").read_text()
        for pid in children.split():
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z":
                    yield int(pid)


@contextlib.contextmanager
def private_mounts():
    """A mount namespace of our own for the with block, shared within itself, so that a mount that escapes is seen.  unshare(2)"""
    where = os.getcwd()
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNS))
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("none", "/", None, MS_REC | MS_SHARED)
        yield
    finally:
        _check(_libc.unshare(CLONE_FS))  # pytest's watchdog thread shares it, and setns(2) allows no sharing
        _check(_libc.setns(outside, CLONE_NEWNS))
        os.close(outside)
        os.chdir(where)


def mount(source, target, kind=None, flags=0, data=None):
    """mount(2).  Raises OSError."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    _check(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]))


def umount(target):
    """umount2(2), detached.  Raises OSError."""
    _check(_libc.umount2(os.fsencode(target), 2))


def _check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
