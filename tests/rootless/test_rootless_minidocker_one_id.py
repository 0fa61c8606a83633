"""MiniDocker of a user without subordinate ids: one id is there, and what takes more says so."""

import subprocess

import pytest
from unprivileged import UID

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox", "unprivileged_userns")


def test_one_id_is_enough_for_an_image_of_ones_own(alone):
    status, out, said = alone("run", "--rm", "--network", "none", "busybox", "sh", "-c", "id -u; cat /proc/self/uid_map")
    assert (status, out.split()) == (0, ["0", "0", str(UID), "1"])
    assert said == (f"WARNING: only one id can be used in containers: /etc/subuid has no ids for {UID}; images with files of other users can't be unpacked\n")


def test_other_ids_are_refused_without_subordinate_ones(alone):
    assert alone("run", "--rm", "--network", "none", "-u", "1000", "busybox", "true")[0] == 125
    assert "user 1000 can't be had without root: of the ids of this user namespace 0 alone is there\n  /etc/subuid gives a user more\n" in alone.said
    with subprocess.Popen(["tar", "-c", "--owner=5", "--group=7", "-C", "/etc", "-f", "-", "hostname"], stdout=subprocess.PIPE) as tar:
        said = alone.refuses("import", "-", "owned:1", stdin=tar.stdout)
    assert said.endswith("no user id of this user namespace stands for its owner: see /etc/subuid")
