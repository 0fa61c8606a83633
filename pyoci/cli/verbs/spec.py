"""pyoci spec: write a config.json to start from."""

import posix

from pyoci.cli.options import BUNDLE, SWITCH, absolute
from pyoci.errors import PyociError, SyscallError
from pyoci.spec.decode import encode

SUMMARY = "write a config.json to start from"
USAGE = ""
ABOUT = """Writes a config.json that runs `sh` on a terminal, with the namespaces, mounts and restrictions that containers
usually have. An existing file is never overwritten."""
EXAMPLE = "pyoci spec --bundle ./bundle"
OPTIONS = (BUNDLE, ("rootless", "", SWITCH, "", "for a container without root privileges: a user namespace that maps you to root"))
ARGUMENTS = (0, 0)


def call(command):
    document = command.runtime().spec(rootless=command.values.get("rootless", False))
    write_new_file(f"{absolute(command.values.get('bundle') or '.')}/config.json", encode(document, "\t") + "\n")


def write_new_file(path, text):
    """Write `text` to a file that must not exist (mode 0666 less the umask); a file left half written is removed."""
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
    except FileExistsError as error:
        raise PyociError(f"File config.json exists. Remove it first: {path}") from error
    except OSError as error:
        raise SyscallError("open", error.errno, path) from error
    try:
        _write_all(fd, text.encode())
    except OSError as error:
        posix.unlink(path)
        raise SyscallError("write", error.errno, path) from error
    finally:
        posix.close(fd)


def _write_all(fd, data):
    while data:
        data = data[posix.write(fd, data) :]
