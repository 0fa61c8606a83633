"""The words of the OCI documents as the numbers of the kernel: capabilities, rlimits, signals, namespaces, mount options.

Data and two parsers; makes no call and knows no configuration. The numbers are those of x86-64 and arm64 (asm-generic).
Sources: capability.h, resource.h, signal(7), sched.h, mount.h; the option words: config.md#linux-mount-options.
"""

from pyoci.errors import UsageError
from pyoci.kernel.capabilities import NAMES

SPEC_VERSION = "1.3.0"  # of the runtime-spec that this release follows; what `state` and hooks are told

CAPABILITIES = {name: number for number, name in enumerate(NAMES)}

RLIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

NAMESPACES = {
    "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "network": 0x40000000, "time": 0x00000080,
}

SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
    "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17, "CONT": 18,
    "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27,
    "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31, "UNUSED": 31,
}
_RTMIN, _RTMAX = 34, 64  # glibc keeps 32 and 33 for itself, so 34 is what users mean


def signal_number(word):
    """The number of `TERM`, `SIGTERM`, `sigterm`, `9`, `RTMIN+3` or `RTMAX-1`; 0 is the null signal of kill(2).

    Raises UsageError with runc's text, `unknown signal "X"`. signal(7).
    """
    number = _decimal(word)
    if number is None:
        name = word.upper().removeprefix("SIG")
        number = SIGNALS.get(name)
        if number is None:
            number = _realtime(name)
    if number is None or number > _RTMAX:
        raise UsageError(f'unknown signal "{word if word.isprintable() else ascii(word)[1:-1]}"')
    return number


def _decimal(text):
    """Total where int() is not: no sign, no underscore, no foreign digit, no length that int() refuses."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _realtime(name):
    base, sign = name[:5], name[5:6]
    offset = _decimal(name[6:]) if sign else 0
    if offset is None or offset > _RTMAX - _RTMIN:
        return None
    if base == "RTMIN" and sign in ("", "+"):
        return _RTMIN + offset
    if base == "RTMAX" and sign in ("", "-"):
        return _RTMAX - offset
    return None


# mount_setattr(2)
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_ATIME_MASK = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# mount(2), for the propagation calls
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000

# What an option does. RECURSIVE is added to the first four for the words that mean the whole tree.
SET, CLEAR, ATIME, NOT_ATIME, PROPAGATION, SUPERBLOCK, SPECIAL, NOTHING = 0, 1, 2, 3, 4, 5, 6, 7
RECURSIVE = 16

# option -> (what it does, bits or opposite). relatime is the kernel's default and has the value 0 in the atime field.
MOUNT_OPTIONS = {
    "ro": (0, 0x1), "rw": (1, 0x1), "nosuid": (0, 0x2), "suid": (1, 0x2), "nodev": (0, 0x4), "dev": (1, 0x4),
    "noexec": (0, 0x8), "exec": (1, 0x8), "nodiratime": (0, 0x80), "diratime": (1, 0x80),
    "nosymfollow": (0, 0x200000), "symfollow": (1, 0x200000),
    "noatime": (2, 0x10), "relatime": (2, 0), "strictatime": (2, 0x20),
    "atime": (3, 0x10), "norelatime": (3, 0), "nostrictatime": (3, 0x20),
    "rro": (16, 0x1), "rrw": (17, 0x1), "rnosuid": (16, 0x2), "rsuid": (17, 0x2), "rnodev": (16, 0x4), "rdev": (17, 0x4),
    "rnoexec": (16, 0x8), "rexec": (17, 0x8), "rnodiratime": (16, 0x80), "rdiratime": (17, 0x80),
    "rnosymfollow": (16, 0x200000), "rsymfollow": (17, 0x200000),
    "rnoatime": (18, 0x10), "rrelatime": (18, 0), "rstrictatime": (18, 0x20),
    "ratime": (19, 0x10), "rnorelatime": (19, 0), "rnostrictatime": (19, 0x20),
    "shared": (4, 0x100000), "rshared": (4, 0x104000), "slave": (4, 0x80000), "rslave": (4, 0x84000),
    "private": (4, 0x40000), "rprivate": (4, 0x44000), "unbindable": (4, 0x20000), "runbindable": (4, 0x24000),
    "sync": (5, "async"), "async": (5, "sync"), "dirsync": (5, ""), "lazytime": (5, "nolazytime"),
    "nolazytime": (5, "lazytime"), "mand": (5, "nomand"), "nomand": (5, "mand"),
    "bind": (6, 0), "rbind": (6, 0), "remount": (6, 0), "tmpcopyup": (6, 0), "idmap": (6, 0), "ridmap": (6, 0),
    # fsconfig(2) has no word for these: silent and loud only chose what the kernel logs, iversion is the file system's
    "defaults": (7, 0), "silent": (7, 0), "loud": (7, 0), "iversion": (7, 0), "noiversion": (7, 0),
}


class MountOptions:
    """The options of one mount, sorted by who carries them out.

    attr_set, attr_clr      mount_setattr(2) bits of the mount itself
    rattr_set, rattr_clr    the same for the whole tree, AT_RECURSIVE
    propagation             MS_ flags, one mount(2) call each, in the order given
    sb_flags                words for fsconfig(2) FSCONFIG_SET_FLAG (`sync`, `nolazytime`); `ro` is not among them, see attr_set
    data                    what belongs to the file system, `size=64k` or `newinstance`, in the order given
    bind, recursive         a bind mount (`bind` or `rbind`); of the tree (`rbind`)
    remount, tmpcopyup      those words
    idmap                   "", `idmap` or `ridmap`
    """

    __slots__ = ("attr_clr", "attr_set", "bind", "data", "idmap", "propagation", "rattr_clr", "rattr_set", "recursive", "remount",
                 "sb_flags", "tmpcopyup")

    def __init__(self):
        self.attr_set = self.attr_clr = self.rattr_set = self.rattr_clr = 0
        self.propagation = []
        self.sb_flags = []
        self.data = []
        self.bind = self.recursive = self.remount = self.tmpcopyup = False
        self.idmap = ""


def bind_source(mount, bundle):
    """The source of a bind mount; a relative one is below the bundle.  config.md#mounts"""
    source = mount.get("source") or ""
    return source if source[:1] == "/" else f"{bundle}/{source}"


