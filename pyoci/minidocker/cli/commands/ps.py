"""ps: the list of containers.  docker-ps(1)"""

import sys
import time

from pyoci.minidocker.cli.listing import listing
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, NUMBER, TEXT, Option
from pyoci.minidocker.durations import human_duration
from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.sizes import human_size

COLUMNS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED", "Ports": "PORTS",
    "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Names": "NAMES", "Labels": "LABELS", "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
}  # fmt: skip
DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
COMMAND_WIDTH = 20
FILTERS = ("id", "name", "label", "exited", "status", "ancestor", "before", "since", "health", "volume", "network", "publish", "expose", "is-task")


def filters(words, known):
    """{key: [values]} of --filter words.  Raises BadRequest."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise BadRequest(f'bad format of filter "{word}": KEY=VALUE')
        if key not in known:
            raise BadRequest(f"invalid filter '{key}': {', '.join(known)}")
        found.setdefault(key, []).append(value)
    return found


def row(summary, whole, now_s):
    """A container's fields.  summary: of the Engine API's /containers/json."""
    command = summary["Command"]
    if not whole and len(command) > COMMAND_WIDTH:
        command = command[: COMMAND_WIDTH - 1] + "…"
    labels = summary.get("Labels") or {}
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in summary.get("Mounts", ())]
    return {
        "ID": summary["Id"] if whole else summary["Id"][:12],
        "Image": summary["Image"] if whole or not summary["Image"].startswith("sha256:") else summary["Image"].removeprefix("sha256:")[:12],
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(summary["Created"])),
        "RunningFor": human_duration(now_s - summary["Created"]) + " ago",
        "Ports": "",
        "State": summary["State"],
        "Status": summary["Status"],
        "Size": _size(summary),
        "Names": ",".join(name.lstrip("/") for name in summary["Names"]),
        "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        "Label": lambda key: labels.get(key, ""),
        "Mounts": ",".join(mounts if whole else [name[:15] for name in mounts]),
        "LocalVolumes": "0",
        "Networks": summary.get("HostConfig", {}).get("NetworkMode", ""),
    }


def _size(summary):
    own, whole = human_size(summary.get("SizeRw", 0)), summary.get("SizeRootFs")
    return f"{own} (virtual {human_size(whole)})" if whole else own


def ps(call):
    """List containers."""
    values = call.values
    form = values["format"] or ""
    limit = 1 if values["latest"] else max(values["last"] or 0, 0)
    size = bool(values["size"]) or ".Size" in form or "json ." in form  # a row whole; not the bare `json`, for sizes are dear
    found = call.engine.list(all=bool(values["all"] or limit), filters=filters(values["filter"], FILTERS), size=size, limit=limit)
    now_s = time.time()
    rows = [row(summary, bool(values["no-trunc"]), now_s) for summary in found]
    default = (*DEFAULT, "Size") if values["size"] else DEFAULT
    sys.stdout.write(listing(COLUMNS, rows, form, "ID" if values["quiet"] else None, default))


COMMANDS = {
    "ps": Command(ps, "[OPTIONS]", "list containers", "minidocker ps -a --filter status=exited --format '{{.Names}}: {{.Status}}'", options=(
        Option("all", "a", FLAG, "show all containers, not only those that run"),
        Option("quiet", "q", FLAG, "print ids only"),
        Option("filter", "f", LIST, "show those that match, such as name=web or status=exited"),
        Option("format", "", TEXT, "table, json or a template"),
        Option("no-trunc", "", FLAG, "don't cut ids and commands"),
        Option("last", "n", NUMBER, "show the last n created"),
        Option("latest", "l", FLAG, "show the last created"),
        Option("size", "s", FLAG, "show the sizes"),
    )),
}  # fmt: skip
