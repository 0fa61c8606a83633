"""From argv to an exit status: global flags, the verb's module, its call, and the one line that says what went wrong.

The only place of pyoci that prints an error or exits. Knows no verb's meaning (cli/verbs/ has one file a verb). Global
flags, exit codes and log records are runc's (runc(8), main.go): 0 for success, 1 for a failure, 255 for a failed exec, 3
for an unknown verb, and the status of the process for a foreground run or exec.
"""

import posix
import sys

from pyoci.cli.options import GLOBAL, BadUsage, absolute, check_count, parse
from pyoci.errors import SyscallError, UsageError

VERBS = (
    "create", "start", "run", "exec", "kill", "delete", "state", "list", "ps", "pause", "resume", "update", "events",
    "spec", "features", "plan", "checkpoint", "restore", "completion",
)  # fmt: skip

# verb -> (what its errors begin with, exit status). runc says "runc create failed: "; no caller matches on that, people
# read it behind "OCI runtime create failed: ", so it names the runtime that failed. "exec failed: " has no name in runc either.
FAILURES = {
    "create": ("pyoci create failed: ", 1),
    "run": ("pyoci run failed: ", 1),
    "exec": ("exec failed: ", 255),
}
UNKNOWN_VERB_STATUS = 3
INTERRUPTED_STATUS = 130  # 128 + SIGINT, as a shell shows it
EPIPE = 32

# The callers of these two read standard output and standard error together (go-runc), so they never warn.
_SILENT = ("state", "ps")
_CGROUP_MAKERS = ("create", "run", "restore", "plan")


class Command:
    """One command line: what was asked (settings, verb, values, arguments), and the runtime to ask."""

    __slots__ = ("arguments", "settings", "values", "verb", "warnings")

    def __init__(self):
        self.settings = {}
        self.verb = ""
        self.values = {}
        self.arguments = []
        self.warnings = []

    def runtime(self):
        """The api.Runtime for the global flags. Imported here: verbs that need none don't pay for it."""
        from pyoci.api import Runtime

        return Runtime(
            root_directory(self.settings, self.verb in ("create", "run")),
            # The state remembers who made the cgroup: go-runc gives this flag to every verb, containerd's delete to none.
            systemd_cgroup=self.verb in _CGROUP_MAKERS and self.settings.get("systemd-cgroup", False),
            rootless=_rootless(self.settings.get("rootless", "auto")),
            warn=None if self.verb in _SILENT else self.warn,
        )

    def warn(self, text):
        """Show a warning, or keep it: podman reads the whole log file as one record, the error, so with --log others wait
        for the end (success: they go to the log; failure: to standard error)."""
        if "log" in self.settings and not self.settings.get("debug"):
            self.warnings.append(text)
        elif self.settings.get("log") or self.settings.get("log-format") == "json":
            _record(self.settings, "warning", text)
        else:
            _show_warning(text)


def entry(finder):
    """Run and leave the process, without the interpreter's own farewell (1 ms).  `finder`: hot.Finder."""
    status = main(sys.argv, finder.preload)
    if finder.is_to_be_renewed():
        from pyoci.hotfile import renew  # cold: once after an installation or an edit

        renew()
    posix._exit(status)


def main(argv, prepare=None):
    """Carry out the command line `argv` (with the program's name in front). Returns the exit status; raises nothing.

    `prepare` is called with the verb's name before its modules are imported.
    """
    command = Command()
    try:
        keep_standard_descriptors()
        status = dispatch(command, argv[1:], prepare)
        for text in command.warnings:
            _record(command.settings, "warning", text)
        return status or 0
    except KeyboardInterrupt:
        report(command, "interrupted")
        return INTERRUPTED_STATUS
    except Exception as error:
        return fail(command, error)


def dispatch(command, words, prepare=None):
    """Read the command line and call its verb. Returns the exit status or None."""
    settings, words = parse(words, GLOBAL, in_order=True)
    if settings.get("help") or (not words and not settings.get("version")):
        return _print_help("")
    if settings.get("version"):
        return _print_version()
    _take_settings(command, settings)
    verb = words[0]
    if verb in ("help", "h"):
        return _print_help(_known(words[1]) if len(words) > 1 else "")
    if prepare:
        prepare(_known(verb))
    module = _verb_module(_known(verb))
    command.verb = verb
    command.values, command.arguments = parse(words[1:], module.OPTIONS, verb in ("exec", "kill", "ps"))
    if command.values.get("help"):
        return _print_help(verb)
    check_count(verb, len(command.arguments), *module.ARGUMENTS)
    if settings.get("debug"):
        _debug(command, words)
    return module.call(command)


class UnknownVerb(UsageError):
    """runc's words for it, and its exit status."""

    exit_status = UNKNOWN_VERB_STATUS


def _known(verb):
    if verb not in VERBS:
        raise UnknownVerb(f"No help topic for '{verb}'; pyoci --help lists the commands")
    return verb


def _verb_module(verb):
    return __import__(f"pyoci.cli.verbs.{verb}", None, None, ("call",))


