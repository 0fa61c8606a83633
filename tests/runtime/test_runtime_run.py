"""run and create/start: exit statuses, signals, standard streams, descriptors, the pid file, detaching, keeping."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest
import support
from watching import TIMEOUT_S, Receiver, Running, ended

SIGNALS = ("TERM", "INT", "USR1", "HUP", "QUIT", "WINCH")


def test_status_of_the_process_is_the_runtimes(bundle, pyoci):
    for status in (0, 1, 7, 126, 255):
        bundle.shell(f"exit {status}")
        assert pyoci.run(bundle).returncode == status


@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("USR2", 12)])
def test_signal_that_ended_the_process_is_its_number_above_128(bundle, pyoci, name, number):
    # A child: process 1 of a pid namespace is not ended by its own signals.
    bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "pid"]
    bundle.config["mounts"] = bundle.config["mounts"][1:]
    for key in ("maskedPaths", "readonlyPaths"):
        bundle.linux[key] = []
    bundle.shell(f"kill -{name} $$")
    assert pyoci.run(bundle).returncode == 128 + number


@pytest.mark.parametrize("name", SIGNALS)
def test_signal_to_a_foreground_run_reaches_the_process(bundle, pyoci, name):
    bundle.shell(f"trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 1000 & wait; done")
    with Running(pyoci, "run", "--bundle", bundle.path, pyoci.new_id()) as run:
        assert run.line() == "ready"
        run.process.send_signal(getattr(signal, f"SIG{name}"))
        assert (run.line(), run.status()) == (f"got {name}", 3)


def test_signal_to_a_foreground_exec_reaches_the_process_alone(bundle, pyoci):
    name = pyoci.start(bundle)
    with Running(pyoci, "exec", name, "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 1000 & wait; done") as run:
        assert run.line() == "ready"
        run.process.send_signal(signal.SIGTERM)
        assert run.status() == 4
    assert pyoci.state(name)["status"] == "running"


def test_container_of_a_foreground_run_is_deleted_when_it_ends(bundle, pyoci):
    bundle.shell("exit 0")
    name = pyoci.new_id()
    assert pyoci.run(bundle, name).returncode == 0
    assert "container does not exist" in pyoci.fails("state", name)


def test_kept_container_is_stopped_when_it_ends(bundle, pyoci):
    bundle.shell("exit 5")
    name = pyoci.new_id()
    assert pyoci.run(bundle, name, "--keep").returncode == 5
    state = pyoci.state(name)
    assert (state["status"], state["pid"]) == ("stopped", 0)


def test_detached_run_returns_when_the_process_runs(bundle, pyoci):
    name = pyoci.new_id()
    assert pyoci.run(bundle, name, "--detach").returncode == 0
    assert pyoci.state(name)["status"] == "running"


def test_orphans_of_the_container_are_reaped_by_a_foreground_run(bundle, pyoci):
    """Without a pid namespace they come to the runtime, which is their reaper while it waits."""
    bundle.linux["namespaces"] = [{"type": "mount"}, {"type": "uts"}]
    bundle.config["mounts"] = bundle.config["mounts"][1:2]
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    # kill -0 finds a zombie, too: it ends when somebody has reaped it.
    bundle.shell("(sh -c 'echo $$ > /tmp/pid' &); until [ -s /tmp/pid ]; do :; done; while kill -0 $(cat /tmp/pid); do :; done 2>/dev/null; exit 2")
    assert pyoci.run(bundle).returncode == 2


def test_standard_streams_are_the_callers(bundle, pyoci):
    bundle.shell("cat; echo error >&2")
    read_end, write_end = os.pipe()
    os.write(write_end, b"input\n")
    os.close(write_end)
    done = pyoci.run(bundle, None, stdin=read_end)
    os.close(read_end)
    assert (done.stdout, done.stderr) == ("input\n", "error\n")


def test_streams_of_another_user_are_the_users(bundle, pyoci, tmp_path):
    """So that /dev/stdout can be opened again."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.shell("echo again > /proc/self/fd/1")
    reader, writer = os.pipe()
    with open(reader, "rb") as out:
        run = pyoci.start_process("run", "--bundle", bundle.path, pyoci.new_id(), stdout=writer)
        os.close(writer)
        assert (out.read(), run.wait(TIMEOUT_S)) == (b"again\n", 0)


