"""A failed operation in words.  Cold: imported when something failed.

runc's sentence comes first where callers match it (docs/errors.md lists them); then where, what, and why.
"""

import posix

from pyoci.errors import BusError, ENOSYS, OLD_KERNEL, OperationFailed, SyscallError, errno_text
from pyoci.plan.ops import STEPS
from pyoci.plan.show import describe

EPERM, ENOENT, EACCES, ENOTDIR, EISDIR, EINVAL, EROFS, ELOOP, ENOEXEC = 1, 2, 13, 20, 21, 22, 30, 40, 8

# By (step, errno), or (step, errno, operation) where only that one tells what was wrong.
_HINTS = {
    ("setresuid", EINVAL): "the uid has no mapping in the user namespace",
    ("setresgid", EINVAL): "the gid has no mapping in the user namespace",
    ("setgroups", EINVAL): "an additional gid has no mapping in the user namespace",
    ("setns", EINVAL): "a namespace of another kind, or of a process that shares its user namespace",
    ("openat2", ENOENT, "open_console"): "the container has no terminals: mount a devpts on /dev/pts",
    ("mkdir", EACCES, "make_cgroup"): "making cgroups takes root of the host",
    ("mkdir", EROFS, "make_cgroup"): "the cgroup file system is mounted read-only here: this host is a container itself",
    ("open", EACCES, "open_rootfs"): "root of the user namespace must be allowed to search every directory above the rootfs",
    ("mount_setattr", EPERM): "an attribute that is locked by another user namespace can't be cleared",
    ("fsmount", EPERM): "in a user namespace this file system needs its own namespace (proc: pid, sysfs: network, mqueue: ipc)",
    ("pivot_root", EINVAL): "the rootfs lies on a mount that can't be pivoted (an initramfs); try --no-pivot",
    ("write", ENOENT, "label"): "no such profile is loaded into the kernel (apparmor_parser --replace FILE loads one)",
    ("write", EINVAL, "label"): "the security module knows no such label",
    ("write", EACCES, "label"): "what pyoci itself is confined by does not allow this label",
    ("StartTransientUnit", "org.freedesktop.systemd1.UnitExists"): "another runtime or root directory has a container of this name",
    ("prlimit", EPERM): "raising a hard limit takes CAP_SYS_RESOURCE on the host",
    ("write", EACCES, "score_oom"): "lowering it takes CAP_SYS_RESOURCE on the host",
    ("setns", EPERM): "joining it takes CAP_SYS_ADMIN in the user namespace that it belongs to",
    ("write", EPERM, "map_ids"): "the caller has no right to those ids",
    ("execve", ENOEXEC): "no program for this machine, or a script without its #! line",
}
_VERIFIED = {
    "plan": "init does not know this plan: it was built from other sources; build it again (make build)",
    "verify procfs": "a mount may not cover a file of procfs, and only a procfs may lie on /proc",
    "verify device": "not the device that was asked for",
    "verify directory": "not a real directory",
    "verify terminal": "/dev/pts/ptmx is not the multiplexer of a devpts; mount one on /dev/pts",
    "verify working directory": "the working directory lies outside the container's root",
}


def host_failure(op, error):
    """OperationFailed for a SyscallError, a BusError, or a bare OSError, of a HOST operation."""
    if isinstance(error, BusError):
        return OperationFailed(op.origin, describe(op), error.call, 0, error.why(), _HINTS.get((error.call, error.name), ""))
    if isinstance(error, OSError):
        error = SyscallError("", error.errno or 0, error.filename or "")
    return OperationFailed(op.origin, describe(op), error.call, error.errno, error.on, _hint(op, error.call, error.errno), _mount_prefix(op))


def init_failure(op, message):
    """OperationFailed for init's failure record."""
    step = STEPS[message.step] if message.step < len(STEPS) else f"step {message.step}"
    if op.name in ("find_program", "execute"):
        return _program_failure(op, step, message)
    if op.name == "hook_inside":
        return _hook_failure(op, step, message)
    hint = _hint(op, step, message.errno)
    detail = message.text
    if step == "plan" and message.errno:
        step, detail = "", "init can't read its plan"
    elif step in _VERIFIED:
        detail = f"{_VERIFIED[step]}: {message.text}" if message.text else _VERIFIED[step]
        step = ""
    words = describe(op)
    if detail and detail in words:
        detail = ""
    return OperationFailed(op.origin, words, step, message.errno, detail, hint, _mount_prefix(op))


