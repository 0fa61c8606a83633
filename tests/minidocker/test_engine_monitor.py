"""The monitor: the log's form and rotation, its clients, the terminal, health checks, and what it costs."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time

import pytest
from minidocker_place import RUN, TIMEOUT_S, Typist

from pyoci.kernel import calls
from pyoci.minidocker import containers, monitor
from pyoci.minidocker.attach import DETACHED, DetachKeys, parse_keys
from pyoci.minidocker.errors import BadRequest, Conflict
from pyoci.minidocker.health import Check, judge

pytestmark = pytest.mark.needs("root")

MS_REMOUNT = 32
ROWS = [
    pytest.param(b'a "b" \\ \t <&> \x01\n', 'a "b" \\ \t <&> \x01\n', id="escapes"),
    pytest.param("grün 漢 😀 \u2028\n".encode(), "grün 漢 😀 \u2028\n", id="utf-8"),
    pytest.param(b"\xff\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82\n", "\ufffd" * 3 + " " + "\ufffd" * 3 + " " + "\ufffd" * 4 + " " + "\ufffd" * 2 + "\n",
                 id="not-utf-8"),
    pytest.param(b"no end", "no end", id="no-end-of-line"),
    pytest.param(b"\r\n\n", None, id="empty-lines"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "expected"), ROWS)
def test_any_bytes_become_a_line_of_json(place, tmp_path, written, expected):
    (tmp_path / "bytes").write_bytes(written)
    container_id = place.up("cat", "/bytes", Binds=[f"{tmp_path / 'bytes'}:/bytes:ro"])
    place.engine.wait(container_id)
    lines = [line["log"] for line in place.log(container_id)]
    assert lines == (["\r\n", "\n"] if expected is None else [expected])


def test_container_that_ends_before_its_monitor_begins_is_seen(place):
    code = """
    from pyoci.minidocker import monitor
    begin = monitor.exec_monitor
    def late(*words):
        for _ in range(2):  # the creator, and the container's process, which comes to us with the creator's end
            for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split():
                os.waitid(os.P_PID, int(pid), os.WEXITED | os.WNOWAIT)
        begin(*words)
    monitor.exec_monitor = late
    engine.start(sys.argv[4])
