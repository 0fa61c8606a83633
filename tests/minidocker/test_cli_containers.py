"""The command line on real containers: what it prints, its statuses, and what it says when something is wrong."""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest
from minidocker_place import RUNTIME, Place, assert_nothing_left
from support import reap, snapshot

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")

PROGRAM = pathlib.Path(sys.executable).parent / "minidocker"
TIMEOUT_S = 30
ENVIRONMENT = {}  # what a test adds


class Program:
    """minidocker with roots of its own, called as people call it."""

    def __init__(self, place):
        self.place = place
        self.folder = place.folder

    def __call__(self, *words, stdin=subprocess.DEVNULL, together=False):
        """(status, stdout, stderr) of one call; files, for a container may inherit them.  together: both in the first."""
        environment = {"PATH": os.environ["PATH"], "MINIDOCKER_ROOT": self.place.roots.data, "MINIDOCKER_RUN": self.place.roots.run, "TZ": "UTC", **ENVIRONMENT}
        if self.place.runtime:
            words = ("--runtime", self.place.runtime, *words)
        with (self.folder / "out").open("w+") as out, (self.folder / "err").open("w+") as err:
            done = subprocess.run([PROGRAM, *words], stdin=stdin, stdout=out, stderr=out if together else err, cwd=self.folder, env=environment, timeout=TIMEOUT_S, check=False)
        return done.returncode, (self.folder / "out").read_text(errors="replace"), (self.folder / "err").read_text(errors="replace")

    def prints(self, *words):
        """What a call that goes well prints."""
        status, out, err = self(*words)
        assert (status, err) == (0, ""), words
        return out

    def run(self, *words):
        """A `run --rm --network none`."""
        return self("run", "--rm", "--network", "none", *words)


@pytest.fixture(scope="module")
def docker(own_mounts, tmp_path_factory):
    """The program, and a container `web` that runs for the whole module."""
    before = snapshot()
    place = Place(tmp_path_factory.mktemp("cli"), RUNTIME)
    program = Program(place)
    program.prints("run", "-d", "--network", "none", "--name", "web", "--label", "a=b", "busybox", "sh", "-c", "echo one; echo two >&2; exec sleep 1000")
    yield program
    place.clean()
    reap()
    place.engine.close()
    assert_nothing_left(place, before)


@pytest.mark.parametrize(
    ("words", "status"),
    [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["nosuch"], 127), (["/etc"], 126), (["sh", "-c", "sleep 9 & kill -9 $!; wait $!"], 137)],
    ids=["0", "own", "127", "126", "signal"],
)
def test_status_of_run_is_the_container_s(docker, words, status):
    assert docker.run("busybox", *words)[0] == status


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exec", "nosuch", "true"], "minidocker: No such container: nosuch\n"),
        (["logs", "nosuch"], "minidocker: No such container: nosuch\n"),
        (["attach", "nosuch"], "minidocker: No such container: nosuch\n"),
        (["stats", "--no-stream", "nosuch"], "minidocker: No such container: nosuch\n"),
        (["run", "--pull", "never", "nosuch"], "minidocker: No such image: nosuch:latest\n"),
        (["run", "--network", "none", "--env-file", "nosuch", "busybox"], "minidocker: env file nosuch: No such file or directory\n"),
        (["unpause", "web"], "is not paused\n"),
        (["rm", "web"], 'minidocker: cannot remove container "web": container is running: stop the container before removing or force remove\n'),
        (["update", "web"], "minidocker: you must provide one or more flags when using this command\n"),
        (["ps", "--format", "{{.Foo}}"], "can't evaluate field Foo; known: Command, CreatedAt"),
        (["run", "-v", "rel:/x", "busybox"], "minidocker: volume rel: named volumes come with a later release\n  bind a host directory: -v /host/path:/path\n"),
        (["exec", "-it", "web", "true"], "minidocker: the input device is not a TTY\n  leave out -t, or run it on a terminal\n"),
        (["logs", "wbe"], "minidocker: No such container: wbe\n  did you mean 'web'?\n"),
        (["run", "--network", "none", "localhost:1/busybox"], "minidocker: localhost:1: connection refused\n"),
        (["run", "--name", "web", "--network", "none", "busybox"], "\n  remove or rename that container, or choose another name\n"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_error_is_one_line_with_a_hint_and_status_125(docker, words, said):
    status, out, err = docker(*words)
    assert (status, out) == (125, "")
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--name", "bytes", "busybox", "echo", b"\xff\xc3\xa9"], "argument '\\xff\u00e9' is not UTF-8"),
        (["run", "--name", "bytes", "-e", b"A=\xff", "busybox", "true"], "environment variable 'A=\\xff' is not UTF-8"),
        (["exec", "web", "echo", b"\xff"], "argument '\\xff' is not UTF-8"),
        (["exec", "-e", b"A=\xff", "web", "true"], "environment variable 'A=\\xff' is not UTF-8"),
    ],
    ids=["argument", "environment", "exec", "exec-environment"],
)  # fmt: skip
def test_bytes_that_a_config_cannot_hold_are_refused(docker, words, said):
    assert docker(*words) == (125, "", f"minidocker: {said}\n  a file or standard input carries any bytes\n")
    assert docker.prints("ps", "-aq", "--filter", "name=bytes") == ""


