"""The commands that do one thing to each name they are given: a failure of one is said, and the others are still done."""

import sys

from pyoci.errors import PyociError
from pyoci.minidocker.cli.main import FAILED, say


def for_each(names, act, show=print):
    """Call act(name) for each, and show what it returns (the name if that is None).  Returns the exit status; FAILED when any failed."""
    failed = 0
    for name in names:
        try:
            found = act(name)
            show(name if found is None else found)
        except PyociError as error:
            say(error)
            failed = FAILED
    return failed


def foreground_status(status):
    """The exit status for what a foreground call returned: one that detached (attach.DETACHED) succeeded.  docker-attach(1)"""
    if status < 0:
        print("\r\nread escape sequence", file=sys.stderr)
        return 0
    return status


def check_terminal(body):
    """Raise BadRequest for -it where our input is no terminal, before anything is made."""
    if body.get("Tty") and body.get("AttachStdin") and not sys.stdin.isatty():
        from pyoci.minidocker.errors import BadRequest

        raise BadRequest("the input device is not a TTY", hint="leave out -t, or run it on a terminal")
