"""Full disks, kills at any moment and many at once: what is left is sound, or garbage that heal takes."""

import io
import os
import pathlib
import random
import select
import subprocess
import sys

import pytest
from tars import archive, file

from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images import commit, layers, make, records
from pyoci.minidocker.images.check import check, heal
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root", "busybox")
TREE = pathlib.Path(__file__).resolve().parents[2]
PREAMBLE = f"""
import io, os, sys
sys.path[:0] = [{str(TREE)!r}, {str(TREE / "tests/minidocker")!r}]
from tars import archive as tar, file
from pyoci.minidocker.images import archive, commit, layers, make, records, reference
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store
store = Store(Roots(sys.argv[1], sys.argv[2], {{}}))
os.write(1, b"go")
"""


@pytest.fixture(params=[200, 400, 1500, 3000, 6000])
def small_disk(request, tmp_path):
    """Roots on a file system of so many KiB."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", where], check=True)
    yield Roots(str(where / "data"), str(where / "run"), {})
    subprocess.run(["umount", where], check=True)


def test_a_full_disk_is_said_and_leaves_nothing(small_disk):
    store = Store(small_disk)
    rows = []
    for deed in (make.make_busybox, lambda store: commit.import_tree(store, io.BytesIO(archive(*(file(f"f{number}", os.urandom(20000)) for number in range(300)))))):
        try:
            rows.append(deed(store).id)
        except MiniDockerError as error:
            assert str(error).endswith("No space left on device (ENOSPC)")
            assert "\n" not in str(error)
    assert check(store, deep=True) == []
    assert len(records.all_images(store)) == len(rows) < 2
    store.close()


DEEDS = {
    "make": "make.make_busybox(store)",
    "import": 'commit.import_tree(store, io.BytesIO(tar(*(file(f"f{n}", os.urandom(3000)) for n in range(150)))), names=[reference.parse("x")])',
    "load": "archive.load(store, open(sys.argv[3], 'rb', buffering=0))",
    "remove": "make.make_busybox(store); records.remove(store, 'busybox')",
}


def start(roots, code, *arguments):
    return subprocess.Popen([sys.executable, "-c", PREAMBLE + code, roots.data, roots.run, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def saved(tmp_path):
    """An archive of a few layers, of another store."""
    from pyoci.minidocker.images import archive as archives

    store = Store(Roots(str(tmp_path / "other"), str(tmp_path / "other-run"), {}))
    make.make_busybox(store)
    with open(tmp_path / "saved.tar", "wb") as sink:
        archives.save(store, ["busybox"], sink)
    store.close()
    return str(tmp_path / "saved.tar")


@pytest.mark.parametrize("name", DEEDS)
def test_a_kill_at_any_moment_leaves_a_sound_store_or_garbage(store, saved, name):
    chance = random.Random(name)
    for _turn in range(12):
        child = start(store.roots, DEEDS[name], saved)
        assert child.stdout.read(2) == b"go"
        select.select([child.stdout], [], [], chance.random() * 0.25)  # it is the moment of the kill that is by chance
        child.kill()
        child.communicate()
        found = check(store)
        assert [problem for problem in found if "no record" not in problem and "unfinished" not in problem] == []
        heal(store)
        assert check(store, deep=True) == []
    assert not [each for each in os.listdir(store.roots.layers) if each.startswith(("new-", "gone-"))]


def test_many_at_once_do_not_disturb_each_other(store, saved):
    children = [start(store.roots, DEEDS[name], saved) for _turn in range(4) for name in ("make", "import", "load")]
    outcomes = [(child.communicate(timeout=120), child.returncode) for child in children]
    assert [outcome for outcome in outcomes if outcome[1]] == []
    assert check(store, deep=True) == []
    assert {image.tags[0] for image in records.all_images(store) if image.tags} == {"docker.io/library/busybox:latest", "docker.io/library/x:latest"}
    assert os.path.isdir(layers.tree_of(store.roots, records.find(store, "busybox").chain))
