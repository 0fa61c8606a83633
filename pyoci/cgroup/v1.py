"""linux.resources on cgroup v1: the files, their order, and devices as an exception list.

Sources: config-linux.md; the kernel's cgroup-v1/memory.rst, devices.rst, blkio-controller.rst, scheduler/sched-bwc.rst.
"""

from pyoci.cgroup.limits import (
    AFTER, ANY, BEFORE, EVERYTHING, READ, ROOT, WRITE, Write, access_text, burst_us, device_of, device_range, device_rules,
    devices_origin, hugepage_limits, idle_flag, need, pids_limit, positive, rdma_lines, rule_text, shares_unless_idle,
    signed, swap_checked, weight_checked,
)  # fmt: skip
from pyoci.errors import ConfigError, UnsupportedConfig
from pyoci.spec.read import boolean, number, section, sections, string

MIN_SHARES, MAX_SHARES = 2, 262144
_EVERY_DEVICE = ("a", ANY, ANY, EVERYTHING)


def writes(resources, controllers, fresh):
    """The `Write`s in the order of the kernel's needs. Raises ConfigError, UnsupportedConfig."""
    found = _Found(controllers)
    _devices(resources, found)
    _cpuset(resources, found)
    _cpu(resources, found)
    _memory(resources, found, fresh)
    _pids(resources, found)
    _block_io(resources, found)
    _hugepages(resources, found)
    _network(resources, found)
    _rdma(resources, found)
    if resources.get("unified"):
        raise UnsupportedConfig(f"{ROOT}.unified", "cannot use unified on a cgroup v1 host", "config-linux.md#unified")
    return found.writes


class _Found:
    """The list as it grows; a controller that the host lacks is refused when something is wished of it."""

    __slots__ = ("controllers", "writes")

    def __init__(self, controllers):
        self.controllers = controllers
        self.writes = []

    def add(self, controller, file, values, origin, phase=AFTER, optional=False):
        need(self.controllers, controller, origin)
        self.writes.append(Write(phase, controller, file, values, origin, optional))


def _cpuset(resources, found):
    cpu = section(resources, "cpu", "linux.resources.cpu")
    cpus = string(cpu, "cpus", "linux.resources.cpu.cpus")
    mems = string(cpu, "mems", "linux.resources.cpu.mems")
    if cpus:
        found.add("cpuset", "cpuset.cpus", [cpus], f"{ROOT}.cpu.cpus", BEFORE)
    if mems:
        found.add("cpuset", "cpuset.mems", [mems], f"{ROOT}.cpu.mems", BEFORE)


def _cpu(resources, found):
    cpu = section(resources, "cpu", "linux.resources.cpu")
    idle = idle_flag(cpu)
    shares = shares_unless_idle(cpu)
    period = positive(cpu, "period", "linux.resources.cpu.period")
    quota = number(cpu, "quota", "linux.resources.cpu.quota")
    burst = burst_us(cpu)
    rt_period = positive(cpu, "realtimePeriod", "linux.resources.cpu.realtimePeriod")
    rt_runtime = number(cpu, "realtimeRuntime", "linux.resources.cpu.realtimeRuntime")
    if shares is not None and not MIN_SHARES <= shares <= MAX_SHARES:
        bound = f"minimum allowed cpu-shares is {MIN_SHARES}" if shares < MIN_SHARES else f"maximum allowed cpu-shares is {MAX_SHARES}"
        raise ConfigError(f"{ROOT}.cpu.shares", f"the {bound}", "config-linux.md#cpu")
    if rt_period:
        found.add("cpu", "cpu.rt_period_us", [str(rt_period)], f"{ROOT}.cpu.realtimePeriod", BEFORE)
    if rt_runtime:
        found.add("cpu", "cpu.rt_runtime_us", [str(rt_runtime)], f"{ROOT}.cpu.realtimeRuntime", BEFORE)
    if idle is not None:
        found.add("cpu", "cpu.idle", [str(idle)], f"{ROOT}.cpu.idle")
    if shares:
        found.add("cpu", "cpu.shares", [str(shares)], f"{ROOT}.cpu.shares")
    if period:
        found.add("cpu", "cpu.cfs_period_us", [str(period)], f"{ROOT}.cpu.period")
    if quota:
        found.add("cpu", "cpu.cfs_quota_us", [str(max(quota, -1))], f"{ROOT}.cpu.quota")
    if burst is not None:
        found.add("cpu", "cpu.cfs_burst_us", [str(burst)], f"{ROOT}.cpu.burst")


