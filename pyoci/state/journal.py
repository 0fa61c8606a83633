"""What create is about to make, written down before each deed; read backwards by launch/undo.py.

A line is fields joined by tabs, ended by NUL and newline.  A path may hold anything but NUL, so that a kind has one at most, and its
other fields are counted from the side where it is not.  Kinds:

    root     PATH                                   the rootfs that `made` lines are below, unless a volume lies there
    bundle   PATH                                   what relative sources of volumes are below
    cgroups  CONTROLLER+PATH, a line each           the container's, made or found
    cgroup   PATH                                   about to be made
    inode    PATH NUMBER                            the cgroup that was just made; 0: it was not, or another made it
    unit     BUS NAME DESCRIPTION                   about to be started by the systemd there; without description: another's
    process  PID START-TIME                         init
    hook     PID START-TIME                         a hook of the runtime's side, the leader of its process group
    made     MAJOR:MINOR INODE KIND DIRECTORY/NAME  about to be made, in no tmpfs of its own, written by init; a restore writes its own
    mount    ID                                     about to be attached on the rootfs in the host's mount namespace, by init
    complete                                        init is at its gate: what create made in the rootfs stays
    file     PATH                                   about to be made on the host (pid file)
"""

import posix

from pyoci.errors import SyscallError


# How many fields stand before the path, or before the last field.
_BEFORE_PATH = {"process": 1, "hook": 1, "made": 3, "unit": 2}


def open_journal(path):
    """A descriptor that appends; init gets it too."""
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOFOLLOW
    try:
        return posix.open(path, flags, 0o600)
    except OSError as error:
        raise SyscallError("open", error.errno, path) from None


def note(fd, *lines):
    """Append lines, each a sequence of fields, in one write.  Raises SyscallError: what can't be written down isn't done."""
    text = "".join(["\t".join(fields) + "\0\n" for fields in lines]).encode("utf-8", "surrogateescape")
    try:
        if posix.write(fd, text) != len(text):
            raise SyscallError("write", 28, "journal")
    except OSError as error:
        raise SyscallError("write", error.errno, "journal") from None


def unit_description(container):
    """What tells a scope of ours from a stranger's of the same name."""
    return f"pyoci container {container.path}"


def parse(text):
    """The lines as lists of fields, oldest first; a torn last line is left out, since its deed was not done."""
    lines = text.decode("utf-8", "surrogateescape").split("\0\n")
    return [_fields(line) for line in lines[:-1]]


def _fields(line):
    kind, _, rest = line.partition("\t")
    if kind == "inode":
        return [kind, *rest.rsplit("\t", 1)]
    return [kind, *rest.split("\t", _BEFORE_PATH.get(kind, 0))]
