"""linux.resources -> an ordered list of writes to cgroup files, and carrying one out.

`writes()` is pure: every value is converted and every refusal made before the first effect. v1.py and v2.py have the
conversions of their kernel interface; what both share (reading the config, device rules) is here.
Sources: config-linux.md#control-groups and below; the kernel's cgroup-v1/*.rst and cgroup-v2.rst.
"""

from errno import EBUSY, EINVAL, ENOENT

from pyoci.cgroup.face import exists, read_file, write_file, write_many
from pyoci.errors import ConfigError, SyscallError, UnsupportedConfig
from pyoci.spec.read import number, sections

ROOT = "linux.resources"
BEFORE = "before"  # must hold before the first process joins
AFTER = "after"
DEVICE_PROGRAM = "device_program"  # the file name that stands for v2's eBPF program; its values are rules as text

READ, WRITE, MKNOD = 1, 2, 4
EVERYTHING = READ | WRITE | MKNOD
ANY = -1
MAX_DEVICE_NUMBER = 2**32 - 1

# Appended after the user's rules: what every container has in /dev, and making any node (opening it is another question).
DEFAULT_RULES = (
    (True, "c", ANY, ANY, MKNOD), (True, "b", ANY, ANY, MKNOD), (True, "c", 1, 3, EVERYTHING), (True, "c", 1, 8, EVERYTHING),
    (True, "c", 1, 7, EVERYTHING), (True, "c", 5, 0, EVERYTHING), (True, "c", 1, 5, EVERYTHING), (True, "c", 1, 9, EVERYTHING),
    (True, "c", 136, ANY, EVERYTHING), (True, "c", 5, 2, EVERYTHING), (True, "c", 10, 200, EVERYTHING),
)  # fmt: skip

# A value that is refused (EINVAL) only because of its partner's present value: the partner is relaxed first. Where the config
# sets the partner too, its own write comes after.
RELAX_FIRST = {
    "memory.limit_in_bytes": ("memory.memsw.limit_in_bytes", "-1"),
    "cpu.cfs_period_us": ("cpu.cfs_quota_us", "-1"),
    "cpu.cfs_quota_us": ("cpu.cfs_burst_us", "0"),
    "cpu.max": ("cpu.max.burst", "0"),
    "cpu.rt_period_us": ("cpu.rt_runtime_us", "0"),
}
# What to write where the kernel or its I/O scheduler does not offer the first file.
INSTEAD = {
    "blkio.weight": "blkio.bfq.weight",
    "blkio.weight_device": "blkio.bfq.weight_device",
    "io.bfq.weight": "io.weight",
}


class Write:
    """One file of one cgroup, written line by line.

    phase       BEFORE or AFTER the first process joins
    controller  key of `directories` on v1; the controller's name on v2
    file        `pids.max`, or DEVICE_PROGRAM
    values      list of str, one write(2) each
    origin      the config path that asks for it, or "default"
    optional    a kernel without the file is fine
    """

    __slots__ = ("phase", "controller", "file", "values", "origin", "optional")

    def __init__(self, phase, controller, file, values, origin, optional=False):
        self.phase = phase
        self.controller = controller
        self.file = file
        self.values = values
        self.origin = origin
        self.optional = optional

    def __repr__(self):
        return f"Write({self.phase}, {self.controller}, {self.file}, {self.values}, {self.origin}, {self.optional})"


def writes(resources, layout, fresh=True):
    """The list of `Write` for `linux.resources`, BEFORE ones first. `fresh`: the cgroup is new, so defaults need no write.

    Raises ConfigError, and UnsupportedConfig for a wish that this host's controllers can't grant.
    """
    if layout.version == 2:
        from pyoci.cgroup.v2 import writes as convert
    else:
        from pyoci.cgroup.v1 import writes as convert
    found = convert(resources, layout.controllers, fresh)
    return [one for one in found if one.phase == BEFORE] + [one for one in found if one.phase == AFTER]


def write(directories, one):
    """Carry out one `Write`. Raises SyscallError, or UnsupportedConfig where the kernel has no such file."""
    directory = directories[one.controller] if one.controller in directories else directories[""]
    if one.file == DEVICE_PROGRAM:
        from pyoci.cgroup.devices import attach, device_program

        return attach(directory, device_program([rule_of(text) for text in one.values]))
    for value in one.values[write_many(f"{directory}/{one.file}", one.values) :]:
        _write_line(directory, one, value)


def _write_line(directory, one, value):
    path = f"{directory}/{one.file}"
    try:
        write_file(path, value)
    except SyscallError as error:
        if error.call == "open" and error.errno == ENOENT:
            _write_instead(directory, one, value, error)
        elif error.errno == EINVAL and one.file == "cpu.rt_runtime_us" and _lend_realtime(directory, value):
            write_file(path, value)
        elif error.errno == EINVAL and one.file in RELAX_FIRST:
            _relax_and_write(directory, path, RELAX_FIRST[one.file], value)
        else:
            raise _with_facts(error, path, value) from error


