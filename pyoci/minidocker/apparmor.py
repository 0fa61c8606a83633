"""The AppArmor profile of a container: which one, and the default, made and loaded where the kernel does not have it yet.

    profile_of(host)     the name that a HostConfig asks for: --security-opt apparmor=NAME, `unconfined`, or `minidocker-default`; "" without AppArmor
    make_ready(name)     load the default once a boot; refuse a profile that is not loaded

The default is a second wall behind capabilities, masked paths and seccomp: it holds where somebody mounts procfs or sysfs anew, or asks for
systempaths=unconfined.  Source: apparmor.d(5); apparmor_parser(8); docker-run(1), --security-opt.
"""

import fcntl
import os

from pyoci.errors import SyscallError
from pyoci.kernel.proc import has_apparmor, in_user_namespace, read_file
from pyoci.minidocker import bundle_security
from pyoci.minidocker.errors import BadRequest, MiniDockerError

DEFAULT = "minidocker-default"
LOADED = "/sys/kernel/security/apparmor/profiles"
PARSER = ("/sbin/apparmor_parser", "/usr/sbin/apparmor_parser")
UNCONFINED_HINT = "--security-opt apparmor=unconfined runs it without"
PARSER_S = 120  # an emulated machine takes some ten seconds


def profile_of(host):
    """The profile's name, "" for none.  Raises BadRequest for one that is asked for by name where there is no AppArmor."""
    asked = bundle_security.options(host).apparmor
    if not has_apparmor():
        if asked not in ("", "unconfined"):
            raise BadRequest(f"AppArmor profile {asked}: AppArmor is not enabled on this host", hint="without --security-opt apparmor=... none is used here")
        return ""
    if asked:
        return asked
    if host.get("Privileged"):
        return "unconfined"
    # Who has no privilege on the host can't load one: docker's rootless mode has none either.
    return "" if os.geteuid() or in_user_namespace() else DEFAULT


def make_ready(name, roots, warn=None):
    """The name, once the kernel knows it; "" where the default can't be had because the host lacks the means, which is told.

    Raises MiniDockerError for a profile that is not loaded, and for a default that the kernel refuses.
    """
    if name in ("", "unconfined"):
        return name
    known = loaded()
    if known is not None and name in known:
        return name
    if name != DEFAULT:
        if known is None:
            return name  # no securityfs to look at: the runtime will say
        raise MiniDockerError(f"AppArmor profile {name} is not loaded into the kernel", hint="apparmor_parser --replace FILE loads one")
    parser = next((path for path in PARSER if os.access(path, os.X_OK)), "")
    if not parser or known is None:
        what = "there is no apparmor_parser" if known is not None else "securityfs is not mounted"
        if warn:
            warn(f"AppArmor is enabled, but {what}: the container runs without the profile {DEFAULT}")
        return ""
    _load_once(parser, roots)
    return name


def loaded():
    """The names of the loaded profiles, or None where they can't be read."""
    try:
        lines = read_file(LOADED).decode("utf-8", "replace").splitlines()
    except SyscallError:
        return None
    return {line.rpartition(" (")[0] for line in lines}


def _load_once(parser, roots):
    """Load the default; of many starts at once one does."""
    fd = os.open(f"{roots.run}/apparmor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if DEFAULT not in (loaded() or ()):
            _load(parser)
    finally:
        os.close(fd)


def _load(parser):
    import subprocess  # 10 ms, once a boot

    try:
        done = subprocess.run([parser, "--replace", "--skip-cache", "--quiet"], input=text().encode(), capture_output=True, timeout=PARSER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MiniDockerError(f"AppArmor profile {DEFAULT}: {parser}: {getattr(error, 'strerror', None) or error}", hint=UNCONFINED_HINT) from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise MiniDockerError(f"AppArmor profile {DEFAULT} can't be loaded: {said or f'{parser} ended with status {done.returncode}'}", hint=UNCONFINED_HINT)


def _but(folder, word):
    """Globs of all below a folder but what begins with a word: apparmor.d(5) has no "not"."""
    return [f"{folder}/{word[:length]}[^{letter}]**" for length, letter in enumerate(word)]


def text(name=DEFAULT):
    """The default profile.  Needs no file of /etc/apparmor.d, so that it is the same on every host.

    Files, capabilities and all but two families of sockets are open, since mounts, namespaces and the bounding set decide on those; mount, pivot_root and profiles to change to
    are not named, and so are forbidden.
    """
    read_only = [
        "/proc/[^0-9s]**", *_but("/proc", "sys/")[1:],  # what is neither a process's nor a sysctl
        *_but("/proc/sys", "kernel/"), *_but("/proc/sys/kernel", "shm"),
        *_but("/sys", "fs/cgroup/"),
    ]  # fmt: skip
    hidden = ["/proc/sysrq-trigger", "/proc/kcore", "/sys/firmware/**", "/sys/devices/virtual/powercap/**", "/sys/kernel/security/**"]
    rules = [
        "file", "network", "capability", "umount",
        # kill and stop come from the host, or from a runtime that has a profile for itself
        *(f"signal (receive) peer={peer}" for peer in ("unconfined", "runc", "crun", "pyoci")),
        f"signal (send, receive) peer={name}", f"ptrace (trace, read, tracedby, readby) peer={name}",
        *(f"deny network {family}" for family in ("alg", "vsock")),  # which the system call filter can't see in a 32-bit program's socketcall(2)
        *(f"deny {path} wkl" for path in read_only),
        *(f"deny {path} rwklx" for path in hidden),
    ]  # fmt: skip
    return f"profile {name} flags=(attach_disconnected, mediate_deleted) {{\n" + "".join(f"  {rule},\n" for rule in rules) + "}\n"
