"""records.py: images are found, named, removed and shown as docker does it."""

import json
import os

import pytest

from pyoci.minidocker.errors import BadRequest, Conflict, NotFound
from pyoci.minidocker.images import records
from pyoci.minidocker.images.content import Content, digest_of
from pyoci.minidocker.images.records import Layer, chain_ids
from pyoci.minidocker.images.reference import parse

DIGEST = "sha256:" + "d" * 64


def add_image(store, *names, layers=("base",), note=""):
    """An image with blobs, rows and layer folders; layers: words that stand for their contents."""
    content = Content(store.roots)
    blobs = [content.add_bytes(f"blob {word}".encode()) for word in layers]
    diffs = [digest_of(word.encode()) for word in layers]
    config = {"architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00.5Z", "author": note,
              "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": diffs}}  # fmt: skip
    chains = chain_ids(diffs)
    for chain in chains:
        os.makedirs(f"{store.roots.layers}/{chain[7:]}/diff", exist_ok=True)
    rows = [Layer(chain, diff, 10, blob) for chain, diff, blob in zip(chains, diffs, blobs, strict=True)]
    image_id = content.add_bytes(json.dumps(config).encode())
    manifest = content.add_bytes(json.dumps({"config": image_id, "layers": blobs}).encode())
    return records.add(store, image_id, manifest, config, rows, [parse(name) for name in names])


def add_container(store, image, status, container_id="c" * 64):
    with store.change() as db:
        db.execute(
            "insert into containers (id, name, created_ns, image, image_id, body, chain, status) values (?, ?, 1, '', ?, '{}', ?, ?)",
            (container_id, container_id, image.id, image.chain, status),
        )


def blobs(store):
    return sorted(os.listdir(store.roots.blobs))


def folders(store):
    return sorted(os.listdir(store.roots.layers))


def actions(store):
    return [row["action"] for row in store.db.execute("select action from events order by number")]


def test_chain_id_of_the_lowest_layer_is_its_diff_id():
    a, b = digest_of(b"a"), digest_of(b"b")
    assert chain_ids([a, b]) == [a, digest_of(f"{a} {b}".encode())]


def test_image_is_found_by_name_digest_id_and_beginning(store):
    image = add_image(store, "busybox:1.36", f"busybox@{DIGEST}")
    for word in ("busybox:1.36", "docker.io/library/busybox:1.36", f"busybox@{DIGEST}", f"busybox:other@{DIGEST}", image.id, image.id[7:], image.id[7:10],
                 image.id[:12]):  # fmt: skip
        assert records.find(store, word).id == image.id
    assert image.tags == ["docker.io/library/busybox:1.36"]
    assert image.digests == [f"docker.io/library/busybox@{DIGEST}"]
    assert (image.size, image.layers[0][0]) == (10, image.chain)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("busybox", "No such image: busybox:latest"),
        ("host:5000/a:b", "No such image: host:5000/a:b"),
        ("sha256:" + "0" * 64, "No such image: sha256:" + "0" * 64),
        ("0" * 64, "No such image: " + "0" * 64),
        ("sha256:01", "No such image: sha256:01"),
    ],
)
def test_missing_image_is_named(store, name, said):
    add_image(store, "other")
    with pytest.raises(NotFound) as caught:
        records.find(store, name)
    assert str(caught.value) == said


def test_wrong_name_is_refused(store):
    with pytest.raises(BadRequest, match="invalid reference format"):
        records.find(store, "UPPER")


def test_ambiguous_beginning_is_refused(store):
    for number in range(17):
        add_image(store, f"image{number}", note=str(number))
    firsts = [image.id[7] for image in records.all_images(store)]
    twice = next(digit for digit in firsts if firsts.count(digit) > 1)
    with pytest.raises(BadRequest, match=f"multiple IDs found with provided prefix: {twice}"):
        records.find(store, twice)


