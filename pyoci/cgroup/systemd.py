"""The systemd driver's names and numbers: which scope a container gets, where its cgroups lie, which properties its limits are.

Pure.  unit.py talks to systemd.  systemd makes the scope and keeps its properties; all limits are written to the files afterwards, as
without it, since it has no property for some.  A limit that it isn't told it would overwrite with its own idea sooner or later.

Sources: systemd.resource-control(5), systemd.slice(5), systemd.scope(5); config-linux.md#cgroups-path.
"""

from pyoci.cgroup.gvariant import parse, quoted
from pyoci.cgroup.layout import UNIFIED
from pyoci.cgroup.limits import (
    ANY, EVERYTHING, access_text, device_of, device_rules, io_weight, pids_limit, positive, shares_unless_idle, signed, swap_checked, weight_checked,
)  # fmt: skip
from pyoci.errors import ConfigError
from pyoci.spec.decode import encode
from pyoci.spec.read import number, section, sections, string, string_map

CLAUSE = "config-linux.md#cgroups-path"
UNLIMITED = 2**64 - 1
DEFAULT_PERIOD_US = 100000
# systemd keeps a quota as microseconds a second, in steps of 10 ms.
QUOTA_STEP_US = 10000
_NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@")
NAME_BYTES = 255
HIGHEST_CPU = 8191
PREFIX = "pyoci"

ANNOTATION = "org.systemd.property."
# What makes the scope the container's: not for annotations to change.
OWN_PROPERTIES = frozenset(("Description", "Slice", "PIDs", "PIDFDs", "Delegate", "Scope"))
# What a property without a wish holds, for an update that is taken back.
DEFAULTS = {
    "MemoryLow": "uint64 0", "MemoryMin": "uint64 0", "AllowedCPUs": "@ay []", "AllowedMemoryNodes": "@ay []",
}  # fmt: skip


class Manager:
    """A systemd that makes scopes.

    bus       path of the socket of its bus, or of its own
    is_user   a user's own manager
    cgroups   controller -> the manager's own cgroup, "" for the root; `UNIFIED` alone on v2
    drivers   {("c", 136): "pts"} of /proc/devices, on v1
    """

    __slots__ = ("bus", "is_user", "cgroups", "drivers")

    def __init__(self, bus, is_user, cgroups, drivers=()):
        self.bus = bus
        self.is_user = is_user
        self.cgroups = cgroups
        self.drivers = dict(drivers)


def scope_of(cgroups_path, container_id, is_user):
    """(slice, unit) for `slice:prefix:name`; the slice has its default where it is empty.  Raises ConfigError."""
    words = cgroups_path.split(":") if cgroups_path else ["", PREFIX, container_id]
    if len(words) != 3:
        problem = f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got {quoted(cgroups_path)} instead'
        raise ConfigError("linux.cgroupsPath", problem, CLAUSE, "without --systemd-cgroup it is a path")
    slice_, prefix, name = words
    if name.endswith(".slice"):
        raise ConfigError("linux.cgroupsPath", f"{name!r} is a slice, which holds no processes of its own", CLAUSE)
    unit = f"{prefix}-{name}.scope"
    if not name or not _NAME_LETTERS.issuperset(unit) or len(unit) > NAME_BYTES:
        problem = f"{unit[:300]!r} can't name a unit: letters, digits and :-_.\\@, up to {NAME_BYTES} of them"
        raise ConfigError("linux.cgroupsPath", problem, CLAUSE)
    slice_ = slice_ or ("user.slice" if is_user else "system.slice")
    if slice_ == "-":
        slice_ = "-.slice"
    expand(slice_)
    return slice_, unit


def expand(slice_):
    """Where a slice's cgroup lies below its manager's: `/a.slice/a-b.slice` for `a-b.slice`, "" for `-.slice`.  Raises ConfigError."""
    stem, suffix = slice_[:-6], slice_[-6:]
    if slice_ == "-.slice":
        return ""
    names = stem.split("-")
    if suffix != ".slice" or not all(names) or not _NAME_LETTERS.issuperset(stem) or len(slice_) > NAME_BYTES:
        raise ConfigError("linux.cgroupsPath", f"invalid slice name: {slice_[:300]!r}", CLAUSE)
    return "".join(f"/{'-'.join(names[: count + 1])}.slice" for count in range(len(names)))


def directories(layout, manager, slice_, unit):
    """The scope's cgroups, controller -> absolute directory, as layout.directories() gives them without systemd."""
    inner = f"{expand(slice_)}/{unit}"
    if layout.version == 2:
        return {UNIFIED: layout.mounts[UNIFIED][0] + manager.cgroups.get(UNIFIED, "") + inner}
    return {
        name: layout.mounts[name][0] + manager.cgroups.get(name, "") + inner
        for name in layout.own
        if "=" not in name or name == "name=systemd"
    }


