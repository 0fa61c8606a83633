"""pyoci checkpoint: have criu save a container to disk.  `checkpoint --help` tells podman that the runtime can."""

from pyoci.cli.options import LIST, NUMBER, SWITCH, TEXT, absolute, environment, number
from pyoci.errors import UsageError

SUMMARY = "save a running container to disk"
USAGE = "<container-id>"
ABOUT = """Has criu (which must be installed) write the container's processes into a directory, from which `pyoci restore` makes
them anew, here or on another host. The container is ended and deleted, unless --leave-running or --pre-dump is given. criu's log, dump.log,
is in --work-path, or else in --image-path."""
EXAMPLE = "pyoci checkpoint --image-path ./checkpoint web"

# Flags that checkpoint and restore share.
SHARED = (
    ("image-path", "", TEXT, "DIR", "directory of criu's image files (default: ./checkpoint)"),
    ("work-path", "", TEXT, "DIR", "directory of criu's log and work files, made where it is missing (default: --image-path)"),
    ("tcp-established", "", SWITCH, "", "allow open TCP connections"),
    ("ext-unix-sk", "", SWITCH, "", "allow unix sockets whose other end is outside of the container"),
    ("shell-job", "", SWITCH, "", "allow a session or a process group that was begun outside of the container"),
    ("lazy-pages", "", SWITCH, "", "move memory pages when they are touched, userfaultfd(2)"),
    ("link-remap", "", SWITCH, "", "allow files that are open and have lost their name"),
    ("file-locks", "", SWITCH, "", "save and restore file locks"),
    ("manage-cgroups-mode", "", TEXT, "soft|full|strict|ignore", "which properties of cgroups below the container's are restored (default: soft)"),
    ("empty-ns", "", LIST, "NAMESPACE", "a namespace whose content is left out: network, which always is"),
    ("auto-dedup", "", SWITCH, "", "drop pages from an earlier pre-dump that a later image has too"),
)
OPTIONS = SHARED + (
    ("parent-path", "", TEXT, "DIR", "images of an earlier pre-dump, relative to --image-path"),
    ("leave-running", "", SWITCH, "", "let the container go on"),
    ("tcp-skip-in-flight", "", SWITCH, "", "leave out TCP connections that are just being made"),
    ("status-fd", "", NUMBER, "FD", "descriptor that gets a NUL byte when lazy pages can be fetched"),
    ("page-server", "", TEXT, "ADDRESS:PORT", "page server to send memory to"),
    ("pre-dump", "", SWITCH, "", "save memory only and let the container go on"),
)
ARGUMENTS = (1, 1)


def call(command):
    values = command.values
    command.runtime().checkpoint(
        command.arguments[0],
        **shared(values),
        parent_path=values.get("parent-path") or "",
        leave_running=values.get("leave-running", False),
        tcp_skip_in_flight=values.get("tcp-skip-in-flight", False),
        page_server=_page_server(values.get("page-server") or ""),
        status_fd=values.get("status-fd", -1),
        pre_dump=values.get("pre-dump", False),
    )


def shared(values):
    """The keyword arguments of Runtime.checkpoint and Runtime.restore that SHARED's flags ask for."""
    found = {name.replace("-", "_"): values.get(name, False) for name, _, kind, _, _ in SHARED if kind == SWITCH}
    return found | {
        "image_path": absolute(values.get("image-path") or "checkpoint"),
        "work_path": absolute(values["work-path"]) if values.get("work-path") else "",
        "manage_cgroups_mode": values.get("manage-cgroups-mode") or "",
        "empty_ns": values.get("empty-ns") or (),
        "environ": environment(),
    }


def _page_server(text):
    if not text:
        return None
    address, _, port = text.rpartition(":")
    if not address or not port:
        raise UsageError("Use --page-server ADDRESS:PORT to specify page server")
    try:
        return address.removeprefix("[").removesuffix("]"), number(port, 1, 65535)
    except ValueError:
        raise UsageError(f"Invalid port number: {port!r}") from None
