"""Every example bundle is run, and shows what bundles/README.md says that it shows."""

import json
import os
import pathlib
import pty
import re
import select
import signal
import stat
import subprocess
import termios

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")

TREE = pathlib.Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.name for path in (TREE / "bundles").glob("*/config.json"))
TIMEOUT_S = 30


@pytest.fixture
def run(pyoci, examples):
    """Run an example in the foreground; CompletedProcess."""
    return lambda name: pyoci("run", "--bundle", examples / name, pyoci.new_id(name))


# --- one by one


def test_hello_is_process_1_of_a_root_of_its_own(run):
    done = run("hello")
    assert done.stderr == ""
    assert done.stdout == "Hello from hello: I am process 1, and all I see is /bin /dev /etc /proc /root /run /sys /tmp /var\n"


def test_limits_are_seen_inside_and_hold(run):
    done = run("limits")
    assert done.stdout.splitlines() == ["memory: 33554432 bytes", "cpu: 50000 of 100000 microseconds", "pids: 8"]
    assert "can't fork: Resource temporarily unavailable" in done.stderr
    assert done.returncode == 2


def test_volumes_can_be_written_where_they_should_and_only_there(run, examples):
    done = run("volumes")
    assert done.stdout.splitlines() == ["a file of the host, read-only here", "/output can be written", "/etc can be written", "2"]
    assert re.findall(r"touch: (\S+): (.*)", done.stderr) == [("//file", "Read-only file system"), ("/data/file", "Read-only file system")]
    assert (examples / "volumes" / "output" / "file").exists()
    assert not (examples / "volumes" / "rootfs" / "etc" / "file").exists()


def test_hooks_of_all_six_kinds_run_in_order_in_their_namespaces(run, examples):
    log = examples / "hooks" / "log" / "hooks.log"
    log.unlink(missing_ok=True)
    assert run("hooks").returncode == 0
    told = [line.partition(": ") for line in log.read_text().splitlines()]
    order = [kind for kind, _, _ in told]
    # poststart and the process run at the same moment.
    assert [kind for kind in order if kind != "process"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    assert order.index("startContainer") < order.index("process") < order.index("poststop")
    where = {kind: place for kind, _, place in told}
    assert where["startContainer"] == "host name hooks, in the container"
    assert where["createContainer"].endswith(", before pivot_root")
    assert {where[kind] for kind in ("prestart", "createRuntime", "poststart", "poststop")} == {"on the host"}


def test_seccomp_fails_one_call_always_and_one_by_its_argument(run):
    done = run("seccomp")
    assert done.stdout == "chmod 755 is allowed\n"
    assert done.stderr.splitlines() == ["chmod: file: Operation not permitted", "mkdir: can't create directory 'directory': No space left on device"]


def test_root_of_the_user_namespace_is_nobody_outside(run):
    done = run("userns")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "uid=0(root) gid=0(root) groups=10",
        "         0     100000      65536",
        "root owns mine",
        "user owns theirs",
        "UNKNOWN owns /bin/busybox",
    ]


def test_devices_have_their_owner_and_mode_and_the_cgroup_decides(run):
    done = run("devices")
    rows = {line.split()[-1]: line.split() for line in done.stdout.splitlines()[:4]}
    assert (rows["fuse"][0], rows["fuse"][4:6]) == ("crw-rw-rw-", ["10,", "229"])
    assert rows["ours"][:4] == ["crw-------", "1", "user", "user"]
    assert rows["pipe"][:4] == ["prw-r-----", "1", "root", "user"]
    assert rows["loop0"][0] == "brw-rw----"
    assert done.stdout.splitlines()[4] == "ours can be written"
    assert done.stderr == "head: loop0: Operation not permitted\n"


def test_hardened_has_nothing_to_gain(run):
    done = run("hardened")
    assert done.stdout.splitlines() == [
        "uid=1000(user) gid=1000(user)",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "open files: 64",
        "bytes of /proc/keys: 0",
        "names in /sys/firmware: 0",
    ]
    assert done.stderr == "sh: can't create /proc/sys/kernel/hostname: Read-only file system\n"