def base_of(own):
    """The cgroup of the manager whose first process has the cgroup `own`: without init.scope, "" for the root."""
    return own.removesuffix("/init.scope").rstrip("/")


# --- properties: `Name=VALUE`, the value as gvariant.py has it


def properties(resources, version):
    """The limits of `linux.resources` that systemd has a property for, in its units; those of `unified` win, as in the files.

    Raises ConfigError for what limits.writes() refuses too.
    """
    found = {}
    _memory(resources, version, found)
    _cpu(resources, version, found)
    limit = pids_limit(resources)
    if limit:
        found["TasksMax"] = _uint64(limit)
    _block_io(resources, version, found)
    if version == 2:
        _unified(resources, found)
    return [f"{name}={value}" for name, value in found.items()]


def _memory(resources, version, found):
    memory = section(resources, "memory", "linux.resources.memory")
    limit = signed(memory, "limit", "linux.resources.memory.limit")
    if limit:
        found["MemoryMax" if version == 2 else "MemoryLimit"] = _uint64(limit)
    if version == 1:
        return
    reservation = signed(memory, "reservation", "linux.resources.memory.reservation")
    if reservation:
        found["MemoryLow"] = _uint64(reservation)
    swap = swap_checked(limit, signed(memory, "swap", "linux.resources.memory.swap"))
    if swap:
        found["MemorySwapMax"] = _uint64(-1 if swap == -1 else swap - limit)


def _cpu(resources, version, found):
    cpu = section(resources, "cpu", "linux.resources.cpu")
    shares = shares_unless_idle(cpu)
    if shares and version == 2:
        from pyoci.cgroup.v2 import cpu_weight  # loaded by limits.writes() before

        found["CPUWeight"] = _uint64(cpu_weight(shares))
    elif shares:
        found["CPUShares"] = _uint64(shares)
    quota = number(cpu, "quota", "linux.resources.cpu.quota")
    period = positive(cpu, "period", "linux.resources.cpu.period")
    if quota or period:
        _quota(found, quota or -1, period)
    for name, wish in (("AllowedCPUs", "cpus"), ("AllowedMemoryNodes", "mems")):
        mask = bit_mask(string(cpu, wish, f"linux.resources.cpu.{wish}"))
        if mask and version == 2:
            found[name] = mask


def _quota(found, quota_us, period_us):
    if period_us:
        found["CPUQuotaPeriodUSec"] = _uint64(period_us)
    found["CPUQuotaPerSecUSec"] = _uint64(-1 if quota_us < 0 else _per_second_us(quota_us, period_us))


