"""exec: a further process in a container, as its flags and process.json say."""

import json
import os
import pathlib

import pytest
import support
from watching import Running, ended, inside

STATUS = "grep {} /proc/self/status"


@pytest.fixture
def running(bundle, pyoci):
    """The id of a running container."""
    bundle.process["env"] += ["OWN=1"]
    bundle.process["capabilities"] = {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
    return pyoci.start(bundle.write())


def refused(pyoci, *words):
    """Why an exec is refused; runc's words before it and status 255 are callers' to match."""
    line = pyoci.fails("exec", *words, status=255)
    assert line.startswith("exec failed: ")
    return line.removeprefix("exec failed: ")


def own_root(bundle, *kinds):
    """No namespaces but these, and none of what needs the others."""
    bundle.linux["namespaces"] = [{"type": kind} for kind in kinds]
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    bundle.config.pop("hostname", None)
    bundle.config["mounts"] = bundle.config["mounts"][1:2] if "mount" in kinds else []
    return bundle.write()


@pytest.mark.parametrize(
    ("flags", "script", "shown"),
    [
        ((), "echo $OWN; pwd; id -u", "1\n/\n0"),
        (("--cwd", "/tmp"), "pwd", "/tmp"),
        (("--env", "A=b", "--env", "OWN=2"), "echo $A $OWN", "b 2"),
        (("--user", "1000"), "id -u; id -g", "1000\n0"),
        (("--user", "1000:1001"), "id -u; id -g; echo $HOME", "1000\n1001\n/tmp"),
        (("--additional-gids", "7", "--additional-gids", "8"), STATUS.format("Groups"), "Groups:\t7 8"),
        ((), STATUS.format("CapPrm"), f"CapPrm:\t{1 << 5:016x}"),
        (("--cap", "CAP_CHOWN"), STATUS.format("-E 'Cap(Prm|Bnd|Inh|Amb)'"),
         f"CapInh:\t{0:016x}\nCapPrm:\t{33:016x}\nCapBnd:\t{33:016x}\nCapAmb:\t{0:016x}"),
        (("--no-new-privs",), STATUS.format("NoNewPrivs"), "NoNewPrivs:\t1"),
        (("--no-new-privs=false",), STATUS.format("NoNewPrivs"), "NoNewPrivs:\t0"),
        ((), "hostname", "test"),
        ((), "umask", "0022"),
        ((), "echo /proc/self/fd/*", "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3"),
    ],
)  # fmt: skip
def test_process_is_the_containers_own_with_what_the_flags_change(running, pyoci, flags, script, shown):
    assert inside(pyoci, running, script, *flags) == shown


@pytest.mark.parametrize("status", [0, 3, 255])
def test_status_is_that_of_the_process(running, pyoci, status):
    assert pyoci("exec", running, "sh", "-c", f"exit {status}").returncode == status


def test_signal_that_ended_it_is_told_above_128(running, pyoci):
    assert pyoci("exec", running, "sh", "-c", "kill -KILL $$").returncode == 137


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("not-there",), 'unable to start container process: process.args[0]: exec: "not-there": executable file not found in $PATH'),
        (("/not/there",), 'unable to start container process: process.args[0]: exec: "/not/there": stat /not/there: no such file or directory'),
        (("/etc/passwd",), 'unable to start container process: process.args[0]: exec: "/etc/passwd": permission denied'),
        (("/etc",), 'unable to start container process: process.args[0]: exec: "/etc": is a directory: permission denied'),
    ],
)
def test_program_that_cannot_be_run_is_told_with_255(running, pyoci, words, end):
    assert refused(pyoci, running, *words) == end


def test_process_document_is_taken_as_it_is(running, pyoci, tmp_path):
    document = {
        "args": ["sh", "-c", "pwd; id -u; id -g; echo $ONLY$OWN; ulimit -n; umask; cat /proc/self/oom_score_adj; grep Groups /proc/self/status"],
        "cwd": "/tmp", "env": ["ONLY=x", "PATH=/bin"], "user": {"uid": 5, "gid": 6, "umask": 0o77, "additionalGids": [9]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}], "oomScoreAdj": 300,
    }  # fmt: skip
    (tmp_path / "process.json").write_text(json.dumps(document))
    shown = pyoci.ok("exec", "--process", tmp_path / "process.json", running)
    assert shown == "/tmp\n5\n6\nx\n99\n0077\n300\nGroups:\t9 \n"


def test_detached_process_goes_on_and_its_pid_is_written(running, pyoci, tmp_path):
    pyoci.ok("exec", "--detach", "--pid-file", tmp_path / "pid", running, "sleep", "1000")
    pid = int((tmp_path / "pid").read_text())
    assert pathlib.Path(f"/proc/{pid}/cmdline").read_text() == "sleep\0" + "1000\0"
    assert pid in json.loads(pyoci.ok("ps", "--format", "json", running))
    pidfd = os.pidfd_open(pid)
    os.kill(pid, 9)
    ended(pidfd)
    os.close(pidfd)
    support.reap()


def test_pid_file_appears_only_when_the_process_runs(running, pyoci, tmp_path):
    """conmon takes its absence for failure."""
    pyoci.fails("exec", "--detach", "--pid-file", tmp_path / "pid", running, "not-there", status=255)
    assert not (tmp_path / "pid").exists()


