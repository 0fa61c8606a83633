"""init's plan reader (native/init/plan.c) as an ordinary program under the address and undefined-behaviour sanitizers."""

import pathlib
import random
import struct
import subprocess

import pytest

from pyoci.plan import wire
from pyoci.plan.ops import INIT, KINDS, TABLE
from pyoci.plan.plan import Op

HERE = pathlib.Path(__file__).parent
INIT_FOLDER = HERE.parents[1] / "pyoci/native/init"
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
GOOD, SHORT, HEADER, TABLE_ERROR, KIND, ARGUMENTS, STRING = range(7)
SAMPLES = {"i": [0, -1, 2**63 - 1], "f": [-1, 0, 15], "s": [None, "", "/dev/pts"], "l": [[], ["a"], ["", "bc", "d" * 300]], "b": [b"", b"x" * 9]}


class Reader:
    """The program, kept running."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, plan):
        """(verdict, sum of the walk) for the bytes of a plan."""
        self.process.stdin.write(struct.pack("<I", len(plan)) + plan)
        self.process.stdin.flush()
        line = self.process.stdout.readline().split()
        assert line, f"the reader died on {plan.hex()}"
        return int(line[0]), int(line[1])

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


def compile_reader(folder, compiler, flags):
    program = folder / "reader"
    command = [compiler, *WARNINGS, *flags, f"-I{INIT_FOLDER}", HERE / "reader.c", INIT_FOLDER / "plan.c", "-o", program]
    subprocess.run(command, check=True)
    return program


def make_native(folder):
    return [compile_reader(folder, "gcc", ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    reader = Reader(make_native(tmp_path_factory.mktemp("reader")))
    yield reader
    reader.close()


def every_operation():
    """One operation of every kind for each of the samples of its arguments."""
    return [
        Op(row[0], "default", *(SAMPLES[kind][turn % len(SAMPLES[kind])] for kind in KINDS[number]))
        for number, row in enumerate(TABLE)
        for turn in range(3)
    ]


def walked(ops):
    """What the walk of reader.c adds up."""
    total = 0
    for op in ops:
        for kind, value in zip(KINDS[op.number], op.args if op.actor == INIT else ()):
            if kind == "s":
                total += len(value or "")
            elif kind == "l":
                total += sum(map(len, value))
            elif kind == "b":
                total += sum(value)
    return total


def test_every_operation_arrives_with_its_arguments(read):
    ops = every_operation()
    assert read(wire.encode(ops)) == (GOOD, walked(ops))


def test_an_empty_plan_is_read(read):
    assert read(wire.encode([])) == (GOOD, 0)


def test_no_mutation_makes_the_reader_look_outside(read):
    """Random bytes of a good plan are overwritten: any verdict will do, as long as the reader lives to tell it."""
    source = random.Random(20)
    good = wire.encode(every_operation())
    verdicts = set()
    for _ in range(4000):
        plan = bytearray(good)
        for _ in range(source.choice((1, 1, 2, 8))):
            at = source.randrange(len(plan))
            plan[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        if source.random() < 0.2:
            del plan[source.randrange(len(plan)) :]
        verdicts.add(read(bytes(plan))[0])
    assert {GOOD, HEADER, KIND, ARGUMENTS, STRING}.issubset(verdicts)
