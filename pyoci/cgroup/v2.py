"""linux.resources on cgroup v2: the files, their order and the conversions from v1's numbers.

Sources: config-linux.md; the kernel's cgroup-v2.rst. What v2 has no way to do is refused, not ignored; memory.kernel,
kernelTCP and useHierarchy, which nothing has honoured for years, are accepted and do nothing.
"""

from pyoci.cgroup.limits import (
    AFTER, BEFORE, DEVICE_PROGRAM, ROOT, Write, burst_us, device_of, device_rules, devices_origin, hugepage_limits, idle_flag,
    need, pids_limit, positive, rdma_lines, rule_text, shares_unless_idle, signed, swap_checked, weight_checked,
)  # fmt: skip
from pyoci.errors import ConfigError, UnsupportedConfig
from pyoci.spec.read import boolean, number, section, sections, string, string_map

DEFAULT_PERIOD_US = 100000


def writes(resources, controllers, fresh):
    """The `Write`s in the order of the kernel's needs; unified comes last and so wins. Raises ConfigError, UnsupportedConfig."""
    found = _Found(controllers)
    found.writes.append(
        Write(AFTER, "devices", DEVICE_PROGRAM, [rule_text(rule) for rule in device_rules(resources)], devices_origin(resources))
    )
    _cpu(resources, found)
    _memory(resources, found)
    _pids(resources, found)
    _block_io(resources, found)
    _hugepages(resources, found)
    _rdma(resources, found)
    _refuse_network(resources)
    _unified(resources, found)
    return found.writes


class _Found:
    """The list as it grows; a controller that the host lacks is refused when something is wished of it."""

    __slots__ = ("controllers", "writes")

    def __init__(self, controllers):
        self.controllers = controllers
        self.writes = []

    def add(self, file, values, origin, phase=AFTER, optional=False):
        controller = file.partition(".")[0]
        if not optional:
            need(self.controllers, controller, origin)
        self.writes.append(Write(phase, controller, file, values, origin, optional))


def cpu_weight(shares):
    """cpu.shares (2..262144, 1024 is usual) as cpu.weight (1..10000, 100 is usual): the quadratic curve through both."""
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2  # built in; needed by this one conversion

    exponent = log2(shares)
    return ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def _cpu(resources, found):
    cpu = section(resources, "cpu", "linux.resources.cpu")
    idle = idle_flag(cpu)
    shares = shares_unless_idle(cpu)
    period = positive(cpu, "period", "linux.resources.cpu.period")
    quota = number(cpu, "quota", "linux.resources.cpu.quota")
    burst = burst_us(cpu)
    cpus = string(cpu, "cpus", "linux.resources.cpu.cpus")
    mems = string(cpu, "mems", "linux.resources.cpu.mems")
    for name in ("realtimeRuntime", "realtimePeriod"):
        if number(cpu, name, f"{ROOT}.cpu.{name}"):
            raise UnsupportedConfig(f"{ROOT}.cpu.{name}", "cgroup v2 has no realtime limits", "config-linux.md#cpu")
    if cpus:
        found.add("cpuset.cpus", [cpus], f"{ROOT}.cpu.cpus", BEFORE)
    if mems:
        found.add("cpuset.mems", [mems], f"{ROOT}.cpu.mems", BEFORE)
    if idle is not None:
        found.add("cpu.idle", [str(idle)], f"{ROOT}.cpu.idle")
    if shares:
        found.add("cpu.weight", [str(cpu_weight(shares))], f"{ROOT}.cpu.shares")
    if quota or period:
        text = f"{quota if quota and quota > 0 else 'max'} {period or DEFAULT_PERIOD_US}"
        found.add("cpu.max", [text], f"{ROOT}.cpu.quota" if quota else f"{ROOT}.cpu.period")
    if burst is not None:
        found.add("cpu.max.burst", [str(burst)], f"{ROOT}.cpu.burst")


