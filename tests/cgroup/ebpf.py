"""A small interpreter of the eBPF subset that device programs use, strict about what the kernel's verifier refuses too.

Source: the kernel's documentation of the bpf instruction set (Documentation/bpf/standardization/instruction-set.rst).
"""

import struct

MASK32 = 2**32 - 1


def run(program, context):
    """The value of r0 at exit. `context`: bytes that r1 points to. AssertionError for what the verifier would refuse."""
    assert len(program) % 8 == 0
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    registers = {1: "context"}
    at = 0
    while True:
        assert 0 <= at < len(code), "jump out of the program"
        opcode, pair, offset, value = code[at]
        to, source = pair & 15, pair >> 4
        at += 1
        if opcode == 0x95:
            assert to == source == offset == value == 0
            return registers[0]
        if opcode == 0x61:  # a word from the context
            assert registers[source] == "context" and offset % 4 == 0 and value == 0
            registers[to] = struct.unpack_from("<I", context, offset)[0]
        elif opcode == 0xB4:
            assert source == offset == 0
            registers[to] = value & MASK32
        elif opcode == 0xBC:
            assert offset == value == 0
            registers[to] = registers[source] & MASK32
        elif opcode == 0x54:
            registers[to] = registers[to] & value & MASK32
        elif opcode == 0x74:
            assert 0 <= value < 32
            registers[to] = (registers[to] & MASK32) >> value
        elif opcode in (0x16, 0x56):
            equal = registers[to] & MASK32 == value & MASK32
            at += offset if equal == (opcode == 0x16) else 0
        else:
            raise AssertionError(f"opcode {opcode:#x}")


def reachable(program):
    """The indices of the instructions that some path reaches; the verifier refuses a program with others."""
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    seen, queue = set(), [0]
    while queue:
        at = queue.pop()
        if at in seen:
            continue
        seen.add(at)
        opcode, _, offset, _ = code[at]
        if opcode != 0x95:
            queue.append(at + 1)
        if opcode in (0x16, 0x56):
            queue.append(at + 1 + offset)
    return seen
