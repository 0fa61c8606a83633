"""The ENOSYS stub: what a filter answers to system calls that are newer than its author.

A C library tries a new call and takes the old one if the answer is ENOSYS. A filter whose default is EPERM (or a signal) breaks that: its author could not
name the call. So a few instructions go before libseccomp's program, and answer ENOSYS for every number above the *horizon* of its architecture: the
largest number that the profile names there, yet never below CERTAINLY_KNOWN, so that a short list of old calls keeps its own default errno.
Not for a default action that lets new calls through (allow, log), nor for a tracer, who can say ENOSYS himself. Pure.
Source: seccomp(2), syscalls(2); docs/decisions for the choice of the horizon.
"""

from _struct import pack

ENOSYS = 38
RET_ENOSYS = 0x00050000 | ENOSYS
ACTION_MASK = 0xFFFF0000
PERMISSIVE_ACTIONS = (0x7FFF0000, 0x7FFC0000, 0x7FF00000, 0x7FC00000)  # allow, log, trace, notify

# The last call of Linux 4.18: who writes a profile today knows what is older, and names it or means the default.
CERTAINLY_KNOWN = "rseq"

ARCH_X86_64, ARCH_X32, ARCH_ARM, ARCH_S390, ARCH_S390X = 0xC000003E, 0x4000003E, 0x40000028, 0x00000016, 0x80000016
X32_BIT = 0x40000000
X32_OWN = (X32_BIT | 512, X32_BIT | 547)  # x32's variants of old calls: high numbers, and none of them new
ARM_PRIVATE = 0x000F0000  # breakpoint, cacheflush and set_tls live from here on
LAST_NUMBER = 0x7FFFFFFF  # what is negative is no call: a tracer's -1 means "skip it"
MOST_NEWER = 300  # how far beyond CERTAINLY_KNOWN a library's table is searched; it has gone 135 in eight years

# struct sock_filter codes, linux/bpf_common.h.
LD_W_ABS, JA, JEQ_K, JGT_K, JGE_K, RET_K = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
OFFSET_NUMBER, OFFSET_ARCH = 0, 4  # struct seccomp_data


def is_needed(default_action):
    """Whether a filter with this default action hides new calls from programs."""
    return default_action & ACTION_MASK not in PERMISSIVE_ACTIONS and default_action != RET_ENOSYS


def horizons(arches, names, number_of, name_of):
    """{architecture: the largest number that the author knew}.

    number_of(architecture, name) and name_of(architecture, number) are libseccomp's tables: negative, and None, for what they lack. The table is searched by
    number: by name, 32-bit x86 hides the own numbers of calls that socketcall and ipc multiplex.
    """
    found = {}
    for arch in arches:
        known = number_of(arch, CERTAINLY_KNOWN)
        last = X32_OWN[0] if arch == ARCH_X32 else known + MOST_NEWER
        newer = [number for number in range(known + 1, last) if name_of(arch, number) in names]
        found[arch] = LAST_NUMBER if known < 0 else max(newer, default=known)
    return found


def new_numbers(arch, horizon):
    """[(first, last)] of the numbers that get ENOSYS on the architecture; none lies in a range whose first is beyond its last."""
    if arch == ARCH_X86_64:
        return [(horizon + 1, X32_BIT - 1)]
    if arch == ARCH_X32:
        return [(horizon + 1, X32_OWN[0] - 1), (X32_OWN[1] + 1, LAST_NUMBER)]
    if arch == ARCH_ARM:
        return [(horizon + 1, ARM_PRIVATE - 1)]
    if arch in (ARCH_S390, ARCH_S390X):
        # It passes large numbers in a register; one that the kernel does not know arrives as 0, which is no call any more.
        return [(0, 0), (horizon + 1, LAST_NUMBER)]
    return [(horizon + 1, LAST_NUMBER)]


def audit_arch(arch):
    """The architecture as struct seccomp_data names it: x32 differs from x86_64 by its numbers only."""
    return ARCH_X86_64 if arch == ARCH_X32 else arch


def stub(horizon_of):
    """The instructions, as bytes, that go before a filter for these architectures; they fall through to it for every other number."""
    ranges_of = {}
    for arch, horizon in horizon_of.items():
        ranges_of.setdefault(audit_arch(arch), []).extend(new_numbers(arch, horizon))
    instructions = []
    for arch, ranges in ranges_of.items():
        body = [(LD_W_ABS, 0, 0, OFFSET_NUMBER)]
        for first, last in ranges:
            body += [(JGE_K, 0, 2, first), (JGT_K, 1, 0, last), (RET_K, 0, 0, RET_ENOSYS)]
        instructions += [(LD_W_ABS, 0, 0, OFFSET_ARCH), (JEQ_K, 0, len(body), arch), *body]
    return b"".join(pack("=HBBI", *instruction) for instruction in instructions)
