"""pyoci events: statistics and out-of-memory events of a container, one JSON object a line."""

from pyoci.cli.main import write_output
from pyoci.cli.options import SWITCH
from pyoci.errors import UsageError
from pyoci.spec.decode import encode

_UNITS_NS = {"ns": 1, "us": 10**3, "\u00b5s": 10**3, "\u03bcs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def duration(text):
    """Seconds of a Go duration: `5s`, `100ms`, `1m30s`, `1.5h`, `0`. Total: ValueError for anything else."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    total_ns = 0
    while True:
        digits = _leading(rest, "0123456789.")
        rest = rest[len(digits) :]
        unit = rest[: len(rest) - len(rest.lstrip("nu\u00b5\u03bcmsh"))]
        unit = unit if unit in _UNITS_NS else ""
        rest = rest[len(unit) :]
        if not unit or not digits.strip(".") or digits.count(".") > 1 or len(digits) > 30:
            raise ValueError("not a duration")
        total_ns += float(digits) * _UNITS_NS[unit]
        if not rest:
            break
    if total_ns > 2**63 - 1:
        raise ValueError("out of range")
    return (-total_ns if text[0] == "-" else total_ns) / 10**9


def _leading(text, characters):
    return text[: len(text) - len(text.lstrip(characters))]


SUMMARY = "show statistics and out-of-memory events of a container"
USAGE = "<container-id>"
ABOUT = """Prints one JSON object a line: statistics at every interval, and an event whenever the kernel kills a process of
the container for want of memory. Ends when the container does."""
EXAMPLE = "pyoci events --stats web"
OPTIONS = (
    ("interval", "", duration, "DURATION", "time between two statistics, as 5s, 100ms or 1m30s (default: 5s)"),
    ("stats", "", SWITCH, "", "print the statistics once and exit"),
)
ARGUMENTS = (1, 1)
DEFAULT_INTERVAL_S = 5.0


def call(command):
    interval_s = command.values.get("interval", DEFAULT_INTERVAL_S)
    if interval_s <= 0:
        raise UsageError("duration interval must be greater than 0")
    container_id = command.arguments[0]
    runtime = command.runtime()
    if command.values.get("stats"):
        _print({"type": "stats", "id": container_id, "data": runtime.stats(container_id)})
        return
    for event in runtime.events(container_id, interval_s):
        _print(event)


def _print(event):
    write_output(encode(event) + "\n")
