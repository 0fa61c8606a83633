"""docs/pyoci.1, made from the tables of the verbs: `python -m pyoci.cli.manpage > docs/pyoci.1`.

Cold. A test compares the file with this text, so that it cannot go stale. Source: man(7).
"""

from pyoci import __version__
from pyoci.cli.help import FIRST_STEPS, INTRODUCTION, meaning, shown, usage, verb_module
from pyoci.cli.main import VERBS
from pyoci.cli.options import GLOBAL, SWITCH

EXIT_STATUSES = (
    ("0", "Success."),
    ("1", "A failure; standard error says on one line what failed, on what, and why."),
    ("3", "An unknown command."),
    ("130", "Interrupted from the keyboard."),
    ("255", "exec could not run the process."),
    ("other", "A foreground run or exec exits with the status of the process, or with 128 plus the number of the signal that ended it."),
)

ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "Users other than root keep the state of containers in its subdirectory pyoci."),
    ("LISTEN_FDS, LISTEN_PID", "Socket activation: the descriptors are passed on to the container."),
    ("NOTIFY_SOCKET", "A container that is ready can say so to the service manager."),
)

FILES = (
    ("/run/pyoci", "The state of containers, unless --root names another directory."),
    ("config.json", "In the bundle directory: what the container is to be."),
)


def man_page():
    """The whole page, in man(7) macros."""
    parts = [
        f'.\\" Made by pyoci.cli.manpage; do not edit.\n.TH PYOCI 1 "" "pyoci {__version__}" "User Commands"',
        ".SH NAME\npyoci \\- run OCI containers",
        ".SH SYNOPSIS\n.B pyoci\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIcommand options\\fR] [\\fIarguments\\fR...]",
        f".SH DESCRIPTION\n{_text(INTRODUCTION)}\n.PP\nFlags may be written with one dash or two, and a value may follow\nafter a space or an equals sign.",
        ".SH GLOBAL OPTIONS\n" + _flags(GLOBAL),
        ".SH COMMANDS\n" + "\n".join(_verb(verb) for verb in VERBS),
        ".SH EXIT STATUS\n" + _terms(EXIT_STATUSES),
        ".SH ENVIRONMENT\n" + _terms(ENVIRONMENT),
        ".SH FILES\n" + _terms(FILES),
        ".SH EXAMPLES\n" + "\n".join(f".TP\n.B {_escaped(command)}\n{_text(text[0].upper() + text[1:])}." for command, text in FIRST_STEPS),
        ".SH SEE ALSO\n.BR runc (8),\n.BR crun (1),\n.BR namespaces (7),\n.BR cgroups (7)",
    ]
    return "\n".join(parts) + "\n"


def _verb(verb):
    module = verb_module(verb)
    flags = _flags(module.OPTIONS)
    example = f".PP\nExample:\n.RS\n.nf\n{_escaped(module.EXAMPLE)}\n.fi\n.RE"
    summary = module.SUMMARY[0].upper() + module.SUMMARY[1:]
    return "\n".join(filter(None, (f".SS {_escaped(usage(verb, module))}", f"{_text(summary)}.\n{_text(module.ABOUT)}", flags, example)))


def _flags(table):
    return "\n".join(f".TP\n{_flag(row)}\n{_text(meaning(row))}" for row in shown(table))


def _flag(row):
    value = "" if row[2] == SWITCH else f" \\fI{_escaped(row[3])}\\fR"
    names = [f"\\fB{_escaped('--' + row[0])}\\fR{value}"] + ([f"\\fB{_escaped('-' + row[1])}\\fR{value}"] if row[1] else [])
    return ", ".join(names)


def _terms(rows):
    return "\n".join(f".TP\n.B {_escaped(name)}\n{_text(text)}" for name, text in rows)


def _text(text):
    return _escaped(" ".join(text.split()))


def _escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text


if __name__ == "__main__":
    import sys

    sys.stdout.write(man_page())
