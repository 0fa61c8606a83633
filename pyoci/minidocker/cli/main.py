"""From argv to an exit status: the global flags, the command's module, its call, and the lines that say what went wrong.

The only place of MiniDocker that prints an error or exits.  Exit statuses are docker's for run: 125 for an error of MiniDocker's own, 126 and 127 for a
program that can't be run or isn't there, else the container's own.  Source: docker(1), docker-run(1).
"""

import os
import sys

from pyoci.errors import PyociError
from pyoci.minidocker.cli.visible import visible

# command -> module in cli/commands, which is imported when it is called, so that --help imports nothing; in the order of use.
COMMANDS = {
    "run": "run", "ps": "ps", "logs": "look", "exec": "exec", "stop": "life", "rm": "life", "images": "images", "pull": "registry",
    "inspect": "inspect", "start": "start", "restart": "life", "kill": "life", "cp": "files", "tag": "images", "push": "registry",
    "rmi": "images", "stats": "stats", "top": "look", "wait": "life", "create": "run", "commit": "files", "save": "archive",
    "load": "archive", "export": "files", "import": "archive", "events": "look", "login": "registry", "logout": "registry",
    "update": "update", "pause": "life", "unpause": "life", "rename": "life", "diff": "look", "history": "images", "attach": "start",
    "info": "about", "version": "about", "completion": "completion",
}  # fmt: skip
# noun -> {word: (command, module)}
NOUNS = {
    "container": {
        **{word: (word, COMMANDS[word]) for word in (
            "run", "create", "start", "stop", "restart", "kill", "rm", "logs", "exec", "attach", "wait", "top", "stats", "cp",
            "diff", "commit", "export", "rename", "update", "pause", "unpause")},
        "ls": ("ps", "ps"), "ps": ("ps", "ps"), "list": ("ps", "ps"), "remove": ("rm", "life"), "prune": ("container prune", "system"),
        "inspect": ("container inspect", "inspect"),
    },
    "image": {
        **{word: (word, COMMANDS[word]) for word in ("pull", "push", "save", "load", "import", "tag", "history")},
        "ls": ("images", "images"), "list": ("images", "images"), "rm": ("rmi", "images"), "remove": ("rmi", "images"),
        "inspect": ("image inspect", "inspect"), "prune": ("image prune", "system"), "make": ("image make", "images"),
    },
    "system": {
        "df": ("system df", "usage"), "info": ("info", "about"), "events": ("events", "look"), "prune": ("system prune", "system"),
        "check": ("system check", "system"), "start": ("system start", "system"),
    },
}  # fmt: skip
FAILED = 125
# What docker has and this release has not, and what there is in its place.
LATER = {
    **dict.fromkeys(("build", "builder", "buildx"), "'minidocker commit' makes an image of a container, 'minidocker load' reads one that another tool has built"),
    **dict.fromkeys(("network", "port"), "a container has no network, or the host's: 'minidocker run --network host'"),
    "volume": "a directory of the host can be bound: 'minidocker run -v /host/path:/path'",
    "compose": "'minidocker run' starts a container",
    **dict.fromkeys(("checkpoint", "config", "context", "manifest", "node", "plugin", "search", "secret", "service", "stack", "swarm", "trust"),
                    "'minidocker --help' lists the commands"),
}  # fmt: skip


class Call:
    """One command line: the global settings, the command's values and arguments; and the engine, made when asked for."""

    def __init__(self, settings):
        self.settings = settings
        self.values = None
        self.arguments = []
        self._engine = None

    @property
    def engine(self):
        """The Engine for the global flags."""
        if self._engine is None:
            from pyoci.minidocker.engine import Engine

            roots = self.roots
            if os.geteuid():
                from pyoci.minidocker.rootless import enter

                enter(roots)
            self._engine = Engine(roots, runtime=self.settings["runtime"] or "", warn=warn)
        return self._engine

    @property
    def roots(self):
        """Where things are."""
        from pyoci.minidocker.paths import Roots

        return Roots(self.settings["data-root"] or "", self.settings["run-root"] or "")


