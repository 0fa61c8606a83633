"""What must not get into a container: the host's descriptors, its binaries, its runtime's memory."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

import pytest
import support

from pyoci.launch.run import sealed_init

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")

LIST = "for one in /proc/self/fd/*; do echo ${one##*/} $(readlink $one); done"


@pytest.fixture
def leaky(tmp_path):
    """Descriptors of the host that a careless caller leaves open: a directory, a file, /, high numbers."""
    (tmp_path / "secret").write_text("secret")
    fds = [os.open(path, os.O_RDONLY) for path in ("/", tmp_path, tmp_path / "secret")]
    high = [os.dup2(fds[0], number) for number in (77, 200)]
    yield fds + high
    for fd in fds + high:
        os.close(fd)


def inside(listing, *allowed):
    """The descriptors of a listing that are neither 0 to 2 nor the listing's own."""
    found = dict(line.split(" ", 1) for line in listing.splitlines() if " " in line)
    return {number: what for number, what in found.items() if int(number) > 2 and what and not what.startswith("/proc/") and number not in allowed}


def test_no_descriptor_of_the_caller_reaches_the_process(bundle, pyoci, leaky):
    done = pyoci.run(bundle.shell(LIST), pass_fds=leaky)
    assert done.returncode == 0 and len(done.stdout.splitlines()) >= 3
    assert inside(done.stdout) == {}


def test_no_descriptor_of_the_caller_reaches_an_exec(bundle, pyoci, leaky):
    name = pyoci.start(bundle)
    done = pyoci("exec", name, "sh", "-c", LIST, pass_fds=leaky)
    assert done.returncode == 0 and len(done.stdout.splitlines()) >= 3
    assert inside(done.stdout) == {}


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
def test_no_descriptor_of_the_caller_reaches_a_hook(bundle, pyoci, leaky, tmp_path, kind):
    """The hooks' own three are pipes; beside them there is what lists."""
    listing = tmp_path / "listing"
    target = listing
    if kind == "startContainer":
        target = "/out/listing"
        bundle.mount("/out", "bind", tmp_path, "bind")
    script = f"PATH=/bin:/usr/bin; {{ {LIST}; }} > {target}"
    bundle.edit(lambda config: config.update(hooks={kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}))
    name = pyoci.new_id()
    pyoci.ok("create", "--bundle", bundle.path, name, pass_fds=leaky)
    pyoci.ok("start", name, pass_fds=leaky)
    pyoci.ok("delete", "--force", name, pass_fds=leaky)
    lines = [line for line in listing.read_text().splitlines() if line.split()[0] not in ("0", "1", "2")]
    assert len(listing.read_text().splitlines()) >= 3
    # A shell moves what it redirects above 9; nothing else is there.
    strays = [line for line in lines if "pipe:" not in line and "/proc/" not in line and " " in line]
    assert [line for line in strays if str(tmp_path / "secret") in line or line.endswith(" /") or line.endswith(f" {tmp_path}")] == []


def test_only_preserved_descriptors_pass(bundle, pyoci, tmp_path):
    bundle.shell(LIST)
    words = pyoci.command("run", "--preserve-fds", "1", "--bundle", bundle.path, pyoci.new_id())
    careless = ["sh", "-c", f'exec 3<{tmp_path} 4</ 9</; exec "$@"', "sh", *words]
    done = subprocess.run(careless, capture_output=True, text=True, check=True, timeout=support.TIMEOUT_S)
    assert inside(done.stdout) == {"3": str(tmp_path)}


def test_working_directory_through_a_leaked_descriptor_is_refused(bundle, pyoci, leaky):
    """CVE-2024-21626: /proc/self/fd/N of a descriptor that leads out of the container."""
    for number in range(3, 20):
        bundle.process["cwd"] = f"/proc/self/fd/{number}"
        bundle.shell("cat ../../../../etc/shadow; pwd")
        done = pyoci.run(bundle, pass_fds=leaky)
        if not done.returncode:  # a descriptor of init's own, of something in the container
            assert number not in leaky and (bundle.rootfs / done.stdout.strip().lstrip("/")).exists() or done.stdout.startswith("/sys/")
            continue
        assert done.stdout == ""
        assert "process.cwd: " in done.stderr


