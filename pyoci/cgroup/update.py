"""`update`: new resources over the old ones of a running container, all or nothing. Cold.

Sources: runtime-spec has no update; the rules are runc's: what is absent keeps its old value, per-device lists are
merged by device, `memory.limit` -1 without a swap lifts the swap limit too, an idle container has no shares, and a v2
container's device program is never touched (others may have attached theirs).
"""

from pyoci.cgroup.face import exists, is_v2, read_file, write_file
from pyoci.cgroup.layout import Layout
from pyoci.cgroup.limits import INSTEAD, Write, device_rules, write, writes
from pyoci.errors import ConfigError, PyociError, SyscallError, UnsupportedConfig

# The lists whose entries stand for one thing each, and what names it.
LIST_KEYS = {
    "weightDevice": ("major", "minor"),
    "throttleReadBpsDevice": ("major", "minor"),
    "throttleWriteBpsDevice": ("major", "minor"),
    "throttleReadIOPSDevice": ("major", "minor"),
    "throttleWriteIOPSDevice": ("major", "minor"),
    "hugepageLimits": ("pageSize",),
    "priorities": ("name",),
}
# Files with a line for each device, and what a device without a line has.
DEVICE_DEFAULTS = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "blkio.weight_device": "0",
    "blkio.bfq.weight_device": "0",
    "rdma.max": "hca_handle=max hca_object=max",
    "net_prio.ifpriomap": "0",
}


def update(directories, version, old_resources, new_resources, scope=None):
    """Apply `new_resources` and return the merged resources, to be stored as the container's.

    Only the parts of the config that `new_resources` has are written. On failure the files get back what they held, and
    the error is raised: ConfigError before any effect, else SyscallError, BusError or UnsupportedConfig.

    `scope`: (path of the bus, unit) where systemd keeps limits of its own, which are changed before the files.
    """
    merged = merge(old_resources, new_resources)
    touched = {name: merged[name] for name in new_resources if merged.get(name) is not None}
    if scope:
        from pyoci.cgroup.systemd import rounded

        if version == 1 and device_rules(old_resources) != device_rules(merged):
            problem = "on cgroup v1 the devices of a scope of systemd can't be changed"
            raise UnsupportedConfig("linux.resources.devices", problem, document="resources.json")
        touched = rounded(touched)
    layout = Layout(version, {}, {}, _controllers(directories))
    steps = [_Step(directories, one) for one in writes(touched, layout, fresh=False) if one.controller != "devices"]
    if version == 1 and "devices" in touched:
        steps += _device_steps(directories, old_resources, merged)
    elif version == 2 and "devices" in touched:
        merged["devices"] = old_resources.get("devices")
    if "memory" in touched:
        _check_usage(directories, merged["memory"])
    if scope:
        _with_properties(scope, version, old_resources, touched, lambda: _carry_out(directories, steps))
    else:
        _carry_out(directories, steps)
    return {name: value for name, value in merged.items() if value is not None}


def merge(old, new):
    """The resources after an update. Pure; null counts as absent."""
    merged = _merged(old, new)
    memory, new_memory = merged.get("memory"), new.get("memory") or {}
    if memory and new_memory.get("limit") == -1 and not new_memory.get("swap"):
        memory.pop("swap", None)
    cpu = merged.get("cpu")
    if cpu and (new.get("cpu") or {}).get("idle") == 1:
        cpu.pop("shares", None)
    return merged


def _merged(old, new):
    merged = dict(old)
    for name, value in new.items():
        if value is None:
            continue
        held = old.get(name)
        if isinstance(value, dict):
            merged[name] = _merged(held or {}, value)
        elif name in LIST_KEYS:
            merged[name] = _upserted(held or [], value, LIST_KEYS[name])
        else:
            merged[name] = value
    return merged


def _upserted(old, new, keys):
    entries = {}
    for entry in [*old, *new]:
        identity = tuple(entry.get(key) for key in keys)
        entries[identity] = {**entries.get(identity, {}), **entry}
    return list(entries.values())


def _controllers(directories):
    if is_v2(directories):
        return frozenset(read_file(f"{directories['']}/cgroup.controllers").split())
    return frozenset(name for name in directories if name and "=" not in name)


