"""JSON text to a dict and back.

Uses the C scanner and encoder of the interpreter's private module `_json`, because `import json` costs as much as half of a verb.
That private API is used in this module alone; whatever surprises in it, the public `json` takes over. Judges no content.
Sources: RFC 8259; json/scanner.py and json/encoder.py of CPython.
"""

import posix

from pyoci.errors import ConfigError, errno_text

try:
    from _json import encode_basestring, make_encoder, make_scanner
except ImportError:
    encode_basestring = make_encoder = make_scanner = None

LIMIT_BYTES = 16 << 20  # the largest real config.json seen is below 1 MB
_SPACE = " \t\n\r"
_S_IFMT, _S_IFREG = 0o170000, 0o100000


def read_document(source, limit_bytes=LIMIT_BYTES, document="config.json"):
    """The bytes of a document: `source` is a path or an open descriptor, which stays open.

    A file over limit_bytes is refused by its size, unread; a pipe after limit_bytes + 1 bytes. A config.json must be a regular
    file (a FIFO would hang create). Raises ConfigError; for a config.json that is not there with runc's sentence.
    """
    if isinstance(source, int):
        return _read_limited(source, limit_bytes, document)
    is_config = document == "config.json"
    try:
        fd = posix.open(source, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY | (posix.O_NONBLOCK if is_config else 0))
    except (OSError, ValueError) as error:
        raise _unreadable(source, error, document) from error
    try:
        if is_config and posix.fstat(fd).st_mode & _S_IFMT != _S_IFREG:
            raise ConfigError("", f"{_path_text(source)} is not a regular file", document=document)
        return _read_limited(fd, limit_bytes, document)
    finally:
        posix.close(fd)


def _read_limited(fd, limit_bytes, document):
    chunks, left = [], limit_bytes + 1
    try:
        if posix.fstat(fd).st_size > limit_bytes:
            left = 0
        while left > 0:
            chunk = posix.read(fd, min(left, 1 << 16))
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            left -= len(chunk)
    except OSError as error:
        raise ConfigError("", f"read: {errno_text(error.errno)}", document=document) from error
    raise ConfigError("", f"larger than {limit_bytes} bytes", document=document)


def _unreadable(source, error, document):
    number = getattr(error, "errno", None)
    path = _path_text(source)
    if number == 2 and document == "config.json":
        bundle = path[: -len("/config.json")] if path.endswith("/config.json") else "."
        return ConfigError("", f"JSON specification file config.json not found in {bundle}", document=document)
    return ConfigError("", f"open {path}: {errno_text(number) if number else error}", document=document)


def _path_text(source):
    text = source if isinstance(source, str) else str(source, "utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)


class _Context:
    """What make_scanner reads; array_hook is asked for by interpreters to come."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_int = int

    @staticmethod
    def parse_float(text):
        value = float(text)
        if value - value != 0:
            raise ConfigError("", f"number {text[:40]} is out of range")
        return value

    @staticmethod
    def parse_constant(name):
        raise ConfigError("", f"broken JSON: {name} is not a JSON number")


def decode(text, document="config.json"):
    """The object in the JSON `text` (bytes, UTF-8). Of two members with one name the last wins, as with Go callers.

    Raises ConfigError, named `document`, for: no UTF-8 (with the offset), broken JSON (line and column), NaN and Infinity, a
    number out of range, half a surrogate pair, nesting deeper than the interpreter's stack, anything but an object. RFC 8259.
    """
    try:
        value = _decode(text)
    except ConfigError as error:
        error.document = document
        raise
    if type(value) is not dict:
        raise ConfigError("", f"expected an object, got {_KINDS.get(type(value), 'a number')}", "config.md", document=document)
    return value


_KINDS = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def _decode(raw):
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("", f"not UTF-8: byte {raw[error.start]:#04x} at offset {error.start}") from error
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise _broken(text, stop.value, "expected a value") from None
    except RecursionError:
        raise ConfigError("", "nested too deeply") from None
    except ValueError as error:
        raise _broken_number_or_text(text, error) from None
    rest = text[end:].lstrip(_SPACE) if end < len(text) else ""
    if rest:
        raise _broken(text, len(text) - len(rest), "text after the end of the document")
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _scan(text, start):
    """(value, end). Raises StopIteration(offset), ValueError, RecursionError."""
    try:
        scan = make_scanner(_Context)
    except (TypeError, AttributeError):
        # the private API has changed (or is missing): slower, same verdicts
        from json.decoder import JSONDecoder

        scan = JSONDecoder(parse_float=_Context.parse_float, parse_constant=_Context.parse_constant).raw_decode
    try:
        return scan(text, start)
    except SystemError:
        # The scanner of 3.11 and 3.12 words its complaints by json.decoder, and says nothing at all while that is not imported.
        import json.decoder  # noqa: F401

        return scan(text, start)


def decode_string(word):
    """One JSON string with its quotes.  Raises ValueError, StopIteration, ConfigError."""
    return _scan(word, 0)[0]


def _broken(text, offset, problem):
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    if not text.strip(_SPACE):
        return ConfigError("", "broken JSON: the document is empty")
    if text[0] == "\ufeff":
        problem = "a byte order mark at the start"
    return ConfigError("", f"broken JSON at line {line}, column {column}: {problem}")


def _broken_number_or_text(text, error):
    offset = getattr(error, "pos", None)
    if offset is not None:
        problem = error.msg[:1].lower() + error.msg[1:]
        return _broken(text, offset, "expected a value" if problem == "expecting value" else problem)
    # int() refuses thousands of digits (CVE-2020-10735); the scanner does not say where they were
    import re

    long_number = re.search("[0-9]{1000}", text)
    return _broken(text, long_number.start() if long_number else 0, "a number with too many digits")


def _refuse_lone_surrogates(value):
    """A string with half a surrogate pair has no UTF-8, so it could not be passed on; and `\\udc80` would become a raw byte."""
    try:
        encode(value).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise ConfigError("", f"\\u{half:04x} is half of a surrogate pair") from None


def encode(value, indent=None):
    """`value` as JSON text: compact, or with `indent` (a string, `"  "`) and a line a member as Go's MarshalIndent writes it.

    No slash is escaped and letters beyond ASCII stay as they are: hooks match on the text. Raises ConfigError when nested too
    deeply, TypeError or ValueError for what JSON cannot hold.
    """
    try:
        if indent is not None:
            pieces = []
            _indented(value, "\n", indent, pieces)
            return "".join(pieces)
        try:
            encoder = make_encoder(None, _not_json, encode_basestring, None, ":", ",", False, False, False)
        except TypeError:
            # the private API has changed (or is missing)
            from json.encoder import JSONEncoder

            return JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode(value)
        return "".join(encoder(value, 0))
    except RecursionError:
        raise ConfigError("", "nested too deeply") from None


def _not_json(value):
    raise TypeError(f"{type(value).__name__} is not JSON")


def _indented(value, newline, indent, pieces):
    """The C encoder cannot indent before 3.14, and for a state document this is 20 times cheaper than importing json."""
    inner = newline + indent
    if type(value) is dict and value:
        before = "{" + inner
        for key, item in value.items():
            pieces.append(f"{before}{encode(key)}: ")
            _indented(item, inner, indent, pieces)
            before = "," + inner
        pieces.append(newline + "}")
    elif type(value) is list and value:
        before = "[" + inner
        for item in value:
            pieces.append(before)
            _indented(item, inner, indent, pieces)
            before = "," + inner
        pieces.append(newline + "]")
    else:
        pieces.append(encode(value))