def _write_instead(directory, one, value, error):
    other = INSTEAD.get(one.file)
    if other and exists(f"{directory}/{other}"):
        return write_file(f"{directory}/{other}", io_weight(value) if other == "io.weight" else value)
    if one.optional:
        return None
    raise UnsupportedConfig(one.origin, f"{one.file} is not among the files of {directory}; {_why_missing(directory, one)}") from error


def _why_missing(directory, one):
    try:
        offered = read_file(f"{directory}/cgroup.controllers").split()
    except SyscallError:
        offered = [one.controller]
    if one.controller in offered:
        return "this kernel does not offer it"
    return f"the {one.controller} controller is not enabled there (a cgroup above has processes of its own, or does not delegate it)"


def _relax_and_write(directory, path, partner, value):
    """Raise or lower two files that check each other; the partner gets its old value back if that was not the reason."""
    partner_path = f"{directory}/{partner[0]}"
    try:
        old = read_file(partner_path).strip()
        write_file(partner_path, partner[1])
    except SyscallError:
        raise SyscallError("write", EINVAL, _named(path, value)) from None
    try:
        write_file(path, value)
    except SyscallError as error:
        write_file(partner_path, old)
        raise _with_facts(error, path, value) from error


def _lend_realtime(directory, runtime_us):
    """A v1 cgroup's realtime share comes out of its parent's, and a new parent has none: give those the same share.
    True if there were any."""
    period_us = int(read_file(f"{directory}/cpu.rt_period_us"))
    without = []
    path = directory.rpartition("/")[0]
    while exists(f"{path}/cpu.rt_runtime_us") and read_file(f"{path}/cpu.rt_runtime_us").strip() == "0":
        without.append(path)
        path = path.rpartition("/")[0]
    for path in reversed(without):
        share_us = -(-int(runtime_us) * int(read_file(f"{path}/cpu.rt_period_us")) // period_us)
        write_file(f"{path}/cpu.rt_runtime_us", str(share_us))
    return bool(without)


def _with_facts(error, path, value):
    """The error with the value that was refused, and for a v1 memory limit below the usage with both numbers."""
    directory, _, file = path.rpartition("/")
    if error.errno == EBUSY and file == "memory.limit_in_bytes":
        usage = read_file(f"{directory}/memory.usage_in_bytes").strip()
        peak = read_file(f"{directory}/memory.max_usage_in_bytes").strip()
        return SyscallError(
            f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})", error.errno, directory
        )
    return SyscallError(error.call, error.errno, _named(path, value))


def _named(path, value):
    return f'"{value}" to {path}'


# --- what both versions read alike


def positive(owner, name, path):
    """A number that 0 leaves unset (None then). A negative one is refused."""
    value = number(owner, name, path)
    if value is not None and value < 0:
        raise ConfigError(path, f"{value} is negative")
    return value or None


def signed(owner, name, path):
    """A number that 0 leaves unset and -1 lifts; less than -1 is refused."""
    value = number(owner, name, path)
    if value is not None and value < -1:
        raise ConfigError(path, f"{value} is below -1, which means unlimited")
    return value or None


def need(controllers, name, path):
    """Refuse a wish whose controller this host does not have."""
    if name not in controllers:
        raise UnsupportedConfig(path, f"this host has no {name} cgroup controller")


def swap_checked(limit, swap):
    """memory.swap as v1 means it (memory and swap together), checked against the limit; None when unset."""
    path = "linux.resources.memory.swap"
    if limit == -1 and swap is None:
        return -1
    if swap is None or swap == -1:
        return swap
    if limit is None or limit == -1:
        raise ConfigError(path, "unable to set swap limit without memory limit", "config-linux.md#memory")
    if swap < limit:
        raise ConfigError(path, "memory+swap limit should be >= memory limit", "config-linux.md#memory")
    return swap


def shares_unless_idle(cpu):
    """cpu.shares, or None when unset or the cgroup is to be idle (the kernel then refuses a weight)."""
    return None if cpu.get("idle") == 1 else positive(cpu, "shares", "linux.resources.cpu.shares")


def idle_flag(cpu):
    """cpu.idle, 0 or 1, or None when absent."""
    idle = number(cpu, "idle", "linux.resources.cpu.idle")
    if idle not in (None, 0, 1):
        raise ConfigError("linux.resources.cpu.idle", f"{idle} is not 0 or 1", "config-linux.md#cpu")
    return idle


def burst_us(cpu):
    """cpu.burst in microseconds, or None when absent; 0 is a wish too."""
    burst = number(cpu, "burst", "linux.resources.cpu.burst")
    if burst is not None and burst < 0:
        raise ConfigError("linux.resources.cpu.burst", f"{burst} is negative", "config-linux.md#cpu")
    return burst


def device_of(entry, path):
    """`major:minor` of a blockIO entry."""
    return f"{number(entry, 'major', path + '.major', 0)}:{number(entry, 'minor', path + '.minor', 0)}"


