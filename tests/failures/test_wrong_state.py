"""Every verb in every state: what works, and for the rest the exact words that callers look for; and a damaged state directory."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
import support

from pyoci.kernel.proc import start_time

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")

STATES = ("missing", "created", "running", "paused", "stopped")
NOTHING = "container does not exist: ID"
STOPPED, PAUSED = "cannot exec in a stopped container", "cannot exec in a paused container (use --ignore-paused to override)"
# verb -> what it says in each of STATES, "" where it succeeds
SAID = {
    "state ID": (NOTHING, "", "", "", ""),
    "start ID": (NOTHING, "", "cannot start an already running container", "cannot start a container in the paused state",
                 "cannot start a container that has stopped"),
    "kill ID": (NOTHING, "", "", "", "container not running"),
    "kill ID KILL": (NOTHING, "", "", "", "container not running"),
    "kill ID 0": (NOTHING, "", "", "", "container not running"),
    "kill --all ID KILL": (NOTHING, "", "", "", ""),
    "delete ID": (NOTHING, "", "cannot delete container ID that is not stopped: running",
                  "cannot delete container ID that is not stopped: paused", ""),
    "delete --force ID": ("", "", "", "", ""),
    "exec ID true": (NOTHING, "", "", PAUSED, STOPPED),
    "ps ID": (NOTHING, "", "", "", ""),
    "pause ID": (NOTHING, "", "", "container not running", "container not running"),
    "resume ID": (NOTHING, "container not paused", "container not paused", "", "container not paused"),
    "update --pids-limit 10 ID": (NOTHING, "", "", "", "container not running"),
    "events --stats ID": (NOTHING, "", "", "", "container with id ID is not running"),
}  # fmt: skip


def bring(bundle, pyoci, state):
    """A container in that state.  Returns its id."""
    name = pyoci.new_id()
    if state == "missing":
        return name
    pyoci.create(bundle if state != "stopped" else bundle.shell("exit 0"), name)
    if state != "created":
        pyoci.ok("start", name)
    if state == "paused":
        pyoci.ok("pause", name)
    if state == "stopped":
        support.wait_until_stopped(pyoci, name)
    return name


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", SAID)
def test_verb_in_state(bundle, pyoci, verb, state):
    name = bring(bundle, pyoci, state)
    words = [name if word == "ID" else word for word in verb.split()]
    said = SAID[verb][STATES.index(state)].replace("ID", name)
    if not said:
        pyoci.ok(*words)
        return
    before = support.snapshot(pyoci.root)
    prefix, status = ("exec failed: ", 255) if words[0] == "exec" else ("", 1)
    assert pyoci.fails(*words, status=status) == prefix + said
    support.assert_unchanged(before)
    if state != "missing":
        assert pyoci.state(name)["status"] == state


def test_first_create_of_all_makes_the_root(bundle, pyoci):
    pyoci.root = pyoci.root / "a" / "b"
    pyoci.create(bundle)


def test_root_below_a_thousand_missing_directories_is_made(bundle, pyoci):
    top, pyoci.root = pyoci.root, pathlib.Path(f"{pyoci.root}{'/a' * 1200}")
    pyoci.ok("delete", "--force", pyoci.create(bundle))
    subprocess.run(["rm", "-r", top], check=True)  # deeper than shutil can


def test_list_of_a_root_that_was_named_and_is_missing_is_an_error(pyoci):
    assert pyoci.fails("list") == f"open {pyoci.root}: No such file or directory (ENOENT)"


@pytest.mark.parametrize("verb", [verb for verb in SAID if verb != "delete --force ID"])
def test_root_that_is_a_file_is_one_line(pyoci, verb):
    pyoci.root.write_text("")
    words = [pyoci.new_id() if word == "ID" else word for word in verb.split()]
    pyoci.fails(*words, status=255 if words[0] == "exec" else 1)
    pyoci.root.unlink()


def test_create_below_a_file_is_one_line(bundle, pyoci):
    pyoci.root.write_text("")
    assert "Not a directory (ENOTDIR)" in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    pyoci.root.unlink()


# --- a damaged record


def without(name):
    def change(text):
        record = json.loads(text)
        del record[name]
        return json.dumps(record)

    return change


def holding(name, value):
    return lambda text: json.dumps({**json.loads(text), name: value})


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "zeros": lambda text: "\0" * len(text),
    "array": lambda text: "[]",
    "no pid": without("pid"),
    "no cgroups": without("cgroups"),
    "no bundle": without("bundle"),
    "pid of nobody": holding("pid", 0),
    "pid of all": holding("pid", -1),
    "pid as text": holding("pid", "1"),
    "cgroups as list": holding("cgroups", []),
    "cgroups as numbers": holding("cgroups", {"freezer": 1}),
    "no cgroup": holding("cgroups", {}),
    "hooks as text": holding("hooks", "x"),
    "hooks as numbers": holding("hooks", {"poststop": [1]}),
    "another's id": holding("id", "another"),
}
VERBS = [verb for verb in SAID if "--force" not in verb]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_is_told_and_can_be_deleted_by_force(bundle, pyoci, damage):
    before = support.snapshot()
    name = pyoci.start(bundle)
    path = pyoci.root / name / "state.json"
    path.write_text(DAMAGES[damage](path.read_text()))
    for verb in VERBS if damage in ("empty", "no pid") else ("state ID", "delete ID"):
        words = [name if word == "ID" else word for word in verb.split()]
        line = pyoci.fails(*words, status=255 if words[0] == "exec" else 1)
        assert str(path) in line and line.endswith("delete --force removes the container"), line
    done = pyoci("list", "-q")
    assert done.returncode == 0 and name in done.stderr and done.stdout == ""
    pyoci.ok("delete", "--force", name)
    assert os.listdir(pyoci.root) == []
    support.assert_unchanged(before)


def test_damaged_record_of_a_paused_container_can_be_deleted(bundle, pyoci):
    before = support.snapshot()
    name = pyoci.start(bundle)
    pyoci.ok("pause", name)
    (pyoci.root / name / "state.json").write_text("")
    pyoci.ok("delete", "--force", name)
    support.assert_unchanged(before)


@pytest.mark.parametrize("file", ["config.json", "word", "gate"])
def test_missing_file_of_the_state_directory_is_no_traceback(bundle, pyoci, file):
    name = pyoci.create(bundle)
    (pyoci.root / name / file).unlink()
    for verb in SAID:
        done = pyoci(*[name if word == "ID" else word for word in verb.split()])
        if done.returncode:
            support.assert_one_line(done, 255 if verb.startswith("exec") else 1)


def test_journal_of_nonsense_does_not_stop_a_delete(bundle, pyoci):
    name = pyoci.create(bundle)
    journal = pyoci.root / name / "journal"
    journal.write_bytes(b"process\t1\0\nmade\t\0\n\0\nprocess\tx\ty\0\ncgroups\tnothing\0\n\xff\0\n" + journal.read_bytes())
    pyoci.ok("delete", "--force", name)


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
@pytest.mark.parametrize("spoil", [pathlib.Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"process\t")],
                         ids=["missing", "empty", "torn"])  # fmt: skip
def test_container_whose_journal_is_lost_is_deleted_by_its_record(bundle, pyoci, spoil, paused):
    """A disk that was full, or a crash of the host: the process may not be forgotten with the directory."""
    before = support.snapshot()
    name = pyoci.start(bundle)
    if paused:
        pyoci.ok("pause", name)
    spoil(pyoci.root / name / "journal")
    pyoci.ok("delete", "--force", name)
    support.assert_unchanged(before)


STRANGE_FILES = {
    "fifo": os.mkfifo,
    "link": lambda path: path.symlink_to("/dev/zero"),
    "directory": os.mkdir,
    "device": lambda path: os.mknod(path, 0o020600, os.makedev(1, 5)),
    "socket": lambda path: os.mknod(path, 0o140600),
}


@pytest.mark.parametrize("kind", STRANGE_FILES)
@pytest.mark.parametrize("file", ["state.json", "config.json", "journal", "word"])
def test_what_is_no_file_in_the_state_directory_holds_nobody(bundle, pyoci, file, kind):
    """Every verb ends, in one line where it fails, and the container can be deleted by force."""
    before = support.snapshot()
    name = pyoci.create(bundle)
    path = pyoci.root / name / file
    path.rename(pyoci.root / name / "old")
    STRANGE_FILES[kind](path)
    for verb in ("state ID", "list", "exec ID true", "start ID", "kill ID CONT", "update --pids-limit 5 ID"):
        done = pyoci(*[name if word == "ID" else word for word in verb.split()], timeout_s=20)
        if done.returncode:
            support.assert_one_line(done, 255 if verb.startswith("exec") else 1)
            assert "internal error" not in done.stderr
    pyoci.ok("delete", "--force", name, timeout_s=20)
    support.assert_unchanged(before)


def test_state_of_another_user_is_not_acted_on(bundle, pyoci, tmp_path):
    """Its journal names processes to end, its record hooks to run: with the rights of whoever deletes it."""
    name = pyoci.start(bundle)
    ran = tmp_path / "ran"
    with subprocess.Popen(["sleep", "1000"]) as victim:
        record = json.loads((pyoci.root / name / "state.json").read_text())
        started = start_time(victim.pid)
        record |= {"id": "evil", "pid": victim.pid, "started": started, "hooks": {"poststop": [{"path": "/bin/touch", "args": ["touch", str(ran)]}]}}
        folder = pyoci.root / "evil"
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps(record))
        (folder / "config.json").write_text("{}")
        (folder / "journal").write_bytes(b"process\t%d\t%d\0\n" % (victim.pid, started))
        for path in (folder, *folder.iterdir()):
            os.chown(path, 1000, 1000)
        for words in (["delete", "--force"], ["delete"], ["start"], ["pause"], ["exec"], ["kill"], ["state"], ["update", "--pids-limit", "5"]):
            more = {"exec": ["true"], "kill": ["KILL"]}.get(words[0], [])
            line = pyoci.fails(*words, "evil", *more, status=255 if words == ["exec"] else 1)
            assert "container evil is another user's: " in line and line.endswith("belongs to uid 1000, not to 0")
        assert "another user's" in pyoci("list").stderr
        assert victim.poll() is None and not ran.exists()
        victim.kill()
    shutil.rmtree(folder)


# --- no room, no permission


@pytest.fixture
def small_disk(pyoci):
    """disk(options): a tmpfs as the root."""

    def disk(options):
        pyoci.root.mkdir(exist_ok=True)
        support.mount("tmpfs", pyoci.root, "tmpfs", 0, options)

    yield disk
    subprocess.run(["umount", "--lazy", pyoci.root], check=False, capture_output=True)


@pytest.mark.parametrize("pages", range(1, 9))
def test_full_disk_is_one_line_or_no_matter(bundle, pyoci, small_disk, tmp_path, pages):
    """One page a file: somewhere on the way there is none for the next."""
    small_disk(f"nr_blocks={pages}")
    before = support.snapshot(tmp_path)
    name = pyoci.new_id()
    done = pyoci("create", "--bundle", bundle.path, name)
    if done.returncode:
        support.assert_one_line(done)
        assert "No space left on device (ENOSPC)" in done.stderr
        support.assert_unchanged(before)
    else:
        pyoci.ok("start", name)
        pyoci.ok("delete", "--force", name)
    pyoci.clean()


def test_full_disk_is_met_on_the_way(bundle, pyoci, small_disk):
    """So that the test above does not pass for having too much room."""
    small_disk("nr_blocks=3")
    assert pyoci("create", "--bundle", bundle.path, pyoci.new_id()).returncode == 1
    pyoci.clean()


@pytest.mark.parametrize("inodes", range(1, 9))
def test_disk_without_inodes_is_one_line_or_no_matter(bundle, pyoci, small_disk, tmp_path, inodes):
    small_disk(f"nr_inodes={inodes}")
    before = support.snapshot(tmp_path)
    name = pyoci.new_id()
    done = pyoci("create", "--bundle", bundle.path, name)
    if done.returncode:
        support.assert_one_line(done)
        support.assert_unchanged(before)
    else:
        pyoci.ok("start", name)
        pyoci.ok("delete", "--force", name)
    pyoci.clean()


def test_read_only_root_is_one_line(bundle, pyoci, small_disk):
    name = pyoci.new_id()
    small_disk("size=1m")
    support.mount("none", pyoci.root, None, 0x20 | 1)  # MS_REMOUNT, MS_RDONLY
    assert "Read-only file system (EROFS)" in pyoci.fails("create", "--bundle", bundle.path, name)
    assert pyoci.ok("list", "-q") == ""


def test_read_only_root_can_still_be_asked(bundle, pyoci, small_disk):
    small_disk("size=1m")
    name = pyoci.start(bundle)
    support.mount("none", pyoci.root, None, 0x20 | 1)
    assert pyoci.state(name)["status"] == "running"
    pyoci.ok("kill", name, "KILL")
    pyoci.fails("delete", "--force", name)
    support.mount("none", pyoci.root, None, 0x20)
    pyoci.ok("delete", "--force", name)


def test_created_container_that_is_stopped_by_a_signal_can_be_asked_again_and_again(bundle, pyoci):
    """Each question is a connection to its gate, which it accepts no more."""
    name = pyoci.create(bundle)
    pyoci.ok("kill", name, "STOP")
    for _ in range(20):
        assert pyoci.api().state(name)["status"] == "created"
    assert name in pyoci.ok("list", timeout_s=20)
    pyoci.ok("kill", name, "CONT")
    pyoci.ok("start", name)
    assert pyoci.state(name)["status"] == "running"
