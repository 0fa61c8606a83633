"""The part of Go's templates that people write after --format: fields, pipelines, range, if, with, variables, and docker's functions.

    Template("{{range .Mounts}}{{.Source}} {{end}}").render(data)    data: what JSON holds
A field that isn't there is refused by name where the fields are known, in Fields and with strict=True; a map's is `<no value>`.  A value may be a function
without arguments: it is called when it is asked for.  Source: text/template's documentation, docker's "Format command and log output".
"""

import json
import re
from typing import ClassVar

from pyoci.minidocker.cli.visible import json_escaped, on_terminal
from pyoci.minidocker.errors import BadRequest

TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<field>\$?[A-Za-z_0-9]*(?:\.[A-Za-z_0-9]+)+|\.|\$[A-Za-z_0-9]*)
                       |(?P<word>[A-Za-z_][A-Za-z_0-9]*)|(?P<sign>:=|=|[|(),]))""", re.VERBOSE)  # fmt: skip
ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
MISSING = object()
METHODS = ("Label",)  # what a list gives an argument: {{.Label "key"}}


class Fields(dict):
    """An object whose fields are known.  `unsaid`: those that JSON leaves out or names otherwise, and what they hold."""

    unsaid: ClassVar = {}


class Nil:
    """A list or map of Go's that was never made: null in JSON, and else as an empty one.  text: `[]` or `map[]`."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text

    def __len__(self):
        return 0

    def __iter__(self):
        return iter(())


def text_of(value):
    """A value as Go's fmt prints it."""
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text_of(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(text_of, value)) + "]"
    return str(value)


def as_json(value):
    """Compact JSON, as Go writes it; without methods."""
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if name not in METHODS or not callable(item)}
    text = json.dumps(None if value is MISSING else value, ensure_ascii=False, separators=(",", ":"), default=lambda given: None if isinstance(given, Nil) else given())
    return json_escaped(text).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def truth(value):
    """Whether `if` takes it for true: not empty, not zero."""
    return value is not MISSING and bool(value)


def _index(container, *keys):
    for key in keys:
        try:
            container = {} if isinstance(container, Nil) and container.text == "map[]" else container
            container = container.get(key, _zero_of(container)) if isinstance(container, dict) else container[key]
        except (IndexError, TypeError, KeyError, AttributeError) as error:
            raise BadRequest(f"template: index {text_of(key)}: {error}") from error
    return container


def _zero_of(held):
    """What `index` finds under a key that a map has not: a map of words, such as labels, gives an empty one."""
    return "" if all(isinstance(value, str) for value in held.values()) else MISSING


def _quoted(value):
    """%q: a word in quotes, each word of a list."""
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_quoted, value)) + "]"
    return value.text if isinstance(value, Nil) else json.dumps(text_of(value), ensure_ascii=False)


def _printf(form, *given):
    left = list(given)

    def shown(found):
        flags, verb = found.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        if verb == "q":
            value = _quoted(value)
        return f"%{flags}{verb if verb in 'dfx' else 's'}" % (value if verb in "dfx" else text_of(value))

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([vsdqfxt%])", shown, form)


def _pad(text, left, right):
    return " " * left + text + " " * right if text else text


FUNCTIONS = {
    "json": as_json, "join": lambda words, between: between.join(map(text_of, words or [])), "split": lambda text, at: text.split(at),
    "lower": lambda text: text_of(text).lower(), "upper": lambda text: text_of(text).upper(), "title": lambda text: text_of(text).title(),
    "len": lambda value: len(value or ()), "index": _index, "print": lambda *given: "".join(map(text_of, given)),
    "println": lambda *given: " ".join(map(text_of, given)) + "\n", "printf": _printf, "pad": _pad,
    "truncate": lambda text, length: text_of(text)[:length], "slice": lambda value, start=0, end=None: value[start:end],
    "eq": lambda one, *others: any(one == other for other in others), "ne": lambda one, other: one != other,
    "lt": lambda one, other: one < other, "le": lambda one, other: one <= other, "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other, "not": lambda value: not truth(value),
    "and": lambda *given: next((one for one in given if not truth(one)), given[-1]),
    "or": lambda *given: next((one for one in given if truth(one)), given[-1]),
}  # fmt: skip


