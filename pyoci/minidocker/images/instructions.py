"""Dockerfile instructions as `commit --change` and `import --change` take them, applied to an image config's `config`.

CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR; case does not matter, and nothing is expanded.
Source: the Dockerfile reference, docker-commit(1), image-spec config.md.
"""

import json
import posixpath
import re

from pyoci.minidocker.durations import duration_ns
from pyoci.minidocker.errors import BadRequest

SHELL = ["/bin/sh", "-c"]
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", re.DOTALL)


def apply_changes(config, changes):
    """Change `config` (a dict, in place) by a list of lines.  Raises BadRequest with docker's sentence where it has one."""
    seen = set()
    for line in changes:
        word, _space, rest = line.strip().partition(" ")
        name = word.upper()
        if name not in _DEEDS:
            raise BadRequest(f"{word.lower() or 'an empty line'} is not a valid change command")
        if not rest.strip():
            raise BadRequest(f"{name} requires an argument: {line!r}")
        _DEEDS[name](config, rest.strip(), seen)
        seen.add(name)
    return config


def _exec_or_shell(rest):
    """The JSON form, or the shell's."""
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except (ValueError, RecursionError):
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return [*SHELL, rest]


def _cmd(config, rest, _seen):
    config["Cmd"] = _exec_or_shell(rest)


def _entrypoint(config, rest, seen):
    """A command that the image brought was meant for the old entry point."""
    config["Entrypoint"] = _exec_or_shell(rest)
    if "CMD" not in seen:
        config.pop("Cmd", None)


def words_of(text):
    """Words as in a Dockerfile: quotes and backslashes taken off."""
    if _WORD.sub("", text).strip():
        raise BadRequest(f"a quote is not closed: {text!r}")
    return [_unquote(word) for word in _WORD.findall(text)]


def _unquote(word):
    parts = re.findall(r"""\\.|"(?:[^"\\]|\\.)*"|'[^']*'|[^"'\\]+""", word, re.DOTALL)
    return "".join(_plain(part) for part in parts)


def _plain(part):
    if part[0] == "'":
        return part[1:-1]
    if part[0] == '"':
        return re.sub(r'\\(["\\$])', r"\1", part[1:-1])
    return part[1:] if part[0] == "\\" else part


def _pairs(name, rest):
    """[(key, value)] of `K=V K2=V2`, or of the old form `K the whole rest`."""
    if "=" not in rest.split(None, 1)[0]:
        key, _space, value = rest.partition(" ")
        if not value.strip():
            raise BadRequest(f"{name} must have two arguments: {rest!r}")
        return [(key, " ".join(words_of(value)) if value.strip()[0] in "\"'" else value.strip())]
    pairs = []
    for word in words_of(rest):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise BadRequest(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        pairs.append((key, value))
    return pairs


def _env(config, rest, _seen):
    env = list(config.get("Env") or [])
    for key, value in _pairs("ENV", rest):
        places = [number for number, one in enumerate(env) if one.partition("=")[0] == key]
        if places:
            env[places[0]] = f"{key}={value}"
        else:
            env.append(f"{key}={value}")
    config["Env"] = env


def _label(config, rest, _seen):
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs("LABEL", rest))}


def _expose(config, rest, _seen):
    ports = dict(config.get("ExposedPorts") or {})
    for word in words_of(rest):
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", word, re.IGNORECASE | re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not 0 < first <= last <= 65535:
            raise BadRequest(f"invalid containerPort: {word}")
        for port in range(first, last + 1):
            ports[f"{port}/{(found[3] or 'tcp').lower()}"] = {}
    config["ExposedPorts"] = ports


def _volume(config, rest, _seen):
    words = _exec_or_shell(rest)
    words = words_of(rest) if words[:2] == SHELL and not rest.startswith("[") else words
    if not all(word.strip() for word in words):
        raise BadRequest("VOLUME specified can not be an empty string")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{word: {} for word in words}}


def _workdir(config, rest, _seen):
    path = " ".join(words_of(rest))
    config["WorkingDir"] = posixpath.normpath(posixpath.join(config.get("WorkingDir") or "/", path))


def _user(config, rest, _seen):
    if len(words := words_of(rest)) != 1:
        raise BadRequest(f"USER requires exactly one argument: {rest!r}")
    config["User"] = words[0]


def _stop_signal(config, rest, _seen):
    if not re.fullmatch(r"(?i)(SIG)?[A-Z0-9+-]+", rest):
        raise BadRequest(f"Invalid signal: {rest}")
    config["StopSignal"] = rest


def _on_build(config, rest, _seen):
    if rest.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise BadRequest(f"{rest.split()[0].upper()} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or []), rest]


def _health_check(config, rest, _seen):
    options = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval", "retries": "Retries"}
    health = {}
    while found := re.match(r"--([a-z-]+)=(\S+)\s*", rest):
        if found[1] not in options:
            raise BadRequest(f"unknown flag: {found[1]}")
        health[options[found[1]]] = _retries(found[2]) if found[1] == "retries" else duration_ns(found[2])
        rest = rest[found.end() :]
    kind, _space, command = rest.partition(" ")
    if kind.upper() == "NONE" and not command.strip():
        config["Healthcheck"] = {"Test": ["NONE"]}
    elif kind.upper() == "CMD" and command.strip():
        words = _exec_or_shell(command.strip())
        test = ["CMD-SHELL", words[2]] if words[:2] == SHELL and not command.strip().startswith("[") else ["CMD", *words]
        config["Healthcheck"] = {"Test": test, **health}
    else:
        raise BadRequest(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')


def _retries(text):
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"--retries must be a number of at least 0 (not {text!r})")
    return int(text)


_DEEDS = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "HEALTHCHECK": _health_check, "LABEL": _label, "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
