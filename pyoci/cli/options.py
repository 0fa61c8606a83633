"""Option tables and the parser of a command line, in the forms that callers of runc use.

A table is a tuple of rows `(name, short, kind, placeholder, meaning)`; a row without a meaning is accepted and not shown
in help. Accepted forms: -flag, --flag, --flag=v, --flag v (the next word is the value, whatever it looks like),
--switch=true|false, and `--` before words that are not flags. The errors are those of urfave/cli, which runc uses: podman
looks for "flag needs an argument" to learn what a runtime can do.

Does not know the verbs, prints nothing. Source: Go's package flag and urfave/cli as runc(8) uses them.
"""

import posix

from pyoci.errors import SyscallError, UsageError

# Kinds of value. A kind may also be a function (text -> value, ValueError on a bad one).
SWITCH, TEXT, NUMBER, COUNT, LIST = range(5)

GLOBAL = (
    (
        "root",
        "",
        TEXT,
        "DIR",
        "where the state of containers is kept (default: /run/pyoci, or $XDG_RUNTIME_DIR/pyoci for users other than root)",
    ),
    ("log", "", TEXT, "FILE", "append log records to FILE; the error still goes to standard error too"),
    ("log-format", "", TEXT, "text|json", "format of log records (default: text)"),
    ("debug", "", SWITCH, "", "log debug records, and show the traceback of an error"),
    ("systemd-cgroup", "", SWITCH, "", "have systemd make the cgroups; cgroupsPath is then SLICE:PREFIX:NAME"),
    ("rootless", "", TEXT, "true|false|auto", "whether a container may do without cgroups where they can't be made (default: auto, whoever is not the host's root)"),
    ("criu", "", TEXT, "PATH", ""),  # go-runc may still pass it; runc 1.4 removed it
    ("version", "v", SWITCH, "", "print the version"),
    ("help", "h", SWITCH, "", "show help"),
)

BUNDLE = ("bundle", "b", TEXT, "DIR", "the bundle directory (default: the current directory)")
CONSOLE_SOCKET = ("console-socket", "", TEXT, "SOCKET", "unix socket that receives the master end of the container's terminal")
PIDFD_SOCKET = ("pidfd-socket", "", TEXT, "SOCKET", "unix socket that receives a pidfd of the process")
PID_FILE = ("pid-file", "", TEXT, "FILE", "write the pid of the process to FILE")
PRESERVE_FDS = ("preserve-fds", "", COUNT, "N", "pass N more descriptors on, beyond standard input and outputs and $LISTEN_FDS")
DETACH = ("detach", "d", SWITCH, "", "return as soon as the process runs, do not wait for its end")

CREATION = (
    BUNDLE,
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    ("no-pivot", "", SWITCH, "", "move the root mount instead of pivot_root (for a rootfs on a ramdisk)"),
    ("no-new-keyring", "", SWITCH, "", "keep the caller's session keyring"),
    PRESERVE_FDS,
)

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class BadUsage(UsageError):
    """A command line that cannot be read; main shows the help of the verb with it, under `heading`."""

    def __init__(self, text, heading=""):
        super().__init__(text)
        self.heading = heading or f"Incorrect Usage: {text}"


def parse(words, table, in_order=False):
    """Split `words` into flags and positionals: ({name: value}, [positional]). Only flags that were given are in the dict.

    in_order: the first positional ends the flags (exec, kill, ps and the global flags). `help` is always known.
    Raises BadUsage.
    """
    values = {}
    positionals = []
    index, count = 0, len(words)
    while index < count:
        word = words[index]
        index += 1
        if word == "--":
            return values, positionals + words[index:]
        if word[:1] != "-" or word == "-":
            if in_order:
                return values, words[index - 1 :]
            positionals.append(word)
            continue
        name, equals, value = word[2 if word[1] == "-" else 1 :].partition("=")
        if not name or name[0] == "-":
            raise BadUsage(f"bad flag syntax: {word}")
        row = _row(table, name)
        kind = row[2]
        if kind == SWITCH:
            values[row[0]] = switch(value, name) if equals else True
            continue
        if not equals:
            if index == count:
                raise BadUsage(f"flag needs an argument: {word}")
            value = words[index]
            index += 1
        if kind == TEXT:
            values[row[0]] = value
        elif kind == LIST:
            values.setdefault(row[0], []).append(value)
        else:
            values[row[0]] = _converted(kind, value, name)
    return values, positionals


_HELP = ("help", "h", SWITCH, "", "show help")


def _row(table, name):
    for row in table:
        if name == row[0] or name == row[1]:
            return row
    if name in ("help", "h"):
        return _HELP
    raise BadUsage(f"flag provided but not defined: -{name}")


def _converted(kind, value, name):
    try:
        if kind == NUMBER:
            return number(value)
        if kind == COUNT:
            return number(value, 0)
        return kind(value)
    except ValueError:
        raise BadUsage(f'invalid value "{value}" for flag -{name}: parse error') from None


def switch(value, name):
    """True or False for the words that Go's ParseBool takes; BadUsage for others."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise BadUsage(f'invalid boolean value "{value}" for -{name}: parse error')


def number(text, lowest=-(2**63), highest=2**63 - 1):
    """A decimal integer within limits. Total: ValueError for anything else (no spaces, no underscores, no other digits)."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        raise ValueError("not a number")
    value = int(text)
    if not lowest <= value <= highest:
        raise ValueError("out of range")
    return value


def check_count(verb, given, least, most):
    """Refuse a wrong number of arguments, in runc's words. most: None for no limit."""
    if least == most and given != least:
        problem = f"requires exactly {least} argument(s)"
    elif given < least:
        problem = f"requires a minimum of {least} argument(s)"
    elif most is not None and given > most:
        problem = f"requires a maximum of {most} argument(s)"
    else:
        return
    raise BadUsage(f'pyoci: "{verb}" {problem}', "Incorrect Usage.")


def absolute(path):
    """`path` from the root, without "." and "//" and, if it can be opened, without "..". The directory is not changed.

    ".." is resolved by the kernel, for after a symbolic link it is not what a lexical reading says.
    """
    if path[:1] != "/":
        try:
            path = f"{posix.getcwd()}/{path}"
        except OSError as error:
            raise SyscallError("getcwd", error.errno) from error
    parts = [part for part in path.split("/") if part not in ("", ".")]
    plain = "/" + "/".join(parts)
    return _physical(plain) if ".." in parts else plain


def _physical(path):
    try:
        fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    except OSError:
        return path  # whoever opens it next says what is wrong
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)


def creation(values):
    """The keyword arguments of Runtime.create and Runtime.run that CREATION's flags ask for."""
    return {
        "console_socket": values.get("console-socket") or None,
        "pidfd_socket": values.get("pidfd-socket") or None,
        "pid_file": values.get("pid-file") or None,
        "no_pivot": values.get("no-pivot", False),
        "no_new_keyring": values.get("no-new-keyring", False),
        "preserve_fds": values.get("preserve-fds", 0),
        "environ": environment(),
    }


def environment():
    """The caller's environment as text (posix.environ holds bytes)."""
    return {key.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape") for key, value in posix.environ.items()}
