"""pyoci delete: remove a stopped container and everything that was made for it."""

from pyoci.cli.options import SWITCH

SUMMARY = "delete a container and the resources it holds"
USAGE = "<container-id>"
ABOUT = """The container must be stopped or not yet started. Runs the poststop hooks and removes its cgroup and its
state."""
EXAMPLE = "pyoci delete --force web"
OPTIONS = (("force", "f", SWITCH, "", "kill the container first if it runs; succeed if it does not exist"),)
ARGUMENTS = (1, 1)


def call(command):
    command.runtime().delete(command.arguments[0], force=command.values.get("force", False))