def _memory(resources, found, fresh):
    memory = section(resources, "memory", "linux.resources.memory")
    limit = signed(memory, "limit", "linux.resources.memory.limit")
    asked_swap = signed(memory, "swap", "linux.resources.memory.swap")
    swap = swap_checked(limit, asked_swap)
    reservation = signed(memory, "reservation", "linux.resources.memory.reservation")
    swappiness = number(memory, "swappiness", "linux.resources.memory.swappiness", -1)
    no_killer = boolean(memory, "disableOOMKiller", "linux.resources.memory.disableOOMKiller", None)
    if limit:
        found.add("memory", "memory.limit_in_bytes", [str(limit)], f"{ROOT}.memory.limit")
    if swap:
        # "No limit" on a kernel that does not account for swap is what it does anyway.
        found.add("memory", "memory.memsw.limit_in_bytes", [str(swap)], f"{ROOT}.memory.swap", optional=swap == -1)
    if reservation:
        found.add("memory", "memory.soft_limit_in_bytes", [str(reservation)], f"{ROOT}.memory.reservation")
    if no_killer or no_killer is False and not fresh:
        found.add("memory", "memory.oom_control", ["1" if no_killer else "0"], f"{ROOT}.memory.disableOOMKiller")
    if swappiness != -1:
        if not 0 <= swappiness <= 100:
            problem = f"invalid memory swappiness value: {swappiness} (valid range is 0-100)"
            raise ConfigError(f"{ROOT}.memory.swappiness", problem, "config-linux.md#memory")
        found.add("memory", "memory.swappiness", [str(swappiness)], f"{ROOT}.memory.swappiness")


def _pids(resources, found):
    limit = pids_limit(resources)
    if limit:
        found.add("pids", "pids.max", [limit], f"{ROOT}.pids.limit")


def _block_io(resources, found):
    block_io = section(resources, "blockIO", "linux.resources.blockIO")
    weight = weight_checked(block_io, "weight", "linux.resources.blockIO.weight")
    leaf_weight = weight_checked(block_io, "leafWeight", "linux.resources.blockIO.leafWeight")
    if weight:
        found.add("blkio", "blkio.weight", [str(weight)], f"{ROOT}.blockIO.weight")
    if leaf_weight:
        found.add("blkio", "blkio.leaf_weight", [str(leaf_weight)], f"{ROOT}.blockIO.leafWeight")
    for index, entry in enumerate(sections(block_io, "weightDevice", "linux.resources.blockIO.weightDevice")):
        path = f"{ROOT}.blockIO.weightDevice[{index}]"
        for name, file in (("weight", "blkio.weight_device"), ("leafWeight", "blkio.leaf_weight_device")):
            weight = weight_checked(entry, name, f"{path}.{name}")
            if weight:
                found.add("blkio", file, [f"{device_of(entry, path)} {weight}"], f"{path}.{name}")
    for name, file in (
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"), ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"), ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ):  # fmt: skip
        for index, entry in enumerate(sections(block_io, name, f"{ROOT}.blockIO.{name}")):
            path = f"{ROOT}.blockIO.{name}[{index}]"
            rate = positive(entry, "rate", f"{path}.rate") or 0
            found.add("blkio", file, [f"{device_of(entry, path)} {rate}"], path)


def _hugepages(resources, found):
    for size, limit, path in hugepage_limits(resources):
        found.add("hugetlb", f"hugetlb.{size}.limit_in_bytes", [limit], path)
        found.add("hugetlb", f"hugetlb.{size}.rsvd.limit_in_bytes", [limit], path, optional=True)


def _network(resources, found):
    network = section(resources, "network", "linux.resources.network")
    class_id = positive(network, "classID", "linux.resources.network.classID")
    if class_id:
        found.add("net_cls", "net_cls.classid", [str(class_id)], f"{ROOT}.network.classID")
    for index, entry in enumerate(sections(network, "priorities", "linux.resources.network.priorities")):
        path = f"{ROOT}.network.priorities[{index}]"
        name = string(entry, "name", f"{path}.name")
        priority = number(entry, "priority", f"{path}.priority", 0)
        found.add("net_prio", "net_prio.ifpriomap", [f"{name} {priority}"], path)


