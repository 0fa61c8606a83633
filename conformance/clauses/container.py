"""One container under test: its bundle, the runtime's verbs, and what the probe inside it reported.

The runtime is the program named by RUNTIME, else the pyoci of the interpreter that runs the tests. CLAUSES_OCI_VERSION
names another ociVersion, for runtimes that refuse a newer one. Nothing here knows a runtime's own options but --root
and what runc's command line shares with the OCI's.
"""
import copy
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import runtime_tools

OCI_VERSION = os.environ.get("CLAUSES_OCI_VERSION", "1.3.0")
TIMEOUT_S = 20
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

BASE_CONFIG = {
    "ociVersion": OCI_VERSION,
    "root": {"path": "rootfs"},
    "process": {"args": ["/probe", "report"], "cwd": "/", "env": ["PATH=/", "LANG=C"], "user": {"uid": 0, "gid": 0}},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
}


def runtime_path() -> str:
    named = os.environ.get("RUNTIME")
    path = shutil.which(named) if named else str(Path(sys.executable).parent / "pyoci")
    if not path or not os.access(path, os.X_OK):
        raise FileNotFoundError(f"no runtime {named or path!r}: set RUNTIME, or build pyoci")
    return os.path.abspath(path)


class Refused(Exception):
    """A verb ended with another status than 0; str() is what it said."""


class Runtime:
    """The program under test with a state root of its own."""

    def __init__(self, root: Path):
        self.path = runtime_path()
        self.root = root

    def call(self, *words: str, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=None, pass_fds=()) -> str:
        """Run one verb and return its standard output. Raises Refused, subprocess.TimeoutExpired."""
        done = subprocess.run([self.path, "--root", str(self.root), *words], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                              text=True, timeout=TIMEOUT_S, env=ENVIRONMENT, cwd=cwd, pass_fds=pass_fds,
                              check=False)
        if done.returncode:
            raise Refused((done.stderr or "") + (done.stdout or "") or f"exit status {done.returncode}")
        return done.stdout or ""


