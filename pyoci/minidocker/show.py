"""Containers in the Engine API's shapes: `inspect` and the list.

Source: Engine API v1.44 ContainerInspect, ContainerList; docker-ps(1) filters and statuses.
"""

import os
import re
import time

from pyoci.errors import PyociError
from pyoci.kernel.proc import has_apparmor
from pyoci.minidocker import bundle_mounts, bundle_security, containers
from pyoci.minidocker.durations import human_duration
from pyoci.minidocker.errors import BadRequest, NotFound

NEVER = "0001-01-01T00:00:00Z"
# The years 1 and 9999.
FIRST_NS, LAST_NS = -62135596800 * 10**9, 253402300799 * 10**9
STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
NS = 10**9


def moment(time_ns):
    """Nanoseconds as RFC 3339 in UTC; 0 is docker's never.  A container's files may bear times that it can't say: the nearest that it can."""
    if not time_ns:
        return NEVER
    seconds, fraction = divmod(max(FIRST_NS, min(time_ns, LAST_NS)), NS)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"


def health_of(container):
    """State.Health, or None."""
    import json

    return json.loads(container.health) if container.health else None


def status_line(container, status):
    """What `ps` shows: `Up 5 minutes (healthy)`, `Exited (0) 3 seconds ago`."""
    now_ns = time.time_ns()
    since_end = human_duration((now_ns - container.finished_ns) / NS)
    if status in containers.ALIVE:
        health = health_of(container)
        words = f"Up {human_duration((now_ns - container.started_ns) / NS)}"
        if status == "paused":
            return f"{words} (Paused)"
        if health:
            words += f" ({'health: ' if health['Status'] == 'starting' else ''}{health['Status']})"
        return words
    if status == "restarting":
        return f"Restarting ({container.exit_code}) {since_end} ago"
    if status == "exited":
        # Of one that ended with the host nobody knows when, until it is settled.
        return f"Exited ({exit_code(container)})" + (f" {since_end} ago" if container.finished_ns else "")
    return {"removing": "Removal In Progress", "dead": "Dead"}.get(status, "Created")


def exit_code(container):
    """The exit code as it is known: of one that ended and is not settled yet, from the monitor's note."""
    if container.status in containers.ALIVE:
        from pyoci.minidocker.settle import LOST_STATUS, read_exit

        return (read_exit(container) or (LOST_STATUS, 0))[0]
    return container.exit_code


# --- inspect


def inspect(store, ref, size=False):
    """A container as ContainerInspect has it."""
    container = containers.find(store, ref)
    status = containers.status_of(container)
    command = [*(container.body.get("Entrypoint") or []), *(container.body.get("Cmd") or [])]
    folder = container.folder
    driver = (container.host.get("LogConfig") or {}).get("Type") or "json-file"
    found = dict(zip(("SizeRw", "SizeRootFs"), sizes(container), strict=True)) if size else {}
    return {
        **found,
        "Id": container.id,
        "Created": moment(container.created_ns),
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": state(container, status),
        "Image": container.image_id,
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": "" if driver == "none" else f"{folder}/log.json",
        "Name": f"/{container.name}",
        "RestartCount": container.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": apparmor_profile(container),
        "ExecIDs": None,
        "HostConfig": host_config(container),
        "GraphDriver": graph_driver(store, container),
        "Mounts": mounts(container),
        "Config": config(container),
        "NetworkSettings": network_settings(container),
    }


def apparmor_profile(container):
    """The profile of its last start; of one that was never started, what was asked for by name."""
    if not has_apparmor() or not os.path.exists(path := f"{container.folder}/bundle/config.json"):
        return bundle_security.options(container.host).apparmor
    import json

    with open(path, encoding="utf-8") as file:
        return json.load(file)["process"].get("apparmorProfile", "")


def state(container, status):
    """ContainerState."""
    alive = status in containers.ALIVE
    found = {
        "Status": status,
        "Running": alive or status == "restarting",
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": bool(container.oom_killed),
        "Dead": status == "dead",
        "Pid": container.pid if alive else 0,
        "ExitCode": 0 if alive else exit_code(container),
        "Error": container.error,
        "StartedAt": moment(container.started_ns),
        "FinishedAt": moment(container.finished_ns),
    }
    if health := health_of(container):
        found["Health"] = health
    return found