def entry(finder):
    """Run and leave the process, without the interpreter's own farewell.  `finder`: hot.Finder."""
    _open_standard_streams()
    _print_anything()
    status = main(sys.argv[1:], finder.preload)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # nobody wants the rest
        status = status or 1
    except OSError as error:
        status = status or fail("", _unwritten(error))
    if finder.is_to_be_renewed():
        from pyoci.hotfile import renew  # cold: once after an installation or an edit

        renew()
    os._exit(status)


def _is_output_stuck():
    """Whether it is our output that could not be written: what was to be is held still, and fails again."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _print_anything():
    """Names of files need not be UTF-8, and come out as they are; half a character, which JSON can say, is spelled out."""
    import codecs  # loaded since the start

    def spelled(error):
        one = error.object[error.start]
        is_byte = "\udc80" <= one <= "\udcff"
        return bytes([ord(one) - 0xDC00]) if is_byte else f"\\u{ord(one):04x}", error.start + 1

    codecs.register_error("minidocker", spelled)
    sys.stdout.reconfigure(errors="minidocker")


def _unwritten(error):
    from pyoci.minidocker.errors import MiniDockerError

    return MiniDockerError(f"write standard output: {error.strerror}")


def _open_standard_streams():
    """Where a descriptor was closed when Python began, there is no stream: __main__.py has put something into its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - to the end


def main(words, prepare=None):
    """Carry out a command line without the program's name.  Returns the exit status; raises nothing.

    `prepare` is called with the name of the command's module before that is imported.
    """
    name, call = "", None
    try:
        call, words = _read_settings(words)
        if call is None:
            return 0
        command, module, rest = find(words)
        name = " ".join(words[: len(words) - len(rest)])  # as it was called: `container rm` is rm
        if module is None:
            return _show_help(words, rest)
        if prepare:
            prepare(module)
        return _carry_out(call, command_of(command, module), name, rest)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        if not _is_output_stuck():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still held goes nowhere, and nothing more is said of it
        return fail(name, _unwritten(error))
    except PyociError as error:
        if call and call.settings["debug"]:
            from traceback import format_exception  # cold: only with --debug

            sys.stderr.write("".join(format_exception(error)))
        return fail(name, error)


def global_options():
    """The flags before a command."""
    from pyoci.minidocker.cli.options import FLAG, TEXT, Option

    return (
        Option("data-root", "", TEXT, "where images and containers are kept"),
        Option("run-root", "", TEXT, "where sockets and locks are kept"),
        Option("runtime", "", TEXT, "another OCI runtime's path, such as /usr/sbin/runc"),
        Option("debug", "D", FLAG, "show where an error came from"),
        Option("version", "v", FLAG, "print the version"),
    )


def _read_settings(words):
    from pyoci.minidocker.cli.options import parse

    options = global_options()
    settings, words = parse(words, options, interspersed=False)
    if settings["version"]:
        from pyoci import __version__

        print(f"MiniDocker version {__version__}")
        return None, words
    if settings["help"] or not words or words == ["help"]:
        from pyoci.minidocker.cli.help import program_help

        sys.stdout.write(program_help(options))
        return None, words
    return Call(settings), (words[1:] + ["--help"] if words[0] == "help" else words)


def find(words):
    """(the command's name, its module or None for a noun's help, the words after it).  Raises MiniDockerError."""
    from pyoci.minidocker.errors import MiniDockerError

    word, rest = words[0], words[1:]
    if word in COMMANDS:
        return word, COMMANDS[word], rest
    if word in NOUNS:
        if not rest or rest[0] in ("--help", "-h", "help"):
            return word, None, rest
        if rest[0] in NOUNS[word]:
            return (*NOUNS[word][rest[0]], rest[1:])
        _refuse_later(f"{word} {rest[0]}", rest[0])
        raise MiniDockerError(f"'{word} {rest[0]}' is not a minidocker command", hint=_nearest(rest[0], NOUNS[word], f"minidocker {word} "))
    _refuse_later(word, word)
    raise MiniDockerError(f"'{word}' is not a minidocker command", hint=_nearest(word, [*COMMANDS, *NOUNS], "minidocker "))


