"""Kills at any moment, reboots, and many commands at once: what is left is nothing, or what `check` mends.

MINIDOCKER_KILLS is how many commands are killed (30).
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest
import support
from minidocker_place import RUN, TIMEOUT_S, processes_of

from pyoci.minidocker import check, containers, monitor

pytestmark = pytest.mark.needs("root")
KILLS = int(os.environ.get("MINIDOCKER_KILLS", "30"))


def wait_gone(pid):
    """Wait for the end of a process that is ours to reap."""
    support.wait_for_end(pid)


def test_killed_monitor_takes_its_container_along_with_the_next_command(place):
    container_id = place.up("sleep", "1000", name="web")
    container = place.get(container_id)
    os.kill(container.monitor, signal.SIGKILL)
    wait_gone(container.monitor)
    assert place.engine.check() == [f"container web ({container_id[:12]}): runs without its monitor"]
    place.engine.stop(container_id)
    assert (place.get(container_id).status, place.get(container_id).exit_code) == ("exited", 137)
    assert not containers.is_alive(container.pid, container.pid_started)
    assert place.engine.check() == []
    place.engine.start(container_id)
    assert containers.status_of(place.get(container_id)) == "running"


def test_container_that_ended_without_a_monitor_is_seen_as_exited(place):
    container_id = place.up("sleep", "1000")
    container = place.get(container_id)
    for pid in (container.monitor, container.pid):
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
    assert place.engine.inspect(container_id)["State"]["Status"] == "exited"
    assert place.engine.list() == []
    assert len(place.engine.check(heal=True)) == 1
    assert place.get(container_id).exit_code == 137
    assert place.engine.check() == []


def test_end_whose_recording_is_killed_is_recorded_as_it_was(place, monkeypatch):
    """By the monitor's deed, when the command that was to do it is gone."""

    def killed(container, _db, **columns):
        if "exit_code" in columns:
            raise KeyboardInterrupt
        return update(container, _db, **columns)

    update = containers.Container.update
    container_id = place.up("sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do busybox usleep 10000; done")
    place.until(lambda: place.log(container_id))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(containers.Container, "update", killed)
        place.engine.stop(container_id)
    place.until(lambda: place.get(container_id).status == "exited")
    assert place.get(container_id).exit_code == 3


def test_exit_that_a_killed_command_left_is_no_later_life_s(place):
    container_id = place.up("sleep", "1000")
    place.engine.stop(container_id, timeout_s=0)
    left = pathlib.Path(place.get(container_id).live, "exit")
    left.write_text('{"status":9,"signal":0,"pid":1,"time_ns":1}')
    place.engine.start(container_id)
    assert not left.exists()