"""
    container_id = place.create("sh", "-c", "exit 5")
    assert place.command(code, container_id).returncode == 0
    assert place.engine.wait(container_id) == 5


def test_log_escapes_as_dockers_does(place, tmp_path):
    (tmp_path / "bytes").write_bytes(b"<\t\x7f\n")
    container_id = place.up("cat", "/bytes", Binds=[f"{tmp_path / 'bytes'}:/bytes:ro"])
    place.engine.wait(container_id)
    raw = pathlib.Path(place.get(container_id).folder, "log.json").read_bytes()
    assert raw.startswith(b'{"log":"\\u003c\\u0009\x7f\\n","stream":"stdout","time":"2')


def test_long_line_is_logged_in_parts(place):
    container_id = place.up("sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo")
    place.engine.wait(container_id)
    assert [line["log"] for line in place.log(container_id)] == ["x" * 16384, "x" * 16384, "x" * 7232 + "\n"]


def test_part_never_cuts_a_character(place, tmp_path):
    (tmp_path / "bytes").write_bytes(b"x" + "漢".encode() * 6000 + b"\n")
    container_id = place.up("cat", "/bytes", Binds=[f"{tmp_path / 'bytes'}:/bytes:ro"])
    place.engine.wait(container_id)
    assert "".join(line["log"] for line in place.log(container_id)) == "x" + "漢" * 6000 + "\n"


def test_log_is_rotated(place):
    config = {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3"}}
    container_id = place.up("sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done", LogConfig=config)
    place.engine.wait(container_id)
    folder = pathlib.Path(place.get(container_id).folder)
    assert sorted(path.name for path in folder.glob("log.json*")) == ["log.json", "log.json.1", "log.json.2"]
    assert all(path.stat().st_size < 10240 + 4096 * 6 for path in folder.glob("log.json*"))
    kept = [text for _, _, text in place.engine.logs(container_id)]
    assert kept == [f"line-{number}\n".encode() for number in range(2000 - len(kept), 2000)]


def test_no_log_where_none_is_wanted(place):
    done = place.run("echo", "hi", name="web", LogConfig={"Type": "none"})
    assert done.stdout == "hi\n"
    assert not list(pathlib.Path(place.get("web").folder).glob("log.json*"))
    with pytest.raises(BadRequest, match="configured logging driver does not support reading"):
        list(place.engine.logs("web"))


def test_full_disk_costs_lines_and_never_the_container(place, tmp_path):
    import support

    container_id = place.create("sh", "-c", "read x; i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done; read x; echo after", OpenStdin=True)
    small = tmp_path / "small"
    small.mkdir()
    support.mount("small", small, "tmpfs", data="size=200k")
    try:
        container = place.get(container_id)
        os.rename(container.folder, f"{container.folder}.real")
        os.symlink(small, container.folder)
        for name in os.listdir(f"{container.folder}.real"):
            os.rename(f"{container.folder}.real/{name}", f"{small}/{name}")
        link = start_on_small_disk(place, container_id)
        link.say(monitor.INPUT, b"go\n")
        wait_for_output(link, b"line-2999\n")
        support.mount("small", small, "tmpfs", flags=MS_REMOUNT, data="size=1m")
        link.say(monitor.INPUT, b"go\n")
        assert link.wait_exit()[1] == 0
        link.close()
        lines = [json.loads(line)["log"] for line in (small / "log.json").read_bytes().splitlines()]
        kept = [line for line in lines if not line.startswith("minidocker: ")]
        lost = sum(int(line.split()[4]) for line in lines if line.startswith("minidocker: the log lost "))
        # A short line may still fit where a longer one did not: then it is told more than once, and every line is counted once.
        assert lines[-1] == "after\n" and len(kept) + lost == 3001 and lost > 100
        numbers = [int(line.partition("-")[2]) for line in kept[:-1]]
        assert numbers == sorted(set(numbers))
    finally:
        place.engine.kill(container_id) if containers.status_of(place.get(container_id)) == "running" else None
        place.engine.wait(container_id)
        support.umount(small)
        os.unlink(container.folder)
        os.rmdir(f"{container.folder}.real")
        os.mkdir(container.folder)


def start_on_small_disk(place, container_id):
    """Start it, and take part in its streams."""
    place.engine.start(container_id)
    link = monitor.connect(place.get(container_id).live)
    link.attach(monitor.WANTS_OUT | monitor.WANTS_IN)
    return link


def wait_for_output(link, end):
    seen = b""
    while not seen.endswith(end):
        kind, data = link.receive()
        assert kind, seen[-100:]
        seen += data


def test_every_client_sees_the_output(place):
    container_id = place.up("sh", "-c", "read x; echo $x", OpenStdin=True)
    links = [monitor.connect(place.get(container_id).live) for _ in range(5)]
    for link in links:
        link.attach(monitor.WANTS_OUT | monitor.WANTS_IN)
    links[0].say(monitor.INPUT, b"hello\n")
    for link in links:
        assert link.receive() == (monitor.OUT, b"hello\n")
        assert link.wait_exit() == (False, 0)
        link.close()


def test_client_that_does_not_read_is_dropped_and_the_log_is_whole(place):
    container_id = place.up("sh", "-c", "read x; head -c 3000000 /dev/zero | tr '\\0' x; echo end", OpenStdin=True)
    lazy, giver = (monitor.connect(place.get(container_id).live) for _ in range(2))
    lazy.attach(monitor.WANTS_OUT)
    giver.attach(monitor.WANTS_IN)
    giver.say(monitor.INPUT, b"go\n")
    assert place.engine.wait(container_id) == 0
    assert b"".join(text for _, _, text in place.engine.logs(container_id)) == b"x" * 3_000_000 + b"end\n"
    lazy.close()
    giver.close()


def test_input_ends_with_its_giver_only_where_it_is_asked_for(place):
    for once, status in ((True, 1), (False, 0)):
        container_id = place.up("sh", "-c", "read x || exit 1; exit 0", OpenStdin=True, StdinOnce=once)
        first = monitor.connect(place.get(container_id).live)
        first.attach(monitor.WANTS_IN)
        first.close()
        if not once:
            second = monitor.connect(place.get(container_id).live)
            second.attach(monitor.WANTS_IN)
            second.say(monitor.INPUT, b"x\n")
            second.close()
        assert place.engine.wait(container_id) == status


def test_container_ends_though_others_go_on_writing(place):
    """Without a pid namespace its first process leaves others behind: three who write lines faster than one can log them."""
    command = ("sh", "-c", "read x; busybox yes & busybox yes & busybox yes & busybox usleep 200000; exit 3")
    container_id = place.up(*command, OpenStdin=True, PidMode="host", LogConfig={"Config": {"max-size": "1m"}})
    container = place.get(container_id)
    link = monitor.connect(container.live)
    link.attach(monitor.WANTS_OUT | monitor.WANTS_IN)
    link.say(monitor.INPUT, b"go\n")
    place.until(lambda: not container.is_process_alive())
    seen, kind = 0, monitor.OUT
    while kind == monitor.OUT:
        kind, data = link.receive()
        seen += len(data)
        assert seen < 8 << 20
        if seen % (64 * monitor.PACKET_BYTES) == 0:
            time.sleep(0.02)
    assert (kind, monitor.read_exit(data)) == (monitor.EXIT, (False, 3))
    link.close()


def are_refused(links):
    """Whether the monitor has told as many of them as it can't have that there is no place."""
    return sum(bool(calls.poll([(link.fileno(), calls.POLLIN)], 0)) for link in links) >= len(links) - monitor.CLIENTS


