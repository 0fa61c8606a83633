"""pyoci state: print the state of a container, as runtime.md#state describes it."""

from _json import encode_basestring

from pyoci.cli.main import write_output

SUMMARY = "print the state of a container as JSON"
USAGE = "<container-id>"
ABOUT = """Status is created, running, paused or stopped; pid is 0 when it is stopped."""
EXAMPLE = "pyoci state web"
OPTIONS = ()
ARGUMENTS = (1, 1)


def call(command):
    # No newline at the end: so does runc, and a caller may compare.
    write_output(indented(command.runtime().state(command.arguments[0])))


def indented(value, margin="\n"):
    """`value` as JSON with an indent of two. The C encoder cannot indent, and `import json` costs 8 ms.

    Takes what a state holds: dict, list, str, int, bool, None.
    """
    inner = margin + "  "
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        rows = [f"{encode_basestring(key)}: {indented(item, inner)}" for key, item in value.items()]
        return f"{{{inner}{(',' + inner).join(rows)}{margin}}}" if rows else "{}"
    if isinstance(value, list):
        rows = [indented(item, inner) for item in value]
        return f"[{inner}{(',' + inner).join(rows)}{margin}]" if rows else "[]"
    return "null" if value is None else "true" if value is True else "false" if value is False else str(value)