def test_working_directory_through_a_preserved_descriptor_is_refused(bundle, pyoci, tmp_path):
    """One that init does have: only that getcwd(2) can't reach it tells."""
    bundle.process["cwd"] = "/proc/self/fd/3"
    bundle.shell("pwd; ls")
    words = pyoci.command("run", "--preserve-fds", "1", "--bundle", bundle.path, pyoci.new_id())
    done = subprocess.run(["sh", "-c", f'exec 3<{tmp_path}; exec "$@"', "sh", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "the working directory lies outside the container's root" in done.stderr


def test_exec_through_a_leaked_descriptor_is_refused(bundle, pyoci, leaky):
    name = pyoci.start(bundle)
    for number in range(3, 20):
        done = pyoci("exec", "--cwd", f"/proc/self/fd/{number}", name, "pwd", pass_fds=leaky)
        assert done.returncode == 255 and done.stdout == ""


# --- /proc/PID/exe


def test_init_is_a_sealed_copy():
    fd = sealed_init()
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):
            writable = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
            with pytest.raises(PermissionError):
                os.pwrite(writable, b"x", 0)
            os.close(writable)
    finally:
        os.close(fd)


def test_program_of_a_waiting_container_is_no_file_of_the_host(bundle, pyoci):
    name = pyoci.create(bundle)
    assert os.readlink(f"/proc/{pyoci.pid(name)}/exe") == "/memfd:pyoci-init (deleted)"


def test_container_in_the_pid_namespace_of_the_host_can_not_write_init(bundle, pyoci):
    """CVE-2019-5736, with the attacker already inside: it shares the pid namespace with a container that waits."""
    waiting = pyoci.create(bundle)
    pid = pyoci.pid(waiting)
    attacker = support.Bundle(bundle.path.parent / "attacker")
    attacker.linux["namespaces"] = [one for one in attacker.linux["namespaces"] if one["type"] != "pid"]
    attacker.process["capabilities"] = {kind: ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"] for kind in ("bounding", "effective", "permitted")}
    attacker.shell(f"echo spoilt > /proc/{pid}/exe; echo spoilt >> /proc/{pid}/exe; echo done")
    before = pathlib.Path(f"/proc/{pid}/exe").read_bytes()
    done = pyoci.run(attacker)
    assert "done" in done.stdout
    assert pathlib.Path(f"/proc/{pid}/exe").read_bytes() == before
    pyoci.ok("start", waiting)
    assert pyoci.state(waiting)["status"] == "running"


def test_unprivileged_member_of_the_pid_namespace_sees_nothing_of_init(bundle, pyoci):
    """Not dumpable: another user's processes can't follow exe, fd, root, cwd, nor read memory."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    pid = pyoci.pid(pyoci.create(bundle.write()))
    for name in ("exe", "root", "cwd", "fd", "mem", "maps"):
        look = f"open('/proc/{pid}/{name}').read(1)" if name in ("mem", "maps", "exe") else f"os.listdir('/proc/{pid}/{name}')"
        script = f"import os; os.setresuid(1000, 1000, 1000); {look}"
        done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, check=False)
        assert b"PermissionError" in done.stderr, (name, done.stderr)


def test_root_without_privileges_sees_nothing_of_init(bundle, pyoci):
    """CVE-2016-9962: init of a container whose root has no capability, in the eyes of such a root; only that it is not dumpable is in the way."""
    bundle.process["capabilities"] = {}
    pid = pyoci.pid(pyoci.create(bundle.write()))
    for look in (f"os.readlink('/proc/{pid}/exe')", f"os.readlink('/proc/{pid}/fd/0')", f"os.readlink('/proc/{pid}/root')", f"open('/proc/{pid}/mem')"):
        words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "/usr/bin/python3", "-c", f"import os; {look}"]
        done = subprocess.run(words, capture_output=True, check=False)
        assert b"PermissionError" in done.stderr, (look, done.stderr)


def test_waiting_container_holds_only_the_gate(bundle, pyoci):
    """Whatever joins it later finds no way to the host: no root, no directory, no socket but the listener."""
    pid = pyoci.pid(pyoci.create(bundle))
    links = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    assert [what for number, what in links.items() if number > 2 and not what.startswith("socket:")] == []
    assert len([number for number in links if number > 2]) == 1


def test_init_maps_nothing_of_the_host(bundle, pyoci):
    pid = pyoci.pid(pyoci.create(bundle))
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    files = {line.split()[5] for line in maps.splitlines() if len(line.split()) > 5 and line.split()[5].startswith("/")}
    assert [name for name in files if not name.startswith(("/memfd:", str(pyoci.root)))] == []


def test_hook_of_the_container_can_not_reach_the_runtime_through_init(bundle, pyoci, tmp_path):
    """The init of an exec joins the container's pid namespace, where its processes could look at it."""
    name = pyoci.start(bundle)
    watch = "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in *pyoci*) cat $p/environ; readlink $p/root $p/fd/*;; esac; done; done"
    watcher = pyoci.start_process("exec", name, "sh", "-c", watch, stdout=subprocess.PIPE)
    for _ in range(20):
        pyoci.ok("exec", name, "true")
    pyoci.ok("kill", name, "KILL")
    seen, _ = watcher.communicate(timeout=support.TIMEOUT_S)
    assert [line for line in seen.decode().splitlines() if str(tmp_path) in line or line == "/"] == []


def test_signals_are_those_of_a_fresh_process(bundle, pyoci):
    """Python ignores SIGPIPE and SIGXFSZ; none of it is inherited."""
    words = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]
    bundle.process["args"] = words
    done = pyoci.run(bundle.write())
    assert [line.split() for line in done.stdout.splitlines()] == [["SigBlk:", "0" * 16], ["SigIgn:", "0" * 16]]


def test_environment_of_the_runtime_stays_outside(bundle, pyoci):
    bundle.process["env"] = ["PATH=/bin"]
    done = pyoci.run(bundle.shell("cat /proc/self/environ"), env={**support.ENVIRONMENT, "SECRET": "of the host"})
    assert "SECRET" not in done.stdout


def test_library_leaks_no_descriptor_of_its_caller(bundle, pyoci, leaky, capfd):
    bundle.shell(LIST)
    assert pyoci.api().run(pyoci.new_id(), str(bundle.path)) == 0
    assert inside(capfd.readouterr().out) == {}


def test_gate_is_closed_to_other_users(bundle, pyoci):
    """Who could connect to it could start the container."""
    name = pyoci.create(bundle)
    gate = pyoci.root / name / "gate"
    os.chmod(pyoci.root, 0o755)
    script = f"import os, socket; os.setresuid(1000, 1000, 1000); socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect({str(gate)!r})"
    done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, check=False)
    assert b"PermissionError" in done.stderr or b"FileNotFoundError" in done.stderr
    assert pyoci.state(name)["status"] == "created"


def test_state_directory_shows_others_nothing(bundle, pyoci):
    name = pyoci.create(bundle)
    modes = {path.name: path.stat().st_mode & 0o077 for path in (pyoci.root / name).iterdir()}
    assert {file: mode for file, mode in modes.items() if mode and file != "gate"} == {}
    assert json.loads((pyoci.root / name / "state.json").read_text())["id"] == name


def test_launch_forgets_its_descriptors(bundle, pyoci):
    before = support.snapshot()
    name = pyoci.new_id()
    pyoci.api().create(name, str(bundle.path))
    support.assert_unchanged(_only(before, "descriptors"))
    pyoci.api().kill(name, signal.SIGKILL)


def _only(before, kind):
    before.kinds = {kind: before.kinds[kind]}
    return before
