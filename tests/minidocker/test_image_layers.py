"""Layers: made whole or not at all, published once, mounted over each other in both ways, and what a container finds in them."""

import io
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading

import pytest
from tars import archive, file, folder, symlink, tree

from pyoci.minidocker.errors import ImageProblem, MiniDockerError
from pyoci.minidocker.images import layers, overlay
from pyoci.minidocker.images.compress import Plain
from pyoci.minidocker.images.unpack import Limits

pytestmark = pytest.mark.needs("root")
TREE = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def stack(store, tmp_path):
    """stack(members, members, ...) publishes layers, the lowest first, with rows; returns the topmost chain id."""

    def build(*all_members):
        chain = ""
        for members in all_members:
            unfinished = layers.extract(store.roots, io.BytesIO(archive(*members)))
            diff, size = unfinished.diff, unfinished.size
            parent, chain = chain, layers.publish(store.roots, unfinished, chain)
            store.db.execute("insert or ignore into layers values (?, ?, ?, ?)", (chain, parent, diff, size))
        return chain

    return build


@pytest.fixture
def mounted(store, tmp_path):
    """mounted(chain) is the path of the mounted rootfs of a container; string=True by mount(2)."""
    targets = []

    def mount(chain, name="c", volatile=False, string=False):
        container = tmp_path / name
        if string:
            lowers = layers.lowers_of(store, chain)
            for part in ("upper", "work", "rootfs"):
                (container / part).mkdir(parents=True)
            overlay.mount_overlay(lowers, container / "rootfs", f"{container}/upper", f"{container}/work", volatile, string=True)
        else:
            layers.mount(store, chain, str(container), str(container / "rootfs"), volatile)
        targets.append(container / "rootfs")
        return container / "rootfs"

    yield mount
    for target in targets:
        layers.unmount(str(target))


def names(roots):
    return sorted(os.listdir(roots.layers)) if os.path.isdir(roots.layers) else []


# --- making


def test_layer_is_kept_by_its_chain_id(store, stack):
    lower = stack([file("a", b"1")])
    chain = stack([file("a", b"1")], [file("b", b"22")])
    assert names(store.roots) == sorted([lower[7:], chain[7:]])
    assert layers.facts(store.roots, chain) == {"parent": lower, "diff": layers.facts(store.roots, chain)["diff"], "size": 2, "lost": []}
    assert layers.chain_id(lower, layers.facts(store.roots, chain)["diff"]) == chain


@pytest.mark.parametrize("packed", [archive(file("../x")), archive(file("a"))[:700], b"\x1f\x8b junk", archive(symlink("a", "/"), file("a/../b"))], ids=["dots", "cut", "gzip", "link"])
def test_a_refused_layer_leaves_nothing(roots, packed):
    with pytest.raises(ImageProblem):
        layers.extract(roots, io.BytesIO(packed))
    assert names(roots) == []


def test_another_content_than_its_diff_id_leaves_nothing(roots):
    with pytest.raises(ImageProblem, match="the content that came has the diff id sha256:"):
        layers.extract(roots, io.BytesIO(archive(file("a"))), "sha256:" + "0" * 64)
    assert names(roots) == []


def test_bytes_behind_the_end_of_the_archive_belong_to_the_diff_id(roots):
    import hashlib

    data = archive(file("a")) + b"trailing" * 1000
    with layers.extract(roots, io.BytesIO(data), "sha256:" + hashlib.sha256(data).hexdigest()) as layer:
        assert layer.size == 0


def test_what_is_not_published_goes(roots):
    with layers.extract(roots, io.BytesIO(archive(file("a")))):
        assert len(names(roots)) == 1
    assert names(roots) == []


def test_the_first_to_publish_wins(roots):
    one, two = (layers.extract(roots, io.BytesIO(archive(file("a", b"1")))) for _ in range(2))
    assert layers.publish(roots, one) == layers.publish(roots, two)
    assert len(names(roots)) == 1


def test_a_layer_without_the_one_below_is_refused(roots):
    layer = layers.extract(roots, io.BytesIO(archive(file("a"))))
    with pytest.raises(ImageProblem, match="not unpacked in"):
        layers.publish(roots, layer, "sha256:" + "1" * 64)
    assert names(roots) == []


def test_all_layers_are_unpacked_at_once_and_published_upwards(roots):
    packed = [archive(folder("d", mode=0o700 + number)) for number in range(7)] + [archive(file("d/f", b"x"))]
    diffs = []
    for data in packed:
        with layers.extract(roots, io.BytesIO(data)) as layer:
            diffs.append(layer.diff)
    chains = layers.ensure_all(roots, diffs, [lambda data=data: io.BytesIO(data) for data in packed])
    assert layers.below(roots, chains[-1]) == chains[::-1]
    assert stat.S_IMODE(os.stat(f"{layers.tree_of(roots, chains[-1])}/d").st_mode) == 0o706
    assert layers.ensure_all(roots, diffs, [None] * 8) == chains


