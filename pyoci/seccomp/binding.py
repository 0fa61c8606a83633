"""libseccomp for Python, in the shape of upstream's `seccomp` module: the same names, argument orders and constants, for the parts that a runtime needs.

It builds filters and writes them out; it does not load them (init does) and has no notification calls. It works with libseccomp 2.5.4 and newer.
Differences from upstream: a failed call raises SyscallError with the library's errno, and `to_bytes` returns the program without a file of the caller's.
Cold: importing it maps libseccomp. Importing it raises ImportError in a build without libseccomp, or on a host that has lost the library.
Source: seccomp_init(3) and its companions; upstream's src/python/seccomp.pyx for the shape.
"""

import posix

from pyoci.errors import SyscallError
from pyoci.native._libseccomp import ffi, lib

# Actions: what seccomp(2) returns for a system call.
KILL_PROCESS = 0x80000000
KILL = 0x00000000
TRAP = 0x00030000
NOTIFY = 0x7FC00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

# Comparisons of an argument.
NE, LT, LE, EQ, GE, GT, MASKED_EQ = range(1, 8)

UNKNOWN_SYSCALL = -1  # __NR_SCMP_ERROR
MISSING_HERE = -10000  # pseudo numbers below are calls that an architecture lacks, above it those that socketcall or ipc multiplex


def ERRNO(number):
    """The action that makes the call fail with this errno (16 bits)."""
    return 0x00050000 | (number & 0xFFFF)


def TRACE(number):
    """The action that asks a tracer, with this message (16 bits)."""
    return 0x7FF00000 | (number & 0xFFFF)


class Attr:
    """Numbers of filter attributes, seccomp_attr_set(3)."""

    ACT_DEFAULT = 1
    ACT_BADARCH = 2
    CTL_NNP = 3
    CTL_TSYNC = 4
    API_TSKIP = 5
    CTL_LOG = 6
    CTL_SSB = 7
    CTL_OPTIMIZE = 8
    API_SYSRAWRC = 9
    CTL_WAITKILL = 10


class Arch:
    """An architecture, from libseccomp's name for it (`x86_64`) or its number; int() of it is the number. ValueError for an unknown name."""

    NATIVE = 0

    def __init__(self, arch=NATIVE):
        if isinstance(arch, str):
            self.token = lib.libseccomp_arch_token(arch.encode())
            if not self.token:
                raise ValueError(f"unknown architecture {arch!r}")
        else:
            self.token = int(arch) or system_arch()

    def __int__(self):
        return self.token


class Arg:
    """One condition: argument number `arg` compared by `op` with datum_a; MASKED_EQ is (argument & datum_a) == datum_b."""

    def __init__(self, arg, op, datum_a, datum_b=0):
        self.arg = arg
        self.op = op
        self.datum_a = datum_a
        self.datum_b = datum_b


def system_arch():
    """The number of the architecture that libseccomp was built for."""
    return lib.libseccomp_native_arch()


def get_api():
    """The level of the interface that library and kernel have together, seccomp_api_get(3)."""
    return lib.libseccomp_api_level()


def version():
    """The library's version, `2.5.4`."""
    numbers = ffi.new("uint32_t[3]")
    lib.libseccomp_version(numbers)
    return "{}.{}.{}".format(*numbers)


def library_path():
    """The file that the dynamic linker took libseccomp from."""
    text = ffi.new("char[]", 4096)
    checked(lib.libseccomp_library_path(text, len(text)), "dladdr", "libseccomp")
    return ffi.string(text).decode(errors="surrogateescape")


def number_of(arch, name):
    """A call's number on the architecture, a pseudo number below -1 for one that exists elsewhere or is multiplexed there, UNKNOWN_SYSCALL for no call."""
    return lib.libseccomp_resolve(int(arch), c_text(name))


def name_of(arch, number):
    """The name of a number on the architecture, or None."""
    name = ffi.new("char[]", 256)
    length = lib.libseccomp_syscall_name(int(arch), number, name, len(name))
    return ffi.string(name).decode() if length > 0 else None


def resolve_syscall(arch, syscall):
    """A name (str) to its number, or a number to its name (bytes), as upstream does it. SyscallError (ENOENT) for an unknown one."""
    found = number_of(arch, syscall) if isinstance(syscall, str) else name_of(arch, syscall)
    if found in (None, UNKNOWN_SYSCALL):
        raise SyscallError("seccomp_syscall_resolve", 2, str(syscall))
    return found.encode() if isinstance(found, str) else found


def kernel_has_action(action):
    """Whether the running kernel knows the action."""
    return bool(checked(lib.libseccomp_kernel_has_action(action), "seccomp", "SECCOMP_GET_ACTION_AVAIL"))


