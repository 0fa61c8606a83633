"""save and load: what one writes the other reads, docker's old form, plain OCI layouts, skopeo and umoci as witnesses, and what is refused."""

import gzip
import io
import json
import os
import subprocess
import tarfile

import pytest
from tars import archive, file, folder, hardlink, symlink

from pyoci.minidocker.errors import BadRequest, ImageProblem, NotFound
from pyoci.minidocker.images import archive as archives
from pyoci.minidocker.images import commit, layers, records, reference
from pyoci.minidocker.images.check import check
from pyoci.minidocker.images.content import digest_of
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def other(tmp_path):
    """A second store, as on another host."""
    store = Store(Roots(str(tmp_path / "data2"), str(tmp_path / "run2"), {}))
    yield store
    store.close()


@pytest.fixture
def image(store):
    """An image of two layers with two names."""
    first = commit.import_tree(store, io.BytesIO(archive(folder("d"), file("d/a", b"1"))), names=[reference.parse("one:1")], instructions=["CMD a"])
    from pyoci.minidocker.images import assemble
    from pyoci.minidocker.images.content import Content

    with Content(store.roots).lease() as lease:
        found = commit.layers_of(store, first, lease)
        found.append(assemble.add_layer(store, lease, io.BytesIO(archive(file("d/.wh.a"), file("b", b"22"))), first.chain))
        config = {key: first.config[key] for key in ("architecture", "os", "config")}
        return assemble.add_image(store, lease, config, found, [reference.parse("me/two:1"), reference.parse("me/two:2")])


def saved(store, *names):
    sink = io.BytesIO()
    archives.save(store, names, sink)
    return sink.getvalue()


def load(store, data):
    return archives.load(store, io.BytesIO(data))


def same(one, two):
    return (one.id, one.manifest, one.layers, one.config) == (two.id, two.manifest, two.layers, two.config)


# --- round trips


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_what_is_saved_is_loaded_with_its_names_and_digests(store, other, image, pack):
    ((found, names),) = load(other, pack(saved(store, "me/two:1")))
    assert same(found, image)
    assert (found.tags, names) == (["docker.io/me/two:1"], [reference.parse("me/two:1")])
    assert check(other, deep=True) == []


def test_a_name_without_a_tag_means_all_its_tags(store, other, image):
    ((found, _names),) = load(other, saved(store, "me/two"))
    assert found.tags == ["docker.io/me/two:1", "docker.io/me/two:2"]


def test_an_id_saves_no_name(store, other, image):
    ((found, names),) = load(other, saved(store, image.short_id))
    assert (found.id, found.tags, names) == (image.id, [], [])


def test_several_images_share_their_layers(store, other, image):
    data = saved(store, "one:1", "me/two:2")
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        assert len(opened.getnames()) == len(set(opened.getnames()))
    assert len(load(other, data)) == 2


def test_saving_twice_gives_the_same_bytes(store, image):
    assert saved(store, "me/two:1", "one:1") == saved(store, "me/two:1", "one:1")


def test_loading_twice_is_fine(store, image):
    before = check(store)
    ((found, _names),) = load(store, saved(store, "me/two:1"))
    assert (same(found, image), check(store), before) == (True, [], [])


def test_what_is_not_there_is_named(store, image):
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        saved(store, "nothing")
    with pytest.raises(BadRequest, match="no image named"):
        saved(store)


# --- forms of others


def old_docker(image_layers, *, link=False, hard=False, config=None, names=("old:1",), **more):
    """An archive as docker wrote it before version 25."""
    tars = [archive(*members) for members in image_layers]
    document = config or {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in tars]}}
    text = json.dumps(document).encode()
    name = digest_of(text)[7:] + ".json"
    members, paths = [file(name, text)], []
    for number, data in enumerate(tars):
        paths.append(f"{number}" * 64 + "/layer.tar")
        same_as = tars.index(data)
        if (link or hard) and same_as < number:
            members.append((hardlink if hard else symlink)(paths[-1], paths[same_as] if hard else f"../{paths[same_as]}"))
        else:
            members += [folder(paths[-1].split("/")[0]), file(paths[-1], data), file(paths[-1].replace("layer.tar", "json"), b"{}")]
    members.append(file("manifest.json", json.dumps([{"Config": name, "RepoTags": list(names), "Layers": paths, **more}]).encode()))
    return archive(*members)


