"""MiniDocker of a user who is not root: its namespaces, what its containers can do, and what they can't, by name."""

import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tarfile

import pytest
import support
from unprivileged import SUBORDINATE, UID

sys.path.append(str(pathlib.Path(__file__).parents[1] / "minidocker"))  # a registry, and tars, of MiniDocker's own tests

from registry_place import Liar, MadeImage  # noqa: E402
from tars import archive, device, file, folder  # noqa: E402

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox", "unprivileged_userns", "newuidmap")


def test_a_container_says_what_it_was_told_to(mini):
    assert mini.run("busybox", "echo", "hi") == "hi"


def test_the_exit_status_is_the_containers(mini):
    assert mini("run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 7")[0] == 7


def test_root_there_is_the_user_here(mini):
    assert mini.run("-v", f"{mini.folder}/home:/home", "busybox", "sh", "-c", "id -u; echo x > /home/made") == "0"
    facts = (mini.folder / "home" / "made").stat()
    assert (facts.st_uid, facts.st_gid) == (UID, UID)


def test_other_ids_there_are_subordinate_ones_here(mini):
    mini.up("owned", "busybox", "sh", "-c", "touch /file; chown 5:7 /file; echo done; sleep 1000")
    support.until(lambda: mini.prints("logs", "owned") == "done")
    assert mini.prints("exec", "owned", "stat", "-c", "%u:%g", "/file") == "5:7"
    found = next((mini.data_root / "containers").glob("*/upper/file")).stat()
    assert (found.st_uid, found.st_gid) == (SUBORDINATE + 4, SUBORDINATE + 6)
    mini.prints("rm", "-f", "owned")
    assert not list((mini.data_root / "containers").iterdir())


def test_commands_share_the_namespaces_of_a_running_container(mini):
    mini.up("first", "busybox", "sleep", "1000")
    mini.up("second", "busybox", "sleep", "1000")
    support.until(lambda: len(mini.members()) == 2)
    assert all("minidocker-monitor" in words for words in mini.members().values())
    for kind in ("user", "mnt"):
        assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in mini.members()}) == 1
    mounts = pathlib.Path(f"/proc/{min(mini.members())}/mountinfo").read_text()
    assert mounts.count(f"{mini.data_root}/containers/") >= 2
    mini.prints("rm", "-f", "first", "second")


def test_nobody_stays_for_the_namespaces_sake(mini):
    mini.run("busybox", "true")
    support.until(lambda: not mini.members())


def test_a_container_whose_monitor_was_killed_is_killed_whatever_its_ids(mini):
    mini.up("orphan", "-u", "1000", "busybox", "sleep", "1000")
    support.until(lambda: len(mini.members()) == 1)
    (monitor,), (process,) = mini.members(), mini.members("ids")
    os.kill(monitor, 9)
    support.until(lambda: not mini.members())
    spaces = os.readlink(f"/proc/{process}/ns/user")
    child = mini.start("events")
    support.until(lambda: mini.members())
    assert os.readlink(f"/proc/{child.pid}/ns/user") == spaces
    child.terminate()
    child.wait()
    assert "runs without its monitor" in mini("system", "check", "--heal")[1]
    support.wait_for_end(process)
    mini.prints("rm", "orphan")


def test_a_container_that_went_into_a_user_namespace_of_its_own_leads_nobody_there(mini):
    mini.prints("run", "-d", "--network", "none", "--privileged", "--name", "nested", "busybox", "busybox", "unshare", "-U", "sleep", "1000")
    support.until(lambda: len(mini.members()) == 1)
    (monitor,), (process,) = mini.members(), mini.members("ids")
    support.until(lambda: os.readlink(f"/proc/{process}/ns/user") != os.readlink(f"/proc/{monitor}/ns/user"))
    os.kill(monitor, 9)
    support.until(lambda: not mini.members())
    assert mini.prints("rm", "-f", "nested") == "nested"
    support.wait_for_end(process)
    assert not os.listdir(mini.data_root / "containers")


def test_what_outlives_the_runtime_directory_of_a_session_can_be_stopped(mini):
    for name in ("stays", "goes"):
        mini.up(name, "-u", "1000", "busybox", "sleep", "1000")
    shutil.rmtree(mini.run_root)
    assert mini.prints("ps", "--format", "{{.Names}}").split() == ["goes", "stays"]
    assert mini.prints("logs", "stays") == ""
    mini.prints("stop", "-t", "0", "stays")
    mini.prints("rm", "-f", "goes")
    assert mini.prints("ps", "-a", "--format", "{{.Names}} {{.State}}") == "stays exited"
    mini.prints("start", "stays")
    mini.prints("rm", "-f", "stays")
    support.until(lambda: not mini.members())


