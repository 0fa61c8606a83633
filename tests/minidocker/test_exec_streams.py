"""What a process in a container holds of its caller's: never his terminal, his files or his devices; and what that costs nobody."""

import contextlib
import json
import os
import pathlib
import subprocess

import pytest
import support
from minidocker_place import RUN, TIMEOUT_S, Typist

pytestmark = pytest.mark.needs("root")

EXEC = """
    given = json.loads(sys.argv[4])
    status = engine.exec("web", {"AttachStdin": given.pop("stdin", False), **given})
"""

def links_program():
    """Writes down what its three descriptors are, before a redirection changes them."""
    return ["sh", "-c", "a=$(busybox readlink /proc/$$/fd/0); b=$(busybox readlink /proc/$$/fd/1); c=$(busybox readlink /proc/$$/fd/2); echo $a $b $c >/links"]


@pytest.fixture
def web(place):
    """A container of that name that runs."""
    place.up("sleep", "1000", name="web")
    return place


def words(*command, **given):
    """What EXEC is told."""
    return json.dumps({"Cmd": list(command), **given})


def inside(place, path):
    """A file of the container as the host sees it."""
    return pathlib.Path(place.get("web").rootfs) / path


def kinds(text):
    """`pipe:[5]` as pipe, a path as it is."""
    return [word.partition(":")[0] for word in text.split()]


@contextlib.contextmanager
def opened(kind, folder):
    """A descriptor of that kind, to read and write."""
    (folder / "given").write_text("")
    master, terminal = os.openpty()
    fd = terminal if kind == "terminal" else os.open({"file": folder / "given", "device": "/dev/zero", "null": "/dev/null"}[kind], os.O_RDWR)
    yield fd
    for one in {master, terminal, fd}:
        os.close(one)


@pytest.mark.parametrize(("kind", "held"), [("terminal", "pipe"), ("file", "pipe"), ("device", "pipe"), ("null", "/dev/null")])
@pytest.mark.parametrize("verb", ["exec", "run"])
def test_process_holds_nothing_of_the_caller_s(web, tmp_path, verb, kind, held):
    program = links_program()
    name, code, given = "web", EXEC, words(*program, stdin=True)
    if verb == "run":
        name, code = "ran", RUN
        given = json.dumps({"body": web.body(*program, OpenStdin=True, StdinOnce=True, AttachStdin=True), "name": name})
    with opened(kind, tmp_path) as fd:
        subprocess.run(web.arguments(code, given), stdin=fd, stdout=fd, stderr=fd, timeout=TIMEOUT_S, check=True)
    found = kinds((pathlib.Path(web.get(name).folder) / "upper" / "links").read_text())
    assert found == (["pipe"] * 3 if verb == "run" else [held] * 3)


def test_without_i_its_input_is_null(web):
    typist = Typist(web, EXEC, words(*links_program()))
    assert typist.close() == 0
    assert kinds(inside(web, "links").read_text()) == ["/dev/null", "pipe", "pipe"]


def test_left_behind_process_reads_nothing_that_is_typed_later(web):
    typist = Typist(web, EXEC, words("sh", "-c", "(read a; echo now $a; read b; echo $b. >/read) <&0 & echo ready; read x; echo x$x", stdin=True))
    typist.expect(b"ready")
    typist.type(b"one\ntwo\n")
    typist.process.wait(TIMEOUT_S)
    typist.type(b"secret\n")
    web.until(lambda: inside(web, "read").exists() and inside(web, "read").read_text(), "the end of input")
    assert "secret" not in inside(web, "read").read_text()
    typist.close()


def test_file_is_input_to_its_end(web, tmp_path):
    data = os.urandom(300_000)
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "copied").open("wb") as copy:
        done = subprocess.run(web.arguments(EXEC, words("cat", stdin=True)), stdin=source, stdout=copy, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, (tmp_path / "copied").read_bytes()) == (0, data)


