"""An older kernel, as far as a system call filter can play one: calls that it does not have fail with ENOSYS.  seccomp(2)

    pyoci("create", ..., preexec_fn=older("mount_setattr"))

The filter stays with everything that is executed, the container too.
"""

import ctypes
import os
import struct

ENOSYS, EINVAL = 38, 22
_MACHINE = os.uname().machine
# Numbers from 424 on are the same everywhere (Linux 5.1).
NUMBERS = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "pidfd_open": 434,
    "clone3": 435, "close_range": 436, "openat2": 437, "faccessat2": 439, "mount_setattr": 442,
    **({"memfd_create": 279, "statx": 291, "execveat": 281} if _MACHINE == "aarch64" else {"memfd_create": 319, "statx": 332, "execveat": 322}),
}  # fmt: skip
MFD_EXEC = 0x10

_LOAD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x50000
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _step(code, yes, no, value):
    return struct.pack("<HBBI", code, yes, no, value)


def _without(names):
    """Instructions: ENOSYS for those calls."""
    found = [_step(_LOAD, 0, 0, 0)]
    for name in names:
        found += [_step(_JUMP_EQUAL, 0, 1, NUMBERS[name]), _step(_RETURN, 0, 0, _ERRNO | ENOSYS)]
    return found


def _without_flag(name, argument, flag):
    """Instructions: EINVAL for a call with an unknown flag."""
    return [
        _step(_LOAD, 0, 0, 0),
        _step(_JUMP_EQUAL, 0, 3, NUMBERS[name]),
        _step(_LOAD, 0, 0, 16 + 8 * argument),
        _step(_JUMP_SET, 0, 1, flag),
        _step(_RETURN, 0, 0, _ERRNO | EINVAL),
    ]


def older(*names):
    """A preexec_fn under which these calls don't exist; `memfd_create MFD_EXEC` is the flag of Linux 6.3."""
    steps = []
    if "memfd_create MFD_EXEC" in names:
        steps += _without_flag("memfd_create", 1, MFD_EXEC)
    steps += _without([name for name in names if " " not in name]) + [_step(_RETURN, 0, 0, _ALLOW)]
    code = b"".join(steps)
    program = _Program(len(steps), code)

    def install():
        # PR_SET_SECCOMP, SECCOMP_MODE_FILTER: as root no PR_SET_NO_NEW_PRIVS is needed, and none is wanted.
        if _libc.prctl(22, 2, ctypes.byref(program), 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "prctl PR_SET_SECCOMP")

    return install
