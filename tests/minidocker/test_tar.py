"""The tar reader: every dialect gives the tree that GNU tar and tarfile give; what is broken is refused in one line."""

import io
import os
import random
import string
import subprocess
import tarfile
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tars import archive, device, fifo, file, folder, hardlink, symlink, tree

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images import tar
from pyoci.minidocker.images.tar import Reader
from pyoci.minidocker.images.unpack import unpack

pytestmark = pytest.mark.needs("root")

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


class Trickle:
    """A stream that gives as little as a pipe may: pieces of random sizes."""

    def __init__(self, data, seed=0):
        self.stream = io.BytesIO(data)
        self.random = random.Random(seed)

    def read(self, count):
        return self.stream.read(min(count, self.random.choice((1, 7, 511, 512, 513, 5000))))


def gnu_tar(data, top):
    subprocess.run(["tar", "-x", "-p", "--same-owner", "--numeric-owner", "--delay-directory-restore", "-C", top], input=data, check=True, timeout=60)


def tarfile_extract(data, top):
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as opened:
        opened.extraction_filter = lambda member, _path: member  # 3.12 and newer ask for one
        opened.extractall(top, numeric_owner=True)


# --- the same tree as others

NAMES = st.text(alphabet=string.ascii_letters + "äé. -", min_size=1, max_size=12).map(str.strip).filter(lambda name: name.strip(".") and not name.startswith(".wh."))
LONG = st.integers(90, 250).map(lambda length: "n" * length)
IDS = st.sampled_from([0, 1, 65534, 2097151])
TIMES = st.sampled_from([0, 1, 1_700_000_000, (1 << 31) + 5])
MODES = st.sampled_from([0o644, 0o755, 0o4755, 0o2755, 0o1777, 0o600, 0o000])


@st.composite
def members(draw):
    """Members with an entry for each folder, in any order but hard links last."""
    folders = [""]
    found = {}
    for name in draw(st.lists(NAMES | LONG, max_size=8, unique=True)):
        parent = draw(st.sampled_from(folders))
        path = f"{parent}/{name}" if parent else name
        fields = {"uid": draw(IDS), "gid": draw(IDS), "mtime": draw(TIMES), "mode": draw(MODES)}
        kind = draw(st.integers(0, 5))
        if kind <= 1:
            folders.append(path)
            found[path] = folder(path, **fields)
        elif kind <= 3:
            found[path] = file(path, draw(st.binary(max_size=2000)), **fields)
        else:
            found[path] = symlink(path, draw(NAMES), **fields) if kind == 4 else fifo(path, **fields)
    ordered = draw(st.permutations(list(found.values())))
    files = [info.name for info, _data in ordered if info.isreg()]
    links = [hardlink(f"hard{number}", name) for number, name in enumerate(files[:2])]
    return [*ordered, *links]