def _per_second_us(quota_us, period_us):
    """Rounded up to what systemd keeps."""
    exact = -(-quota_us * 1000000 // (period_us or DEFAULT_PERIOD_US))
    return -(-exact // QUOTA_STEP_US) * QUOTA_STEP_US


def rounded(resources):
    """The resources with the CPU quota that systemd will write on its next occasion (a daemon-reload): it is to be the same before."""
    cpu = section(resources, "cpu", "linux.resources.cpu")
    quota = number(cpu, "quota", "linux.resources.cpu.quota")
    if not quota or quota < 0:
        return resources
    period = positive(cpu, "period", "linux.resources.cpu.period")
    wide = _per_second_us(quota, period) * (period or DEFAULT_PERIOD_US) // 1000000
    return {**resources, "cpu": {**cpu, "quota": wide}}


def _block_io(resources, version, found):
    block_io = section(resources, "blockIO", "linux.resources.blockIO")
    kind = "IO" if version == 2 else "BlockIO"
    weight = weight_checked(block_io, "weight", "linux.resources.blockIO.weight")
    if weight:
        found[f"{kind}Weight"] = _uint64(io_weight(str(weight)) if version == 2 else weight)
    for member, name in (
        ("throttleReadBpsDevice", f"{kind}ReadBandwidth"), ("throttleWriteBpsDevice", f"{kind}WriteBandwidth"),
        ("throttleReadIOPSDevice", "IOReadIOPS"), ("throttleWriteIOPSDevice", "IOWriteIOPS"),
    ):  # fmt: skip
        rates = []
        for index, entry in enumerate(sections(block_io, member, f"linux.resources.blockIO.{member}")):
            path = f"linux.resources.blockIO.{member}[{index}]"
            rate = positive(entry, "rate", f"{path}.rate")
            rates.append(f"('/dev/block/{device_of(entry, path)}', {UNLIMITED if rate is None else rate})")
        if rates and (version == 2 or kind in name):
            found[f"{name}Max" if version == 2 else name] = f"@a(st) [{', '.join(rates)}]"


def device_properties(resources, drivers):
    """v1: the list of devices, as far as systemd can say it.  It puts a process whose unit has no such wish into the cgroup above,
    some time later, where every device is open; so a scope always has one.

    A driver's devices are named by the driver; of a number that nothing drives, and of a minor number of any driver, nothing is said.
    """
    from pyoci.cgroup.v1 import exception_list  # loaded by limits.writes() before

    default_allow, exceptions = exception_list(device_rules(resources))
    if default_allow:
        exceptions = dict.fromkeys((("c", ANY, ANY), ("b", ANY, ANY)), EVERYTHING)
    entries = []
    for (kind, major, minor), access in exceptions.items():
        folder = "char" if kind == "c" else "block"
        if major == minor == ANY:
            entries.append((f"{folder}-*", access))
        elif minor != ANY and major != ANY:
            entries.append((f"/dev/{folder}/{major}:{minor}", access))
        elif (kind, major) in drivers:
            entries.append((f"{folder}-{drivers[kind, major]}", access))
    text = ", ".join(f"({quoted(path)}, '{access_text(access)}')" for path, access in entries)
    return ["DevicePolicy='strict'", f"DeviceAllow=@a(ss) [{text}]"]


_UNIFIED = {
    "memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax", "cpu.weight": "CPUWeight",
}  # fmt: skip


def _unified(resources, found):
    """What a property can say; anything else, and any other spelling, is the file's alone."""
    for key, text in string_map(resources, "unified", "linux.resources.unified").items():
        text = text.strip()
        if key in _UNIFIED and _is_number(text):
            found[_UNIFIED[key]] = _uint64(text)
        elif key in ("cpuset.cpus", "cpuset.mems"):
            mask = bit_mask(text)
            if mask:
                found["AllowedCPUs" if key == "cpuset.cpus" else "AllowedMemoryNodes"] = mask
        elif key == "cpu.max":
            words = text.split()
            if 1 <= len(words) <= 2 and all(map(_is_number, words)) and words[-1] not in ("0", "max"[len(words) < 2 :]):
                _quota(found, -1 if words[0] == "max" else int(words[0]), int(words[1]) if len(words) == 2 else None)


def _is_number(text):
    return text == "max" or text.isascii() and text.isdigit() and len(text) < 20


def _uint64(value):
    return f"uint64 {UNLIMITED if value in (-1, 'max') else value}"


def bit_mask(cpu_list):
    """`0-2,9` as `@ay [7, 2]`, a bit a processor; "" for an empty list, and for one that is not so simple."""
    mask = 0
    for part in cpu_list.strip().split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not all(word.isascii() and word.isdigit() and len(word) < 5 for word in (first, last)):
            return ""
        if not int(first) <= int(last) <= HIGHEST_CPU:
            return ""
        mask |= (2 << int(last)) - (1 << int(first))
    return f"@ay {list(mask.to_bytes((mask.bit_length() + 7) // 8, 'little'))}"


# --- properties that annotations name


def annotated(annotations):
    """The properties of `org.systemd.property.NAME` annotations.  Raises ConfigError for a bad name or value.

    A name that ends in Sec is of a time in seconds, which systemd takes in microseconds as ...USec.
    """
    found = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        path = f"annotations[{encode(key)}]"
        name = key[len(ANNOTATION) :]
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise ConfigError(path, f"{name!r} is no name of a property", hint="letters only, three at least")
        if name in OWN_PROPERTIES:
            raise ConfigError(path, f"{name} is the runtime's own to set")
        try:
            signature, value = parse(text)
        except ValueError as error:
            raise ConfigError(path, f"{quoted(text[:80])} is no value: {error}", hint="as in uint64 5, 'text', true, @as []") from None
        if name.endswith("Sec") and not name.endswith("USec"):
            name, text = f"{name[:-3]}USec", _microseconds(path, signature, value)
        found.append(f"{name}={text}")
    return found


def _microseconds(path, signature, value):
    if signature not in ("d", "n", "q", "i", "u", "x", "t", "y"):
        raise ConfigError(path, "a time in seconds is a number")
    if not 0 <= value < 2**44:
        raise ConfigError(path, f"{value} is not a time in seconds")
    return f"uint64 {int(value * 1000000)}"


def merged(lines, later):
    """The lines of both, of two with one name the later."""
    found = dict(line.split("=", 1) for line in [*lines, *later])
    return [f"{name}={value}" for name, value in found.items()]


def typed(lines):
    """[(name, (signature, value))] of `Name=VALUE` lines, as D-Bus takes them."""
    found = []
    for line in lines:
        name, _, text = line.partition("=")
        found.append((name, parse(text)))
    return found


def taken_back(new, old):
    """The lines that undo `new` where `old` was before: the old value, or what a property holds that nobody set."""
    before = dict(line.split("=", 1) for line in old)
    names = [line.partition("=")[0] for line in new]
    return [f"{name}={before.get(name) or DEFAULTS.get(name) or _uint64(-1)}" for name in names if name in before or "IO" not in name]
