"""Every problem of a document, not just the first: what the schema says, in our words. Cold: imports jsonschema.

The schemas are schemas/*.schema.json, beside the package in a checkout and inside it in a wheel. validate.py gives the verdict;
this explains it.
"""

from json import loads
from pathlib import Path

from jsonschema import Draft4Validator

from pyoci.errors import ConfigError
from pyoci.spec.rules import expected_text, quoted, shown, without_laxities
from pyoci.spec.validate import unsupported, validate

_TYPES = {"string": "a string", "boolean": "true or false", "integer": "an integer", "object": "an object", "array": "an array", "null": "null"}


def schema(kind):
    """The schema `config`, `state` or `features`, as a dict."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "schemas", package.parent / "schemas"):
        file = folder / f"{kind}.schema.json"
        if file.is_file():
            return loads(file.read_text("utf-8"))
    raise FileNotFoundError(f"{kind}.schema.json is neither in {package} nor beside it")


def schema_problems(document, kind="config"):
    """[(config path, problem)] of what the schema refuses in `document`, in the order of the document's paths."""
    errors = Draft4Validator(schema(kind)).iter_errors(document)
    return sorted({problem for error in errors for problem in _problems(error)})


def explain(config):
    """[(config path, problem)] of a config.json as pyoci judges it: all that the schema refuses, the listed laxities aside; when
    that is nothing, the first broken rule between fields; when that is nothing, the first thing this release does not do."""
    problems = schema_problems(without_laxities(config))
    if problems:
        return problems
    try:
        validate(config)
        unsupported(config)
    except ConfigError as error:
        return [(error.path, error.problem)]
    return []


def config_path(steps):
    """`mounts[4].type` from ["mounts", 4, "type"]; a name that is no identifier is quoted: `annotations["org.x"]`."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier():
            path += f".{step}" if path else step
        else:
            path += f"[{quoted(step)}]"
    return path


def _problems(error):
    steps, value, limit = list(error.absolute_path), error.instance, error.validator_value
    if error.validator == "required":
        return [(config_path([*steps, name]), "missing") for name in limit if name not in value]
    return [(config_path(steps), _words(error.validator, value, limit))]


def _words(validator, value, limit):
    if validator == "type":
        return expected_text(" or ".join(_TYPES[one] for one in ([limit] if isinstance(limit, str) else limit)), value)
    if validator == "enum":
        return f"unknown value {shown(value)}, expected one of {' '.join(sorted(limit))}"
    if validator in ("minimum", "maximum"):
        return f"{shown(value)} is {'below' if validator == 'minimum' else 'above'} {limit}"
    if validator == "pattern":
        return f"{quoted(value)} does not match {limit}"
    return "must not be empty"
