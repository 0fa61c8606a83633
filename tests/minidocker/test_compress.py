"""Packed streams: told by their first bytes, unpacked whole or refused."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tars import archive, file

from pyoci.minidocker.errors import ImageProblem, MiniDockerError
from pyoci.minidocker.images import zstd
from pyoci.minidocker.images.ahead import Ahead
from pyoci.minidocker.images.compress import Plain, kind_of
from pyoci.minidocker.images.content import digest_of
from pyoci.minidocker.images.unpack import Limits

DATA = bytes(range(256)) * 9000
PACKED = {"gzip": gzip.compress(DATA), "bzip2": bz2.compress(DATA), "xz": lzma.compress(DATA), "": DATA}


def read(packed, limits=None):
    plain = Plain(io.BytesIO(packed), limits)
    found = b""
    while data := plain.read():
        found += data
    return found, plain


@pytest.mark.parametrize("kind", PACKED)
def test_each_kind_is_unpacked_with_its_digest(kind):
    found, plain = read(PACKED[kind])
    assert (found == DATA, plain.kind, plain.digest, plain.plain, plain.packed) == (True, kind, digest_of(DATA), len(DATA), len(PACKED[kind]))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_parts_behind_each_other_are_one_stream(kind):
    assert read(PACKED[kind] * 2)[0] == DATA * 2


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_zeros_behind_the_end_are_padding(kind):
    assert read(PACKED[kind] + bytes(10000))[0] == DATA


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_stream_that_is_cut_is_refused(kind, cut):
    with pytest.raises(ImageProblem, match=f"{kind}: cut off after"):
        read(PACKED[kind][:-cut])


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_what_follows_that_is_no_stream_is_refused(kind):
    with pytest.raises(ImageProblem):
        read(PACKED[kind] + b"other things")


def test_a_damaged_stream_is_refused():
    broken = bytearray(PACKED["gzip"])
    broken[-6] ^= 1
    with pytest.raises(ImageProblem, match="gzip: error -3 while decompressing data: incorrect data check"):
        read(bytes(broken))


def test_a_bomb_is_refused_by_its_ratio():
    bomb = gzip.compress(bytes(30 << 20))
    with pytest.raises(ImageProblem, match="bytes out of .*: a decompression bomb"):
        read(bomb, Limits(free_bytes=1 << 20))
    assert len(read(bomb, Limits())[0]) == 30 << 20


@pytest.mark.parametrize("name", ["BZh91AY", "\x1f\x8b", "(\xb5/\xfd"])
def test_a_tar_whose_first_name_looks_packed_is_a_tar(name):
    assert kind_of(archive(file(name, b"1"), encoding="latin-1")[:512]) == ""


@given(st.binary(max_size=300), st.sampled_from(["gzip", "bzip2", "xz"]), st.integers(0, 400))
def test_whatever_comes_is_unpacked_or_refused(noise, kind, at):
    for data in (noise, PACKED[kind][:at] + noise):
        try:
            read(data)
        except ImageProblem as error:
            assert "\n" not in str(error)


def test_xz_with_a_dictionary_larger_than_memory_should_be_is_refused():
    packed = bytearray(PACKED["xz"])
    packed[16] = 36  # a gigabyte: xz-file-format 5.3.1
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    with pytest.raises(ImageProblem, match="^xz: memory usage limit exceeded$"):
        read(bytes(packed))


# --- zstd, by Python's module where it is installed, and by the program

WAYS = ["program", *(["module"] if zstd._module() else [])]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    if request.param == "program":
        monkeypatch.setattr(zstd, "_module", lambda: None)


def pack(data, *flags):
    return subprocess.run(["zstd", "-cq", *flags], input=data, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.needs("zstd")
@pytest.mark.usefixtures("way")
class TestZstd:
    @pytest.mark.parametrize("data", [b"", b"1", DATA, bytes(9 << 20)], ids=len)
    def test_is_unpacked(self, data):
        found, plain = read(pack(data))
        assert (found == data, plain.kind) == (True, "zstd")

    def test_frames_behind_each_other_are_one_stream(self):
        assert read(pack(DATA) * 2)[0] == DATA * 2

    def test_a_frame_to_skip_may_come_first(self):
        assert read(b"\x50\x2a\x4d\x18\x04\0\0\0skip" + pack(DATA))[0] == DATA

    @pytest.mark.parametrize("spoil", [lambda data: data[:-7], lambda data: data[:60] + b"xxxx" + data[64:], lambda data: data[:5]], ids=["cut", "damaged", "start"])
    def test_is_refused_when_it_is_broken(self, spoil):
        with pytest.raises(ImageProblem, match="zstd: ") as caught:
            read(spoil(pack(DATA + os.urandom(1 << 20), "--check")))
        assert "\n" not in str(caught.value)

    def test_a_bomb_is_refused(self):
        with pytest.raises(ImageProblem, match="a decompression bomb"):
            read(pack(bytes(30 << 20)), Limits(free_bytes=1 << 20))


def test_a_host_without_zstd_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(zstd, "_module", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MiniDockerError, match="neither Python nor this host has it"):
        read(b"\x28\xb5\x2f\xfd" + bytes(100))


# --- reading ahead


def ahead_of(stream):
    with Ahead(stream) as ahead:
        found = b""
        while data := ahead.read():
            found += data
        return found + ahead.read()


def test_what_is_read_ahead_comes_in_order():
    assert ahead_of(Plain(io.BytesIO(gzip.compress(DATA * 20)))) == DATA * 20


def test_an_error_comes_when_its_turn_is():
    with pytest.raises(ImageProblem, match="cut off"):
        ahead_of(Plain(io.BytesIO(gzip.compress(DATA)[:-9])))


def test_who_leaves_early_leaves_no_thread():
    before = threading.active_count()
    with Ahead(Plain(io.BytesIO(DATA * 100))) as ahead:
        ahead.read()
    assert threading.active_count() == before
