"""What a container or an image can choose, shown to people: control characters are made visible, so that a name can't paint over a terminal or break a line.

Never for what is the container's own voice (logs, exec, attach) or a program's (archives).  JSON says the same in its own escapes.
Source: ls(1), --escape; terminals' control sequences (ECMA-48: C0 and C1); Unicode Standard Annex 9 (characters that turn the direction of text).
"""

import sys

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_TURNING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text, keep=""):
    """The text with `\\x1b` for the escape character and so on, and what is no UTF-8 as `\\xff`, but for the characters in `keep`."""
    if text.isprintable():
        return text
    return "".join(_escaped(one) if one not in keep and _is_hidden(one) else one for one in text)


def on_terminal(text):
    """The same on a terminal, where lines and tabs may stay; elsewhere a program reads it, as it is."""
    return visible(text, "\n\t") if sys.stdout.isatty() else text


def json_escaped(text):
    """JSON in which the characters that json.dumps leaves as they are, but a terminal obeys, are escapes: of the same meaning."""
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(one):04x}" if one not in "\n\t" and _is_hidden(one) else one for one in text)


def _is_hidden(one):
    number = ord(one)
    return number < 0x20 or 0x7F <= number < 0xA0 or 0xD800 <= number < 0xE000 or one in _TURNING


def _escaped(one):
    number = ord(one)
    if 0xDC80 <= number < 0xDD00:  # a byte that is no UTF-8: os.fsdecode
        number -= 0xDC00
    return _NAMED.get(one) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")