def test_sysctl_sets_names_and_parameters(run):
    done = run("sysctl")
    assert done.stdout.splitlines() == [
        "names",
        "example.org",
        "net.ipv4.ip_unprivileged_port_start = 80",
        "net.ipv4.conf.lo.forwarding = 1",
        "kernel.msgmax = 16384",
    ]


def test_service_runs_until_it_is_told_to_stop(pyoci, examples, tmp_path):
    name = pyoci.new_id("service")
    with (tmp_path / "log").open("w+") as log:
        done = subprocess.run(pyoci.command("run", "--detach", "--bundle", examples / "service", name), stdout=log, stderr=log, check=False)
    assert done.returncode == 0
    state = pyoci.state(name)
    assert state["annotations"] == {"org.example.purpose": "a service that runs until it is told to stop"}
    pidfd = os.pidfd_open(state["pid"])
    wait_for(tmp_path / "log", "ready\n")
    assert pyoci.ok("exec", name, "hostname") == "service\n"
    pyoci.ok("kill", name, "TERM")
    assert select.select([pidfd], [], [], TIMEOUT_S)[0]
    os.close(pidfd)
    assert (tmp_path / "log").read_text() == "ready\nstopping\n"
    assert pyoci.state(name)["status"] == "stopped"
    pyoci.ok("delete", name)


