"""The features document: what this release can do, as features.md describes it.

Cold and pure: what depends on the host comes as arguments. Whatever validate.UNSUPPORTED_* still lists is not claimed here, so that the
two cannot differ. The document is the same for every user: callers cache it.
"""

from pyoci import __version__
from pyoci.spec.names import CAPABILITIES, MOUNT_OPTIONS
from pyoci.spec.validate import (
    UNSUPPORTED_LINUX,
    UNSUPPORTED_MOUNT_OPTIONS,
    UNSUPPORTED_PROCESS,
    UNSUPPORTED_SECCOMP_ACTION,
)

_HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
_NAMESPACES = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]
_ACTIONS = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
            "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"]
_OPERATORS = ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"]
_FLAGS = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
          "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
_MODES = ["MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
          "MPOL_WEIGHTED_INTERLEAVE"]
_MODE_FLAGS = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]


def features(*, last_capability=40, libseccomp="", seccomp_archs=(), seccomp_flags=(), systemd_user=False, commit=""):
    """The document.

    last_capability  the highest number that the kernel knows, /proc/sys/kernel/cap_last_cap
    libseccomp       its version, `2.5.4`; "" when there is none: seccomp is then off
    seccomp_archs    SCMP_ARCH_ words that the library can compile for
    seccomp_flags    SECCOMP_FILTER_FLAG_ words that the kernel accepts, of those this release knows
    systemd_user     whether a user's own systemd can be the driver, of containers without root
    commit           the source's commit, or ""
    """
    refused = {name for name, _ in UNSUPPORTED_LINUX + UNSUPPORTED_PROCESS}
    annotations = {"org.pyoci.version": __version__, "org.pyoci.commit": commit, "io.github.seccomp.libseccomp.version": libseccomp}
    policy = "memoryPolicy" not in refused
    rdt = "intelRdt" not in refused
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": list(_HOOKS),
        "mountOptions": sorted(set(MOUNT_OPTIONS) - set(UNSUPPORTED_MOUNT_OPTIONS)),
        "linux": {
            "namespaces": list(_NAMESPACES),
            "capabilities": [name for name, number in CAPABILITIES.items() if number <= last_capability],
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": systemd_user, "rdma": True},
            "seccomp": _seccomp(libseccomp, seccomp_archs, seccomp_flags),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": rdt, "schemata": rdt, "monitoring": rdt},
            "memoryPolicy": {"modes": _MODES * policy, "flags": _MODE_FLAGS * policy},
            "mountExtensions": {"idmap": {"enabled": "idmap" not in UNSUPPORTED_MOUNT_OPTIONS}},
            "netDevices": {"enabled": "netDevices" not in refused},
        },
        "annotations": {name: text for name, text in annotations.items() if text},
        # A scope's properties may name programs; criu's options are read from the file that the other names (runtime/checkpoint.py).
        "potentiallyUnsafeConfigAnnotations": ["org.criu.config", "org.systemd.property."],
    }


def _seccomp(libseccomp, archs, flags):
    if not libseccomp:
        return {"enabled": False}
    return {
        "enabled": True,
        "actions": [action for action in _ACTIONS if action != UNSUPPORTED_SECCOMP_ACTION],
        "operators": list(_OPERATORS),
        "archs": sorted(archs),
        "knownFlags": list(_FLAGS),
        "supportedFlags": sorted(set(_FLAGS) & set(flags)),
    }