def test_killed_foreground_command_leaves_the_container_running(place):
    body = place.body("sh", "-c", "echo ready; read x; exit 6", OpenStdin=True)
    running = subprocess.Popen(place.arguments(RUN, json.dumps({"body": body, "name": "web"})), stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    running.kill()
    running.wait(TIMEOUT_S)
    running.stdout.close()
    container = place.get("web")
    assert containers.status_of(container) == "running"
    link = monitor.connect(container.live)
    link.attach(monitor.WANTS_IN)
    link.say(monitor.INPUT, b"x\n")
    assert link.wait_exit() == (False, 6)
    link.close()
    assert (place.get("web").status, place.get("web").exit_code) == ("exited", 6)


def test_start_whose_command_is_killed_is_recorded_by_the_monitor(place):
    container_id = place.create("sleep", "1000")
    # The moment between the start and its record: the command dies where it would write that down.
    code = """
    from pyoci.minidocker import containers
    containers.Container.update = lambda *_, **__: os.kill(os.getpid(), 9)
    engine.start(sys.argv[4])
"""
    assert place.command(code, container_id).returncode == -9
    place.until(lambda: place.get(container_id).status == "running")
    container = place.get(container_id)
    assert container.is_process_alive() and container.is_monitor_alive()
    place.engine.stop(container_id, 0)
    assert place.get(container_id).exit_code == 137


def test_start_that_was_killed_half_way_is_begun_anew(place):
    container_id = place.create("sleep", "1000")
    code = """
    from pyoci.minidocker import monitor
    monitor.Wiring = lambda *_: os.kill(os.getpid(), 9)
    engine.start(sys.argv[4])
"""
    assert place.command(code, container_id).returncode == -9
    assert os.path.ismount(place.get(container_id).rootfs)
    assert "its file system is mounted" in place.engine.check()[0]
    place.engine.start(container_id)
    place.engine.stop(container_id, 0)
    assert not os.path.ismount(place.get(container_id).rootfs)


@pytest.mark.skipif(not os.environ.get("MINIDOCKER_MANY"), reason="needs MINIDOCKER_MANY: 200 containers take a minute")
def test_two_hundred_containers_leave_the_host_as_it_was(place):
    before = support.snapshot()
    for start in range(0, 200, 20):
        names = [place.up("sleep", "1000", name=f"one-{number}") for number in range(start, start + 20)]
        for name in names:
            place.engine.remove(name, force=True)
        support.reap()
    place.until(lambda: (support.reap(), not processes_of(place.roots))[1], "the end of every monitor")
    support.assert_unchanged(before)
    assert place.engine.check() == []


def test_commands_killed_at_any_moment_leave_nothing_that_check_cannot_mend(place):
    chance = random.Random(4)
    scripts = [
        "    made = engine.create({'Image': 'busybox', 'Cmd': ['true'], 'HostConfig': {'NetworkMode': 'none', 'AutoRemove': True}})\n"
        "    status = engine.run_attached(made.id)\n",
        "    made = engine.create({'Image': 'busybox', 'Cmd': ['sleep', '1000'], 'HostConfig': {'NetworkMode': 'none'}})\n    engine.start(made.id)\n"
        "    engine.remove(made.id, force=True)\n",
        "    made = engine.create({'Image': 'busybox', 'Cmd': ['sleep', '1000'], 'HostConfig': {'NetworkMode': 'none'}})\n    engine.start(made.id)\n"
        "    engine.restart(made.id, 0)\n    engine.stop(made.id, 0)\n",
    ]
    for number in range(KILLS):
        process = subprocess.Popen(place.arguments(scripts[number % 3]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(chance.uniform(0.05, 0.4))
        process.kill()
        process.wait(TIMEOUT_S)
        if number % 5 == 4:
            for container in containers.all_containers(place.store):
                if container.is_monitor_alive() and chance.random() < 0.5:
                    os.kill(container.monitor, signal.SIGKILL)
        support.reap()
    check.YOUNG_S, before = 0, check.YOUNG_S
    try:
        place.until(lambda: (support.reap(), not place.engine.check(heal=True))[1], "a healthy place")
    finally:
        check.YOUNG_S = before
    for container in containers.all_containers(place.store):
        place.engine.remove(container.id, force=True)
    left = [str(path) for root in (place.roots.data, place.roots.run) for path in pathlib.Path(root).glob("containers/*")]
    assert left == [] and place.engine.check() == []


def test_twenty_commands_at_once(place):
    bodies = [json.dumps({"body": place.body("sh", "-c", f"echo {number}", AutoRemove=bool(number % 2)), "name": f"one-{number}"}) for number in range(20)]
    running = [subprocess.Popen(place.arguments(RUN, body), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for body in bodies]
    assert [process.communicate(timeout=120)[0] for process in running] == [f"{number}\n".encode() for number in range(20)]
    assert [process.returncode for process in running] == [0] * 20
    assert len(containers.all_containers(place.store)) == 10
    assert place.engine.check() == []


def test_commands_that_race_for_one_container_have_one_winner(place):
    container_id = place.create("sleep", "1000")
    codes = ["    engine.start(sys.argv[4])\n"] * 5 + ["    engine.stop(sys.argv[4], 0)\n"] * 3 + ["    engine.restart(sys.argv[4], 0)\n"] * 2
    running = [subprocess.Popen(place.arguments(code, container_id), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for code in codes]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 10, said
    assert place.engine.check() == []
    place.until(lambda: (support.reap(), len([one for one in processes_of(place.roots) if "minidocker-monitor" in one]) <= 1)[1], "one monitor")
    place.engine.remove(container_id, force=True)


def test_name_is_given_once(place):
    code = "    engine.create(json.loads(sys.argv[4]), 'web')\n"
    running = [subprocess.Popen(place.arguments(code, json.dumps(place.body("true"))), stderr=subprocess.PIPE) for _ in range(6)]
    said = [process.communicate(timeout=120)[1].decode() for process in running]
    assert sorted(process.returncode for process in running) == [0] + [125] * 5
    assert all("is already in use by container" in text for text in said if text)
    assert len(os.listdir(f"{place.roots.data}/containers")) == 1


def reboot(place):
    """What a reboot leaves: no process, no run root, another boot id than the records'."""
    for container in containers.all_containers(place.store):
        for pid in (container.monitor, container.pid):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                wait_gone(pid)
        place.engine.store.db.execute("update containers set boot = 'another' where boot <> ''")
        if os.path.ismount(container.rootfs):
            support.umount(container.rootfs)
    for folder in pathlib.Path("/sys/fs/cgroup").glob("*/minidocker/*"):
        if folder.is_dir() and folder.name in [container.id for container in containers.all_containers(place.store)]:
            place.until(lambda folder=folder: _removed(folder))
    place.until(lambda: (support.reap(), not processes_of(place.roots))[1], "the end of every process")
    shutil.rmtree(place.roots.run)
    os.mkdir(place.roots.run)


def _removed(folder):
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.needs("cgroup1")
def test_after_a_reboot_policies_hold(place):
    names = {
        "always": place.up("sleep", "1000", name="always", RestartPolicy={"Name": "always"}),
        "stopped": place.up("sleep", "1000", name="stopped", RestartPolicy={"Name": "unless-stopped"}),
        "never": place.up("sleep", "1000", name="never"),
    }
    place.engine.stop("stopped", 0)
    reboot(place)
    assert {one["State"] for one in place.engine.list(all=True)} == {"exited"}
    assert place.engine.system_start() == [names["always"]]
    assert containers.status_of(place.get("always")) == "running"
    assert {place.get(name).status for name in ("stopped", "never")} == {"exited"}
    assert place.engine.check() == []


def test_full_disk_is_one_clear_error_and_loses_nothing(place, tmp_path):
    """Whatever is left on the disk, from nothing to enough: a container runs whole, or an error says why, and afterwards nothing is wrong."""
    from minidocker_place import Place

    small = tmp_path / "small"
    small.mkdir()
    support.mount("small", small, "tmpfs", data="size=4m")
    try:
        full = Place(small)
        outcomes = []
        for pages in (0, 1, 2, 3, 4, 6, 8, 10, 14, 20, 40):
            filler = small / "filler"
            with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            os.truncate(filler, filler.stat().st_size - 4096 * pages)
            done = full.run("echo", "hi", name=f"with-{pages}")
            outcomes.append(done.returncode)
            assert done.stdout == "hi\n" or (done.returncode and len(done.stderr.splitlines()) == 1), (pages, done.returncode, done.stdout, done.stderr)
            assert "internal error" not in done.stderr and "Traceback" not in done.stderr, done.stderr
            filler.unlink()
            check.YOUNG_S, before = 0, check.YOUNG_S
            try:
                place.until(lambda: (support.reap(), not full.engine.check(heal=True))[1], "a healthy place")
            finally:
                check.YOUNG_S = before
        assert outcomes[-1] == 0 and outcomes[0] != 0
        full.clean()
        full.engine.close()
        place.until(lambda: (support.reap(), not processes_of(full.roots))[1], "the end of every monitor")
    finally:
        support.umount(small)