def test_input_that_nobody_reads_holds_nothing_up(web, tmp_path):
    (tmp_path / "in").write_bytes(bytes(300_000))
    with (tmp_path / "in").open("rb") as source:
        done = web.command(EXEC, words("sh", "-c", "exit 9", stdin=True), stdin=source)
    assert (done.returncode, done.stderr) == (9, "")


def test_output_is_whole_and_in_order(web, tmp_path):
    with (tmp_path / "both").open("w+") as both:
        script = "for n in 1 2 3; do echo out $n; echo err $n >&2; done; busybox head -c 200000 /dev/zero; exit 4"
        done = subprocess.run(web.arguments(EXEC, words("sh", "-c", script)), stdout=both, stderr=both, timeout=TIMEOUT_S, check=False)
    text = (tmp_path / "both").read_text()
    assert (done.returncode, text[:36], len(text)) == (4, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n", 200_036)


def test_output_of_a_child_that_is_a_little_late_is_there(web):
    done = web.command(EXEC, words("sh", "-c", "(busybox usleep 200000; echo late) & echo first"))
    assert (done.returncode, done.stdout) == (0, "first\nlate\n")


def test_left_behind_process_holds_nothing_up_and_lives_on(web):
    done = web.command(EXEC, words("sh", "-c", "(while [ ! -e /go ]; do busybox usleep 10000; done; echo a && echo b >&2 && echo wrote >/wrote; sleep 1000) & echo $!"))
    assert (done.returncode, done.stdout.strip().isdigit()) == (0, True)
    inside(web, "go").write_text("")
    web.until(lambda: inside(web, "wrote").exists(), "a write of who was left behind")


def test_nothing_that_stays_keeps_a_descriptor_of_the_caller_s(web, tmp_path):
    made = web.create("sleep", "1000")
    code = "    engine.start(sys.argv[5])\n" + EXEC
    with (tmp_path / "held").open("w") as held, (tmp_path / "output").open("w") as output:
        command = web.arguments(code, words("sh", "-c", "sleep 1000 & echo $$ >/done"), made)
        subprocess.run(command, stdout=output, pass_fds=[held.fileno()], timeout=TIMEOUT_S, check=True)
    assert inside(web, "done").exists() and web.get(made).is_monitor_alive()
    assert not holders(tmp_path / "held")


def test_who_leaves_a_terminal_takes_his_descriptors_along(web, tmp_path):
    with (tmp_path / "held").open("w") as held:
        typist = Typist(web, EXEC, words("sh", "-c", "echo ready; exec sleep 1000", Tty=True, stdin=True), pass_fds=[held.fileno()])
        typist.expect(b"ready")
        typist.type(b"\x10\x11")
        typist.close()
    assert len(web.engine.top("web")["Processes"]) == 2
    assert not holders(tmp_path / "held")


def test_output_that_cannot_be_written_is_an_error(web):
    with open("/dev/full", "w") as full:
        done = subprocess.run(web.arguments(EXEC, words("echo", "lost")), stdout=full, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (125, "the output could not be written: No space left on device\n")


def test_interrupt_on_the_terminal_is_the_process_s(web):
    typist = Typist(web, EXEC, words("sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do busybox usleep 10000; done"), cooked=True)
    typist.expect(b"ready")
    typist.type(b"\x03")
    typist.expect(b"caught")
    assert typist.close() == 5


def test_killed_command_ends_the_input_and_leaves_no_carrier(web):
    typist = Typist(web, EXEC, words("sh", "-c", "echo ready; cat", stdin=True))
    typist.expect(b"ready")
    typist.process.kill()
    typist.process.wait(TIMEOUT_S)
    web.until(lambda: (support.reap(), not holders(typist.terminal))[1], "the end of the carrier")
    web.until(lambda: (support.reap(), len(web.engine.top("web")["Processes"]) == 1)[1], "the end of the process, whose parent we are now")
    typist.close()


def holders(path):
    """The pids that have a file open, without our own; by what it is, for a container's terminals have the same names."""
    wanted, found = os.stat(path), []
    for pid in [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]:
        with contextlib.suppress(OSError):
            found += [pid for fd in os.listdir(f"/proc/{pid}/fd") if os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), wanted)]
    return found