def test_pod_shares_name_network_and_processes(pyoci, examples):
    runtime = " ".join(pyoci.command())
    done = subprocess.run([examples / "pod.sh"], env={**os.environ, "PYOCI": runtime}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["pod", "served by pod-a, to nobody outside the pod", "    1 httpd -f -p 127.0.0.1:8080 -h /www"]
    assert json.loads(pyoci.ok("list", "--format", "json") or "null") in (None, [])
    assert not os.path.exists("/run/pyoci-pod")


def test_pod_that_fails_leaves_nothing(examples):
    done = subprocess.run([examples / "pod.sh"], env={**os.environ, "PYOCI": "false"}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1
    assert not os.path.exists("/run/pyoci-pod")


# --- shell: a terminal


class Terminal:
    """A terminal with a program on it, as a person has it."""

    def __init__(self, command, rows, columns):
        self.master, peer = pty.openpty()
        termios.tcsetwinsize(self.master, (rows, columns))
        self.process = subprocess.Popen(command, stdin=peer, stdout=peer, stderr=peer, start_new_session=True)
        os.close(peer)
        self.shown = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, wanted):
        """What was shown since the last call, up to the regular expression. Raises AssertionError at the end or after 30 s."""
        while not (found := re.search(wanted, self.shown)):
            assert select.select([self.master], [], [], TIMEOUT_S)[0], f"{wanted!r} is not in {self.shown!r}"
            try:
                data = os.read(self.master, 4096)
            except OSError:
                data = b""
            assert data, f"the end, and {wanted!r} is not in {self.shown!r}"
            self.shown += data.decode(errors="replace")
        shown, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return shown

    def resize(self, rows, columns):
        termios.tcsetwinsize(self.master, (rows, columns))
        self.process.send_signal(signal.SIGWINCH)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def shell(pyoci, examples):
    """The shell bundle on a terminal of 30 rows and 100 columns."""
    terminal = Terminal(pyoci.command("run", "--bundle", examples / "shell", pyoci.new_id("shell")), 30, 100)
    terminal.read_until(r"root@shell:~# ")
    yield terminal
    terminal.close()


def test_shell_has_a_terminal_of_its_own_of_the_size_of_ours(shell):
    shell.type("tty; stty size\n")
    assert re.search(r"/dev/(pts/0|console)\r\n30 100\r\n", shell.read_until(r"100\r\n"))


def test_shell_is_resized_with_our_terminal(shell):
    shell.resize(40, 120)
    shell.type("until [ \"$(stty size)\" = '40 120' ]; do :; done; echo resi''zed\n")
    shell.read_until("resized")


def test_shell_interrupts_a_program_and_goes_on(shell):
    # The program itself tells that it runs: before that, the terminal may not be its own yet.
    shell.type("sh -c 'echo wai\"\"ting; exec sleep 1000'\n")
    shell.read_until("waiting")
    shell.type("\x03")
    shell.read_until(r"root@shell:~# ")
    shell.type("echo status $?\n")
    shell.read_until(r"status 130")


def test_exit_status_of_the_shell_is_ours_and_the_terminal_as_before(shell):
    before = termios.tcgetattr(shell.master)
    shell.type("exit 7\n")
    shell.read_until("exit 7")
    assert shell.process.wait(TIMEOUT_S) == 7
    # The shell's own session had put it into raw mode.
    assert before != termios.tcgetattr(shell.master)
    assert termios.tcgetattr(shell.master)[3] & (termios.ECHO | termios.ICANON) == termios.ECHO | termios.ICANON


# --- all of them


@pytest.mark.parametrize("name", BUNDLES)
def test_readme_has_a_line_for_each_bundle(name):
    rows = [line for line in (TREE / "bundles" / "README.md").read_text().splitlines() if line.startswith("|")]
    assert any(name in row.split("|")[1].replace(" ", "").split(",") for row in rows)


@pytest.mark.parametrize("name", BUNDLES)
def test_each_bundle_can_be_planned_without_a_warning(name, pyoci, examples):
    # pod-b's namespaces are opened by create, not by plan.
    done = pyoci("plan", examples / name)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", BUNDLES)
def test_each_bundle_is_valid_by_the_schema(name):
    import jsonschema

    schema = json.loads((TREE / "schemas" / "config.schema.json").read_text())
    jsonschema.validate(json.loads((TREE / "bundles" / name / "config.json").read_text()), schema)


@pytest.mark.needs("runc")
@pytest.mark.parametrize("name", ["hello", "limits", "volumes", "seccomp", "userns", "devices", "hardened"])
def test_each_bundle_shows_the_same_with_runc(name, run, examples, pyoci, tmp_path):
    ours = run(name)
    theirs = subprocess.run(
        ["runc", "--root", tmp_path / "runc", "run", "--bundle", examples / name, pyoci.new_id(name)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    without_times = [re.sub(r" \w{3} +\d+ \d\d:\d\d", "", text) for text in (ours.stdout, theirs.stdout)]
    assert without_times[0] == without_times[1]
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


def test_rootfs_is_whole_and_left_alone_when_it_exists(examples):
    rootfs = examples / "hello" / "rootfs"
    assert stat.S_IMODE((rootfs / "tmp").stat().st_mode) == 0o1777
    assert os.readlink(rootfs / "bin" / "sh") == "busybox"
    inode = rootfs.stat().st_ino
    done = subprocess.run(["python3", examples / "rootfs.py", "hello"], capture_output=True, text=True, check=True)
    assert (done.stdout, rootfs.stat().st_ino) == ("", inode)


def test_rootfs_is_not_made_from_a_dynamic_program(examples):
    done = subprocess.run(["python3", examples / "rootfs.py", "--busybox", "/usr/bin/env", examples / "new"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is no bundle" in done.stderr
    (examples / "new").mkdir()
    (examples / "new" / "config.json").touch()
    done = subprocess.run(["python3", examples / "rootfs.py", "--busybox", "/usr/bin/env", examples / "new"], capture_output=True, text=True, check=False)
    assert done.stderr == "/usr/bin/env is not static: install Debian's busybox-static, or name one with --busybox\n"
    assert sorted(path.name for path in (examples / "new").iterdir()) == ["config.json"]


def wait_for(path, text):
    """Wait until a file holds the text; tail(1) watches it by inotify(7)."""
    tail = subprocess.Popen(["tail", "-n", "+1", "-f", path], stdout=subprocess.PIPE)
    shown = b""
    try:
        while text.encode() not in shown:
            assert select.select([tail.stdout], [], [], TIMEOUT_S)[0], shown
            shown += os.read(tail.stdout.fileno(), 4096)
    finally:
        tail.kill()
        tail.wait()
        tail.stdout.close()