class Template:
    """A template, read once.  Raises BadRequest for what it can't read, and at render for what can't be evaluated."""

    def __init__(self, text, strict=False):
        self.strict = strict
        self.parts = _split(text)
        self.tree, rest = _parse(self.parts, 0, ())
        if rest != len(self.parts):
            raise BadRequest("template: unexpected {{end}}")

    def render(self, data):
        """The text for one object."""
        out = []
        _run(self.tree, data, {"$": data}, out, self.strict)
        return "".join(out)


def _split(text):
    """[(is an action, text)] with the blanks cut that {{- and -}} ask for."""
    parts, at, cut = [], 0, False
    for found in ACTION.finditer(text):
        plain = text[at : found.start()]
        plain = plain.lstrip() if cut else plain
        parts.append((False, plain.rstrip() if found[1] else plain))
        if not found[2].strip().startswith("/*"):
            parts.append((True, found[2].strip()))
        at, cut = found.end(), bool(found[3])
    rest = text[at:].lstrip() if cut else text[at:]
    if "{{" in rest:
        raise BadRequest(f"template: unclosed action in {text!r}")
    return [*parts, (False, rest)]


def _parse(parts, at, until):
    """(nodes, index after them): ("text", t), ("out", expression), ("range"|"if"|"with", expression, body, otherwise)."""
    nodes = []
    while at < len(parts):
        is_action, text = parts[at]
        word = text.split(None, 1)[0] if is_action and text else ""
        if word in ("end", "else") and is_action:
            return nodes, at
        at += 1
        if not is_action:
            nodes.append(("text", text))
        elif word in ("range", "if", "with"):
            node, at = _block(parts, at, word, text[len(word) :])
            nodes.append(node)
        else:
            nodes.append(("out", _expression(text)))
    if until:
        raise BadRequest("template: unexpected EOF: {{end}} is missing")
    return nodes, at


def _block(parts, at, word, text):
    body, at = _parse(parts, at, ("end", "else"))
    otherwise = []
    if parts[at][1].startswith("else"):
        rest = parts[at][1][4:].strip()
        if rest.startswith("if"):
            node, at = _block(parts, at + 1, "if", rest[2:])
            return (word, _expression(text), body, [node]), at
        otherwise, at = _parse(parts, at + 1, ("end",))
    return (word, _expression(text), body, otherwise), at + 1


class _Expression:
    """Names to set, and a pipeline: commands, each a list of operands."""

    def __init__(self, names, commands, text):
        self.names = names
        self.commands = commands
        self.text = text.strip()


def _expression(text):
    tokens = _tokens(text)
    names = []
    signs = [token for token in tokens if token in (("sign", ":="), ("sign", "="))]
    if signs:
        at = tokens.index(signs[0])
        names = [token[1] for token in tokens[:at] if token[0] == "field"]
        tokens = tokens[at + 1 :]
    commands, rest = _commands(tokens, text)
    if rest or not commands or not commands[0]:
        raise BadRequest(f"template: cannot read {{{{{text}}}}}")
    return _Expression(names, commands, text)


def _tokens(text):
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found or found.end() == at:
            raise BadRequest(f"template: unexpected {text[at:].strip()[:1]!r} in {{{{{text.strip()}}}}}")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


def _commands(tokens, text):
    """(commands, the tokens after them), up to a closing parenthesis."""
    commands = [[]]
    while tokens:
        kind, word = tokens[0]
        tokens = tokens[1:]
        if (kind, word) == ("sign", ")"):
            return commands, tokens or [("end", "")]
        if (kind, word) == ("sign", "|"):
            commands.append([])
        elif (kind, word) == ("sign", "("):
            inner, tokens = _commands(tokens, text)
            if not tokens:
                raise BadRequest(f"template: unclosed left parenthesis in {{{{{text.strip()}}}}}")
            tokens = [] if tokens == [("end", "")] else tokens
            commands[-1].append(("pipe", inner))
        elif kind == "sign":
            raise BadRequest(f"template: unexpected {word!r} in {{{{{text.strip()}}}}}")
        elif kind == "field" and word[0] == "." and len(word) > 1 and commands[-1] and commands[-1][-1][0] in ("pipe", "chain"):
            commands[-1][-1] = ("chain", (commands[-1][-1], word))  # (index .Mounts 0).Source
        elif kind == "string":
            commands[-1].append(("value", word[1:-1] if word[0] == "`" else json.loads(word)))
        elif kind == "number":
            commands[-1].append(("value", float(word) if "." in word else int(word)))
        else:
            commands[-1].append((kind, word))
    return commands, []