def _device_steps(directories, old_resources, merged):
    """v1: the differences between the two exception lists, so that no device is closed for a moment that stays open."""
    from pyoci.cgroup.v1 import exception_list, exception_text, writes as v1_writes

    directory = directories["devices"]
    old_default, old = exception_list(device_rules(old_resources))
    default, new = exception_list(device_rules(merged))
    if default != old_default:
        old_writes = v1_writes({"devices": old_resources.get("devices")}, {"devices"}, True)
        undo = [(f"{directory}/{one.file}", value) for one in old_writes for value in one.values]
        planned = v1_writes({"devices": merged["devices"]}, {"devices"}, True)
        return [_Step(directories, planned[0], undo), *(_Step(directories, one, []) for one in planned[1:])]
    listed, unlisted = ("devices.deny", "devices.allow") if default else ("devices.allow", "devices.deny")
    added = [exception_text(key, access & ~old.get(key, 0)) for key, access in new.items() if access & ~old.get(key, 0)]
    gone = [exception_text(key, access & ~new.get(key, 0)) for key, access in old.items() if access & ~new.get(key, 0)]
    steps = []
    for file, opposite, lines in ((listed, unlisted, added), (unlisted, listed, gone)):
        if lines:
            one = Write("after", "devices", file, lines, "linux.resources.devices")
            steps.append(_Step(directories, one, [(f"{directory}/{opposite}", line) for line in lines]))
    return steps


def _check_usage(directories, memory):
    """memory.checkBeforeUpdate on v2, where a limit below the usage would kill instead of fail; v1's kernel refuses itself."""
    if not is_v2(directories) or not memory.get("checkBeforeUpdate"):
        return
    usage = int(read_file(f"{directories['']}/memory.current"))
    swap, limit = memory.get("swap") or 0, memory.get("limit") or 0
    if 0 < swap <= usage:
        raise ConfigError("linux.resources.memory.swap", f"rejecting memory+swap limit {swap} <= usage {usage}")
    if 0 < limit <= usage:
        raise ConfigError("linux.resources.memory.limit", f"rejecting memory limit {limit} <= usage {usage}")


def _with_properties(scope, version, old_resources, touched, write_files):
    """The unit's properties, then the files, which have the last word; the properties are put back where the files fail."""
    from pyoci.cgroup.systemd import properties, taken_back
    from pyoci.cgroup.unit import change

    new = properties(touched, version)
    if not new:
        return write_files()
    change(*scope, new)
    try:
        write_files()
    except PyociError:
        change(*scope, taken_back(new, properties(old_resources, version)))
        raise


class _Step:
    """A write, and the (path, text) pairs that put back what the files hold now."""

    def __init__(self, directories, one, undo=None):
        self.one = one
        self.undo = _held(directories, one) if undo is None else undo


def _carry_out(directories, steps):
    done = []
    try:
        for step in steps:
            done.append(step)
            write(directories, step.one)
    except PyociError:
        _put_back([pair for step in reversed(done) for pair in step.undo])
        raise


def _held(directories, one):
    """[(path, text)] for a file with a value or with lines of devices; [] where there is no such file."""
    directory = directories[one.controller] if one.controller in directories else directories[""]
    file = one.file if exists(f"{directory}/{one.file}") else INSTEAD.get(one.file, one.file)
    path = f"{directory}/{file}"
    if not exists(path):
        return []
    text = read_file(path)
    return [(path, _line_to_restore(file, text, value)) for value in one.values]


def _line_to_restore(file, text, value):
    """What, written to the file, brings back the part of its content `text` that writing `value` changes."""
    device, blank, _ = value.partition(" ")
    if file in DEVICE_DEFAULTS and blank:
        lines = [line for line in text.splitlines() if line.startswith(device + " ")]
        return lines[0] if lines else f"{device} {DEVICE_DEFAULTS[file]}"
    if file in ("io.weight", "io.bfq.weight"):
        return text.split("\n", 1)[0].removeprefix("default ")
    if file == "memory.oom_control":
        return text.split()[1]
    return text.strip() or "\n"


def _put_back(pairs):
    """Write them, and once more those that failed: two files may check each other. The error that led here is the one to tell."""
    for _ in range(2):
        failed = []
        for path, text in pairs:
            try:
                write_file(path, text)
            except SyscallError:
                failed.append((path, text))
        pairs = failed