def _memory(resources, found):
    memory = section(resources, "memory", "linux.resources.memory")
    limit = signed(memory, "limit", "linux.resources.memory.limit")
    asked_swap = signed(memory, "swap", "linux.resources.memory.swap")
    swap = swap_checked(limit, asked_swap)
    reservation = signed(memory, "reservation", "linux.resources.memory.reservation")
    if number(memory, "swappiness", "linux.resources.memory.swappiness", -1) != -1:
        raise UnsupportedConfig(f"{ROOT}.memory.swappiness", "cannot set memory swappiness with cgroup v2", "config-linux.md#memory")
    if boolean(memory, "disableOOMKiller", "linux.resources.memory.disableOOMKiller"):
        raise UnsupportedConfig(f"{ROOT}.memory.disableOOMKiller", "cannot disable the OOM killer with cgroup v2", "config-linux.md#memory")
    if swap:
        text = "max" if swap == -1 else str(swap - limit)
        # Without swap there is nothing to lift or to forbid.
        found.add("memory.swap.max", [text], f"{ROOT}.memory.swap", optional=text in ("max", "0"))
    if limit:
        found.add("memory.max", [_or_max(limit)], f"{ROOT}.memory.limit")
    if reservation:
        found.add("memory.low", [_or_max(reservation)], f"{ROOT}.memory.reservation")


def _pids(resources, found):
    limit = pids_limit(resources)
    if limit:
        found.add("pids.max", [limit], f"{ROOT}.pids.limit")


def _block_io(resources, found):
    block_io = section(resources, "blockIO", "linux.resources.blockIO")
    weight = weight_checked(block_io, "weight", "linux.resources.blockIO.weight")
    if weight:
        found.add("io.bfq.weight", [str(weight)], f"{ROOT}.blockIO.weight")
    _refuse_leaf_weight(block_io, f"{ROOT}.blockIO.leafWeight")
    for index, entry in enumerate(sections(block_io, "weightDevice", "linux.resources.blockIO.weightDevice")):
        path = f"{ROOT}.blockIO.weightDevice[{index}]"
        _refuse_leaf_weight(entry, f"{path}.leafWeight")
        weight = weight_checked(entry, "weight", f"{path}.weight")
        if weight:
            found.add("io.bfq.weight", [f"{device_of(entry, path)} {weight}"], f"{path}.weight")
    for name, key in (
        ("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"), ("throttleWriteIOPSDevice", "wiops"),
    ):  # fmt: skip
        for index, entry in enumerate(sections(block_io, name, f"{ROOT}.blockIO.{name}")):
            path = f"{ROOT}.blockIO.{name}[{index}]"
            rate = positive(entry, "rate", f"{path}.rate")
            found.add("io.max", [f"{device_of(entry, path)} {key}={rate or 'max'}"], path)


def _refuse_leaf_weight(owner, path):
    if number(owner, "leafWeight", path):
        raise UnsupportedConfig(path, "cgroup v2 has no leaf weight", "config-linux.md#block-io")


def _hugepages(resources, found):
    for size, limit, path in hugepage_limits(resources):
        found.add(f"hugetlb.{size}.max", [limit], path)
        found.add(f"hugetlb.{size}.rsvd.max", [limit], path, optional=True)


def _rdma(resources, found):
    for line, path in rdma_lines(resources):
        found.add("rdma.max", [line], path)


def _refuse_network(resources):
    network = section(resources, "network", "linux.resources.network")
    for name in ("classID", "priorities"):
        if network.get(name):
            raise UnsupportedConfig(f"{ROOT}.network.{name}", "network limits not supported on cgroup v2", "config-linux.md#network")


def _unified(resources, found):
    for key, text in string_map(resources, "unified", "linux.resources.unified").items():
        path = f"{ROOT}.unified.{key}"
        controller, dot, _ = key.partition(".")
        if "/" in key or "\0" in key:
            raise ConfigError(path, f'"{key}" must be a file name (no slashes)', "config-linux.md#unified")
        if not dot:
            raise ConfigError(path, f'"{key}" must be in the form CONTROLLER.PARAMETER', "config-linux.md#unified")
        if controller != "cgroup" and controller not in found.controllers:
            raise UnsupportedConfig(path, f'controller "{controller}" not available', "config-linux.md#unified")
        found.writes.append(Write(AFTER, controller, key, text.splitlines() or [""], path))


def _or_max(value):
    return "max" if value == -1 else str(value)
