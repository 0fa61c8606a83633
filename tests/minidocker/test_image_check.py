"""What `system check` finds of images, and what it mends."""

import contextlib
import io
import os
import shutil

import pytest
from tars import archive, file

from pyoci.minidocker.errors import ImageProblem, RegistryProblem
from pyoci.minidocker.images import archive as archives
from pyoci.minidocker.images import assemble, layers, make, pull, records
from pyoci.minidocker.images.check import check, heal
from pyoci.minidocker.images.compare import differences
from pyoci.minidocker.images.content import Content

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def image(store):
    return make.make_busybox(store)


def folder(store, image):
    return layers.home(store.roots, image.chain)


def test_a_sound_store_has_no_problem(store, image):
    assert check(store, deep=True) == []


def lose_layer(store, image):
    shutil.rmtree(folder(store, image))


def lose_facts(store, image):
    os.unlink(f"{folder(store, image)}/layer.json")


def break_facts(store, image):
    with open(f"{folder(store, image)}/layer.json", "w") as file:
        file.write("{")


def change_facts(store, image):
    with open(f"{folder(store, image)}/layer.json", "w") as file:
        file.write('{"parent": "", "diff": "x", "size": 1, "lost": []}')


def leave_unfinished(store, image):
    os.mkdir(f"{store.roots.layers}/new-0123")


def leave_removed(store, image):
    os.mkdir(f"{store.roots.layers}/gone-0123")


def leave_folder(store, image):
    os.mkdir(f"{store.roots.layers}/" + "4" * 64)


def leave_blob(store, image):
    Content(store.roots).add_bytes(b"nobody's")


MENDABLE = {
    lose_layer: "it is not unpacked",
    lose_facts: "it is not unpacked",
    break_facts: "layer.json can't be read",
    change_facts: "layer.json and the record differ in diff and size",
    leave_unfinished: "unfinished layer new-0123",
    leave_removed: "unfinished layer gone-0123",
    leave_folder: "layer folder " + "4" * 64 + ": no record",
    leave_blob: ": no record",
}