def test_who_comes_too_many_is_told(place):
    container_id = place.up("sleep", "1000")
    live = place.get(container_id).live
    links = [monitor.connect(live) for _ in range(monitor.CLIENTS + 2)]
    place.until(lambda: are_refused(links))
    links += [monitor.connect(live) for _ in range(2)]  # again: at first its starter may still have had a place
    place.until(lambda: are_refused(links))
    with pytest.raises(Conflict, match="^64 commands are attached to the container or wait for it: no more can$"):
        place.engine.wait(container_id)
    with pytest.raises(Conflict, match="no more can$"):
        place.engine.exec(container_id, {"Cmd": ["true"]}, detach=True)
    place.engine.stop(container_id, timeout_s=0)
    assert place.get(container_id).status == "exited"
    told = []
    for link in links:
        with contextlib.suppress(Conflict):
            told.append(link.wait_exit())
        link.close()
    assert told == [(False, 137)] * monitor.CLIENTS


# --- a terminal


def test_terminal_has_our_size_and_takes_our_keys(place):
    body = place.body("sh", Tty=True, OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True)
    typist = Typist(place, RUN, json.dumps({"body": body, "name": "web"}))
    typist.expect(b"# ")
    typist.type(b"tty; busybox stty size\n")
    typist.expect(b"/dev/pts/0")
    typist.expect(b"33 77")
    typist.type(b"exit 6\n")
    assert typist.close() == 6
    assert "/dev/pts/0\r\n" in [line["log"] for line in place.log("web")]


def test_keys_detach_and_the_container_goes_on(place):
    code = RUN + f"    status = 42 if status == {DETACHED} else status\n"
    body = place.body("sh", Tty=True, OpenStdin=True, AttachStdin=True, AttachStdout=True)
    typist = Typist(place, code, json.dumps({"body": body, "name": "web"}))
    typist.expect(b"# ")
    typist.type(b"\x10\x11")
    assert typist.close() == 42
    assert containers.status_of(place.get("web")) == "running"
    again = Typist(place, "    status = engine.attach('web')\n")
    again.type(b"echo back\n")
    again.expect(b"back\r\n")
    again.type(b"exit\n")
    assert again.close() == 0


def test_exec_has_a_terminal_of_its_own(place):
    place.up("sleep", "1000", name="web")
    code = "    status = engine.exec('web', {'Cmd': ['sh'], 'Tty': True, 'AttachStdin': True})\n"
    typist = Typist(place, code)
    typist.expect(b"# ")
    typist.type(b"tty; exit 4\n")
    typist.expect(b"/dev/pts/")
    assert typist.close() == 4


def test_exec_reads_our_input_only_where_it_is_asked_to(place, tmp_path):
    place.up("sleep", "1000", name="web")
    (tmp_path / "in").write_text("hello\n")
    for asked, expected in ((True, "hello\n"), (False, "")):
        code = f"    status = engine.exec('web', {{'Cmd': ['cat'], 'AttachStdin': {asked}}})\n"
        with open(tmp_path / "in") as file:
            assert place.command(code, stdin=file).stdout == expected


def test_detached_exec_with_a_terminal_keeps_it(place):
    place.up("sleep", "1000", name="web")
    code = "    status = engine.exec('web', {'Cmd': ['sh', '-c', 'tty > /tmp/seen; sleep 1000'], 'Tty': True}, detach=True)\n"
    assert place.command(code).returncode == 0
    seen = pathlib.Path(place.get("web").rootfs, "tmp/seen")
    place.until(lambda: seen.exists() and seen.read_text())
    assert seen.read_text().startswith("/dev/pts/")
    assert any("sleep 1000" in row[-1] and row[-2] for row in place.engine.top("web")["Processes"])


