"""What changes a container's life, and what looks at it."""

import io
import json
import os
import pathlib
import subprocess
import tarfile
import time

import pytest
from minidocker_place import TIMEOUT_S

from pyoci.minidocker import containers, monitor
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError, NotFound
from pyoci.minidocker.settle import settle_after_exit

pytestmark = pytest.mark.needs("root")

WAITS = ("sh", "-c", "trap 'exit 5' TERM; trap 'echo hup' HUP; echo ready; while :; do sleep 0.1; done")


def ready(place, container_id):
    """Wait until a container has said so."""
    place.until(lambda: (path := pathlib.Path(place.get(container_id).folder, "log.json")).exists() and path.stat().st_size)


def test_stop_lets_a_program_end_by_itself(place):
    container_id = place.up(*WAITS)
    ready(place, container_id)
    place.engine.stop(container_id)
    assert (place.get(container_id).status, place.get(container_id).exit_code) == ("exited", 5)
    assert place.actions(container_id) == ["create", "start", "kill", "die", "stop"]


def test_stop_kills_after_its_time(place):
    container_id = place.up("sleep", "1000", name="web")
    began = time.monotonic()
    place.engine.stop("web", 0)
    assert place.get(container_id).exit_code == 137
    assert time.monotonic() - began < 5


def test_stop_uses_the_images_signal(place):
    container_id = place.up("sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done", StopSignal="SIGUSR1")
    ready(place, container_id)
    place.engine.stop(container_id)
    assert place.get(container_id).exit_code == 9


def test_monitor_of_an_earlier_life_settles_no_later_one(place):
    container_id = place.up("sleep", "1000")
    place.engine.stop(container_id, 0)
    place.engine.start(container_id)
    before = place.get(container_id)
    assert settle_after_exit(place.store, container_id) == ""
    after = place.get(container_id)
    assert (after.status, after.pid) == ("running", before.pid) and after.is_process_alive()


def test_stop_of_a_stopped_container_is_no_error(place):
    container_id = place.create("true")
    place.engine.stop(container_id)
    assert place.get(container_id).status == "created"


def test_kill_waits_for_the_end(place):
    container_id = place.up("sleep", "1000")
    place.engine.kill(container_id)
    assert (place.get(container_id).status, place.get(container_id).exit_code) == ("exited", 137)
    with pytest.raises(Conflict, match="is not running"):
        place.engine.kill(container_id)


def test_kill_passes_any_signal(place):
    container_id = place.up(*WAITS)
    ready(place, container_id)
    place.engine.kill(container_id, "HUP")
    place.until(lambda: [line["log"] for line in place.log(container_id)] == ["ready\n", "hup\n"])
    assert containers.status_of(place.get(container_id)) == "running"


def test_unknown_signal_is_refused(place):
    container_id = place.up("sleep", "1000")
    with pytest.raises(BadRequest, match="Invalid signal: NOPE"):
        place.engine.kill(container_id, "NOPE")


def test_restart_begins_a_new_life(place):
    container_id = place.up("sleep", "1000")
    before = place.get(container_id)
    place.engine.restart(container_id, 0)
    after = place.get(container_id)
    assert after.status == "running" and after.pid != before.pid and after.monitor != before.monitor


def test_paused_container_can_be_stopped_and_killed(place):
    for end in (lambda one: place.engine.stop(one, 0), place.engine.kill):
        container_id = place.up("sleep", "1000")
        place.engine.pause(container_id)
        assert containers.status_of(place.get(container_id)) == "paused"
        with pytest.raises(Conflict, match="already paused"):
            place.engine.pause(container_id)
        end(container_id)
        assert place.get(container_id).exit_code == 137


def test_unpaused_container_goes_on(place):
    container_id = place.up("sleep", "1000")
    place.engine.pause(container_id)
    place.engine.unpause(container_id)
    assert containers.status_of(place.get(container_id)) == "running"


def test_running_container_is_removed_only_by_force(place):
    container_id = place.up("sleep", "1000", name="web")
    with pytest.raises(Conflict, match='cannot remove container "web": container is running: stop the container before removing or force remove'):
        place.engine.remove("web")
    place.engine.remove("web", force=True)
    with pytest.raises(NotFound):
        place.get(container_id)


