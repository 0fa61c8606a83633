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

_WORD = 2**64 - 1
_message = Struct("<IIIiII16s")
MESSAGE_BYTES = _message.size


def encode(ops):
    """The operations as the bytes that init reads.  `ops`: list of plan.Op.  Raises ValueError for a NUL in a string."""
    at = 16 + 8 * len(ops)
    end = start = at + 8 * sum([len(op.args) for op in ops])
    table, args, texts, pool = [], [], [], []
    seen = {}
    for op in ops:
        number = op.number
        table.append(number | at << 32)
        at += 8 * len(op.args)
        for kind, value in zip(KINDS[number], op.args):
            if kind == "i" or kind == "f":
                args.append(value & _WORD)  # RLIM_INFINITY is 2**64 - 1
            elif value is None:
                args.append(0)
            elif kind == "s":
                offset = seen.get(value)
                if offset is None:
                    offset = seen[value] = end
                    data = value.encode("utf-8", "surrogateescape")
                    texts.append(data)
                    pool += (data, b"\0")
                    end += len(data) + 1
                args.append(offset | 1 << 32)
            elif kind == "b":
                gap = -end % 8
                args.append(end + gap | len(value) << 32)
                pool += (bytes(gap), value)
                end += gap + len(value)
            else:
                args.append(end | len(value) << 32)
                for word in value:
                    data = word.encode("utf-8", "surrogateescape")
                    texts.append(data)
                    pool += (data, b"\0")
                    end += len(data) + 1
    if b"\0" in b"".join(texts):
        raise ValueError("a string with a NUL byte")
    gap = 8 - (end - start) % 8
    words = Struct(f"<{2 + len(table) + len(args)}Q")
    return words.pack(MAGIC | VERSION << 32, len(ops) | end + gap << 32, *table, *args) + b"".join(pool) + bytes(gap)


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
