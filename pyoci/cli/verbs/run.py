"""pyoci run: create, start, wait and delete in one command."""

from pyoci.cli.options import CREATION, DETACH, SWITCH, absolute, creation

SUMMARY = "create a container and start it"
USAGE = "<container-id>"
ABOUT = """Creates the container and starts its process. In the foreground it forwards signals, waits for the end,
deletes the container and exits with the status of the process (128 + the signal's number if one ended it).
Without a terminal of its own the process gets the caller's standard input, output and error themselves."""
EXAMPLE = "pyoci run --bundle ./bundle web"
OPTIONS = CREATION + (
    DETACH,
    ("keep", "", SWITCH, "", "do not delete the container when its process ends"),
    ("no-subreaper", "", SWITCH, "", "do not become the reaper of the container's orphaned processes"),
)
ARGUMENTS = (1, 1)


def call(command):
    values = command.values
    bundle = absolute(values.get("bundle") or ".")
    return command.runtime().run(
        command.arguments[0],
        bundle,
        detach=values.get("detach", False),
        keep=values.get("keep", False),
        no_subreaper=values.get("no-subreaper", False),
        **creation(values),
    )
