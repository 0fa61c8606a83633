"""What a container changed, as docker tells it, and the image that is committed from it; import and export."""

import io
import os
import subprocess
import tarfile

import pytest
from tars import archive, file, folder, symlink, tree

from pyoci.minidocker.errors import BadRequest, Conflict, ImageProblem
from pyoci.minidocker.images import commit, layers, records, reference
from pyoci.minidocker.images.changes import changes
from pyoci.minidocker.images.initial import FILES, FOLDERS, LINKS
from pyoci.minidocker.images.pack import make_entry, pack_tree

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def container(store, tmp_path):
    """container(members, ...) is the Container of an image with these layers, mounted."""
    made = []

    class Container:
        def __init__(self, *all_members):
            self.image = None
            for members in all_members:
                self.commit_layer(members)
            self.folder = tmp_path / f"c{len(made)}"
            self.rootfs = self.folder / "rootfs"
            self.upper = str(self.folder / "upper")
            self.chain = self.image.chain if self.image else ""
            layers.mount(store, self.chain, str(self.folder), str(self.rootfs))
            made.append(self)

        def commit_layer(self, members):
            from pyoci.minidocker.images import assemble
            from pyoci.minidocker.images.content import Content

            with Content(store.roots).lease() as lease:
                known = commit.layers_of(store, self.image, lease) if self.image else []
                known.append(assemble.add_layer(store, lease, io.BytesIO(archive(*members)), self.image.chain if self.image else ""))
                self.image = assemble.add_image(store, lease, {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"]}}, known)

        def sh(self, script):
            subprocess.run(["sh", "-ec", script], cwd=self.rootfs, check=True, timeout=60)
            return self

        @property
        def diff(self):
            return commit.diff(store, self.chain, self.upper)

        def commit(self, config=None, **more):
            return commit.commit(store, self.image, self.chain, self.upper, config or {}, **more)

    yield Container
    for one in made:
        layers.unmount(str(one.rootfs))


BASE = [folder("d", mtime=1), file("d/a", b"1", mtime=1), file("d/b", b"2", mtime=1), folder("e"), file("e/x"), file("e/y"), file("f", mode=0o644, mtime=1), symlink("l", "f")]

CHANGES = {
    "nothing": (":", []),
    "added": ("echo 1 > d/new; mkdir n; echo 2 > n/x", ["C /d", "A /d/new", "A /n", "A /n/x"]),
    "content": ("echo 1 > d/a", ["C /d", "C /d/a"]),
    "mode": ("chmod 600 f", ["C /f"]),
    "owner": ("chown 5 d/b", ["C /d", "C /d/b"]),
    "folder's mode": ("chmod 700 d", ["C /d"]),
    "capabilities": ("/sbin/setcap cap_net_raw+ep f", ["C /f"]),
    "link replaced": ("ln -sfn d/a l", ["C /l"]),
    "deleted": ("rm d/a", ["C /d", "D /d/a"]),
    "folder deleted": ("rm -r e", ["D /e"]),
    "folder made anew": ("rm -r e; mkdir e; touch e/z e/x", ["C /e", "C /e/x", "D /e/y", "A /e/z"]),
    "folder made anew with one in it": ("mkdir d/s; touch d/s/1; rm -r d; mkdir -p d/s; touch d/s/2", ["C /d", "D /d/a", "D /d/b", "A /d/s", "A /d/s/2"]),
    "file becomes folder": ("rm f; mkdir f; touch f/a", ["C /f", "A /f/a"]),
    "folder becomes file": ("rm -r e; touch e", ["C /e"]),
    "copied up but the same": ("touch -d @1 f; chmod 644 f; chown 0 d/a", []),
    "made and deleted": ("touch x; rm x; mkdir y; rmdir y", []),
    "renamed": ("mv f g; mv d/a d/c", ["C /d", "D /d/a", "A /d/c", "D /f", "A /g"]),
    "odd names": ("touch 'a b' \"$(printf 'c\\nd')\"", ["A /a b", "A /c\nd"]),
}


@pytest.mark.parametrize(("script", "wanted"), CHANGES.values(), ids=CHANGES.keys())
def test_changes_are_told_as_docker_tells_them(container, script, wanted):
    assert [f"{kind} {path}" for kind, path in container(BASE).sh(script).diff] == wanted


def test_changes_over_many_layers_see_what_shows_through(container):
    one = container([folder("d"), file("d/1")], [file("d/2")], [file("d/.wh.1"), file("d/3")])
    assert one.sh("rm -r d; mkdir d; touch d/1").diff == [("C", "/d"), ("A", "/d/1"), ("D", "/d/2"), ("D", "/d/3")]


def test_what_lay_in_a_folder_that_is_made_anew_below_another_is_deleted(container):
    one = container([folder("a"), folder("a/c"), file("a/c/x"), file("a/c/y")])
    assert one.sh("rm -r a; mkdir -p a/c; touch a/c/y a/c/z").diff == [("C", "/a"), ("C", "/a/c"), ("D", "/a/c/x"), ("C", "/a/c/y"), ("A", "/a/c/z")]


def test_changes_of_names_that_are_not_utf_8(container):
    one = container(BASE)
    with open(os.fsencode(one.rootfs) + b"/\xff", "wb"):
        pass
    assert one.diff == [("A", os.fsdecode(b"/\xff"))]


def test_a_link_out_is_not_followed(container):
    one = container(BASE).sh("rm -r e; ln -s /etc e")
    assert one.diff == [("C", "/e")]


# --- commit


def test_committed_image_shows_what_the_container_showed(container, store):
    one = container(BASE).sh("rm -r e; mkdir e; touch e/z; rm d/a; echo 1 > d/b; mkfifo p; chmod 4711 f; ln f g; mknod n c 1 3; chmod 701 .")
    image = one.commit()
    other = container()
    layers.mount(store, image.chain, str(other.folder / "2"), str(other.folder / "2/rootfs"))
    try:
        assert without_fractions(tree(other.folder / "2/rootfs")) == without_fractions(tree(one.rootfs))
        found = os.stat(other.folder / "2/rootfs/f")
        assert found.st_ino == os.stat(other.folder / "2/rootfs/g").st_ino
    finally:
        layers.unmount(str(other.folder / "2/rootfs"))


def without_fractions(found):
    """A layer keeps whole seconds, as docker's; what every container finds has its own times."""
    initial = {name.encode() for name in (*FOLDERS, *FILES, *LINKS)} | {b".", b"dev", b"etc"}
    found = {path: facts for path, facts in found.items() if path not in initial}
    return {path: (*facts[:3], facts[3] // 10**9 * 10**9 if facts[3] > 10**9 * 10**9 else facts[3], facts[4]) for path, facts in found.items()}


def test_the_same_changes_give_the_same_layer(container):
    one, two = container(BASE), container(BASE)
    for each in (two, one):
        each.sh("mkdir -p x/y; touch -d @5 x/b x/a; touch -d @5 x/y; touch -d @5 x")
    assert one.commit(created_ns=10**18).id == two.commit(created_ns=10**18).id


def test_a_container_that_changed_nothing_adds_no_layer(container):
    one = container(BASE).sh("touch -d @1 f")
    image = one.commit(comment="no more")
    assert (image.layers, image.config["history"][-1]["empty_layer"]) == (one.image.layers, True)


def test_the_config_is_the_containers_with_the_changes(container):
    image = container(BASE).sh("touch new").commit(
        {"Cmd": ["sh"], "Env": ["A=1"], "Hostname": "h", "Tty": True, "Labels": {"a": "b"}},
        instructions=["ENV B=2", "expose 80", 'CMD ["x"]'], author="me", comment="why", created_by="sh", created_ns=10**18, names=[reference.parse("me/it:2")],
    )  # fmt: skip
    assert image.config["config"] == {"Cmd": ["x"], "Env": ["A=1", "B=2"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}}
    assert image.config["history"][-1] == {"created": "2001-09-09T01:46:40Z", "author": "me", "comment": "why", "created_by": "sh"}
    assert (image.config["architecture"], image.config["author"], image.tags) == ("amd64", "me", ["docker.io/me/it:2"])


def test_a_container_whose_image_is_gone_is_named(container, store):
    one = container(BASE).sh("touch x")
    records.remove(store, one.image.id)
    with pytest.raises(Conflict, match="not here any more"):
        commit.commit(store, None, one.chain, one.upper, {})


def test_a_wrong_change_leaves_nothing(container, store):
    one = container(BASE).sh("touch x")
    before = [image.id for image in records.all_images(store)]
    with pytest.raises(BadRequest, match="run is not a valid change command"):
        one.commit(instructions=["RUN x"])
    assert [image.id for image in records.all_images(store)] == before


def test_manifest_names_what_is_there(container, store):
    from pyoci.minidocker.images.content import Content
    from pyoci.minidocker.images.documents import check_config, check_manifest, check_pair, decode

    image = container(BASE).sh("touch x").commit()
    content = Content(store.roots)
    manifest = check_manifest(decode(content.read(image.manifest), "manifest"))
    assert [layer["digest"] for layer in manifest["layers"]] == [blob for _chain, blob in image.layers]
    assert all(content.size(layer["digest"]) == layer["size"] for layer in manifest["layers"])
    check_pair(manifest, check_config(decode(content.read(image.id), "config")))


# --- packing


def test_the_writer_says_in_pax_only_what_ustar_can_not(tmp_path):
    (tmp_path / "short").write_bytes(b"1")
    os.utime(tmp_path / "short", ns=(5, 5))
    sink = io.BytesIO()
    pack_tree(sink, tmp_path, root=False)
    assert len(sink.getvalue()) == 512 + 512 + 1024
    (tmp_path / ("n" * 101)).write_bytes(b"")
    sink = io.BytesIO()
    pack_tree(sink, tmp_path, root=False)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as opened:
        assert opened.getnames() == ["n" * 101, "short"]


@pytest.mark.parametrize("fields", [{"uid": 1 << 30}, {"mtime_ns": -5 * 10**9}, {"mtime_ns": 10**20}, {"name": "ä".encode()}, {"name": b"\xff"}, {"name": b"a/" * 100 + b"b"}])
def test_what_is_written_is_read_back(fields):
    from pyoci.minidocker.images import tar
    from pyoci.minidocker.images.pack import header

    entry = make_entry(**{"name": b"f", "kind": tar.FILE, "xattrs": {"user.a": b"\0\n=", "user.\udcff": b""}, **fields})
    (found,) = tar.Reader(io.BytesIO(header(entry) + bytes(1024)))
    assert [getattr(found, key) for key in ("name", "uid", "mtime_ns", "xattrs")] == [getattr(entry, key) for key in ("name", "uid", "mtime_ns", "xattrs")]


def test_export_has_the_whole_tree(container):
    one = container(BASE).sh("touch x; rm f")
    sink = io.BytesIO()
    commit.export_tree(str(one.rootfs), sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as opened:
        found = {member.name for member in opened}
    assert found == {os.fsdecode(path) for path in tree(one.rootfs)} - {"."}


def test_import_makes_an_image_of_a_tree(store):
    image = commit.import_tree(store, io.BytesIO(archive(file("bin/x", b"1"))), instructions=["CMD /bin/x"], names=[reference.parse("mine")], message="hello")
    assert (image.tags, image.config["config"], image.size) == (["docker.io/library/mine:latest"], {"Cmd": ["/bin/sh", "-c", "/bin/x"]}, 1)
    assert image.config["history"][0]["comment"] == "hello"


def test_a_bad_import_leaves_nothing(store):
    with pytest.raises(ImageProblem):
        commit.import_tree(store, io.BytesIO(archive(file("../x"))))
    assert (records.all_images(store), os.listdir(store.roots.layers)) == ([], [])
    assert not [name for name in os.listdir(store.roots.ingest) if name != "gc.lock"]


def test_changes_of_missing_folders_are_one_line(tmp_path):
    from pyoci.minidocker.errors import MiniDockerError

    with pytest.raises(MiniDockerError, match=r"No such file or directory \(ENOENT\)"):
        changes(str(tmp_path / "none"), [])




@pytest.mark.parametrize("there", [b"", b"12", b"123456789"])
def test_a_file_that_changes_under_the_packer_is_filled_up_or_cut(tmp_path, there):
    from pyoci.minidocker.images import tar
    from pyoci.minidocker.images.pack import Packer

    (tmp_path / "f").write_bytes(there)
    sink = io.BytesIO()
    with open(tmp_path / "f", "rb") as opened:
        Packer(sink).add_file(make_entry(b"f", tar.FILE, size=5), opened.fileno())
    reader = tar.Reader(io.BytesIO(sink.getvalue()))
    assert [b"".join(reader.data()) for _entry in reader] == [there[:5].ljust(5, b"\0")]


def test_trees_deeper_than_a_path_are_refused_in_a_line(tmp_path):
    from pyoci.minidocker.errors import MiniDockerError

    fd = os.open(tmp_path, os.O_RDONLY)
    for _level in range(25):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    with pytest.raises(MiniDockerError, match="ENAMETOOLONG") as caught:
        pack_tree(io.BytesIO(), tmp_path)
    assert len(str(caught.value)) < 400
