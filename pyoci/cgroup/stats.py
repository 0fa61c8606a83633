"""What a container has used: the `data` of an event as runc prints it, and the notice of an OOM kill. Cold.

Times are nanoseconds, sizes bytes. A member that is zero or empty is left out where runc leaves it out. Sources: the kernel's
cgroup-v1/memory.rst, cpuacct.rst, blkio-controller.rst, hugetlb.rst, cgroup-v2.rst, accounting/psi.rst.
"""

import os
import re
import select

from pyoci.cgroup.face import read_file
from pyoci.errors import SyscallError

UNLIMITED = 2**64 - 1
CPUSET_FLAGS = {
    "cpu_exclusive": "cpuset.cpu_exclusive",
    "mem_hardwall": "cpuset.mem_hardwall",
    "mem_exclusive": "cpuset.mem_exclusive",
    "memory_migrate": "cpuset.memory_migrate",
    "memory_spread_page": "cpuset.memory_spread_page",
    "memory_spread_slab": "cpuset.memory_spread_slab",
    "memory_pressure": "cpuset.memory_pressure",
    "sched_load_balance": "cpuset.sched_load_balance",
    "sched_relax_domain_level": "cpuset.sched_relax_domain_level",
}
# member of blkio: the files that may have it, best first (BFQ's, the old CFQ's, and what throttling counts).
BLKIO_FILES = {
    "ioServiceBytesRecursive": (
        "blkio.bfq.io_service_bytes_recursive", "blkio.io_service_bytes_recursive",
        "blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes",
    ),
    "ioServicedRecursive": (
        "blkio.bfq.io_serviced_recursive", "blkio.io_serviced_recursive",
        "blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced",
    ),
    "ioQueueRecursive": ("blkio.bfq.io_queued_recursive", "blkio.io_queued_recursive"),
    "ioServiceTimeRecursive": ("blkio.bfq.io_service_time_recursive", "blkio.io_service_time_recursive"),
    "ioWaitTimeRecursive": ("blkio.bfq.io_wait_time_recursive", "blkio.io_wait_time_recursive"),
    "ioMergedRecursive": ("blkio.bfq.io_merged_recursive", "blkio.io_merged_recursive"),
    "ioTimeRecursive": ("blkio.bfq.time_recursive", "blkio.time_recursive"),
    "sectorsRecursive": ("blkio.bfq.sectors_recursive", "blkio.sectors_recursive"),
}  # fmt: skip
IO_STAT_MEMBERS = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def stats(directories, version):
    """The `data` of a stats event. A file that this kernel does not have counts as zero. Raises SyscallError."""
    parts = _stats_v1(directories) if version == 1 else _stats_v2(directories[""])
    cpu, cpuset, memory, pids, blkio, hugetlb = parts
    return {
        "cpu": cpu,
        "cpuset": cpuset,
        "memory": memory,
        "pids": pids,
        "blkio": blkio,
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": None,
    }


# --- v1


def _stats_v1(directories):
    return (
        _cpu_v1(directories.get("cpuacct"), directories.get("cpu")),
        _cpuset_v1(directories.get("cpuset")),
        _memory_v1(directories.get("memory")),
        _pids(directories.get("pids")),
        _blkio_v1(directories.get("blkio")),
        _hugetlb(directories.get("hugetlb"), "usage_in_bytes", "max_usage_in_bytes"),
    )


def _cpu_v1(acct, cpu):
    tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
    ticks = _pairs(acct, "cpuacct.stat")
    rows = [line.split() for line in _text(acct, "cpuacct.usage_all").splitlines()[1:]]  # cpu user system
    throttled = _pairs(cpu, "cpu.stat")
    usage = _filled(
        total=_number(acct, "cpuacct.usage"),
        percpu=[int(word) for word in _text(acct, "cpuacct.usage_percpu").split()],
        percpu_kernel=[int(row[2]) for row in rows],
        percpu_user=[int(row[1]) for row in rows],
    )
    usage |= {"kernel": ticks.get("system", 0) * tick_ns, "user": ticks.get("user", 0) * tick_ns}
    return {"usage": usage, "throttling": _throttling(throttled, throttled.get("throttled_time", 0))}


def _throttling(stat, throttled_ns):
    return _filled(periods=stat.get("nr_periods", 0), throttledPeriods=stat.get("nr_throttled", 0), throttledTime=throttled_ns)


def _cpuset_v1(directory):
    lists = _filled(cpus=_ranges(_text(directory, "cpuset.cpus")), mems=_ranges(_text(directory, "cpuset.mems")))
    flags = {name: _number(directory, file) for name, file in CPUSET_FLAGS.items()}
    cpus = {"cpus": lists["cpus"]} if "cpus" in lists else {}
    mems = {"mems": lists["mems"]} if "mems" in lists else {}
    return {**cpus, "cpu_exclusive": flags.pop("cpu_exclusive"), **mems, **flags}


