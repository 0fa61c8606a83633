"""The plain bytes of a packed stream, whatever packed it, with their digest: gzip, zstd, bzip2, xz, or not packed at all.

Told by the first bytes, never by a media type or a name.  More unpacked bytes than `limits` allows for the packed ones is a bomb.  A stream that is cut, damaged, or
followed by something else raises ImageProblem.  zstd comes from zstd.py; isal is used where it is installed (twice zlib's speed).
Source: RFC 1952, RFC 8878, zlib's manual.
"""

import hashlib
import zlib

from pyoci.errors import errno_text
from pyoci.minidocker.errors import ImageProblem, MiniDockerError
from pyoci.minidocker.images import zstd

CHUNK = 1 << 20
PACKED_CHUNK = 256 << 10

MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"))


def kind_of(start):
    """`gzip`, `zstd`, `bzip2`, `xz` or "" (not packed) by the first bytes.  A tar whose first name looks like one of them is still a tar."""
    if start[257:262] == b"ustar":
        return ""
    if len(start) >= 4 and start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50:  # a frame to skip, which zstd's tools write first
        return "zstd"
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), "")


class Plain:
    """`read()` gives some plain bytes, b"" at the end, each first to `also(data)`.  Afterwards `digest` is theirs, `packed` and `plain` count both sides."""

    def __init__(self, raw, limits=None, also=None):
        self._raw = raw
        self._limits = limits
        self._also = also
        self._start = _read_some(raw, 512)
        self.kind = kind_of(self._start)
        self._machine = None
        self._rest = b""
        self._hash = hashlib.sha256()
        self.packed = 0
        self.plain = 0

    def read(self, _count=CHUNK):
        """Some plain bytes, b"" at the end."""
        data = self._next() if self.kind else self._fetch(CHUNK)
        self.plain += len(data)
        self._hash.update(data)
        limits = self._limits
        if limits and self.plain > limits.free_bytes and self.kind and self.plain > limits.max_ratio * self.packed:
            raise ImageProblem(f"{self.kind}: {self.plain} bytes out of {self.packed}: a decompression bomb")
        if data and self._also:
            self._also(data)
        return data

    @property
    def digest(self):
        """`sha256:HEX` of what was read."""
        return f"sha256:{self._hash.hexdigest()}"

    def _fetch(self, count):
        if self._start:
            data, self._start = self._start, b""
        else:
            data = _read(self._raw, count)
        self.packed += len(data)
        return data

    def _next(self):
        while True:
            packed, self._rest = self._rest or self._fetch(PACKED_CHUNK), b""
            if not packed and (self._machine is None or self._machine.eof):
                return b""
            if self._machine is None or self._machine.eof:
                if not packed.strip(b"\0"):  # padding, as tapes have it
                    continue
                self._machine = _machine(self.kind)
            if data := self._step(packed):
                return data

    def _step(self, packed):
        machine = self._machine
        needs_more = getattr(machine, "needs_input", True)
        try:
            data = machine.decompress(packed, CHUNK)
        except (zlib.error, OSError, ValueError, EOFError, *_errors(self.kind)) as error:
            raise ImageProblem(f"{self.kind}: {str(error).lower() or 'damaged'}") from error
        if machine.eof:
            self._rest = machine.unused_data
        elif hasattr(machine, "unconsumed_tail"):
            self._rest = machine.unconsumed_tail
        if not data and not packed and not machine.eof and needs_more:
            raise ImageProblem(f"{self.kind}: cut off after {self.packed} bytes")
        return data


def _read(raw, count):
    try:
        return raw.read(count)
    except OSError as error:
        raise MiniDockerError(f"read: {errno_text(error.errno or 0)}") from error


def _read_some(raw, count):
    """The first bytes of a stream that may give fewer than asked."""
    data = b""
    while len(data) < count and (more := _read(raw, count - len(data))):
        data += more
    return data


def _machine(kind):
    if kind == "gzip":
        try:
            from isal import isal_zlib

            return isal_zlib.decompressobj(31)
        except ImportError:
            return zlib.decompressobj(31)
    if kind == "zstd":
        return zstd.decompressor()
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, zstd.MEMORY_BYTES)


def _errors(kind):
    if kind == "xz":
        import lzma

        return (lzma.LZMAError,)
    if kind == "zstd":
        return zstd.errors()
    if kind == "gzip":
        try:
            from isal import isal_zlib

            return (isal_zlib.error,)
        except ImportError:
            pass
    return ()
