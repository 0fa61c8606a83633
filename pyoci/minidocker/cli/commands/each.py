"""The commands that do one thing to each name they are given: a failure of one is said, and the others are still done."""

import sys

from pyoci.errors import PyociError


def for_each(names, act, show=print):
    """Call act(name) for each, and show what it returns (the name if that is None).  Returns the exit status; docker's is 1 when any failed."""
    failed = 0
    for name in names:
        try:
            found = act(name)
            show(name if found is None else found)
        except PyociError as error:
            from pyoci.minidocker.cli.main import one_line

            hint = getattr(error, "hint", "")
            print(f"minidocker: {one_line(error)}" + (f"\n  {hint}" if hint else ""), file=sys.stderr)
            failed = 125
    return failed
