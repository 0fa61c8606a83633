"""checkpoint and restore with a real criu: what a process was comes back, and what is around it is the container's."""

import json
import os
import pathlib
import signal
import subprocess

import pytest
import support
from talking import Receiver, Talk, call, checkpointed, mounts, read_until, restored, started

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim", "criu")


def test_a_restored_process_goes_on_where_it_was(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        assert talk.ask("two") == "2 two"
        assert pyoci.state(name)["status"] == "running"


def test_a_checkpointed_container_is_gone(bundle, pyoci, images):
    name = checkpointed(pyoci, bundle, images)
    assert pyoci.fails("state", name) == f"container does not exist: {name}"
    with Talk() as talk:  # so its id is free at once
        call(pyoci, talk, "restore", "--detach", "--bundle", bundle.path, "--image-path", images, name)


def test_a_container_may_be_left_running(bundle, pyoci, images):
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        pyoci.ok("checkpoint", "--leave-running", "--image-path", images, name)
        assert talk.ask("two") == "2 two"
        assert pyoci.state(name)["status"] == "running"


def test_a_paused_container_is_checkpointed_too(bundle, pyoci, images):
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        pyoci.ok("pause", name)
        pyoci.ok("checkpoint", "--image-path", images, name)
    with Talk() as talk:
        restored(pyoci, bundle, images, talk)
        assert talk.ask("two") == "2 two"


def test_a_paused_container_that_is_left_running_stays_paused(bundle, pyoci, images):
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        pyoci.ok("pause", name)
        pyoci.ok("checkpoint", "--leave-running", "--image-path", images, name)
        assert pyoci.state(name)["status"] == "paused"
        pyoci.ok("resume", name)
        assert talk.ask("two") == "2 two"


def test_a_restored_container_can_be_checkpointed_again(bundle, pyoci, images, tmp_path):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        assert talk.ask("two") == "2 two"
        pyoci.ok("checkpoint", "--image-path", tmp_path / "again", name)
    with Talk() as talk:
        restored(pyoci, bundle, tmp_path / "again", talk)
        assert talk.ask("three") == "3 three"


def test_log_and_statistics_go_to_a_work_path_that_is_made(bundle, pyoci, images, tmp_path):
    work = tmp_path / "not" / "there"
    checkpointed(pyoci, bundle, images, "--work-path", work)
    with Talk() as talk:
        restored(pyoci, bundle, images, talk, "--work-path", work)
    assert {"dump.log", "restore.log"} <= set(os.listdir(work))
    assert not (images / "dump.log").exists()


# --- what is around the process


def test_mounts_are_as_before(bundle, pyoci, images, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bundle.mount(f"/{name}", "bind", tmp_path / name, "bind", "ro", "nosuid")
    bundle.mount("/both", "bind", tmp_path / "one", "bind", "rw")
    bundle.mount("/file", "bind", "/etc/hostname", "bind", "ro")
    bundle.linux["maskedPaths"] += ["/proc/timer_list", "/proc/scsi"]
    bundle.write()
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        was = mounts(pyoci.pid(name))
        pyoci.ok("checkpoint", "--image-path", images, name)
    with Talk() as talk:
        assert mounts(pyoci.pid(restored(pyoci, bundle, images, talk))) == was
    assert sum(1 for point, *_ in was if point in ("/one", "/two", "/both", "/file", "/proc/timer_list")) == 5


@pytest.mark.needs("cgroup1")
def test_cgroups_that_are_shown_are_the_containers_own(bundle, pyoci, images):
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        pyoci.ok("checkpoint", "--image-path", images, name)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        roots = [root for point, root, _, fstype in mounts(pyoci.pid(name)) if fstype == "cgroup"]
        assert roots and all(root.endswith(f"/{name}") for root in roots)


def test_what_a_recursive_bind_brings_along_comes_back(bundle, pyoci, images, tmp_path):
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", str(outer / "inner")], check=True)
    try:
        (outer / "inner" / "file").write_text("here")
        bundle.mount("/outer", "bind", outer, "rbind", "rro")
        with Talk() as talk:
            name = started(pyoci, bundle, talk)
            was = mounts(pyoci.pid(name))
            pyoci.ok("checkpoint", "--image-path", images, name)
        with Talk() as talk:
            name = restored(pyoci, bundle, images, talk)
            assert mounts(pyoci.pid(name)) == was
            assert pyoci.ok("exec", name, "cat", "/outer/inner/file") == "here"
            pyoci.ok("delete", "--force", name)
    finally:
        subprocess.run(["umount", str(outer / "inner")], check=True)


def test_a_mount_point_behind_a_link_comes_back(bundle, pyoci, images, tmp_path):
    (bundle.rootfs / "real").mkdir()
    (bundle.rootfs / "link").symlink_to("real")
    (tmp_path / "data").mkdir()
    bundle.mount("/link/data", "bind", tmp_path / "data", "bind")
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        assert "/real/data" in [point for point, *_ in mounts(pyoci.pid(name))]


def test_mount_points_are_made_in_a_fresh_rootfs(bundle, pyoci, images, tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "file").write_text("text")
    bundle.mount("/a/b", "bind", tmp_path / "data", "bind")
    bundle.mount("/a/b/sub/file", "bind", tmp_path / "file", "bind")
    bundle.mount("/dev/shm/file", "bind", tmp_path / "file", "bind")
    checkpointed(pyoci, bundle, images)
    fresh = support.Bundle(tmp_path / "fresh", config=bundle.config)
    with Talk() as talk:
        name = restored(pyoci, fresh, images, talk)
        assert pyoci.ok("exec", name, "cat", "/a/b/sub/file", "/dev/shm/file") == "texttext"


def test_limits_hold_again(bundle, pyoci, images):
    bundle.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 33}}
    bundle.write()
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        stats = json.loads(pyoci.ok("events", "--stats", name))["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"]) == (64 << 20, 33)