THREE = [[file("a", b"1")], [file("b", b"2")], [file("a", b"1")]]


@pytest.mark.parametrize("how", [{}, {"link": True}, {"hard": True}], ids=["files", "symbolic links", "hard links"])
def test_dockers_old_form_is_loaded(store, how):
    ((found, _names),) = load(store, old_docker(THREE, **how))
    assert (found.tags, len(found.layers)) == (["docker.io/library/old:1"], 3)
    assert found.layers[0][1] == found.layers[2][1]
    assert check(store, deep=True) == []


def layout(document_of_index, blobs):
    return archive(
        file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        *(file(f"blobs/{digest_of(data).replace(':', '/')}", data) for data in blobs),
        file("index.json", json.dumps(document_of_index).encode()),
    )


def oci(annotations=None, nested=0, architecture=None):
    """A layout of one image below `nested` indexes."""
    from pyoci.minidocker.images.assemble import architecture as here

    layer = gzip.compress(archive(file("a", b"1")), mtime=0)
    config = json.dumps({"architecture": architecture or here(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(archive(file("a", b"1")))]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "config": described("config.v1+json", config), "layers": [described("layer.v1.tar+gzip", layer)],
    }).encode()  # fmt: skip
    entry = described("manifest.v1+json", manifest)
    blobs = [layer, config, manifest]
    for _depth in range(nested):
        entry["platform"] = {"os": "linux", "architecture": architecture or here()}
        foreign = {**entry, "digest": "sha256:" + "3" * 64, "platform": {"os": "linux", "architecture": "m68k"}}
        blobs.append(json.dumps({"schemaVersion": 2, "manifests": [foreign, entry]}).encode())
        entry = described("index.v1+json", blobs[-1])
    return {"schemaVersion": 2, "manifests": [{**entry, "annotations": annotations or {}}]}, blobs


def described(kind, data):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest_of(data), "size": len(data)}


@pytest.mark.parametrize("nested", [0, 1, 2])
@pytest.mark.parametrize(
    ("annotations", "tags"),
    [
        ({"org.opencontainers.image.ref.name": "latest"}, []),
        ({"org.opencontainers.image.ref.name": "me/it:3"}, ["docker.io/me/it:3"]),
        ({"io.containerd.image.name": "docker.io/me/it:4", "org.opencontainers.image.ref.name": "4"}, ["docker.io/me/it:4"]),
        ({}, []),
    ],
    ids=["tag alone", "name", "containerd's name", "none"],
)
def test_an_oci_layout_is_loaded(store, nested, annotations, tags):
    ((found, _names),) = load(store, layout(*oci(annotations, nested)))
    assert (found.tags, len(found.layers)) == (tags, 1)


def test_an_image_for_another_platform_alone_is_named(store):
    with pytest.raises(NotFound, match="no image for linux/"):
        load(store, layout(*oci(nested=1, architecture="m68000")))


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_is_saved_and_writes_what_is_loaded(store, other, image, tmp_path, transport):
    (tmp_path / "ours.tar").write_bytes(saved(store, "me/two:1"))
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{tmp_path}/ours.tar:me/two:1", f"{transport}:{tmp_path}/theirs.tar:me/other:5"], check=True, timeout=60)
    ((found, _names),) = load(other, (tmp_path / "theirs.tar").read_bytes())
    assert ([chain for chain, _blob in found.layers], found.tags) == ([chain for chain, _blob in image.layers], ["docker.io/me/other:5"])
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci-archive:{tmp_path}/ours.tar:1", f"oci:{tmp_path}/layout:x"], check=True, timeout=60)


