"""Option tables and the parser: docker's grammar, so that a command line written for it is read the same.

    -it, -e A=b, -eA=b, --env A=b, --env=A=b, --rm=false, -- ends the options.  A command that runs a program stops at the first word that is
    no option.  argparse would cost 10 ms and reads abbreviations, which docker doesn't.
Source: pflag's documented syntax, docker(1).
"""

from pyoci.minidocker.cli import values
from pyoci.minidocker.durations import duration_ns
from pyoci.minidocker.errors import BadRequest, nearest

FLAG, TEXT, LIST, NUMBER, SIZE, DURATION, DECIMAL = "", "string", "list", "int", "bytes", "duration", "decimal"
READERS = {TEXT: str, LIST: str, NUMBER: values.number, SIZE: values.size_bytes, DURATION: duration_ns, DECIMAL: values.decimal}


class Usage(BadRequest):
    """A wrong flag or argument count; docker's exit status for it is 125 in run and 1 elsewhere."""


class Option:
    """One option: its long name, its letter or "", its kind, what help says of it."""

    __slots__ = ("name", "letter", "kind", "help")

    def __init__(self, name, letter, kind, help):  # noqa: A002 - the field's word
        self.name = name
        self.letter = letter
        self.kind = kind
        self.help = help


class Values(dict):
    """The given options by name: a list for LIST, else the last value.  A missing one is None, a missing list []."""

    def __init__(self, options):
        super().__init__()
        self.lists = {option.name for option in options if option.kind == LIST}

    def __missing__(self, name):
        return [] if name in self.lists else None


# Flags of docker's that are not in this release: none of ours is meant by them.
LATER = ("all-tags", "checkpoint", "checkpoint-dir", "disable-content-trust", "gpus", "ip6", "isolation", "kernel-memory", "link-local-ip", "storage-opt", "tree",
         "use-api-socket", "volume-driver", "volumes-from")  # fmt: skip


def _nearest(name, known):
    """A hint to the flag that was meant, or ""."""
    return "docker has it; it is not in this release" if name in LATER else nearest(name, known, "--")


class _Reader:
    def __init__(self, words, options):
        self.words = list(words)
        self.values = Values(options)
        self.long = {option.name: option for option in options}
        self.short = {option.letter: option for option in options if option.letter}

    def take(self, option, shown, value):
        if option.kind == FLAG:
            try:
                self.values[option.name] = True if value is None else values.switch(value, shown)
            except BadRequest as error:
                raise Usage(str(error)) from error
            return
        if value is None:
            if not self.words:
                raise Usage(f"flag needs an argument: {shown}")
            value = self.words.pop(0)
        try:
            read = READERS[option.kind](value)
        except BadRequest as error:
            flag = f"-{option.letter}, --{option.name}" if option.letter else f"--{option.name}"
            raise Usage(f'invalid argument "{value}" for "{flag}" flag: {error}') from error
        if option.kind == LIST:
            self.values.setdefault(option.name, []).append(read)
        else:
            self.values[option.name] = read

    def read_long(self, word):
        name, equals, value = word[2:].partition("=")
        if name == "help":
            self.values["help"] = True
        elif name not in self.long:
            raise Usage(f"unknown flag: --{name}", hint=_nearest(name, self.long))
        else:
            self.take(self.long[name], f"--{name}", value if equals else None)

    def read_short(self, word):
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self.short.get(letter)
            if not option and letter == "h":
                self.values["help"] = True
                continue
            if not option:
                raise Usage(f"unknown shorthand flag: '{letter}' in {word}")
            shown = f"'{letter}' in {word}"
            if letters.startswith("="):
                self.take(option, shown, letters[1:])
                return
            if option.kind != FLAG:
                self.take(option, shown, letters or None)
                return
            self.take(option, shown, None)


def parse(words, options, interspersed=True):
    """(Values, arguments).  interspersed: options may follow arguments.  Raises Usage."""
    reader = _Reader(words, options)
    arguments = []
    while reader.words:
        word = reader.words.pop(0)
        if word == "--":
            return reader.values, arguments + reader.words
        if word.startswith("--"):
            reader.read_long(word)
        elif word.startswith("-") and word != "-":
            reader.read_short(word)
        else:
            arguments.append(word)
            if not interspersed:
                return reader.values, arguments + reader.words
    return reader.values, arguments
