"""pyoci create: make a container from a bundle; its process waits for start."""

from pyoci.cli.options import CREATION, SWITCH, absolute, creation

SUMMARY = "create a container from a bundle"
USAGE = "<container-id>"
ABOUT = """Reads config.json in the bundle directory and sets up everything that it asks for. The container's own process
waits until `pyoci start` is called. The id must be unused in the state directory."""
EXAMPLE = "pyoci create --bundle ./bundle --pid-file /run/web.pid web"
OPTIONS = CREATION + (("detach", "d", SWITCH, "", ""),)  # go-runc can pass run's flag here too; create always detaches
ARGUMENTS = (1, 1)


def call(command):
    values = command.values
    bundle = absolute(values.get("bundle") or ".")
    command.runtime().create(command.arguments[0], bundle, **creation(values))
