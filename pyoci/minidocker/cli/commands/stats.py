"""stats: what containers use.  docker-stats(1)"""

import sys
import time

from pyoci.errors import PyociError
from pyoci.minidocker.cli.listing import listing
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, TEXT, Option
from pyoci.minidocker.sizes import binary_size, human_size

COLUMNS = {
    "Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
    "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}  # fmt: skip
DEFAULT = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
INTERVAL_S = 1.0


def row(name, now, before, whole):
    """The fields of one container.  now, before: samples of the Engine API's /stats; before may be None."""
    memory = now.get("memory_stats") or {}
    inactive = (memory.get("stats") or {})
    used = max(0, memory.get("usage", 0) - inactive.get("total_inactive_file", inactive.get("inactive_file", 0)))
    limit = memory.get("limit", 0)
    blocks = (now.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read, write = (sum(entry["value"] for entry in blocks if entry["op"].lower() == word) for word in ("read", "write"))
    networks = (now.get("networks") or {}).values()
    return {
        "Container": name, "ID": now["id"] if whole else now["id"][:12], "Name": now["name"].lstrip("/"), "CPUPerc": f"{cpu_percent(now, before):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}", "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{human_size(sum(net['rx_bytes'] for net in networks))} / {human_size(sum(net['tx_bytes'] for net in networks))}",
        "BlockIO": f"{human_size(read)} / {human_size(write)}", "PIDs": str((now.get("pids_stats") or {}).get("current", 0)),
    }  # fmt: skip


def cpu_percent(now, before):
    """Per cent of one CPU between two samples."""
    earlier = (before or now).get("cpu_stats") if before else now.get("precpu_stats")
    earlier = earlier or {}
    later = now.get("cpu_stats") or {}
    used = (later.get("cpu_usage") or {}).get("total_usage", 0) - (earlier.get("cpu_usage") or {}).get("total_usage", 0)
    passed = later.get("system_cpu_usage", 0) - earlier.get("system_cpu_usage", 0)
    return 100 * used * (later.get("online_cpus") or 1) / passed if used > 0 and passed > 0 else 0.0


def _names(call):
    return call.arguments or [found["Id"] for found in call.engine.list(all=bool(call.values["all"]))]


def _sample(call, names):
    found = {}
    for name in names:
        try:
            found[name] = call.engine.stats(name)
        except PyociError:
            if call.arguments:
                raise
    return found


def stats(call):
    """Show a table once a second on a terminal, or lines with --no-stream."""
    values = call.values
    before = _sample(call, _names(call))
    while True:
        time.sleep(INTERVAL_S)
        now = _sample(call, _names(call))
        rows = [row(name, found, before.get(name), bool(values["no-trunc"])) for name, found in now.items()]
        text = listing(COLUMNS, rows, values["format"] or "", None, DEFAULT)
        if values["no-stream"]:
            sys.stdout.write(text)
            return
        clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() else ""
        print(clear + text, end="", flush=True)
        before = now


COMMANDS = {
    "stats": Command(stats, "[OPTIONS] [CONTAINER...]", "show what containers use", "minidocker stats --no-stream", most=None, options=(
        Option("all", "a", FLAG, "show all containers, not only those that run"),
        Option("no-stream", "", FLAG, "show one sample"),
        Option("no-trunc", "", FLAG, "don't cut ids"),
        Option("format", "", TEXT, "table, json or a template"))),
}  # fmt: skip