def test_detached_exec_waits_for_no_caller_that_was_killed(place):
    container_id = place.up("sleep", "1000")
    done = place.command("""
    from pyoci.minidocker import containers, execute
    container = containers.find(engine.store, sys.argv[4])
    path = f"{container.live}/exec-0"
    with open(path, "w") as file:
        json.dump(execute.process_of(container, {"Cmd": ["touch", "/made"]}), file)
    os.mkfifo(f"{path}.said")
    assert execute.carry_out_detached(engine.store, container.id, "exec-0") == ""
    assert execute.carry_out_detached(engine.store, container.id, "exec-0") == ""  # his files are gone
    """, container_id)
    assert (done.returncode, done.stderr) == (0, "")
    place.until(pathlib.Path(place.get(container_id).rootfs, "made").exists)
    assert not [name for name in os.listdir(place.get(container_id).live) if name.startswith("exec-")]


def test_detach_keys_are_found_wherever_they_are_split():
    keys = DetachKeys(parse_keys(""))
    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.feed(b"c") == (b"\x10c", False)
    assert keys.feed(b"\x10\x10") == (b"\x10", False)
    assert keys.feed(b"\x11rest") == (b"", True)
    with pytest.raises(BadRequest, match="unknown character"):
        parse_keys("ctrl-")


