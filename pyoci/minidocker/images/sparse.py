"""Sparse files in tar: which pieces of the file the archive holds, in each of the four ways to say it.

Source: the GNU tar manual, "Storing Sparse Files" (old GNU format, PAX formats 0.0, 0.1 and 1.0).
"""

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images.pax import SPARSE_MAP, decimal, number, shown

MAX_PIECES = 1 << 20
LINE_BYTES = 31  # of the map: what decimal() takes, and the end of the line
BLOCK = 512


def old_pieces(block, source, entry):
    """(size, pieces) of the old GNU format: the map stands in the header and in blocks behind it."""
    pieces = _fields(block[386:482])
    more = block[482]
    size = number(block[483:495], "real size")
    while more:
        block = source.take(BLOCK)
        pieces += _fields(block[:504])
        more = block[504]
        _judge_count(len(pieces), entry)
    return size, _judged(pieces, size, entry.stored, entry)


def _fields(area):
    found = []
    for start in range(0, len(area) - 23, 24):
        if area[start] == 0:
            break
        found.append((number(area[start : start + 12], "sparse offset"), number(area[start + 12 : start + 24], "sparse length")))
    return found


def pax_pieces(pax, source, entry):
    """(size, pieces, bytes of the map in the data) if the records say that the file is sparse, else None."""
    major, minor = pax.get("GNU.sparse.major"), pax.get("GNU.sparse.minor")
    if major == b"1" and minor == b"0":
        size = decimal(pax.get("GNU.sparse.realsize", b""), "GNU.sparse.realsize")
        pieces, used = _map_in_data(source, entry)
        return size, _judged(pieces, size, entry.stored - used, entry), used
    if major not in (None, b"0"):
        raise ImageProblem(f"tar: {shown(entry.name)}: unknown sparse format {shown(major)}")
    if SPARSE_MAP not in pax:
        return None
    size = decimal(pax.get("GNU.sparse.size") or pax.get("GNU.sparse.realsize") or b"", "GNU.sparse.size")
    numbers = [decimal(value, SPARSE_MAP) for value in pax[SPARSE_MAP].split(b",")] if pax[SPARSE_MAP] else []
    if len(numbers) % 2:
        raise ImageProblem(f"tar: {shown(entry.name)}: half a pair in the sparse map")
    return size, _judged(list(zip(numbers[::2], numbers[1::2], strict=True)), size, entry.stored, entry), 0


def _map_in_data(source, entry):
    """The map of format 1.0: decimal lines at the start of the data, filled up to a whole block."""
    blocks = []
    lines, wanted = 0, None
    most = BLOCK  # its first line, the count, is in the first block
    while wanted is None or lines < wanted:
        if BLOCK * (len(blocks) + 1) > min(entry.stored + -entry.stored % BLOCK, most):
            raise ImageProblem(f"tar: {shown(entry.name)}: the sparse map does not end")
        blocks.append(source.take(BLOCK))
        lines += blocks[-1].count(b"\n")
        if wanted is None and lines:
            count = decimal(blocks[0].split(b"\n", 1)[0], "sparse map")
            _judge_count(count, entry)
            wanted = 1 + 2 * count
            most = LINE_BYTES * wanted + BLOCK
    text = b"".join(blocks).split(b"\n", wanted)
    numbers = [decimal(line, "sparse map") for line in text[1:wanted]]
    return list(zip(numbers[::2], numbers[1::2], strict=True)), BLOCK * len(blocks)


def _judge_count(count, entry):
    if count > MAX_PIECES:
        raise ImageProblem(f"tar: {shown(entry.name)}: a sparse map of {count} pieces")


def _judged(pieces, size, stored, entry):
    """The pieces, if they follow each other within the file and fit what is stored."""
    end = 0
    for offset, length in pieces:
        if offset < end or length < 0:
            raise ImageProblem(f"tar: {shown(entry.name)}: the sparse map goes backwards")
        end = offset + length
    if end > size or not 0 <= size < 1 << 63 or sum(length for _offset, length in pieces) != stored:
        raise ImageProblem(f"tar: {shown(entry.name)}: the sparse map does not fit the file")
    return pieces