def _hint(op, step, number):
    if number == ENOSYS:
        return OLD_KERNEL
    return _HINTS.get((step, number, op.name)) or _HINTS.get((step, number), "")


def _mount_prefix(op):
    if op.name in ("bind", "open_source"):
        return f'error mounting "{op.args[0]}" to rootfs at "{op.args[1]}"'
    if op.name == "mount":
        return f'error mounting "{op.args[1]}" to rootfs at "{op.args[2]}"'
    return ""


def _program_failure(op, step, message):
    """The words that dockerd and podman turn into exit statuses 126 and 127 (Go's os/exec)."""
    name = op.args[0] if op.name == "find_program" else (message.text or op.args[0][0])
    if message.errno in (ENOSYS, EPERM) and op.name == "find_program":
        # No file is the reason: these are the answers of an old kernel, and of filters that were written for one.
        reason = f"statx or faccessat2: {posix.strerror(message.errno).lower()}"
    elif op.name == "find_program" and message.item:
        reason = "permission denied" if message.errno == EACCES else "executable file not found in $PATH"
    elif message.errno == EISDIR:
        reason = "is a directory: permission denied"  # dockerd 20.10 and podman know the latter only, newer ones both
    elif step == "find program" and message.errno in (ENOENT, ENOTDIR):
        reason = f"stat {name}: {posix.strerror(message.errno).lower()}"
    else:
        reason = posix.strerror(message.errno).lower()
    hint = ""
    if op.name == "execute" and message.errno == ENOENT:
        hint = "the file is there: its interpreter (the #! line) or its loader is not"
    elif message.errno == ENOEXEC:
        hint = _HINTS[("execve", ENOEXEC)]
    elif message.errno == ENOSYS or (message.errno == EPERM and op.name == "find_program"):
        hint = OLD_KERNEL
    sentence = f'exec: "{name}": {reason}' if op.name == "find_program" else f"exec {name}: {reason}"
    return OperationFailed(op.origin, sentence, "", 0, "", hint, "unable to start container process")


def _hook_failure(op, step, message):
    kind, index, path = op.args[0], op.args[1], op.args[2]
    text = " ".join(message.text.split())
    if step == "hook exit":
        reason = f"exit status {message.item}, {text}"
    elif step == "hook signal":
        reason = f"signal {message.item}, {text}"
    elif step == "hook time-out":
        reason = f"hook ran past specified timeout of {op.args[5]:.1f}s, {text}"
    else:
        reason = f"{step}: {errno_text(message.errno)}"
    return OperationFailed(op.origin, f"{path}: {reason}", prefix=f"error running {kind} hook #{index}")


def warning(op, message):
    """What init left out and went on."""
    from pyoci.spec.names import CAPABILITIES

    name = next((name for name, number in CAPABILITIES.items() if number == message.item), f"capability {message.item}")
    return f"{op.origin}: {name} can't be given here, so it is left out: {errno_text(message.errno)}"


_KILLED_BY = {9: " (possibly OOM-killed)", 31: " (SIGSYS): linux.seccomp forbids a call that init still has to make, see docs/seccomp.md"}


def silent_death(op, status, directories):
    """Init ended without a word: by a signal from outside, or for want of memory."""
    killed_by = status.si_status if status is not None and status.si_code in (posix.CLD_KILLED, posix.CLD_DUMPED) else 0
    if (killed_by == 9 or status is None) and _oom_kills(directories):
        return OperationFailed(op.origin, describe(op), prefix="container init was OOM-killed (memory limit too low?)")
    if killed_by:
        how = f"init was killed by signal {killed_by}{_KILLED_BY.get(killed_by, '')}"
    else:
        how = "init ended without a word"
    return OperationFailed(op.origin, describe(op), detail=how)


def _oom_kills(directories):
    from pyoci.kernel.proc import read_file

    for path in (f"{directories.get('memory', '')}/memory.oom_control", f"{directories.get('', '')}/memory.events"):
        try:
            lines = read_file(path).decode().split("\n")
        except SyscallError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.strip() not in ("", "0"):
                return True
    return False