def test_network_of_the_environment_is_taken_where_none_is_given(docker, monkeypatch):
    assert "MINIDOCKER_NETWORK" in docker("create", "--name", "lonely", "busybox", "true")[2]
    monkeypatch.setitem(ENVIRONMENT, "MINIDOCKER_NETWORK", "host")
    docker.prints("create", "--name", "asked", "busybox", "true")
    docker.prints("create", "--name", "other", "--network", "none", "busybox", "true")
    shown = docker.prints("inspect", "-f", "{{.HostConfig.NetworkMode}}", "lonely", "asked", "other")
    docker.prints("rm", "lonely", "asked", "other")
    assert shown == "none\nhost\nnone\n"


def test_misspelt_image_that_no_registry_has_is_hinted_at(docker):
    docker.prints("tag", "busybox", "localhost:1/tools")
    status, out, err = docker.run("localhost:1/tolls", "true")
    assert (status, out) == (125, "") and err.endswith("connection refused\n  did you mean 'localhost:1/tools:latest'? It is on this host\n"), err
    docker.prints("rmi", "localhost:1/tools")


@pytest.mark.parametrize("noun", [[], ["system"]])
def test_info_reads_as_docker_s(docker, noun):
    shown = docker.prints(*noun, "info")
    assert re.match(r"Client:\n Version: .*\n Debug Mode: false\n\nServer:\n Containers: \d+\n  Running: 1\n", shown), shown
    assert re.search(r"\n Total Memory: [\d.]+[GT]iB\n", shown) and f"\n Docker Root Dir: {docker.place.roots.data}\n" in shown
    assert "\n  seccomp\n   Profile: builtin\n" in shown


def test_version_reads_as_docker_s(docker):
    shown = docker.prints("version")
    assert re.match(r"Client:\n Version:           .*\n API version:       1\.44\n", shown), shown
    assert re.search(r"\n\nServer: MiniDocker\n Engine:\n  Version:          .*\n  API version:      1\.44 \(minimum version 1\.24\)\n", shown), shown


def test_file_system_below_is_told(docker):
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", docker.place.roots.data], capture_output=True, text=True, check=True).stdout
    assert docker.prints("info", "--format", "{{.DriverStatus}}") == f"[[Backing Filesystem {found.strip()}]]\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["lo"], "load login logout logs"), (["--debug", "--runtime", "runc", "unp"], "unpause"), (["image", "pr"], "prune"), (["container", "--"], "--help"),
        (["ps", "--f"], "--filter --format"), (["run", "--network", ""], "host none"), (["run", "--pull=a"], "--pull=always"), (["save", "-o", ""], ""),
        (["exec", "-it", "w"], "web"), (["exec", "web", "w"], ""), (["run", "-it", "-m", "5m", "bu"], "busybox"), (["run", "busybox", "--"], ""), (["cp", "f", "w"], "web:"),
        (["container", "rename", "w"], "web"), (["rename", "web", ""], ""), (["inspect", "b"], "busybox"), (["completion", ""], "bash fish zsh"), (["nosuch", ""], ""),
        (["stop", "web", "-t"], "-t"), (["run", "--rm", "-it", "--cap-"], "--cap-add --cap-drop"), ([""], None),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_completion_offers_what_may_come_next(docker, words, offered):
    found = docker.prints("completion", "words", *words).split()
    assert found == offered.split() if offered is not None else set(found) > {"run", "ps", "image", "completion"}


