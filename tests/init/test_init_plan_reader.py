"""init's reader takes what plan/wire.py writes, refuses everything else, and reads no byte outside it; on x86-64 and, emulated, on arm64.

The reader runs alone (plan_reader.c), against a page that can't be read. PYOCI_FUZZ_PLANS=N reads N spoilt plans instead of a few thousand.
"""

import os
import pathlib
import random
import shutil
import struct
import subprocess

import pytest

from pyoci.native import build
from pyoci.plan import ops as vocabulary
from pyoci.plan import wire
from pyoci.plan.plan import Op

HERE = pathlib.Path(__file__).parent
INIT = build.NATIVE / "init"
ERRORS = ("GOOD", "SHORT", "HEADER", "TABLE", "KIND", "ARGUMENTS", "STRING", "LIST", "BLOB", "SLOT")
SPOILT_PLANS = int(os.environ.get("PYOCI_FUZZ_PLANS", "4000"))
MASK = 2**64 - 1
HEAD_BYTES = 16


class Reader:
    """The reader as a program that answers (error, sum) for each plan."""

    def __init__(self, *command):
        self.command = command

    def read(self, plans):
        given = b"".join(struct.pack("<I", len(plan)) + plan for plan in plans)
        done = subprocess.run(self.command, input=given, capture_output=True)
        answers = [(ERRORS[error], total) for error, total in struct.iter_unpack("<QQ", done.stdout)]
        assert done.returncode == 0, f"plan {len(answers)} ends the reader with {done.returncode}: {plans[len(answers)].hex()}"
        return answers