def test_state_follows_the_life_of_a_container(bundle, pyoci):
    name = pyoci.create(bundle)
    assert pyoci.state(name)["status"] == "created"
    pyoci.ok("start", name)
    assert pyoci.state(name)["status"] == "running"
    pidfd = os.pidfd_open(pyoci.pid(name))
    pyoci.ok("kill", name, "KILL")
    ended(pidfd)
    os.close(pidfd)
    assert pyoci.state(name)["status"] == "stopped"
    pyoci.ok("delete", name)
    assert "container does not exist" in pyoci.fails("state", name)


def test_created_container_runs_nothing_of_the_user(bundle, pyoci):
    bundle.shell("echo ran > /tmp/ran")
    name = pyoci.create(bundle)
    assert not (bundle.rootfs / "tmp/ran").exists()
    pyoci.ok("start", name)
    support.wait_until_stopped(pyoci, name)
    assert (bundle.rootfs / "tmp/ran").read_text() == "ran\n"


def test_second_start_is_refused(bundle, pyoci):
    name = pyoci.start(bundle)
    assert pyoci.fails("start", name).endswith("cannot start an already running container")
    pyoci.ok("kill", name, "KILL")
    support.wait_until_stopped(pyoci, name)
    assert pyoci.fails("start", name).endswith("cannot start a container that has stopped")


@pytest.mark.parametrize("word", ["9", "KILL", "SIGKILL", "kill"])
def test_signal_may_be_a_number_or_a_name(bundle, pyoci, word):
    name = pyoci.start(bundle)
    pidfd = os.pidfd_open(pyoci.pid(name))
    pyoci.ok("kill", name, word)
    ended(pidfd)
    os.close(pidfd)


def test_kill_all_reaches_every_process(bundle, pyoci):
    bundle.linux["namespaces"] = [{"type": "mount"}]
    del bundle.config["hostname"]
    bundle.config["mounts"] = bundle.config["mounts"][1:2]
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    bundle.shell("sleep 1000 & sleep 1000 & echo ready > /tmp/fifo; wait")
    os.mkfifo(bundle.rootfs / "tmp/fifo")
    name = pyoci.start(bundle)
    (bundle.rootfs / "tmp/fifo").read_text()
    pids = json.loads(pyoci.ok("ps", "--format", "json", name))
    assert len(pids) == 3
    held = [os.pidfd_open(pid) for pid in pids]
    pyoci.ok("kill", "--all", name, "KILL")
    for pidfd in held:
        ended(pidfd)
        os.close(pidfd)


def test_delete_force_of_a_running_container_ends_it(bundle, pyoci):
    name = pyoci.start(bundle)
    pidfd = os.pidfd_open(pyoci.pid(name))
    assert "that is not stopped: running" in pyoci.fails("delete", name)
    pyoci.ok("delete", "--force", name)
    ended(pidfd)
    os.close(pidfd)


def test_delete_force_of_a_missing_container_is_no_error(pyoci):
    pyoci.ok("delete", "--force", pyoci.new_id())


# --- descriptors


def test_process_gets_three_descriptors(bundle, pyoci):
    bundle.shell("echo /proc/self/fd/*")
    assert pyoci.run(bundle).stdout == "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n"  # 3: the shell's glob


def with_pipe(call):
    """call(read end) with a pipe that holds a line, as descriptor 3."""
    reader, writer = os.pipe()
    os.write(writer, b"preserved\n")
    os.close(writer)

    def at_three():
        os.dup2(reader, 3)

    try:
        return call(pass_fds=(3,), preexec_fn=at_three)
    finally:
        os.close(reader)