def test_processes_are_in_the_new_containers_cgroups(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        pid = pyoci.pid(name)
        assert json.loads(pyoci.ok("ps", "--format", "json", name)) == [pid]
        record = json.loads((pyoci.root / name / "state.json").read_text())
        paths = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    assert all(path.rpartition("/")[2] == name for path in record["cgroups"].values())
    assert all(line.endswith(f"/{name}") for line in paths.splitlines() if support.TOKEN in line)


def test_loopback_is_up(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        assert int(pyoci.ok("exec", name, "cat", "/sys/class/net/lo/flags"), 16) & 1


def test_a_network_namespace_that_was_joined_is_joined_again(bundle, pyoci, images):
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        path = f"/proc/{holder.pid}/ns/net"
        for one in bundle.linux["namespaces"]:
            if one["type"] == "network":
                one["path"] = path
        bundle.write()
        try:
            checkpointed(pyoci, bundle, images)
            with Talk() as talk:
                name = restored(pyoci, bundle, images, talk)
                assert os.readlink(f"/proc/{pyoci.pid(name)}/ns/net") == os.readlink(path)
        finally:
            holder.communicate(b"\n")


def test_runtime_hooks_run_once_the_namespaces_are_made(bundle, pyoci, images, tmp_path):
    checkpointed(pyoci, bundle, images)
    script = f'cat >> {tmp_path}/seen; readlink /proc/$(sed "s/.*\\"pid\\":\\([0-9]*\\).*/\\1/" {tmp_path}/seen | tail -n 1)/ns/net >> {tmp_path}/ns'
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    bundle.edit(lambda config: config.update(hooks={"createRuntime": [hook]}))
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        seen = json.loads((tmp_path / "seen").read_text())
        assert (seen["id"], seen["pid"], seen["status"]) == (name, pyoci.pid(name), "creating")
        assert (tmp_path / "ns").read_text().strip() == os.readlink(f"/proc/{seen['pid']}/ns/net") != os.readlink("/proc/self/ns/net")


def test_poststop_hooks_run_when_it_is_deleted(bundle, pyoci, images, tmp_path):
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo ran >> {tmp_path}/ran"]}
    bundle.edit(lambda config: config.update(hooks={"poststop": [hook]}))
    checkpointed(pyoci, bundle, images)
    assert (tmp_path / "ran").read_text() == "ran\n"
    with Talk() as talk:
        pyoci.ok("delete", "--force", restored(pyoci, bundle, images, talk))
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


@pytest.mark.needs("userns")
def test_a_container_with_a_user_namespace_is_refused_and_goes_on(pyoci, images, open_path):
    bundle = support.Bundle(open_path / "bundle")
    bundle.add_user_namespace()
    (bundle.path / "rootfs").chmod(0o755)
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        line = pyoci.fails("checkpoint", "--image-path", images, name)
        assert line.endswith("linux.namespaces[5]: checkpoint and restore don't serve containers with a user namespace")
        assert not images.exists()
        assert talk.ask("two") == "2 two"


# --- its streams


def test_a_stream_that_is_a_file_of_the_host_is_the_callers_again(bundle, pyoci, images, tmp_path):
    bundle.shell('trap "echo again; exit 3" TERM; echo begun; while :; do sleep 1000 & wait; done')
    name = pyoci.new_id()
    with open(tmp_path / "first", "ab") as out:
        words = pyoci.command("run", "--detach", "--bundle", bundle.path, name)
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=pyoci.environment, check=True, timeout=60)
    support.until(lambda: (tmp_path / "first").read_text() == "begun\n")
    pyoci.ok("checkpoint", "--image-path", images, name)
    with open(tmp_path / "second", "ab") as out:
        words = pyoci.command("restore", "--bundle", bundle.path, "--image-path", images, name)
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=pyoci.environment) as process:
            support.until(lambda: pyoci("kill", name, "TERM").returncode == 0)
            assert process.wait(support.TIMEOUT_S) == 3
    assert (tmp_path / "second").read_text() == "again\n"