# --- a container's life, by one command after the other


def test_a_life_in_the_background(mini):
    mini.up("web", "busybox", "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
    support.until(lambda: mini.prints("logs", "web") == "up")
    assert mini.prints("ps", "--format", "{{.Names}} {{.Image}}") == "web busybox"
    assert mini.prints("exec", "web", "sh", "-c", "echo in; exit 0") == "in"
    assert mini("exec", "web", "sh", "-c", "exit 9")[0] == 9
    assert "sleep" in mini.prints("top", "web")
    mini.prints("stop", "web")
    assert mini.prints("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web") == "exited 5"
    mini.prints("start", "web")
    mini.prints("restart", "-t", "0", "web")
    mini.prints("kill", "web")
    assert mini.prints("wait", "web") == "137"
    mini.prints("rm", "web")
    assert mini.prints("ps", "-aq") == ""


def test_a_terminal_of_exec(mini):
    mini.up("tty", "busybox", "sleep", "1000")
    leader, follower = pty.openpty()
    status, _, _ = mini("exec", "-it", "tty", "sh", "-c", "tty; stty size; exit 3", stdin=follower)
    assert status == 3
    child = subprocess.Popen(mini.command("exec", "-it", "tty", "tty"), stdin=follower, stdout=follower, stderr=follower, env=mini.environment)
    assert b"/dev/pts/0" in os.read(leader, 1000)
    assert child.wait() == 0
    os.close(leader)
    os.close(follower)
    mini.prints("rm", "-f", "tty")


def test_attach_sees_what_is_said_and_tells_the_end(mini):
    mini.up("talks", "-i", "busybox", "sh", "-c", "read word; echo heard $word; exit 4")
    with subprocess.Popen(mini.command("attach", "talks"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=mini.environment, text=True) as client:
        out, _ = client.communicate("it\n", timeout=60)
    assert (out, client.returncode) == ("heard it\n", 4)
    mini.prints("rm", "talks")


def test_a_policy_restarts_and_a_check_tells_health(mini):
    mini.up("again", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3")
    mini.up("well", "--health-cmd", "test -e /bin/sh", "--health-interval", "100ms", "busybox", "sleep", "1000")
    support.until(lambda: mini.prints("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again") == "2 exited")
    support.until(lambda: mini.prints("inspect", "-f", "{{.State.Health.Status}}", "well") == "healthy")
    mini.prints("rm", "-f", "again", "well")


def test_files_go_in_and_out_with_the_owners_of_each_side(mini):
    (mini.folder / "home" / "in").write_text("in")
    os.chown(mini.folder / "home" / "in", UID, UID)
    mini.up("files", "busybox", "sleep", "1000")
    mini.prints("cp", "in", "files:/tmp/in")
    mini.prints("exec", "-u", "1000", "files", "sh", "-c", "cat /tmp/in > /tmp/out; echo out >> /tmp/out")
    mini.prints("cp", "files:/tmp/out", "out")
    out = mini.folder / "home" / "out"
    assert (out.read_text(), out.stat().st_uid) == ("inout\n", UID)
    mini.prints("stop", "-t", "0", "files")
    mini.prints("cp", "files:/tmp/out", "again")
    assert mini.prints("diff", "files").split("\n") == ["C /tmp", "A /tmp/in", "A /tmp/out"]
    mini.prints("rm", "files")


def test_an_image_of_it_goes_out_and_comes_back_with_its_owners(mini):
    mini("run", "--name", "base", "--network", "none", "busybox", "sh", "-c", "mkdir /d; touch /d/file; chown 5:7 /d/file; rm /bin/true")
    mini.prints("commit", "base", "mine:1")
    mini.prints("save", "-o", "mine.tar", "mine:1")
    mini.prints("rmi", "mine:1")
    mini.prints("load", "-i", "mine.tar")
    look = ("sh", "-c", "stat -c %u:%g /d/file; ls /bin/true 2>&1")
    assert mini("run", "--rm", "--network", "none", "mine:1", *look)[1].split("\n")[0] == "5:7"
    assert "No such file" in mini("run", "--rm", "--network", "none", "mine:1", *look)[1]
    mini.prints("export", "-o", "tree.tar", "base")
    mini.prints("import", "tree.tar", "flat:1")
    assert mini("run", "--rm", "--network", "none", "flat:1", *look)[1].split("\n")[0] == "5:7"
    mini.prints("rm", "base")
    mini.prints("rmi", "mine:1", "flat:1")


def test_a_running_container_without_a_cgroup_is_committed_as_it_goes(mini):
    mini.up("goes", "busybox", "sleep", "1000")
    status, _, said = mini("commit", "goes", "goes:1")
    assert (status, said) == (0, "WARNING: container goes goes on while it is committed: without a cgroup it can't be paused\n")
    assert "has no cgroup, which pause needs" in mini.refuses("commit", "--pause", "goes")
    assert "goes" in mini.prints("stats", "--no-stream")
    mini.prints("rm", "-f", "goes")
    mini.prints("rmi", "goes:1")


def test_a_pulled_image_has_its_owners_and_whiteouts_but_no_devices(mini):
    lower = archive(folder("d", uid=5), file("d/a"), file("d/b", uid=5, gid=7), device("null", 1, 3), folder("o"), file("o/x"))
    upper = archive(file("d/.wh.a"), file("o/.wh..wh..opq"), file("o/y"))
    with Liar() as registry:
        registry.images["me/app"] = MadeImage([lower, upper])
        mini("pull", "-q", f"{registry.name}/me/app")
        mini.prints("create", "--name", "pulled", "--network", "none", f"{registry.name}/me/app", "x")
    mini.prints("export", "-o", "pulled.tar", "pulled")
    with tarfile.open(mini.folder / "home" / "pulled.tar") as tar:
        names = {member.name for member in tar}
        assert (tar.getmember("d/b").uid, tar.getmember("d/b").gid, tar.getmember("d").uid) == (5, 7, 5)
    assert {"d", "d/b", "o", "o/y"} <= names and not {"d/a", "o/x", "null"} & names
    mini.prints("rm", "pulled")
    mini.prints("image", "prune", "-af")
    assert not list((mini.data_root / "layers").iterdir())
    mini.prints("image", "make", "busybox")


# --- namespaces that are the host's, or another container's


def test_the_hosts_network_is_the_hosts(mini):
    here = os.readlink("/proc/self/ns/net")
    assert mini.prints("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net") == here
    assert "ro" in mini.prints("run", "--rm", "--network", "host", "busybox", "sh", "-c", "grep ' /sys ' /proc/self/mountinfo").split(" ")[5].split(",")


def test_every_other_namespace_of_the_host_can_be_shared(mini):
    script = "for kind in pid ipc uts; do readlink /proc/self/ns/$kind; done; [ -d /proc/1 ] && echo proc"
    found = mini.run("--pid", "host", "--ipc", "host", "--uts", "host", "busybox", "sh", "-c", script).split()
    assert found == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc", "uts")] + ["proc"]


def test_those_of_another_container_can_be_joined(mini):
    mini.up("owner", "--ipc", "shareable", "busybox", "sleep", "1000")
    words = ("--network", "container:owner", "--pid", "container:owner", "--ipc", "container:owner", "busybox", "sh", "-c", "pidof sleep; ls -d /dev/shm")
    assert mini.prints("run", "--rm", *words) == "1\n/dev/shm"
    mini.prints("rm", "-f", "owner")


def test_ping_is_for_every_group_that_is_there(mini):
    assert mini.run("busybox", "cat", "/proc/sys/net/ipv4/ping_group_range").split() == ["0", "65536"]


def test_all_of_privileged_that_a_user_has(mini):
    found = mini.run("--privileged", "busybox", "sh", "-c", "grep CapEff /proc/self/status; ls /dev; mount -t tmpfs x /tmp && echo mounted")
    assert "mounted" in found and "kmsg" not in found.split() or os.access("/dev/kmsg", os.R_OK)


# --- what can't be had


@pytest.mark.parametrize(("words", "text"), [
    (("--device-cgroup-rule", "c 1:3 r"), "--device-cgroup-rule: device rules take root on the host"),
    (("--device", "/dev/zero:/dev/zero:r"), "--device /dev/zero: permissions (r) take root on the host\n  without root a device is as open as its node is to you"),
    (("--device", "/dev/zero:/dev/nought"), "--device /dev/zero:/dev/nought: without root a device is the host's own node, and keeps its path"),
    (("--oom-score-adj", "-900"), "--oom-score-adj -900: without root it can't be less than one's own, {oom}"),
    (("--ulimit", "nofile=1000000000"), "--ulimit nofile=1000000000: without root it can't be more than one's own hard limit, {nofile}"),
    (("-u", "65537"), "user 65537 can't be had without root: of the ids of this user namespace 0 to 65536 are there\n  /etc/subuid gives a user more"),
    (("--group-add", "70000"), "group 70000 can't be had without root: of the ids of this user namespace 0 to 65536 are there\n  /etc/subgid gives a user more"),
], ids=lambda value: value[0].lstrip("-") + (value[1].rpartition(":")[2] if value[0] == "--device" else "") if isinstance(value, tuple) else "")  # fmt: skip
def test_what_takes_root_is_refused_by_name(mini, words, text):
    import resource

    known = {"oom": pathlib.Path("/proc/self/oom_score_adj").read_text().strip(), "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1]}
    assert mini.refuses("run", "--rm", "--network", "none", *words, "busybox", "true") == text.format(**known)
    assert mini.prints("ps", "-aq") == ""


@pytest.mark.needs("cgroup1")
def test_limits_without_cgroups_are_discarded_with_a_warning_each(mini):
    status, _, said = mini("run", "-d", "--name", "free", "--network", "none", "-m", "64m", "--cpus", "0.5", "--pids-limit", "9", "busybox", "sleep", "1000")
    assert (status, said) == (0, "".join(
        f"WARNING: {flag}: no cgroup with the controller {controller} is delegated to this user: limit discarded\n"
        for flag, controller in (("--memory", "memory"), ("--cpus", "cpu"), ("--pids-limit", "pids"))))  # fmt: skip
    assert mini.prints("inspect", "-f", "{{.HostConfig.Memory}}", "free") == "0"
    assert mini.refuses("update", "-m", "64m", "free").startswith("--memory: no cgroup with the controller memory is delegated to this user\n")
    assert "has no cgroup, which pause needs" in mini.refuses("pause", "free")
    mini.prints("rm", "-f", "free")


# --- where things are


def test_a_user_without_a_runtime_directory_has_a_folder_of_its_own_in_tmp(mini):
    environment = {name: text for name, text in mini.environment.items() if name != "XDG_RUNTIME_DIR"}
    folder = pathlib.Path(f"/tmp/minidocker-{UID}")
    try:
        folder.mkdir()
        assert mini.refuses("ps", env=environment).startswith(f"{folder} can't be trusted: {folder} belongs to user 0")
        folder.rmdir()
        mini.prints("ps", env=environment)
        assert folder.stat().st_uid == UID
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_data_is_where_xdg_data_home_says(mini):
    mini.prints("ps", env={**mini.environment, "XDG_DATA_HOME": str(mini.folder / "home" / "data")})
    assert (mini.folder / "home" / "data" / "minidocker" / "store.db").is_file()


def test_the_callers_folder_stays_the_callers(mini):
    mini.up("stays", "busybox", "sleep", "1000")
    (mini.folder / "home" / "here").mkdir()
    (mini.folder / "home" / "here" / "file").write_text("x")
    mini.prints("cp", "file", "stays:/file", cwd=mini.folder / "home" / "here")
    assert mini.prints("exec", "stays", "cat", "/file") == "x"
    mini.prints("rm", "-f", "stays")


def test_the_callers_folder_may_be_gone(mini):
    folder = mini.folder / "home" / "gone"
    folder.mkdir()
    gone = ["sh", "-c", 'cd "$1" && rmdir "$1" && shift && exec "$@"', "sh", str(folder)]
    done = subprocess.run([*gone, *mini.command("ps", "-q")], capture_output=True, env=mini.environment, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("text", ["", "\0" * 64, "1 2 mounts\n", "x y mounts z\n", "\udcff\n"], ids=["empty", "zeros", "short", "words", "bytes"])
def test_a_list_of_who_is_there_that_a_power_cut_spoilt_is_of_nobody(mini, text):
    mini.prints("ps")
    (mini.data_root / "namespace").write_text(text, errors="surrogateescape")
    assert mini.prints("ps", "-q") == ""
