"""A disk that is full: what frees some of it works all the same."""

import os
import subprocess

import pytest
from minidocker_place import RUNTIME, Place, assert_nothing_left
from support import reap, snapshot
from test_cli_containers import Program

from pyoci.minidocker import spare
from pyoci.minidocker.paths import Roots

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")


@pytest.fixture
def small(own_mounts, tmp_path):
    """The program with roots on a disk of 24 MB that is full, and on it a container that runs, one that does not, and an image with two names."""
    (tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path / "disk"], check=True)
    before = snapshot()
    place = Place(tmp_path / "disk", RUNTIME)
    program = Program(place)
    program.folder = tmp_path
    program.prints("run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000")
    program.prints("create", "--name", "idle", "--network", "none", "busybox", "true")
    program.prints("tag", "busybox", "second:1")
    fill(tmp_path / "disk")
    yield program
    (tmp_path / "disk/filling").unlink(missing_ok=True)
    place.clean()
    reap()
    place.engine.close()
    assert_nothing_left(place, before)
    subprocess.run(["umount", tmp_path / "disk"], check=True)


def fill(disk):
    """Write until nothing more is taken."""
    with open(disk / "filling", "ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("words", [["rm", "idle"], ["rm", "-f", "web"], ["stop", "-t", "0", "web"], ["kill", "web"], ["rmi", "second:1"], ["container", "prune", "-f"], ["system", "prune", "-f"]],
                         ids=" ".join)  # fmt: skip
def test_what_frees_room_works_on_a_full_disk(small, words):
    status, _, err = small("create", "--name", "third", "--network", "none", "busybox", "true")
    assert (status, "full" in err or "No space" in err) == (125, True), err
    assert small(*words)[::2] == (0, "")
    assert small.prints("ps", "-aq", "--filter", "name=idle") == "" or words[-1] not in ("idle", "-f")  # it did what it said


def test_spare_room_is_kept_again_afterwards(small):
    path = f"{small.place.roots.data}/spare"
    small.prints("rm", "idle")
    (small.place.folder / "filling").unlink()
    small.prints("rmi", "second:1")
    assert os.stat(path).st_size == spare.SIZE and oct(os.stat(path).st_mode)[-3:] == "600"


def test_link_in_the_place_of_spare_room_is_not_followed(tmp_path):
    roots = Roots(str(tmp_path / "data"), str(tmp_path / "run"))
    os.makedirs(roots.data)
    os.symlink(tmp_path / "elsewhere", f"{roots.data}/spare")
    with spare.spent(roots):
        pass
    assert not (tmp_path / "elsewhere").exists() and os.path.islink(f"{roots.data}/spare")
