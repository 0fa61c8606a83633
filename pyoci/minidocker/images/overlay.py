"""One overlay mount: lower layers, perhaps an upper, at a target.

By fsopen(2) and `lowerdir+`, a layer a call, where the kernel has that (Linux 6.7); before, by the option string of mount(2), which is one page: descriptors make
the paths short there (/proc/self/fd/N), so that 200 layers fit, and no working directory changes.  What overlayfs could record in the upper beyond its contents is
off (redirects, metacopy, index): the upper is then what the layer differs in, and can be packed as it stands.
Source: overlayfs.rst ("Multiple lower layers", "redirect_dir", "Metadata only copy up", "Volatile mount", "userxattr"), fsopen(2), mount(2).
"""

import contextlib
import errno
import os

from pyoci.errors import SyscallError, errno_text
from pyoci.kernel import proc, tree
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images.rootless import in_user_namespace

MAX_LAYERS = 500  # OVL_MAX_STACK
# An older one writes into its log that it knows no such option, a line a mount.
SINCE_LOWERDIR_ADD = (6, 7)
PAGE_BYTES = 4095
# fsconfig(2) takes strings of less than 256 bytes; the option string splits at commas and colons, and undoes backslashes.
STRING_BYTES = 255
_SPECIAL = frozenset(b":,\\")
_FIXED = ("redirect_dir=nofollow", "metacopy=off", "index=off")
_NO_UPPER = ("overlay", "nfs", "nfs4", "cifs", "vfat", "exfat", "ecryptfs")
_VOLATILE = "work/incompat/volatile"


def mount_overlay(lowers, target, upper="", work="", volatile=False, string=False):
    """Mount folders over each other at target: lowers is topmost first; without upper it is read-only.  Raises MiniDockerError.

    volatile   fsync and unmount write nothing back: for what need not outlive the host
    string     by mount(2), as on a kernel before 6.7
    """
    if len(lowers) > MAX_LAYERS:
        raise MiniDockerError(f"overlay on {target}: {len(lowers)} layers; the kernel takes {MAX_LAYERS}")
    if work:
        _forget_volatile(work)
    flags = (["volatile"] if volatile and upper else []) + (["userxattr"] if in_user_namespace() else [])
    with contextlib.ExitStack() as stack:
        try:
            if not string and proc.kernel_version() >= SINCE_LOWERDIR_ADD and _by_calls(stack, lowers, target, upper, work, flags):
                return
            _by_string(stack, lowers, target, upper, work, flags)
        except SyscallError as error:
            raise MiniDockerError(f"overlay on {target}: {error}", _advice(error, upper)) from error


def _advice(error, upper):
    if error.errno in (errno.ENODEV, errno.EPERM):
        return "overlayfs is not in this kernel, or not allowed here"
    kind = _file_system(upper) if upper and error.errno == errno.EINVAL else ""
    if kind in _NO_UPPER or kind.startswith("fuse"):
        return f"{upper} is on {kind}, which can't be an upper layer; --data-root names a place on another file system, such as ext4, xfs or tmpfs"
    return ""


def _file_system(path):
    """The type of the file system that a path is on.  proc_pid_mountinfo(5)"""
    best, kind = "", ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _dash, right = line.partition(" - ")
            point = left.split(" ")[4]
            if len(point) >= len(best) and os.path.join(os.path.realpath(path), "").startswith(os.path.join(point, "")):
                best, kind = point, right.split(" ")[0]
    return kind


def _forget_volatile(work):
    """The mark of a volatile mount outlives it, and forbids the next one.  Who mounts a container again knows that this host did not crash."""
    if not os.path.isdir(f"{work}/{_VOLATILE}"):
        return
    from shutil import rmtree  # dear: most mounts need none

    try:
        rmtree(f"{work}/{_VOLATILE}")
    except OSError as error:
        raise MiniDockerError(f"overlay: {work}/{_VOLATILE}: {errno_text(error.errno)}") from error


def _by_calls(stack, lowers, target, upper, work, flags):
    """Whether it could be mounted this way.

    Not where there are no such calls.  EINVAL alone does not say what is wrong, which mount(2) will meet too.
    """
    try:
        context = tree.fsopen("overlay")
    except SyscallError as error:
        if error.errno == errno.ENOSYS:
            return False
        raise
    stack.callback(os.close, context)
    try:
        mount_fd = _configured(stack, context, lowers, upper, work, flags)
    except SyscallError as error:
        if error.errno == errno.EINVAL:
            return False
        raise _with_reason(error, context) from None
    stack.callback(os.close, mount_fd)
    tree.attach(mount_fd, target)
    return True


def _configured(stack, context, lowers, upper, work, flags):
    """The descriptor of the mount, attached nowhere yet."""
    for lower in lowers:
        tree.fsconfig(context, "lowerdir+", _short(stack, lower, STRING_BYTES))
    tree.fsconfig(context, "source", "overlay")
    if upper:
        tree.fsconfig(context, "upperdir", _short(stack, upper, STRING_BYTES))
        tree.fsconfig(context, "workdir", _short(stack, work, STRING_BYTES))
    for option in _FIXED:
        tree.fsconfig(context, *option.split("="))
    for flag in flags:
        tree.fsconfig_flag(context, flag)
    return tree.fsmount(context)


def _with_reason(error, context):
    """The kernel's own words behind the errno, where it left some."""
    reason = tree.said(context)
    return MiniDockerError(f"overlay: {error}: {reason}") if reason else error


def _by_string(stack, lowers, target, upper, work, flags):
    full = sum(len(os.fsencode(lower)) + 1 for lower in (*lowers, upper, work)) + 100
    most = 0 if full > PAGE_BYTES else PAGE_BYTES
    options = ["lowerdir=" + ":".join(_short(stack, lower, most) for lower in lowers)]
    if upper:
        options += [f"upperdir={_short(stack, upper, most)}", f"workdir={_short(stack, work, most)}"]
    text = ",".join([*options, *_FIXED, *flags])
    if len(os.fsencode(text)) > PAGE_BYTES:
        raise MiniDockerError(f"overlay on {target}: {len(lowers)} layers do not fit mount(2)", "Linux 6.7 and newer take more")
    tree.mount("overlay", target, "overlay", 0, text)


def _short(stack, path, most):
    """A path as an option takes it: itself, or by a descriptor if it is too long or has characters that mean something there."""
    raw = os.fsencode(path)
    if len(raw) <= most and not _SPECIAL & set(raw):
        return path
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MiniDockerError(f"overlay: {path}: {errno_text(error.errno)}") from error
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"
