"""pyoci kill: send a signal to a container's init process."""

from pyoci.cli.options import SWITCH, number
from pyoci.errors import UsageError

SUMMARY = "send a signal to the container's init process"
USAGE = "<container-id> [signal]"
ABOUT = """The signal is a number or a name, with or without SIG, in any case (default: SIGTERM). SIGKILL to a container
that shares its pid namespace reaches every process of its cgroup."""
EXAMPLE = "pyoci kill web KILL"
OPTIONS = (("all", "a", SWITCH, "", ""),)  # obsolete in runc; containerd still passes it
ARGUMENTS = (1, 2)

SIGTERM = 15
HIGHEST_SIGNAL = 64


def call(command):
    container_id, *rest = command.arguments
    signal_number = parse_signal(rest[0]) if rest else SIGTERM
    command.runtime().kill(container_id, signal_number, all_processes=command.values.get("all", False))


def parse_signal(word):
    """The number of `9`, `KILL`, `sigkill` or `RTMIN+3`; 0 is allowed (does it exist?). Raises UsageError."""
    try:
        return number(word, 0, HIGHEST_SIGNAL)
    except ValueError:
        pass
    import _signal  # built in; the names of this architecture's numbers

    # isascii of the word itself: upper() makes S of more letters than s.
    name, plus, offset = word.upper().partition("+")
    name = name.removeprefix("SIG")
    found = getattr(_signal, f"SIG{name}", None) if word.isascii() and name.isalnum() else None
    if isinstance(found, int) and not plus:
        return int(found)
    if word.isascii() and name == "RTMIN":
        try:
            return _signal.SIGRTMIN + number(offset, 0, _signal.SIGRTMAX - _signal.SIGRTMIN)
        except ValueError:
            pass
    raise UsageError(f'unknown signal "{word}"')