def _memory_v1(directory):
    raw = _pairs(directory, "memory.stat")
    memory = _filled(cache=raw.get("cache", 0))
    for member, prefix in (("usage", "memory"), ("swap", "memory.memsw"), ("kernel", "memory.kmem"), ("kernelTCP", "memory.kmem.tcp")):
        memory[member] = _memory_entry(
            limit=_number(directory, f"{prefix}.limit_in_bytes"),
            usage=_number(directory, f"{prefix}.usage_in_bytes"),
            peak=_number(directory, f"{prefix}.max_usage_in_bytes"),
            failcnt=_number(directory, f"{prefix}.failcnt"),
        )
    return memory | _filled(raw=raw)


def _memory_entry(limit, usage, peak=0, failcnt=0):
    return {"limit": limit, **_filled(usage=usage, max=peak), "failcnt": failcnt}


def _blkio_v1(directory):
    found = {}
    for member, files in BLKIO_FILES.items():
        entries = next(filter(None, (_blkio_entries(_text(directory, file)) for file in files)), None)
        if entries:
            found[member] = entries
    return found


def _blkio_entries(text):
    """Lines `8:0 Read 4096` or `8:0 4096`; the line `Total N` is of no device."""
    entries = []
    for line in text.splitlines():
        device, *rest = line.split()
        major, colon, minor = device.partition(":")
        if colon and rest:
            entries.append(_filled(major=int(major), minor=int(minor), op=rest[0] if rest[1:] else "", value=int(rest[-1])))
    return entries


# --- v2


def _stats_v2(directory):
    return (
        _cpu_v2(directory),
        dict.fromkeys(CPUSET_FLAGS, 0),
        _memory_v2(directory),
        _pids(directory),
        _blkio_v2(directory),
        _hugetlb(directory, "current", "max"),
    )


def _cpu_v2(directory):
    stat = _pairs(directory, "cpu.stat")
    usage = _filled(total=stat.get("usage_usec", 0) * 1000)
    usage |= {"kernel": stat.get("system_usec", 0) * 1000, "user": stat.get("user_usec", 0) * 1000}
    throttling = _throttling(stat, stat.get("throttled_usec", 0) * 1000)
    return {"usage": usage, "throttling": throttling} | _filled(psi=_pressure(directory, "cpu.pressure"))


def _memory_v2(directory):
    """`swap` is memory and swap together, as v1 counts it."""
    raw = _pairs(directory, "memory.stat")
    limit, usage = _limit(directory, "memory.max"), _number(directory, "memory.current")
    swap_limit = _limit(directory, "memory.swap.max")
    both_limit = swap_limit if UNLIMITED in (limit, swap_limit) else swap_limit + limit
    memory = _filled(cache=raw.get("file", 0))
    memory["usage"] = _memory_entry(limit, usage, _number(directory, "memory.peak"))
    memory["swap"] = _memory_entry(both_limit, usage + _number(directory, "memory.swap.current"))
    memory |= {"kernel": _memory_entry(0, 0), "kernelTCP": _memory_entry(0, 0)}
    return memory | _filled(raw=raw, psi=_pressure(directory, "memory.pressure"))


