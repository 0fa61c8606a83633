"""A tar stream, entry by entry: ustar, pax (global headers too), GNU long names, GNU and pax sparse files, base-256 numbers, extended attributes.

Reads forward only and holds one chunk, so a layer of any size goes through a pipe.  Judges the format alone: a stream that is cut, a checksum that is
wrong, a negative size, a type that nobody knows.  Where an entry may go is unpack.py's question.  As archive/tar of Go, which wrote most
layers, reads it: a stream may end at a header without the two zero blocks, and links, devices and directories have no data whatever their size field says.
Source: pax (POSIX.1-2008 `pax` utility, ustar and pax formats), the GNU tar manual ("Basic Tar Format", "Storing Sparse Files"), star(5) for SCHILY.
"""

import os
import struct
from functools import lru_cache
from zlib import adler32

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images.pax import apply_pax, number, parse_pax, shown
from pyoci.minidocker.images.sparse import old_pieces, pax_pieces

BLOCK = 512
CHUNK = 256 << 10
# What describes an entry (long names, pax records, a sparse map) is held in memory: more than this is hostile.
MAX_META_BYTES = 1 << 20
MAX_SIZE = (1 << 63) - 1

FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = b"0123456"
_OLD_FILE, _CONTIGUOUS, _SPARSE = b"\x007S"
_KNOWN = frozenset(b"0123456\x007S")
_BODILESS = frozenset(b"123456")
_PAX, _PAX_SUN, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"xXgLK"

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")

# Owners, modes and times repeat from file to file.
_common = lru_cache(1024)(number)


class Entry:
    """One member.  Paths are bytes as they stand in the archive; kind is FILE ... FIFO; mtime_ns since 1970, may be negative.

    size    bytes of the file as it will be; the archive holds fewer of a sparse one
    sparse  None, or [(offset, length)] of what the archive holds
    """

    __slots__ = ("name", "kind", "mode", "uid", "gid", "size", "mtime_ns", "link", "device", "xattrs", "sparse", "stored")


class Source:
    """The stream by exact amounts.  `stream.read(n)` gives up to n bytes, b"" at its end."""

    def __init__(self, stream):
        self._read = stream.read
        self._chunk = b""
        self._position = 0
        self.offset = 0

    def take(self, count, at_end=None):
        """Exactly `count` bytes; `at_end` if the stream ends right here; raises ImageProblem if it ends in between."""
        position = self._position
        end = position + count
        if end > len(self._chunk):
            self._fill(count)
            position, end = 0, count
            if len(self._chunk) < count:
                if not self._chunk and at_end is not None:
                    return at_end
                raise self.cut()
        self._position = end
        self.offset += count
        return self._chunk[position:end]

    def _fill(self, count):
        pieces = [self._chunk[self._position :]]
        have = len(pieces[0])
        while have < count and (piece := self._read(CHUNK)):
            pieces.append(piece)
            have += len(piece)
        self._chunk = b"".join(pieces) if len(pieces) > 1 else pieces[0]
        self._position = 0

    def pieces(self, count):
        """`count` bytes as views, in the sizes in which they come: mostly one."""
        end = self._position + count
        if end <= len(self._chunk):
            view = memoryview(self._chunk)[self._position : end]
            self._position = end
            self.offset += count
            return (view,) if count else ()
        return self._long_pieces(count)

    def _long_pieces(self, count):
        while count:
            if self._position == len(self._chunk):
                self._chunk = self._read(CHUNK)
                self._position = 0
                if not self._chunk:
                    raise self.cut()
            view = memoryview(self._chunk)[self._position : self._position + count]
            self._position += len(view)
            self.offset += len(view)
            count -= len(view)
            yield view

    def skip(self, count):
        """Pass over `count` bytes."""
        if self._position + count <= len(self._chunk):
            self._position += count
            self.offset += count
            return
        for _view in self.pieces(count):
            pass

    def drain(self):
        """Read to the end: what follows the archive belongs to its digest."""
        self._chunk = b""
        self._position = 0
        while piece := self._read(CHUNK):
            self.offset += len(piece)

    def cut(self):
        """The error of a stream that ends too early."""
        return ImageProblem(f"tar: cut off after byte {self.offset + len(self._chunk) - self._position}")