@pytest.mark.parametrize(("deed", "words"), MENDABLE.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_can_be_mended_is_found_and_mended(store, image, deed, words):
    deed(store, image)
    (problem,) = check(store)
    assert words in problem
    assert len(heal(store)) == 1
    assert check(store, deep=True) == []
    assert records.find(store, "busybox").id == image.id


def lose_bytes(tree):
    os.truncate(f"{tree}/bin/busybox", 0)  # as after a power cut


def change_bytes(tree):
    facts = os.stat(f"{tree}/bin/busybox")
    with open(f"{tree}/bin/busybox", "r+b") as file:
        file.seek(1000)
        file.write(b"other")
    os.utime(f"{tree}/bin/busybox", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def change_owner(tree):
    os.chown(f"{tree}/etc/passwd", 7, 7)


def change_mode(tree):
    os.chmod(f"{tree}/bin", 0o700)


def change_link(tree):
    os.unlink(f"{tree}/bin/sh")
    os.symlink("/elsewhere", f"{tree}/bin/sh")


def change_kind(tree):
    os.unlink(f"{tree}/bin/sh")
    os.mkdir(f"{tree}/bin/sh")


def add_file(tree):
    os.mkdir(f"{tree}/etc/new")


def lose_file(tree):
    os.unlink(f"{tree}/etc/passwd")


def add_attribute(tree):
    os.setxattr(f"{tree}/bin/busybox", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))


def change_time(tree):
    os.utime(f"{tree}/etc/passwd", (1, 1))


CHANGES = {
    lose_bytes: "'/bin/busybox' is not as in its blob: content", change_bytes: "'/bin/busybox' is not as in its blob: content",
    change_owner: "'/etc/passwd' is not as in its blob: owner", change_mode: "'/bin' is not as in its blob: mode",
    change_link: "'/bin/sh' is not as in its blob: target", change_kind: "'/bin/sh' is not as in its blob: kind",
    add_file: "'/etc/new' is not as in its blob: added", lose_file: "'/etc/passwd' is not as in its blob: missing",
    add_attribute: "'/bin/busybox' is not as in its blob: attributes", change_time: "'/etc/passwd' is not as in its blob: time",
}  # fmt: skip


@pytest.mark.parametrize(("deed", "words"), CHANGES.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_changed_file_of_a_layer_is_named_and_mended_by_a_deep_check(store, image, deed, words):
    deed(f"{folder(store, image)}/diff")
    assert check(store) == []
    assert check(store, deep=True) == [f"layer {image.chain}: {words}"]
    heal(store, deep=True)
    assert check(store, deep=True) == []


def test_of_many_changed_files_twenty_are_named(store, image):
    for number in range(25):
        os.mkdir(f"{folder(store, image)}/diff/etc/{number}")
    found = check(store, deep=True)
    assert len(found) == 21
    assert found[-1] == f"layer {image.chain}: and 5 more files are not as in its blob"


def test_without_a_blob_the_bytes_of_a_layer_are_counted(store, image):
    lose_bytes(f"{folder(store, image)}/diff")
    lose_blob(store, image)
    assert [problem.split(": ", 1)[1] for problem in check(store, deep=True)][0].endswith("were unpacked")


def test_upper_layers_are_compared_with_what_they_cover_in_mind(store, image):
    """Whiteouts, opaque folders, and folders without an entry, which look like those below."""
    upper = archive(file("etc/.wh.passwd", b""), file("etc/.wh.nobodys", b""), file("bin/more", b"x"), file("new/.wh..wh..opq", b""), file("new/x", b"y"))
    os.chmod(f"{folder(store, image)}/diff/etc", 0o711)
    with Content(store.roots).lease() as lease:
        low = [records.Layer(chain, image.config["rootfs"]["diff_ids"][0], image.size, blob) for chain, blob in image.layers]
        top = assemble.add_layer(store, lease, io.BytesIO(upper), image.chain)
        assemble.add_image(store, lease, {"architecture": "amd64", "os": "linux", "config": {}}, [*low, top], [])
    os.chmod(f"{folder(store, image)}/diff/etc", 0o755)
    assert [problem.partition(": ")[2] for problem in check(store, deep=True)] == ["'/etc' is not as in its blob: mode"]  # it was made over another
    heal(store, deep=True)
    assert check(store, deep=True) == []


def test_a_layer_that_a_running_container_has_below_it_stays(store, image):
    change_owner(f"{folder(store, image)}/diff")
    with store.change() as db:
        columns = "(id, name, created_ns, image, image_id, body, chain, status)"
        db.execute(f"insert into containers {columns} values ('c1', 'web', 0, '', '', '{{}}', ?, 'running')", (image.chain,))
    (problem,) = check(store, deep=True)
    assert problem.endswith("; container web runs on it: stop it before --heal")
    inode = os.stat(folder(store, image)).st_ino
    heal(store, deep=True)
    assert check(store, deep=True) == [problem]
    assert os.stat(folder(store, image)).st_ino == inode


def test_a_damaged_blob_goes_when_it_is_healed_deeply(store, image):
    break_blob(store, image)
    heal(store, deep=True)
    (problem,) = check(store, deep=True)
    assert "is not here; pull it again" in problem


def lose_blob(store, image):
    os.unlink(Content(store.roots).path(image.layers[0][1]))


def lose_manifest(store, image):
    os.unlink(Content(store.roots).path(image.manifest))


def lose_config(store, image):
    os.unlink(Content(store.roots).path(image.id))


def break_blob(store, image):
    path = Content(store.roots).path(image.layers[0][1])
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"other")


def change_chain(store, image):
    with store.change() as db:
        db.execute("update layers set diff = ?", ("sha256:" + "5" * 64,))


DAMAGE = {
    lose_blob: ["the blob of its layer"],
    lose_manifest: ["the blob of its manifest"],
    lose_config: ["the blob of its config"],
    break_blob: ["is damaged; pull it again"],
    change_chain: ["do not give this chain id", "differ in diff"],
}


@pytest.mark.parametrize(("deed", "words"), DAMAGE.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_can_only_be_pulled_again_is_told_until_it_is(store, image, deed, words):
    deed(store, image)
    for _before_and_after in range(2):
        found = check(store, deep=True)
        assert len(found) == len(words)
        assert all(word in problem for word, problem in zip(words, found, strict=True))
        heal(store)


def test_a_container_without_its_layer_is_told(store):
    store.db.execute("insert into containers (id, name, created_ns, image, image_id, body, chain, status) values ('c1', 'n', 0, '', '', '{}', 'sha256:x', 'created')")
    assert check(store) == ["container c1: its layer sha256:x has no record"]


def a_pull(store):
    with contextlib.suppress(RegistryProblem):
        pull.pull(store, "127.0.0.1:1/nobody")


def a_load(store):
    with contextlib.suppress(ImageProblem):
        archives.load(store, io.BytesIO(b"no archive"))


@pytest.mark.parametrize("deed", [a_pull, a_load, records.prune], ids=lambda one: one.__name__)
def test_whatever_comes_next_clears_what_a_killed_one_left(store, image, deed):
    leave_unfinished(store, image)
    leave_removed(store, image)
    with layers.Unfinished(store.roots) as at_work:
        deed(store)
        assert sorted(name for name in os.listdir(store.roots.layers) if "-" in name) == [os.path.basename(at_work.path)]


def test_what_somebody_works_on_is_no_garbage(store, image):
    with layers.Unfinished(store.roots), Content(store.roots).lease() as lease:
        lease.add("sha256:" + "6" * 64)
        os.mkdir(f"{store.roots.layers}/" + "6" * 64)
        assert check(store) == []
        heal(store)
        assert os.path.isdir(f"{store.roots.layers}/" + "6" * 64)
        assert [name for name in os.listdir(store.roots.layers) if name.startswith("new-")]


def read_bytes():
    """How many bytes this process has read.  proc_pid_io(5)"""
    with open("/proc/self/io") as io_file:
        return int(next(line for line in io_file if line.startswith("rchar")).split()[1])


def test_holes_are_not_read_to_compare_them(tmp_path):
    for name, end in (("one", b"end"), ("same", b"end"), ("other", b"eNd"), ("hole", b"")):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "file").open("wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(end)
        os.utime(tmp_path / name / "file", (1, 1))
    before = read_bytes()
    assert [differences(tmp_path / "one", tmp_path / name) for name in ("same", "other", "hole")] == [[], [(b"file", "content")], [(b"file", "content")]]
    assert read_bytes() - before < 10 << 20