def _blkio_v2(directory):
    found = {}
    for line in _text(directory, "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in IO_STAT_MEMBERS:
                member, operation = IO_STAT_MEMBERS[key]
                found.setdefault(member, []).append(_filled(major=int(major), minor=int(minor), op=operation, value=int(value)))
    ordered = {member: found[member] for member in BLKIO_FILES if member in found}
    return ordered | _filled(psi=_pressure(directory, "io.pressure"))


def _pressure(directory, file):
    """{"some": {...}, "full": {...}}, or None on a kernel without pressure stall information."""
    found = {}
    for line in _text(directory, file).splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=") for pair in pairs)
        found[kind] = {name: float(values[name]) for name in ("avg10", "avg60", "avg300")} | {"total": int(values["total"])}
    if not found:
        return None
    nothing = {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0}
    return {kind: found.get(kind, nothing) for kind in ("some", "full")}


# --- both


def _pids(directory):
    return _filled(current=_number(directory, "pids.current"), limit=_limit(directory, "pids.max", unlimited=0))


def _hugetlb(directory, usage_file, peak_file):
    """size -> usage; the reservation's numbers where the kernel has them, as they are what fails first."""
    found = {}
    for name in os.listdir(directory) if directory else ():
        match = re.fullmatch(r"hugetlb\.(\d+[KMG]B)\." + usage_file, name)
        if match:
            size = match[1]
            kind = f"hugetlb.{size}.rsvd" if os.path.exists(f"{directory}/hugetlb.{size}.rsvd.{usage_file}") else f"hugetlb.{size}"
            v2 = usage_file == "current"
            failures = _pairs(directory, f"hugetlb.{size}.events").get("max", 0) if v2 else _number(directory, f"{kind}.failcnt")
            peak = 0 if v2 else _number(directory, f"{kind}.{peak_file}")
            found[size] = _filled(usage=_number(directory, f"{kind}.{usage_file}"), max=peak) | {"failcnt": failures}
    return dict(sorted(found.items()))


def _filled(**members):
    """The members that are neither zero nor empty."""
    return {name: value for name, value in members.items() if value}


def _text(directory, file):
    """A file's text; "" where the controller or the file does not exist here, or is switched off."""
    if not directory:
        return ""
    try:
        return read_file(f"{directory}/{file}")
    except SyscallError as error:
        if error.errno in (2, 19, 95) and os.path.exists(directory):  # ENOENT, ENODEV, EOPNOTSUPP
            return ""
        raise


def _number(directory, file):
    return int(_text(directory, file) or 0)


def _limit(directory, file, unlimited=UNLIMITED):
    text = _text(directory, file).strip()
    return unlimited if text == "max" else int(text or 0)


def _pairs(directory, file):
    """{name: number} of lines `name number`."""
    return {name: int(value) for name, value in (line.split() for line in _text(directory, file).splitlines())}


def _ranges(text):
    """[0, 1, 2, 5] for `0-2,5`."""
    found = []
    for part in text.strip().split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


# --- OOM notices


def open_oom(directories, version):
    """An open notice of OOM kills: fileno() turns readable, read() says how many there were, gone() whether it is over.

    Without a memory controller nothing is ever told but the end. Close it with close() or `with`. Raises SyscallError.
    """
    return _OomV1(directories) if version == 1 else _OomV2(directories[""])


class _Notice:
    def fileno(self):
        return self.fd

    def close(self):
        for fd in self.opened:
            os.close(fd)
        self.opened = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _OomV1(_Notice):
    """An eventfd that the kernel signals at each OOM and once when the cgroup is removed (cgroup-v1/memory.rst, 10)."""

    def __init__(self, directories):
        self.directory = directories.get("memory") or directories["devices"]
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.opened = [self.fd]
        if "memory" in directories:
            self._watch(self.directory)

    def _watch(self, directory):
        try:
            control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            self.opened.append(control)
            event_control = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            self.opened.append(event_control)
            os.write(event_control, f"{self.fd} {control}".encode())
        except OSError as error:
            self.close()
            raise SyscallError("watch memory.oom_control", error.errno, directory) from error

    def read(self):
        try:
            count = os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0
        return count - 1 if self.gone() else count

    def gone(self):
        return not os.path.exists(self.directory)


class _OomV2(_Notice):
    """An epoll of memory.events and cgroup.events, which the kernel marks with POLLPRI when they change (cgroup-v2.rst)."""

    def __init__(self, directory):
        self.directory = directory
        self.opened = []
        try:
            self.life = self._open("cgroup.events")
            self.events = self._open("memory.events") if os.path.exists(f"{directory}/memory.events") else None
        except OSError as error:
            self.close()
            raise SyscallError("watch cgroup.events", error.errno, directory) from error
        self.epoll = select.epoll()
        self.fd = self.epoll.fileno()
        self.killed = 0
        self.killed = self._kills()
        self._value(self.life, "populated")
        for fd in self.opened:
            self.epoll.register(fd, select.EPOLLPRI)

    def _open(self, file):
        self.opened.append(os.open(f"{self.directory}/{file}", os.O_RDONLY | os.O_CLOEXEC))
        return self.opened[-1]

    def close(self):
        super().close()
        if hasattr(self, "epoll"):
            self.epoll.close()

    def _value(self, fd, name):
        """A number of an open file, or None when the cgroup is gone. Reading also takes the mark off."""
        try:
            lines = os.pread(fd, 4096, 0).decode().splitlines()
        except OSError:
            return None
        return dict(line.split() for line in lines).get(name)

    def _kills(self):
        value = None if self.events is None else self._value(self.events, "oom_kill")
        return self.killed if value is None else int(value)

    def read(self):
        before, self.killed = self.killed, self._kills()
        self._value(self.life, "populated")
        return self.killed - before

    def gone(self):
        """Also true when its last process has ended: on v2 that is told, and nothing can be killed any more."""
        return self._value(self.life, "populated") in (None, "0")
