"""Devices on cgroup v2: ordered rules -> an eBPF program of type CGROUP_DEVICE, and attaching it. v1's list is v1.py's.

Sources: cgroup-v2.rst#device-controller, bpf(2), the kernel's bpf instruction set document, include/uapi/linux/bpf.h
(struct bpf_cgroup_dev_ctx: access_type (low half type, high half access), major, minor).
"""

from _struct import pack
from posix import O_DIRECTORY, O_RDONLY, close

from pyoci.cgroup.face import open_file
from pyoci.cgroup.limits import ANY, EVERYTHING, MKNOD, READ, WRITE
from pyoci.errors import SyscallError
from pyoci.native._sys import ffi, lib

MAX_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS of the kernel

# bpf.h: a device's type is 1 for block, 2 for character; the access bits are 1 mknod, 2 read, 4 write.
TYPES = {"b": 1, "c": 2}

_LOAD_WORD = 0x61  # dst = *(u32 *)(src + offset)
_MOVE = 0xB4  # 32-bit dst = immediate
_COPY = 0xBC  # 32-bit dst = src
_AND = 0x54
_SHIFT_RIGHT = 0x74
_IF_EQUAL = 0x16  # 32-bit dst == immediate
_IF_NOT_EQUAL = 0x56
_EXIT = 0x95

_R0, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5


def device_program(rules):
    """The program, as an array of struct bpf_insn, that grants an access as the ordered rules mean it.

    The meaning: of each kind of access asked for, the last rule that names the device decides; nothing named is denied. So
    the rules are tried from the last: an allowing one takes its kinds off what is still asked for, and grants when nothing
    is left; a denying one refuses when one of its kinds is still asked for.
    """
    code = [
        _insn(_LOAD_WORD, _TYPE, _CONTEXT, 0),
        _insn(_COPY, _ACCESS, _TYPE),
        _insn(_SHIFT_RIGHT, _ACCESS, value=16),
        _insn(_AND, _TYPE, value=0xFFFF),
        _insn(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _insn(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        _append_rule(code, rule)
        if rule[1:] == ("a", ANY, ANY, EVERYTHING):
            return b"".join(code)  # it decides everything; the verifier refuses code that can't be reached
    return b"".join(code + _answer(False))


def _append_rule(code, rule):
    allow, kind, major, minor, access = rule
    action = _allow(access) if allow else _deny(access)
    tests = []
    if kind != "a":
        tests.append((_TYPE, TYPES[kind]))
    if major != ANY:
        tests.append((_MAJOR, major))
    if minor != ANY:
        tests.append((_MINOR, minor))
    for index, (register, value) in enumerate(tests):
        skip = len(tests) - index - 1 + len(action)
        code.append(_insn(_IF_NOT_EQUAL, register, offset=skip, value=value))
    code += action


def _allow(access):
    if access == EVERYTHING:
        return _answer(True)
    return [
        _insn(_AND, _ACCESS, value=~_kernel_bits(access)),
        _insn(_IF_NOT_EQUAL, _ACCESS, offset=2, value=0),
        *_answer(True),
    ]


def _deny(access):
    if access == EVERYTHING:
        return _answer(False)
    return [
        _insn(_COPY, _R0, _ACCESS),
        _insn(_AND, _R0, value=_kernel_bits(access)),
        _insn(_IF_EQUAL, _R0, offset=2, value=0),
        *_answer(False),
    ]


def _answer(granted):
    return [_insn(_MOVE, _R0, value=int(granted)), _insn(_EXIT)]


def _kernel_bits(access):
    return (1 if access & MKNOD else 0) | (2 if access & READ else 0) | (4 if access & WRITE else 0)


def _insn(opcode, register=0, source=0, offset=0, value=0):
    return pack("<BBhI", opcode, source << 4 | register, offset, value & 0xFFFFFFFF)


# --- attaching


def attach(directory, program):
    """Attach the program to the cgroup, in the place of the ones attached before; at no moment is there none.

    Raises SyscallError. Programs of a cgroup above stay in force beside it.
    """
    fd = open_file(directory, O_RDONLY | O_DIRECTORY)
    opened = []
    try:
        program_fd = _checked("bpf load", lib.sys_bpf_device_load(program, len(program) // 8), directory)
        opened.append(program_fd)
        old = _attached(fd, directory)
        opened += old
        replaced_fd = old[0] if len(old) == 1 else -1
        _checked("bpf attach", lib.sys_bpf_device_attach(fd, program_fd, replaced_fd), directory)
        for old_fd in old if replaced_fd < 0 else ():
            _checked("bpf detach", lib.sys_bpf_device_detach(fd, old_fd), directory)
    finally:
        for each in (*opened, fd):
            close(each)


def _attached(cgroup_fd, directory):
    """Descriptors of the programs that are attached to this cgroup itself."""
    ids = ffi.new(f"unsigned int[{MAX_PROGRAMS}]")
    count = _checked("bpf query", lib.sys_bpf_device_query(cgroup_fd, ids, MAX_PROGRAMS), directory)
    found = []
    try:
        for index in range(count):
            found.append(_checked("bpf", lib.sys_bpf_program_by_id(ids[index]), f"program {ids[index]} of {directory}"))
    except SyscallError:
        for each in found:
            close(each)
        raise
    return found


def _checked(call, result, on):
    if result < 0:
        raise SyscallError(call, -result, on)
    return result