@pytest.fixture
def three():
    """Descriptor 3 is open while a test runs, so that pass_fds may name it."""
    try:
        os.fstat(3)
        yield
    except OSError:
        os.dup2(0, 3)
        yield
        os.close(3)


def test_preserved_descriptor_is_the_processs_third(bundle, pyoci, three):
    bundle.shell("cat <&3; echo /proc/self/fd/*")
    done = with_pipe(lambda **more: pyoci.run(bundle, None, "--preserve-fds", "1", **more))
    assert done.stdout == "preserved\n" + " ".join(f"/proc/self/fd/{number}" for number in range(5)) + "\n"


def test_descriptor_is_preserved_through_create_and_start(bundle, pyoci, three, tmp_path):
    bundle.shell("cat <&3 > /tmp/out")
    name = pyoci.new_id()
    done = with_pipe(lambda **more: pyoci("create", "--preserve-fds", 1, "--bundle", bundle.path, name, **more))
    assert done.returncode == 0, done.stderr
    pyoci.ok("start", name)
    support.wait_until_stopped(pyoci, name)
    assert (bundle.rootfs / "tmp/out").read_text() == "preserved\n"


def test_exec_preserves_descriptors_too(bundle, pyoci, three):
    name = pyoci.start(bundle)
    done = with_pipe(lambda **more: pyoci("exec", "--preserve-fds", "1", name, "cat", "/proc/self/fd/3", **more))
    assert done.stdout == "preserved\n"


@pytest.mark.parametrize("count", [30, 2**31 - 1])
def test_descriptor_to_preserve_that_is_not_open_is_refused(bundle, pyoci, count):
    why = rf"unable to stat preserved-fd \d+ \(of {count}\): descriptor \d+ is not open$"
    assert re.search(why, pyoci.fails("run", "--preserve-fds", count, "--bundle", bundle.path, pyoci.new_id()))
    assert re.search(why, pyoci.fails("exec", "--preserve-fds", count, pyoci.start(bundle), "true", status=255))


def test_sockets_of_activation_are_passed_with_the_processs_own_pid(bundle, pyoci, three):
    """sd_listen_fds(3): LISTEN_PID must be the pid that the process sees of itself."""
    bundle.shell('echo "$LISTEN_FDS $LISTEN_PID $$"; cat <&3')
    command = pyoci.command("run", "--bundle", bundle.path, pyoci.new_id())

    def call(**more):
        # The shell's $$ stays the pid of what it executes.
        script = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        return subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, timeout=TIMEOUT_S, **more)

    done = with_pipe(call)
    assert done.stdout == "1 1 1\npreserved\n", done.stderr


def test_sockets_meant_for_another_process_are_not_passed(bundle, pyoci):
    bundle.shell('echo "[$LISTEN_FDS]"')
    assert pyoci.run(bundle, env={**support.ENVIRONMENT, "LISTEN_FDS": "1", "LISTEN_PID": "1"}).stdout == "[]\n"


# --- the pid file, the pidfd socket


def test_pid_file_has_the_pid_and_no_newline(bundle, pyoci, tmp_path):
    name = pyoci.create(bundle, None, "--pid-file", tmp_path / "pid")
    assert (tmp_path / "pid").read_text() == str(pyoci.pid(name))


def test_pid_file_is_written_over_an_older_one(bundle, pyoci, tmp_path):
    (tmp_path / "pid").write_text("something longer than a pid")
    name = pyoci.create(bundle, None, "--pid-file", tmp_path / "pid")
    assert (tmp_path / "pid").read_text() == str(pyoci.pid(name))
    assert sorted(os.listdir(tmp_path)) == ["bundle", "pid", "state"]


def test_failed_create_leaves_no_pid_file(bundle, pyoci, tmp_path):
    bundle.process["args"] = ["not-there"]
    bundle.write()
    pyoci.fails("create", "--pid-file", tmp_path / "pid", "--bundle", bundle.path, pyoci.new_id())
    assert sorted(os.listdir(tmp_path)) == ["bundle", "state"]