def test_name_wins_over_the_beginning_of_an_id(store):
    first = add_image(store, "first")
    second = add_image(store, first.id[7:11], note="second")
    assert records.find(store, first.id[7:11]).id == second.id


def test_name_moves_to_the_newer_image(store):
    old = add_image(store, "web")
    new = add_image(store, "web", note="new")
    assert records.find(store, "web").id == new.id
    assert records.find(store, old.id).tags == []


def test_tag_adds_a_name(store):
    image = add_image(store, "web")
    records.tag(store, "web", "host:5000/web:2")
    assert records.find(store, "host:5000/web:2").id == image.id
    assert actions(store) == ["pull", "tag"]


def test_tag_with_a_digest_is_refused(store):
    add_image(store, "web")
    with pytest.raises(BadRequest, match="refusing to create a tag with a digest reference"):
        records.tag(store, "web", f"web@{DIGEST}")


def test_last_name_takes_the_image_with_its_layers_and_blobs(store):
    image = add_image(store, "web", f"web@{DIGEST}", layers=("base", "top"))
    assert records.remove(store, "web") == [
        ("Untagged", "web:latest"), ("Untagged", f"web@{DIGEST}"), ("Deleted", image.id), ("Deleted", image.layers[1][0]), ("Deleted", image.layers[0][0]),
    ]  # fmt: skip
    assert (blobs(store), folders(store), records.all_images(store)) == ([], [], [])


def test_one_name_of_two_is_only_a_name(store):
    image = add_image(store, "web", "web:2")
    assert records.remove(store, "web") == [("Untagged", "web:latest")]
    assert records.find(store, "web:2").id == image.id


def test_layer_of_another_image_stays(store):
    add_image(store, "one", layers=("base", "one"))
    two = add_image(store, "two", layers=("base", "two"))
    deleted = [what for word, what in records.remove(store, "one") if word == "Deleted"]
    assert len(deleted) == 2
    assert folders(store) == sorted(chain[7:] for chain, _ in two.layers)
    assert len(blobs(store)) == 4


def test_id_with_names_of_one_repository_takes_all(store):
    image = add_image(store, "web", f"web@{DIGEST}")
    assert [word for word, _ in records.remove(store, image.id[7:19])] == ["Untagged", "Untagged", "Deleted", "Deleted"]


def test_id_with_several_names_must_be_forced(store):
    image = add_image(store, "web", "other")
    with pytest.raises(Conflict) as caught:
        records.remove(store, image.id)
    assert str(caught.value) == f"conflict: unable to delete {image.short_id} (must be forced) - image is referenced in multiple repositories"
    assert [word for word, _ in records.remove(store, image.id, force=True)] == ["Untagged", "Untagged", "Deleted", "Deleted"]


def test_name_of_an_image_in_use_must_be_forced(store):
    image = add_image(store, "web")
    add_container(store, image, "exited")
    with pytest.raises(Conflict) as caught:
        records.remove(store, "web")
    assert str(caught.value) == (
        f'conflict: unable to remove repository reference "web:latest" (must force) - container cccccccccccc is using its referenced image {image.short_id}'
    )
    assert records.find(store, "web")


def test_image_of_a_stopped_container_goes_by_force_and_its_layers_stay(store):
    image = add_image(store, "web", layers=("base", "top"))
    add_container(store, image, "exited")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container cccccccccccc"):
        records.remove(store, image.id)
    assert records.remove(store, image.id, force=True) == [("Untagged", "web:latest"), ("Deleted", image.id)]
    assert folders(store) == sorted(chain[7:] for chain, _ in image.layers)


def test_image_of_a_running_container_cannot_be_forced(store):
    image = add_image(store, "web")
    add_container(store, image, "running")
    with pytest.raises(Conflict) as caught:
        records.remove(store, image.id, force=True)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.short_id} (cannot be forced) - image is being used by running container cccccccccccc"
    )


