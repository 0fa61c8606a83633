"""The exact command lines of go-runc (containerd, dockerd), conmon and podman, and what each does with the answer."""

import array
import json
import os
import socket
import subprocess

import pytest
import support

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox")


class GoRunc:
    """runc.go: the global flags first, then the verb; standard output and error are one stream, the error is the log's last."""

    def __init__(self, pyoci, folder):
        self.pyoci = pyoci
        self.log = folder / "log.json"

    def __call__(self, *words, stdin=subprocess.DEVNULL, **more):
        flags = ["--root", str(self.pyoci.root), "--log", str(self.log), "--log-format", "json"]
        return subprocess.run(
            [str(support.PYOCI), *flags, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=support.ENVIRONMENT, timeout=60,
            **({"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}), **more,
        )  # fmt: skip

    def last_error(self):
        """getLastRuntimeError: the last record of level error."""
        return [record["msg"] for record in map(json.loads, self.log.read_text().splitlines()) if record["level"] == "error"][-1]


@pytest.fixture
def shim(pyoci, tmp_path):
    return GoRunc(pyoci, tmp_path)


@pytest.fixture
def fifos(tmp_path):
    """What a shim gives as standard streams: FIFOs that it holds open at both ends."""
    opened = []
    for name in ("in", "out", "err"):
        os.mkfifo(tmp_path / name)
        opened.append(os.open(tmp_path / name, os.O_RDWR))
    yield opened
    for fd in opened:
        os.close(fd)


def create(shim, bundle, name, fifos):
    """create as go-runc calls it; its streams are the container's, so nothing of ours may be on them."""
    done = subprocess.run(
        [str(support.PYOCI), "--root", str(shim.pyoci.root), "--log", str(shim.log), "--log-format", "json", "create", "--bundle", str(bundle.path),
         "--pid-file", str(bundle.path / "init.pid"), name],
        stdin=fifos[0], stdout=fifos[1], stderr=fifos[2], env=support.ENVIRONMENT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, shim.log.read_text()
    return int((bundle.path / "init.pid").read_text())


def test_life_of_a_task_under_a_shim(shim, bundle, fifos):
    bundle.shell('read line; echo "got $line"; trap "exit 3" TERM; while :; do sleep 0.01; done')
    name = shim.pyoci.new_id()
    pid = create(shim, bundle, name, fifos)
    assert shim("start", name).returncode == 0
    os.write(fifos[0], b"words\n")
    assert os.read(fifos[1], 100) == b"got words\n"
    listed = json.loads(shim("ps", "--format", "json", name).stdout)
    assert pid in listed
    assert shim("pause", name).returncode == 0 and json.loads(shim("state", name).stdout)["status"] == "paused"
    assert shim("resume", name).returncode == 0
    assert shim("update", "--resources=-", name, stdin=json.dumps({"pids": {"limit": 77}, "memory": {}, "cpu": None}).encode()).returncode == 0
    assert shim("kill", name, "15").returncode == 0
    support.wait_until_stopped(shim.pyoci, name)
    assert shim("kill", "--all", name, "9").returncode == 0 or "not running" in shim.last_error()
    assert shim("delete", name).stdout == b""
    assert shim("delete", "--force", name).returncode == 0
    assert not shim.log.exists() or shim.log.read_text() == ""


def test_shim_takes_a_missing_container_for_deleted(shim):
    """process/init.go and checkKillError look for these words."""
    for words in (["delete", "gone"], ["kill", "gone", "9"], ["start", "gone"]):
        assert shim(*words).returncode == 1
        assert "does not exist" in shim.last_error()


def test_shim_takes_the_kill_of_a_stopped_container_for_done(shim, bundle):
    bundle.shell("exit 0")
    name = shim.pyoci.start(bundle)
    support.wait_until_stopped(shim.pyoci, name)
    assert shim("kill", name, "9").returncode == 1
    assert "container not running" in shim.last_error()


EXEC = {
    "terminal": False, "user": {"uid": 0, "gid": 0, "additionalGids": None}, "args": ["sh", "-c", "echo $HOME; exit 9"], "env": ["HOME=/h", "PATH=/bin"],
    "cwd": "/", "capabilities": None, "rlimits": None, "noNewPrivileges": False, "apparmorProfile": "", "oomScoreAdj": None, "selinuxLabel": "", "scheduler": None,
}  # fmt: skip


def test_exec_of_a_process_file_with_null_members(shim, bundle, tmp_path, fifos):
    """Go writes nil slices and pointers as null where a field lacks omitempty, and empty strings for no label."""
    name = shim.pyoci.start(bundle)
    (tmp_path / "process.json").write_text(json.dumps(EXEC))
    words = ["--root", str(shim.pyoci.root), "--log", str(shim.log), "--log-format", "json",
             "exec", "--process", str(tmp_path / "process.json"), "--detach", "--pid-file", str(tmp_path / "e.pid"), name]  # fmt: skip
    done = subprocess.run([str(support.PYOCI), *words], stdin=fifos[0], stdout=fifos[1], stderr=fifos[2], env=support.ENVIRONMENT, timeout=60)
    assert done.returncode == 0, shim.log.read_text()
    pid = int((tmp_path / "e.pid").read_text())
    assert os.read(fifos[1], 100) == b"/h\n"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def receive(listening):
    """(payload, descriptor) of the one message on a console socket."""
    connection, _ = listening.accept()
    with connection:
        payload, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    return payload, array.array("i", ancillary[0][2])[0]


def test_conmon_gets_the_terminal_of_a_container_and_of_an_exec(pyoci, bundle, tmp_path):
    """conmon.c: no --root, `create --bundle B --pid-file P --console-socket S ID`; `exec --pid-file P --process F --detach --console-socket S ID`."""
    bundle.process.update(terminal=True, args=["sh", "-c", "tty; sleep 100"])
    bundle.write()
    name = pyoci.new_id()
    (tmp_path / "process.json").write_text(json.dumps({**EXEC, "terminal": True, "args": ["tty"], "consoleSize": {"height": 40, "width": 100}}))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "attach"))
        listening.listen()
        pyoci.ok("create", "--bundle", bundle.path, "--pid-file", tmp_path / "pid", "--console-socket", tmp_path / "attach", name)
        payload, master = receive(listening)
        pyoci.ok("start", name)
        assert payload == b"/dev/ptmx" and os.read(master, 100) == b"/dev/pts/0\r\n"
        pyoci.ok("exec", "--pid-file", tmp_path / "e.pid", "--process", tmp_path / "process.json", "--detach", "--console-socket", tmp_path / "attach", name)
        _, other = receive(listening)
        assert os.read(other, 100) == b"/dev/pts/1\r\n"
    os.close(master)
    os.close(other)
    os.waitpid(int((tmp_path / "e.pid").read_text()), 0)


def test_conmon_reads_the_whole_log_as_one_error(pyoci, bundle, tmp_path):
    """podman gives --log and --log-format=json, and decodes the file as a single object."""
    bundle.process["args"] = ["/no/such"]
    bundle.write()
    done = pyoci("--log", tmp_path / "log", "--log-format=json", "create", "--bundle", bundle.path, "--pid-file", tmp_path / "pid", pyoci.new_id())
    record = json.loads((tmp_path / "log").read_text())
    assert done.returncode == 1 and not (tmp_path / "pid").exists()
    assert record["level"] == "error" and 'exec: "/no/such": stat /no/such: no such file or directory' in record["msg"]


def test_podman_updates_from_a_file_and_asks_what_can_be_restored(pyoci, bundle, tmp_path):
    name = pyoci.start(bundle)
    (tmp_path / "resources").write_text(json.dumps({"pids": {"limit": 66}}))
    pyoci.ok("update", "--resources", tmp_path / "resources", name)
    assert "flag needs an argument" in pyoci("restore", "--lsm-mount-context").stderr
    assert pyoci("checkpoint", "--help").returncode == 0
    line = pyoci.fails("restore", "--detach", "--pid-file", tmp_path / "p", "-no-subreaper", "--bundle", bundle.path, "other")
    assert "criu" in line or "checkpoint" in line
