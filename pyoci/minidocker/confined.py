"""What root in a user namespace can have of a create request: refused by name, discarded with a warning, or done another way.  Cold: the host's root never loads it.

`judge` is for create and update, before anything is done; `gather` finds what bundle_rootless.py needs for config.json.
Source: user_namespaces(7), docker's documentation of rootless mode (what its users expect); docs/decisions/0025.
"""

import os
import stat

from pyoci.minidocker.delegated import LIMITS, bus, find_delegated
from pyoci.minidocker.errors import BadRequest

NO_CGROUPS = "systemd delegates cgroups to users, on version 2 alone: docs/minidocker/for-docker-users.md, 'Without root'"


class Confined:
    """What bundle_rootless.py is told.

    uids, gids    how many ids from 0 on have a mapping
    cgroups_path  linux.cgroupsPath, "" for none
    has_mqueue    the host has a /dev/mqueue to show
    """

    __slots__ = ("cgroups_path", "gids", "has_mqueue", "uids")

    def __init__(self, uids, gids, cgroups_path, has_mqueue):
        self.uids = uids
        self.gids = gids
        self.cgroups_path = cgroups_path
        self.has_mqueue = has_mqueue


def _rows(name):
    """[(inside, outside, count)] of our uid_map or gid_map, by what is inside."""
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        return sorted(tuple(map(int, line.split())) for line in file)


def host_uid():
    """The id that root here has on the host."""
    return next((outside for inside, outside, _ in _rows("uid_map") if inside == 0), os.geteuid())


def mapped(name):
    """How many ids from 0 on have a mapping, without a gap.  name: uid_map or gid_map"""
    found = 0
    for inside, _, count in _rows(name):
        if inside == found:
            found += count
    return found


def delegated():
    """The cgroups that this user may have (delegated.Delegated)."""
    return find_delegated(host_uid())


def systemd_environment():
    """The environment that names the bus of the user's systemd, {} where that makes no cgroups."""
    return bus(host_uid()) if delegated().driver == "systemd" else {}


def gather(container, user):
    """The Confined of a start.  user: the process's, as config.md#user.  Raises BadRequest for ids that are not there."""
    found = Confined(
        mapped("uid_map"), mapped("gid_map"), delegated().cgroups_path(container.id, container.host.get("CgroupParent") or ""), os.path.ismount("/dev/mqueue")
    )
    check_user(user, found)
    return found


def check_user(user, found):
    """Raise BadRequest where an id of config.md#user has no mapping."""
    for kind, number, count, file in [("user", user["uid"], found.uids, "/etc/subuid"), *(("group", gid, found.gids, "/etc/subgid") for gid in user.get("additionalGids") or ())]:
        if number >= count:
            what = f"0 to {count - 1} are there" if count > 1 else "0 alone is there"
            raise BadRequest(f"{kind} {number} can't be had without root: of the ids of this user namespace {what}", hint=f"{file} gives a user more")


def judge(host):
    """Warnings.  Raises BadRequest for what only root can have; limits that need cgroups which are not this user's are taken out of `host`."""
    cgroups = delegated()
    _refuse_rules(host)
    for device in host.get("Devices") or []:
        check_device(device["PathOnHost"], device.get("PathInContainer") or device["PathOnHost"])
    _refuse_parent(host, cgroups)
    _refuse_priority(host)
    for limit in host.get("Ulimits") or []:
        _refuse_ulimit(limit)
    return _discard(host, cgroups) + few_ids()


def info(is_v2):
    """What SystemInfo says otherwise.  Engine API SystemInfo"""
    cgroups = delegated()
    memory, cpu, cpuset, pids = (name in cgroups.controllers for name in ("memory", "cpu", "cpuset", "pids"))
    warnings = [f"{', '.join(fields.values())}: {_lack(name)}" for name, fields in LIMITS.items() if name not in cgroups.controllers]
    return {
        "MemoryLimit": memory, "SwapLimit": memory, "CpuCfsPeriod": cpu, "CpuCfsQuota": cpu, "CPUShares": cpu, "CPUSet": cpuset, "PidsLimit": pids,
        "OomKillDisable": False, "CgroupDriver": cgroups.driver,
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", *(["name=cgroupns"] if is_v2 else [])], "Warnings": (warnings + few_ids()) or None,
    }  # fmt: skip


def refuse_limits(host):
    """update: raise BadRequest for limits that can't be had."""
    for _, flag, controller in delegated().lacking(host):
        raise BadRequest(f"{flag}: {_lack(controller)}", hint=NO_CGROUPS)


def _lack(controller):
    return f"no cgroup with the controller {controller} is delegated to this user"


def _discard(host, cgroups):
    lacking = cgroups.lacking(host)
    for name, _, _ in lacking:
        del host[name]
    return [f"{flag}: {_lack(controller)}: limit discarded" for _, flag, controller in lacking]


def few_ids():
    """[a warning] where there is one id alone."""
    if mapped("uid_map") > 1:
        return []
    from pyoci.minidocker.rootless import Ids

    problem = Ids(host_uid(), os.getegid()).problem or "the namespace was made before it had some"
    return [f"only one id can be used in containers: {problem}; images with files of other users can't be unpacked"]


def _refuse_rules(host):
    if host.get("DeviceCgroupRules"):
        raise BadRequest("--device-cgroup-rule: device rules take root on the host")
    for device in host.get("Devices") or []:
        given = device.get("CgroupPermissions") or "rwm"
        if not {"r", "w"} <= set(given):
            raise BadRequest(f"--device {device['PathOnHost']}: permissions ({given}) take root on the host", hint="without root a device is as open as its node is to you")


def is_open(mode, uid):
    """Whether a device node is open to root here, who has no privilege over it, or to everybody: a container has none of our groups."""
    return bool(mode & 0o006) or (uid == 0 and bool(mode & 0o600))


def check_device(path, target):
    """Raise BadRequest for a device that a container of this user could not open; what is missing is told elsewhere."""
    if os.path.normpath(target) != os.path.normpath(path):
        raise BadRequest(f"--device {path}:{target}: without root a device is the host's own node, and keeps its path")
    try:
        facts = os.stat(path)
    except OSError:
        return
    if (stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode)) and not is_open(facts.st_mode, facts.st_uid):
        raise BadRequest(f"--device {path}: without root it can't be opened in a container (mode {stat.S_IMODE(facts.st_mode):04o})")


def _refuse_parent(host, cgroups):
    parent = host.get("CgroupParent") or ""
    if parent and cgroups.driver == "none":
        raise BadRequest(f"--cgroup-parent {parent}: no cgroups are delegated to this user", hint=NO_CGROUPS)
    if parent and cgroups.driver == "systemd" and not parent.endswith(".slice"):
        raise BadRequest(f"--cgroup-parent {parent}: with systemd it is a slice, such as mine.slice")


def _refuse_priority(host):
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        own = int(file.read())
    wanted = host.get("OomScoreAdj") or 0
    if wanted and wanted < own:
        raise BadRequest(f"--oom-score-adj {wanted}: without root it can't be less than one's own, {own}")


def _refuse_ulimit(limit):
    import resource

    number = getattr(resource, f"RLIMIT_{limit['Name'].upper()}", None)
    if number is None:
        return
    hard = resource.getrlimit(number)[1]
    wanted = limit.get("Hard", 0)
    if hard != resource.RLIM_INFINITY and (wanted == -1 or wanted > hard):
        raise BadRequest(f"--ulimit {limit['Name']}={wanted}: without root it can't be more than one's own hard limit, {hard}")