def test_one_bad_layer_of_many_leaves_none_unfinished(roots):
    good = archive(file("a"))
    with layers.extract(roots, io.BytesIO(good)) as layer:
        diff = layer.diff
    with pytest.raises(ImageProblem):
        layers.ensure_all(roots, [diff, "sha256:" + "0" * 64, diff], [lambda: io.BytesIO(good)] * 3)
    assert not [name for name in names(roots) if name.startswith("new-")]


def test_threads_that_want_the_same_layer_get_it(roots):
    data = archive(*(file(f"f{number}", b"x") for number in range(200)))
    with layers.extract(roots, io.BytesIO(data)) as layer:
        diff = layer.diff
    found = []
    threads = [threading.Thread(target=lambda: found.append(layers.ensure(roots, "", diff, lambda: io.BytesIO(data)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, names(roots)) == ([diff] * 6, [diff[7:]])


def test_a_killed_process_leaves_a_whole_layer_or_garbage(store, tmp_path):
    from pyoci.minidocker.images.check import check, heal

    (tmp_path / "layer.tar").write_bytes(archive(*(file(f"d{number % 7}/f{number}", b"x" * 3000) for number in range(400))))
    code = f"""
import sys
sys.path.insert(0, {str(TREE)!r})
from pyoci.minidocker.images import layers
from pyoci.minidocker.paths import Roots
print("go", flush=True)
roots = Roots({store.roots.data!r}, {store.roots.run!r}, {{}})
with open({str(tmp_path / "layer.tar")!r}, "rb", buffering=0) as packed:
    layers.publish(roots, layers.extract(roots, packed))
"""
    sizes = set()
    for turn in range(24):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        threading.Event().wait(turn * 0.002)  # where it is killed is the point of it
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        for name in names(store.roots):
            if not name.startswith("new-"):
                sizes.add((layers.facts(store.roots, f"sha256:{name}")["size"], layers.tree_size(f"{store.roots.layers}/{name}/diff")))
        heal(store)
        assert check(store) == []
        assert names(store.roots) == []
    assert sizes <= {(1200000, 1200000)}


# --- implied folders


def test_a_folder_without_an_entry_looks_like_the_one_below(store, stack):
    lower = [folder("tmp", mode=0o1777, uid=7, mtime=5, pax_headers={"SCHILY.xattr.user.a": "1"}), folder("tmp/x", gid=8), file("etc", b"")]
    chain = stack([folder("./", mode=0o711, mtime=3)], lower, [file("unrelated")], [file("tmp/x/y/z")])
    top = layers.tree_of(store.roots, chain)
    assert tree(top)[b"tmp"] == ("0o41777", 7, 0, 5_000_000_000, 0)
    assert tree(top)[b"tmp/x"][2] == 8
    assert tree(top)[b"tmp/x/y"][:3] == ("0o40755", 0, 0)
    assert tree(top)[b"."][:1] == ("0o40711",)
    assert os.getxattr(f"{top}/tmp", "user.a") == b"1"


def test_a_folder_that_was_whited_out_below_looks_like_new(store, stack):
    chain = stack([folder("d", mode=0o700), folder("o", mode=0o700)], [file(".wh.d"), file(".wh..wh..opq")], [file("d/x"), file("o/x")])
    found = tree(layers.tree_of(store.roots, chain))
    assert (found[b"d"][0], found[b"o"][0]) == ("0o40755", "0o40755")


# --- mounts


@pytest.mark.parametrize("string", [False, True], ids=["calls", "string"])
def test_layers_lie_over_each_other(stack, mounted, string):
    chain = stack(
        [folder("d"), file("d/a", b"1"), file("d/b", b"1"), folder("o"), file("o/a"), file("gone")],
        [file("d/b", b"2"), file("d/.wh.a"), file("o/.wh..wh..opq"), file("o/b"), file(".wh.gone")],
    )
    found = set(tree(mounted(chain, string=string)))
    assert found - set(tree_of_initial()) == {b"d", b"d/b", b"o", b"o/b"}


def tree_of_initial():
    return {b".", b".dockerenv", b"dev", b"dev/console", b"dev/pts", b"dev/shm", b"etc", b"etc/hostname", b"etc/hosts", b"etc/mtab", b"etc/resolv.conf", b"proc", b"sys"}


@pytest.mark.parametrize("string", [False, True], ids=["calls", "string"])
def test_two_hundred_layers(stack, mounted, string):
    chain = stack(*([file(f"f{number}", b"%d" % number), file("last", b"%d" % number)] for number in range(200)))
    rootfs = mounted(chain, string=string)
    assert (rootfs / "last").read_bytes() == b"199"
    assert (rootfs / "f0").read_bytes() == b"0"
    (rootfs / "f5").write_bytes(b"new")
    assert (rootfs.parent / "upper/f5").read_bytes() == b"new"


def test_an_older_kernel_is_asked_for_nothing_that_it_complains_of(stack, mounted, monkeypatch):
    monkeypatch.setattr(overlay.proc, "kernel_version", lambda: (6, 6))
    monkeypatch.setattr(overlay.tree, "fsopen", None)
    assert (mounted(stack([file("a", b"1")])) / "a").read_bytes() == b"1"


def test_more_layers_than_the_kernel_takes_are_refused(tmp_path):
    with pytest.raises(MiniDockerError, match="501 layers; the kernel takes 500"):
        overlay.mount_overlay(["/"] * 501, tmp_path)


@pytest.mark.parametrize("string", [False, True], ids=["calls", "string"])
@pytest.mark.parametrize("name", ["with,comma:colon", "back\\slash", "l" * 200])
def test_odd_and_long_paths_can_be_mounted(tmp_path, string, name):
    base = tmp_path / name
    for part in ("a", "b", "upper", "work", "target"):
        (base / part).mkdir(parents=True)
    (base / "a/f").write_bytes(b"a")
    overlay.mount_overlay([str(base / "a"), str(base / "b")], str(base / "target"), str(base / "upper"), str(base / "work"), string=string)
    try:
        assert (base / "target/f").read_bytes() == b"a"
    finally:
        layers.unmount(str(base / "target"))


def test_a_data_root_on_an_overlay_is_told(stack, mounted, tmp_path):
    base = mounted(stack([file("a")], [file("b")]))
    for part in ("lower", "upper", "work", "target"):
        (base / part).mkdir()
    with pytest.raises(MiniDockerError) as caught:
        overlay.mount_overlay([str(base / "lower")], str(base / "target"), str(base / "upper"), str(base / "work"))
    assert "is on overlay, which can't be an upper layer" in caught.value.hint
    assert "\n" not in str(caught.value)


def test_an_opaque_root_hides_all_layers_below(stack, mounted):
    chain = stack([file("a")], [file(".wh..wh..opq"), file("b")])
    assert set(tree(mounted(chain))) - tree_of_initial() == {b"b"}


def test_an_image_without_layers_can_be_mounted(mounted):
    rootfs = mounted("")
    assert set(tree(rootfs)) == tree_of_initial()
    assert os.readlink(rootfs / "etc/mtab") == "/proc/mounts"


def test_mount_points_of_a_container_are_no_change_of_it(stack, mounted):
    chain = stack([folder("etc", mode=0o750), symlink("etc/resolv.conf", "/run/x"), file("etc/hosts", b"image's")])
    rootfs = mounted(chain)
    assert os.listdir(rootfs.parent / "upper") == []
    assert ((rootfs / "etc/hosts").read_bytes(), os.path.islink(rootfs / "etc/resolv.conf")) == (b"", False)
    assert stat.S_IMODE(os.stat(rootfs / "etc").st_mode) == 0o750


def test_the_root_looks_like_the_images(stack, mounted):
    rootfs = mounted(stack([folder("./", mode=0o701, uid=5)], [file("a")]))
    assert (stat.S_IMODE(os.stat(rootfs).st_mode), os.stat(rootfs).st_uid) == (0o701, 5)


@pytest.mark.parametrize("volatile", [True, False])
def test_a_container_is_mounted_again_with_what_it_wrote(stack, mounted, volatile):
    chain = stack([file("a")])
    rootfs = mounted(chain, volatile=volatile)
    (rootfs / "kept").write_bytes(b"1")
    layers.unmount(str(rootfs))
    assert (mounted(chain, volatile=volatile) / "kept").read_bytes() == b"1"


def test_unmount_of_what_is_not_mounted_is_fine(tmp_path):
    layers.unmount(str(tmp_path))
    layers.unmount(str(tmp_path / "missing"))


def test_a_layer_without_a_record_is_named(store, tmp_path):
    with pytest.raises(ImageProblem, match="there is no record of it"):
        layers.mount(store, "sha256:" + "2" * 64, str(tmp_path / "c"), str(tmp_path / "c/rootfs"))


def test_sizes_count_a_file_with_two_names_once(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"12345")
    os.link(tmp_path / "d/a", tmp_path / "b")
    os.symlink("d/a", tmp_path / "c")
    assert layers.tree_size(tmp_path) == 5 + len("d/a")


def test_a_bomb_is_refused_early(roots):
    import gzip

    bomb = gzip.compress(archive(file("zeros", bytes(20 << 20))))
    with pytest.raises(ImageProblem, match="a decompression bomb"):
        layers.extract(roots, Plain(io.BytesIO(bomb), Limits(free_bytes=1 << 20)), limits=Limits(free_bytes=1 << 20))
    assert names(roots) == []
