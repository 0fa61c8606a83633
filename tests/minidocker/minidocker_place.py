"""What the tests of containers share: roots of their own with a busybox image, and the engine in a process of its own.

    place.engine                       an Engine of these roots, in the test's process
    place.run("echo", "hi", Tty=True)  create and run in the foreground, in another process; CompletedProcess with texts
    place.create("sleep", "100")       the id of a created container; place.up(...) of one that runs
    place.command(CODE)                Python in another process, with `engine` and `sys.argv`; Typist(place, CODE) on a terminal
MINIDOCKER_RUNTIME=runc pytest tests/minidocker  runs every container of these tests by another runtime, a name on PATH or a path.
After each test nothing of MiniDocker may be left: no mount, no cgroup, no process, no problem that `check` would find.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
import tty

import pytest
import support

from pyoci.minidocker import containers
from pyoci.minidocker.engine import Engine
from pyoci.minidocker.images import assemble, reference
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.images.pack import packed_tree
from pyoci.minidocker.paths import Roots

RUNTIME = os.environ.get("MINIDOCKER_RUNTIME", "")
TREE = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 30
PREAMBLE = f"""
import json, os, sys
sys.path.insert(0, {str(TREE)!r})
from pyoci.errors import PyociError
from pyoci.minidocker.engine import Engine
from pyoci.minidocker.paths import Roots
engine = Engine(Roots(sys.argv[1], sys.argv[2], {{}}), runtime=sys.argv[3], warn=lambda text: print("warning:", text, file=sys.stderr))
try:
"""
EPILOGUE = """
except PyociError as error:
    print(error, file=sys.stderr)
    status = getattr(error, "exit_status", 125)
sys.stdout.flush()
os._exit(status or 0)
"""
RUN = """
    words = json.loads(sys.argv[4])
    made = engine.create(words["body"], words["name"])
    status = engine.run_attached(made.id)
"""
BUSYBOX = "docker.io/library/busybox:latest"
ENVIRONMENT = {"PATH": "/bin"}


def add_image(store, name=BUSYBOX, **config):
    """A busybox image of one layer, as pull would leave it.  Returns its id."""
    document = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **config}}
    with tempfile.TemporaryDirectory() as rootfs, Content(store.roots).lease() as lease:
        support.make_rootfs(pathlib.Path(rootfs) / "rootfs")
        with packed_tree(f"{rootfs}/rootfs") as stream:
            layer = assemble.add_layer(store, lease, stream)
        return assemble.add_image(store, lease, document, [layer], [reference.parse(name)]).id


class Place:
    """Roots of a test's own."""

    def __init__(self, folder, runtime=""):
        self.folder = pathlib.Path(folder)
        self.roots = Roots(str(self.folder / "data"), str(self.folder / "run"), {})
        self.runtime = runtime
        self.engine = Engine(self.roots, runtime=runtime)
        self.store = self.engine.store
        add_image(self.store)

    def body(self, *command, image="busybox", **given):
        """A create request: keys of HostConfig or of the request itself."""
        top = {"Tty", "OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr", "Env", "User", "WorkingDir", "Entrypoint", "Labels",
               "Hostname", "Domainname", "StopSignal", "StopTimeout", "Healthcheck", "Volumes", "ExposedPorts"}  # fmt: skip
        host = {name: value for name, value in given.items() if name not in top}
        body = {name: value for name, value in given.items() if name in top}
        return {"Image": image, "Cmd": list(command), **body, "HostConfig": {"NetworkMode": "none", **host}}

    def create(self, *command, name="", **given):
        """Create a container.  Returns its id."""
        return self.engine.create(self.body(*command, **given), name).id

    def up(self, *command, name="", **given):
        """Create and start one.  Returns its id."""
        container_id = self.create(*command, name=name, **given)
        self.engine.start(container_id)
        return container_id

    def get(self, ref):
        """The Container as recorded."""
        return containers.find(self.store, ref)

    def arguments(self, code, *words):
        """The command line of another process with an engine, which runs the code."""
        text = PREAMBLE + "    status = 0\n" + code + EPILOGUE
        return [sys.executable, "-c", text, self.roots.data, self.roots.run, self.runtime, *words]

    def command(self, code, *words, stdin=subprocess.DEVNULL):
        """Run code in another process.  Returns CompletedProcess with texts."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(self.arguments(code, *words), stdin=stdin, stdout=out, stderr=err, timeout=TIMEOUT_S, check=False, env=ENVIRONMENT)
            for name, file in (("stdout", out), ("stderr", err)):
                file.seek(0)
                setattr(done, name, file.read().decode("utf-8", "surrogateescape"))
            return done

    def run(self, *command, name="", stdin=subprocess.DEVNULL, **given):
        """Create and run in the foreground."""
        body = self.body(*command, **given)
        return self.command(RUN, json.dumps({"body": body, "name": name}), stdin=stdin)

    def log(self, ref):
        """The records of a container's log."""
        return [json.loads(line) for line in (pathlib.Path(self.get(ref).folder) / "log.json").read_text().splitlines()]

    def until(self, condition, what="it"):
        """Poll until condition() is true.  Returns its value."""
        end = time.monotonic() + TIMEOUT_S
        while not (found := condition()):
            assert time.monotonic() < end, f"{what} did not happen"
            time.sleep(0.01)
        return found

    def actions(self, ref):
        """The events of a container, in order."""
        rows = self.store.db.execute("select action from events where actor = ? order by number", (ref,))
        return [row["action"] for row in rows]

    def clean(self):
        """Remove every container."""
        support.reap()  # a zombie of ours would keep a container's pid namespace from ending
        for container in containers.all_containers(self.store):
            self.engine.remove(container.id, force=True)
        support.reap()


