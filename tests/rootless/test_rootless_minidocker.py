"""MiniDocker of a user who is not root: its namespaces, what its containers can do, and what they can't, by name."""

import os
import pathlib
import subprocess

import pytest
import support
from minidocker_user import alone, mini  # noqa: F401 - fixtures, by their names
from unprivileged import SUBORDINATE, UID

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox", "unprivileged_userns", "newuidmap")


def test_a_container_says_what_it_was_told_to(mini):
    assert mini.run("busybox", "echo", "hi") == "hi"


def test_the_exit_status_is_the_containers(mini):
    assert mini("run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 7")[0] == 7


def test_root_there_is_the_user_here(mini):
    assert mini.run("-v", f"{mini.folder}/home:/home", "busybox", "sh", "-c", "id -u; echo x > /home/made") == "0"
    facts = (mini.folder / "home" / "made").stat()
    assert (facts.st_uid, facts.st_gid) == (UID, UID)


def test_other_ids_there_are_subordinate_ones_here(mini):
    mini.up("owned", "busybox", "sh", "-c", "touch /file; chown 5:7 /file; echo done; sleep 1000")
    support.until(lambda: mini.prints("logs", "owned") == "done")
    assert mini.prints("exec", "owned", "stat", "-c", "%u:%g", "/file") == "5:7"
    found = next((mini.data_root / "containers").glob("*/upper/file")).stat()
    assert (found.st_uid, found.st_gid) == (SUBORDINATE + 4, SUBORDINATE + 6)
    mini.prints("rm", "-f", "owned")
    assert not list((mini.data_root / "containers").iterdir())


def test_commands_share_the_namespaces_of_a_running_container(mini):
    mini.up("first", "busybox", "sleep", "1000")
    mini.up("second", "busybox", "sleep", "1000")
    support.until(lambda: len(mini.members()) == 2)
    assert all("minidocker-monitor" in words for words in mini.members().values())
    for kind in ("user", "mnt"):
        assert len({os.readlink(f"/proc/{pid}/ns/{kind}") for pid in mini.members()}) == 1
    mounts = pathlib.Path(f"/proc/{min(mini.members())}/mountinfo").read_text()
    assert mounts.count(f"{mini.data_root}/containers/") >= 2
    mini.prints("rm", "-f", "first", "second")


def test_nobody_stays_for_the_namespaces_sake(mini):
    mini.run("busybox", "true")
    support.until(lambda: not mini.members())


def test_a_container_whose_monitor_was_killed_is_killed_whatever_its_ids(mini):
    mini.up("orphan", "-u", "1000", "busybox", "sleep", "1000")
    support.until(lambda: len(mini.members()) == 1)
    (monitor,), (process,) = mini.members(), mini.members("ids")
    os.kill(monitor, 9)
    support.until(lambda: not mini.members())
    spaces = os.readlink(f"/proc/{process}/ns/user")
    child = mini.start("events")
    support.until(lambda: mini.members())
    assert os.readlink(f"/proc/{child.pid}/ns/user") == spaces
    child.terminate()
    child.wait()
    assert "runs without its monitor" in mini("system", "check", "--heal")[1]
    support.wait_for_end(process)
    mini.prints("rm", "orphan")
