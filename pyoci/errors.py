"""The exception tree, errno names, and the one-line rendering of a failure.

    PyociError                      one clear line, exit status 1 (exec: 255)
      UsageError                    the command line is wrong
      ConfigError                   config.json (or process.json, resources.json) is refused; carries the config path
        UnsupportedConfig           valid, but this release or this host cannot do it
      StateError                    the container is missing, exists already, or is in the wrong status
        NoSuchContainer  AlreadyExists  WrongStatus  DamagedState
      SyscallError                  a system call or a file of /proc or /sys failed
      BusError                      systemd, or the message bus on the way to it, refused a call
      OperationFailed               an operation of the plan failed; carries its origin, step and errno
      CleanupError                  what an undo could not remove

Nothing here formats a traceback, prints or exits: cli/main.py does.
Messages are one line, lower case, no full stop: where, what, on what, why.
"""

# The errno names that the kernel calls used here can return (errno(3)); `import errno` is built in and cheap.
from errno import errorcode
from posix import strerror

ENOSYS = 38
OLD_KERNEL = "pyoci needs Linux 5.12 or newer, and no filter around it that hides the call"


def errno_text(number):
    """`No such file or directory (ENOENT)` for 2; an unknown number is shown as such."""
    name = errorcode.get(number)
    return f"{strerror(number)} ({name})" if name else f"error {number}"


class PyociError(Exception):
    """The root. str() is the whole line that a user reads."""

    exit_status = 1


class UsageError(PyociError):
    """A wrong flag, argument or argument count."""


class ConfigError(PyociError):
    """A refused document.

    path      the config path, `mounts[4].type`; "" for the document as a whole
    problem   what is wrong, quoting what the user wrote
    clause    where the rule stands, `config.md#mounts`, or ""
    hint      what to change, or ""
    document  the file's name for the message
    line      the line in that file, filled in by whoever has the text
    """

    def __init__(self, path, problem, clause="", hint="", document="config.json"):
        super().__init__(path, problem)
        self.path = path
        self.problem = problem
        self.clause = clause
        self.hint = hint
        self.document = document
        self.line = 0

    def __str__(self):
        where = f"{self.document}:{self.line}" if self.line else self.document
        text = f"{where}: {self.path}: {self.problem}" if self.path else f"{where}: {self.problem}"
        if self.hint:
            text += f"; {self.hint}"
        if self.clause:
            text += f" ({self.clause})"
        return text


class UnsupportedConfig(ConfigError):
    """A valid wish that cannot be granted here; refused by name before any effect, never ignored."""


class StateError(PyociError):
    """The container is not in the state that the command needs."""


class NoSuchContainer(StateError):
    """Callers match the words `container does not exist`."""

    def __init__(self, container_id):
        super().__init__(f"container does not exist: {container_id}")


class AlreadyExists(StateError):
    """Callers match the words `container with given ID already exists`."""

    def __init__(self, container_id):
        super().__init__(f"container with given ID already exists: {container_id}")


class DamagedState(StateError):
    """The container's record is not what create wrote; only delete --force goes on from here."""


class WrongStatus(StateError):
    """The command needs another status; the text is the caller-matched sentence."""


class SyscallError(PyociError):
    """A failed call: `open_tree /srv/data: No such file or directory (ENOENT)`."""

    def __init__(self, call, number, on=""):
        super().__init__(call, number, on)
        self.call = call
        self.errno = number
        self.on = on

    def __str__(self):
        on = f" {self.on}" if self.on else ""
        text = f"{self.call}{on}: {errno_text(self.errno)}"
        return f"{text}; {OLD_KERNEL}" if self.errno == ENOSYS else text


class BusError(PyociError):
    """A call over D-Bus that was refused: `StartTransientUnit: Unit a.scope already exists (org.freedesktop.systemd1.UnitExists)`.

    call      the method
    name      the error's name, or "" where the connection itself failed
    problem   what the other side says, one line
    """

    def __init__(self, call, name, problem):
        super().__init__(call, name, problem)
        self.call = call
        self.name = name
        self.problem = " ".join(problem.split()).rstrip(".")

    def why(self):
        """The reason without the call."""
        return f"{self.problem} ({self.name})" if self.name else self.problem

    def __str__(self):
        return f"{self.call}: {self.why()}"


class OperationFailed(PyociError):
    """An operation of the plan failed.

    origin    the config path that asked for it, `mounts[4]`, or `default`
    what      the operation in words, `bind /srv/data on /data`
    step      the call in it that failed, `open_tree`, or ""
    errno     its errno, 0 if another reason is in `detail`
    detail    a reason in words, or what the step was on
    hint      what to change, or ""
    prefix    runc's sentence where callers match it, or ""
    """

    def __init__(self, origin, what, step="", errno=0, detail="", hint="", prefix=""):
        super().__init__(origin, what, step, errno)
        self.origin = origin
        self.what = what
        self.step = step
        self.errno = errno
        self.detail = detail
        self.hint = hint
        self.prefix = prefix
        self.line = 0

    def __str__(self):
        parts = []
        if self.prefix:
            parts.append(self.prefix)
        if self.origin and self.origin != "default":
            parts.append(f"config.json:{self.line}: {self.origin}" if self.line else self.origin)
        parts.append(self.what)
        if self.step:
            parts.append(self.step)
        if self.detail:
            parts.append(self.detail)
        if self.errno:
            parts.append(errno_text(self.errno))
        text = ": ".join(parts)
        return f"{text}; {self.hint}" if self.hint else text


class CleanupError(PyociError):
    """What could not be undone, every item of it, after everything was tried."""

    def __init__(self, leftovers):
        super().__init__(leftovers)
        self.leftovers = list(leftovers)

    def __str__(self):
        return "could not remove " + "; ".join(self.leftovers)
