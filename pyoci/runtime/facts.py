"""What only this host can say: its security modules, where a rootfs really lies, compiled filters.  For create and exec."""

import posix

from pyoci.errors import ConfigError, PyociError, SyscallError, UnsupportedConfig
from pyoci.kernel.calls import RESOLVE_NO_SYMLINKS, openat2
from pyoci.kernel.proc import has_apparmor, in_user_namespace
from pyoci.state.store import make_root

LABELS = (("process", "apparmorProfile", "AppArmor"), ("process", "selinuxLabel", "SELinux"), ("linux", "mountLabel", "SELinux"))


def meaningless_labels(config, warn):
    """The labels of security modules that this host does not have: they are told and left out.  config.md#linux-process

    Raises UnsupportedConfig for selinuxLabel, as every runtime does: a process that its config confines would not be.
    """
    found = []
    for section, name, module in LABELS:
        if (config.get(section) or {}).get(name) and not has_module(module):
            if name == "selinuxLabel":
                problem = "selinux label is specified in config, but selinux is disabled or not supported"
                raise UnsupportedConfig(f"{section}.{name}", problem, "config.md#linux-process")
            warn(f"{section}.{name}: left out, since {module} is not enabled on this host")
            found.append(name)
    return found


def has_module(name):
    """Whether the security module is enabled.  selinuxfs"""
    return exists("/sys/fs/selinux/enforce") if name == "SELinux" else has_apparmor()


def load_filter(root, seccomp):
    """(flags, filter) for linux.seccomp, or None if it asks for none."""
    from pyoci.seccomp.cache import load  # only where a filter is asked for

    found = load(seccomp, _filters(root))
    return (found[1], found[0]) if found else None


def _filters(root):
    """Where compiled filters are kept, or "": the host's root has one place for all state roots (docs/decisions/0013), and so has a user
    who has a home."""
    shared = "/run/pyoci" if posix.geteuid() == 0 and not in_user_namespace() else _cache_of_user() or root
    try:
        make_root(shared)
    except SyscallError:
        return ""  # it would only have been quicker
    return f"{shared}/@seccomp"


def _cache_of_user():
    """XDG Base Directory Specification; "" without a home, as under callers that give no environment."""
    cache, home = (posix.environ.get(name, b"").decode("utf-8", "surrogateescape") for name in (b"XDG_CACHE_HOME", b"HOME"))
    if cache[:1] == "/":
        return f"{cache}/pyoci"
    return f"{home}/.cache/pyoci" if home[:1] == "/" and home != "/" else ""


def check_preserved(count):
    """Whether the descriptors from 3 on that the process is to keep are there.  Raises PyociError."""
    for number in range(3, 3 + count):
        try:
            posix.fstat(number)
        except OSError:
            raise PyociError(f"unable to stat preserved-fd {number - 3} (of {count}): descriptor {number} is not open") from None


def check_rootfs(bundle, config):
    """The absolute path of the rootfs.  Raises ConfigError where it is missing, no directory, or leads through a link."""
    root = config.get("root") or {}
    path = root.get("path") or ""
    full = path if path[:1] == "/" else f"{bundle}/{path}"
    parts = [part for part in full.split("/") if part and part != "."]
    if ".." in parts:
        parts = _lexical(parts)
    clean = "/" + "/".join(parts)
    try:
        found = posix.stat(clean)
    except OSError as error:
        raise ConfigError("root.path", f"{path!r}: {posix.strerror(error.errno).lower()}", "config.md#root") from None
    if found.st_mode & 0o170000 != 0o040000:
        raise ConfigError("root.path", f"{path!r} is no directory", "config.md#root")
    real = real_path(clean)
    if real != clean:
        raise ConfigError(
            "root.path", f"invalid rootfs: not an absolute path, or a symlink: {path!r} leads to {real}", "config.md#root"
        )
    return clean


def _lexical(parts):
    found = []
    for part in parts:
        if part == "..":
            del found[-1:]
        else:
            found.append(part)
    return found


def real_path(path):
    """Where the kernel says that the path leads, links followed.  Raises OSError."""
    if _has_no_link(path):
        return path
    fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def _has_no_link(path):
    """Whether it is absolute, without dots and doubled slashes, and leads to a directory by no link: then it is the real one."""
    if path[:1] != "/" or path[-1:] == "/" or "//" in path or "/." in path:
        return False
    try:
        posix.close(openat2(-1, path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, RESOLVE_NO_SYMLINKS))
    except SyscallError:
        return False
    return True


def exists(path):
    """Whether the path leads somewhere."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True
