"""What `system check` finds of images, and what it mends."""

import os
import shutil

import pytest

from pyoci.minidocker.images import layers, make, records
from pyoci.minidocker.images.check import check, heal
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


def test_a_layer_that_lost_bytes_is_found_and_mended_when_they_are_counted(store, image):
    os.truncate(f"{folder(store, image)}/diff/bin/busybox", 0)  # as after a power cut
    assert check(store) == []
    (problem,) = check(store, deep=True)
    assert "were unpacked" in problem
    heal(store, deep=True)
    assert check(store, deep=True) == []


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


def test_what_somebody_works_on_is_no_garbage(store, image):
    with layers.Unfinished(store.roots), Content(store.roots).lease() as lease:
        lease.add("sha256:" + "6" * 64)
        os.mkdir(f"{store.roots.layers}/" + "6" * 64)
        assert check(store) == []
        heal(store)
        assert os.path.isdir(f"{store.roots.layers}/" + "6" * 64)
        assert [name for name in os.listdir(store.roots.layers) if name.startswith("new-")]
