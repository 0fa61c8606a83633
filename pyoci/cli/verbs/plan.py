"""pyoci plan: print the operations that create, start and delete would carry out for a bundle."""

from pyoci.cli.main import write_output
from pyoci.cli.options import BUNDLE, SWITCH, absolute, environment
from pyoci.spec.decode import encode

SUMMARY = "print what create, start and delete would do for a bundle"
USAGE = "[bundle]"
ABOUT = """Prints the list of operations that `create` carries out, each with its actor and the place in config.json that
asked for it, then those of `start` and `delete`. Nothing is done, and no privilege is needed."""
EXAMPLE = "pyoci plan ./bundle"
OPTIONS = (BUNDLE, ("json", "", SWITCH, "", "print the plan as JSON"))
ARGUMENTS = (0, 1)


def call(command):
    bundle = absolute(command.arguments[0] if command.arguments else command.values.get("bundle") or ".")
    # Where systemd is to make the cgroups, the environment says how it is reached.
    options = {"environ": environment()} if command.settings.get("systemd-cgroup") else {}
    plan = command.runtime().plan(bundle, **options)
    write_output(_json_text(plan.json_document()) if command.values.get("json") else _ended(plan.text()))


def _json_text(document):
    return _ended(document if isinstance(document, str) else encode(document, "  "))


def _ended(text):
    return text if text.endswith("\n") else text + "\n"