def _run(nodes, dot, names, out, strict):
    for node in nodes:
        if node[0] == "text":
            out.append(node[1])
            continue
        value = _evaluate(node[1], dot, names, strict)
        if node[0] == "out":
            for name in node[1].names:
                names[name] = value
            if not node[1].names:
                out.append(on_terminal(text_of(value)))
        elif node[0] == "range":
            _range(node, value, dot, names, out, strict)
        else:
            _, expression, body, otherwise = node
            inner = {**names, **dict.fromkeys(expression.names, value)}
            chosen = body if truth(value) else otherwise
            _run(chosen, value if node[0] == "with" and truth(value) else dot, inner, out, strict)


def _range(node, value, dot, names, out, strict):
    _, expression, body, otherwise = node
    value = {} if value in (None, MISSING) or isinstance(value, Nil) else value
    if not isinstance(value, (dict, list, tuple)):
        raise BadRequest(f"template: range can't iterate over {text_of(value)}")
    pairs = [(key, value[key]) for key in sorted(value)] if isinstance(value, dict) else list(enumerate(value))
    if not pairs:
        _run(otherwise, dot, names, out, strict)
    for key, item in pairs:
        given = [item] if len(expression.names) == 1 else [key, item]
        _run(body, item, {**names, **dict(zip(expression.names, given, strict=False))}, out, strict)


def _evaluate(expression, dot, names, strict):
    return _pipeline(expression.commands, dot, names, strict, expression.text)


def _pipeline(commands, dot, names, strict, text):
    value, given = MISSING, []
    for command in commands:
        value = _command(command, given, dot, names, strict, text)
        given = [value]
    return value


def _command(operands, piped, dot, names, strict, text):
    kind, word = operands[0] if operands else ("", "")
    if kind == "word" and word not in ("true", "false", "nil"):
        if word not in FUNCTIONS:
            raise BadRequest(f'template: function "{word}" not defined')
        given = [_operand(operand, dot, names, strict, text) for operand in operands[1:]] + piped
        try:
            return FUNCTIONS[word](*given)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            raise BadRequest(f"template: {{{{{text}}}}}: {word}: {error}") from error
    value = _operand(operands[0], dot, names, strict, text)
    if callable(value):  # a method: {{.Label "key"}}
        given = [_operand(operand, dot, names, strict, text) for operand in operands[1:]] + piped
        try:
            return value(*given)
        except (TypeError, ValueError, AttributeError) as error:
            raise BadRequest(f"template: {{{{{text}}}}}: {error}") from error
    if len(operands) != 1 or piped:
        raise BadRequest(f"template: cannot read {{{{{text}}}}}")
    return value


def _operand(operand, dot, names, strict, text):
    kind, word = operand
    if kind == "value":
        return word
    if kind == "pipe":
        return _pipeline(word, dot, names, strict, text)
    if kind == "word":
        if word not in ("true", "false", "nil"):
            return _command([operand], [], dot, names, strict, text)
        return {"true": True, "false": False, "nil": None}[word]
    if kind == "chain":
        return _fields(_operand(word[0], dot, names, strict, text), word[1], strict, text)
    variable, _, path = word.partition(".")
    value = dot
    if variable:
        if variable not in names:
            raise BadRequest(f'template: undefined variable "{variable}"')
        value = names[variable]
    return _fields(value, path, strict, text)


def _fields(value, path, strict, text):
    for name in filter(None, path.split(".")):
        value = _field(value, name, strict, text)
    return value


def _field(value, name, strict, text):
    if isinstance(value, dict):
        found = value.get(name, MISSING)
        if found is MISSING and isinstance(value, Fields) and name in value.unsaid:
            return value.unsaid[name]
        if found is MISSING and (strict or isinstance(value, Fields)):
            raise BadRequest(f'template: {{{{{text}}}}}: can\'t evaluate field {name}; known: {", ".join(sorted(value))}')
        return found if name in METHODS or not callable(found) else found()
    if value in (None, MISSING) or isinstance(value, Nil):
        return MISSING
    raise BadRequest(f"template: {{{{{text}}}}}: can't evaluate field {name} of {text_of(value)}")
