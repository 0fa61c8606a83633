"""A little of the disk that is kept for the day when it is full: what removes things must write its records first.

`make` puts a file of SIZE bytes into the data root; `spent` gives its room away for as long as a command takes that frees more.
"""

import contextlib
import os

from pyoci.minidocker.paths import private

SIZE = 256 << 10


def _path(roots):
    return f"{roots.data}/spare"


def _free(roots):
    """Bytes that we could still write."""
    facts = os.statvfs(roots.data)
    return (facts.f_bavail if os.geteuid() else facts.f_bfree) * facts.f_frsize


def make(roots):
    """Put something by, if there is enough.  For a root that is known to be ours."""
    with contextlib.suppress(OSError):
        if not os.path.lexists(_path(roots)) and _free(roots) > 4 * SIZE:
            with open(_path(roots), "xb", opener=private) as file:
                file.write(bytes(SIZE))  # written, not only promised: a hole takes no room


@contextlib.contextmanager
def spent(roots):
    """Give it away where the disk is full; afterwards, if all went well, put something by again."""
    with contextlib.suppress(OSError):
        facts = os.lstat(_path(roots))
        if (facts.st_size, facts.st_uid) == (SIZE, os.geteuid()) and _free(roots) < SIZE:
            os.unlink(_path(roots))
    yield
    make(roots)
