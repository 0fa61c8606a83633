"""pyoci restore: have criu make a container from what checkpoint saved.

podman runs `restore --lsm-mount-context` and looks for "flag needs an argument" to learn whether the flag exists.
"""

from pyoci.cli.options import BUNDLE, CONSOLE_SOCKET, DETACH, PID_FILE, SWITCH, TEXT, absolute
from pyoci.cli.verbs.checkpoint import SHARED, shared

SUMMARY = "restore a container from disk"
USAGE = "<container-id>"
ABOUT = """Has criu (which must be installed) make the processes anew that `pyoci checkpoint` saved, in a container with the bundle's
mounts, limits and runtime hooks. The id must be unused. In the foreground it behaves as `pyoci run`. criu's log, restore.log, is in --work-path, or
else in --image-path."""
EXAMPLE = "pyoci restore --image-path ./checkpoint --bundle ./bundle web"
OPTIONS = (
    SHARED
    + (BUNDLE, CONSOLE_SOCKET, DETACH, PID_FILE)
    + (
        ("no-subreaper", "", SWITCH, "", "do not become the reaper of the container's orphaned processes"),
        ("no-pivot", "", SWITCH, "", ""),  # criu does it its own way
        ("lsm-profile", "", TEXT, "TYPE:NAME", "security profile for the restored processes, in place of that of the images"),
        ("lsm-mount-context", "", TEXT, "CONTEXT", "SELinux context for the restored mounts, in place of that of the images"),
    )
)
ARGUMENTS = (1, 1)


def call(command):
    values = command.values
    return command.runtime().restore(
        command.arguments[0],
        absolute(values.get("bundle") or "."),
        **shared(values),
        detach=values.get("detach", False),
        no_subreaper=values.get("no-subreaper", False),
        console_socket=values.get("console-socket") or None,
        pid_file=values.get("pid-file") or None,
        lsm_profile=values.get("lsm-profile") or "",
        lsm_mount_context=values.get("lsm-mount-context") or "",
    )
