"""dockerd beside us: it loads what we save under the same ids, we what it saves, and it tells the same changes of the same deeds."""

import io
import pathlib
import subprocess
import sys
import tarfile

import pytest
from tars import archive, file
from test_commit import BASE, CHANGES

from pyoci.minidocker.images import archive as archives
from pyoci.minidocker.images import assemble, commit, layers, make, records, reference
from pyoci.minidocker.images.check import check
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "engines"))

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox", "runc", "engines")


class Sides:
    """A store of ours with the image `two`, dockerd's client as `docker(words)`, and a folder that both see."""

    def __init__(self, place, folder):
        self.place = place
        self.folder = folder
        self.store = Store(Roots(str(folder / "data"), str(folder / "run"), {}))
        first = make.make_busybox(self.store)
        with Content(self.store.roots).lease() as lease:
            found = commit.layers_of(self.store, first, lease)
            found.append(assemble.add_layer(self.store, lease, io.BytesIO(archive(*BASE)), found[-1].chain))
            found.append(assemble.add_layer(self.store, lease, io.BytesIO(archive(file("etc/.wh.shells"), file("var/.wh..wh..opq"), file("late"))), found[-1].chain))
            config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/sbin"]}}
            self.image = assemble.add_image(self.store, lease, config, found, [reference.parse("two:1")])
        with open(folder / "ours.tar", "wb") as sink:
            archives.save(self.store, ["two:1", "busybox"], sink)

    def docker(self, words):
        done = self.place.sh(f"docker {words}")
        assert done.status == 0, done
        return done.output


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    import engine_daemons
    import engine_image

    folder = tmp_path_factory.mktemp("docker")
    engine_image.make(folder / "image.tar")
    with engine_daemons.dockerd(folder / "image.tar") as engine:
        found = Sides(engine.place, folder)
        found.docker(f"load -q -i {folder}/ours.tar")
        yield found
        found.store.close()


def test_dockers_ids_and_sizes_are_ours(sides):
    said = sides.docker("image inspect two:1 --format '{{.Id}} {{.Size}} {{json .RootFS.Layers}}'").split(maxsplit=2)
    diffs = sides.image.config["rootfs"]["diff_ids"]
    assert (said[0], int(said[1]), [diff in said[2] for diff in diffs]) == (sides.image.id, sides.image.size, [True] * 3)


def test_docker_sees_our_whiteouts(sides):
    assert sides.docker("run --rm --network none two:1 sh -c 'ls -A /var; ls -d /late'") == "/late\n"


def test_we_load_what_docker_saves(sides):
    sides.docker(f"save -o {sides.folder}/theirs.tar two:1 busybox:latest")
    other = Store(Roots(str(sides.folder / "data2"), str(sides.folder / "run2"), {}))
    with open(sides.folder / "theirs.tar", "rb", buffering=0) as stream:
        loaded = archives.load(other, stream)
    for image, names in loaded:
        ours = records.find(sides.store, names[0].familiar())
        assert (image.id, [chain for chain, _blob in image.layers]) == (ours.id, [chain for chain, _blob in ours.layers])
    assert len(loaded) == 2
    assert check(other, deep=True) == []
    other.close()


@pytest.mark.parametrize("script", [row[0] for row in CHANGES.values() if "setcap" not in row[0]], ids=[name for name, row in CHANGES.items() if "setcap" not in row[0]])
def test_docker_tells_the_same_changes_of_the_same_deeds(sides, tmp_path, script):
    (tmp_path / "deed").write_text(f"cd /; {script}\n")
    theirs = sides.docker(f'create --network none two:1 sh -ec "$(cat {tmp_path}/deed)"').strip()
    sides.docker(f"start -a {theirs}")
    rootfs = str(tmp_path / "c/rootfs")
    layers.mount(sides.store, sides.image.chain, str(tmp_path / "c"), rootfs)
    try:
        subprocess.run(["chroot", rootfs, "/bin/sh", "-ec", f"cd /; {script}"], check=True, timeout=60)
        ours = commit.diff(sides.store, sides.image.chain, str(tmp_path / "c/upper"))
    finally:
        layers.unmount(rootfs)
    told = "".join(f"{kind} {path}\n" for kind, path in ours)
    assert sorted(told.split("\n")) == sorted(sides.docker(f"diff {theirs}").split("\n"))


def test_docker_exports_the_same_tree(sides, tmp_path):
    sides.docker(f"create --name exported --network none two:1 && docker export -o {tmp_path}/theirs.tar exported")
    rootfs = str(tmp_path / "c/rootfs")
    layers.mount(sides.store, sides.image.chain, str(tmp_path / "c"), rootfs)
    try:
        with open(tmp_path / "ours.tar", "wb") as sink:
            commit.export_tree(rootfs, sink)
    finally:
        layers.unmount(rootfs)
    assert members(tmp_path / "ours.tar") == members(tmp_path / "theirs.tar")


def members(path):
    with tarfile.open(path) as opened:
        return {member.name.rstrip("/"): (member.type, member.mode & 0o7777, member.uid, member.gid, member.size, member.linkname) for member in opened}


def test_docker_imports_what_we_export_and_commits_what_we_read(sides, tmp_path):
    sides.docker("run --name changed --network none two:1 sh -c 'rm /d/a; mkdir -p /d/n; echo 1 > /d/n/x; chmod 700 /e'; docker commit changed theirs:1")
    sides.docker(f"save -o {tmp_path}/theirs.tar theirs:1")
    with open(tmp_path / "theirs.tar", "rb", buffering=0) as stream:
        ((image, _names),) = archives.load(sides.store, stream)
    assert image.chain and [chain for chain, _blob in image.layers[:3]] == [chain for chain, _blob in sides.image.layers]
    rootfs = str(tmp_path / "c/rootfs")
    layers.mount(sides.store, image.chain, str(tmp_path / "c"), rootfs)
    try:
        found = pathlib.Path(rootfs)
        assert ((found / "d/a").exists(), (found / "d/n/x").read_text(), oct((found / "e").stat().st_mode)) == (False, "1\n", "0o40700")
    finally:
        layers.unmount(rootfs)