def build_reader(target):
    """Compile plan_reader.c with init's reader, as init is compiled."""
    build.generate_ops_header()
    sources = [HERE / "plan_reader.c", INIT / "plan.c", INIT / "nolibc.c"]
    build.run([*build.compiler(), *build.freestanding_flags(), f"-I{INIT}", *sources, "-o", target])
    return target


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("gcc", id="native", marks=pytest.mark.needs("gcc")),
        pytest.param("aarch64-linux-gnu-gcc", id="arm64", marks=pytest.mark.needs("aarch64-gcc", "qemu-aarch64")),
    ],
)
def reader(request, tmp_path_factory):
    """The reader on each machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", request.param)
        program = build_reader(tmp_path_factory.mktemp("reader") / "reader")
    emulator = [shutil.which("qemu-aarch64-static")] if request.param.startswith("aarch64") else []
    return Reader(*emulator, program)


def sum_text(total, data):
    for byte in data:
        total = (total * 31 + byte) & MASK
    return (total * 31 + 7) & MASK


def sum_argument(total, kind, value):
    if kind == "s":
        return (total * 31 + 3) & MASK if value is None else sum_text(total, value.encode("utf-8", "surrogateescape"))
    if kind == "l":
        for word in value or []:
            total = sum_text(total, word.encode("utf-8", "surrogateescape"))
        return (total * 31 + len(value or [])) & MASK
    if kind == "b":
        for byte in value or b"":
            total = (total * 31 + byte) & MASK
        return (total * 31 + len(value or b"")) & MASK
    return (total * 31 + value) & MASK


def sum_plan(ops):
    """What plan_reader.c answers for these operations."""
    total = len(ops)
    for op in ops:
        total = (total * 31 + op.number) & MASK
        if not op.is_host:
            for kind, value in zip(vocabulary.KINDS[op.number], op.args, strict=True):
                total = sum_argument(total, kind, value)
    return total & MASK


def some_value(rng, kind):
    if kind == "i":
        return rng.choice([0, 1, -1, 2**63 - 1, -(2**63), rng.randrange(2**32)])
    if kind == "f":
        return rng.randrange(-1, wire.MAX_SLOTS)
    if kind == "s":
        return rng.choice([None, "", "/proc", "a" * rng.randrange(300), "\udcff\u00fc"])
    if kind == "l":
        return [some_value(rng, "s") or "" for _ in range(rng.randrange(6))]
    return rng.choice([None, b"", rng.randbytes(8 * rng.randrange(40)), rng.randbytes(rng.randrange(40))])


def some_plan(rng, most=40):
    """A list of operations of every kind, with any arguments."""
    rows = [rng.choice(vocabulary.TABLE) for _ in range(rng.randrange(most))]
    return [Op(row[0], "test", *[some_value(rng, kind) for kind in vocabulary.KINDS[vocabulary.NUMBER[row[0]]]]) for row in rows]


def every_operation():
    """One operation of each kind, with the emptiest arguments."""
    empty = {"i": 0, "f": -1, "s": None, "l": [], "b": None}
    return [Op(row[0], "test", *[empty[kind] for kind in vocabulary.KINDS[vocabulary.NUMBER[row[0]]]]) for row in vocabulary.TABLE]


def spoil(rng, plan):
    """Change a valid plan in one of the ways in which bytes go wrong."""
    data = bytearray(plan)
    way = rng.randrange(5)
    if way == 0 and data:
        del data[rng.randrange(len(data)) :]
    elif way == 1:
        data += rng.randbytes(rng.randrange(1, 32))
    elif way == 2:
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    else:  # whole words: counts, kinds, offsets and lengths
        for _ in range(rng.randrange(1, 4)):
            at = 4 * rng.randrange(min(len(data) // 4, 64 if way == 3 else len(data) // 4))
            word = rng.choice([0, 1, 7, len(data), len(data) - 1, len(data) + 1, 2**31, 2**32 - 1, rng.randrange(2**32), rng.randrange(2 * len(data))])
            struct.pack_into("<I", data, at, word)
    return bytes(data)


def test_plan_that_the_runtime_writes_is_read_as_it_was_meant(reader):
    rng = random.Random(1)
    plans = [[], every_operation(), *[some_plan(rng) for _ in range(300)]]
    assert reader.read([wire.encode(ops) for ops in plans]) == [("GOOD", sum_plan(ops)) for ops in plans]


def test_spoilt_plan_is_refused_or_stays_inside_its_bytes(reader):
    rng = random.Random(2)
    left = SPOILT_PLANS
    while left > 0:
        count = min(left, 2000)
        answers = reader.read([spoil(rng, wire.encode(some_plan(rng))) for _ in range(count)])
        assert len(answers) == count
        assert any(error != "GOOD" for error, _total in answers)
        left -= count


def test_bytes_of_no_plan_are_refused(reader):
    rng = random.Random(3)
    junk = [b"", b"\0", b"\0" * 15, b"\0" * 16, b"\xff" * 4096, *[rng.randbytes(rng.randrange(4096)) for _ in range(500)]]
    assert {error for error, _total in reader.read(junk)} == {"SHORT", "HEADER"}


def changed(at, form, value):
    """A valid plan of one `keyring`, with something else at one place."""
    plan = bytearray(wire.encode([Op("keyring", "test", "name")]))
    struct.pack_into(form, plan, at, value)
    return bytes(plan)


ARGUMENT = HEAD_BYTES + 8  # of the only operation
POOL = ARGUMENT + 8


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        pytest.param(changed(0, "<I", 0), "HEADER", id="magic"),
        pytest.param(changed(4, "<I", wire.VERSION + 1), "HEADER", id="version"),
        pytest.param(changed(12, "<I", 2**32 - 1), "HEADER", id="size-past-the-end"),
        pytest.param(changed(12, "<I", HEAD_BYTES - 1), "HEADER", id="size-within-the-header"),
        pytest.param(changed(8, "<I", 2**29), "TABLE", id="more-operations-than-bytes"),
        pytest.param(changed(HEAD_BYTES, "<I", len(vocabulary.TABLE)), "KIND", id="first-unknown-kind"),
        pytest.param(changed(HEAD_BYTES + 4, "<I", HEAD_BYTES), "ARGUMENTS", id="arguments-within-the-table"),
        pytest.param(changed(HEAD_BYTES + 4, "<I", ARGUMENT + 1), "ARGUMENTS", id="arguments-not-aligned"),
        pytest.param(changed(ARGUMENT, "<I", ARGUMENT), "STRING", id="string-within-the-arguments"),
        pytest.param(changed(ARGUMENT, "<I", 2**32 - 1), "STRING", id="string-past-the-end"),
        pytest.param(changed(POOL, "8s", b"namename"), "STRING", id="string-without-an-end"),
        pytest.param(changed(ARGUMENT + 4, "<I", 0), "GOOD", id="no-string"),
    ],
)
def test_plan_with_one_wrong_place_is_refused_for_it(reader, plan, error):
    assert [found for found, _total in reader.read([plan])] == [error]


def test_descriptor_slot_that_does_not_exist_is_refused(reader):
    answers = reader.read([wire.encode([Op("join", "test", 0, slot)]) for slot in (-2, -1, 0, wire.MAX_SLOTS - 1, wire.MAX_SLOTS)])
    assert [error for error, _total in answers] == ["SLOT", "GOOD", "GOOD", "GOOD", "SLOT"]
