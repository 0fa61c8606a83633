"""compile_filter against three judges: upstream's binding (the same bytes), a plain reading of the document, and refusals by their text."""

import json
import pathlib
import random

import cbpf
import judge
import pytest
import upstream
from hypothesis import given, settings
from hypothesis import strategies as st

from pyoci.errors import ConfigError, SyscallError, UnsupportedConfig
from pyoci.seccomp import binding, enosys, program

pytestmark = pytest.mark.needs("libseccomp")
PROFILE = json.loads((pathlib.Path(__file__).resolve().parents[2] / "bundles/profiles/docker-size.json").read_text())
AARCH64 = "SCMP_ARCH_AARCH64"
X86_64 = judge.AUDIT["SCMP_ARCH_X86_64"]
ALLOW, LOG, EPERM = 0x7FFF0000, 0x7FFC0000, 0x00050001

NAMES = st.sampled_from(
    [
        "read", "write", "open", "openat", "close", "stat", "statx", "mmap", "mmap2", "brk", "getpid", "clone",
        "clone3", "personality", "fork", "vfork", "socket", "connect", "kill", "exit_group", "rt_sigreturn",
        "faccessat2", "futex_waitv", "cachestat", "rseq", "io_uring_setup", "breakpoint", "set_tls", "epoll_wait",
        "arch_prctl", "mremap", "ioctl",
    ]
)  # fmt: skip
WORDS = st.one_of(st.integers(0, 8), st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]), st.integers(0, 2**32 - 1))
WIDE = st.one_of(WORDS, st.sampled_from([2**32, 2**32 + 5, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
OPERATORS = st.sampled_from(sorted(program.OPERATORS))
ACTIONS = st.sampled_from(sorted(set(program.ACTIONS) - {"SCMP_ACT_NOTIFY"}))


def filter_of(*entries, default="SCMP_ACT_ERRNO", **more):
    return {"defaultAction": default, "syscalls": list(entries), **more}


def allow(*names, args=()):
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": list(args)}


def on_second(operator, value):
    return {**on_first(operator, value), "index": 1}


def on_first(operator, value):
    return {"index": 0, "value": value, "op": f"SCMP_CMP_{operator}"}


def log(*names, args=()):
    return {"names": list(names), "action": "SCMP_ACT_LOG", "args": list(args)}


def with_errno(action, errno):
    return {"action": action, **({"errnoRet": errno} if action in program.ACTIONS_WITH_ERRNO and errno is not None else {})}


@st.composite
def conditions(draw, words, most=3):
    made = []
    for _ in range(draw(st.integers(0, most))):
        condition = {"index": draw(st.integers(0, 5)), "value": draw(words), "op": draw(OPERATORS)}
        if condition["op"] == "SCMP_CMP_MASKED_EQ":
            # A bit outside the mask can never match; libseccomp drops it from the second value, so none is asked for.
            condition["valueTwo"] = draw(words) & condition["value"]
        made.append(condition)
    return made


@st.composite
def profiles(draw, words=WIDE, arches=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"), most_conditions=3):
    """Objects in which every name has one action, with one to three entries a name."""
    default = draw(ACTIONS)
    errno = draw(st.one_of(st.none(), st.sampled_from([1, 13, 38]))) if default in program.ACTIONS_WITH_ERRNO else None
    syscalls = []
    for name in draw(st.lists(NAMES, unique=True, max_size=12)):
        action = with_errno(draw(ACTIONS), draw(st.sampled_from([None, 2, 38, 4094])))
        for _ in range(draw(st.integers(1, 3))):
            # On 32-bit x86 socketcall hides the arguments of these; libseccomp then drops the conditions.
            most = 0 if name in ("socket", "connect") else most_conditions
            syscalls.append({"names": [name], **action, "args": draw(conditions(words, most))})
    return {
        "defaultAction": default,
        **({} if errno is None else {"defaultErrnoRet": errno}),
        "architectures": draw(st.lists(st.sampled_from(arches), unique=True)),
        "syscalls": draw(st.permutations(syscalls)),
    }


def compiled(profile, **keywords):
    return cbpf.decode(program.compile_filter(profile, **keywords).bpf)


def interesting_words(profile):
    """Values around those that the profile compares with."""
    found = {0, 1, 2**32 - 1, 2**64 - 1}
    for entry in profile["syscalls"]:
        for condition in entry.get("args") or []:
            for value in (condition["value"], condition.get("valueTwo") or 0):
                found |= {value, max(value - 1, 0), min(value + 1, 2**64 - 1), value ^ 2**32}
    return sorted(found)


def interesting_numbers(judged, arch):
    numbers = {0, 1, 600, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xF0001}
    for number in judged.numbers[arch]:
        numbers |= {number, number + 1, max(number - 1, 0)}
    return sorted(numbers)


# The plain reading.


@settings(max_examples=150)
@given(profile=profiles(), seed=st.integers(0, 255))
def test_filter_returns_what_the_document_says(profile, seed):
    instructions = compiled(profile)
    judged = judge.Judge(profile)
    words = interesting_words(profile)
    choose = random.Random(seed).choices
    has_wide_values = any(c["value"] >= 2**32 for e in profile["syscalls"] for c in e["args"])
    for arch in judged.numbers:
        for number in interesting_numbers(judged, arch) * 2:
            if has_wide_values and judged.arch_of(judge.AUDIT[arch], number) in judge.NARROW:
                continue  # libseccomp compares the lower half
            args = choose(words, k=6)
            got = cbpf.verdict(instructions, cbpf.data(judge.AUDIT[arch], number, args))
            assert got == judged.verdict(judge.AUDIT[arch], number, args), (arch, number, args)


@settings(max_examples=40)
@given(
    native=st.sampled_from(["SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_ARM"]),
    profile=profiles(words=WORDS, arches=("SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"), most_conditions=1),
    seed=st.integers(0, 255),
)
def test_filter_for_another_machine_returns_what_the_document_says(native, profile, seed):
    instructions = compiled(profile, native_arch=native)
    judged = judge.Judge(profile, native)
    words = [word for word in interesting_words(profile) if word < 2**32]
    choose = random.Random(seed).choices
    for arch in judged.numbers:
        for number in interesting_numbers(judged, arch):
            if judged.numbers[arch].get(number) in ("socket", "connect"):
                continue
            args = choose(words, k=6)
            got = cbpf.verdict(instructions, cbpf.data(judge.AUDIT[arch], number, args))
            assert got == judged.verdict(judge.AUDIT[arch], number, args), (arch, number, args)
    assert cbpf.verdict(instructions, cbpf.data(X86_64, 0)) == 0


@pytest.mark.parametrize("arch", PROFILE["architectures"])
def test_docker_size_profile_returns_what_it_says_for_every_number(arch):
    instructions = compiled(PROFILE)
    judged = judge.Judge(PROFILE)
    bit = 0x40000000 if arch == "SCMP_ARCH_X32" else 0
    arguments = ([0] * 6, [1] * 6, [8] * 6, [38] * 6, [39] * 6, [40] * 6, [41] * 6, [0x20000] * 6, [0x10000000] * 6, [0xFFFFFFFF] * 6, [0x1200011] * 6)
    for number in [*range(bit, bit + 620), 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF]:
        for args in arguments:
            got = cbpf.verdict(instructions, cbpf.data(judge.AUDIT[arch], number, args))
            assert got == judged.verdict(judge.AUDIT[arch], number, args), (hex(number), args)


def test_docker_size_profile_has_the_size_of_the_real_ones():
    assert 350 <= len(PROFILE["syscalls"][0]["names"]) <= 400
    assert 1000 < len(compiled(PROFILE)) < 4096


# Upstream's binding.


def upstream_rules(profile):
    """The calls of add_rule that a profile asks for, written down once more."""
    default = judge.returned(profile["defaultAction"], profile.get("defaultErrnoRet"))
    rules = []
    for entry in profile["syscalls"]:
        action = judge.returned(entry["action"], entry.get("errnoRet"))
        listed = [[c["index"], program.OPERATORS[c["op"]], c["value"], c.get("valueTwo") or 0] for c in entry.get("args") or []]
        together = len({c[0] for c in listed}) == len(listed)
        for name in entry["names"]:
            if action != default and binding.number_of(binding.system_arch(), name) != -1:
                rules.append([[action, name, listed]] if together else [[action, name, [c]] for c in listed])
    return rules


def upstream_program(profile):
    rules = upstream_rules(profile)
    arches = [name.removeprefix("SCMP_ARCH_").lower() for name in profile.get("architectures") or []]
    flat = [rule for group in rules for rule in group]
    return upstream.build(judge.returned(profile["defaultAction"], profile.get("defaultErrnoRet")), arches, flat, len(rules) > 32)


def stub_bytes(profile):
    arches = [int(binding.Arch())]
    for name in profile.get("architectures") or []:
        number = int(binding.Arch(name.removeprefix("SCMP_ARCH_").lower()))
        arches += [] if number in arches else [number]
    if not enosys.is_needed(judge.returned(profile["defaultAction"], profile.get("defaultErrnoRet"))):
        return b""
    names = {name for entry in profile["syscalls"] for name in entry["names"]}
    return enosys.stub(enosys.horizons(arches, names, binding.number_of, binding.name_of))


def with_one_rule_a_call(profile):
    """The profile with only as much of it as libseccomp can be trusted with: one rule a call, and calls that every architecture has."""
    arches = [binding.Arch(name) for name in ("x86_64", "x86", "x32")]
    entries = {entry["names"][0]: entry for entry in profile["syscalls"]}
    entries = {name: entry for name, entry in entries.items() if all(binding.number_of(arch, name) > binding.MISSING_HERE for arch in arches)}
    simple = []
    for entry in entries.values():
        by_index = {condition["index"]: condition for condition in entry["args"]}
        simple.append({**entry, "args": list(by_index.values())})
    return {**profile, "syscalls": simple}


@pytest.mark.needs("python3-seccomp")
@settings(max_examples=150)
@given(profile=profiles().map(with_one_rule_a_call))
def test_upstream_makes_the_same_program(profile):
    assert program.compile_filter(profile).bpf == stub_bytes(profile) + upstream_program(profile)


@pytest.mark.needs("python3-seccomp")
def test_upstream_makes_the_same_program_of_many_rules():
    profile = {**PROFILE, "syscalls": PROFILE["syscalls"][:1]}
    assert program.compile_filter(profile).bpf == stub_bytes(profile) + upstream_program(profile)


@pytest.mark.needs("python3-seccomp")
@pytest.mark.parametrize("arch", PROFILE["architectures"])
def test_upstream_s_program_judges_alike_by_the_docker_size_profile(arch):
    ours, theirs = compiled(PROFILE), cbpf.decode(stub_bytes(PROFILE) + upstream_program(PROFILE))
    bit = 0x40000000 if arch == "SCMP_ARCH_X32" else 0
    for number in range(bit, bit + 620):
        for word in (0, 1, 8, 38, 39, 40, 41, 0x20000, 0x20008, 0xFFFFFFFF, 2**32, 2**32 + 40):
            seccomp_data = cbpf.data(judge.AUDIT[arch], number, [word] * 6)
            assert cbpf.verdict(ours, seccomp_data) == cbpf.verdict(theirs, seccomp_data), (hex(number), word)


# Rules that meet.


def test_ranges_of_one_call_that_differ_in_their_upper_halves_do_not_leak():
    # libseccomp 2.5.4 merges these into a tree that also allows 1.
    instructions = compiled(filter_of(allow("read", args=[on_first("GE", 2**32)]), allow("read", args=[on_first("LE", 0)])))
    assert [cbpf.verdict(instructions, cbpf.data(X86_64, 0, [word])) for word in (0, 1, 2**32 - 1, 2**32)] == [ALLOW, EPERM, EPERM, ALLOW]


def test_rules_of_one_call_on_two_arguments_come_to_an_end():
    # libseccomp 2.5.4 loops for ever over these.
    rules = [[on_first("LT", 38), on_second("LT", 1)], [on_first("LT", 38), on_second("NE", 5)], [on_second("EQ", 38)]]
    instructions = compiled(filter_of(*[allow("read", args=rule) for rule in rules]))
    assert [cbpf.verdict(instructions, cbpf.data(X86_64, 0, words)) for words in ([0, 5], [0, 6], [50, 38], [50, 0])] == [EPERM, ALLOW, ALLOW, EPERM]


@pytest.mark.parametrize(
    ("first", "second", "verdicts"),
    [
        pytest.param(allow("read", args=[on_first("GE", 3)]), log("read", args=[on_first("GE", 2)]), [EPERM, LOG, ALLOW], id="the-first-that-holds"),
        pytest.param(log("read", args=[on_first("GE", 2)]), allow("read", args=[on_first("GE", 3)]), [EPERM, LOG, LOG], id="in-the-document-s-order"),
        pytest.param(log("read", args=[on_first("GE", 2)]), allow("read"), [ALLOW, ALLOW, ALLOW], id="unconditional-beats-the-earlier"),
        pytest.param(allow("read"), log("read", args=[on_first("GE", 2)]), [ALLOW, ALLOW, ALLOW], id="unconditional-beats-the-later"),
        pytest.param(allow("read"), log("read"), [ALLOW, ALLOW, ALLOW], id="the-first-unconditional"),
    ],
)
def test_of_rules_that_meet(first, second, verdicts):
    instructions = compiled(filter_of(first, second))
    assert [cbpf.verdict(instructions, cbpf.data(X86_64, 0, [word])) for word in (1, 2, 3)] == verdicts


def test_call_that_an_architecture_lacks_does_not_spoil_the_next_rule():
    # libseccomp 2.5.4, given both rules for aarch64, compares the architecture with the number of read.
    missing = {"names": ["open"], "action": "SCMP_ACT_ERRNO"}
    instructions = compiled(filter_of(missing, {**missing, "names": ["read"], "args": [on_first("EQ", 0)]}, default="SCMP_ACT_ALLOW"), native_arch=AARCH64)
    assert cbpf.verdict(instructions, cbpf.data(judge.AUDIT[AARCH64], 63, [0])) == EPERM


def test_action_that_stands_for_the_next_layer_is_never_one_of_the_document():
    messages = [{"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 0xFFFF - n, "args": [on_first("EQ", n)]} for n in range(5)]
    instructions = compiled(filter_of(*messages))
    assert [cbpf.verdict(instructions, cbpf.data(X86_64, 0, [word])) for word in range(6)] == [0x7FF0FFFF - n for n in range(5)] + [EPERM]


# Small rules of the document.


@pytest.mark.parametrize("seccomp", [None, {}, {"defaultAction": ""}, {"defaultAction": "", "syscalls": []}, {"flags": [], "syscalls": None}])
def test_no_default_and_no_calls_mean_no_filter(seccomp):
    assert program.compile_filter(seccomp) is None


def test_default_action_alone_is_a_filter():
    assert cbpf.verdict(compiled({"defaultAction": "SCMP_ACT_LOG"}), cbpf.data(X86_64, 0)) == judge.RETURNS["SCMP_ACT_LOG"]


def test_unknown_call_is_skipped_with_a_warning():
    made = program.compile_filter(filter_of(allow("read", "from_the_future")))
    assert made.warnings == ['linux.seccomp.syscalls[0].names[1]: unknown system call "from_the_future" skipped']
    assert made.bpf == program.compile_filter(filter_of(allow("read"))).bpf


def test_name_is_not_cut_at_a_nul():
    made = program.compile_filter(filter_of(allow("read\0x")))
    assert len(made.warnings) == 1
    assert cbpf.verdict(cbpf.decode(made.bpf), cbpf.data(X86_64, 0)) == EPERM


def test_rule_that_repeats_the_default_is_skipped():
    made = program.compile_filter(filter_of({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}, allow("write")))
    assert made.bpf == program.compile_filter(filter_of(allow("write"))).bpf


def test_two_conditions_on_one_argument_are_alternatives():
    either = [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]
    instructions = compiled(filter_of(allow("read", args=either)))
    assert [cbpf.verdict(instructions, cbpf.data(X86_64, 0, [word])) for word in (3, 4, 5)] == [ALLOW, EPERM, ALLOW]


def test_conditions_on_two_arguments_must_both_hold():
    both = [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]
    instructions = compiled(filter_of(allow("read", args=both)))
    assert [cbpf.verdict(instructions, cbpf.data(X86_64, 0, words)) for words in ([3, 5], [3, 4], [2, 5])] == [ALLOW, EPERM, EPERM]


def test_kill_means_the_thread():
    entry = {"names": ["read"], "action": "SCMP_ACT_KILL"}
    assert cbpf.verdict(compiled(filter_of(entry, default="SCMP_ACT_ALLOW")), cbpf.data(X86_64, 0)) == 0x00000000


def test_errno_of_a_trace_reaches_the_tracer():
    entry = {"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}
    assert cbpf.verdict(compiled(filter_of(entry, default="SCMP_ACT_ALLOW")), cbpf.data(X86_64, 0)) == 0x7FF00007


def test_default_errno_is_eperm_unless_given():
    assert cbpf.verdict(compiled(filter_of()), cbpf.data(X86_64, 0)) == EPERM
    assert cbpf.verdict(compiled(filter_of(defaultErrnoRet=13)), cbpf.data(X86_64, 0)) == 0x0005000D


def test_many_rules_make_a_binary_tree():
    names = [name for name in PROFILE["syscalls"][0]["names"] if binding.number_of(binding.Arch(), name) >= 0]

    def most_steps(count):
        instructions = compiled(filter_of(allow(*names[:count]), default="SCMP_ACT_LOG"))
        steps = []
        for number in range(450):
            at = taken = 0
            data = cbpf.data(X86_64, number)
            while instructions[at][0] != cbpf.RET_K:
                code, jt, jf, k = instructions[at]
                if code == cbpf.LD_W_ABS:
                    accumulator = int.from_bytes(data[k : k + 4], "little")
                    at += 1
                else:
                    at += 1 + (k if code == cbpf.JA else jt if cbpf.JUMPS[code](accumulator, k) else jf)
                taken += 1
            steps.append(taken)
        return max(steps)

    assert most_steps(32) > 32
    assert most_steps(33) < 20


@pytest.mark.parametrize(
    ("seccomp", "supported", "flags"),
    [
        pytest.param({}, 0b110, 0b100, id="silence-is-spec-allow"),
        pytest.param({}, 0b010, 0, id="silence-on-a-kernel-without-it"),
        pytest.param({"flags": None}, 0b110, 0b100, id="null-is-silence"),
        pytest.param({"flags": []}, 0b110, 0, id="empty-is-none"),
        pytest.param({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}, 0b110, 0b010, id="log"),
        pytest.param({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}, 0b110, 0b110, id="two"),
        pytest.param({"flags": ["SECCOMP_FILTER_FLAG_TSYNC"]}, 0b111, 0, id="tsync-is-for-threads"),
        pytest.param({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}, 0b100110, 0, id="wait-killable-is-for-listeners"),
    ],
)
def test_flags(seccomp, supported, flags):
    assert program.compile_filter({**filter_of(), **seccomp}, supported_flags=supported).flags == flags


def test_listener_path_without_notify_is_ignored():
    assert program.compile_filter(filter_of(listenerPath="/run/agent.sock", listenerMetadata="x")).flags == 4


READ = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
CONDITION = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}


def entry(**changes):
    return filter_of(READ, {**READ, **changes})


def condition(**changes):
    return entry(args=[CONDITION, {**CONDITION, **changes}])


REFUSALS = [
    ("object", [], "linux.seccomp: must be an object, not []"),
    ("no-default", {"syscalls": [READ]}, "linux.seccomp.defaultAction: is required"),
    ("default-unknown", {"defaultAction": "DENY"}, 'linux.seccomp.defaultAction: unknown action "DENY"'),
    ("default-type", {"defaultAction": ["SCMP_ACT_LOG"]}, 'linux.seccomp.defaultAction: unknown action ["SCMP_ACT_LOG"]'),
    ("default-notify", {"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action"),
    ("default-errno-misplaced", filter_of(default="SCMP_ACT_ALLOW", defaultErrnoRet=1), "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno"),
    ("default-errno-large", filter_of(defaultErrnoRet=4095), "linux.seccomp.defaultErrnoRet: must be a number from 0 to 4094, not 4095"),
    ("default-errno-type", filter_of(defaultErrnoRet=True), "linux.seccomp.defaultErrnoRet: must be a number from 0 to 4094, not true"),
    ("syscalls-type", filter_of() | {"syscalls": {}}, "linux.seccomp.syscalls: must be a list, not {}"),
    ("entry-type", filter_of(READ, None), "linux.seccomp.syscalls[1]: must be an object, not null"),
    ("no-action", entry(action=None), "linux.seccomp.syscalls[1].action: is required"),
    ("action-unknown", entry(action="SCMP_ACT_ERRNO(1)"), 'linux.seccomp.syscalls[1].action: unknown action "SCMP_ACT_ERRNO(1)"'),
    ("action-notify", entry(action="SCMP_ACT_NOTIFY"), "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY is not supported yet"),
    ("errno-misplaced", entry(errnoRet=1), "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_ALLOW takes no errno"),
    ("errno-negative", entry(action="SCMP_ACT_ERRNO", errnoRet=-1), "linux.seccomp.syscalls[1].errnoRet: must be a number from 0 to 4094, not -1"),
    ("message-large", entry(action="SCMP_ACT_TRACE", errnoRet=65536), "linux.seccomp.syscalls[1].errnoRet: must be a number from 0 to 65535, not 65536"),
    ("names-type", entry(names="read"), 'linux.seccomp.syscalls[1].names: must be a list, not "read"'),
    ("name-empty", entry(names=["read", ""]), 'linux.seccomp.syscalls[1].names[1]: unknown system call ""'),
    ("name-type", entry(names=[0]), "linux.seccomp.syscalls[1].names[0]: unknown system call 0"),
    ("args-type", entry(args={}), "linux.seccomp.syscalls[1].args: must be a list, not {}"),
    ("arg-type", entry(args=[1]), "linux.seccomp.syscalls[1].args[0]: must be an object, not 1"),
    ("op-unknown", condition(op="=="), 'linux.seccomp.syscalls[1].args[1].op: unknown operator "=="'),
    ("op-missing", condition(op=None), "linux.seccomp.syscalls[1].args[1].op: is required"),
    ("index-large", condition(index=6), "linux.seccomp.syscalls[1].args[1].index: must be a number from 0 to 5, not 6"),
    ("index-missing", condition(index=None), "linux.seccomp.syscalls[1].args[1].index: is required"),
    ("value-large", condition(value=2**64), f"linux.seccomp.syscalls[1].args[1].value: must be a number from 0 to {2**64 - 1}, not {2**64}"),
    ("value-fraction", condition(value=1.5), f"linux.seccomp.syscalls[1].args[1].value: must be a number from 0 to {2**64 - 1}, not 1.5"),
    ("value-two-negative", condition(valueTwo=-1), f"linux.seccomp.syscalls[1].args[1].valueTwo: must be a number from 0 to {2**64 - 1}, not -1"),
    ("arch-unknown", filter_of(architectures=["amd64"]), 'linux.seccomp.architectures[0]: unknown architecture "amd64"'),
    ("flag-unknown", filter_of(flags=["SECCOMP_FILTER_FLAG_NEW"]), 'linux.seccomp.flags[0]: unknown flag "SECCOMP_FILTER_FLAG_NEW"'),
    ("metadata-alone", filter_of(listenerMetadata="x"), "linux.seccomp.listenerMetadata: must not be set without listenerPath"),
    (
        "conflict",
        filter_of({**READ, "args": [CONDITION]}, {**READ, "action": "SCMP_ACT_LOG", "args": [CONDITION]}),
        'linux.seccomp.syscalls[1].names[0]: "read": an earlier rule gives it another action',
    ),
]


@pytest.mark.parametrize(("seccomp", "said"), [pytest.param(*row[1:], id=row[0]) for row in REFUSALS])
def test_wrong_object_is_refused_with_its_path(seccomp, said):
    with pytest.raises(ConfigError) as caught:
        program.compile_filter(seccomp)
    assert str(caught.value) == f"config.json: {said} (config-linux.md#seccomp)"


def test_architecture_of_another_byte_order_is_refused():
    with pytest.raises(UnsupportedConfig, match=r"linux\.seccomp\.architectures\[0\]: SCMP_ARCH_MIPS cannot be filtered on this machine: .*\(EDOM\)"):
        program.compile_filter(filter_of(architectures=["SCMP_ARCH_MIPS"]))


def test_architecture_that_the_library_lacks_is_refused():
    with pytest.raises(UnsupportedConfig, match=r"linux\.seccomp\.architectures\[1\]: libseccomp [0-9.]+ does not know SCMP_ARCH_SHEB"):
        program.compile_filter(filter_of(architectures=["SCMP_ARCH_X86", "SCMP_ARCH_SHEB"]))


def test_flag_that_the_kernel_lacks_is_refused():
    with pytest.raises(UnsupportedConfig, match=r"linux\.seccomp\.flags\[0\]: this kernel has no SECCOMP_FILTER_FLAG_LOG"):
        program.compile_filter(filter_of(flags=["SECCOMP_FILTER_FLAG_LOG"]), supported_flags=0b100)


@pytest.mark.parametrize(("rules", "said"), [(400, r"\d{4,5}"), (1500, "more than 4096")])
def test_filter_that_the_kernel_would_not_take_is_refused(rules, said):
    entries = [allow("read", args=[{"index": n % 6, "value": n * 2**33 + n, "op": "SCMP_CMP_EQ"}]) for n in range(rules)]
    with pytest.raises(UnsupportedConfig, match=rf"linux\.seccomp: the filter has {said} instructions, and the kernel takes at most 4096"):
        program.compile_filter(filter_of(*entries))


def test_build_without_libseccomp_refuses_by_name(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyoci.seccomp.binding", None)
    monkeypatch.delattr(__import__("pyoci.seccomp").seccomp, "binding", raising=False)
    with pytest.raises(UnsupportedConfig, match=r"^config\.json: linux\.seccomp: seccomp needs libseccomp: .*; install libseccomp2"):
        program.compile_filter(filter_of())
    assert program.known() == {"enabled": False}


# Features.


def test_known_names_what_this_host_can_do():
    known = program.known()
    assert known["enabled"] is True
    assert {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"} <= set(known["actions"])
    assert "SCMP_ACT_NOTIFY" not in known["actions"]
    assert len(known["operators"]) == 7
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"} <= set(known["archs"])
    assert set(known["supportedFlags"]) <= set(known["knownFlags"]) == set(program.FLAGS)
    assert [int(number) for number in known["libseccompVersion"].split(".")] >= [2, 5, 4]


def test_flags_are_supported_by_trial(monkeypatch):
    monkeypatch.setattr(binding, "kernel_has_flags", lambda flags: flags == program.FLAG_LOG)
    assert program.known()["supportedFlags"] == ["SECCOMP_FILTER_FLAG_LOG"]


def test_binding_reports_the_library_s_errno():
    made = binding.SyscallFilter(binding.ALLOW)
    with pytest.raises(SyscallError, match="seccomp_arch_add: File exists"):
        made.add_arch(binding.Arch())
