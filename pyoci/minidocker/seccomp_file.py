"""A seccomp profile in docker's form (archMap, includes, excludes) as linux.seccomp for one container.

Source: docker's documentation of seccomp profiles; config-linux.md#seccomp.
"""

import os

from pyoci.kernel.proc import kernel_version
from pyoci.minidocker import bundle_security
from pyoci.minidocker.errors import BadRequest
from pyoci.spec.names import CAPABILITIES

_ARCHITECTURES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
_KEPT = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata", "architectures")


def convert(profile, host):
    """The rules that hold for this host and for the capabilities of this HostConfig.  Raises BadRequest."""
    machine, seccomp_name = _ARCHITECTURES.get(os.uname().machine, (os.uname().machine, ""))
    capabilities = bundle_security.capabilities(host, set(CAPABILITIES))
    made = {name: profile[name] for name in _KEPT if name in profile}
    if "archMap" in profile:
        if profile.get("architectures"):
            raise BadRequest("Decoding seccomp profile failed: 'architectures' and 'archMap' were specified in the seccomp profile, use either one")
        found = next((entry for entry in profile["archMap"] if entry.get("architecture") == seccomp_name), None)
        made["architectures"] = [seccomp_name, *(found.get("subArchitectures") or [])] if found else []
    rules = [_rule(rule) for rule in profile.get("syscalls") or [] if _holds(rule, machine, capabilities)]
    if rules:
        made["syscalls"] = rules
    return made


def _rule(rule):
    names = list(rule.get("names") or []) or ([rule["name"]] if rule.get("name") else [])
    made = {"names": names, "action": rule.get("action")}
    for name in ("errnoRet", "args"):
        if rule.get(name) not in (None, []):
            made[name] = rule[name]
    return made


def _is_at_least(text):
    parts = text.split(".")
    return len(parts) == 2 and all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts) and kernel_version() >= (int(parts[0]), int(parts[1]))


def _holds(rule, machine, capabilities):
    """Whether a rule's includes hold, and none of its excludes."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if any(name not in capabilities for name in includes.get("caps") or []):
        return False
    if includes.get("minKernel") and not _is_at_least(includes["minKernel"]):
        return False
    if machine in (excludes.get("arches") or []) or any(name in capabilities for name in excludes.get("caps") or []):
        return False
    return not (excludes.get("minKernel") and _is_at_least(excludes["minKernel"]))