def kernel_has_flags(flags):
    """Whether the running kernel accepts these flags of SECCOMP_SET_MODE_FILTER together."""
    return bool(checked(lib.libseccomp_kernel_has_flags(flags), "seccomp", "SECCOMP_SET_MODE_FILTER"))


class SyscallFilter:
    """A filter under construction. defaction is what happens to a call that no rule matches. Raises SyscallError for what the library refuses."""

    def __init__(self, defaction):
        self._defaction = defaction
        self._filter = lib.libseccomp_init(defaction)
        if not self._filter:
            raise SyscallError("seccomp_init", 22, f"{defaction:#x}")
        self._filter = ffi.gc(self._filter, lib.libseccomp_release)

    def reset(self, defaction=-1):
        """Forget all rules, and architectures but the native one; take another default action if one is given."""
        self._defaction = self._defaction if defaction == -1 else defaction
        checked(lib.libseccomp_reset(self._filter, self._defaction), "seccomp_reset")

    def set_attr(self, attr, value):
        """Set an attribute (Attr.*). EOPNOTSUPP or EINVAL where the library has not got it."""
        checked(lib.libseccomp_set_attribute(self._filter, attr, value), "seccomp_attr_set", str(attr))

    def get_attr(self, attr):
        """The value of an attribute."""
        value = ffi.new("uint32_t *")
        checked(lib.libseccomp_get_attribute(self._filter, attr, value), "seccomp_attr_get", str(attr))
        return value[0]

    def exist_arch(self, arch):
        """Whether the filter covers the architecture."""
        return bool(checked(lib.libseccomp_has_arch(self._filter, int(arch)), "seccomp_arch_exist"))

    def add_arch(self, arch):
        """Cover another architecture. EEXIST if it is covered, EDOM if its byte order differs."""
        checked(lib.libseccomp_add_arch(self._filter, int(arch)), "seccomp_arch_add")

    def remove_arch(self, arch):
        """Cover the architecture no longer."""
        checked(lib.libseccomp_remove_arch(self._filter, int(arch)), "seccomp_arch_remove")

    def merge(self, filter):
        """Take over the rules of a filter for other architectures, which is used up by that."""
        checked(lib.libseccomp_merge(self._filter, filter._filter), "seccomp_merge")
        filter._filter = ffi.gc(filter._filter, None)

    def syscall_priority(self, syscall, priority):
        """Ask for the call to be tested early (255) or late (0)."""
        checked(lib.libseccomp_prioritise(self._filter, self._number(syscall), priority), "seccomp_syscall_priority", str(syscall))

    def add_rule(self, action, syscall, *args):
        """Add a rule, rewritten where an architecture needs it: action for the call (name or number) if all args (Arg) hold."""
        self._add(action, syscall, args, 0)

    def add_rule_exactly(self, action, syscall, *args):
        """Add a rule as it stands, or fail."""
        self._add(action, syscall, args, 1)

    def export_bpf(self, file):
        """Write the program (struct sock_filter, host byte order) to a file."""
        checked(lib.libseccomp_export_bpf(self._filter, file.fileno()), "seccomp_export_bpf")

    def export_pfc(self, file):
        """Write the program as pseudo code to a file."""
        checked(lib.libseccomp_export_pfc(self._filter, file.fileno()), "seccomp_export_pfc")

    def to_bytes(self):
        """The program as bytes. By way of a memfd: seccomp_export_bpf_mem came with 2.6 only, and saves nothing that counts beside generating it."""
        fd = posix.memfd_create("seccomp", posix.MFD_CLOEXEC)
        try:
            checked(lib.libseccomp_export_bpf(self._filter, fd), "seccomp_export_bpf")
            return posix.pread(fd, posix.fstat(fd).st_size, 0)
        finally:
            posix.close(fd)

    def _number(self, syscall):
        return resolve_syscall(system_arch(), syscall) if isinstance(syscall, str) else syscall

    def _add(self, action, syscall, args, exactly):
        conditions = ffi.new("struct libseccomp_condition[]", [(arg.arg, arg.op, arg.datum_a, arg.datum_b) for arg in args])
        checked(lib.libseccomp_add_rule(self._filter, action, self._number(syscall), exactly, len(args), conditions), "seccomp_rule_add", str(syscall))


def c_text(text):
    """A name as C reads it; one with a NUL or a lone surrogate is no name that C knows, and must not be cut to one that is."""
    encoded = text.encode(errors="replace")
    return encoded if b"\0" not in encoded else b"?"


def checked(result, call, on=""):
    """The result, or the errno in it raised as SyscallError."""
    if result < 0:
        raise SyscallError(call, -result, on)
    return result
