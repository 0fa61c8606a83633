"""pyoci update: change the resource limits of a container.

Turns flags, or a JSON document, into a `linux.resources` object that holds only what was asked for. What the numbers mean
together (memory and swap, period and quota) is the api's business. Source: runc-update(8).
"""

from pyoci.cli.options import NUMBER, TEXT, number
from pyoci.errors import UsageError

SUMMARY = "change the resource limits of a container"
USAGE = "<container-id>"
ABOUT = """Changes only what is named; sizes may end in k, m, g, t or p (powers of 1024), and -1 means no limit. With
--resources the limits come from a JSON document (a linux.resources object of config.json), and the other flags are ignored."""
EXAMPLE = "pyoci update --memory 512m --memory-swap 1g --pids-limit 100 web"
OPTIONS = (
    ("resources", "r", TEXT, "FILE|-", "read the limits from a JSON file, or from standard input"),
    ("blkio-weight", "", NUMBER, "N", "relative weight of block IO, 10 to 1000"),
    ("cpu-period", "", TEXT, "USEC", "length of the CPU scheduler's period"),
    ("cpu-quota", "", TEXT, "USEC", "CPU time allowed in a period"),
    ("cpu-burst", "", TEXT, "USEC", "unused CPU time that may be saved up"),
    ("cpu-share", "", TEXT, "N", "relative weight of CPU time"),
    ("cpu-rt-period", "", TEXT, "USEC", "length of the realtime scheduler's period"),
    ("cpu-rt-runtime", "", TEXT, "USEC", "realtime CPU time allowed in a period"),
    ("cpu-idle", "", TEXT, "0|1", "1: run only when nothing else wants the CPU"),
    ("cpuset-cpus", "", TEXT, "LIST", "CPUs that may be used, as 0-3,7"),
    ("cpuset-mems", "", TEXT, "LIST", "memory nodes that may be used"),
    ("memory", "", TEXT, "SIZE", "memory limit"),
    ("memory-reservation", "", TEXT, "SIZE", "memory that is kept when the host runs short"),
    ("memory-swap", "", TEXT, "SIZE", "limit of memory and swap together"),
    ("kernel-memory", "", TEXT, "SIZE", ""),  # obsolete in the kernel; docker may still pass it
    ("kernel-memory-tcp", "", TEXT, "SIZE", ""),
    ("pids-limit", "", NUMBER, "N", "number of processes allowed"),
    ("l3-cache-schema", "", TEXT, "SCHEMA", "Intel RDT L3 cache schema (not supported yet)"),
    ("mem-bw-schema", "", TEXT, "SCHEMA", "Intel RDT memory bandwidth schema (not supported yet)"),
)
ARGUMENTS = (1, 1)

HIGHEST_U64 = 2**64 - 1

# (flag, member of cpu, lowest, highest), (flag, member of memory)
_CPU = (
    ("cpu-period", "period", 0, HIGHEST_U64),
    ("cpu-quota", "quota", -(2**63), 2**63 - 1),
    ("cpu-burst", "burst", 0, HIGHEST_U64),
    ("cpu-share", "shares", 0, HIGHEST_U64),
    ("cpu-rt-period", "realtimePeriod", 0, HIGHEST_U64),
    ("cpu-rt-runtime", "realtimeRuntime", -(2**63), 2**63 - 1),
    ("cpu-idle", "idle", 0, 1),
)
_MEMORY = (
    ("memory", "limit"),
    ("memory-reservation", "reservation"),
    ("memory-swap", "swap"),
    ("kernel-memory", "kernel"),
    ("kernel-memory-tcp", "kernelTCP"),
)


def call(command):
    values = command.values
    source = values.get("resources")
    resources = read_resources(source) if source else resources_of(values)
    command.runtime().update(command.arguments[0], resources)


def resources_of(values):
    """A linux.resources object of the flags that were given (an empty word counts as not given). Raises UsageError."""
    for flag in ("l3-cache-schema", "mem-bw-schema"):
        if values.get(flag):
            raise UsageError(f"--{flag} is not supported by this release of pyoci")
    cpu = {member: _number(values[flag], flag, low, high) for flag, member, low, high in _CPU if values.get(flag)}
    cpu.update({member: values[flag] for flag, member in (("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")) if values.get(flag)})
    memory = {member: parse_size(values[flag], flag) for flag, member in _MEMORY if values.get(flag)}
    resources = {}
    if cpu:
        resources["cpu"] = cpu
    if memory:
        resources["memory"] = memory
    if values.get("blkio-weight"):
        resources["blockIO"] = {"weight": values["blkio-weight"]}
    if "pids-limit" in values:
        resources["pids"] = {"limit": values["pids-limit"]}
    return resources


def _number(word, flag, lowest, highest):
    try:
        return number(word, lowest, highest)
    except ValueError as error:
        raise UsageError(f'invalid value for {flag}: "{word}" is {error}') from None


def parse_size(word, flag):
    """Bytes of `512m`, `1.5GiB`, `4096`, `-1`: a decimal number, then k m g t p and an i and a b in any case or none of them.

    Powers of 1024, fractions cut off. Raises UsageError for anything else, and above 2^63 - 1. go-units RAMInBytes.
    """
    if word == "-1":
        return -1
    digits = word.rstrip("kKmMgGtTpPiIbB ")
    power = _power(word[len(digits) :])
    whole, dot, fraction = digits.partition(".")
    if power is None or not _digits(whole) or dot and not _digits(fraction) or len(digits) > 40:
        raise UsageError(f"invalid value for {flag}: invalid size: '{word}'")
    size = (int(whole + fraction) << (10 * power)) // 10 ** len(fraction)
    if size > 2**63 - 1:
        raise UsageError(f"invalid value for {flag}: size is too large: '{word}'")
    return size


def _digits(text):
    return text.isascii() and text.isdigit()


def _power(suffix):
    """5 for "p", " PiB"; 0 for "" and "b"; None if it is no suffix."""
    letters = suffix.removeprefix(" ").lower().removesuffix("b").removesuffix("i")
    return len("kmgtp"[: "kmgtp".index(letters) + 1]) if len(letters) == 1 and letters in "kmgtp" else None if letters else 0


def read_resources(source):
    """The object in a JSON file, or on standard input for "-". Raises ConfigError, SyscallError."""
    from pyoci.spec.decode import decode, read_document

    return decode(read_document(0 if source == "-" else source, document="resources.json"), "resources.json")
