"""An interpreter for seccomp's dialect of classic BPF, so that a test can ask a filter for its verdict on any call of any architecture.

It checks what the kernel's verifier checks of the instructions that it knows, and raises AssertionError for the rest.
Source: linux/bpf_common.h, Documentation/networking/filter.rst, seccomp(2).
"""

import struct

INSTRUCTION = struct.Struct("=HBBI")
DATA = struct.Struct("=IIQ6Q")

LD_W_ABS, ALU_AND_K, JA, JEQ_K, JGT_K, JGE_K, JSET_K, RET_K = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
JUMPS = {
    JEQ_K: lambda accumulator, k: accumulator == k,
    JGT_K: lambda accumulator, k: accumulator > k,
    JGE_K: lambda accumulator, k: accumulator >= k,
    JSET_K: lambda accumulator, k: bool(accumulator & k),
}


def decode(bpf):
    """The instructions as (code, jt, jf, k), checked: known codes, jumps that stay inside, a return at the end."""
    assert bpf and len(bpf) % INSTRUCTION.size == 0 and len(bpf) <= 4096 * INSTRUCTION.size
    program = list(INSTRUCTION.iter_unpack(bpf))
    for at, (code, jt, jf, k) in enumerate(program):
        assert code in JUMPS or code in (LD_W_ABS, ALU_AND_K, JA, RET_K), f"{at}: code {code:#x}"
        furthest = max(jt, jf) if code in JUMPS else k if code == JA else 0
        assert at + 1 + furthest < len(program) or code == RET_K, f"{at}: jump out of the program"
        assert code != LD_W_ABS or (k % 4 == 0 and k < DATA.size), f"{at}: load from {k}"
    assert program[-1][0] == RET_K
    return program


def data(arch, number, args=()):
    """A struct seccomp_data."""
    return DATA.pack(number & 0xFFFFFFFF, arch, 0, *[*args, *[0] * (6 - len(args))])


def verdict(program, seccomp_data):
    """What a decoded program returns for the data."""
    accumulator, at = 0, 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == RET_K:
            return k
        if code == LD_W_ABS:
            (accumulator,) = struct.unpack_from("=I", seccomp_data, k)
        elif code == ALU_AND_K:
            accumulator &= k
        elif code == JA:
            at += k
        else:
            at += jt if JUMPS[code](accumulator, k) else jf
