"""The flags of run and create, and the request that they make: the body of the Engine API's `POST /containers/create`.

Nothing is judged here but the form of a value; whether it can be granted is the engine's to say.  Source: docker-run(1), Engine API ContainerCreate.
"""

import os

from pyoci.minidocker.cli import values
from pyoci.minidocker.cli.options import (
    DECIMAL,
    DURATION,
    FLAG,
    LIST,
    NUMBER,
    SIZE,
    TEXT,
    Option,
)
from pyoci.minidocker.errors import BadRequest

# In the order in which people use them, by counted lines of documentation.
GROUPS = {
    "Options": (
        Option("name", "", TEXT, "name of the container"),
        Option("detach", "d", FLAG, "run in the background and print the id"),
        Option("interactive", "i", FLAG, "keep standard input open"),
        Option("tty", "t", FLAG, "give it a terminal"),
        Option("rm", "", FLAG, "remove the container when it exits"),
        Option("env", "e", LIST, "set a variable, NAME=VALUE; NAME alone takes ours"),
        Option("env-file", "", LIST, "read variables from a file"),
        Option("volume", "v", LIST, "bind a host directory: /host:/container[:ro]"),
        Option("mount", "", LIST, "mount: type=bind,source=/host,target=/container,readonly or type=tmpfs,target=/t"),
        Option("tmpfs", "", LIST, "mount a tmpfs: /path[:size=64m,mode=1777]"),
        Option("workdir", "w", TEXT, "working directory in the container"),
        Option("user", "u", TEXT, "user or uid[:group or gid]"),
        Option("entrypoint", "", TEXT, "program to run instead of the image's entrypoint"),
        Option("restart", "", TEXT, "no, on-failure[:N], always or unless-stopped"),
        Option("runtime", "", TEXT, "another OCI runtime's path, such as /usr/sbin/runc"),
        Option("init", "", FLAG, "run an init that forwards signals and reaps processes"),
        Option("hostname", "h", TEXT, "host name in the container"),
        Option("domainname", "", TEXT, "NIS domain name in the container"),
        Option("label", "l", LIST, "set a label, NAME=VALUE"),
        Option("label-file", "", LIST, "read labels from a file"),
        Option("annotation", "", LIST, "annotation passed to the runtime, NAME=VALUE"),
        Option("cidfile", "", TEXT, "write the container's id to a file"),
        Option("pull", "", TEXT, "pull the image: always, missing (default) or never"),
        Option("quiet", "q", FLAG, "don't show the progress of a pull"),
        Option("platform", "", TEXT, "platform of the image, such as linux/arm64"),
        Option("plan", "", FLAG, "show what would be done, down to the runtime's operations, and do nothing"),
        Option("attach", "a", LIST, "attach to stdin, stdout or stderr only"),
        Option("sig-proxy", "", FLAG, "pass received signals to the process (default true)"),
        Option("detach-keys", "", TEXT, "key sequence that detaches (default ctrl-p,ctrl-q)"),
        Option("stop-signal", "", TEXT, "signal that stops it (default the image's, or TERM)"),
        Option("stop-timeout", "", NUMBER, "seconds until stop kills it (default 10)"),
        Option("log-driver", "", TEXT, "json-file (default) or none"),
        Option("log-opt", "", LIST, "max-size=10m, max-file=3"),
    ),
    "Limits": (
        Option("memory", "m", SIZE, "memory limit, such as 512m"),
        Option("memory-swap", "", SIZE, "memory and swap together; -1 is no limit"),
        Option("memory-reservation", "", SIZE, "soft limit, held when memory is short"),
        Option("memory-swappiness", "", NUMBER, "how readily it swaps, 0 to 100"),
        Option("oom-kill-disable", "", FLAG, "let it wait instead of killing it when memory runs out"),
        Option("oom-score-adj", "", NUMBER, "preference of the host's OOM killer, -1000 to 1000"),
        Option("cpus", "", DECIMAL, "number of CPUs, such as 1.5"),
        Option("cpuset-cpus", "", TEXT, "CPUs it may use, such as 0-3 or 0,1"),
        Option("cpuset-mems", "", TEXT, "memory nodes it may use"),
        Option("cpu-shares", "c", NUMBER, "relative weight (default 1024)"),
        Option("cpu-period", "", NUMBER, "CFS period in microseconds"),
        Option("cpu-quota", "", NUMBER, "CFS quota in microseconds"),
        Option("cpu-rt-period", "", NUMBER, "real-time period in microseconds"),
        Option("cpu-rt-runtime", "", NUMBER, "real-time runtime in microseconds"),
        Option("pids-limit", "", NUMBER, "number of processes; -1 is no limit"),
        Option("ulimit", "", LIST, "resource limit, such as nofile=1024:2048"),
        Option("shm-size", "", SIZE, "size of /dev/shm (default 64m)"),
        Option("blkio-weight", "", NUMBER, "relative weight of block IO, 10 to 1000"),
        Option("blkio-weight-device", "", LIST, "the same for one device: /dev/sda:500"),
        Option("device-read-bps", "", LIST, "limit the reads of a device: /dev/sda:1mb"),
        Option("device-write-bps", "", LIST, "limit the writes of a device"),
        Option("device-read-iops", "", LIST, "limit the reads of a device: /dev/sda:1000 a second"),
        Option("device-write-iops", "", LIST, "limit the writes of a device"),
        Option("cgroup-parent", "", TEXT, "cgroup to make the container's below"),
    ),
    "Security": (
        Option("read-only", "", FLAG, "mount the root file system read-only"),
        Option("privileged", "", FLAG, "give it every capability and device of the host"),
        Option("cap-add", "", LIST, "add a capability, such as NET_ADMIN or ALL"),
        Option("cap-drop", "", LIST, "take a capability away"),
        Option("security-opt", "", LIST, "seccomp=FILE|unconfined, apparmor=PROFILE, no-new-privileges, label=..."),
        Option("group-add", "", LIST, "a further group"),
        Option("device", "", LIST, "let it use a device: /dev/fuse[:/dev/fuse[:rwm]]"),
        Option("device-cgroup-rule", "", LIST, "allow devices: 'c 1:3 rwm'"),
        Option("sysctl", "", LIST, "set a kernel parameter of its namespaces, NAME=VALUE"),
        Option("pid", "", TEXT, "process namespace: host or container:NAME"),
        Option("ipc", "", TEXT, "IPC namespace: private, shareable, host, none or container:NAME"),
        Option("uts", "", TEXT, "host name namespace: host"),
        Option("userns", "", TEXT, "user namespace: host"),
        Option("cgroupns", "", TEXT, "cgroup namespace: private or host"),
    ),
    "Network": (
        Option("network", "", LIST, "none (default, or $MINIDOCKER_NETWORK), host or container:NAME"),
        Option("net", "", LIST, "the same as --network"),
        Option("publish", "p", LIST, "publish a port (not in this release)"),
        Option("publish-all", "P", FLAG, "publish all exposed ports (not in this release)"),
        Option("expose", "", LIST, "note a port that the program listens on"),
        Option("add-host", "", LIST, "a line of /etc/hosts: NAME:ADDRESS"),
        Option("dns", "", LIST, "name server"),
        Option("dns-search", "", LIST, "search domain"),
        Option("dns-option", "", LIST, "option of resolv.conf"),
        Option("network-alias", "", LIST, "further name on its network (not in this release)"),
        Option("ip", "", TEXT, "address on its network (not in this release)"),
        Option("mac-address", "", TEXT, "hardware address (not in this release)"),
        Option("link", "", LIST, "name of another container (not in this release)"),
    ),
    "Health check": (
        Option("health-cmd", "", TEXT, "command that tells whether it is healthy"),
        Option("health-interval", "", DURATION, "time between checks (default 30s)"),
        Option("health-timeout", "", DURATION, "time that a check may take (default 30s)"),
        Option("health-retries", "", NUMBER, "failures in a row until it is unhealthy (default 3)"),
        Option("health-start-period", "", DURATION, "time in which failures don't count"),
        Option("health-start-interval", "", DURATION, "time between checks in that period (default 5s)"),
        Option("no-healthcheck", "", FLAG, "ignore the image's health check"),
    ),
}
OPTIONS = tuple(option for options in GROUPS.values() for option in options)

