"""Limits: HostConfig's resources as linux.resources and process.rlimits.  Pure.

Source: Engine API v1.44 Resources; docker-run(1), runtime constraints; config-linux.md#control-groups.
"""

from pyoci.minidocker.errors import BadRequest

# What every container may use, beside making nodes of any kind: null, zero, full, random, urandom, tty, console, ptmx, pts, tun.
DEFAULT_DEVICES = (
    ("c", None, None, "m"), ("b", None, None, "m"), ("c", 1, 3, "rwm"), ("c", 1, 5, "rwm"), ("c", 1, 7, "rwm"), ("c", 1, 8, "rwm"), ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"), ("c", 5, 1, "rwm"), ("c", 5, 2, "rwm"), ("c", 136, None, "rwm"), ("c", 10, 200, "rwm"),
)  # fmt: skip
CPU_PERIOD_US = 100_000


def resources(host, facts):
    """linux.resources; only what was asked for, and the devices."""
    made = {"devices": device_rules(host, facts)}
    for name, part in (("memory", memory(host)), ("cpu", cpu(host)), ("pids", pids(host)), ("blockIO", block_io(host, facts.numbers))):
        if part:
            made[name] = part
    return made


def _present(pairs):
    return {name: value for name, value in pairs if value}


def memory(host):
    """linux.resources.memory."""
    limit, swap = host.get("Memory") or 0, host.get("MemorySwap") or 0
    if limit and not swap:
        swap = 2 * limit  # docker's rule: as much swap as memory
    made = _present((("limit", limit), ("reservation", host.get("MemoryReservation")), ("swap", swap), ("kernel", host.get("KernelMemory"))))
    if host.get("MemorySwappiness") is not None and host["MemorySwappiness"] >= 0:
        made["swappiness"] = host["MemorySwappiness"]
    if host.get("OomKillDisable"):
        made["disableOOMKiller"] = True
    return made


def cpu(host):
    """linux.resources.cpu; NanoCpus is a quota of docker's period."""
    made = _present(
        (
            ("shares", host.get("CpuShares")), ("quota", host.get("CpuQuota")), ("period", host.get("CpuPeriod")),
            ("realtimePeriod", host.get("CpuRealtimePeriod")), ("realtimeRuntime", host.get("CpuRealtimeRuntime")),
            ("cpus", host.get("CpusetCpus")), ("mems", host.get("CpusetMems")),
        )
    )  # fmt: skip
    if host.get("NanoCpus"):
        made["period"] = CPU_PERIOD_US
        made["quota"] = host["NanoCpus"] * CPU_PERIOD_US // 1_000_000_000
    return made


def pids(host):
    """linux.resources.pids; 0 and -1 mean no limit, which is said by saying nothing."""
    limit = host.get("PidsLimit") or 0
    return {"limit": limit} if limit > 0 else {}


def block_io(host, numbers):
    """linux.resources.blockIO."""
    made = _present((("weight", host.get("BlkioWeight")),))
    weights = [{**_numbers(one, numbers), "weight": one["Weight"]} for one in host.get("BlkioWeightDevice") or []]
    if weights:
        made["weightDevice"] = weights
    for ours, theirs in (
        ("throttleReadBpsDevice", "BlkioDeviceReadBps"), ("throttleWriteBpsDevice", "BlkioDeviceWriteBps"),
        ("throttleReadIOPSDevice", "BlkioDeviceReadIOps"), ("throttleWriteIOPSDevice", "BlkioDeviceWriteIOps"),
    ):  # fmt: skip
        rates = [{**_numbers(one, numbers), "rate": one["Rate"]} for one in host.get(theirs) or []]
        if rates:
            made[ours] = rates
    return made


def _numbers(one, numbers):
    major, minor = numbers[one["Path"]]
    return {"major": major, "minor": minor}


def device_rules(host, facts):
    """linux.resources.devices."""
    if host.get("Privileged"):
        return [{"allow": True, "access": "rwm"}]
    rules = [{"allow": False, "access": "rwm"}]
    for kind, major, minor, access in DEFAULT_DEVICES:
        rules.append(_rule(kind, major, minor, access))
    permissions = {device.get("PathInContainer"): device.get("CgroupPermissions") or "rwm" for device in host.get("Devices") or []}
    for device in facts.devices:
        access = next((permissions[path] for path in permissions if device["path"] == path or device["path"].startswith(f"{path}/")), "rwm")
        rules.append(_rule(device["type"], device["major"], device["minor"], access))
    rules += [parse_device_rule(text) for text in host.get("DeviceCgroupRules") or []]
    return rules


def _rule(kind, major, minor, access):
    rule = {"allow": True, "type": kind}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return {**rule, "access": access}


def parse_device_rule(text):
    """`c 42:* rmw` as a rule.  Raises BadRequest.  docker-run(1), --device-cgroup-rule"""
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    fits = len(numbers) == 2 and words[0] in ("a", "b", "c") and words[2] and not set(words[2]) - set("rwm") and len(set(words[2])) == len(words[2])
    if not fits or not all(number == "*" or (number.isascii() and number.isdigit() and len(number) < 10) for number in numbers):
        raise BadRequest(f"invalid device cgroup rule format: '{text}'")
    major, minor = (None if number == "*" else int(number) for number in numbers)
    return _rule(words[0], major, minor, words[2])


def rlimits(host):
    """process.rlimits."""
    made = []
    for limit in host.get("Ulimits") or []:
        soft, hard = limit.get("Soft", 0), limit.get("Hard", 0)
        made.append({"type": f"RLIMIT_{limit['Name'].upper()}", "soft": _unlimited(soft), "hard": _unlimited(hard)})
    return made


def _unlimited(value):
    return (1 << 64) - 1 if value == -1 else value