def _take_settings(command, settings):
    """Check the global flags; the log file must be writable before anything else happens."""
    log_format = settings.get("log-format", "text")
    if log_format not in ("text", "json"):
        raise UsageError(f"invalid log-format: {log_format}")
    if settings.get("log"):
        # Closed again at once: an open log could be taken for one of the --preserve-fds.
        try:
            posix.close(posix.open(settings["log"], posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o644))
        except OSError as error:
            raise SyscallError("open", error.errno, settings["log"]) from error
    else:
        settings.pop("log", None)
    command.settings = settings
    _rootless(settings.get("rootless", "auto"))
    if "root" in settings:
        settings["root"] = absolute(settings["root"])
        if settings["root"] == "/":
            raise UsageError("Option --root argument should not be set to /")


def _rootless(word):
    if word in ("auto", ""):
        return None
    from pyoci.cli.options import switch

    return switch(word, "rootless")


def root_directory(settings, make=False):
    """The state directory: --root, else $XDG_RUNTIME_DIR/pyoci for whoever is not the host's root, else /run/pyoci.

    make: create the XDG one if it is missing, with the sticky bit, which keeps it from being cleaned up
    (XDG Base Directory Specification).
    """
    if "root" in settings:
        return settings["root"]
    runtime_directory = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if posix.geteuid() == 0 and not (runtime_directory and _root_of_a_user_namespace()):
        return "/run/pyoci"
    runtime_directory = runtime_directory or _runtime_directory()
    root = f"{runtime_directory}/pyoci"
    if make:
        try:
            posix.mkdir(root, 0o700)
            posix.chmod(root, 0o1700)
        except FileExistsError:
            pass
        except OSError as error:
            raise SyscallError("mkdir", error.errno, root) from error
    return root


def _root_of_a_user_namespace():
    if posix.environ.get(b"USER") == b"root":
        return False
    from pyoci.kernel.proc import in_user_namespace  # only where XDG_RUNTIME_DIR is set

    return in_user_namespace()


def _runtime_directory():
    """What pam_systemd(8) makes for a user, who may have lost the variable (su, sudo, cron).  Raises UsageError."""
    path = f"/run/user/{posix.geteuid()}"
    try:
        found = posix.stat(path)
    except OSError:
        found = None
    if found is None or found.st_uid != posix.geteuid():
        raise UsageError(f"where to keep the state of containers: XDG_RUNTIME_DIR is not set, and {path} is not there; set it, or give --root")
    return path


# Output


def keep_standard_descriptors():
    """Occupy closed descriptors 0 to 2, so that no file of ours becomes the container's standard output.

    /dev/null is opened the wrong way round: reading standard input or writing an output still fails.
    """
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            posix.set_inheritable(posix.open("/dev/null", posix.O_RDONLY if fd else posix.O_WRONLY), True)


def write_output(text):
    """Write all of `text` to standard output. Raises SyscallError."""
    try:
        _write(1, text)
    except OSError as error:
        raise SyscallError("write", error.errno, "standard output") from error


def write_error(text):
    """Write `text` to standard error, if it can be written at all."""
    try:
        _write(2, text)
    except OSError:
        pass


def _write(fd, text):
    try:
        data = text.encode()
    except UnicodeEncodeError:
        from pyoci.cli.log import without_surrogates  # cold: a path or an annotation that is not UTF-8

        data = without_surrogates(text).encode()
    while data:
        data = data[posix.write(fd, data) :]


# Failure


def fail(command, error):
    """Say what went wrong, on one line. Returns the exit status."""
    prefix, status = FAILURES.get(command.verb, ("", 1))
    if isinstance(error, BadUsage):
        prefix, status = "", 1
        _show_usage(command, error)
    elif isinstance(error, UnknownVerb):
        status = error.exit_status
    if command.settings.get("debug"):
        _show_traceback(error)
    if not (isinstance(error, SyscallError) and error.errno == EPIPE and error.on == "standard output"):
        from pyoci.cli.failure import describe

        report(command, prefix + describe(command, error))
    return status


def report(command, text):
    """One error: to standard error for people, and with --log as the one record of the file."""
    from pyoci.cli.failure import one_line

    text = one_line(text)
    for warning in command.warnings:
        _show_warning(warning)
    if "log" in command.settings or command.settings.get("log-format") == "json":
        _record(command.settings, "error", text)
        if "log" not in command.settings:
            return
    write_error(f"{text}\n")


def _show_warning(text):
    from pyoci.cli.failure import one_line

    write_error(f"warning: {one_line(text)}\n")


def _show_usage(command, error):
    try:
        from pyoci.cli.help import program_help, verb_help

        write_output(f"{error.heading}\n\n{verb_help(command.verb) if command.verb else program_help()}")
    except SyscallError:
        pass  # the error itself still goes to standard error


def _show_traceback(error):
    from traceback import format_exception  # cold: only with --debug

    write_error("".join(format_exception(type(error), error, error.__traceback__)))


def _record(settings, level, text):
    from pyoci.cli.log import write_record  # cold: most command lines log nothing

    write_record(settings, level, text)


def _debug(command, words):
    from pyoci import __version__

    _record(command.settings, "debug", f"pyoci {__version__}: {' '.join(words)} (state in {root_directory(command.settings)})")


def _print_help(verb):
    from pyoci.cli.help import program_help, verb_help

    write_output(verb_help(verb) if verb else program_help())


def _print_version():
    from pyoci.cli.help import version_text

    write_output(version_text())