# Flag to a key of HostConfig whose value is the flag's as it was read.
HOST_KEYS = {
    "memory": "Memory", "memory-swap": "MemorySwap", "memory-reservation": "MemoryReservation", "memory-swappiness": "MemorySwappiness",
    "oom-kill-disable": "OomKillDisable", "oom-score-adj": "OomScoreAdj", "cpus": "NanoCpus", "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems", "cpu-shares": "CpuShares", "cpu-period": "CpuPeriod", "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod", "cpu-rt-runtime": "CpuRealtimeRuntime", "pids-limit": "PidsLimit", "shm-size": "ShmSize",
    "blkio-weight": "BlkioWeight", "cgroup-parent": "CgroupParent", "read-only": "ReadonlyRootfs", "privileged": "Privileged",
    "cap-add": "CapAdd", "cap-drop": "CapDrop", "security-opt": "SecurityOpt", "group-add": "GroupAdd",
    "device-cgroup-rule": "DeviceCgroupRules", "pid": "PidMode", "ipc": "IpcMode", "uts": "UTSMode", "userns": "UsernsMode",
    "cgroupns": "CgroupnsMode", "rm": "AutoRemove", "init": "Init", "add-host": "ExtraHosts", "dns": "Dns",
    "dns-search": "DnsSearch", "dns-option": "DnsOptions", "runtime": "Runtime",
}  # fmt: skip
CONFIG_KEYS = {
    "hostname": "Hostname", "domainname": "Domainname", "user": "User", "workdir": "WorkingDir", "stop-signal": "StopSignal",
    "stop-timeout": "StopTimeout", "tty": "Tty", "interactive": "OpenStdin",
}  # fmt: skip
HEALTH_KEYS = {
    "health-interval": "Interval", "health-timeout": "Timeout", "health-retries": "Retries", "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}  # fmt: skip
LATER = ("publish", "publish-all", "network-alias", "ip", "mac-address", "link")
# Flag to a key of HostConfig, and what reads each of its words.
READ_LISTS = {
    "volume": ("Binds", values.volume), "ulimit": ("Ulimits", values.ulimit), "device": ("Devices", values.device), "mount": ("Mounts", values.mount),
    "blkio-weight-device": ("BlkioWeightDevice", values.weight_device),
    "device-read-bps": ("BlkioDeviceReadBps", values.rate_device), "device-write-bps": ("BlkioDeviceWriteBps", values.rate_device),
    "device-read-iops": ("BlkioDeviceReadIOps", lambda text: values.rate_device(text, values.number)),
    "device-write-iops": ("BlkioDeviceWriteIOps", lambda text: values.rate_device(text, values.number)),
}  # fmt: skip


def request(given, image, command, environ=os.environ):
    """The create request.  given: Values of OPTIONS; image: as the user wrote it; command: words, may be empty.  Raises BadRequest."""
    body = {"Image": image, "HostConfig": host_config(given)}
    if environ.get("MINIDOCKER_NETWORK"):
        body["HostConfig"].setdefault("NetworkMode", environ["MINIDOCKER_NETWORK"])
    body.update({key: given[flag] for flag, key in CONFIG_KEYS.items() if flag in given})
    if command:
        body["Cmd"] = command
    if given["entrypoint"] is not None:
        body["Entrypoint"] = [given["entrypoint"]]
    env = values.environment(given["env"], given["env-file"], environ)
    if env:
        body["Env"] = env
    labels = values.labels(given["label"], given["label-file"])
    if labels:
        body["Labels"] = labels
    if given["expose"]:
        body["ExposedPorts"] = {port if "/" in port else f"{port}/tcp": {} for port in given["expose"]}
    body.update(attachments(given))
    body.update(health_check(given))
    return body


def attachments(given):
    """Which streams the caller stays with."""
    named = [word.lower() for word in given["attach"]]
    for word in named:
        if word not in ("stdin", "stdout", "stderr"):
            raise BadRequest(f'invalid stream "{word}": stdin, stdout or stderr')
    if given["detach"]:
        if named:
            raise BadRequest("conflicting options: cannot specify both --attach and --detach")
        return {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False}
    return {
        "AttachStdin": "stdin" in named if named else bool(given["interactive"]),
        "AttachStdout": "stdout" in named or not named,
        "AttachStderr": "stderr" in named or not named,
        "StdinOnce": bool(given["interactive"]),
    }


def health_check(given):
    """{"Healthcheck": ...}, or {} when nothing was said."""
    asked = {key: given[flag] for flag, key in HEALTH_KEYS.items() if flag in given}
    if given["no-healthcheck"]:
        if asked or given["health-cmd"]:
            raise BadRequest("--no-healthcheck conflicts with --health-* options")
        return {"Healthcheck": {"Test": ["NONE"]}}
    if given["health-cmd"]:
        asked = {"Test": ["CMD-SHELL", given["health-cmd"]], **asked}
    for key, value in asked.items():
        if key != "Test" and value < 0:
            raise BadRequest(f"health check: {key} cannot be negative")
    return {"Healthcheck": asked} if asked else {}


def host_config(given):
    """The request's HostConfig."""
    config = {key: given[flag] for flag, key in HOST_KEYS.items() if given[flag]}
    for flag in ("oom-score-adj", "memory-swappiness"):
        if flag in given:
            config[HOST_KEYS[flag]] = given[flag]
    if "init" in given:
        config["Init"] = given["init"]
    for flag, (key, read) in READ_LISTS.items():
        if given[flag]:
            config[key] = [read(text) for text in given[flag]]
    if given["restart"] is not None:
        config["RestartPolicy"] = values.restart_policy(given["restart"])
    if config.get("AutoRemove") and config.get("RestartPolicy", {}).get("Name", "no") != "no":
        raise BadRequest("conflicting options: cannot specify both --restart and --rm")
    if given["tmpfs"]:
        config["Tmpfs"] = dict(text.partition(":")[::2] for text in given["tmpfs"])
    for text in given["sysctl"] or ():
        if "=" not in text:
            raise BadRequest(f"sysctl '{text}' is not allowed: NAME=VALUE")
    for flag, key in (("sysctl", "Sysctls"), ("annotation", "Annotations")):
        if given[flag]:
            config[key] = values.pairs(given[flag])
    if given["log-driver"] or given["log-opt"]:
        config["LogConfig"] = {"Type": given["log-driver"] or "", "Config": values.pairs(given["log-opt"])}
    config.update(_network(given))
    return config


def _network(given):
    for flag in LATER:
        if given[flag]:
            raise BadRequest(f"--{flag}: networks and published ports are not in this release", hint="--network host shares the host's network")
    networks = [*(given["network"] or ()), *(given["net"] or ())]  # `update` has neither
    if len(networks) > 1:
        raise BadRequest(f"--network {networks[1]}: a container has one network in this release")
    return {"NetworkMode": networks[0]} if networks else {}