def test_process_is_in_the_containers_cgroup(running, pyoci):
    groups = inside(pyoci, running, "cat /proc/self/cgroup")
    assert groups == inside(pyoci, running, "cat /proc/1/cgroup")


@pytest.mark.needs("cgroup1")
def test_process_may_go_into_a_cgroup_below(running, pyoci):
    directory = json.loads((pyoci.root / running / "state.json").read_text())["cgroups"]["pids"]
    below = pathlib.Path(directory, "below")
    below.mkdir()
    try:
        shown = inside(pyoci, running, "grep :pids: /proc/self/cgroup; grep :cpu: /proc/self/cgroup", "--cgroup", "pids:below")
        assert shown.splitlines()[0].endswith(f"{running}/below")
        assert shown.splitlines()[1].endswith(f"/{running}")
        assert refused(pyoci, "--cgroup", "pids:none", running, "true") == f"stat {directory}/none: No such file or directory (ENOENT)"
    finally:
        below.rmdir()


@pytest.mark.parametrize(
    ("word", "end"),
    [("../..", "--cgroup ../..: '..' may not lead out of the container's cgroup"),
     pytest.param("pids:../..", "--cgroup ../..: '..' may not lead out of the container's cgroup", marks=pytest.mark.needs("cgroup1")),
     ("nothing:x", "--cgroup nothing:x: the container has no such controller")],
)  # fmt: skip
def test_cgroup_outside_is_refused(running, pyoci, word, end):
    assert refused(pyoci, "--cgroup", word, running, "true") == end


def test_paused_container_is_refused_or_waited_for(running, pyoci):
    pyoci.ok("pause", running)
    assert refused(pyoci, running, "true") == "cannot exec in a paused container (use --ignore-paused to override)"
    with Running(pyoci, "exec", "--ignore-paused", running, "echo", "thawed") as run:
        pyoci.ok("resume", running)
        assert (run.line(), run.status()) == ("thawed", 0)


def test_stopped_container_is_refused(running, pyoci):
    pyoci.ok("kill", running, "KILL")
    support.wait_until_stopped(pyoci, running)
    assert refused(pyoci, running, "true") == "cannot exec in a stopped container"


def test_created_container_can_be_entered_before_it_is_started(bundle, pyoci):
    name = pyoci.create(bundle)
    assert inside(pyoci, name, "hostname") == "test"


def test_missing_container_is_told(pyoci):
    assert refused(pyoci, "none-such", "true") == "container does not exist: none-such"


@pytest.mark.needs("userns")
def test_process_in_a_user_namespace_is_its_root(open_path, pyoci):
    bundle = support.Bundle(open_path / "bundle").add_user_namespace()
    name = pyoci.start(bundle)
    assert inside(pyoci, name, "id -u; cat /proc/self/uid_map").split() == ["0", "0", "100000", "65536"]
    assert inside(pyoci, name, "readlink /proc/self/ns/user") == inside(pyoci, name, "readlink /proc/1/ns/user")
    assert inside(pyoci, name, "id -u; grep Groups /proc/self/status", "--user", "5:6", "--additional-gids", "7") == "5\nGroups:\t7"


@pytest.mark.parametrize("kinds", [("mount",), ("mount", "ipc"), ("pid",), ()])
def test_container_without_namespaces_of_its_own_can_be_entered(bundle, pyoci, kinds):
    (bundle.rootfs / "here").write_text("inside")
    name = pyoci.start(own_root(bundle, *kinds))
    assert inside(pyoci, name, "cat /here") == "inside"
    pid = pyoci.pid(name)
    # No procfs in there: what is asked for is seen from outside.
    pyoci.ok("exec", "--detach", "--pid-file", bundle.path / "pid", name, "sleep", "1000")
    entered = int((bundle.path / "pid").read_text())
    for kind in ("mnt", "pid", "ipc", "uts", "net"):
        assert os.readlink(f"/proc/{entered}/ns/{kind}") == os.readlink(f"/proc/{pid}/ns/{kind}")
    assert os.readlink(f"/proc/{entered}/root") == os.readlink(f"/proc/{pid}/root")
    os.kill(entered, 9)
    os.waitpid(entered, 0)


@pytest.mark.needs("timens")
def test_time_and_cgroup_namespaces_are_joined_too(bundle, pyoci):
    bundle.linux["namespaces"] += [{"type": "time"}, {"type": "cgroup"}]
    name = pyoci.start(bundle.write())
    for kind in ("time", "cgroup"):
        assert inside(pyoci, name, f"readlink /proc/self/ns/{kind}") == inside(pyoci, name, f"readlink /proc/1/ns/{kind}")
        assert inside(pyoci, name, f"readlink /proc/self/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def test_filter_of_the_container_holds_for_the_process(bundle, pyoci):
    for private in (True, False):
        bundle.process["noNewPrivileges"] = private
        bundle.linux["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
        }  # fmt: skip
        name = pyoci.start(bundle.write())
        assert inside(pyoci, name, "mkdir /tmp/x 2>&1; grep -E 'Seccomp:' /proc/self/status") == (
            "mkdir: can't create directory '/tmp/x': Operation not supported\nSeccomp:\t2"
        )