def test_start_of_a_running_container_changes_nothing(place):
    container_id = place.up("sleep", "1000")
    before = place.get(container_id).row
    assert place.engine.start(container_id) is False
    assert place.get(container_id).row == before


def test_ended_container_starts_again(place):
    container_id = place.create("sh", "-c", "echo x >> /data; cat /data | wc -l")
    for _ in range(2):
        place.engine.start(container_id)
        place.engine.wait(container_id)
    assert [line["log"] for line in place.log(container_id)] == ["1\n", "2\n"]


def test_rename_keeps_the_container(place):
    container_id = place.create("true", name="web")
    place.create("true", name="db")
    with pytest.raises(Conflict, match='The container name "/db" is already in use'):
        place.engine.rename("web", "db")
    place.engine.rename("web", "old")
    assert place.get("old").id == container_id


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_policy_restarts_what_fails(place, policy):
    container_id = place.up("sh", "-c", "echo x; exit 1", RestartPolicy={"Name": policy})
    place.until(lambda: place.get(container_id).restarts >= 2)
    place.engine.stop(container_id)
    container = place.get(container_id)
    assert container.status == "exited"
    assert place.engine.list(filters={"status": ["exited"]})[0]["Id"] == container_id


def test_policy_gives_up_after_its_number(place):
    container_id = place.up("false", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 2})
    place.until(lambda: place.get(container_id).status == "exited")
    assert (place.get(container_id).restarts, place.get(container_id).exit_code) == (2, 1)


def test_success_is_not_restarted_on_failure(place):
    container_id = place.up("true", RestartPolicy={"Name": "on-failure"})
    place.until(lambda: place.get(container_id).status == "exited")
    assert place.get(container_id).restarts == 0


def test_background_container_with_rm_is_removed(place):
    container_id = place.up("true", AutoRemove=True)
    place.until(lambda: not place.store.db.execute("select 1 from containers").fetchone())
    place.until(lambda: not pathlib.Path(place.roots.live(container_id)).exists())


# --- exec


def run_exec(place, container_id, *command, detach=False, **given):
    code = "    status = engine.exec(sys.argv[4], json.loads(sys.argv[5]), detach=bool(int(sys.argv[6])))\n"
    return place.command(code, container_id, json.dumps({"Cmd": list(command), **given}), str(int(detach)))


def test_exec_runs_beside(place):
    container_id = place.up("sleep", "1000", Env=["A=1"])
    done = run_exec(place, container_id, "sh", "-c", "echo $A $B; pwd; id -u; exit 7", Env=["B=2"], WorkingDir="/tmp", User="user")
    assert (done.returncode, done.stdout) == (7, "1 2\n/tmp\n1000\n"), done.stderr


def test_exec_of_a_missing_program_gives_127(place):
    container_id = place.up("sleep", "1000")
    done = run_exec(place, container_id, "nosuch")
    assert done.returncode == 127
    assert "not found in $PATH" in done.stderr
    assert run_exec(place, container_id, "/etc/passwd").returncode == 126


def test_detached_exec_goes_on_alone(place):
    container_id = place.up("sleep", "1000")
    done = run_exec(place, container_id, "sh", "-c", "echo x > /made; sleep 1000", detach=True)
    assert done.returncode == 0
    place.until(lambda: pathlib.Path(place.get(container_id).rootfs, "made").exists())
    assert sum("sleep 1000" in " ".join(row) for row in place.engine.top(container_id)["Processes"]) == 2


def test_exec_in_a_stopped_container_is_refused(place):
    container_id = place.create("true")
    done = run_exec(place, container_id, "true")
    assert (done.returncode, done.stderr) == (125, f"Container {container_id} is not running\n")


# --- looking


def test_inspect_shows_the_request_and_the_state(place):
    container_id = place.up("sleep", "1000", name="web", Labels={"a": "b"}, Memory=64 << 20)
    found = place.engine.inspect("web")
    assert (found["Id"], found["Name"], found["Path"], found["Args"]) == (container_id, "/web", "sleep", ["1000"])
    assert found["State"]["Status"] == "running" and found["State"]["Pid"] == place.get("web").pid
    assert found["Config"]["Labels"] == {"a": "b"} and found["HostConfig"]["Memory"] == 64 << 20
    json.dumps(found)


