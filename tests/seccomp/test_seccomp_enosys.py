"""The ENOSYS stub by itself, for machines that this one cannot make a whole filter for."""

import cbpf
import pytest

from pyoci.seccomp import enosys

FILTER = 0x7FFF1234  # what the filter behind the stub answers
RETURN_FILTER = enosys.pack("=HBBI", enosys.RET_K, 0, 0, FILTER)
ENOSYS = 0x00050000 + 38
X86, AARCH64, MIPS64 = 0x40000003, 0xC00000B7, 0xC0000008


def answers(horizon_of, audit_arch, *numbers):
    program = cbpf.decode(enosys.stub(horizon_of) + RETURN_FILTER)
    return [cbpf.verdict(program, cbpf.data(audit_arch, number)) == ENOSYS for number in numbers]


@pytest.mark.parametrize(
    ("arch", "audit_arch", "horizon", "old", "new"),
    [
        pytest.param(X86, X86, 400, [0, 400, 0x80000000, 0xFFFFFFFF], [401, 0x7FFFFFFF], id="x86"),
        pytest.param(MIPS64, MIPS64, 5400, [0, 5000, 5400], [5401], id="mips64"),
        pytest.param(enosys.ARCH_X86_64, enosys.ARCH_X86_64, 450, [450, 0x40000000, 0x40000300, 0xFFFFFFFF], [451, 0x3FFFFFFF], id="x86_64"),
        pytest.param(
            enosys.ARCH_X32, enosys.ARCH_X86_64, 0x400001C2, [500, 0x400001C2, 0x40000200, 0x40000223], [0x400001C3, 0x400001FF, 0x40000224], id="x32"
        ),
        pytest.param(enosys.ARCH_ARM, enosys.ARCH_ARM, 450, [450, 0xF0000, 0xF0005], [451, 0xEFFFF], id="arm"),
        pytest.param(enosys.ARCH_S390, enosys.ARCH_S390, 450, [1, 450], [0, 451], id="s390"),
        pytest.param(enosys.ARCH_S390X, enosys.ARCH_S390X, 450, [1, 450], [0, 451], id="s390x"),
        pytest.param(AARCH64, AARCH64, enosys.LAST_NUMBER, [0, 1000, 0x7FFFFFFF], [], id="horizon-unknown"),
    ],
)
def test_numbers_beyond_the_horizon_get_enosys(arch, audit_arch, horizon, old, new):
    assert answers({arch: horizon}, audit_arch, *old) == [False] * len(old)
    assert answers({arch: horizon}, audit_arch, *new) == [True] * len(new)


def test_each_architecture_has_its_own_horizon_and_others_pass():
    horizon_of = {enosys.ARCH_X86_64: 10, X86: 20, enosys.ARCH_X32: enosys.X32_BIT | 30}
    assert answers(horizon_of, enosys.ARCH_X86_64, 10, 11, 20) == [False, True, True]
    assert answers(horizon_of, X86, 11, 20, 21) == [False, False, True]
    assert answers(horizon_of, enosys.ARCH_X86_64, enosys.X32_BIT | 30, enosys.X32_BIT | 31) == [False, True]
    assert answers(horizon_of, AARCH64, 5, 500) == [False, False]


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        pytest.param(0x00050001, True, id="eperm"),
        pytest.param(ENOSYS, False, id="enosys"),
        pytest.param(0x00000000, True, id="kill"),
        pytest.param(0x80000000, True, id="kill-process"),
        pytest.param(0x00030000, True, id="trap"),
        pytest.param(0x7FFF0000, False, id="allow"),
        pytest.param(0x7FFC0000, False, id="log"),
        pytest.param(0x7FF00001, False, id="trace"),
    ],
)
def test_stub_is_for_defaults_that_hide_new_calls(action, needed):
    assert enosys.is_needed(action) is needed


NUMBERS = {"rseq": 334, "clone3": 435, "getcwd": 79}


@pytest.mark.parametrize(
    ("names", "horizon"),
    [({"getcwd"}, 334), ({"getcwd", "clone3"}, 435), (set(), 334), ({"unheard-of"}, 334)],
    ids=["old-names-only", "a-newer-name", "no-names", "a-name-without-a-number"],
)
def test_horizon_is_the_newest_name_and_never_before_linux_4_18(names, horizon):
    names_by_number = {number: name for name, number in NUMBERS.items()}
    found = enosys.horizons([1], names, lambda _arch, name: NUMBERS.get(name, -1), lambda _arch, number: names_by_number.get(number))
    assert found == {1: horizon}


def test_library_without_the_table_gets_no_stub():
    assert enosys.horizons([1], {"read"}, lambda _arch, _name: -1, lambda _arch, _number: None) == {1: enosys.LAST_NUMBER}
