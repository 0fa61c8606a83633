"""The plan's bytes read back by a decoder that was written from wire.py's docstring alone, and a strategy for operations."""

import struct

from hypothesis import strategies

from pyoci.plan.ops import KINDS, TABLE
from pyoci.plan.plan import Op

HEAD = struct.Struct("<IIII")
ROW = struct.Struct("<II")


class Malformed(Exception):
    """The bytes are no plan."""


def decode_plan(data):
    """[(name, [value])] of a plan.  Raises Malformed for anything that init's reader would refuse."""
    magic, version, count, size = HEAD.unpack_from(data)
    if (magic, version, size) != (0x494F5950, 2, len(data)):
        raise Malformed(f"header {magic:#x} {version} {size} of {len(data)}")
    rows = [ROW.unpack_from(data, HEAD.size + ROW.size * index) for index in range(count)]
    slots_at = HEAD.size + ROW.size * count
    pool_at = slots_at + 8 * sum(len(KINDS[number]) for number, _ in rows)
    found = []
    for number, at in rows:
        if at != slots_at:
            raise Malformed(f"arguments of {TABLE[number][0]} at {at}, not {slots_at}")
        found.append((TABLE[number][0], [_value(data, pool_at, slots_at + 8 * i, kind) for i, kind in enumerate(KINDS[number])]))
        slots_at += 8 * len(KINDS[number])
    return found


def _value(data, pool_at, at, kind):
    if kind in "if":
        return struct.unpack_from("<q", data, at)[0]
    offset, count = ROW.unpack_from(data, at)
    if count and not pool_at <= offset < len(data):
        raise Malformed(f"offset {offset} outside the pool")
    if kind == "b":
        if count and (offset % 4 or offset + count > len(data)):
            raise Malformed(f"{count} bytes at {offset}")
        return data[offset : offset + count]
    words = []
    for _ in range(count):
        end = data.index(b"\0", offset)
        words.append(data[offset:end].decode("utf-8", "surrogateescape"))
        offset = end + 1
    if kind == "l":
        return words
    return words[0] if words else None


# Paths may hold any byte but NUL; Python shows those that are no UTF-8 as lone surrogates.
TEXT = strategies.binary(max_size=40).map(lambda data: data.replace(b"\0", b"/").decode("utf-8", "surrogateescape"))
VALUES = {
    "i": strategies.integers(-(2**63), 2**63 - 1),
    "f": strategies.integers(-1, 15),
    "s": strategies.none() | TEXT,
    "l": strategies.lists(TEXT, max_size=5),
    "b": strategies.binary(max_size=40),
}


def operations_of(number, values):
    """Operations of one row."""
    return strategies.tuples(*(values[kind] for kind in KINDS[number])).map(lambda args: Op(TABLE[number][0], "default", *args))


OPERATIONS = strategies.integers(0, len(TABLE) - 1).flatmap(lambda number: operations_of(number, VALUES))
# Only `find_program` may lack a string.
WHOLE_OPERATIONS = strategies.integers(0, len(TABLE) - 1).flatmap(lambda number: operations_of(number, {**VALUES, "s": TEXT}))
