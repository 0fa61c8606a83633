"""What a file system refuses, as one line.

Source: errno(3).
"""

import contextlib
import errno

from pyoci.errors import errno_text
from pyoci.minidocker.errors import MiniDockerError

FULL = "free some space; --data-root names another folder for images and containers"


@contextlib.contextmanager
def disk_errors(what):
    """Turn an OSError of the block into one line: `write blob sha256:...: No space left on device (ENOSPC)`."""
    try:
        yield
    except OSError as error:
        raise MiniDockerError(f"{what}: {errno_text(error.errno or 0)}", hint_of(error)) from error


def hint_of(error):
    """What to do about it, or ""."""
    return FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
