"""A list of operations as bytes for init, and init's messages as values.

The plan (little-endian, 8-byte aligned):
    header   u32 magic, u32 version, u32 number of operations, u32 number of bytes in all
    table    one u32 kind and one u32 offset of its arguments an operation
    args     8-byte slots; integer: two's complement; string: u32 offset, u32 1 (0, 0 for None);
             list: u32 offset of NUL-terminated strings one after the other, u32 count; bytes: u32 offset, u32 length;
             those of HOST's operations are 0, since init has no use for them
    pool     the strings and bytes

A message (both ways, one SOCK_SEQPACKET datagram, descriptors by SCM_RIGHTS):
    u32 type, u32 index, u32 step, i32 errno, u32 item, u32 number of descriptors, u8 slots[32], then text
"""

from _struct import Struct

from pyoci.plan.ops import HOST, INIT, KINDS, TABLE

MAGIC = 0x494F5950  # "PYOI"
VERSION = 2
RUN, DONE, TURN, FAIL, WARN, GO, CHILD = 1, 2, 3, 4, 5, 6, 7
MAX_SLOTS = 32

# What stands for the arguments of HOST's operations, and of INIT's where in the row are those that no single word holds.
_BLANK = tuple((0,) * len(kinds) if row[1] == HOST else () for row, kinds in zip(TABLE, KINDS))
_LATER = {
    number: [(index, kind) for index, kind in enumerate(kinds) if kind in "lb"]
    for number, kinds in enumerate(KINDS)
    if TABLE[number][1] == INIT and ("l" in kinds or "b" in kinds)
}
_message = Struct("<IIIiII32s")
MESSAGE_BYTES = _message.size


def encode(ops):
    """The operations as the bytes that init reads.  `ops`: list of plan.Op.  Raises ValueError for a NUL in a string."""
    at = 16 + 8 * len(ops)
    table, args, later = [], [], []
    for op in ops:
        number = op.number
        count = len(args)
        table.append(number | at + 8 * count << 32)
        if number in _LATER:
            later += [(count + index, kind) for index, kind in _LATER[number]]
        args += _BLANK[number] or op.args
    end = start = at + 8 * len(args)
    pool = []
    for index, kind in later:
        value = args[index]
        data = _pooled(value) if kind == "l" else bytes(-end % 8) + value
        end += len(data)
        args[index] = end - (len(data) if kind == "l" else len(value)) | len(value) << 32
        pool.append(data)
    texts = [value for value in dict.fromkeys(args) if type(value) is str]  # equal ones are stored once
    pool.append(_pooled(texts))
    codes = {None: 0}
    for text, length in zip(texts, _lengths(texts)):
        codes[text] = end | 1 << 32
        end += length + 1
    gap = 8 - (end - start) % 8
    head = Struct(f"<QQ{len(table)}Q{len(args)}q")
    words = head.pack(MAGIC | VERSION << 32, len(ops) | end + gap << 32, *table, *map(codes.get, args, args))
    return words + b"".join(pool) + bytes(gap)


def _pooled(texts):
    """The strings one after the other, each ended by a NUL."""
    data = "\0".join([*texts, ""])
    if data.count("\0") != len(texts):
        raise ValueError("a string with a NUL byte")
    return data.encode("utf-8", "surrogateescape")


def _lengths(texts):
    """Of each in bytes."""
    if "".join(texts).isascii():
        return map(len, texts)
    return [len(text.encode("utf-8", "surrogateescape")) for text in texts]


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
