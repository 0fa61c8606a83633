"""Commands at the same moment: on one id there is one winner and clear losers; nobody waits for ever, and nothing is left."""

import os
import subprocess
import tempfile

import pytest
import support

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")

MANY = 50
RACERS = 8
ROUNDS = 10


class Racer:
    """A command that runs while others do."""

    def __init__(self, pyoci, *words):
        self.words = words
        self.out = tempfile.TemporaryFile()
        self.process = pyoci.start_process(*words, stdout=self.out, stderr=self.out)

    def end(self):
        """(exit status, what it said)."""
        self.process.wait(support.TIMEOUT_S)
        self.out.seek(0)
        said = self.out.read().decode()
        self.out.close()
        for word in ("Traceback", "internal error"):
            assert word not in said, f"{self.words}: {said}"
        assert not self.process.returncode or len(said.splitlines()) <= 1, f"{self.words}: {said}"
        return self.process.returncode, said.strip()


def race(pyoci, *commands):
    """Run them all at once.  Returns [(exit status, what it said)], in their order."""
    return [racer.end() for racer in [Racer(pyoci, *words) for words in commands]]


def test_fifty_containers_at_once_all_come_and_go(bundle, pyoci):
    bundle.mount("/new/place")
    before = support.snapshot()
    names = [pyoci.new_id("many") for _ in range(MANY)]
    done = race(pyoci, *(("run", "--detach", "--bundle", bundle.path, name) for name in names))
    assert [one for one in done if one[0]] == []
    assert {one["id"]: one["status"] for one in pyoci.api().list()} == dict.fromkeys(names, "running")
    done = race(pyoci, *(("delete", "--force", name) for name in names))
    assert [one for one in done if one[0]] == []
    assert os.listdir(pyoci.root) == []
    support.assert_unchanged(before)


def test_of_many_creates_of_one_id_one_wins(bundle, pyoci):
    for _ in range(ROUNDS):
        name = pyoci.new_id()
        done = race(pyoci, *[("create", "--bundle", bundle.path, name)] * RACERS)
        losers = [said for status, said in done if status]
        assert losers == [f"pyoci create failed: container with given ID already exists: {name}"] * (RACERS - 1)
        assert pyoci.state(name)["status"] == "created"
        pyoci.ok("delete", name)


def test_of_many_starts_of_one_container_one_wins(bundle, pyoci):
    for _ in range(ROUNDS):
        name = pyoci.create(bundle)
        done = race(pyoci, *[("start", name)] * RACERS)
        losers = [said for status, said in done if status]
        assert losers == ["cannot start an already running container"] * (RACERS - 1)
        pyoci.ok("delete", "--force", name)


def test_of_many_deletes_of_one_container_one_wins(bundle, pyoci):
    for _ in range(ROUNDS):
        name = pyoci.create(bundle)
        done = race(pyoci, *[("delete", name)] * RACERS)
        losers = [said for status, said in done if status]
        assert losers == [f"container does not exist: {name}"] * (RACERS - 1)


def test_forced_deletes_at_once_all_succeed(bundle, pyoci):
    for _ in range(ROUNDS):
        name = pyoci.start(bundle)
        assert race(pyoci, *[("delete", "--force", name)] * RACERS) == [(0, "")] * RACERS


def test_create_and_delete_at_once_leave_a_container_or_nothing(bundle, pyoci):
    """A delete that comes in the middle of a create waits for it, and then removes what it made."""
    for _ in range(ROUNDS):
        before = support.snapshot(pyoci.root.parent / "bundle" / "rootfs" / "bin")
        name = pyoci.new_id()
        (created, said), *deleted = race(pyoci, ("create", "--bundle", bundle.path, name), *[("delete", "--force", name)] * 3)
        assert [one for one in deleted if one[0]] == []
        there = pyoci("state", name).returncode == 0
        assert created == 0 or said.endswith(f"container does not exist: {name}"), said
        assert not there or created == 0
        pyoci.ok("delete", "--force", name)
        support.assert_unchanged(before)


