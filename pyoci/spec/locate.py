"""The line on which a config path stands.  Cold: an error is being rendered.

Finds it by walking the tokens, so that a broken document still gives what stands before the break.  Judges no content.
"""

import re

from pyoci.errors import ConfigError
from pyoci.spec.decode import decode_string, encode


def locate(text, path):
    """The line (from 1) in the document `text` (bytes) of a config path such as `mounts[4].type`; 0 if unknown.

    For a member that is not there, the line of the nearest ancestor that is. A member name with dots may stand bare or quoted:
    `annotations.org.x` or `annotations["org.x"]`. Total: broken text gives what was found before the break. For errors only.
    """
    if not path:
        return 0
    text = str(text, "utf-8", "replace")
    tokens = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,"]|[^\s{}\[\]:,"]+', re.DOTALL)
    found = _Search(path)
    for token in tokens.finditer(text):
        found.token(token.group(), token.start())
        if found.done:
            break
    return text.count("\n", 0, found.matches[-1][1]) + 1 if found.matches else 0


class _Search:
    """One walk over the tokens. `open` holds, for each container entered, what is left of the path in it, or None off the path."""

    def __init__(self, path):
        self.open = []
        self.kinds = []
        self.counts = []
        self.path = path
        self.matches = []  # (length of the matched name, offset) for each level of the path
        self.rest = path  # what the value that comes next has to match, or None
        self.key = None
        self.done = False

    def token(self, word, offset):
        if word == ":" or word == ",":
            return
        in_object = bool(self.kinds) and self.kinds[-1] == "{"
        if word == '"':  # a string that never ends
            self.done = True
        elif word == "}" or word == "]":
            self._close()
        elif in_object and self.key is None:
            self.key = word
            self.rest = self._match(_plain(word), offset)
        else:
            if self.kinds and not in_object:
                self.rest = self._match(f"[{self.counts[-1]}]", offset)
                self.counts[-1] += 1
            self.key = None
            if word == "{" or word == "[":
                self._enter(word)

    def _enter(self, word):
        self.kinds.append(word)
        self.counts.append(0)
        self.open.append(self.rest)

    def _close(self):
        if self.kinds:
            self.kinds.pop()
            self.counts.pop()
            self.open.pop()
        self.key = None
        self.done = not self.kinds

    def _match(self, name, offset):
        """What is left of the path after `name`, or None; a later member of the same name replaces the earlier."""
        rest = self.open[-1]
        if not rest:
            return None
        level = sum(1 for outer in self.open[:-1] if outer)
        for spelling in (name, _quoted_key(name)):
            if not rest.startswith(spelling):
                continue
            after = rest[len(spelling):]
            if after[:1] not in ("", ".", "["):
                continue
            if len(self.matches) > level and self.matches[level][0] > len(spelling):
                return None
            self.matches[level:] = [(len(spelling), offset)]
            return after[1:] if after[:1] == "." else after
        return None


def _plain(word):
    """The name in a key token. A bad escape is left as it stands, and so is what is no string at all."""
    try:
        return decode_string(word) if word[:1] == '"' else word
    except (StopIteration, ValueError, ConfigError):
        return word


def _quoted_key(name):
    return f"[{encode(name)}]"
