"""A file that a command writes: whole or not at all; or standard output, but never a terminal."""

import contextlib
import os
import sys

from pyoci.minidocker.errors import BadRequest, MiniDockerError
from pyoci.minidocker.images.disk import hint_of
from pyoci.minidocker.paths import private


@contextlib.contextmanager
def written(path, what):
    """A binary stream to write to.  path: None or "-" is standard output.  A failure leaves no file, and an old one as it was.

    What is there and no regular file, a device or a FIFO, is never replaced.
    """
    if path in (None, "-", ""):
        if sys.stdout.isatty():
            raise BadRequest(f"refusing to write {what} to a terminal", hint="name a file with --output, or redirect")
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # nobody wants the rest
            raise
        except OSError as error:
            raise MiniDockerError(f"write standard output: {error.strerror}", hint_of(error)) from error
        return
    if os.path.exists(path) and not os.path.isfile(path):
        raise BadRequest(f'invalid output path: "{path}" must be a regular file', hint="without --output it is standard output")
    place = os.path.realpath(path)  # a link stays, and leads to the new file
    fresh = f"{place}.{os.getpid()}.part"
    try:
        with open(fresh, "xb", opener=private) as sink:  # as docker: there may be secrets in it
            yield sink
        os.replace(fresh, place)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        if isinstance(error, OSError):
            raise MiniDockerError(f"write {path}: {error.strerror}") from error
        raise