def test_every_verb_against_a_delete_says_what_it_found(bundle, pyoci):
    """Whatever comes first: success, or one of the sentences for a container that is not there or not running any more."""
    said_of_old = ("container does not exist", "container not running", "cannot exec in a stopped container", "container not paused",
                   "cannot start a", "is not running", "container that has stopped", "signal 9", "killed", "ended")  # fmt: skip
    verbs = ("state ID", "kill ID TERM", "exec ID true", "ps ID", "pause ID", "update --pids-limit 9 ID", "start ID", "events --stats ID")
    for verb in verbs:
        for _ in range(3):
            name = pyoci.start(bundle) if not verb.startswith("start") else pyoci.create(bundle)
            words = tuple(name if word == "ID" else word for word in verb.split())
            (status, said), deleted = race(pyoci, words, ("delete", "--force", name))
            assert deleted == (0, "")
            exec_of_killed = words[0] == "exec" and status == 137 and not said
            assert status == 0 or exec_of_killed or any(word in said for word in said_of_old), (verb, status, said)
            pyoci.ok("delete", "--force", name)


def test_all_verbs_at_once_on_one_id_leave_a_container_or_nothing(bundle, pyoci):
    """Two of each in one moment: every loser has one line, both forced deletes succeed, and a last one ends it all."""
    verbs = (("create", "--bundle", bundle.path), ("start",), ("kill", "KILL"), ("exec", "true"), ("pause",), ("resume",), ("state",), ("delete", "--force"))
    for _ in range(ROUNDS // 2):
        before = support.snapshot()
        name = pyoci.new_id()
        pyoci.start(bundle, name)
        commands = [(*words, name) if words[0] in ("create", "delete") else (words[0], name, *words[1:]) for words in verbs]
        done = race(pyoci, *commands, *commands)
        won = [words[0] for (status, _), words in zip(done, commands * 2, strict=True) if status == 0]
        assert won.count("delete") == 2 and won.count("create") <= 2, done  # a create may win after each delete
        pyoci.ok("delete", "--force", name)
        assert "does not exist" in pyoci.fails("state", name)
        support.assert_unchanged(before)


def test_killing_while_it_starts_ends_it(bundle, pyoci):
    for _ in range(ROUNDS):
        name = pyoci.create(bundle)
        race(pyoci, ("start", name), ("kill", name, "KILL"), ("kill", name, "KILL"))
        pyoci("kill", name, "KILL")
        support.wait_until_stopped(pyoci, name)
        pyoci.ok("delete", name)


def test_execs_at_once_all_run(bundle, pyoci):
    name = pyoci.start(bundle)
    assert race(pyoci, *[("exec", name, "sh", "-c", "exit 7")] * 20) == [(7, "")] * 20
    assert len(pyoci.api().ps(name)) == 1


def test_command_that_holds_the_container_does_not_stop_those_that_only_look(bundle, pyoci, tmp_path):
    """A create that hangs in a hook is found by state as no container yet, and by a second create as one that exists."""
    began, go_on = support.Signal(tmp_path / "began"), support.Signal(tmp_path / "go-on")
    script = f"echo > {began.path}; read line < {go_on.path}"
    bundle.edit(lambda config: config.update(hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}))
    name = pyoci.new_id()
    process = pyoci.start_process("create", "--bundle", bundle.path, name, stderr=subprocess.DEVNULL)
    began.wait()
    assert pyoci.fails("state", name, timeout_s=10) == f"container does not exist: {name}"
    assert "already exists" in pyoci.fails("create", "--bundle", bundle.path, name, timeout_s=10)
    assert pyoci.ok("list", "-q", timeout_s=10) == ""
    go_on.give()
    assert process.wait(support.TIMEOUT_S) == 0
    assert pyoci.state(name)["status"] == "created"
