"""A list of operations as bytes for init, and init's messages as values.

The plan (little-endian, 8-byte aligned):
    header   u32 magic, u32 version, u32 number of operations, u32 number of bytes in all
    table    one u32 kind and one u32 offset of its arguments an operation
    args     8-byte slots; integer: two's complement; string: u32 offset, u32 1 (0, 0 for None);
             list: u32 offset of NUL-terminated strings one after the other, u32 count; bytes: u32 offset, u32 length
    pool     the strings and bytes

A message (both ways, one SOCK_SEQPACKET datagram, descriptors by SCM_RIGHTS):
    u32 type, u32 index, u32 step, i32 errno, u32 item, u32 number of descriptors, u8 slots[16], then text
"""

from _struct import Struct

from pyoci.plan.ops import KINDS

MAGIC = 0x494F5950  # "PYOI"
VERSION = 1
RUN, DONE, TURN, FAIL, WARN, GO, CHILD = 1, 2, 3, 4, 5, 6, 7
MAX_SLOTS = 16

_pair = Struct("<II").pack
_integer = Struct("<Q").pack
_WORD = 2**64 - 1
_head = Struct("<IIII").pack
_message = Struct("<IIIiII16s")
MESSAGE_BYTES = _message.size


def encode(ops):
    """The operations as the bytes that init reads.  `ops`: list of plan.Op.  Raises ValueError for a NUL in a string."""
    table_end = 16 + 8 * len(ops)
    slots = sum(len(op.args) for op in ops)
    pool_start = table_end + 8 * slots
    table, args, pool = [], [], bytearray()
    at = table_end
    seen = {}
    for op in ops:
        table.append(_pair(op.number, at))
        kinds = KINDS[op.number]
        at += 8 * len(kinds)
        for kind, value in zip(kinds, op.args):
            if kind == "i" or kind == "f":
                args.append(_integer(value & _WORD))  # RLIM_INFINITY is 2**64 - 1
            elif value is None:
                args.append(b"\0\0\0\0\0\0\0\0")
            elif kind == "b":
                pool += bytes(-len(pool) % 8)
                args.append(_pair(pool_start + len(pool), len(value)))
                pool += value
            elif kind == "s":
                offset = seen.get(value)
                if offset is None:
                    offset = seen[value] = pool_start + len(pool)
                    pool += _string(value)
                args.append(_pair(offset, 1))
            else:
                args.append(_pair(pool_start + len(pool), len(value)))
                for word in value:
                    pool += _string(word)
    pool += bytes(8 - len(pool) % 8)
    size = pool_start + len(pool)
    return b"".join((_head(MAGIC, VERSION, len(ops), size), *table, *args, bytes(pool)))


def _string(text):
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError("a string with a NUL byte")
    return data + b"\0"


def message(kind, index, slots=()):
    """A message of HOST to INIT; `slots`: the descriptor slots that the attached descriptors go to."""
    return _message.pack(kind, index, 0, 0, 0, len(slots), bytes(slots))


class Message:
    """A message of INIT: type, index, step, errno, item, slots (of the attached descriptors), text."""

    __slots__ = ("type", "index", "step", "errno", "item", "slots", "text")

    def __init__(self, data):
        self.type, self.index, self.step, self.errno, self.item, count, slots = _message.unpack_from(data)
        self.slots = slots[:count]
        self.text = bytes(data[MESSAGE_BYTES:]).decode("utf-8", "replace")
