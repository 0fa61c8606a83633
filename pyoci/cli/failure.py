"""An error in words: one line, with the line of config.json where it is known. Cold: loaded when a command failed or warned.

Decides nothing and prints nothing: main does.
"""

import posix

from pyoci.errors import PyociError, errno_text

LONGEST_MESSAGE = 16384  # conmon and containerd read a limited buffer
S_IFMT, S_IFREG = 0o170000, 0o100000


def describe(command, error):
    """The error in words: where it knows a config path, with its line in the bundle's config.json."""
    if isinstance(error, PyociError):
        if getattr(error, "line", 1) == 0:
            _fill_line(command, error)
        return "; ".join([str(error), *getattr(error, "__notes__", ())])  # notes: what could not be undone
    if isinstance(error, MemoryError):
        return "out of memory"
    text = f"{errno_text(error.errno)} {error.filename or ''}".strip() if isinstance(error, OSError) and error.errno else str(error)
    hint = "" if command.settings.get("debug") else "; run with --debug for the traceback"
    return f"internal error: {type(error).__name__}: {text} (this is a bug of pyoci{hint})"


def one_line(text):
    """`text` without characters that a terminal would obey, and not endless."""
    if len(text) > LONGEST_MESSAGE:
        text = text[:LONGEST_MESSAGE] + "..."
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character):
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of argv that is not UTF-8
        code -= 0xDC00
    if character == "\n":
        return "\\n"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _fill_line(command, error):
    """Look up the line of the config path; only an explanation, so whatever prevents it is left alone."""
    path = getattr(error, "path", "") or getattr(error, "origin", "")
    if not path or path == "default":
        return
    try:
        error.line = _line_in_document(command, getattr(error, "document", "config.json"), path)
    except Exception:
        error.line = 0


def _line_in_document(command, document, path):
    """The line of config path `path` in the file that the command line named for `document`, 0 if it is not found there."""
    from pyoci.spec.decode import read_document
    from pyoci.spec.locate import locate

    file = _file_of(command, document)
    # A pipe was read by the verb, and reading it again could wait for ever.
    return locate(read_document(file, document=document), path) if file and posix.stat(file).st_mode & S_IFMT == S_IFREG else 0


def _file_of(command, document):
    from pyoci.cli.options import absolute

    values = command.values
    if document == "config.json" and command.verb in ("create", "run", "plan"):
        bundle = command.arguments[0] if command.verb == "plan" and command.arguments else values.get("bundle") or "."
        return f"{absolute(bundle)}/config.json"
    named = {"process.json": values.get("process"), "resources.json": values.get("resources")}.get(document)
    return None if named == "-" else named