@pytest.mark.parametrize(("verb", "payload"), [("create", b"standard"), ("exec", b"setns")])
def test_pidfd_of_the_process_is_sent_with_what_it_is(bundle, pyoci, tmp_path, verb, payload):
    with Receiver(tmp_path / "socket") as receiver:
        if verb == "create":
            name = pyoci.create(bundle, None, "--pidfd-socket", receiver.path)
        else:
            name = pyoci.start(bundle)
            pyoci.ok("exec", "--detach", "--pidfd-socket", receiver.path, name, "sleep", "1000")
        data, pidfd = receiver.take()
    assert data == payload
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    ended(pidfd)
    os.close(pidfd)
    support.reap()  # an exec's zombie, which is ours, would hold the container's process 1 in its death


# --- readiness


def notify_socket(path):
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(str(path))
    found.settimeout(TIMEOUT_S)
    return found



def test_notify_socket_is_in_the_container_and_start_waits_for_readiness(bundle, pyoci, tmp_path):
    """busybox has no client of datagram sockets, so the test itself is the service, through the bound directory."""
    bundle.shell('echo "$NOTIFY_SOCKET"; ls /run/notify; sleep 1000')
    env = {**support.ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "manager")}
    with notify_socket(tmp_path / "manager") as manager, Running(pyoci, "run", "--bundle", bundle.path, name := pyoci.new_id(), env=env) as run:
        assert run.line() == "/run/notify/notify.sock"
        assert run.line() == "notify.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            service.sendto(b"STATUS=starting", f"{pyoci.root}/{name}/notify/notify.sock")
            service.sendto(b"STATUS=x\nREADY=1", f"{pyoci.root}/{name}/notify/notify.sock")
        record = json.loads((pyoci.root / name / "state.json").read_text())
        assert manager.recv(4096).decode() == f"MAINPID={record['pid']}\nREADY=1\n"
        data, control, _, _ = manager.recvmsg(4096, socket.CMSG_SPACE(4))
        assert data == b"BARRIER=1"
        os.close(int.from_bytes(control[0][2], "little"))
        pyoci.ok("kill", name, "KILL")
        assert run.status() == 137


def test_signal_reaches_a_process_that_is_not_ready_yet(bundle, pyoci, tmp_path):
    """systemd ends a service that does not come up by a signal to the process that it started: pyoci."""
    bundle.shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done")
    env = {**support.ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "manager")}
    with notify_socket(tmp_path / "manager"), Running(pyoci, "run", "--bundle", bundle.path, pyoci.new_id(), env=env) as run:
        assert run.line() == "up"
        run.process.terminate()
        assert run.status() == 7


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer", "poststart"])
def test_signal_ends_a_run_whose_hook_does_not_end(bundle, pyoci, kind):
    """A hook has a session of its own, so that the terminal's interrupt does not reach it."""
    fifo = bundle.rootfs / "tmp" / "fifo"
    os.mkfifo(fifo)
    told = "/tmp/fifo" if kind == "startContainer" else fifo
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo > {told}; exec sleep 1000"], "env": ["PATH=/usr/bin:/bin"]}
    bundle.edit(lambda config: config.update(hooks={kind: [hook]}))
    name = pyoci.new_id()
    with pyoci.start_process("run", "--bundle", bundle.path, name, stderr=subprocess.PIPE) as process:
        assert fifo.read_text() == "\n"
        process.send_signal(signal.SIGUSR1)  # no reason to end
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=support.TIMEOUT_S)[1].decode()
    assert process.returncode == 1 and "signal 2" in said and len(said.splitlines()) == 1, said
    assert os.listdir(pyoci.root) == []


def test_process_that_ends_without_readiness_does_not_hold_start(bundle, pyoci, tmp_path):
    bundle.shell("exit 6")
    with notify_socket(tmp_path / "manager"):
        done = pyoci.run(bundle, env={**support.ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "manager")})
    assert done.returncode == 6