def test_list_shows_what_runs_and_filters(place):
    running = place.up("sleep", "1000", name="web", Labels={"kind": "web"})
    ended = place.create("true", name="old")
    assert [one["Id"] for one in place.engine.list()] == [running]
    assert [one["Id"] for one in place.engine.list(all=True)] == [ended, running]
    for filters, expected in (
        ({"name": ["we"]}, [running]), ({"label": ["kind=web"]}, [running]), ({"status": ["created"]}, [ended]), ({"ancestor": ["busybox"]}, [ended, running]),
        ({"since": ["web"]}, [ended]), ({"before": ["old"]}, [running]), ({"id": [running[:12]]}, [running]), ({"label": ["none"]}, []),
    ):  # fmt: skip
        assert [one["Id"] for one in place.engine.list(all=True, filters=filters)] == expected, filters
    assert place.engine.list()[0]["Status"].startswith("Up ")
    assert place.engine.list(all=True, limit=1, size=True)[0]["SizeRw"] == 0
    with pytest.raises(BadRequest, match="invalid filter 'nope'"):
        place.engine.list(filters={"nope": ["x"]})


def test_logs_are_cut_by_number_and_time(place):
    container_id = place.create("sh", "-c", "for i in 1 2 3 4 5; do echo $i; done")
    place.engine.start(container_id)
    place.engine.wait(container_id)
    everything = list(place.engine.logs(container_id))
    assert [text for _, _, text in everything] == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]
    assert [text for _, _, text in place.engine.logs(container_id, tail=2)] == [b"4\n", b"5\n"]
    assert list(place.engine.logs(container_id, tail=0)) == []
    assert list(place.engine.logs(container_id, since_ns=time.time_ns())) == []
    assert list(place.engine.logs(container_id, until_ns=1)) == []


def test_logs_are_followed_through_rotation_to_the_end(place):
    lines = 3000
    script = f"read x; i=0; while [ $i -lt {lines} ]; do echo line-$i; i=$((i+1)); done"
    container_id = place.up("sh", "-c", script, OpenStdin=True, LogConfig={"Type": "json-file", "Config": {"max-size": "100k", "max-file": "5"}})
    link = monitor.connect(place.get(container_id).live)
    link.attach(monitor.WANTS_IN)
    following = place.engine.logs(container_id, follow=True)
    link.say(monitor.INPUT, b"go\n")
    assert [text for _, _, text in following] == [f"line-{number}\n".encode() for number in range(lines)]
    link.close()
    assert pathlib.Path(place.get(container_id).folder, "log.json.1").exists()


def test_logs_of_a_container_that_is_removed_meanwhile_end(place):
    container_id = place.up("sh", "-c", "echo up; exec sleep 1000")
    following = place.engine.logs(container_id, follow=True)
    assert next(following)[2] == b"up\n"
    place.engine.remove(container_id, force=True)
    assert list(following) == []


def test_top_shows_the_containers_processes(place):
    container_id = place.up("sleep", "1000")
    found = place.engine.top(container_id)
    assert [row[-1] for row in found["Processes"]] == ["sleep 1000"]
    assert "PID" in found["Titles"]