@given(members(), st.sampled_from(list(FORMATS.values())), st.integers(0, 3))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_any_archive_gives_the_tree_that_gnu_tar_and_tarfile_give(some, form, seed):
    try:
        data = archive(*some, form=form)
    except ValueError:  # the format has no room for the name or the number
        return
    with tempfile.TemporaryDirectory() as where:
        tops = [os.path.join(where, name) for name in ("ours", "gnu", "tarfile")]
        for top in tops:
            os.mkdir(top, 0o755)
        unpack(Trickle(data, seed), tops[0])
        gnu_tar(data, tops[1])
        tarfile_extract(data, tops[2])
        ours, gnu, theirs = ({path: facts for path, facts in tree(top).items() if path != b"."} for top in tops)
        assert ours == gnu
        # tarfile sets no times on links, and modes before owners.
        assert ours.keys() == theirs.keys()
        assert {path: facts[4] for path, facts in ours.items()} == {path: facts[4] for path, facts in theirs.items()}


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "ustar", "posix", "v7"])
def test_dialects_of_gnu_tar(tmp_path, form):
    source, top = tmp_path / "source", tmp_path / "top"
    (source / "d" / ("e" * 60)).mkdir(parents=True)
    top.mkdir()
    (source / "d" / ("e" * 60) / ("f" * 30)).write_bytes(b"1" * 700)
    os.symlink("x" * 90, source / "l")
    os.utime(source / "d", ns=(5 * 10**9, 5 * 10**9))
    data = subprocess.run(["tar", "-c", "--format", form, "-C", source, "d", "l"], capture_output=True, check=True, timeout=60).stdout
    unpack(io.BytesIO(data), top)
    ours, theirs = tree(top), tree(source)
    if form != "posix":
        ours, theirs = ({path: (*facts[:3], facts[3] // 10**9, facts[4]) for path, facts in one.items()} for one in (ours, theirs))
    ours.pop(b"."), theirs.pop(b".")
    assert ours == theirs


@pytest.mark.parametrize("form", [["gnu"], ["posix", "--sparse-version=0.0"], ["posix", "--sparse-version=0.1"], ["posix", "--sparse-version=1.0"]], ids=" ".join)
@pytest.mark.parametrize("pieces", [0, 1, 3, 60])
def test_sparse_files_keep_content_and_holes(tmp_path, form, pieces):
    source, top = tmp_path / "source", tmp_path / "top"
    source.mkdir()
    top.mkdir()
    with open(source / "sparse", "wb") as opened:
        for number in range(pieces):
            opened.seek(number * (1 << 18))
            opened.write(bytes([1 + number]) * 4096)
        opened.truncate(pieces * (1 << 18) + (1 << 20) + 3)
    (source / "after").write_bytes(b"after")
    command = ["tar", "-c", "--sparse", "--hole-detection=seek", "--format", *form, "-C", source, "sparse", "after"]
    unpack(io.BytesIO(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout), top)
    assert (top / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (top / "after").read_bytes() == b"after"
    assert os.stat(top / "sparse").st_blocks <= os.stat(source / "sparse").st_blocks + 8


def test_numbers_in_base_256(tmp_path):
    data = archive(file("f", b"1", uid=1 << 28, gid=(1 << 32) - 2, mtime=-5), form=tarfile.GNU_FORMAT)
    unpack(io.BytesIO(data), tmp_path)
    found = os.stat(tmp_path / "f")
    assert (found.st_uid, found.st_gid, found.st_mtime) == (1 << 28, (1 << 32) - 2, -5)


def test_links_and_devices_have_no_data_whatever_their_size_says():
    header = bytearray(archive(symlink("l", "x"))[:512])
    header[124:136] = b"%011o\0" % 1000
    entries = list(Reader(io.BytesIO(resealed(header) + archive(file("f", b"1")))))
    assert [(entry.name, entry.size) for entry in entries] == [(b"l", 0), (b"f", 1)]


def test_a_slash_at_the_end_of_an_old_files_name_makes_it_a_folder():
    header = bytearray(archive(file("d"))[:512])
    header[0:3] = b"d/\0"
    header[156] = 0
    header[257:265] = bytes(8)
    assert [entry.kind for entry in Reader(io.BytesIO(resealed(header) + bytes(1024)))] == [tar.FOLDER]


def test_checksums_of_signed_bytes_are_known():
    header = bytearray(archive(file("f"))[:512])
    header[0:2] = b"\xe4\xff"
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + b" " * 8 + header[156:])
    header[148:156] = b"%06o\0 " % signed
    assert [entry.name for entry in Reader(io.BytesIO(bytes(header)))] == [b"\xe4\xff"]


def test_devices_and_empty_archives():
    entries = list(Reader(io.BytesIO(archive(device("n", 8, 1, kind=tarfile.BLKTYPE)))))
    assert [(entry.kind, entry.device) for entry in entries] == [(tar.BLOCK_DEVICE, (8, 1))]
    assert list(Reader(io.BytesIO(b""))) == list(Reader(io.BytesIO(bytes(1024)))) == []


# --- refused


def resealed(header):
    """The header with the checksum that it should have."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def spoilt(at, value, seal=True):
    header = bytearray(archive(file("name", b"data"))[:512])
    header[at : at + len(value)] = value
    return (resealed(header) if seal else bytes(header)) + b"data" + bytes(508 + 1024)


def pax(text):
    """An archive whose file has this pax header."""
    info = tarfile.TarInfo("PaxHeader")
    info.type = b"x"
    info.size = len(text)
    return info.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512) + archive(file("f", b"1"))


def records(*texts):
    """Pax records with their lengths."""
    whole = b""
    for text in texts:
        length = len(text) + 3
        whole += b"%d %s\n" % (length + (len(b"%d" % (length + 1)) - 1), text)
    return whole


WHOLE = archive(folder("d"), file("d/f", b"x" * 1500), form=tarfile.USTAR_FORMAT)
BROKEN = {
    "checksum": (spoilt(0, b"other", seal=False), "wrong checksum"),
    "negative size": (spoilt(124, b"\xff" * 12), "a size of -1 bytes"),
    "minus sign": (spoilt(124, b"-0000000001\0"), "size is no number"),
    "digits": (spoilt(124, b"00000000089\0"), "size is no number"),
    "underscore": (spoilt(124, b"0000000_001\0"), "size is no number"),
    "huge size": (spoilt(124, b"\x80" + b"\x7f" * 11), "a size of"),
    "type": (spoilt(156, b"Z"), "unknown type 'Z'"),
    "multi-volume": (spoilt(156, b"M"), "unknown type 'M'"),
    "no name": (spoilt(0, bytes(100)), "without a name"),
    "lone zero block": (bytes(512) + WHOLE, "lone zero block"),
    "no tar": (b"hello " * 200, "checksum is no number"),
    "pax length": (pax(b"99 path=x\n"), "broken pax record"),
    "pax length zero": (pax(b"0 path=x\n"), "broken pax record"),
    "pax without end": (pax(b"9 path=xy"), "broken pax record"),
    "pax without a length": (pax(b"x" * 30 + b"=y\n"), "broken pax record"),
    "pax of a line end": (pax(b"\n"), "broken pax record"),
    "pax without equals": (pax(b"9 pathxy\n"), "without '='"),
    "pax size": (pax(b"10 size=x\n"), "size is no number"),
    "pax negative size": (pax(b"11 size=-1\n"), "size is no number"),
    "pax time": (pax(b"12 mtime=1x\n"), "mtime is no time"),
    "pax nul": (pax(b"12 path=a\0b\n"), "a NUL byte"),
    "pax nul of an attribute": (pax(records(b"SCHILY.xattr.a\0b=x")), "a NUL byte in the name of an extended attribute"),
    "pax base64": (pax(b"29 LIBARCHIVE.xattr.user.a=!\n"), "no base64"),
    "sparse format": (pax(b"22 GNU.sparse.major=2\n"), "unknown sparse format"),
    "sparse without size": (pax(b"22 GNU.sparse.map=0,1\n"), "GNU.sparse.size is no number"),
    "sparse beyond the file": (pax(records(b"GNU.sparse.size=1", b"GNU.sparse.map=5,1")), "does not fit"),
    "sparse half pair": (pax(records(b"GNU.sparse.size=9", b"GNU.sparse.map=5")), "half a pair"),
    "sparse backwards": (pax(records(b"GNU.sparse.size=9", b"GNU.sparse.map=5,1,0,1")), "backwards"),
    "long name alone": (archive(file("n" * 200), form=tarfile.GNU_FORMAT)[:1024], "ends after a header"),
    "large description": (spoilt(156, b"x")[:124] + b"77777777777\0" + spoilt(156, b"x")[136:], ""),
}


@pytest.mark.parametrize(("data", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_archives_are_refused_with_a_line(tmp_path, data, words):
    with pytest.raises(ImageProblem) as caught:
        unpack(io.BytesIO(data), tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [*range(1, 512, 101), *range(513, len(WHOLE) - 10240 + 4096, 509)])
def test_an_archive_that_is_cut_is_refused(tmp_path, length):
    whole_entries = (0, 512, 512 + 512 + 1536)
    if length in whole_entries or length >= 512 + 512 + 1536:
        return
    with pytest.raises(ImageProblem, match="cut off after byte"):
        unpack(io.BytesIO(WHOLE[:length]), tmp_path)


@given(st.binary(max_size=1500), st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@settings(max_examples=150)
def test_whatever_comes_is_read_or_refused(noise, at, value):
    flipped = bytearray(WHOLE)
    flipped[at] = value
    for data in (noise, bytes(flipped), WHOLE + noise):
        try:
            for entry in (reader := Reader(io.BytesIO(data))):
                if entry.kind == tar.FILE:
                    b"".join(reader.data())
        except ImageProblem as error:
            assert "\n" not in str(error)


def meta(kind, text):
    """A header that describes the next one."""
    info = tarfile.TarInfo("PaxHeader")
    info.type, info.size = kind, len(text)
    return info.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512)


def different(number):
    """600 kB of records that no other number has."""
    return records(b"%d=" % number + b"x" * 600_000)


@pytest.mark.parametrize(
    "data",
    [meta(b"x", different(1)) + meta(b"x", different(2)), meta(b"g", different(1)) + meta(b"g", different(2)), meta(b"L", bytes(600_000)) * 2],
    ids=["of one entry", "of all", "long names"],
)
def test_descriptions_are_limited_all_together(data):
    with pytest.raises(ImageProblem, match=r"^tar: headers that describe the next one have 1200\d\d\d bytes$"):
        list(Reader(io.BytesIO(data + WHOLE)))


def test_global_descriptions_may_replace_each_other_for_ever():
    assert len(list(Reader(io.BytesIO(meta(b"g", different(1)) * 3 + WHOLE)))) == 2


@pytest.mark.parametrize("body", [b"0" * 2048, b"5\n" + b"0" * 2048], ids=["count", "map"])
def test_a_map_of_endless_lines_is_refused_before_it_fills_the_memory(body):
    text = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=1000\n"
    stream = io.BytesIO(pax(text)[: -len(archive(file("f", b"1")))] + archive(file("f", body)))
    reader = Reader(stream)
    with pytest.raises(ImageProblem, match="the sparse map does not end"):
        list(reader)
    assert reader.source.offset < 3 * 512 + 1024


def test_a_map_without_end_is_refused_before_it_fills_the_memory():
    text = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=1000\n"
    data = pax(text)
    head, body = data[: -len(archive(file("f", b"1")))], archive(file("f", b"9999999999\n" + b"1\n" * 400))
    with pytest.raises(ImageProblem, match="a sparse map of 9999999999 pieces"):
        list(Reader(io.BytesIO(head + body)))
