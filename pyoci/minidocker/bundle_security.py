"""Capabilities, --security-opt and the system call filter of a container.  Pure.

Source: docker-run(1), --cap-add, --security-opt; capabilities(7); Engine API v1.44 HostConfig.
"""

from pyoci.minidocker.errors import BadRequest
from pyoci.spec.names import CAPABILITIES

# docker's fourteen.
DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip


class Security:
    """What --security-opt says."""

    __slots__ = ("apparmor", "label", "no_new_privileges", "seccomp", "shows_system_paths")

    def __init__(self):
        self.apparmor = self.label = self.seccomp = ""
        self.no_new_privileges = self.shows_system_paths = False


def options(host):
    """The SecurityOpt of a HostConfig.  `seccomp` is "", `unconfined` or the profile's JSON text; `apparmor` "" or what was named.  Raises BadRequest."""
    found = Security()
    for text in host.get("SecurityOpt") or []:
        name, sign, value = text.partition("=")
        if not sign:
            name, sign, value = text.partition(":")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            found.no_new_privileges = value != "false"
        elif name == "systempaths" and value == "unconfined":
            found.shows_system_paths = True
        elif name == "seccomp" and sign:
            found.seccomp = "" if value == "builtin" else value
        elif name == "apparmor" and sign:
            found.apparmor = value
        elif name == "label" and sign:
            found.label = _label(found.label, value)
        else:
            raise BadRequest(f'invalid --security-opt: "{text}"')
    return found


def _label(label, value):
    """user:role:type:level of SELinux, a part at a time; `disable` takes it away."""
    if value == "disable":
        return ""
    part, sign, word = value.partition(":")
    parts = (label or "system_u:system_r:container_t:s0").split(":", 3)
    order = ("user", "role", "type", "level")
    if not sign or part not in order:
        raise BadRequest(f'invalid --security-opt: "label={value}"')
    parts[order.index(part)] = word
    return ":".join(parts)


def _names(words):
    made = []
    for word in words or []:
        name = word.upper()
        name = name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
        if name != "ALL" and name not in CAPABILITIES:
            raise BadRequest(f'invalid capability: "{word}"')
        made.append(name)
    return made


def capabilities(host, held):
    """The capabilities of a container, in the kernel's order.  held: those that can be given.  Raises BadRequest on an unknown name."""
    added, dropped = _names(host.get("CapAdd")), _names(host.get("CapDrop"))
    everything = [name for name in CAPABILITIES if name in held]
    if host.get("Privileged"):
        return everything
    if "ALL" in added:
        wanted = set(everything)
    elif "ALL" in dropped:
        wanted = set()
    else:
        wanted = set(DEFAULT)
    wanted |= {name for name in added if name != "ALL"}
    if "ALL" not in dropped or "ALL" in added:
        wanted -= set(dropped)
    return [name for name in CAPABILITIES if name in wanted]


def capability_sets(names, uid):
    """config.md#process capabilities.  Who is not root begins with none, as after an execve."""
    sets = {"bounding": names}
    if uid == 0:
        sets["effective"] = sets["permitted"] = names
    return sets


def seccomp(security, profile, names):
    """linux.seccomp: the user's, none, or the default for these capabilities."""
    if security.seccomp == "unconfined":
        return None
    if profile is not None:
        return profile
    from pyoci.minidocker.seccomp import default_profile

    return default_profile(names)
