"""Containers of somebody who is not the host's root: what is refused, and what is left out of the plan.  Pure.  Cold: root's never load it.

runc's rules (libcontainer/configs/validate/rootless.go, cgroups of a rootless manager); user_namespaces(7), docs/decisions/0019.
"""

from pyoci.cgroup.limits import DEVICE_PROGRAM
from pyoci.compile.namespaces import host_id
from pyoci.errors import UnsupportedConfig, errno_text
from pyoci.kernel.calls import CLONE_NEWUSER

MAPS_CLAUSE = "config-linux.md#user-namespace-mappings"


class Rootless:
    """What is known of a caller who is not the host's root.

    euid, egid        who it is
    nested            it is in a user namespace already, where root may do what has no effect on the host
    tolerant          a container does without cgroups where this user may make none, if it needs none
    refused           {controller: errno} of the cgroups that can't be made
    denies_groups     setgroups(2) is denied here already
    uid_tool, gid_tool  paths of newuidmap and newgidmap, or ""
    """

    __slots__ = ("euid", "egid", "nested", "tolerant", "refused", "denies_groups", "uid_tool", "gid_tool")

    def __init__(self, euid, egid, nested, tolerant):
        self.euid = euid
        self.egid = egid
        self.nested = nested
        self.tolerant = tolerant
        self.refused = {}
        self.denies_groups = False
        self.uid_tool = self.gid_tool = ""

    @property
    def unprivileged(self):
        """No privilege before a user namespace was made or joined."""
        return self.euid != 0

    @property
    def confined(self):
        """No privilege on the host; only the host's root is not, who asked for --rootless all the same."""
        return self.euid != 0 or self.nested


def judge(config, spaces, given, warnings):
    """(config without what is left out, whether the process's groups stay as they are).  Raises UnsupportedConfig."""
    linux = config.get("linux") or {}
    if given.unprivileged and not spaces.has(CLONE_NEWUSER):
        raise UnsupportedConfig(
            "linux.namespaces", "rootless container requires user namespaces", "config-linux.md#namespaces",
            "pyoci spec --rootless writes such a config",
        )  # fmt: skip
    if spaces.new & CLONE_NEWUSER:
        if given.unprivileged:
            _judge_maps("uidMappings", linux.get("uidMappings") or (), given.euid, given.uid_tool)
            _judge_maps("gidMappings", linux.get("gidMappings") or (), given.egid, given.gid_tool)
        config = {**config, "mounts": [_mount(index, one, linux, warnings) for index, one in enumerate(config.get("mounts") or ())]}
    process, denied = _groups(config.get("process"), spaces, linux, given, warnings)
    return ({**config, "process": process} if process else config), denied


def _mount(index, mount, linux, warnings):
    """A mount whose owner has a mapping; the group of a devpts, which callers name unasked (gid=5, tty), is left out."""
    kept = []
    for option in mount.get("options") or ():
        name, _, value = option.partition("=")
        if name not in ("uid", "gid") or not value.isdigit() or host_id(linux.get(f"{name}Mappings"), int(value)) >= 0:
            kept.append(option)
        elif name == "gid" and mount.get("type") == "devpts":
            warnings.append(f"mounts[{index}].options: {option} has no mapping in the user namespace, so it is left out")
        else:
            problem = f"cannot specify {option} mount option for rootless container: it has no mapping in the user namespace"
            raise UnsupportedConfig(f"mounts[{index}].options", problem, MAPS_CLAUSE)
    return {**mount, "options": kept} if mount.get("options") else mount


def _judge_maps(kind, mappings, own, tool):
    if not maps_own_id(mappings, own) and mappings and not tool:
        program = "newuidmap" if kind == "uidMappings" else "newgidmap"
        raise UnsupportedConfig(
            f"linux.{kind}", f"more than one's own id, {own}, takes {program}, which is neither on PATH nor in /usr/bin", MAPS_CLAUSE,
            "Debian has it in the package uidmap",
        )  # fmt: skip


def maps_own_id(mappings, own):
    """Whether one's own id is all that is mapped: the one map that takes no privilege."""
    return len(mappings) == 1 and mappings[0]["hostID"] == own and mappings[0]["size"] == 1


def _groups(process, spaces, linux, given, warnings):
    """(the process as it can be, whether its groups stay as they are).  Raises UnsupportedConfig for groups that can't be had."""
    denied = given.denies_groups
    if given.unprivileged and spaces.new & CLONE_NEWUSER:
        denied = denied or maps_own_id(linux.get("gidMappings") or (), given.egid)
    user = (process or {}).get("user") or {}
    wanted = [gid for gid in user.get("additionalGids") or () if gid != (user.get("gid") or 0)]
    if not denied or not user.get("additionalGids"):
        return process, denied
    if wanted and given.unprivileged:
        raise UnsupportedConfig(
            "process.user.additionalGids", "cannot set any additional groups in a rootless container", "config.md#posix-platform-user",
            "where more gids than one's own are mapped (newgidmap), they can be set",
        )  # fmt: skip
    if wanted:
        warnings.append("process.user.additionalGids: left out, since the user namespace that pyoci is in denies setgroups(2)")
    return {**process, "user": {key: value for key, value in user.items() if key != "additionalGids"}}, True


def cgroups(directories, limits, linux, given):
    """(directories, limits) that this user can have.  Raises UnsupportedConfig where the config needs those it can't.

    Devices are never limited: that takes the host's root on both versions, and such a user can make no node, nor open one that
    it could not open before.
    """
    if given.confined:
        limits = [one for one in limits if one.controller != "devices" and one.file != DEVICE_PROGRAM]
    if not given.tolerant or not given.refused:
        return directories, limits
    path = linux.get("cgroupsPath") or ""
    for name, number in given.refused.items():
        if path and name not in ("name=systemd", "") or path and len(directories) == 1:
            raise UnsupportedConfig("linux.cgroupsPath", f"{directories[name]} can't be made by this user: {errno_text(number)}",
                                    "config-linux.md#cgroups-path", _HINT)  # fmt: skip
    for one in limits:
        name = one.controller if one.controller in directories else ""
        if name in given.refused and not one.optional:
            problem = f"can't be limited, since this user can't make the cgroup {directories[name]}: {errno_text(given.refused[name])}"
            raise UnsupportedConfig(one.origin, problem, "config-linux.md#control-groups", _HINT)
    left = {name: directory for name, directory in directories.items() if name not in given.refused}
    return left, [one for one in limits if (one.controller if one.controller in directories else "") not in given.refused]


_HINT = "a user may make cgroups where systemd delegates them, on version 2 alone"