def test_a_terminal_is_sent_to_the_console_socket(bundle, pyoci, images, tmp_path):
    bundle.process["terminal"] = True
    bundle.shell("n=0; while read -r word; do n=$((n+1)); echo $n $word; done")
    name = pyoci.new_id()
    with Receiver(tmp_path / "first") as receiver:
        pyoci.ok("run", "--detach", "--console-socket", receiver.path, "--bundle", bundle.path, name)
        master = receiver.take()
    os.write(master, b"one\n")
    read_until(master, "1 one")
    pyoci.ok("checkpoint", "--image-path", images, name)
    os.close(master)
    with Receiver(tmp_path / "second") as receiver:
        pyoci.ok("restore", "--detach", "--console-socket", receiver.path, "--bundle", bundle.path, "--image-path", images, name)
        master = receiver.take()
    os.write(master, b"two\n")
    read_until(master, "2 two")
    os.close(master)


# --- the other verbs


def test_the_other_verbs_work_on_it(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk)
        assert pyoci.ok("exec", name, "hostname") == "test\n"
        pyoci.ok("pause", name)
        assert pyoci.state(name)["status"] == "paused"
        pyoci.ok("resume", name)
        pyoci.ok("update", "--pids-limit", "50", name)
        assert pyoci.fails("start", name) == "cannot start an already running container"
        assert "is not stopped" in pyoci.fails("delete", name)
        pyoci.ok("kill", name, "KILL")
        support.wait_until_stopped(pyoci, name)
        pyoci.ok("delete", name)


def test_pid_file_names_the_restored_process(bundle, pyoci, images, tmp_path):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = restored(pyoci, bundle, images, talk, "--pid-file", tmp_path / "pid")
        assert int((tmp_path / "pid").read_text()) == pyoci.pid(name)


def test_in_the_foreground_it_ends_with_the_status_of_the_process(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        name = pyoci.new_id()
        words = pyoci.command("restore", "--bundle", bundle.path, "--image-path", images, name)
        with subprocess.Popen(words, env=pyoci.environment, **talk.given()) as process:
            talk.begun()
            assert talk.ask("two") == "2 two"
            os.close(talk.input)
            talk.input = -1
            assert process.wait(support.TIMEOUT_S) == 7
    assert pyoci.fails("state", name) == f"container does not exist: {name}"


def test_signals_are_forwarded_in_the_foreground(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    with Talk() as talk:
        words = pyoci.command("restore", "--bundle", bundle.path, "--image-path", images, pyoci.new_id())
        with subprocess.Popen(words, env=pyoci.environment, **talk.given()) as process:
            talk.begun()
            assert talk.ask("two") == "2 two"
            process.send_signal(signal.SIGUSR1)  # the counter has no handler, and as the first of its namespace it is not ended by it
            assert talk.ask("three") == "3 three"
            os.close(talk.input)
            talk.input = -1
            assert process.wait(support.TIMEOUT_S) == 7


def test_as_a_library_it_changes_nothing_of_its_process(bundle, pyoci, images):
    with Talk() as talk:
        _as_a_library(pyoci, bundle, images, started(pyoci, bundle, talk))


def _as_a_library(pyoci, bundle, images, name):
    before = support.snapshot()
    pyoci.api().checkpoint(name, str(images), leave_running=True, environ=pyoci.environment)
    support.assert_unchanged(before)
    pyoci.ok("delete", "--force", name)
    before = support.snapshot()
    assert pyoci.api().restore(name, str(bundle.path), str(images), detach=True, environ=pyoci.environment) == 0
    pyoci.api().delete(name, force=True)
    support.assert_unchanged(before)


@pytest.mark.needs("runc")
def test_images_are_runcs(bundle, pyoci, images, tmp_path):
    """Either restores what the other dumped: the names in the images are the same."""
    (tmp_path / "data").mkdir()
    bundle.mount("/data", "bind", tmp_path / "data", "bind", "ro", "rprivate")
    bundle.linux["rootfsPropagation"] = "private"  # runc leaves criu's newer mount engine on, which can't restore slaves of one group
    bundle.edit(lambda config: config.update(ociVersion="1.0.2"))
    runc = ["runc", "--root", str(tmp_path / "runc")]

    def ask_runc(talk, *words):
        with subprocess.Popen([*runc, *map(str, words)], env=pyoci.environment, **talk.given()) as process:
            talk.begun()
            assert process.wait(support.TIMEOUT_S) == 0, words

    checkpointed(pyoci, bundle, images)
    name = pyoci.new_id("runc")
    try:
        with Talk() as talk:
            ask_runc(talk, "restore", "--detach", "--bundle", bundle.path, "--image-path", images, name)
            assert talk.ask("two") == "2 two"
            subprocess.run([*runc, "checkpoint", "--image-path", tmp_path / "theirs", name], env=pyoci.environment, check=True, timeout=60)
    finally:
        subprocess.run([*runc, "delete", "--force", name], check=False, timeout=60, stderr=subprocess.DEVNULL)
    with Talk() as talk:
        restored(pyoci, bundle, tmp_path / "theirs", talk)
        assert talk.ask("three") == "3 three"
