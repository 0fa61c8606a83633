"""Writes bundles/profiles/docker-size.json: a linux.seccomp object as large as the default profiles that engines ship, of our own making.

    python tests/seccomp/make_profile.py > bundles/profiles/docker-size.json

It allows every call of the x86 tables in this machine's kernel headers (and the NEWER ones), but for the DENIED, which this file groups by reason,
and the CONDITIONAL. Tests and benchmarks use the file as it stands; run this again only to follow the kernel.
Source: asm/unistd_64.h and asm/unistd_32.h (linux-libc-dev), the man pages of the calls.
"""

import json
import pathlib
import re
import sys
import textwrap

HEADERS = pathlib.Path("/usr/include/x86_64-linux-gnu/asm")

# Linux 6.5 to 6.17, which the headers of a stable distribution do not have yet.
NEWER = """
    cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr
    lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr
"""

DENIED = {
    "changes the tree of mounts": "mount umount umount2 pivot_root move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr",
    "leaves or makes namespaces": "setns unshare",
    "loads code into the kernel": "init_module finit_module delete_module create_module kexec_load kexec_file_load bpf",
    "governs the whole machine": "reboot swapon swapoff acct quotactl quotactl_fd syslog sethostname setdomainname vhangup nfsservctl",
    "sets the clock of all": "settimeofday stime clock_settime clock_settime64 clock_adjtime clock_adjtime64",
    "is shared by all containers of a user": "add_key request_key keyctl",
    "opens files around the mount namespace": "open_by_handle_at",
    "touches hardware": "iopl ioperm vm86 vm86old pciconfig_iobase pciconfig_read pciconfig_write",
    "moves memory between nodes": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind migrate_pages move_pages",
    "watches the machine": "perf_event_open fanotify_init lookup_dcookie",
    "has been the way out too often": "userfaultfd io_uring_setup io_uring_enter io_uring_register kcmp",
    "is an empty entry or has long been superseded": """
        _sysctl afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime get_kernel_syms getpmsg gtty idle lock mpx prof profil
        putpmsg query_module security stty sysfs tuxcall ulimit uselib ustat vserver""",
}

NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bits, the same with UNAME26, "which one have I?"
AF_ALG, AF_VSOCK, ENOSYS = 38, 40, 38


def condition(index, operator, value, value_two=None):
    made = {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}
    return made if value_two is None else {**made, "valueTwo": value_two}


def allow(name, *conditions):
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": list(conditions)}


CONDITIONAL = [
    *[allow("personality", condition(0, "EQ", number)) for number in PERSONALITIES],
    allow("clone", condition(0, "MASKED_EQ", NAMESPACE_FLAGS, 0)),
    # Its flags are in memory, where no filter can look: with ENOSYS the C library takes clone.
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
    allow("socket", condition(0, "LT", AF_ALG)),
    allow("socket", condition(0, "EQ", AF_ALG + 1)),
    allow("socket", condition(0, "GT", AF_VSOCK)),
]


def table():
    """Every name in the x86 tables."""
    names = set(NEWER.split())
    for header in ("unistd_64.h", "unistd_32.h"):
        names |= set(re.findall(r"#define __NR_(\w+)\s+\d", (HEADERS / header).read_text()))
    return names


def profile():
    """The whole object."""
    denied = {name for names in DENIED.values() for name in names.split()}
    conditional = {name for entry in CONDITIONAL for name in entry["names"]}
    allowed = sorted(table() - denied - conditional)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}, *CONDITIONAL],
    }


def text_of(whole):
    """JSON with the long list of names wrapped instead of one name a line."""
    names = whole["syscalls"][0]["names"]
    wrapped = textwrap.fill(", ".join(json.dumps(name) for name in names), 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
    entries = [json.dumps(entry) for entry in whole["syscalls"][1:]]
    head = json.dumps({key: value for key, value in whole.items() if key != "syscalls"}, indent=2)[:-2]
    first = f'    {{\n      "names": [\n{wrapped}\n      ],\n      "action": "SCMP_ACT_ALLOW"\n    }}'
    return head + ',\n  "syscalls": [\n' + ",\n".join([first, *("    " + entry for entry in entries)]) + "\n  ]\n}\n"


if __name__ == "__main__":
    sys.stdout.write(text_of(profile()))
