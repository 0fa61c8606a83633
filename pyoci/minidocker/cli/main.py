"""From argv to an exit status: the global flags, the command's module, its call, and the lines that say what went wrong.

The only place of MiniDocker that prints an error or exits.  Exit statuses are docker's: 125 for an error of MiniDocker, 126 and 127 for a program that
can't be run or isn't there, else the container's own.  Source: docker(1), docker-run(1).
"""

import os
import sys

from pyoci.errors import PyociError

# command -> module in cli/commands; imported when it is called, so that --help imports nothing.
COMMANDS = {}


def entry():
    """Run and leave the process, without the interpreter's own farewell."""
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)


def main(words):
    """Carry out a command line without the program's name.  Returns the exit status; raises nothing."""
    try:
        if words and words[0] in ("--version", "-v"):
            from pyoci import __version__

            print(f"MiniDocker version {__version__}")
            return 0
        raise PyociError(f"minidocker: '{words[0] if words else ''}' is not a minidocker command")
    except PyociError as error:
        print(error, file=sys.stderr)
        return getattr(error, "exit_status", 125)