class Typist:
    """A foreground command on a terminal of ours, raw, or cooked and its own session's, where ^C is a signal."""

    def __init__(self, place, code, *words, cooked=False, pass_fds=()):
        self.master, slave = pty.openpty()
        self.terminal = os.ttyname(slave)
        if not cooked:
            tty.setraw(slave)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        take = (lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if cooked else None
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, "pass_fds": pass_fds}
        self.process = subprocess.Popen(place.arguments(code, *words), start_new_session=cooked, preexec_fn=take, **streams)
        os.close(slave)
        self.seen = b""

    def expect(self, text):
        """Wait until the text has been shown."""
        while text not in self.seen:
            assert select.select([self.master], [], [], TIMEOUT_S)[0], self.seen
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                raise AssertionError(self.seen) from None
        self.seen = self.seen.partition(text)[2]

    def type(self, data):
        """Type."""
        os.write(self.master, data)

    def close(self):
        """The exit status."""
        status = self.process.wait(TIMEOUT_S)
        os.close(self.master)
        return status


def processes_of(roots):
    """The command lines of the processes that MiniDocker has for these roots."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environ = pathlib.Path(f"/proc/{name}/environ").read_bytes()
                words = pathlib.Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if f"MINIDOCKER_RUN={roots.run}".encode() in environ.split(b"\0"):
                found.append(words.replace(b"\0", b" ").decode())
    return found


def assert_nothing_left(place, before):
    """No process, mount or cgroup of MiniDocker is left."""
    place.until(lambda: (support.reap(), not processes_of(place.roots))[1], f"the end of {processes_of(place.roots)}")
    support.assert_unchanged(before)
    assert not pathlib.Path("/sys/fs/cgroup/memory/minidocker").is_dir() or not [
        name for name in os.listdir("/sys/fs/cgroup/memory/minidocker") if os.path.isdir(f"/sys/fs/cgroup/memory/minidocker/{name}") and
        os.path.isdir(f"{place.roots.data}/containers/{name}")
    ]  # fmt: skip


@pytest.fixture(scope="module")
def own_mounts():
    """Mounts and orphans of these tests are their own."""
    support.adopt_orphans()
    with support.private_mounts():
        if os.path.basename(RUNTIME).startswith("crun"):
            take_controllers_from_cgroup2()
        yield


# crun takes no cgroup2 with controllers beside version 1.  Where that is all hugetlb, a version 1 hierarchy can have it, seen in this mount namespace alone.
ALL_VERSION_1 = """
groups=$(mktemp -d)
mount -t tmpfs -o mode=755 tmpfs $groups
mount --make-private $groups
for folder in /sys/fs/cgroup/*/; do
    name=$(basename $folder)
    ! mountpoint -q $folder || { mkdir $groups/$name && mount --bind $folder $groups/$name; }
done
mkdir $groups/hugetlb
mount -t cgroup -o hugetlb cgroup $groups/hugetlb 2>&1 || { umount -R $groups; rmdir $groups; exit 1; }
mount --make-private /sys
mount --bind $groups /sys/fs/cgroup
for folder in $groups/*/; do mount --bind $folder /sys/fs/cgroup/$(basename $folder); done
umount -R -l $groups
rmdir $groups
"""


def take_controllers_from_cgroup2():
    """Make a hybrid host's cgroups such as crun takes, or skip."""
    controllers = pathlib.Path("/sys/fs/cgroup/unified/cgroup.controllers")
    if not controllers.exists() or not controllers.read_text().strip():
        return
    done = subprocess.run(["sh", "-ec", ALL_VERSION_1], capture_output=True, text=True, check=False)
    if done.returncode or controllers.read_text().strip():
        pytest.skip(f"crun takes no controllers in a cgroup2 beside version 1: {(done.stdout or done.stderr).strip().splitlines()[-1:]}")


@contextlib.contextmanager
def used_place(folder):
    """A Place; whatever a test leaves is removed, and then nothing may be left of it on the host."""
    before = support.snapshot()
    made = Place(folder, RUNTIME)
    yield made
    made.clean()
    made.engine.close()
    assert_nothing_left(made, before)


@pytest.fixture
def place(own_mounts, tmp_path):
    """A Place in a folder of the test's own."""
    with used_place(tmp_path) as made:
        yield made
