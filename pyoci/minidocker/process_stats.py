"""What a container without a cgroup uses, by its processes: memory as their proportional shares, CPU time of those that live.

Less than a cgroup knows: what has ended is not counted, nor is the page cache.  Source: proc_pid_stat(5), proc_pid_smaps(5); the shape is runc's stats event.
"""

import os
import re

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def read(pids):
    """The data of a stats event.  pids: the container's."""
    cpu_ns = used = threads = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            used += _memory(pid, int(fields[21]) * PAGE_BYTES)
        except OSError:
            continue  # it ended meanwhile
        cpu_ns += (int(fields[11]) + int(fields[12])) * TICK_NS
        threads += int(fields[17])
    return {"cpu": {"usage": {"total": cpu_ns}}, "memory": {"usage": {"usage": used}}, "pids": {"current": threads}}


def _memory(pid, resident):
    """Its share of what it has in memory; all that is resident where shares are not told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            found = re.search(r"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE)
    except FileNotFoundError:
        return resident
    return int(found[1]) * 1024 if found else resident