class Reader:
    """Iterate it for entries; between two of them `data()` gives the present one's content, or nobody asks and it is skipped."""

    def __init__(self, stream):
        self.source = Source(stream)
        self._global = {}
        self._described = 0
        self._unread = 0
        self._padding = 0

    def __iter__(self):
        while (entry := self.next()) is not None:
            yield entry

    def data(self):
        """The stored content of the present entry, as views; of a sparse file its pieces, one after the other."""
        count, self._unread = self._unread, 0
        return self.source.pieces(count)

    def write_to(self, fd, entry):
        """Write the content of the present entry, a file, to the open file; of a sparse one only the pieces.  Raises OSError, ImageProblem."""
        if entry.sparse is None:
            for view in self.data():
                _write(fd, view)
            return
        os.ftruncate(fd, entry.size)
        for offset, length in entry.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            for view in self.source.pieces(length):
                _write(fd, view)
        self._unread = 0

    def next(self):
        """The next entry, or None at the end.  Raises ImageProblem."""
        self._finish()
        pax, long_name, long_link = {}, None, None
        self._described = 0
        while True:
            block = self._header()
            if block is None:
                if pax or long_name is not None or long_link is not None:
                    raise ImageProblem("tar: ends after a header that describes the next one")
                return None
            fields = _HEADER.unpack(block)
            kind = fields[7][0]
            if kind in (_PAX, _PAX_SUN):
                pax = parse_pax(self._meta(fields), pax)
            elif kind == _PAX_GLOBAL:
                self._global = parse_pax(self._meta(fields), self._global)
                self._described = 0
                _judge_meta(sum(len(key) + len(value) for key, value in self._global.items()))
            elif kind == _LONG_NAME:
                long_name = self._meta(fields).split(b"\0", 1)[0]
            elif kind == _LONG_LINK:
                long_link = self._meta(fields).split(b"\0", 1)[0]
            else:
                return self._entry(block, fields, {**self._global, **pax} if self._global else pax, long_name, long_link)

    def _finish(self):
        if rest := self._unread + self._padding:
            self.source.skip(rest)
            self._unread = self._padding = 0

    def _header(self):
        block = self.source.take(BLOCK, at_end=b"")
        if not block:
            return None
        if block[0] == 0 and not block.strip(b"\0"):
            following = self.source.take(BLOCK, at_end=b"")
            if following.strip(b"\0"):
                raise ImageProblem(f"tar: a lone zero block before byte {self.source.offset - BLOCK}")
            return None
        told = number(block[148:156], "checksum")
        if told != _sum(block) - sum(block[148:156]) + 256 and told != _signed_sum(block):
            raise ImageProblem(f"tar: wrong checksum of the header at byte {self.source.offset - BLOCK}")
        return block

    def _meta(self, fields):
        size = number(fields[4], "size")
        if size < 0:
            raise ImageProblem(f"tar: a header that describes the next one has {size} bytes")
        self._described += size
        _judge_meta(self._described)
        data = self.source.take(size)
        self.source.skip(-size % BLOCK)
        return data

    def _entry(self, block, fields, pax, long_name, long_link):
        entry = Entry()
        name, mode, uid, gid, size, mtime, _checksum, _kind, link, magic, _user, _group, major, minor, prefix, _rest = fields
        kind = _kind[0]
        entry.name = long_name if long_name is not None else _full_name(name, prefix, magic, block)
        entry.link = long_link if long_link is not None else link.split(b"\0", 1)[0]
        entry.mode = _common(mode, "mode") & 0o7777
        entry.uid = _common(uid, "uid")
        entry.gid = _common(gid, "gid")
        entry.size = number(size, "size")
        entry.mtime_ns = _common(mtime, "mtime") * 1_000_000_000
        entry.xattrs = entry.sparse = None
        entry.device = (number(major, "devmajor"), number(minor, "devminor")) if kind in (CHARACTER, BLOCK_DEVICE) else None
        if pax:
            apply_pax(entry, pax)
        if kind not in _KNOWN:
            raise ImageProblem(f"tar: {shown(entry.name)}: unknown type {chr(kind)!r}")
        if not entry.name:
            raise ImageProblem(f"tar: an entry without a name before byte {self.source.offset}")
        if not 0 <= entry.size <= MAX_SIZE:
            raise ImageProblem(f"tar: {shown(entry.name)}: a size of {entry.size} bytes")
        if kind in _BODILESS:
            entry.kind = kind
            entry.size = entry.stored = 0
            return entry
        # Before there was a type for directories, a slash at the end of the name said it.
        entry.kind = FOLDER if kind == _OLD_FILE and entry.name.endswith(b"/") else FILE
        entry.stored = self._unread = entry.size
        self._padding = -entry.size % BLOCK
        if kind == _SPARSE:
            entry.size, entry.sparse = old_pieces(block, self.source, entry)
        elif pax and (found := pax_pieces(pax, self.source, entry)):
            entry.size, entry.sparse, map_bytes = found
            self._unread = entry.stored = entry.stored - map_bytes
        return entry


def _judge_meta(size):
    """What describes one entry, in however many headers, and what describes all."""
    if size > MAX_META_BYTES:
        raise ImageProblem(f"tar: headers that describe the next one have {size} bytes")


def _write(fd, view):
    while (done := os.write(fd, view)) < len(view):
        view = view[done:]


def _full_name(name, prefix, magic, block):
    """The name of the header alone: only POSIX's magic has a prefix, and star's has a shorter one."""
    name = name.split(b"\0", 1)[0]
    if magic[:6] != b"ustar\0":
        return name
    if block[508:512] == b"tar\0":
        prefix = prefix[:131]
    prefix = prefix.split(b"\0", 1)[0]
    return prefix + b"/" + name if prefix else name


def _sum(block):
    """The sum of the bytes, ten times as fast as sum(): half a block's is below Adler-32's modulus, so its lower half is exact (RFC 1950)."""
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def _signed_sum(block):
    """The checksum as some old systems made it, of signed bytes."""
    return sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])
