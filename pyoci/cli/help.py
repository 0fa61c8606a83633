"""The texts of --help and --version, made from the tables of the verbs. Cold: loaded only to be shown."""

from importlib import import_module

from pyoci import __version__
from pyoci.cli.main import VERBS
from pyoci.cli.options import GLOBAL, LIST, SWITCH

WIDTH = 100
SPEC_VERSION = "1.3.0"

INTRODUCTION = """pyoci creates and runs containers from OCI bundles: directories with a config.json and a root filesystem. It takes
runc's command line, so that engines which call runc can call it."""

FIRST_STEPS = (
    ("pyoci spec", "write a config.json to start from"),
    ("pyoci plan .", "see what it would do, operation by operation"),
    ("pyoci run hello", "run the bundle in this directory as container `hello`"),
)


def verb_module(verb):
    """The module of a verb, with SUMMARY, USAGE, ABOUT, EXAMPLE, OPTIONS and ARGUMENTS."""
    return import_module(f"pyoci.cli.verbs.{verb}")


def shown(table):
    """The rows of an option table that help, completion and the man page show."""
    return [row for row in table if row[4]]


def flag_text(row):
    """`--bundle DIR, -b DIR` as urfave writes it."""
    value = "" if row[2] == SWITCH else f" {row[3]}"
    return f"--{row[0]}{value}" + (f", -{row[1]}{value}" if row[1] else "")


def meaning(row):
    """A flag's meaning, and that it may be repeated where it may."""
    return f"{row[4]} (repeatable)" if row[2] == LIST else row[4]


def program_help():
    """The text of `pyoci --help`."""
    return _page(
        ("NAME:", "   pyoci - run OCI containers"),
        ("USAGE:", "   pyoci [global options] command [command options] [arguments...]"),
        ("", _wrapped(INTRODUCTION, "")),
        ("FIRST STEPS:", _columns([(f"{command}", text) for command, text in FIRST_STEPS])),
        ("COMMANDS:", _columns([(verb, verb_module(verb).SUMMARY) for verb in VERBS])),
        ("GLOBAL OPTIONS:", _columns([(flag_text(row), meaning(row)) for row in shown(GLOBAL)])),
        ("", "`pyoci COMMAND --help` tells more about a command."),
    )


def verb_help(verb):
    """The text of `pyoci VERB --help`."""
    module = verb_module(verb)
    rows = shown(module.OPTIONS)
    options = ("OPTIONS:", _columns([(flag_text(row), meaning(row)) for row in rows])) if rows else None
    return _page(
        ("NAME:", f"   pyoci {verb} - {module.SUMMARY}"),
        ("USAGE:", "   " + usage(verb, module)),
        ("DESCRIPTION:", _wrapped(module.ABOUT, "   ")),
        options,
        ("EXAMPLE:", f"   {module.EXAMPLE}"),
    )


def usage(verb, module):
    """`pyoci create [options] <container-id>`."""
    options = " [options]" if shown(module.OPTIONS) else ""
    return f"pyoci {verb}{options} {module.USAGE}".rstrip()


def version_text():
    """The lines of --version; go-runc reads the lines that begin with `commit: ` and `spec: `."""
    return f"pyoci version {__version__}\ncommit: v{__version__}\nspec: {SPEC_VERSION}\nlibseccomp: {_libseccomp_version()}\n"


def _libseccomp_version():
    try:
        from pyoci.seccomp.binding import version

        return version()
    except Exception:  # --version answers also where the shim is not built
        return "none"


def _page(*sections):
    parts = [f"{title}\n{body}" if title else body for title, body in filter(None, sections)]
    return "\n\n".join(parts) + "\n"


def _columns(rows):
    from textwrap import wrap

    left = max(len(name) for name, _ in rows) + 2
    narrow = left > 40
    lines = []
    for name, text in rows:
        margin = 9 if narrow else 3 + left
        parts = wrap(text, WIDTH - margin)
        if narrow:
            lines += [f"   {name}"] + [" " * margin + part for part in parts]
        else:
            lines += [f"   {name:<{left}}{parts[0]}"] + [" " * margin + part for part in parts[1:]]
    return "\n".join(lines)


def _wrapped(text, margin):
    from textwrap import fill

    return fill(" ".join(text.split()), WIDTH, initial_indent=margin, subsequent_indent=margin)