def host_config(container):
    """HostConfig with the values that stand for what was not said."""
    from pyoci.minidocker.bundle import hidden_paths

    host = container.host
    masked, read_only = ([], []) if host.get("Privileged") else hidden_paths(host)
    defaults = {
        "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "json-file", "Config": {}}, "NetworkMode": "none", "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False, "VolumeDriver": "", "VolumesFrom": None, "CapAdd": None,
        "CapDrop": None, "CgroupnsMode": "host", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "GroupAdd": None,
        "IpcMode": "private", "Cgroup": "", "Links": None, "OomScoreAdj": 0, "PidMode": "", "Privileged": False, "PublishAllPorts": False,
        "ReadonlyRootfs": False, "SecurityOpt": None, "UTSMode": "", "UsernsMode": "", "ShmSize": bundle_mounts.SHM_BYTES, "Runtime": "pyoci",
        "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0,
        "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [], "DeviceCgroupRules": None,
        "DeviceRequests": None, "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": None, "OomKillDisable": False, "PidsLimit": None,
        "Ulimits": [], "ConsoleSize": [0, 0], "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
        "MaskedPaths": masked, "ReadonlyPaths": read_only,
    }  # fmt: skip
    made = {**defaults, **host}
    if made["Memory"] and not made["MemorySwap"]:
        made["MemorySwap"] = 2 * made["Memory"]
    log = made["LogConfig"]
    made["LogConfig"] = {"Type": log.get("Type") or "json-file", "Config": log.get("Config") or {}}
    return made


def config(container):
    """Config."""
    body = container.body
    defaults = {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
        "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": container.image, "Volumes": None, "WorkingDir": "",
        "Entrypoint": None, "OnBuild": None, "Labels": {},
    }  # fmt: skip
    made = {**defaults, **{name: value for name, value in body.items() if name not in ("HostConfig", "NetworkingConfig") and value is not None}}
    for name in ("ExposedPorts", "StopSignal"):
        if not made.get(name):
            made.pop(name, None)
    made["Volumes"] = made["Volumes"] or None
    made["Labels"] = dict(sorted(made["Labels"].items()))  # a map of Go's
    return made


def graph_driver(store, container):
    """GraphDriver."""
    from pyoci.minidocker.images import layers

    try:
        lowers = layers.lowers_of(store, container.chain) if container.chain else []
    except PyociError:
        lowers = []  # damage; `system check` says so
    folder = container.folder
    data = {"LowerDir": ":".join(lowers), "MergedDir": container.rootfs, "UpperDir": f"{folder}/upper", "WorkDir": f"{folder}/work"}
    return {"Data": data, "Name": "overlay2"}


def mounts(container):
    """Mounts: what was asked for; an image's volumes lie in the container's own layer, and are not listed."""
    found = []
    for mount in bundle_mounts.requested(container.host):
        if mount["Type"] == "bind":
            propagation = (mount.get("BindOptions") or {}).get("Propagation") or "rprivate"
            found.append({"Type": "bind", "Source": mount["Source"], "Destination": mount["Target"], "Mode": mount.get("Mode", ""), "RW": not mount.get("ReadOnly"),
                          "Propagation": propagation})  # fmt: skip
        elif mount["Type"] == "tmpfs":
            found.append({"Type": "tmpfs", "Source": "", "Destination": mount["Target"], "Mode": "", "RW": not mount.get("ReadOnly"), "Propagation": ""})
    return found