class Container:
    """A bundle whose config may be changed until create(), and the container made of it."""

    def __init__(self, runtime: Runtime, folder: Path, container_id: str, probe: Path):
        self.runtime = runtime
        self.bundle = folder
        self.id = container_id
        self.probe = probe
        self.rootfs = folder / "rootfs"
        self.rootfs.mkdir(parents=True)
        for path in (folder, self.rootfs):
            path.chmod(0o755)
        os.link(probe, self.rootfs / "probe")
        self.config = copy.deepcopy(BASE_CONFIG)
        self.pidfd = -1
        self.reader = -1
        self.gone = False

    # --- the config ---------------------------------------------------------------------------------------------

    @property
    def process(self) -> dict:
        return self.config["process"]

    @property
    def linux(self) -> dict:
        return self.config["linux"]

    def mount(self, destination: str, source="tmpfs", kind="tmpfs", options=()) -> None:
        self.config["mounts"].append({"destination": destination, "type": kind, "source": str(source), "options": list(options)})

    def bind(self, source, destination: str, *options: str) -> None:
        self.mount(destination, source, "bind", ("bind", *options))

    def run_probe(self, *words: str) -> None:
        self.process["args"] = ["/probe", *words]

    def add_namespace(self, kind: str, path: "str | None" = None) -> None:
        """A namespace of this kind, new or by path, in place of what was configured."""
        self.drop_namespace(kind)
        self.linux["namespaces"].append({"type": kind, "path": path} if path else {"type": kind})

    def drop_namespace(self, kind: str) -> None:
        self.linux["namespaces"] = [each for each in self.linux["namespaces"] if each["type"] != kind]

    def add_user_namespace(self) -> None:
        """Its root can't make mount points in a root file system of the host's root, so they are made here."""
        for name in ("proc", "dev", "sys"):
            (self.rootfs / name).mkdir(exist_ok=True)
        self.add_namespace("user")
        self.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
        self.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 1000}]

    def hook(self, kind: str, *words: str, probe: "str | None" = None, **more) -> None:
        """A hook that runs the probe: the host's, unless another path is named."""
        path = probe or str(self.probe)
        self.config.setdefault("hooks", {}).setdefault(kind, []).append({"path": path, "args": ["probe", *words], **more})

    def write_config(self) -> None:
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    # --- the verbs ----------------------------------------------------------------------------------------------

    def create(self, *options: str, bundle: "str | None" = None, cwd=None, pass_fds=()) -> "Container":
        """Create it, with a pipe as the program's standard output and error stream. Raises Refused."""
        self.write_config()
        self.close()
        self.reader, writer = os.pipe2(os.O_CLOEXEC)
        self.gone = False
        complaints, pid_file = self.bundle / "complaints", self.bundle / "pid"
        try:
            with open(complaints, "w") as errors:
                self.runtime.call("create", "--bundle", bundle or str(self.bundle), "--pid-file", str(pid_file), *options, self.id,
                                  stdout=writer, stderr=errors, cwd=cwd, pass_fds=pass_fds)
        except Refused as error:
            raise Refused(complaints.read_text() or str(error)) from None
        finally:
            os.close(writer)
        self.pidfd = os.pidfd_open(int(pid_file.read_text()))
        return self

    def start(self) -> "Container":
        self.runtime.call("start", self.id)
        return self

    def start_and_listen(self) -> str:
        """What start said on its error stream, whether it failed or not."""
        try:
            with open(self.bundle / "complaints", "w") as errors:
                self.runtime.call("start", self.id, stderr=errors)
        except Refused:
            pass
        return (self.bundle / "complaints").read_text()

    def state(self) -> dict:
        return json.loads(self.runtime.call("state", self.id))

    @property
    def status(self) -> str:
        return self.state()["status"]

    def exists(self) -> bool:
        try:
            self.state()
        except Refused:
            return False
        return True

    def kill(self, signal_name: str) -> None:
        self.runtime.call("kill", self.id, signal_name)

    def delete(self, *options: str) -> None:
        self.runtime.call("delete", *options, self.id)
        self.gone = True

    # --- what came of it ----------------------------------------------------------------------------------------

    def read_line(self) -> str:
        """One line of the program's output: a sign of life. Raises TimeoutError."""
        line = b""
        while not line.endswith(b"\n"):
            chunk = self.read(1)
            if not chunk:
                break
            line += chunk
        return line.decode()

    def output(self) -> str:
        """All of the program's output, up to its end. Raises TimeoutError."""
        chunks = []
        while chunk := self.read(1 << 16):
            chunks.append(chunk)
        return b"".join(chunks).decode()

    def read(self, size_bytes: int) -> bytes:
        if not select.select([self.reader], [], [], TIMEOUT_S)[0]:
            raise TimeoutError(f"no output within {TIMEOUT_S} s")
        return os.read(self.reader, size_bytes)

    def wait(self) -> "Container":
        """Until the container's first process is dead."""
        if not select.select([self.pidfd], [], [], TIMEOUT_S)[0]:
            raise TimeoutError(f"still alive after {TIMEOUT_S} s")
        return self

    def report(self, *paths: str) -> dict:
        """Run the probe from create to its end, and return what it saw (with these paths)."""
        if paths:
            self.run_probe("report", *paths)
        output = self.create().start().output()
        self.wait()
        assert output.startswith("{"), f"the probe said {output!r}"
        return json.loads(output)

    def refused(self) -> str:
        """Expect create to fail and to leave no container; return what it said."""
        try:
            self.create()
        except Refused as error:
            assert not self.exists(), "a refused create left a container"
            self.gone = True
            return str(error)
        raise AssertionError("create was not refused")

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        for fd in (self.reader, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.reader = self.pidfd = -1

    def clean(self) -> None:
        """Remove whatever is left, however the test ended."""
        try:
            if not self.gone:
                self.runtime.call("delete", "--force", self.id)
        except (Refused, subprocess.TimeoutExpired):
            pass
        self.close()
        for group in runtime_tools.leftover_cgroups({self.id}, set(runtime_tools.suite_cgroups())):
            runtime_tools.empty_cgroup(group)
        for target in runtime_tools.mounts_below(self.bundle):
            subprocess.run(["umount", "-l", target], check=False)


def mount_of(report: dict, target: str) -> dict:
    """The topmost mount at a place, as mountinfo tells it: root, options, propagation, type, source, super."""
    found = [each for each in mounts_in(report["mountinfo"]) if each["target"] == target]
    assert found, f"nothing is mounted on {target}"
    return found[-1]


def mounts_in(mountinfo: str) -> "list[dict]":
    mounts = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, source, options) = left.split(), right.split(" ", 2)
        mounts.append({"root": fields[3], "target": fields[4], "options": fields[5].split(","), "propagation": fields[6:],
                       "type": kind, "source": source, "super": options.split(",")})
    return mounts
