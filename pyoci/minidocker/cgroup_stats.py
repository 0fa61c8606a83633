"""What a container uses, read from its cgroup files: for runtimes without `events --stats`.  The main numbers only.

Source: cgroup-v1 memory.txt, cpuacct.txt, pids.txt; cgroup-v2.rst; the shape is runc's stats event.
"""

from pyoci.minidocker.errors import Conflict


def _paths(pid):
    """{controller: folder} of a process, "" for the unified hierarchy."""
    found = {}
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            _, names, path = line.strip().split(":", 2)
            for name in names.split(","):
                folder = names if name else ""
                found[name] = f"/sys/fs/cgroup/{folder}{path}" if folder else f"/sys/fs/cgroup{path}"
    return found


def _number(path):
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _pairs(path):
    try:
        with open(path, encoding="ascii") as lines:
            return {key: int(value) for key, value in (line.split() for line in lines)}
    except (OSError, ValueError):
        return {}


def read(container_id, pids):
    """The data of a stats event.  pids: the container's.  Raises Conflict where there is none."""
    if not pids:
        raise Conflict(f"Container {container_id} is not running")
    paths = _paths(pids[0])
    if "memory" not in paths:
        return _read_v2(paths[""])
    memory, cpu, tasks = paths["memory"], paths.get("cpuacct", ""), paths.get("pids", "")
    usage = {"limit": _number(f"{memory}/memory.limit_in_bytes"), "usage": _number(f"{memory}/memory.usage_in_bytes"),
             "max": _number(f"{memory}/memory.max_usage_in_bytes"), "failcnt": _number(f"{memory}/memory.failcnt")}  # fmt: skip
    return {
        "cpu": {"usage": {"total": _number(f"{cpu}/cpuacct.usage")}},
        "memory": {"usage": usage, "raw": _pairs(f"{memory}/memory.stat")},
        "pids": {"current": _number(f"{tasks}/pids.current"), "limit": _number(f"{tasks}/pids.max")},
    }


def _read_v2(folder):
    cpu = _pairs(f"{folder}/cpu.stat")
    return {
        "cpu": {"usage": {"total": cpu.get("usage_usec", 0) * 1000, "user": cpu.get("user_usec", 0) * 1000, "kernel": cpu.get("system_usec", 0) * 1000}},
        "memory": {"usage": {"limit": _number(f"{folder}/memory.max"), "usage": _number(f"{folder}/memory.current")}, "raw": _pairs(f"{folder}/memory.stat")},
        "pids": {"current": _number(f"{folder}/pids.current"), "limit": _number(f"{folder}/pids.max")},
    }
