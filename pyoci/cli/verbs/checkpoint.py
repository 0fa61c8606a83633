"""pyoci checkpoint: refused until it comes; its flags are known, for callers that probe them (podman)."""

from pyoci.cli.options import LIST, NUMBER, SWITCH, TEXT
from pyoci.errors import PyociError

SUMMARY = "save a running container to disk (not supported yet)"
USAGE = "<container-id>"
ABOUT = """This release cannot checkpoint: the command is refused, and nothing is changed."""
EXAMPLE = "pyoci checkpoint --image-path ./checkpoint web"

# Flags that checkpoint and restore share.
SHARED = (
    ("image-path", "", TEXT, "DIR", "directory of criu's image files"),
    ("work-path", "", TEXT, "DIR", "directory of work files and logs"),
    ("tcp-established", "", SWITCH, "", "allow open TCP connections"),
    ("ext-unix-sk", "", SWITCH, "", "allow external unix sockets"),
    ("shell-job", "", SWITCH, "", "allow shell jobs"),
    ("lazy-pages", "", SWITCH, "", "move memory pages on demand"),
    ("link-remap", "", SWITCH, "", "allow deleted files that are open"),
    ("file-locks", "", SWITCH, "", "allow file locks"),
    ("manage-cgroups-mode", "", TEXT, "soft|full|strict|ignore", "what happens to cgroups"),
    ("empty-ns", "", LIST, "NAMESPACE", "a namespace whose properties are left out"),
    ("auto-dedup", "", SWITCH, "", "drop duplicate memory images"),
)
OPTIONS = SHARED + (
    ("parent-path", "", TEXT, "DIR", "images of an earlier pre-dump, relative to --image-path"),
    ("leave-running", "", SWITCH, "", "leave the container running"),
    ("tcp-skip-in-flight", "", SWITCH, "", "skip TCP connections that are being made"),
    ("status-fd", "", NUMBER, "FD", "descriptor to write to when lazy pages are ready"),
    ("page-server", "", TEXT, "ADDRESS:PORT", "page server to send memory to"),
    ("pre-dump", "", SWITCH, "", "save memory only and leave the container running"),
)
ARGUMENTS = (1, 1)


def call(command):
    raise PyociError("checkpoint is not supported by this release of pyoci")
