"""pyoci start: let the process of a created container run."""

from pyoci.cli.options import environment

SUMMARY = "start the process of a created container"
USAGE = "<container-id>"
ABOUT = """Runs the startContainer hooks, then the program of process.args, then the poststart hooks. Returns once the
program runs."""
EXAMPLE = "pyoci start web"
OPTIONS = ()
ARGUMENTS = (1, 1)


def call(command):
    command.runtime().start(command.arguments[0], environ=environment())
