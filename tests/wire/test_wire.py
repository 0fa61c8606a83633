"""A list of operations and its bytes; the messages of HOST and INIT."""

import struct

import pytest
from hypothesis import given, strategies
from plan_decoder import OPERATIONS, TEXT, VALUES, decode_plan

from pyoci.plan import wire
from pyoci.plan.ops import INIT, KINDS, NUMBER, TABLE, argument_names
from pyoci.plan.plan import Op

NUMBERS = range(len(TABLE))
SAMPLE = {"i": 1, "f": 0, "s": "text", "l": ["one", "two"], "b": b"bytes"}


def sample(number, **changed):
    """An operation of that row with ordinary arguments; `changed` by kind."""
    return Op(TABLE[number][0], "default", *({**SAMPLE, **changed}[kind] for kind in KINDS[number]))


def arriving(ops):
    """What init reads: HOST's arguments stay with HOST."""
    empty = {"i": 0, "f": 0, "s": None, "l": [], "b": b""}
    return [(op.name, [empty[kind] for kind in KINDS[op.number]] if op.is_host else list(op.args)) for op in ops]


@given(strategies.lists(OPERATIONS, max_size=12))
def test_what_is_encoded_is_decoded(ops):
    assert decode_plan(wire.encode(ops)) == arriving(ops)


@pytest.mark.parametrize("number", NUMBERS, ids=[row[0] for row in TABLE])
def test_every_operation_arrives_beside_a_neighbour(number):
    ops = [sample(number), sample(len(TABLE) - 1 - number), sample(number, s=None, l=[], b=b"")]
    assert decode_plan(wire.encode(ops)) == arriving(ops)


@given(strategies.lists(OPERATIONS, max_size=12))
def test_size_is_a_multiple_of_eight(ops):
    assert len(wire.encode(ops)) % 8 == 0


def test_bytes_are_aligned_whatever_string_comes_before():
    for length in range(9):
        assert decode_plan(wire.encode([Op("hostname", "default", "x" * length), Op("seccomp", "default", 0, b"filter")]))[1] == (
            "seccomp",
            [0, b"filter"],
        )


def test_equal_strings_are_stored_once():
    once = len(wire.encode([Op("hide", "default", "/a/rather/long/path/of/the/container")] * 1))
    twice = len(wire.encode([Op("hide", "default", "/a/rather/long/path/of/the/container")] * 2))
    assert twice - once == 16  # a row of the table and a slot


def test_missing_string_is_not_the_empty_one():
    plan = decode_plan(wire.encode([Op("find_program", "default", "", None)]))
    assert plan == [("find_program", ["", None])]


def test_integers_are_signed():
    plan = decode_plan(wire.encode([Op("personality", "default", -1), Op("set_umask", "default", 2**63 - 1)]))
    assert plan == [("personality", [-1]), ("set_umask", [2**63 - 1])]


WITH_STRINGS = [(TABLE[number][0], number, kind) for number in NUMBERS for kind in "sl" if TABLE[number][1] == INIT and kind in KINDS[number]]


@pytest.mark.parametrize(("number", "kind"), [row[1:] for row in WITH_STRINGS], ids=[f"{row[0]}-{row[2]}" for row in WITH_STRINGS])
def test_nul_in_a_string_is_refused(number, kind):
    spoilt = sample(number, **{kind: "a\0b" if kind == "s" else ["a", "b\0"]})
    with pytest.raises(ValueError, match="a string with a NUL byte"):
        wire.encode([spoilt])


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_operation_with_a_missing_argument_is_refused(row):
    with pytest.raises(TypeError, match=row[0]):
        Op(row[0], "default", *["x"] * (len(row[2].split()) + 1))


@given(strategies.integers(1, 7), strategies.integers(0, 2**32 - 1), strategies.lists(strategies.integers(0, 31), max_size=32))
def test_message_of_the_runtime_names_its_slots(kind, index, slots):
    data = wire.message(kind, index, slots)
    found = struct.unpack("<IIIiII32s", data)
    assert found == (kind, index, 0, 0, 0, len(slots), bytes(slots).ljust(32, b"\0"))


@given(
    strategies.integers(1, 7), strategies.integers(0, 2**32 - 1), strategies.integers(0, 80), VALUES["f"],
    strategies.integers(0, 2**32 - 1), strategies.lists(strategies.integers(0, 31), max_size=32), strategies.text(max_size=50),
)  # fmt: skip
def test_message_of_init_is_read_back(kind, index, step, error, item, slots, text):
    data = struct.pack("<IIIiII32s", kind, index, step, error, item, len(slots), bytes(slots)) + text.encode()
    message = wire.Message(data)
    assert (message.type, message.index, message.step, message.errno, message.item) == (kind, index, step, error, item)
    assert (list(message.slots), message.text) == (slots, text)


@given(TEXT)
def test_text_that_is_no_utf8_can_still_be_printed(text):
    data = text.encode("utf-8", "surrogateescape")
    found = wire.Message(wire.message(wire.FAIL, 0) + data).text
    assert found.encode() == data.decode("utf-8", "replace").encode()


def test_names_of_the_arguments_are_those_of_the_table():
    assert argument_names(NUMBER["hook"]) == ("kind", "index", "path", "args", "env", "timeout_s", "status")
