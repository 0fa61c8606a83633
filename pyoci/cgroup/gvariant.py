"""A typed value as text, `uint64 67108864` or `[('/dev/sda', uint64 5)]`, and back: how the properties of a systemd unit are written
in a plan and in the annotations that name them.

The text is GVariant's, of which properties use all but dictionaries and maybes; a value is (signature, Python value), the signature
D-Bus's.  Loaded with the systemd driver only.  GVariant Text Format (GLib); D-Bus Specification, "Type System".
"""

RANGES = {
    "y": (0, 255), "n": (-(2**15), 2**15 - 1), "q": (0, 2**16 - 1), "i": (-(2**31), 2**31 - 1), "u": (0, 2**32 - 1),
    "x": (-(2**63), 2**63 - 1), "t": (0, 2**64 - 1),
}  # fmt: skip
KEYWORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t", "double": "d",
    "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._")
_DEEPEST = 16
_DEEPEST_TYPE = 64


def parse(text):
    """(signature, value) of a whole text.  Raises ValueError, with a few words, for whatever is none."""
    reader = _Reader(text)
    found = reader.value("", 0)
    reader.skip()
    if reader.at != len(text):
        raise ValueError(f"{text[reader.at :]!r} stands after the value")
    return found


def quoted(text):
    """A string as GVariant text."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def type_end(signature, at, depth=0):
    """Where the complete type that begins at `at` ends.  Raises ValueError where there is none, as for a struct of nothing: an array
    of those has no end."""
    kind = signature[at : at + 1]
    if depth > _DEEPEST_TYPE:
        raise ValueError(f"{signature[:80]!r} is nested too deeply")
    if kind == "a":
        return type_end(signature, at + 1, depth + 1)
    if kind == "(" or kind == "{":
        first = at = at + 1
        while signature[at : at + 1] != (")" if kind == "(" else "}"):
            at = type_end(signature, at, depth + 1)
        if at > first:
            return at + 1
    if not kind or kind not in "bynqiuxtdsogv":
        raise ValueError(f"{signature[:80]!r} is no type")
    return at + 1


class _Reader:
    """Where in the text we are.  `expected` everywhere: the signature that must come out, "" where the text decides."""

    __slots__ = ("text", "at")

    def __init__(self, text):
        self.text = text
        self.at = 0

    def skip(self):
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def peek(self):
        self.skip()
        return self.text[self.at : self.at + 1]

    def take(self, letter):
        """Whether the letter comes next; then it is passed."""
        if self.peek() != letter:
            return False
        self.at += 1
        return True

    def need(self, letter):
        if not self.take(letter):
            raise ValueError(f"{letter!r} is missing before {self.text[self.at :]!r}")

    def value(self, expected, depth):
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        letter = self.peek()
        if letter == "@":
            return self._annotated(expected, depth)
        if letter == "[":
            return self._array(expected, depth)
        if letter == "(":
            return self._tuple(expected, depth)
        if letter == "<":
            return self._variant(expected, depth)
        if letter and letter in "'\"":
            return self._string(expected)
        return self._word(expected, depth)

    def _annotated(self, expected, depth):
        self.at += 1
        start = self.at
        while self.at < len(self.text) and not self.text[self.at].isspace():
            self.at += 1
        signature = self.text[start : self.at]
        if len(signature) > 64 or type_end(signature, 0) != len(signature):
            raise ValueError(f"{signature!r} is no type")
        _same(signature, expected)
        return self.value(signature, depth + 1)

    def _array(self, expected, depth):
        self.at += 1
        if expected and expected[0] != "a":
            raise ValueError(f"an array where a {expected!r} should be")
        kind = expected[1:]
        found = []
        while not self.take("]"):
            if found:
                self.need(",")
            kind, one = self.value(kind, depth + 1)
            found.append(one)
        if not kind:
            raise ValueError("an empty array needs its type, as in @as []")
        return "a" + kind, found

    def _tuple(self, expected, depth):
        self.at += 1
        if expected and expected[0] != "(":
            raise ValueError(f"a tuple where a {expected!r} should be")
        signature, found, at = "", [], 1
        while not self.take(")"):
            if found:
                self.need(",")
                if self.take(")"):
                    break
            kind = ""
            if expected:
                if expected[at] == ")":
                    raise ValueError(f"more than {expected!r}")
                end = type_end(expected, at)
                kind, at = expected[at:end], end
            kind, one = self.value(kind, depth + 1)
            signature += kind
            found.append(one)
        if not found:
            raise ValueError("an empty tuple")
        _same(f"({signature})", expected)
        return f"({signature})", tuple(found)

    def _variant(self, expected, depth):
        self.at += 1
        _same("v", expected)
        one = self.value("", depth + 1)
        self.need(">")
        return "v", one

    def _string(self, expected):
        quote = self.text[self.at]
        self.at += 1
        letters = []
        while True:
            letter = self.text[self.at : self.at + 1]
            self.at += 1
            if not letter:
                raise ValueError("a string without an end")
            if letter == quote:
                break
            letters.append(self._escaped() if letter == "\\" else letter)
        text = "".join(letters)
        if "\0" in text:
            raise ValueError("a NUL in a string")
        if expected not in ("", "s", "o", "g"):
            raise ValueError(f"a string where a {expected!r} should be")
        return expected or "s", text

    def _escaped(self):
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter and letter in "uU":
            digits = self.text[self.at : self.at + (4 if letter == "u" else 8)]
            self.at += len(digits)
            code = _digits(digits, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise ValueError(f"\\{letter}{digits} is no letter")
            return chr(code)
        return _ESCAPES.get(letter, letter)

    def _word(self, expected, depth):
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _WORD:
            self.at += 1
        word = self.text[start : self.at]
        if not word:
            raise ValueError(f"{self.text[start:]!r} is no value" if self.text[start:] else "a value is missing")
        if word in KEYWORDS:
            _same(KEYWORDS[word], expected)
            return self.value(KEYWORDS[word], depth + 1)
        if word in ("true", "false"):
            _same("b", expected)
            return "b", word == "true"
        return _number(word, expected)


def _same(found, expected):
    if expected and found != expected:
        raise ValueError(f"a {found!r} where a {expected!r} should be")


def _number(word, expected):
    digits = word.lstrip("+-")
    is_whole = digits[:2].lower() == "0x" or digits.isdigit()
    if expected == "d" or not expected and not is_whole:
        return "d", _real(word)
    kind = expected or "i"
    if kind not in RANGES:
        raise ValueError(f"a number where a {expected!r} should be")
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[:1] == "0" and len(digits) > 1 else 10
    number = _digits(digits[2:] if base == 16 else digits, base)
    if word[:1] == "-":
        number = -number
    low, high = RANGES[kind]
    if len(word) - len(digits) > 1 or not low <= number <= high:
        raise ValueError(f"{word} is not from {low} to {high}")
    return kind, number


def _digits(digits, base):
    if not digits or len(digits) > 32 or not digits.isascii() or not digits.isalnum():
        raise ValueError(f"{digits!r} is no number")
    try:
        return int(digits, base)
    except ValueError:
        raise ValueError(f"{digits!r} is no number") from None


def _real(word):
    try:
        if not word.isascii() or "_" in word:
            raise ValueError
        return float(word)
    except ValueError:
        raise ValueError(f"{word!r} is no value") from None