def shell_offers(docker, shell, ask, before="true"):
    """What a shell offers that has read its script."""
    (docker.folder / "script").write_text(docker.prints("completion", shell))
    environment = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "MINIDOCKER_ROOT": docker.place.roots.data, "MINIDOCKER_RUN": docker.place.roots.run, "HOME": str(docker.folder)}
    done = subprocess.run([shell, "-c", f"{before}; source ./script; {ask}"], cwd=docker.folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(("line", "offered"), [("rm -f w", ["web"]), ("run --network=", ["host", "none"]), ("rmi busybox:la", []), ("image ls --filt", ["--filter"]), ("load -i ", [])])
def test_bash_completes(docker, line, offered):
    ask = 'COMP_LINE="minidocker $1"; COMP_POINT=${#COMP_LINE}; _minidocker; printf "%s\\n" "${COMPREPLY[@]}"'.replace("$1", line)
    assert shell_offers(docker, "bash", ask) == offered


def test_fish_completes(docker, needs):
    needs("fish")
    assert shell_offers(docker, "fish", "complete -C 'minidocker rm -f w'") == ["web"]
    assert "script" in shell_offers(docker, "fish", "complete -C 'minidocker load -i scr'")


def test_zsh_completes(docker, needs):
    needs("zsh")
    stand_ins = "compdef() { }; compadd() { print -l -- ${(P)2} }; _files() { echo files }"  # of zsh's completion system, which is a terminal's
    assert shell_offers(docker, "zsh", "words=(minidocker rm -f w); CURRENT=4; _minidocker", stand_ins) == ["web"]
    assert shell_offers(docker, "zsh", "words=(minidocker load -i ''); CURRENT=4; _minidocker", stand_ins) == ["files"]


def test_completion_of_another_shell_is_refused_and_makes_no_roots(docker, tmp_path):
    assert docker("completion", "tcsh") == (125, "", "minidocker: no completion for shell 'tcsh': bash, zsh or fish\n")
    assert docker.prints("--data-root", str(tmp_path / "none"), "--run-root", str(tmp_path / "run"), "completion", "words", "rm", "") == ""
    assert os.listdir(tmp_path) == []


def test_ps_q_prints_ids_alone(docker):
    assert docker.prints("ps", "-q") == docker.place.get("web").id[:12] + "\n"


def test_ps_as_json_has_docker_s_fields(docker):
    row = json.loads(docker.prints("ps", "--format", "json"))
    assert (row["Names"], row["State"], row["Labels"], row["Networks"]) == ("web", "running", "a=b", "none")


def test_ps_shows_one_label_by_its_key(docker):
    assert docker.prints("ps", "--format", '{{.Names}}:{{.Label "a"}}:{{.Label "none"}}') == "web:b:\n"


def test_ps_quotes_arguments_with_blanks_and_finds_an_image_without_its_name(docker):
    docker.prints("tag", "busybox", "other:1")
    docker.prints("create", "--network", "none", "--name", "quoted", "other:1", "sh", "-c", "echo a b")
    shown = ("ps", "-a", "--no-trunc", "--filter", "name=quoted", "--format", "{{.Command}} {{.Image}}")
    assert docker.prints(*shown) == "\"sh -c 'echo a b'\" other:1\n"
    docker.prints("rmi", "other:1")
    assert docker.prints(*shown) == f"\"sh -c 'echo a b'\" {docker.place.get('quoted').image_id}\n"
    docker.prints("rm", "quoted")


def test_start_of_what_runs_says_its_name(docker):
    assert docker.prints("start", "web") == "web\n"


def test_removing_nothing_by_force_is_no_failure(docker):
    for words in (("rm", "-f", "nosuch"), ("rmi", "-f", "nosuch")):
        status, out, err = docker(*words)
        assert (status, out) == (0, "") and "No such" in err


def test_detached_run_that_cannot_start_leaves_its_id(docker):
    status, out, err = docker("run", "-d", "--name", "never", "--network", "none", "busybox", "nosuch")
    assert (status, out) == (127, docker.place.get("never").id + "\n"), err
    docker.prints("rm", "never")


def test_prune_asks_and_takes_an_answer_from_a_pipe(docker):
    docker.prints("create", "--network", "none", "--name", "idle", "busybox")
    for answer, left in (("n", "idle\n"), ("y", "")):
        (docker.folder / "answer").write_text(answer + "\n")
        with open(docker.folder / "answer") as stdin:
            status, out, err = docker("container", "prune", stdin=stdin)
        assert (status, err) == (0, "") and "[y/N]" in out
        assert docker.prints("ps", "-a", "--filter", "name=idle", "--format", "{{.Names}}") == left


def test_read_only_root_has_read_only_files_of_ours(docker):
    assert docker("run", "--rm", "--network", "none", "--read-only", "busybox", "touch", "/etc/hosts")[0] == 1


def test_ps_gives_each_row_whole_to_json(docker):
    assert json.loads(docker.prints("ps", "--format", "{{json .}}"))["Names"] == "web"


def test_logs_keep_the_two_streams_apart(docker):
    assert docker("logs", "web") == (0, "one\n", "two\n")


def test_logs_keep_the_order_of_both_streams_where_they_are_one_file(docker):
    docker("run", "--name", "both", "--network", "none", "busybox", "sh", "-c", "for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done")
    assert docker("logs", "both", together=True)[1] == "o1\ne1\no2\ne2\no3\ne3\n"
    docker.prints("rm", "both")


@pytest.mark.parametrize("kind", ["fifo", "device", "link"])
def test_output_file_that_is_none_is_never_replaced(docker, kind):
    path = docker.folder / kind
    if kind == "link":
        (docker.folder / "real").write_text("old")
        path.symlink_to("real")
        docker.prints("save", "-o", kind, "busybox")
        assert path.is_symlink() and tarfile.is_tarfile(docker.folder / "real")
        return
    os.mkfifo(path) if kind == "fifo" else os.mknod(path, 0o20600, os.makedev(1, 3))
    before = path.lstat()
    for words in (("save", "-o", kind, "busybox"), ("export", "-o", kind, "web")):
        status, said, why = docker(*words)
        assert (status, said) == (125, "") and why.startswith(f'minidocker: invalid output path: "{kind}" must be a regular file')
    assert path.lstat() == before


def test_inspect_prints_what_it_found_beside_what_it_did_not(docker):
    assert docker("inspect", "-f", "{{.Name}}", "nosuch", "web") == (125, "/web\n", "minidocker: No such object: nosuch\n")


def test_exec_gives_the_command_s_status_and_output(docker):
    assert docker("exec", "-e", "X=1", "-w", "/tmp", "web", "sh", "-c", "echo $X; pwd; exit 3") == (3, "1\n/tmp\n", "")


def test_pause_and_unpause_say_the_name(docker):
    assert docker.prints("pause", "web") == "web\n"
    assert docker("exec", "web", "true") == (125, "", "minidocker: Container web is paused, unpause the container before exec\n")
    assert docker.prints("unpause", "web") == "web\n"


def test_copy_and_diff_show_a_file_that_was_copied_in(docker):
    (docker.folder / "file").write_text("text")
    docker.prints("cp", "file", "web:/copied")
    docker.prints("cp", "web:/copied", "back")
    assert (docker.folder / "back").read_text() == "text"
    assert "A /copied\n" in docker.prints("diff", "web")


@pytest.mark.parametrize("words", [["top", "web"], ["stats", "--no-stream", "web"], ["events", "--since", "1h", "--until", "0s"], ["info"], ["version"], ["system", "df"],
                                   ["images"], ["history", "busybox"], ["update", "--pids-limit", "50", "web"]], ids=" ".join)  # fmt: skip
def test_command_prints_and_ends_well(docker, words):
    assert docker.prints(*words)


def test_one_life_from_create_to_rm(docker):
    docker.prints("create", "--network", "none", "--name", "life", "busybox", "sh", "-c", "echo said >/file; echo done")
    assert docker("start", "-a", "life") == (0, "done\n", "")
    assert docker.prints("wait", "life") == "0\n"
    docker.prints("rename", "life", "lived")
    docker.prints("commit", "lived", "mine:1")
    assert docker.run("mine:1", "cat", "/file") == (0, "said\n", "")
    docker.prints("save", "-o", "mine.tar", "mine:1")
    docker.prints("export", "-o", "tree.tar", "lived")
    assert "Untagged: mine:1\n" in docker.prints("rmi", "mine:1")
    assert docker.prints("load", "-i", "mine.tar") == "Loaded image: mine:1\n"
    assert docker.prints("import", "tree.tar", "tree:1").startswith("sha256:")
    assert docker("rm", "nosuch", "lived") == (125, "lived\n", "minidocker: No such container: nosuch\n")


def test_stop_and_kill_go_on_after_one_that_is_not_there(docker):
    docker.prints("run", "-d", "--network", "none", "--name", "short", "busybox", "sleep", "1000")
    assert docker("stop", "-t", "0", "nosuch", "short") == (125, "short\n", "minidocker: No such container: nosuch\n")
    assert docker.prints("start", "short") == "short\n"
    assert docker.prints("kill", "short") == "short\n"
    assert docker.prints("rm", "-f", "short") == "short\n"


def test_cidfile_holds_the_id_and_is_not_overwritten(docker):
    assert docker("run", "-d", "--rm", "--network", "none", "--cidfile", "cid", "busybox", "true")[1].strip() == (docker.folder / "cid").read_text()
    assert docker("run", "--cidfile", "cid", "busybox")[0] == 125


def test_terminal_that_was_left_can_be_joined_again_and_takes_input(docker):
    assert "read escape sequence" in typed(docker, ["run", "-it", "--name", "term", "--network", "none", "busybox", "cat"], [(b"", b"one\n"), (b"one\r\none", b"\x10\x11")])
    try:
        assert "again\r\nagain" in typed(docker, ["attach", "term"], [(b"", b"again\n"), (b"again\r\nagain", b"\x10\x11")])
    finally:
        docker("rm", "-f", "term")


def test_exec_on_a_terminal_can_be_left_and_goes_on(docker):
    script = "echo ready; while ! test -e /left; do sleep 0.05; done; echo unseen; touch /done"
    shown = typed(docker, ["exec", "-it", "web", "sh", "-c", script], [(b"ready", b"\x10\x11")])
    assert "ready\r\n" in shown and "read escape sequence" in shown
    docker.prints("exec", "web", "touch", "/left")
    assert docker("exec", "web", "sh", "-c", "while ! test -e /done; do sleep 0.05; done")[0] == 0
    assert "exec_detach" in docker.prints("events", "--since", "1h", "--until", "0s", "--filter", "container=web", "--format", "{{.Action}}")


def test_exec_on_a_terminal_takes_input_and_tells_its_failure(docker):
    # Each waits until it was read: what a process on a terminal writes last may go into crun's log.
    assert "got word" in typed(docker, ["exec", "-it", "web", "sh", "-c", "read x; echo got $x; read y"], [(b"", b"word\n"), (b"got word", b"\n")])
    assert re.search(r"executable file (`nosuch` )?not found", typed(docker, ["exec", "-it", "web", "nosuch"], []))  # crun's words
    assert "it is one" in typed(docker, ["exec", "-it", "web", "sh", "-c", "test -t 0 && test -t 1 && echo it is one; read x"], [(b"it is one", b"\n")])
    shown = typed(docker, ["exec", "-it", "--detach-keys", "a,b", "web", "sh", "-c", "read x; echo last $x; read y"], [(b"", b"\x10ac\n"), (b"last", b"\n")])
    assert "last" in shown and "ac" in shown


def test_third_interrupt_leaves_a_program_that_goes_on(docker):
    environment = {"PATH": os.environ["PATH"], "MINIDOCKER_ROOT": docker.place.roots.data, "MINIDOCKER_RUN": docker.place.roots.run}
    runtime = ["--runtime", docker.place.runtime] if docker.place.runtime else []
    script = "trap 'echo heard' INT; echo ready; while :; do sleep 0.05; done"
    words = [PROGRAM, *runtime, "run", "--name", "deaf", "--network", "none", "busybox", "sh", "-c", script]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "heard\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "got 3 SIGTERM/SIGINTs, forcefully exiting; the container goes on\n"
        assert process.wait(TIMEOUT_S) == 1
    assert docker.prints("ps", "--filter", "name=deaf", "--format", "{{.State}}") == "running\n"
    docker("rm", "-f", "deaf")


@pytest.fixture
def full():
    """A file that takes nothing."""
    with open("/dev/full", "wb") as file:
        yield file


def attempt(docker, *words, stdout):
    """(status, standard error) of a call whose output is this file."""
    environment = {"PATH": os.environ["PATH"], "MINIDOCKER_ROOT": docker.place.roots.data, "MINIDOCKER_RUN": docker.place.roots.run}
    runtime = ["--runtime", docker.place.runtime] if docker.place.runtime else []
    with (docker.folder / "err").open("w+") as err:
        done = subprocess.run([PROGRAM, *runtime, *words], stdin=subprocess.DEVNULL, stdout=stdout, stderr=err, env=environment, timeout=TIMEOUT_S, check=False)
    return done.returncode, (docker.folder / "err").read_text()


def test_run_into_a_pipe_that_nobody_reads_leaves_the_container_to_itself(docker):
    reader, writer = os.pipe()
    os.close(reader)
    status, err = attempt(docker, "run", "--name", "chatty", "--network", "none", "busybox", "sh", "-c", "while :; do echo y; sleep 0.02; done", stdout=writer)
    os.close(writer)
    assert (status, err) == (125, "minidocker: write standard output: Broken pipe\n  container chatty is left to itself; 'minidocker rm -f chatty' ends it\n")
    assert docker.prints("ps", "--filter", "name=chatty", "--format", "{{.State}}") == "running\n"
    docker("rm", "-f", "chatty")


def test_output_of_run_that_cannot_be_written_is_no_success(docker, full):
    status, err = attempt(docker, "run", "--rm", "--network", "none", "--name", "lost", "busybox", "echo", "hi", stdout=full)
    assert (status, err.splitlines()[0]) == (125, "minidocker: write standard output: No space left on device")
    docker.place.until(lambda: docker.prints("ps", "-aq", "--filter", "name=lost") == "", "the end of the container")


@pytest.mark.parametrize("words", [["logs", "web"], ["logs", "-f", "web"], ["events", "--since", "1h", "--until", "0s"], ["ps"], ["run", "-d", "--network", "none", "busybox", "true"]])
def test_full_disk_below_the_output_is_one_line(docker, full, words):
    status, err = attempt(docker, *words, stdout=full)
    assert (status, err.removeprefix("two\n")) == (125, "minidocker: write standard output: No space left on device\n")


@pytest.mark.parametrize("words", [["-v", "/new/place"], ["--mount", "type=volume,dst=/new/../new/place"]])
def test_anonymous_volume_is_a_folder(docker, words):
    assert docker.run(*words, "busybox", "stat", "-c", "%a %u %F", "/new/place") == (0, "755 0 directory\n", "")


def test_volume_over_a_file_is_refused(docker):
    assert docker.run("-v", "/etc/passwd/x", "busybox", "true") == (125, "", "minidocker: volume /etc/passwd/x: Not a directory\n")


def test_volume_of_the_image_is_a_folder_and_no_link_leads_out(docker, tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image/link").symlink_to(tmp_path)
    docker.prints("image", "make", "-c", 'VOLUME ["/link/data"]', "-c", 'CMD ["/nothing"]', str(tmp_path / "image"), "volumes")
    assert docker.run("volumes")[0] == 125  # in the container nothing is where the link leads
    assert os.listdir(tmp_path) == ["image"]


def test_runtime_that_is_not_there_is_refused_before_anything_is_made(docker):
    before = docker.prints("ps", "-aq")
    said = "minidocker: runtime nosuch: no such program\n  --runtime takes a path or a name on PATH\n"
    assert docker.run("--runtime", "nosuch", "busybox", "true") == (125, "", said)
    assert docker.prints("ps", "-aq") == before


def test_container_can_be_removed_after_its_runtime(docker, needs, tmp_path):
    needs("runc")
    (tmp_path / "other").symlink_to(shutil.which("runc"))
    status, _, err = docker("create", "--name", "orphan", "--network", "none", "--runtime", str(tmp_path / "other"), "busybox", "true")
    assert (status, err) == (0, "")
    (tmp_path / "other").unlink()
    assert docker("start", "orphan")[0] == 125
    assert docker("system", "check") == (0, "nothing wrong\n", "")
    assert docker("rm", "orphan") == (0, "orphan\n", "")


def typed(docker, words, feed):
    """What is shown on a terminal; each input is typed when what it waits for has come."""
    environment = {"PATH": os.environ["PATH"], "MINIDOCKER_ROOT": docker.place.roots.data, "MINIDOCKER_RUN": docker.place.roots.run}
    runtime = ["--runtime", docker.place.runtime] if docker.place.runtime else []
    master, slave = pty.openpty()
    with subprocess.Popen([PROGRAM, *runtime, *words], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True) as process:
        os.close(slave)
        shown = b""
        try:
            while True:
                while feed and feed[0][0] in shown:
                    os.write(master, feed.pop(0)[1])
                if not select.select([master], [], [], TIMEOUT_S)[0]:
                    process.kill()
                    break
                try:
                    read = os.read(master, 4096)
                except OSError:
                    break
                if not read:
                    break
                shown += read
        finally:
            os.close(master)
    return shown.decode()


@pytest.mark.parametrize(
    ("shape", "words", "status", "said"),
    [
        ("<&-", ("cp", "-", "web:/tmp"), 125, "minidocker: read: Bad file descriptor (EBADF)"),
        ("<&-", ("load",), 125, "minidocker: read: Bad file descriptor (EBADF)"),
        (">&-", ("cp", "web:/bin", "-"), 125, "Bad file descriptor (EBADF)"),
        ("<&-", ("exec", "web", "true"), 0, ""),
        (">&-", ("exec", "web", "true"), 0, ""),
        ("<&- >&- 2>&-", ("run", "--rm", "--network", "none", "busybox", "true"), 0, ""),
        (">/dev/full", ("ps",), 125, "minidocker: write standard output: No space left on device"),
        (">/dev/full", ("inspect", "web"), 125, "minidocker: write standard output: No space left on device"),
        (">/dev/full", ("save", "busybox"), 125, "minidocker: write standard output: No space left on device"),
        (">/dev/full", ("export", "web"), 125, "No space left on device (ENOSPC)"),
        (">/dev/full", ("cp", "web:/bin", "-"), 125, "No space left on device (ENOSPC)"),
    ],
)
def test_stream_that_is_closed_or_full_is_one_line(docker, shape, words, status, said):
    environment = {"PATH": os.environ["PATH"], "MINIDOCKER_ROOT": docker.place.roots.data, "MINIDOCKER_RUN": docker.place.roots.run}
    command = ["sh", "-c", f'exec "$@" {shape}', "sh", PROGRAM, *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S, check=False)
    assert done.returncode == status
    assert said in done.stderr and "Traceback" not in done.stderr
    assert done.stderr == "" if not said else done.stderr.startswith("minidocker: ")
