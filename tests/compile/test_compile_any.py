"""What holds for the plan of any config on any host."""

import copy
import re

from any_config import documents, hosts
from compiling import compiled
from hypothesis import assume, event, given, settings

from pyoci.errors import ConfigError
from pyoci.plan.ops import KINDS, argument_names
from pyoci.plan.wire import MAX_SLOTS, encode
from pyoci.spec.validate import unsupported, validate

# Sections whose absence has a meaning that operations carry out; they name what would change it.
IMPLIED = {
    "linux.cgroupsPath": "the runtime chooses the cgroup", "linux.namespaces": "init is started with none",
    "process.user": "root", "process": "there is nothing to execute", "linux.resources": "the last of several limits is waited for",
    "process.capabilities.bounding": "an empty set",
}  # fmt: skip
EXAMPLES = settings(max_examples=100)


def plan_of(document, host):
    """The plan; a config that is refused is no example, but its refusal must be one of ours."""
    try:
        validate(document)
        unsupported(document)
        return compiled(document, host)
    except ConfigError as refusal:
        assert str(refusal).isprintable()
        event("refused")
    assume(False)
    return None


def find(document, origin):
    """Whether the config path leads to something in the document."""
    here = document
    for step in re.findall(r"[^.\[\]]+|\[\d+\]", origin):
        if step[0] == "[":
            if not isinstance(here, list) or int(step[1:-1]) >= len(here):
                return False
            here = here[int(step[1:-1])]
        elif not isinstance(here, dict) or step not in here:
            return False
        else:
            here = here[step]
    return True


def exists(document, origin):
    if origin.startswith("linux.sysctl."):
        return origin.removeprefix("linux.sysctl.") in document["linux"]["sysctl"]
    return origin in IMPLIED or find(document, origin)


@EXAMPLES
@given(documents(), hosts())
def test_every_operation_has_an_origin_in_the_config(document, host):
    plan = plan_of(document, host)
    if host.seccomp:
        document["linux"]["seccomp"] = {}
    lost = [(op.name, op.origin) for op in plan.create + plan.start + plan.delete if op.origin != "default" and not exists(document, op.origin)]
    assert not lost


@EXAMPLES
@given(documents(), hosts())
def test_same_config_and_host_give_the_same_plan_and_neither_is_changed(document, host):
    before = copy.deepcopy(document)
    first = plan_of(document, host)
    assert document == before
    assert compiled(document, host).json_document() == first.json_document()


@EXAMPLES
@given(documents(), hosts())
def test_plan_is_whole(document, host):
    ops = plan_of(document, host).create
    names = [op.name for op in ops]
    assert names[0] == "claim" and names.count("spawn") == names.count("gate") == names.count("record") == 1
    assert names[-1] == ("execute" if document.get("process") else "leave")
    gate = names.index("gate")
    assert not any(op.is_host for op in ops[gate:])
    assert not any(not op.is_host for op in ops[: names.index("spawn")])
    assert not any(op.overlapped for op in ops[: names.index("spawn")])


@EXAMPLES
@given(documents(), hosts())
def test_wait_is_for_an_earlier_overlapped_operation_and_all_are_waited_for(document, host):
    ops = plan_of(document, host).create
    overlapped = [index for index, op in enumerate(ops) if op.overlapped]
    waits = {op.args[0]: index for index, op in enumerate(ops) if op.name == "wait_for"}
    assert set(waits) <= set(overlapped)
    assert all(waited < index for waited, index in waits.items())
    assert not overlapped or max(overlapped) in waits


@EXAMPLES
@given(documents(), hosts())
def test_descriptor_is_there_before_it_is_used(document, host):
    held = set()
    for op in plan_of(document, host).create:
        given_slots = [value for kind, value in zip(KINDS[op.number], op.args) if kind == "f" and value >= 0]
        assert all(slot < MAX_SLOTS for slot in given_slots)
        if op.name in ("open_cgroups", "enter_cgroups"):  # the first of as many
            (first,), count = given_slots, len(op.args[-3])
            given_slots = range(first, first + count)
            assert first + count <= MAX_SLOTS
        if op.name in ("listen", "open_namespace", "open_console", "open_source", "open_cgroups"):
            assert held.isdisjoint(given_slots)
            held.update(given_slots)
        else:
            assert held.issuperset(given_slots), (op.name, dict(zip(argument_names(op.number), op.args)))


@EXAMPLES
@given(documents(), hosts())
def test_plan_can_be_written_down_and_told(document, host):
    plan = plan_of(document, host)
    assert encode(plan.create)
    assert len(plan.text().splitlines()) >= len(plan.create) + 3


@EXAMPLES
@given(documents(), hosts())
def test_no_target_has_dots(document, host):
    for op in plan_of(document, host).create:
        for name, value in zip(argument_names(op.number), op.args):
            if name == "target" or (name == "path" and op.name in ("hide", "protect", "make_device", "bind_device", "make_link", "make_cwd")):
                assert value[0] == "/" and not {"..", ".", ""} & set(value.split("/")[1:]) - ({""} if value == "/" else set())
