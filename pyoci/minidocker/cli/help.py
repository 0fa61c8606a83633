"""What --help prints, made from the tables.  Cold: loaded for help alone."""

import shutil
import textwrap

from pyoci.minidocker.cli.main import COMMANDS, NOUNS, command_of
from pyoci.minidocker.cli.options import FLAG

NOUN_SUMMARIES = {"container": "work with containers", "image": "work with images", "system": "look after MiniDocker itself"}
COMMON = ("run", "exec", "ps", "logs", "stop", "rm", "images", "pull", "push", "inspect")


def program_help(options):
    """`minidocker --help`."""
    rest = sorted(name for name in COMMANDS if name not in COMMON)
    return "\n".join([
        "Usage: minidocker [OPTIONS] COMMAND",
        "",
        "Containers and images without a daemon, with docker's command line.",
        "",
        *_section("Common commands", [(name, _summary(name)) for name in COMMON]),
        *_section("Commands", [(name, _summary(name)) for name in rest]),
        *_section("Groups", list(NOUN_SUMMARIES.items())),
        *_section("Options", [_option(option) for option in options]),
        "'minidocker COMMAND --help' shows a command with an example.",
        "",
    ])  # fmt: skip


def noun_help(noun):
    """`minidocker image --help`."""
    rows = [(word, command_of(name, module).summary) for word, (name, module) in NOUNS[noun].items() if word not in ("list", "remove")]
    return "\n".join([f"Usage: minidocker {noun} COMMAND", "", f"{_sentence(NOUN_SUMMARIES[noun])}.", "", *_section("Commands", rows)])


def command_help(name, command):
    """`minidocker run --help`."""
    lines = [f"Usage: minidocker {name} {command.usage}".rstrip(), "", f"{_sentence(command.summary)}.", ""]
    for heading, options in command.groups.items():
        lines += _section(heading, [_option(option) for option in options]) if options else []
    return "\n".join([*lines, "Example:", *(f"  {line}" for line in command.example.splitlines()), ""])


def _sentence(text):
    return text[0].upper() + text[1:]


def _summary(name):
    return command_of(name, COMMANDS[name]).summary


def _option(option):
    letter = f"-{option.letter}, " if option.letter else "    "
    return f"{letter}--{option.name}" + (f" {option.kind}" if option.kind != FLAG else ""), option.help


def _section(heading, rows):
    if not rows:
        return []
    width = max(len(left) for left, _ in rows) + 3
    columns = max(shutil.get_terminal_size().columns, 60)
    lines = [f"{heading}:"]
    for left, right in rows:
        wrapped = textwrap.wrap(right, max(columns - width - 2, 30)) or [""]
        lines.append(f"  {left:{width}}{wrapped[0]}".rstrip())
        lines += [" " * (width + 2) + line for line in wrapped[1:]]
    return [*lines, ""]