def parse_mount_options(options):
    """`mounts[].options` as a MountOptions; of two opposites the later wins; total: an unknown word is the file system's.

    An atime word puts the whole atime field into attr_clr, as mount_setattr(2) demands.
    """
    parsed = MountOptions()
    for option in options:
        what, bits = MOUNT_OPTIONS.get(option, (-1, 0))
        if what < 0:
            if option:
                parsed.data.append(option)
        elif what < PROPAGATION:
            parsed.attr_set, parsed.attr_clr = _attributes(what, bits, parsed.attr_set, parsed.attr_clr)
        elif what >= RECURSIVE:
            parsed.rattr_set, parsed.rattr_clr = _attributes(what - RECURSIVE, bits, parsed.rattr_set, parsed.rattr_clr)
        elif what == PROPAGATION:
            parsed.propagation.append(bits)
        elif what == SUPERBLOCK:
            parsed.sb_flags = [word for word in parsed.sb_flags if word not in (option, bits)] + [option]
        elif what == SPECIAL:
            _special(parsed, option)
    return parsed


def _attributes(what, bits, attr_set, attr_clr):
    if what == SET:
        return attr_set | bits, attr_clr & ~bits
    if what == CLEAR:
        return attr_set & ~bits, attr_clr | bits
    if what == ATIME:
        attr_set = attr_set & ~MOUNT_ATTR_ATIME_MASK | bits
    elif attr_set & MOUNT_ATTR_ATIME_MASK == bits:
        attr_set &= ~MOUNT_ATTR_ATIME_MASK
    return attr_set, attr_clr | MOUNT_ATTR_ATIME_MASK


def _special(parsed, option):
    if option == "bind" or option == "rbind":
        parsed.bind = True
        parsed.recursive = option == "rbind"
    elif option == "remount":
        parsed.remount = True
    elif option == "tmpcopyup":
        parsed.tmpcopyup = True
    else:
        parsed.idmap = option
