"""Every operation of act one is made to fail, one after the other: each is one line that names it, and nothing is left.

HOST's operations fail by their deed, before it and after it.  INIT's fail in the real init: what is sent to it has, in place of
the operation, another that can't succeed (a mount that isn't there) or that kills it.
runtime.md#errors: "generating an error MUST leave the state of the environment as if the operation were never attempted".
"""

import errno
import signal

import pytest
import support
from rich_bundles import CASES, mount_points

from pyoci.errors import PyociError, SyscallError
from pyoci.launch import host
from pyoci.launch.run import Launch
from pyoci.plan import wire
from pyoci.plan.ops import HOST, TABLE
from pyoci.plan.plan import Op

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs("cgroup1")) if name == "in_scope" else name for name in CASES])
def case(request, open_path):
    made = CASES[request.param](open_path)
    yield made
    made.close()


class Failing:
    """Makes the operation with one index fail in the next create, in one of the ways below."""

    def __init__(self, monkeypatch):
        self.index = -1
        self.how = None
        self.real_encode = wire.encode
        self.real_deed = Launch._deed
        monkeypatch.setattr(wire, "encode", self.encode)
        monkeypatch.setattr(Launch, "_deed", lambda launch, index: self.deed(launch, index))

    def encode(self, ops):
        if self.how in (never_there, killing):
            ops = list(ops)
            ops[self.index] = self.how(ops[self.index].origin)
        return self.real_encode(ops)

    def deed(self, launch, index):
        if index != self.index or self.how not in (before, after):
            return self.real_deed(launch, index)
        number = launch.ops[index].number
        real = host.DEEDS[number]
        host.DEEDS[number] = self.how(real)
        try:
            return self.real_deed(launch, index)
        finally:
            host.DEEDS[number] = real


def before(real):
    """A deed that fails before anything is done."""

    def fail(launch, *args):
        raise SyscallError("sabotage", errno.EIO, "this")

    return fail


def after(real):
    """A deed that is done, and then fails."""

    def fail(launch, *args):
        real(launch, *args)
        raise SyscallError("sabotage", errno.EIO, "this")

    return fail


def never_there(origin):
    """An operation that fails wherever init is."""
    return Op("propagate", origin, "/pyoci-is-not-here", 0)


def killing(origin):
    """An operation that no compiler makes, and that init dies of, even where it is the first process of a pid namespace."""
    return Op("hostname", origin, None)


def complaints(case, failing, index, op):
    """What is wrong with how one try failed."""
    name = f"{support.TOKEN}-{index}"
    before_it = support.snapshot(case.folder)
    runtime = case.runtime()
    try:
        runtime.create(name, str(case.bundle.path), **case.options)
        runtime.start(name)
    except PyociError as error:
        # Nobody waits for init at the gate: that it is not there is told by start, in its own words.
        yield from () if op.name == "gate" else wrong_words(str(error), op, failing.how)
    except Exception as error:  # noqa: BLE001 - the very thing that must not happen
        yield f"{type(error).__name__}: {error}"
    else:
        # A death in the very execve is the process's own.
        if failing.how is not killing or op.name not in ("execute", "leave"):
            yield "did not fail"
    case.tidy()
    if runtime.list():
        # It failed after the gate, in start: the container is there, stopped, and delete ends the matter.
        untold = op.name in ("gate", "execute", "leave")  # so that it may still be about to end
        if not untold and runtime.state(name)["status"] != "stopped":
            yield f"is {runtime.state(name)['status']} after it failed"
        runtime.delete(name, force=untold)
        before_it.folders, before_it.kinds["files"] = (), {}
    try:
        support.assert_unchanged(before_it)
    except AssertionError as error:
        yield str(error)


def wrong_words(line, op, how):
    if "\n" in line or not line.isprintable():
        yield f"not one line: {line!r}"
    if op.origin != "default" and op.origin not in line:
        yield f"does not name {op.origin}: {line}"
    if how in (before, after) and "sabotage: this: Input/output error (EIO)" not in line:
        yield f"does not say why: {line}"
    if how is killing and "without a word" not in line and f"signal {signal.SIGSEGV.value}" not in line:
        yield f"does not tell of the signal: {line}"


def fail_each(case, monkeypatch, actor, how):
    """One try an operation of the actor; fails with all that was wrong."""
    ops = case.plan()
    failing = Failing(monkeypatch)
    failing.how = how
    found = []
    for index, op in enumerate(ops):
        if TABLE[op.number][1] == actor:
            failing.index = index
            if index > gate_of(ops):
                failing.how = None
                mount_points(case)
                failing.how = how
            found += [f"{index} {op.name} ({op.origin}): {text}" for text in complaints(case, failing, index, op)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def gate_of(ops):
    return next(index for index, op in enumerate(ops) if op.name == "gate")


def test_failing_host_operation_is_named_and_undone(case, monkeypatch):
    fail_each(case, monkeypatch, HOST, before)


def test_host_operation_that_fails_after_its_deed_is_undone_too(case, monkeypatch):
    fail_each(case, monkeypatch, HOST, after)


def test_failing_init_operation_is_named_and_undone(case, monkeypatch):
    fail_each(case, monkeypatch, 1 - HOST, never_there)


def test_init_that_dies_at_an_operation_is_blamed_on_it_and_undone(case, monkeypatch):
    fail_each(case, monkeypatch, 1 - HOST, killing)


@pytest.mark.needs("cgroup1")
def test_every_kind_of_operation_is_failed(tmp_path):
    """A new kind needs a bundle here that has it.  cgroup_view and delegate_cgroup are for hosts of version 2
    alone, as wait_for is but for a user's exec, the only one that has place_in_cgroup too; the others are of restore, and fail in tests/checkpoint."""
    found = set()
    for name, make in CASES.items():
        (tmp_path / name).mkdir()
        case = make(tmp_path / name)
        found.update(op.name for op in case.plan())
        case.close()
    assert {row[0] for row in TABLE} - found == {
        "undo", "cgroup_view", "delegate_cgroup", "wait_for", "place_in_cgroup",
        "spawn_stand_in", "change_scope", "make_mount_points", "restore_namespaces", "raise_loopback", "restore_processes", "resume_processes",
    }  # fmt: skip


