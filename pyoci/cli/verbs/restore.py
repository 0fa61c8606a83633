"""pyoci restore: refused until it comes; its flags are known, for callers that probe them.

podman runs `restore --lsm-mount-context` and looks for "flag needs an argument" to learn whether the flag exists.
"""

from pyoci.cli.options import BUNDLE, CONSOLE_SOCKET, DETACH, PID_FILE, SWITCH, TEXT
from pyoci.cli.verbs.checkpoint import SHARED
from pyoci.errors import PyociError

SUMMARY = "restore a container from disk (not supported yet)"
USAGE = "<container-id>"
ABOUT = """This release cannot restore: the command is refused, and nothing is changed."""
EXAMPLE = "pyoci restore --image-path ./checkpoint --bundle ./bundle web"
OPTIONS = (
    SHARED
    + (BUNDLE, CONSOLE_SOCKET, DETACH, PID_FILE)
    + (
        ("no-subreaper", "", SWITCH, "", "do not become the reaper of the container's orphaned processes"),
        ("no-pivot", "", SWITCH, "", "move the root mount instead of pivot_root"),
        ("lsm-profile", "", TEXT, "TYPE:NAME", "LSM profile for the restored processes"),
        ("lsm-mount-context", "", TEXT, "CONTEXT", "LSM mount context for the restored mounts"),
    )
)
ARGUMENTS = (1, 1)


def call(command):
    raise PyociError("restore is not supported by this release of pyoci")
