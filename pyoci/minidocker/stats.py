"""stats and top: what a container uses, in the Engine API's shape, and its processes.

Source: Engine API v1.44 ContainerStats, ContainerTop; docker-stats(1), docker-top(1); proc_stat(5), proc_pid_net(5).
"""

import contextlib
import os
import time

from pyoci.errors import PyociError
from pyoci.minidocker import containers
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.show import moment
from pyoci.minidocker.start import runtime_of

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
INTERVAL_S = 1.0
_BLKIO = ("ioServiceBytesRecursive", "ioServicedRecursive", "ioQueueRecursive", "ioServiceTimeRecursive", "ioWaitTimeRecursive", "ioMergedRecursive",
          "ioTimeRecursive", "sectorsRecursive")  # fmt: skip
_BLKIO_NAMES = ("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive",
                "io_merged_recursive", "io_time_recursive", "sectors_recursive")  # fmt: skip


def system_cpu_ns():
    """The host's CPU time, all of it, in nanoseconds."""
    with open("/proc/stat", encoding="ascii") as file:
        return sum(int(word) for word in file.readline().split()[1:8]) * TICK_NS


def host_memory():
    """Bytes of the host's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def cpu(data, system_ns):
    """CPUStats of a runtime's stats."""
    usage = data.get("usage") or {}
    throttling = data.get("throttling") or {}
    return {
        "cpu_usage": {
            "total_usage": usage.get("total", 0), "percpu_usage": usage.get("percpu") or [], "usage_in_kernelmode": usage.get("kernel", 0),
            "usage_in_usermode": usage.get("user", 0),
        },
        "system_cpu_usage": system_ns,
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": throttling.get("periods", 0), "throttled_periods": throttling.get("throttledPeriods", 0),
            "throttled_time": throttling.get("throttledTime", 0),
        },
    }  # fmt: skip


def memory(data):
    """MemoryStats; without a limit it is the host's memory."""
    usage = data.get("usage") or {}
    limit = usage.get("limit") or 0
    total = host_memory()
    made = {"usage": usage.get("usage", 0), "stats": data.get("raw") or {}, "limit": limit if 0 < limit < total else total}
    for ours, theirs in (("max_usage", "max"), ("failcnt", "failcnt")):
        if usage.get(theirs) is not None:
            made[ours] = usage[theirs]
    return made


def block_io(data):
    """BlkioStats."""
    made = {}
    for theirs, ours in zip(_BLKIO, _BLKIO_NAMES, strict=True):
        rows = data.get(theirs)
        made[ours] = [{"major": row.get("major", 0), "minor": row.get("minor", 0), "op": row.get("op", ""), "value": row.get("value", 0)} for row in rows or ()] or None
    return made


def networks(pid):
    """{interface: counters} of a process's network namespace, without its loopback."""
    names = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
    columns = (0, 1, 2, 3, 8, 9, 10, 11)
    made = {}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/net/dev", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            name, colon, rest = line.partition(":")
            if colon and name.strip() != "lo":
                words = rest.split()
                made[name.strip()] = {field: int(words[column]) for field, column in zip(names, columns, strict=True)}
    return made


class Sampler:
    """Samples of one container, each with the one before it."""

    def __init__(self, store, container):
        self._container = container
        self._runtime = runtime_of(store, container)
        self._last = ({}, "0001-01-01T00:00:00Z")

    def sample(self):
        """A dict as ContainerStats has it.  Raises MiniDockerError where it stopped meanwhile."""
        container = self._container
        data = self._read()
        before, before_read = self._last
        now, read = cpu(data.get("cpu") or {}, system_cpu_ns()), moment(time.time_ns())
        self._last = (now, read)
        shared = (container.host.get("NetworkMode") or "none") == "host"
        pids = data.get("pids") or {}
        return {
            "read": read, "preread": before_read, "name": f"/{container.name}", "id": container.id, "num_procs": 0, "storage_stats": {},
            "pids_stats": {name: pids[name] for name in ("current", "limit") if pids.get(name)},
            "cpu_stats": now, "precpu_stats": before or cpu({}, 0), "memory_stats": memory(data.get("memory") or {}),
            "blkio_stats": block_io(data.get("blkio") or {}), "networks": {} if shared else networks(container.pid),
        }  # fmt: skip


    def _read(self):
        """The data of a stats event; where a user's container has no cgroup, of its processes."""
        try:
            return self._runtime.stats(self._container.id)
        except PyociError:
            if not in_user_namespace() or (pids := self._runtime.ps(self._container.id)) == []:
                raise
            from pyoci.minidocker.process_stats import read  # never for root

            return read(pids)


def empty(container):
    """What docker says of a container that does not run."""
    return {"read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z", "name": f"/{container.name}", "id": container.id, "num_procs": 0,
            "pids_stats": {}, "cpu_stats": cpu({}, 0), "precpu_stats": cpu({}, 0), "memory_stats": {}, "blkio_stats": block_io({}),
            "storage_stats": {}}  # fmt: skip


def now(store, ref):
    """One sample, with none before it."""
    container = containers.find(store, ref)
    if containers.status_of(container) not in containers.ALIVE:
        return empty(container)
    try:
        return Sampler(store, container).sample()
    except PyociError:
        if containers.status_of(container) in containers.ALIVE:
            raise
        return empty(container)


def stats(store, ref):
    """Yield a sample every second, the first after one, until the container stops."""
    container = containers.find(store, ref)
    if containers.status_of(container) not in containers.ALIVE:
        yield empty(container)
        return
    sampler = Sampler(store, container)
    try:
        sampler.sample()
        while True:
            time.sleep(INTERVAL_S)
            yield sampler.sample()
    except PyociError:
        if containers.status_of(container) in containers.ALIVE:
            raise


# --- top


def top(store, ref, words=()):
    """{"Titles", "Processes"}: what ps(1) of the host, called with these words (`-ef`), says of the container's processes."""
    import subprocess

    container = containers.find(store, ref)
    status = containers.status_of(container)
    if status == "restarting":
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if status not in containers.ALIVE:
        raise Conflict(f"Container {container.id} is not running")
    pids = {str(pid) for pid in runtime_of(store, container).ps(container.id)}
    command = ["ps", *(words or ["-ef"])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "COLUMNS": "10000"})
    except FileNotFoundError as error:
        raise MiniDockerError("ps: not found on this host", hint="install procps") from error
    if done.returncode:
        raise BadRequest(f"ps: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else 'failed'}")
    return select_processes(done.stdout, pids)


def select_processes(text, pids):
    """The rows of ps(1)'s output that are of these pids.  The last column may hold blanks.  Raises MiniDockerError without a PID column."""
    lines = text.split("\n")  # no other character of a process's title ends a row
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise MiniDockerError("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return {"Titles": titles, "Processes": [row for row in rows if len(row) > column and row[column] in pids]}