@pytest.mark.needs("skopeo", "umoci")
def test_umoci_unpacks_what_is_saved_to_the_same_tree(store, image, tmp_path):
    (tmp_path / "ours.tar").write_bytes(saved(store, "me/two:1"))
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci-archive:{tmp_path}/ours.tar:1", f"oci:{tmp_path}/layout:x"], check=True, timeout=60)
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/layout:x", tmp_path / "bundle"], check=True, timeout=60, capture_output=True)
    assert sorted(os.listdir(tmp_path / "bundle/rootfs")) == ["b", "d"]
    assert os.listdir(tmp_path / "bundle/rootfs/d") == []


# --- refused


def tampered():
    index, blobs = oci()
    return layout(index, blobs).replace(b'"architecture"', b'"architektur1"')


BAD = {
    "no image": (archive(file("etc/passwd")), "neither manifest.json nor index.json"),
    "no archive": (b"x" * 600, "checksum"),
    "cut": (old_docker(THREE)[:5000], "cut off"),
    "manifest no json": (archive(file("manifest.json", b"[{")), "manifest.json: no JSON"),
    "manifest no array": (archive(file("manifest.json", b"{}")), "not an array of objects"),
    "manifest of numbers": (archive(file("manifest.json", b"[1]")), "not an array of objects"),
    "config missing": (archive(file("manifest.json", b'[{"Config":"x","Layers":[]}]')), "the config 'x' is not in it"),
    "config out": (archive(file("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')), "is not in it"),
    "config by a link out": (archive(symlink("c", "/etc/passwd"), file("manifest.json", b'[{"Config":"c","Layers":[]}]')), "is not in it"),
    "link in a circle": (archive(symlink("c", "d"), symlink("d", "c"), file("manifest.json", b'[{"Config":"c","Layers":[]}]')), "is not in it"),
    "layers no array": (old_docker(THREE, Layers=7), "Layers: must be an array"),
    "layers too few": (old_docker(THREE, Layers=[]), "0 layers, but the config has 3 diff ids"),
    "name": (old_docker(THREE, names=["UPPER:1"]), "invalid reference format"),
    "config no object": (archive(file("c", b"[]"), file("manifest.json", b'[{"Config":"c","Layers":[]}]')), "image config: not an object"),
    "diff id": (old_docker(THREE, config={"architecture": "a", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 3}}), "the content that came"),
    "half a character": (archive(file("c", b"{}"), file("manifest.json", b'[{"Config":"\\ud800","Layers":[]}]')), "manifest.json: [0].Config: half a character"),
    "hostile layer": (old_docker([[file("../x")]]), "leads out of the layer"),
    "blob tampered with": (tampered(), "the content that came has the digest"),
    "blob named wrongly": (archive(file("blobs/sha256/abc", b"x")), "not a digest"),
    "blob missing": (layout(oci()[0], oci()[1][:2]), "is not in it"),
    "index no object": (archive(file("index.json", b"[]")), "index.json: not an object"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_bad_archives_are_refused_and_leave_nothing(store, data, words):
    with pytest.raises(ImageProblem) as caught:
        load(store, data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (check(store), records.all_images(store)) == ([], [])
    assert not [name for name in os.listdir(store.roots.layers) if name.startswith("new-")] if os.path.exists(store.roots.layers) else True


def test_an_archive_with_a_device_is_refused(store):
    from tars import fifo

    with pytest.raises(ImageProblem, match="neither a plain file nor a link"):
        load(store, archive(fifo("p")))


def test_layers_of_a_loaded_image_can_be_mounted(store, tmp_path):
    ((found, _names),) = load(store, old_docker(THREE))
    layers.mount(store, found.chain, str(tmp_path / "c"), str(tmp_path / "c/rootfs"))
    try:
        assert (tmp_path / "c/rootfs/b").read_bytes() == b"2"
    finally:
        layers.unmount(str(tmp_path / "c/rootfs"))