def test_forced_name_of_a_running_image_is_only_untagged(store):
    image = add_image(store, "web")
    add_container(store, image, "running")
    assert records.remove(store, "web", force=True) == [("Untagged", "web:latest")]
    assert records.find(store, image.id)


def test_prune_takes_the_unnamed_and_spares_the_used(store):
    used, unnamed, named = (add_image(store, *names, note=note) for note, names in (("used", ()), ("unnamed", ()), ("named", ("web",))))
    add_container(store, used, "exited")
    done, _ = records.prune(store)
    assert done == [("Deleted", unnamed.id)]
    assert {image.id for image in records.all_images(store)} == {used.id, named.id}


def test_prune_of_everything_tells_the_bytes(store):
    add_image(store, "web", layers=("base", "top"))
    done, freed = records.prune(store, everything=True)
    assert freed == 20
    assert [word for word, _ in done] == ["Untagged", "Deleted", "Deleted", "Deleted"]


def test_folder_without_a_row_is_collected_unless_it_is_leased(store):
    chain = "sha256:" + "e" * 64
    os.makedirs(f"{store.roots.layers}/{chain[7:]}/diff")
    with Content(store.roots).lease() as lease:
        lease.add(chain)
        records.collect(store)
        assert folders(store) == [chain[7:]]
    records.collect(store)
    assert folders(store) == []


def test_adding_again_keeps_names_and_takes_the_new_blobs(store):
    image = add_image(store, "web")
    again = records.add(store, image.id, DIGEST, image.config, [Layer(image.chain, image.chain, 10, DIGEST)], [parse("other")])
    assert (again.manifest, again.layers) == (DIGEST, [(image.chain, DIGEST)])
    assert again.tags == ["docker.io/library/web:latest", "docker.io/library/other:latest"]
    assert again.created_ns == image.created_ns


def test_inspect_has_the_engine_apis_shape(store):
    image = add_image(store, "web", f"web@{DIGEST}", layers=("base", "top"))
    shown = records.inspect(store, image)
    assert shown["Id"] == image.id
    assert shown["RepoTags"] == ["web:latest"]
    assert shown["RepoDigests"] == [f"web@{DIGEST}"]
    assert shown["Created"] == "2024-05-01T10:00:00.5Z"
    assert shown["Config"]["Cmd"] == ["sh"]
    assert shown["Config"]["Labels"] is None
    assert shown["RootFS"] == {"Type": "layers", "Layers": image.config["rootfs"]["diff_ids"]}
    assert shown["GraphDriver"]["Data"]["UpperDir"] == f"{store.roots.layers}/{image.chain[7:]}/diff"
    assert shown["Size"] == 20


def test_history_counts_layers_and_empty_ones(store):
    image = add_image(store, "web", layers=("base", "top"))
    image.config["history"] = [
        {"created": "2024-05-01T10:00:00Z", "created_by": "ADD base"},
        {"created_by": "CMD sh", "empty_layer": True},
        {"created_by": "RUN top", "comment": "c"},
    ]
    rows = records.history(store, image)
    assert [(row["Id"], row["CreatedBy"], row["Size"], row["Tags"]) for row in rows] == [
        (image.id, "RUN top", 10, ["web:latest"]), ("<missing>", "CMD sh", 0, None), ("<missing>", "ADD base", 10, None),
    ]  # fmt: skip
    assert rows[2]["Created"] == 1714557600


def test_history_that_does_not_fit_shows_the_layers(store):
    image = add_image(store, "web", layers=("base", "top"))
    image.config["history"] = [{"created_by": "lie"}]
    assert [row["Size"] for row in records.history(store, image)] == [10, 10]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01.123456789Z", 1123456789),
        ("1970-01-01T01:00:01+01:00", 10**9),
        ("0001-01-01T00:00:00Z", 0),
        ("2024-13-01T00:00:00Z", 0),
        ("yesterday", 0),
        (None, 0),
    ],
)
def test_date_of_an_image_is_read(text, nanoseconds):
    assert records.to_ns(text) == nanoseconds