def _rdma(resources, found):
    for line, path in rdma_lines(resources):
        found.add("rdma", "rdma.max", [line], path)


# --- devices


def _devices(resources, found):
    origin = devices_origin(resources)
    default_allow, exceptions = exception_list(device_rules(resources))
    opening, listed = ("devices.allow", "devices.deny") if default_allow else ("devices.deny", "devices.allow")
    found.add("devices", opening, ["a"], origin)
    if exceptions:
        found.add("devices", listed, [exception_text(key, access) for key, access in exceptions.items()], origin)


def exception_text(key, access):
    """A line for devices.allow or devices.deny: `c 1:3 rwm`."""
    kind, major, minor = key
    return f"{kind} {device_range(major, minor)} {access_text(access)}"


def exception_list(rules):
    """(default_allow, {(type, major, minor): access}): what v1 can hold, with the meaning of the ordered rules.

    The meaning: of each device and each kind of access the last rule that names it decides; nothing named is denied. The
    kernel keeps one default and a list of exceptions without an order, so a rule that agrees with the default clears the
    exceptions that it covers, and one that would cut a hole into a wider exception is refused (UnsupportedConfig).
    When asked, the kernel grants an access only if a single exception has all of it, hence _complete().
    """
    default_allow, exceptions = False, {}
    last = max((index for index, rule in enumerate(rules) if rule[1:] == _EVERY_DEVICE), default=-1)
    if last >= 0:
        default_allow = rules[last][0]
    for rule in rules[last + 1 :]:
        allow, kind, major, minor, access = rule
        for one in ("b", "c") if kind == "a" else (kind,):
            key = (one, major, minor)
            if allow != default_allow:
                exceptions[key] = exceptions.get(key, 0) | access
            else:
                _take_away(exceptions, key, rule)
    return default_allow, _without_covered(exceptions if default_allow else _complete(exceptions))


def _take_away(exceptions, key, rule):
    access = rule[-1]
    for other in list(exceptions):
        if not exceptions[other] & access or not _overlap(other, key):
            continue
        if not _covers(key, other):
            held = exception_text(other, exceptions[other])
            raise UnsupportedConfig(f"{ROOT}.devices", f'"{rule_text(rule)}" is an exception to "{held}" before it, which cgroup v1 can\'t hold')
        exceptions[other] &= ~access
        if not exceptions[other]:
            del exceptions[other]


def _complete(exceptions):
    """Reading and writing are asked for together, so an exception gets what wider or crossing ones add to it."""
    complete = dict(exceptions)
    wide = [key for key in _wide(exceptions) if exceptions[key] & (READ | WRITE)]  # the others have nothing to add
    queue = list(exceptions)
    for key in queue:
        for other in list(complete) if key in wide else wide:
            if key == other or not _overlap(key, other):
                continue
            meet = (key[0], max(key[1], other[1]), max(key[2], other[2]))
            both = (complete[key] | complete[other]) & (READ | WRITE)
            if both & ~complete[key] and both & ~complete[other] and meet not in complete:
                complete[meet] = both
                queue.append(meet)
            elif _covers(other, key):
                complete[key] |= complete[other] & (READ | WRITE)
    return complete


def _without_covered(exceptions):
    wide = [(key, exceptions[key]) for key in _wide(exceptions)]
    return {
        key: access
        for key, access in exceptions.items()
        if not any([not access & ~held and other != key and _covers(other, key) for other, held in wide])
    }


def _wide(exceptions):
    """Those of several devices, which alone can cover or cross another; most rules name one device."""
    return [key for key in exceptions if ANY in key]


def _covers(wide, narrow):
    return wide[0] == narrow[0] and wide[1] in (ANY, narrow[1]) and wide[2] in (ANY, narrow[2])


def _overlap(one, other):
    if one[0] != other[0]:
        return False
    return (one[1] == other[1] or ANY in (one[1], other[1])) and (one[2] == other[2] or ANY in (one[2], other[2]))