def hugepage_limits(resources):
    """[(page size, limit, config path)]; sizes as the kernel writes them: `64KB`, `2MB`, `1GB`."""
    found = []
    for index, entry in enumerate(sections(resources, "hugepageLimits", "linux.resources.hugepageLimits")):
        path = f"{ROOT}.hugepageLimits[{index}]"
        size = entry.get("pageSize")
        digits = size[:-2] if isinstance(size, str) else ""
        if not (digits.isdecimal() and digits.isascii() and digits[0] != "0" and size[-2:] in ("KB", "MB", "GB")):
            raise ConfigError(f"{path}.pageSize", f'"{size}" is not a size like "2MB"', "config-linux.md#huge-page-limits")
        limit = number(entry, "limit", f"{path}.limit")
        if limit is None or limit < 0:
            raise ConfigError(f"{path}.limit", "a limit in bytes is missing", "config-linux.md#huge-page-limits")
        found.append((size, str(limit), path))
    return found


def rdma_lines(resources):
    """[(`DEVICE hca_handle=N hca_object=N`, config path)]; what is missing is `max`."""
    found = []
    for device, limits in (resources.get("rdma") or {}).items():
        path = f"{ROOT}.rdma.{device}"
        handles = number(limits, "hcaHandles", f"{path}.hcaHandles")
        objects = number(limits, "hcaObjects", f"{path}.hcaObjects")
        if handles is None and objects is None:
            raise ConfigError(path, "needs hcaHandles or hcaObjects", "config-linux.md#rdma")
        if not device or any(letter.isspace() for letter in device):
            raise ConfigError(path, "is not the name of a device", "config-linux.md#rdma")
        found.append((f"{device} hca_handle={_or_max(handles)} hca_object={_or_max(objects)}", path))
    return found


def pids_limit(resources):
    """The text for pids.max, or None: negative is `max`, and 0, which would stop even the first process, is 1."""
    pids = resources.get("pids") or {}
    limit = number(pids, "limit", "linux.resources.pids.limit")
    if limit is None:
        return None
    return "max" if limit < 0 else str(limit or 1)


def io_weight(text):
    """A blkio weight, 10..1000, as io.weight, 1..10000; a device before it is kept."""
    device, blank, weight = text.rpartition(" ")
    return f"{device}{blank}{1 + (int(weight) - 10) * 9999 // 990}"


def weight_checked(owner, name, path):
    """A blkio weight of 10..1000, or None for 0 and absent."""
    weight = positive(owner, name, path)
    if weight is not None and not 10 <= weight <= 1000:
        raise ConfigError(path, f"{weight} is not from 10 to 1000", "config-linux.md#block-io")
    return weight


def _or_max(value):
    return "max" if value is None else str(value)


# --- device rules: (allow, "a" "b" or "c", major or ANY, minor or ANY, access bits)


def device_rules(resources):
    """The user's rules with the default ones after them. Raises ConfigError. config-linux.md#allowed-device-list"""
    entries = sections(resources, "devices", "linux.resources.devices")
    return [_rule(entry, f"{ROOT}.devices[{index}]") for index, entry in enumerate(entries)] + list(DEFAULT_RULES)


def devices_origin(resources):
    return f"{ROOT}.devices" if resources.get("devices") else "default"


def rule_text(rule):
    """`allow c 1:3 rwm`."""
    allow, kind, major, minor, access = rule
    return f"{'allow' if allow else 'deny'} {kind} {device_range(major, minor)} {access_text(access)}"


def rule_of(text):
    """The rule that rule_text() wrote."""
    verb, kind, device, access = text.split(" ")
    major, _, minor = device.partition(":")
    return (verb == "allow", kind, _device_number(major), _device_number(minor), _access_bits(access))


def device_range(major, minor):
    """`1:3`, with `*` for any."""
    return f"{'*' if major == ANY else major}:{'*' if minor == ANY else minor}"


def access_text(access):
    """`rwm`, in the kernel's order."""
    return ("", "r", "w", "rw", "m", "rm", "wm", "rwm")[access]


def _rule(entry, path):
    allow = entry.get("allow")
    if not isinstance(allow, bool):
        raise ConfigError(f"{path}.allow", "true or false is missing", "config-linux.md#allowed-device-list")
    kind = entry.get("type") or "a"
    if kind not in ("a", "b", "c"):
        raise ConfigError(f"{path}.type", f'"{kind}" is not "a", "b" or "c"', "config-linux.md#allowed-device-list")
    access = entry.get("access")
    if not access or not isinstance(access, str) or access.strip("rwm"):
        problem = f'"{access}" is not made of "r", "w" and "m"' if access else "is empty: device access field cannot be empty"
        raise ConfigError(f"{path}.access", problem, "config-linux.md#allowed-device-list")
    return (allow, kind, _major_or_minor(entry, "major", path), _major_or_minor(entry, "minor", path), _access_bits(access))


def _major_or_minor(entry, name, path):
    value = number(entry, name, f"{path}.{name}", ANY)
    if not ANY <= value <= MAX_DEVICE_NUMBER:
        raise ConfigError(f"{path}.{name}", f"{value} is not a device number", "config-linux.md#allowed-device-list")
    return value


def _device_number(text):
    return ANY if text == "*" else int(text)


def _access_bits(text):
    return (READ if "r" in text else 0) | (WRITE if "w" in text else 0) | (MKNOD if "m" in text else 0)
