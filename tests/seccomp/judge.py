"""What a linux.seccomp object means, said as plainly as config-linux.md says it, call by call: no BPF, no rules, no library but for the tables of numbers.

It judges objects in which all entries for a name have one action (what libseccomp makes of others depends on its own order), and values that fit
the architecture's registers.
"""

import functools

from pyoci.seccomp import binding

AUDIT = {
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X32": 0xC000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
}
# Where libseccomp compares 32 bits of an argument.
NARROW = ("SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM")
RETURNS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
ENOSYS = 0x00050000 + 38
HIDES_NEW_CALLS = ("SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO")


def holds(condition, args):
    """Whether one condition holds for the arguments."""
    argument, value, other = args[condition["index"]], condition["value"], condition.get("valueTwo") or 0
    return {
        "SCMP_CMP_NE": argument != value,
        "SCMP_CMP_LT": argument < value,
        "SCMP_CMP_LE": argument <= value,
        "SCMP_CMP_EQ": argument == value,
        "SCMP_CMP_GE": argument >= value,
        "SCMP_CMP_GT": argument > value,
        "SCMP_CMP_MASKED_EQ": argument & value == other,
    }[condition["op"]]


def matches(entry, args):
    """Whether an entry's conditions hold: all of them, or one of them if two are on the same argument."""
    conditions = entry.get("args") or []
    indexes = [condition["index"] for condition in conditions]
    quantifier = all if len(indexes) == len(set(indexes)) else any
    return quantifier(holds(condition, args) for condition in conditions)


def returned(action, errno):
    """The 32 bits of an action of the document."""
    return RETURNS[action] + ((1 if errno is None else errno) if action in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


@functools.cache
def table(arch):
    """{number: name} of all calls of an architecture."""
    token = binding.Arch(arch.removeprefix("SCMP_ARCH_").lower())
    start = 0x40000000 if arch == "SCMP_ARCH_X32" else 0
    named = {number: binding.name_of(token, number) for number in [*range(start, start + 700), *range(0xF0000, 0xF0010)]}
    return {number: name for number, name in named.items() if name}


def numbers(arch, profile):
    """{number: name} of the profile's calls on an architecture, and of the newest that everybody knows."""
    names = {name for entry in profile.get("syscalls") or [] for name in entry["names"]} | {"rseq"}
    return {number: name for number, name in table(arch).items() if name in names}


def is_new(arch, number, known):
    """Whether the number is beyond what the profile's author can have known."""
    if arch == "SCMP_ARCH_S390X" and number == 0:
        return True
    first, last = 0, 0x80000000
    if arch == "SCMP_ARCH_ARM":
        last = 0xF0000
    if arch == "SCMP_ARCH_X32":
        if 0x40000000 + 512 <= number <= 0x40000000 + 547:
            return False
        known = [n for n in known if n < 0x40000000 + 512]
    return first <= max(n for n in known if n < last) < number < last


class Judge:
    """Judges calls by one profile on a machine."""

    def __init__(self, profile, native="SCMP_ARCH_X86_64"):
        self.profile = profile
        self.default = returned(profile["defaultAction"], profile.get("defaultErrnoRet"))
        arches = dict.fromkeys([native, *(profile.get("architectures") or [])])
        self.numbers = {arch: numbers(arch, profile) for arch in arches}

    def arch_of(self, audit_arch, number):
        """The architecture of the document that a call belongs to, or None if the profile doesn't cover it."""
        for arch in self.numbers:
            if AUDIT[arch] != audit_arch:
                continue
            is_x32_number = number != 0xFFFFFFFF and number >= 0x40000000
            if arch not in ("SCMP_ARCH_X32", "SCMP_ARCH_X86_64") or (arch == "SCMP_ARCH_X32") == is_x32_number:
                return arch
        return None

    def verdict(self, audit_arch, number, args):
        """What the filter has to return."""
        arch = self.arch_of(audit_arch, number)
        if arch is None:
            return RETURNS["SCMP_ACT_KILL"]
        args = [word % 2**32 for word in args] if arch in NARROW else args
        known = self.numbers[arch]
        hides = self.profile["defaultAction"] in HIDES_NEW_CALLS and self.default != ENOSYS
        if hides and is_new(arch, number, known):
            return ENOSYS
        for entry in self.profile.get("syscalls") or []:
            if known.get(number) in entry["names"] and matches(entry, args):
                return returned(entry["action"], entry.get("errnoRet"))
        return self.default
