"""list, ps, pause, resume, update, events, the plan that create carries out, and what a waiting container costs."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import support
from watching import Running, ended

from pyoci.launch import host
from pyoci.plan import wire
from pyoci.plan.ops import HOST, TABLE

cgroup1 = pytest.mark.needs("cgroup1")


def cgroup_file(pyoci, name, controller, file):
    record = json.loads((pyoci.root / name / "state.json").read_text())
    return pathlib.Path(record["cgroups"][controller], file)


def value(pyoci, name, controller, file):
    return cgroup_file(pyoci, name, controller, file).read_text().strip()


# --- looking


def test_list_has_every_container_and_its_status(bundle, pyoci):
    created = pyoci.create(bundle)
    running = pyoci.start(support.Bundle(bundle.path / "other"))
    shown = {one["id"]: one for one in json.loads(pyoci.ok("list", "--format", "json"))}
    assert {name: one["status"] for name, one in shown.items()} == {created: "created", running: "running"}
    assert shown[created]["bundle"] == str(bundle.path) and shown[created]["owner"] == "root"
    assert pyoci.ok("list", "--quiet").split() == sorted([created, running])
    header, *rows = pyoci.ok("list").splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] and len(rows) == 2


def test_list_leaves_out_a_damaged_container_and_tells(bundle, pyoci):
    whole, damaged = pyoci.create(bundle), pyoci.create(support.Bundle(bundle.path / "other"))
    record = pyoci.root / damaged / "state.json"
    text = record.read_text()
    record.write_text(text[:20])
    done = pyoci("list", "--quiet")
    assert (done.returncode, done.stdout.split()) == (0, [whole])
    assert damaged in done.stderr
    record.write_text(text)


def test_list_of_a_missing_root_says_so(pyoci):
    assert pyoci.fails("list") == f"open {pyoci.root}: No such file or directory (ENOENT)"


def test_ps_shows_the_containers_processes_and_no_others(bundle, pyoci):
    os.mkfifo(bundle.rootfs / "tmp/fifo")
    bundle.shell("sleep 1001 & sleep 1002 & echo > /tmp/fifo; wait")
    name = pyoci.start(bundle)
    (bundle.rootfs / "tmp/fifo").read_text()
    pids = json.loads(pyoci.ok("ps", "--format", "json", name))
    # A child that has not become sleep yet shows the shell's words.
    support.until(lambda: sorted(pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1] for pid in pids) == ["-c", "1001", "1002"])
    table = pyoci.ok("ps", name).splitlines()
    assert len(table) == 4 and "sleep 1001" in "\n".join(table)


# --- pausing


def test_paused_container_stands_still_until_it_is_resumed(bundle, pyoci):
    bundle.shell("while read line; do echo got $line; done")
    name = pyoci.new_id()
    with Running(pyoci, "run", "--bundle", bundle.path, name, stdin=subprocess.PIPE) as run:
        run.process.stdin.write(b"one\n")
        run.process.stdin.flush()
        assert run.line() == "got one"
        pyoci.ok("pause", name)
        assert pyoci.state(name)["status"] == "paused"
        assert pyoci.fails("pause", name).endswith("container not running")
        run.process.stdin.write(b"two\n")
        run.process.stdin.close()
        pyoci.ok("resume", name)
        assert run.line() == "got two"
        assert run.status() == 0


def test_resume_of_a_running_container_is_refused(bundle, pyoci):
    assert pyoci.fails("resume", pyoci.start(bundle)).endswith("container not paused")


def test_paused_container_can_be_killed_and_deleted(bundle, pyoci):
    for words in (("kill", "{}", "KILL"), ("delete", "--force", "{}")):
        name = pyoci.start(bundle)
        pidfd = os.pidfd_open(pyoci.pid(name))
        pyoci.ok("pause", name)
        pyoci.ok(*(word.format(name) for word in words))
        ended(pidfd)
        os.close(pidfd)


# --- updating

UPDATES = [
    ("--pids-limit", "17", "pids", "pids.max", "17"),
    ("--pids-limit", "-1", "pids", "pids.max", "max"),
    ("--memory", "64m", "memory", "memory.limit_in_bytes", str(64 << 20)),
    ("--memory-reservation", "32m", "memory", "memory.soft_limit_in_bytes", str(32 << 20)),
    ("--cpu-share", "256", "cpu", "cpu.shares", "256"),
    ("--cpu-quota", "50000", "cpu", "cpu.cfs_quota_us", "50000"),
    ("--cpu-period", "50000", "cpu", "cpu.cfs_period_us", "50000"),
    ("--cpuset-cpus", "0", "cpuset", "cpuset.cpus", "0"),
    ("--cpuset-mems", "0", "cpuset", "cpuset.mems", "0"),
]


@cgroup1
@pytest.mark.parametrize(("flag", "word", "controller", "file", "found"), UPDATES, ids=[f"{row[0]}={row[1]}" for row in UPDATES])
def test_flag_of_update_changes_its_file(bundle, pyoci, flag, word, controller, file, found):
    name = pyoci.start(bundle)
    pyoci.ok("update", flag, word, name)
    assert value(pyoci, name, controller, file) == found


@cgroup1
def test_update_that_fails_half_way_leaves_the_old_limits(bundle, pyoci, tmp_path):
    bundle.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 40}, "cpu": {"shares": 300}}
    name = pyoci.start(bundle.write())
    files = [("memory", "memory.limit_in_bytes"), ("pids", "pids.max"), ("cpu", "cpu.shares"), ("cpuset", "cpuset.cpus")]
    before = [value(pyoci, name, *file) for file in files]
    line = pyoci.fails("update", "--pids-limit", "50", "--memory", "32m", "--cpu-share", "400", "--cpuset-cpus", "4000", name)
    assert "cpuset.cpus" in line
    assert [value(pyoci, name, *file) for file in files] == before


@cgroup1
def test_update_remembers_what_it_changed(bundle, pyoci, tmp_path):
    """The swap limit, which counts memory too, is judged against the memory limit of an earlier update."""
    name = pyoci.start(bundle)
    (tmp_path / "resources").write_text(json.dumps({"memory": {"limit": 32 << 20}, "pids": {"limit": 9}}))
    pyoci.ok("update", "--resources", tmp_path / "resources", name)
    pyoci.ok("update", "--cpu-share", "512", name)
    assert value(pyoci, name, "memory", "memory.limit_in_bytes") == str(32 << 20)
    record = json.loads((pyoci.root / name / "state.json").read_text())
    assert (record["resources"]["pids"], record["resources"]["cpu"]["shares"]) == ({"limit": 9}, 512)


def test_update_of_a_stopped_container_is_refused(bundle, pyoci):
    name = pyoci.start(bundle)
    pyoci.ok("kill", name, "KILL")
    support.wait_until_stopped(pyoci, name)
    assert pyoci.fails("update", "--pids-limit", "5", name).endswith("container not running")


# --- events


def test_stats_of_a_container_are_its_own(bundle, pyoci):
    bundle.linux["resources"] = {"pids": {"limit": 33}, "memory": {"limit": 50 << 20}}
    name = pyoci.start(bundle.write())
    event = json.loads(pyoci.ok("events", "--stats", name))
    assert (event["type"], event["id"]) == ("stats", name)
    assert event["data"]["pids"] == {"current": 1, "limit": 33}
    assert event["data"]["memory"]["usage"]["limit"] == 50 << 20
    assert 0 < event["data"]["memory"]["usage"]["usage"] < 50 << 20
    assert event["data"]["cpu"]["usage"]["total"] > 0


def test_events_end_with_the_container(bundle, pyoci):
    name = pyoci.start(bundle)
    with Running(pyoci, "events", "--interval", "10ms", name) as events:
        assert json.loads(events.line())["type"] == "stats"
        pyoci.ok("delete", "--force", name)
        while events.line():
            pass
        assert events.status() == 0


@cgroup1
def test_events_tell_of_a_process_that_was_killed_for_want_of_memory(bundle, pyoci):
    os.mkfifo(bundle.rootfs / "tmp/fifo")
    bundle.linux["resources"] = {"memory": {"limit": 8 << 20}}
    bundle.shell("read line < /tmp/fifo; dd if=/dev/zero of=/dev/null bs=64M count=1; exec sleep 1000")
    name = pyoci.start(bundle)
    with Running(pyoci, "events", "--interval", "1h", name) as events:
        assert json.loads(events.line())["type"] == "stats"
        (bundle.rootfs / "tmp/fifo").write_text("go\n")
        assert json.loads(events.line()) == {"type": "oom", "id": name}


def test_stats_of_a_stopped_container_are_refused(bundle, pyoci):
    name = pyoci.start(bundle)
    pyoci.ok("kill", name, "KILL")
    support.wait_until_stopped(pyoci, name)
    assert pyoci.fails("events", "--stats", name).endswith(f"container with id {name} is not running")


# --- the plan can't lie


def test_create_carries_out_the_very_list_that_plan_shows(bundle, pyoci, monkeypatch):
    """What HOST does is seen where it does it; what INIT is given is seen in the bytes that it is sent."""
    bundle.linux["resources"] = {"pids": {"limit": 30}, "cpu": {"shares": 50}}
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}], "startContainer": [{"path": "/bin/true"}]}
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 2**64 - 1 if os.geteuid() else 64}]
    bundle.write()
    name = pyoci.new_id()
    shown = pyoci.api().plan(str(bundle.path), name, detach=True).create
    done, sent = [], []

    def watched(number, deed):
        def call(launch, *args):
            done.append((TABLE[number][0], args))
            return deed(launch, *args)

        return call

    for number, deed in list(host.DEEDS.items()):
        monkeypatch.setitem(host.DEEDS, number, watched(number, deed))
    encode = wire.encode
    monkeypatch.setattr(wire, "encode", lambda ops: sent.extend((op.name, op.args) for op in ops) or encode(ops))
    pyoci.api().create(name, str(bundle.path))
    wanted = [(op.name, op.args) for op in shown]
    assert sent == wanted
    assert sorted(map(repr, done)) == sorted(repr(one) for one, op in zip(wanted, shown) if op.actor == HOST)
    document = json.loads(pyoci.ok("plan", "--json", bundle.path))
    assert [one["operation"] for one in document["acts"]["create"]] == [op.name for op in shown]


def test_plan_does_nothing(bundle, pyoci, tmp_path):
    before = support.snapshot(tmp_path)
    assert pyoci.ok("plan", bundle.path).startswith("create:\n")
    support.assert_unchanged(before)


# --- what a waiting container costs


def test_waiting_container_costs_at_most_64_kB(bundle, pyoci):
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kcmp"], "action": "SCMP_ACT_ERRNO"}]}
    pid = pyoci.pid(pyoci.create(bundle.write()))
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    assert int(re.search(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)[1]) <= 64


def test_waiting_container_holds_no_descriptor_of_the_runtime(bundle, pyoci):
    pid = pyoci.pid(pyoci.create(bundle))
    held = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    extra = {number: target for number, target in held.items() if number > 2}
    assert all(target.startswith(("socket:", "/memfd:", "/", "anon_inode")) for target in extra.values())
    assert len(extra) <= 2, held


def test_process_cannot_be_read_as_the_hosts_program(bundle, pyoci):
    """What /proc/PID/exe of a waiting container leads to is nobody's file (CVE-2019-5736)."""
    pid = pyoci.pid(pyoci.create(bundle))
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:pyoci-init")
    with pytest.raises(OSError):
        os.open(f"/proc/{pid}/exe", os.O_WRONLY)
