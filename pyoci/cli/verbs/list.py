"""pyoci list: the containers of a state directory."""

import posix

from pyoci.cli.main import write_output
from pyoci.cli.options import SWITCH, TEXT
from pyoci.errors import SyscallError, UsageError
from pyoci.spec.decode import encode

SUMMARY = "list the containers of the state directory"
USAGE = ""
ABOUT = """Lists what is kept under --root. A container whose state cannot be read is named on standard error, and the others
are listed."""
EXAMPLE = "pyoci list --format json"
OPTIONS = (
    ("format", "f", TEXT, "table|json", "how to print (default: table)"),
    ("quiet", "q", SWITCH, "", "print ids only"),
)
ARGUMENTS = (0, 0)

HEADER = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
SMALLEST_CELL, PADDING = 12, 3  # those of runc's tabwriter


def call(command):
    _check_root(command.settings)
    style = command.values.get("format", "table")
    states = command.runtime().list()
    if command.values.get("quiet"):
        write_output("".join(f"{state['id']}\n" for state in states))
    elif style == "table":
        write_output(table(states))
    elif style == "json":
        write_output(encode(states or None) + "\n")  # `null` if there is none, as Go prints it
    else:
        raise UsageError("invalid format option")


def _check_root(settings):
    """The default state directory may be missing (nothing ran yet); one that the user named may not."""
    if "root" in settings:
        try:
            posix.stat(settings["root"])
        except OSError as error:
            raise SyscallError("open", error.errno, settings["root"]) from error


def table(states):
    """Rows in columns as Go's tabwriter makes them; the last column is not padded."""
    rows = [HEADER] + [_row(state) for state in states]
    widths = [max(SMALLEST_CELL, max(len(row[column]) for row in rows) + PADDING) for column in range(len(HEADER) - 1)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths)) + row[-1] for row in rows]
    return "\n".join(lines) + "\n"


def _row(state):
    return tuple(str(state.get(key, "")) for key in ("id", "pid", "status", "bundle", "created", "owner"))