def network_settings(container):
    """NetworkSettings: this release has no networks but `none`, the host's and another container's."""
    mode = container.host.get("NetworkMode") or "none"
    nothing = {"IPAMConfig": None, "Links": None, "Aliases": None, "MacAddress": "", "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "",
               "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DriverOpts": None}  # fmt: skip
    networks = {} if mode.startswith("container:") else {mode: nothing}
    return {"Bridge": "", "SandboxID": "", "SandboxKey": "", "Ports": {}, "HairpinMode": False, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": None, "SecondaryIPv6Addresses": None, "EndpointID": "", "Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
            "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "MacAddress": "", "Networks": networks}  # fmt: skip


# --- the list


def summaries(store, *, everything=False, filters=None, size=False, limit=None):
    """[summary] as ContainerList has it, the newest first.  filters: {key: [values]}.  Raises BadRequest, NotFound (before, since)."""
    filters = filters or {}
    matches = _matcher(store, filters)
    everything = everything or bool(limit) or "status" in filters or "exited" in filters
    found = []
    for container in containers.all_containers(store):
        status = containers.status_of(container)
        if (everything or status in containers.ALIVE or status == "restarting") and matches(container, status):
            found.append(summary(container, status, size))
            if limit and len(found) == limit:
                break
    return found


def summary(container, status, size=False):
    """One."""
    words = [*(container.body.get("Entrypoint") or []), *(container.body.get("Cmd") or [])]
    command = " ".join(words[:1] + [f"'{word}'" if " " in word else word for word in words[1:]])
    mode = container.host.get("NetworkMode") or "none"
    made = {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image if names_image(container) else container.image_id,
        "ImageID": container.image_id,
        "Command": command,
        "Created": container.created_ns // NS,
        "Ports": [],
        "Labels": container.body.get("Labels") or {},
        "State": status,
        "Status": status_line(container, status),
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": network_settings(container)["Networks"]},
        "Mounts": mounts(container),
    }
    if size:
        made["SizeRw"], made["SizeRootFs"] = sizes(container)
    return made


def names_image(container):
    """Whether the image's name, as the container was made with, still leads to the container's image."""
    rows = container.store.db.execute("select reference from tags where image_id = ?", (container.image_id,)).fetchall()
    plain = {f"{before}{container.image}{after}" for before in ("", "docker.io/", "docker.io/library/") for after in ("", ":latest")}
    if any(row["reference"] in plain for row in rows):
        return True
    from pyoci.minidocker.images import records  # an id, a digest, or a name that leads elsewhere by now

    try:
        return records.find_id(container.store, container.image)[0] == container.image_id
    except PyociError:
        return False


def sizes(container):
    """(bytes of the container's own layer, bytes with the image's)."""
    from pyoci.minidocker.images import layers

    own = layers.tree_size(f"{container.folder}/upper") if os.path.isdir(f"{container.folder}/upper") else 0
    row = container.store.db.execute("select size from images where id = ?", (container.image_id,)).fetchone()
    return own, own + (row["size"] if row else 0)


FILTERS = ("id", "name", "label", "exited", "status", "ancestor", "before", "since", "health", "volume", "network", "publish", "expose", "is-task")


def _matcher(store, filters):
    """callable(container, status): whether all filters match; of one key's values any does, but for labels: all."""
    for name in filters:
        if name not in FILTERS:
            raise BadRequest(f"invalid filter '{name}'")
    if any(value not in ("false", "0") for value in filters.get("is-task", ())):
        return lambda container, status: False  # Swarm's
    tests = [_test(store, name, values) for name, values in filters.items() if name != "is-task"]
    return lambda container, status: all(test(container, status) for test in tests)


def _test(store, name, values):
    if name in ("before", "since"):
        borders = [containers.find(store, value).created_ns for value in values]
        earlier = name == "before"
        return lambda container, status: all((container.created_ns < border) if earlier else (container.created_ns > border) for border in borders)
    if name == "status":
        for value in values:
            if value not in STATUSES:
                raise BadRequest(f"invalid filter 'status={value}'")
        return lambda container, status: status in values
    if name == "exited":
        codes = {_number(value) for value in values}
        return lambda container, status: status == "exited" and exit_code(container) in codes
    if name == "ancestor":
        images = {_ancestor(store, value) for value in values}
        return lambda container, status: container.image_id in images
    return {"id": _by_id, "name": _by_name, "label": _by_label, "health": _by_health, "volume": _by_volume, "network": _by_network,
            "expose": _by_exposed}.get(name, _never)(values)


def _number(text):
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise BadRequest(f"invalid filter 'exited={text}'")
    return int(text)


def _ancestor(store, name):
    from pyoci.minidocker.images import records

    try:
        return records.find(store, name).id
    except NotFound:
        return None


def _never(values):
    return lambda container, status: False


def _by_id(values):
    return lambda container, status: any(container.id.startswith(value) for value in values)


def _by_name(values):
    try:
        patterns = [re.compile(value) for value in values]
    except re.error as error:
        raise BadRequest(f"invalid filter 'name={values[0]}': {error}") from error
    return lambda container, status: any(pattern.search(name) for pattern in patterns for name in (container.name, f"/{container.name}"))


def _by_label(values):
    pairs = [value.partition("=") for value in values]

    def test(container, status):
        labels = container.body.get("Labels") or {}
        return all(name in labels and (not sign or labels[name] == wanted) for name, sign, wanted in pairs)

    return test


def _by_health(values):
    return lambda container, status: ((health_of(container) or {}).get("Status", "none")) in values


def _by_volume(values):
    return lambda container, status: any(mount[key] in values for mount in mounts(container) for key in ("Source", "Destination"))


def _by_exposed(values):
    wanted = {value if "/" in value else f"{value}/tcp" for value in values}
    return lambda container, status: bool(wanted & set(container.body.get("ExposedPorts") or {}))


def _by_network(values):
    return lambda container, status: (container.host.get("NetworkMode") or "none") in values
