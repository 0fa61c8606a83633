"""The commands that do one thing to each name they are given: a failure of one is said, and the others are still done."""

import sys

from pyoci.errors import PyociError
from pyoci.minidocker.cli.main import FAILED, say
from pyoci.minidocker.errors import NotFound


def for_each(names, act, show=print, may_lack=False):
    """Call act(name) for each, and show what it returns (the name if that is None).  Returns the exit status; FAILED when any failed.

    may_lack: what is not there is said, and no failure, as with rm --force.
    """
    failed = 0
    for name in names:
        try:
            found = act(name)
            show(name if found is None else found)
        except PyociError as error:
            say(error)
            if not (may_lack and isinstance(error, NotFound)):
                failed = FAILED
    return failed


def foreground_status(status):
    """The exit status for what a foreground call returned: one that detached (attach.DETACHED) succeeded, one that was left (attach.LEFT) did not."""
    if status >= 0:
        return status
    from pyoci.minidocker.attach import LEFT

    if status == LEFT:
        print("got 3 SIGTERM/SIGINTs, forcefully exiting; the container goes on", file=sys.stderr)
        return 1
    print("\r\nread escape sequence", file=sys.stderr)
    return 0


def check_terminal(body):
    """Raise BadRequest for -it where our input is no terminal, before anything is made."""
    if body.get("Tty") and body.get("AttachStdin") and not sys.stdin.isatty():
        from pyoci.minidocker.errors import BadRequest

        raise BadRequest("the input device is not a TTY", hint="leave out -t, or run it on a terminal")
