"""A first image without a network: of the host's busybox, of a folder, of a tar."""

import os
import re
import shutil
import stat
import subprocess

import pytest
from tars import archive, file, tree

from pyoci.minidocker.errors import BadRequest, ImageProblem, MiniDockerError
from pyoci.minidocker.images import layers, make, records
from pyoci.minidocker.images.check import check
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def rootfs(store, tmp_path):
    """rootfs(image) is the path where it is mounted."""
    mounted = []

    def mount(image):
        target = str(tmp_path / f"c{len(mounted)}/rootfs")
        layers.mount(store, image.chain, os.path.dirname(target), target)
        mounted.append(target)
        return target

    yield mount
    for target in mounted:
        layers.unmount(target)


def test_busybox_runs_in_its_image(store, rootfs):
    image = make.make_busybox(store)
    done = subprocess.run(["chroot", rootfs(image), "/bin/sh", "-c", "id -un; ls /bin | wc -l; env | grep -c .; stat -c %a /tmp"], capture_output=True, text=True, timeout=60)
    name, applets, _environment, mode = done.stdout.split()
    assert (name, int(applets) > 100, mode) == ("root", True, "1777")
    assert (image.tags, image.config["config"]["Cmd"], check(store)) == (["docker.io/library/busybox:latest"], ["sh"], [])


def test_the_same_busybox_makes_the_same_image(store, tmp_path):
    other = Store(Roots(str(tmp_path / "data2"), str(tmp_path / "run2"), {}))
    one, two = make.make_busybox(store), make.make_busybox(other, "me/other:1")
    assert (one.id, one.manifest) == (two.id, two.manifest)
    other.close()


def test_the_date_is_the_one_that_builds_are_told(store, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    image = make.make_busybox(store)
    assert image.config["created"] == "2001-09-09T01:46:40Z"
    assert os.stat(f"{layers.tree_of(store.roots, image.chain)}/bin").st_mtime == 10**9


def test_a_folder_becomes_an_image(store, tmp_path, rootfs):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/f").write_bytes(b"1")
    (source / "d/f").chmod(0o4755)
    os.symlink("f", source / "d/l")
    source.chmod(0o700)
    for path in ("d/l", "d/f", "d", ""):
        os.utime(source / path, ns=(5 * 10**9, 5 * 10**9), follow_symlinks=False)
    image = make.make_image(store, str(source), "mine", ["CMD /d/f"])
    assert tree(layers.tree_of(store.roots, image.chain)) == tree(source)
    assert image.config["config"]["Cmd"] == ["/bin/sh", "-c", "/d/f"]
    assert stat.S_IMODE(os.stat(rootfs(image)).st_mode) == 0o700


def test_a_tar_becomes_an_image(store, tmp_path):
    (tmp_path / "rootfs.tar").write_bytes(archive(file("a", b"1")))
    assert os.listdir(layers.tree_of(store.roots, make.make_image(store, str(tmp_path / "rootfs.tar"), "mine").chain)) == ["a"]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script"
    path.write_text("#!/bin/sh\necho no\n")
    path.chmod(0o755)
    return str(path)


def refusals(tmp_path, script):
    (tmp_path / "bad.tar").write_bytes(archive(file("../x")))
    return {
        "no program": (lambda store: make.make_busybox(store, program=str(tmp_path / "none")), MiniDockerError, "No such file or directory"),
        "a script": (lambda store: make.make_busybox(store, program=script), MiniDockerError, "is no ELF program"),
        "with libraries": (lambda store: make.make_busybox(store, program=shutil.which("ls")), MiniDockerError, "needs libraries"),
        "a bad name": (lambda store: make.make_busybox(store, "A b"), BadRequest, "invalid reference format"),
        "no source": (lambda store: make.make_image(store, str(tmp_path / "none"), "x"), MiniDockerError, "No such file or directory"),
        "a bad tar": (lambda store: make.make_image(store, str(tmp_path / "bad.tar"), "x"), ImageProblem, "leads out"),
        "a bad change": (lambda store: make.make_image(store, str(tmp_path), "x", ["FROM y"]), BadRequest, "from is not a valid change command"),
    }


@pytest.mark.parametrize("name", ["no program", "a script", "with libraries", "a bad name", "no source", "a bad tar", "a bad change"])
def test_what_makes_no_image_is_one_line_and_leaves_nothing(store, tmp_path, script, name):
    deed, kind, words = refusals(tmp_path, script)[name]
    with pytest.raises(kind, match=re.escape(words)) as caught:
        deed(store)
    assert "\n" not in str(caught.value)
    assert (records.all_images(store), check(store)) == ([], [])


def test_a_static_program_is_told_from_others():
    assert make.is_static(shutil.which("busybox"))
    assert not make.is_static(shutil.which("ls"))


def test_an_error_of_the_packer_reaches_the_reader(tmp_path):
    with make.packed_tree(str(tmp_path / "none")) as stream, pytest.raises(MiniDockerError, match="No such file"):
        while stream.read(1 << 20):
            pass


def test_a_reader_that_stops_stops_the_packer(tmp_path):
    (tmp_path / "f").write_bytes(bytes(1 << 20))
    with make.packed_tree(str(tmp_path)) as stream:
        assert len(stream.read(10)) == 10

