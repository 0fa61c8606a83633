"""Device rules: what v1's exception list and v2's program make of them is what the ordered rules say, for every access."""

import struct

import ebpf
import hypothesis
import pytest
from hypothesis import strategies

from pyoci.cgroup import devices, limits, v1
from pyoci.errors import UnsupportedConfig

ANY = limits.ANY
ALL = limits.EVERYTHING
DENY_ALL = (False, "a", ANY, ANY, ALL)
ALLOW_ALL = (True, "a", ANY, ANY, ALL)
NUMBERS = (0, 1, 2)
ACCESSES = range(1, 8)

numbers = strategies.sampled_from((ANY, *NUMBERS))
rules = strategies.lists(
    strategies.tuples(strategies.booleans(), strategies.sampled_from("abc"), numbers, numbers, strategies.sampled_from(ACCESSES))
    | strategies.sampled_from((DENY_ALL, ALLOW_ALL)),
    max_size=8,
)
requests = [(kind, major, minor, access) for kind in "bc" for major in NUMBERS for minor in NUMBERS for access in ACCESSES]


def matches(rule, kind, major, minor):
    return rule[1] in ("a", kind) and rule[2] in (ANY, major) and rule[3] in (ANY, minor)


def expected(ordered, kind, major, minor, access):
    """The meaning: of each kind of access the last rule that names the device decides; nothing named is denied."""
    for bit in (1, 2, 4):
        if access & bit:
            deciding = [rule[0] for rule in ordered if matches(rule, kind, major, minor) and rule[4] & bit]
            if not deciding or not deciding[-1]:
                return False
    return True


def granted_by_program(program, kind, major, minor, access):
    kernel_access = (1 if access & limits.MKNOD else 0) | (2 if access & limits.READ else 0) | (4 if access & limits.WRITE else 0)
    return ebpf.run(program, struct.pack("<III", kernel_access << 16 | {"b": 1, "c": 2}[kind], major, minor)) == 1


def granted_by_v1(default_allow, exceptions, kind, major, minor, access):
    """What the kernel does with a default and its exceptions (security/device_cgroup.c as devices.rst describes it)."""
    held = [bits for key, bits in exceptions.items() if v1._covers(key, (kind, major, minor))]
    if default_allow:
        return not any(bits & access for bits in held)
    return any(not access & ~bits for bits in held)


@hypothesis.given(rules)
def test_program_grants_what_the_rules_say(ordered):
    program = devices.device_program(ordered)
    wrong = [one for one in requests if granted_by_program(program, *one) != expected(ordered, *one)]
    assert wrong == []


@hypothesis.given(rules)
def test_every_instruction_of_a_program_can_be_reached(ordered):
    program = devices.device_program(ordered)
    assert ebpf.reachable(program) == set(range(len(program) // 8))


@hypothesis.given(rules)
def test_exception_list_grants_what_the_rules_say(ordered):
    try:
        default_allow, exceptions = v1.exception_list(ordered)
    except UnsupportedConfig:
        hypothesis.reject()
    # Making a node is asked for alone, opening never together with it.
    asked = [one for one in requests if not one[3] & limits.MKNOD or one[3] == limits.MKNOD]
    wrong = [one for one in asked if granted_by_v1(default_allow, exceptions, *one) != expected(ordered, *one)]
    assert wrong == []


def test_rules_keep_their_order_and_access_in_the_list():
    ordered = [DENY_ALL, (True, "c", 10, 229, 7), (True, "b", 8, 20, 3), (True, "b", 10, 200, 1), *limits.DEFAULT_RULES]
    _, exceptions = v1.exception_list(ordered)
    assert [v1.exception_text(*item) for item in exceptions.items()][:3] == ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r"]


def test_rules_before_the_last_one_for_everything_do_not_count():
    ordered = [(True, "c", 1, ANY, 1), (False, "c", 1, 3, 1), DENY_ALL, (True, "c", 5, 0, 1)]
    assert v1.exception_list(ordered) == (False, {("c", 5, 0): 1})


def test_exception_that_a_wider_one_covers_is_left_out():
    assert v1.exception_list([(True, "c", 1, 3, 3), (True, "c", 1, ANY, ALL)]) == (False, {("c", 1, ANY): ALL})


def test_narrow_exception_gets_what_a_wider_one_adds_because_one_must_have_all():
    assert v1.exception_list([(True, "c", 1, 3, 1), (True, "c", 1, ANY, 2)])[1] == {("c", 1, 3): 3, ("c", 1, ANY): 2}


def test_type_a_with_a_number_means_both_kinds_and_not_everything():
    assert v1.exception_list([(True, "a", 10, 229, 3)]) == (False, {("b", 10, 229): 3, ("c", 10, 229): 3})


def test_rule_survives_being_written_as_text():
    for rule in (*limits.DEFAULT_RULES, DENY_ALL, (True, "b", ANY, 7, 5)):
        assert limits.rule_of(limits.rule_text(rule)) == rule


def test_default_rules_follow_the_users():
    found = limits.device_rules({"devices": [{"allow": False, "access": "rwm"}]})
    assert found == [DENY_ALL, *limits.DEFAULT_RULES]


@pytest.mark.parametrize(
    ("request_", "granted"),
    [
        (("c", 1, 3, 3), True),  # null
        (("c", 5, 2, 3), True),  # ptmx
        (("c", 136, 9, 3), True),  # a pts
        (("c", 10, 200, 3), True),  # tun
        (("b", 8, 0, limits.MKNOD), True),
        (("b", 8, 0, 1), False),
        (("c", 1, 1, 1), False),  # mem
        (("c", 10, 229, 3), False),  # fuse
    ],
)
def test_container_without_device_rules_has_the_usual_ones(request_, granted):
    ordered = limits.device_rules({})
    assert granted_by_program(devices.device_program(ordered), *request_) is granted
    assert granted_by_v1(*v1.exception_list(ordered), *request_) is granted
