"""Tars with anything in their headers, wherever one is read: unpacked, or refused in one line, at once and without a trace."""

import gzip
import io
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tars import archive, device, fifo, file, folder, hardlink, symlink

from pyoci.minidocker.errors import BadRequest, ImageProblem, MiniDockerError
from pyoci.minidocker.images import archive as archives
from pyoci.minidocker.images import layers
from pyoci.minidocker.images.commit import import_tree
from pyoci.minidocker.images.unpack import unpack
from pyoci.minidocker.merge import judge, merge
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root")

WORDS = ["", "0", "1", "-1", "inf", "nan", "1e300", "9" * 40, "9" * 5000, "0,1", "5,2,1,1", "a\0b", "../..", "\u00e9", "\u00b2", "1.0", "\n", "4294967295", "1_0", " 1"]
KEYS = ["mtime", "uid", "gid", "size", "path", "linkpath", "hdrcharset", "SCHILY.xattr.user.x", "SCHILY.xattr.", "LIBARCHIVE.xattr.user.y", "SCHILY.xattr.trusted.overlay.redirect",
        "GNU.sparse.map", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.name", "GNU.sparse.offset"]  # fmt: skip
# (where a header's field begins, its length)
FIELDS = [(0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (329, 8), (337, 8), (345, 155), (386, 24), (482, 1), (483, 12)]
VALUES = [b"", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"\x80", b"-1", b" 7 ", b"77777777777", b"../../x", b"/", b".wh.", b".wh..wh.x", b"a/../b", b"a\0b", *(b"%c" % kind for kind in b"01234567xgLKSZ")]
NAMES = st.sampled_from(["a", "b", "d", "d/e", "d/.wh.e", ".wh.a", "d/.wh..wh..opq", "\u00e9/\u00fc", "x" * 120, "x" * 300])
HEADERS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(WORDS), max_size=2)
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.sampled_from([b"", b"x", b"x" * 513]), mode=st.sampled_from([0o644, 0o6777]), pax_headers=HEADERS),
    st.builds(folder, NAMES, pax_headers=HEADERS),
    st.builds(symlink, NAMES, st.sampled_from(["a", "../a", "/", "x" * 150])),
    st.builds(hardlink, NAMES, st.sampled_from(["a", "d", ".", "../a"])),
    st.builds(device, NAMES, st.just(1), st.just(3)),
    st.builds(fifo, NAMES),
)


@st.composite
def tars(draw):
    """An archive, and then a field, a byte or a block of it that is another."""
    data = bytearray(archive(*draw(st.lists(MEMBERS, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data) // 512 - 1)) * 512
        deed = draw(st.sampled_from(["field", "field", "field", "byte", "drop", "twice", "cut", "zero"]))
        if deed == "field":
            begin, length = draw(st.sampled_from(FIELDS))
            data[at + begin : at + begin + length] = draw(st.sampled_from(VALUES))[:length].ljust(length, b"\0")
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
        elif deed == "byte":
            data[at + draw(st.integers(0, 511))] = draw(st.integers(0, 255))
        elif deed == "drop" and len(data) > 512:
            del data[at : at + 512]
        elif deed == "twice":
            data[at:at] = data[at : at + 512]
        elif deed == "cut" and at:
            del data[at + 100 :]
            data.extend(bytes(-len(data) % 512))
        elif deed == "zero":
            data[at : at + 512] = bytes(512)
    return gzip.compress(bytes(data)) if draw(st.integers(0, 9)) == 0 else bytes(data)


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def assert_one_line(error):
    text = str(error)
    assert text and all(character.isprintable() for character in text), repr(text)


@given(tars())
@SETTINGS
def test_any_tar_is_a_layer_or_one_line(data):
    where = tempfile.mkdtemp()
    try:
        unpack(io.BytesIO(data), where)
    except (ImageProblem, MiniDockerError) as error:
        assert_one_line(error)
    finally:
        shutil.rmtree(where)


@given(tars())
@SETTINGS
def test_any_tar_is_copied_or_one_line(data):
    where = tempfile.mkdtemp()
    fd = os.open(where, os.O_PATH)
    try:
        judge(io.BytesIO(data), "copy")
        merge(io.BytesIO(data), fd, "copy")
    except (BadRequest, MiniDockerError) as error:
        assert_one_line(error)
    finally:
        os.close(fd)
        shutil.rmtree(where)


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roots")
    store = Store(Roots(folder / "data", folder / "run", environ={}))
    yield store
    store.close()


def listed(store):
    return {name for folder in (store.roots.layers, store.roots.ingest) if os.path.isdir(folder) for name in os.listdir(folder)} - {"gc.lock"}


@pytest.mark.parametrize("take", [archives.load, import_tree], ids=["load", "import"])
def test_any_tar_is_an_image_or_one_line(own_store, take):
    @given(tars())
    @settings(SETTINGS, max_examples=60)
    def holds(data):
        before = listed(own_store)
        try:
            take(own_store, io.BytesIO(data))
        except MiniDockerError as error:
            assert_one_line(error)
            assert listed(own_store) == before

    holds()


# --- deeper than a stack

DEEP = "d/" * 1300 + "f"


def test_folder_of_any_depth_is_replaced(tmp_path):
    unpack(io.BytesIO(archive(file(DEEP), file("d", b"x"))), tmp_path)
    assert (tmp_path / "d").read_bytes() == b"x"


def test_refused_layer_of_any_depth_leaves_nothing(store):
    with pytest.raises(ImageProblem, match="leads out of the layer"):
        layers.extract(store.roots, io.BytesIO(archive(file(DEEP), file("../x"))))
    assert os.listdir(store.roots.layers) == []


def test_archive_that_is_cut_leaves_no_half_blob(store):
    whole = archive(file("blobs/sha256/" + "0" * 64, b"x" * 100_000))
    with pytest.raises(ImageProblem, match="cut off after byte"):
        archives.load(store, io.BytesIO(whole[:50_000]))
    assert listed(store) == set()
