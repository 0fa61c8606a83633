"""What init is compiled from: ops.h, made from the table by plan/header.py."""

import re

import pytest

from pyoci.plan import header, wire
from pyoci.plan.ops import HOST, INIT, KINDS, STEPS, TABLE, argument_names

TEXT = header.text()
C_TYPES = {"i": "int64_t ", "f": "int64_t ", "s": "const char *", "l": "struct list ", "b": "struct blob "}
INIT_ROWS = [number for number, row in enumerate(TABLE) if row[1] == INIT]


def names(numbers):
    return [TABLE[number][0] for number in numbers]


@pytest.mark.parametrize("number", range(len(TABLE)), ids=[row[0] for row in TABLE])
def test_number_in_the_header_is_the_row_of_the_table(number):
    assert re.search(rf"^\tOP_{TABLE[number][0].upper()} = {number},$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("number", range(len(TABLE)), ids=[row[0] for row in TABLE])
def test_argument_letters_begin_with_the_actor(number):
    table = TEXT[TEXT.index("op_arguments") : TEXT.index("};", TEXT.index("op_arguments"))]
    letters = re.findall(r'"(\w+)"', table)
    assert letters[number] == ("H" if TABLE[number][1] == HOST else "I") + "".join(KINDS[number])
    assert len(letters) == len(TABLE)


@pytest.mark.parametrize("number", INIT_ROWS, ids=names(INIT_ROWS))
def test_struct_of_an_operation_of_init_has_its_arguments_in_order(number):
    fields = [f"\t{C_TYPES[kind]}{name}_;" for name, kind in zip(argument_names(number), KINDS[number])]
    found = re.search(rf"^struct op_{TABLE[number][0]} {{\n(.*?)\n}};", TEXT, re.MULTILINE | re.DOTALL)
    assert (found.group(1).split("\n") if found else []) == fields


def test_operation_of_the_runtime_has_no_struct():
    assert set(re.findall(r"^struct op_(\w+) {", TEXT, re.MULTILINE)) == {TABLE[number][0] for number in INIT_ROWS if KINDS[number]}


def test_every_step_has_its_number_and_a_name_of_its_own():
    block = TEXT[TEXT.index("enum step {") :]
    found = re.findall(r"^\tSTEP_(\w+) = (\d+),$", block, re.MULTILINE)
    assert [int(number) for _, number in found] == list(range(len(STEPS)))
    assert len({name for name, _ in found}) == len(STEPS)
    assert found[0][0] == "NONE"


def test_messages_and_limits_are_those_of_the_wire():
    defined = dict(re.findall(r"^#define (\w+) (\d+)u?$", TEXT, re.MULTILINE))
    for name in ("RUN", "DONE", "TURN", "FAIL", "WARN", "GO", "CHILD"):
        assert int(defined[f"MESSAGE_{name}"]) == getattr(wire, name)
    assert int(defined["PLAN_MAGIC"]) == wire.MAGIC
    assert int(defined["PLAN_VERSION"]) == wire.VERSION
    assert int(defined["MAX_SLOTS"]) == wire.MAX_SLOTS
    assert int(defined["OP_KINDS"]) == len(TABLE)


def test_header_that_init_was_built_with_is_this_one():
    built = header.__file__.replace("plan/header.py", "native/init/ops.h")
    with open(built, encoding="utf-8") as text:
        assert text.read().strip() == TEXT.strip()


def test_table_names_each_operation_once_with_a_source_and_a_meaning():
    assert len({row[0] for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert re.fullmatch(r"[a-z0-9_.-]+(\(\d\)|\.md#[a-z0-9-]+)", row[3]), row
        assert row[4] and row[4][0].islower() and row[4][-1] != ".", row
    assert set("".join(map("".join, KINDS))) <= set("isfbl")