def test_stats_have_dockers_shape(place):
    container_id = place.up("sh", "-c", "while :; do :; done", Memory=64 << 20)
    found = next(place.engine.stats(container_id, stream=True))
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > found["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert found["memory_stats"]["limit"] == 64 << 20
    assert found["pids_stats"]["current"] == 1


def test_events_are_told_as_they_happen(place):
    code = "    for event in engine.events(filters={'type': ['container']}):\n        print(event['Action'], flush=True)\n"
    watching = subprocess.Popen(place.arguments(code), stdout=subprocess.PIPE, text=True)
    try:
        place.until(lambda: "inotify" in "".join(pathlib.Path(f"/proc/{watching.pid}/fd").iterdir().__next__().readlink().name for _ in range(1))
                    or any("inotify" in str(fd.readlink()) for fd in pathlib.Path(f"/proc/{watching.pid}/fd").iterdir() if fd.is_symlink()))  # fmt: skip
        container_id = place.create("true")
        assert watching.stdout.readline() == "create\n"
        place.engine.start(container_id)
        place.engine.wait(container_id)
        assert [watching.stdout.readline() for _ in range(2)] == ["start\n", "die\n"]
    finally:
        watching.kill()
        watching.wait(TIMEOUT_S)
        watching.stdout.close()


def test_events_are_looked_for_again_after_a_change():
    from pyoci.minidocker import events

    read, write = os.pipe()  # the only notice of a commit may come before its rows can be seen
    try:
        os.write(write, b"x")
        looks = [events._wait(read, 0, 0)]
        while looks[-1]:
            looks.append(events._wait(read, 0, looks[-1]))
    finally:
        os.close(read)
        os.close(write)
    assert looks == [3, 2, 1, 0]


# --- cp


def tar_of(**files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    data.seek(0)
    return data


def names_in(data):
    data.seek(0)
    with tarfile.open(fileobj=data) as tar:
        return {member.name: tar.extractfile(member).read() if member.isreg() else None for member in tar}


@pytest.mark.parametrize("running", [True, False])
def test_files_are_copied_both_ways(place, running):
    container_id = place.up("sleep", "1000") if running else place.create("true")
    place.engine.archive_in(container_id, "/tmp", tar_of(a=b"1", folder__b=b"2"))
    sink = io.BytesIO()
    found = place.engine.archive_out(container_id, "/tmp/folder", sink)
    assert found["name"] == "folder"
    assert names_in(sink) == {"folder": None, "folder/b": b"2"}
    with pytest.raises(NotFound, match="Could not find the file /nosuch"):
        place.engine.archive_out(container_id, "/nosuch", io.BytesIO())


def test_copied_file_never_leaves_the_container(place, tmp_path):
    container_id = place.up("sh", "-c", f"ln -s {tmp_path} /tmp/out; ln -s / /tmp/up; echo ready; sleep 1000")
    ready(place, container_id)
    outside = set(tmp_path.iterdir())
    with pytest.raises(NotFound):
        place.engine.archive_in(container_id, "/tmp/out", tar_of(evil=b"x"))
    place.engine.archive_in(container_id, "/tmp/up/tmp", tar_of(evil=b"x"))
    assert set(tmp_path.iterdir()) == outside
    with pytest.raises(BadRequest, match="'..' may not lead out"):
        place.engine.archive_in(container_id, "/tmp", tar_of(**{"..__evil": b"x"}))


def test_copy_sees_what_is_mounted_in_a_running_container(place):
    container_id = place.up("sh", "-c", "echo x > /run/in; echo ready; sleep 1000", Tmpfs={"/run": ""})
    ready(place, container_id)
    sink = io.BytesIO()
    place.engine.archive_out(container_id, "/run/in", sink)
    assert names_in(sink) == {"in": b"x\n"}


def test_cp_places_files_as_docker_does(place, tmp_path):
    container_id = place.create("true")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    (tmp_path / "file").write_text("2")
    copy_in, copy_out = place.engine.copy_in, place.engine.copy_out
    copy_in(container_id, str(tmp_path / "folder"), "/tmp")  # into a folder that is there
    copy_in(container_id, str(tmp_path / "folder"), "/new")  # as one that is not
    copy_in(container_id, str(tmp_path / "folder") + "/.", "/root")  # its contents
    copy_in(container_id, str(tmp_path / "file"), "/tmp/renamed")
    for path, expected in (("/tmp/folder/a", "1"), ("/new/a", "1"), ("/root/a", "1"), ("/tmp/renamed", "2")):
        copy_out(container_id, path, str(tmp_path / "out"))
        assert (tmp_path / "out").read_text() == expected, path
    copy_out(container_id, "/new", str(tmp_path / "whole"))
    assert (tmp_path / "whole" / "a").read_text() == "1"
    with pytest.raises(BadRequest, match="cannot copy directory"):
        copy_out(container_id, "/new", str(tmp_path / "file"))
    with pytest.raises(BadRequest, match="No such file"):
        copy_in(container_id, str(tmp_path / "nosuch"), "/tmp")


# --- update, check, plan


def test_update_changes_a_running_container(place):
    container_id = place.up("sleep", "1000", Memory=64 << 20)
    place.engine.update(container_id, {"Memory": 96 << 20, "MemorySwap": 200 << 20, "RestartPolicy": {"Name": "always"}})
    assert place.engine.stats(container_id)["memory_stats"]["limit"] == 96 << 20
    found = place.engine.inspect(container_id)["HostConfig"]
    assert (found["Memory"], found["RestartPolicy"]["Name"]) == (96 << 20, "always")
    with pytest.raises(BadRequest, match="Minimum memory limit allowed is 6MB"):
        place.engine.update(container_id, {"Memory": 1024})


def test_plan_does_nothing(place):
    text = place.engine.plan_run(place.body("echo", "hi"), "web")
    assert "mount overlay" in text and "runtime create:" in text and "execute echo hi" in text
    assert not list(pathlib.Path(place.roots.data).glob("containers/*"))
    container_id = place.create("true", name="web")
    assert "delete the record of web" in place.engine.plan_remove(container_id)


def test_prune_removes_what_does_not_run(place):
    running, ended = place.up("sleep", "1000"), place.create("true")
    removed, _ = place.engine.prune_containers()
    assert removed == [ended]
    assert [one["Id"] for one in place.engine.list(all=True)] == [running]


def test_prune_tells_what_it_could_not_remove(place, monkeypatch):
    def fail(*_):
        raise MiniDockerError("the disk is broken")

    place.create("true", name="stuck")
    warned = []
    monkeypatch.setattr(place.engine, "warn", warned.append)
    with monkeypatch.context() as broken:
        broken.setattr(containers, "delete", fail)
        assert place.engine.prune_containers() == ([], 0)
    assert warned == ["container stuck is not removed: the disk is broken"]


def test_nothing_is_wrong_after_all_that(place):
    place.up("sleep", "1000")
    place.create("true")
    place.run("true")
    assert place.engine.check() == []
    for document in (place.engine.info(), place.engine.version(), place.engine.system_df()):
        json.dumps(document)


def test_who_ended_with_the_host_has_no_moment_of_its_end(place):
    """As after a reboot, until `system start` settles it: the record says that it runs, and the boot is another one."""
    container_id = place.up("sleep", "1000")
    place.store.db.execute("update containers set boot = 'another' where id = ?", (container_id,))
    assert place.engine.list(all=True)[0]["Status"] == "Exited (137)"
    place.store.db.execute("update containers set boot = ? where id = ?", (containers.identity(os.getpid())[1], container_id))


def test_prune_leaves_a_container_alone_that_run_is_about_to_start(place):
    created = place.engine.create(place.body("true"), starts=True)
    other_id = place.create("true")
    assert place.engine.prune_containers()[0] == [other_id]
    os.close(created.hold)
    assert place.engine.prune_containers()[0] == [created.id]


def test_image_that_goes_while_a_container_is_created_leaves_none(place, monkeypatch):
    from pyoci.minidocker import create
    from pyoci.minidocker.images import records

    find = create.find_image

    def find_and_lose(store, body, **given):
        image = find(store, body, **given)
        records.remove(store, "busybox", force=True)
        return image

    monkeypatch.setattr(create, "find_image", find_and_lose)
    with pytest.raises(NotFound, match="^No such image: busybox$"):
        place.create("true")
    assert os.listdir(f"{place.roots.data}/containers") == []


def test_who_comes_for_the_lock_meanwhile_does_not_hinder_a_removal(place, monkeypatch):
    container_id = place.create("true")
    live, rmdir, came = place.roots.live(container_id), os.rmdir, []

    def come_first(path, *args, **keywords):
        if str(path) == live and not came:
            came.append(pathlib.Path(live, "lock").write_text(""))
        rmdir(path, *args, **keywords)

    monkeypatch.setattr(os, "rmdir", come_first)
    place.engine.remove(container_id)
    assert came and not os.path.exists(live)