def _refuse_later(called, word):
    from pyoci.minidocker.errors import MiniDockerError

    if word in LATER:
        raise MiniDockerError(f"'{called}' is a command of docker's that is not in this release", hint=LATER[word])


def _nearest(word, known, before):
    from pyoci.minidocker.errors import nearest

    return nearest(word, known, before) or f"'{before}--help' lists the commands"


def _show_help(words, rest):
    from pyoci.minidocker.cli.help import noun_help

    sys.stdout.write(noun_help(words[0]))
    return 0


def command_of(name, module):
    """The Command of a name, from its module."""
    return __import__(f"pyoci.minidocker.cli.commands.{module}", None, None, ("COMMANDS",)).COMMANDS[name]


def _carry_out(call, command, name, rest):
    from pyoci.minidocker.cli.options import Usage, parse

    call.values, call.arguments = parse(rest, command.options, command.interspersed)
    if call.values["help"]:
        from pyoci.minidocker.cli.help import command_help

        sys.stdout.write(command_help(name, command))
        return 0
    count = len(call.arguments)
    if count < command.least or (command.most is not None and count > command.most):
        raise Usage(f"'minidocker {name}' {wanted(command)}, not {count}")
    if not command.frees:
        return command.call(call) or 0
    from pyoci.minidocker import spare

    with spare.spent(call.roots):
        return command.call(call) or 0


def wanted(command):
    """What a command's argument count must be, in words."""
    words = "argument" if command.least == 1 else "arguments"
    if command.least == command.most:
        return f"requires {command.least} {words}" if command.least else "accepts no arguments"
    if command.most is None or command.most < command.least:
        return f"requires at least {command.least} {words}"
    return f"requires {command.least} to {command.most} arguments"


def fail(name, error):
    """Say what went wrong, and how to go on.  Returns the exit status."""
    from pyoci.minidocker.cli.options import Usage

    say(error, f"'minidocker {name} --help' shows how it is called" if isinstance(error, Usage) else "")
    status = getattr(error, "exit_status", FAILED)
    return status if status in (126, 127) else FAILED


def say(error, hint=""):
    """An error on standard error, and below it its own hint, or this one."""
    hint = getattr(error, "hint", "") or hint
    print(f"minidocker: {one_line(error)}" + (f"\n  {one_line(hint)}" if hint else ""), file=sys.stderr)


def one_line(error):
    """The error's text in one line that no terminal obeys, whatever it quotes."""
    return visible(str(error).replace("\n", " "))


def warn(text):
    """A warning: on standard error, and things go on."""
    print(f"WARNING: {one_line(text)}", file=sys.stderr)


class Command:
    """One command: how it is called and what it does.

    usage         what follows the name, `[OPTIONS] CONTAINER [CONTAINER...]`
    summary       one line for help
    options       a tuple of Option, or a dict of such tuples by heading
    least, most   the number of arguments; most None = any
    interspersed  whether options may follow arguments
    example       a command line that people can try
    call          function(Call) -> exit status or None
    frees         it gives room on the disk back, and is to work where that is full
    """

    def __init__(self, call, usage, summary, example, *, options=(), least=0, most=0, interspersed=True, frees=False):
        self.call = call
        self.usage = usage
        self.summary = summary
        self.example = example
        self.groups = options if isinstance(options, dict) else {"Options": options}
        self.options = tuple(option for group in self.groups.values() for option in group)
        self.least = least
        self.most = most
        self.interspersed = interspersed
        self.frees = frees
