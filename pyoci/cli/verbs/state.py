"""pyoci state: print the state of a container, as runtime.md#state describes it."""

from pyoci.cli.main import write_output
from pyoci.spec.decode import encode

SUMMARY = "print the state of a container as JSON"
USAGE = "<container-id>"
ABOUT = """Status is created, running, paused or stopped; pid is 0 when it is stopped."""
EXAMPLE = "pyoci state web"
OPTIONS = ()
ARGUMENTS = (1, 1)


def call(command):
    # No newline at the end: so does runc, and a caller may compare.
    write_output(encode(command.runtime().state(command.arguments[0]), "  "))