def test_signal_to_the_foreground_command_reaches_the_container(place):
    code = RUN
    body = place.body("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done", AttachStdout=True)
    running = subprocess.Popen(place.arguments(code, json.dumps({"body": body, "name": "web"})), stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    running.terminate()
    assert running.wait(TIMEOUT_S) == 9
    running.stdout.close()


# --- health


def test_healthy_and_unhealthy_are_told(place):
    check = {"Test": ["CMD-SHELL", "test -e /tmp/ok"], "Interval": 100_000_000, "Retries": 2}
    container_id = place.up("sleep", "1000", Healthcheck=check)
    assert place.engine.inspect(container_id)["State"]["Health"]["Status"] == "starting"
    place.until(lambda: place.engine.inspect(container_id)["State"]["Health"]["Status"] == "unhealthy")
    pathlib.Path(place.get(container_id).rootfs, "tmp/ok").touch()
    place.until(lambda: place.engine.inspect(container_id)["State"]["Health"]["Status"] == "healthy")
    health = place.engine.inspect(container_id)["State"]["Health"]
    assert health["FailingStreak"] == 0 and 1 <= len(health["Log"]) <= 5 and health["Log"][-1]["ExitCode"] == 0
    assert [action for action in place.actions(container_id) if "health" in action] == ["health_status: unhealthy", "health_status: healthy"]


def test_check_that_hangs_is_ended(place):
    check = {"Test": ["CMD", "sleep", "1000"], "Interval": 100_000_000, "Timeout": 200_000_000, "Retries": 1}
    container_id = place.up("sleep", "2000", Healthcheck=check)
    place.until(lambda: place.engine.inspect(container_id)["State"]["Health"]["Status"] == "unhealthy")
    assert "exceeded timeout" in place.engine.inspect(container_id)["State"]["Health"]["Log"][0]["Output"]


def test_check_that_writes_without_end_is_kept_short(place):
    script = "echo first; exec busybox yes >&2"
    check = {"Test": ["CMD-SHELL", script], "Interval": 100_000_000, "Timeout": 500_000_000, "Retries": 1}
    container_id = place.up("sleep", "2000", Healthcheck=check)
    place.until(lambda: place.engine.inspect(container_id)["State"]["Health"]["Log"])
    other = {"Test": ["CMD-SHELL", "echo first; busybox head -c 100000 /dev/zero; a=$(busybox readlink /proc/$$/fd/1); echo $a >/held; exit 3"], "Interval": 100_000_000}
    other_id = place.up("sleep", "2000", Healthcheck=other)
    result = place.until(lambda: place.engine.inspect(other_id)["State"]["Health"]["Log"])[0]
    assert (result["ExitCode"], result["Output"]) == (3, "first\n" + "\0" * 4090)
    assert pathlib.Path(place.get(other_id).rootfs, "held").read_text().startswith("pipe:")


def test_check_may_leave_a_process_behind(place):
    script = "echo first; mkdir /once && (while :; do busybox usleep 10000; echo more && echo more >/lives; done) & exit 0"
    container_id = place.up("sleep", "2000", Healthcheck={"Test": ["CMD-SHELL", script], "Interval": 100_000_000})
    result = place.until(lambda: place.engine.inspect(container_id)["State"]["Health"]["Log"])[0]
    assert (result["ExitCode"], result["Output"][:6]) == (0, "first\n")
    lives = pathlib.Path(place.get(container_id).rootfs, "lives")
    place.until(lambda: lives.exists() and lives.unlink() is None)
    place.until(lives.exists)


def children_of_monitor(place, container_id):
    """The command lines of what a container's monitor has to reap."""
    found = []
    pid = place.get(container_id).monitor
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            found.append(pathlib.Path(f"/proc/{child}/cmdline").read_bytes().decode().replace("\0", " ").strip())
    return found


def test_checks_leave_no_process_of_ours_behind(place):
    script = "busybox sleep 1000 & exit 0"
    container_id = place.up("sleep", "2000", Healthcheck={"Test": ["CMD-SHELL", script], "Interval": 1_000_000})
    place.until(lambda: len(place.engine.inspect(container_id)["State"]["Health"]["Log"]) > 2)
    assert not [line for line in children_of_monitor(place, container_id) if "minidocker-monitor" in line]


def test_interval_may_be_longer_than_a_clock_counts(place):
    container_id = place.up("sleep", "1000", Healthcheck={"Test": ["CMD", "true"], "Interval": (1 << 63) - 1})
    assert place.engine.exec(container_id, {"Cmd": ["true"]}, detach=True) == 0  # the monitor has gone round meanwhile
    assert not place.engine.inspect(container_id)["State"]["Health"]["Log"]
    assert not [line for line in children_of_monitor(place, container_id) if " health " in line]


def test_failures_in_the_start_period_do_not_count():
    check = Check({"Healthcheck": {"Test": ["CMD", "x"], "StartPeriod": 10**10, "Interval": 30 * 10**9, "Retries": 1}})
    health = {"Status": "starting", "FailingStreak": 0, "Log": []}
    failed = {"ExitCode": 1}
    assert judge(check, health, failed, 10**9)["Status"] == "starting"
    assert judge(check, health, failed, 11 * 10**9)["Status"] == "unhealthy"
    assert judge(check, health, {"ExitCode": 0}, 10**9)["Status"] == "healthy"
    assert check.next_ms(health, 10**9) == 5000
    assert check.next_ms(health, 11 * 10**9) == 30000


# --- what it costs


def test_monitor_takes_less_than_a_hundred_kilobytes(place):
    container_id = place.up("sleep", "1000")
    with open(f"/proc/{place.get(container_id).monitor}/smaps_rollup", encoding="ascii") as lines:
        pss_kb = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    assert pss_kb < 100


def test_init_reaps_and_passes_signals(place):
    container_id = place.up("sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done", Init=True)
    place.until(lambda: (path := pathlib.Path(place.get(container_id).folder, "log.json")).exists() and path.stat().st_size)
    rows = place.engine.top(container_id)["Processes"]
    assert any("docker-init" in " ".join(row) for row in rows)
    place.engine.stop(container_id)
    assert place.get(container_id).exit_code == 3
    assert place.run("nosuch", Init=True).returncode == 127


def test_socket_of_a_long_path_is_reached(place):
    assert len(f"{place.roots.run}/containers/{'0' * 64}/attach.sock") > 107
    container_id = place.up("sleep", "1000")
    link = monitor.connect(place.get(container_id).live)
    assert isinstance(link.socket, socket.socket.__mro__[1])
    link.close()


@pytest.fixture
def easily_killed():
    """This process, and what it starts, has a score of its own.  proc_pid_oom_score_adj(5)"""
    own = pathlib.Path("/proc/self/oom_score_adj")
    before = own.read_text()
    own.write_text("200")
    yield "200\n"
    own.write_text(before)


def test_container_that_the_monitor_starts_again_is_as_easily_killed_for_memory_as_before(place, easily_killed):
    """The monitor is the last to be killed, where it may be; what it starts is not."""
    words = ("sh", "-c", "cat /proc/self/oom_score_adj; exit 1")
    container_id = place.up(*words, RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 2})
    place.until(lambda: len(place.log(container_id)) == 3)
    assert [line["log"] for line in place.log(container_id)] == [easily_killed] * 3
