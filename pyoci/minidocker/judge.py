"""What a create request may not say, in docker's words where it has them, before anything is done.  Pure, but for the number of CPUs.

Source: Engine API v1.44 HostConfig; docker-run(1); what dockerd answers.
"""

import os
import re

from pyoci.minidocker import bundle_limits, bundle_mounts, bundle_security
from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.logs import log_config
from pyoci.spec.names import RLIMITS, signal_number

LEAST_MEMORY = 6 << 20
NO_NETWORK = ("no --network was given: the container has none but its loopback; networks come with a later release, --network host shares the host's, and "
              "MINIDOCKER_NETWORK in the environment (none, host) is taken where none is given")  # fmt: skip


def judge(body):
    """Warnings.  Raises BadRequest, and BadRequest for what this release cannot do.  In a user namespace limits that can't be had are taken out of the body."""
    host = body.get("HostConfig") or {}
    for one in (_memory, _cpu, _others, _modes, _restart, _mounts, _later):
        one(host)
    _conflicts(body, host)
    _body(body)
    log_config(host)
    bundle_security.capabilities(host, ())
    _security(host)
    warnings = [] if host.get("NetworkMode") else [NO_NETWORK]
    if in_user_namespace():
        from pyoci.minidocker import confined  # never for root

        warnings += confined.judge(host)
    return warnings


def judge_merged(body):
    """The same of what the image brought along: a request in which its defaults are filled in.  Raises BadRequest."""
    _body(body)


def _body(body):
    if body.get("StopSignal"):
        signal_of(body["StopSignal"])
    if (body.get("StopTimeout") or 0) < -1:
        raise BadRequest(f"invalid stop timeout: {body['StopTimeout']}")
    hostname = body.get("Hostname") or ""
    if hostname and (len(hostname) > 64 or not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", hostname)):
        raise BadRequest(f"invalid hostname format: {hostname}")
    workdir = body.get("WorkingDir") or ""
    if workdir and not workdir.startswith("/"):
        raise BadRequest(f"the working directory '{workdir}' is invalid, it needs to be an absolute path")
    for word in body.get("Env") or []:
        if "\0" in word or not word.partition("=")[0]:
            raise BadRequest(f"invalid environment variable: {word!r}")
    _health(body.get("Healthcheck") or {})


def signal_of(word):
    """The number of a signal's name or number.  Raises BadRequest."""
    from pyoci.errors import UsageError

    try:
        number = signal_number(str(word))
    except UsageError:
        number = 0
    if not number:
        raise BadRequest(f"Invalid signal: {word}")
    return number


def _health(check):
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = check.get(name) or 0
        if value < 0 or 0 < value < 1_000_000:
            raise BadRequest(f"{name} in Healthcheck cannot be less than 1ms")
    if (check.get("Retries") or 0) < 0:
        raise BadRequest("Retries in Healthcheck cannot be negative")


def _memory(host):
    limit, swap, reservation = host.get("Memory") or 0, host.get("MemorySwap") or 0, host.get("MemoryReservation") or 0
    if 0 < limit < LEAST_MEMORY:
        raise BadRequest("Minimum memory limit allowed is 6MB")
    if limit > 0 and swap > 0 and swap < limit:
        raise BadRequest("Minimum memoryswap limit should be larger than memory limit, see usage")
    if limit == 0 and swap > 0:
        raise BadRequest("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < reservation < LEAST_MEMORY:
        raise BadRequest("Minimum memory reservation allowed is 6MB")
    if limit > 0 and limit < reservation:
        raise BadRequest("Minimum memory limit can not be less than memory reservation limit, see usage")
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise BadRequest(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    for name in ("KernelMemory", "KernelMemoryTCP"):
        if host.get(name):
            raise BadRequest(f"{name}: the kernel has no such limit any more", hint="--memory counts the kernel's part too")


def _cpu(host):
    nano, period, quota = host.get("NanoCpus") or 0, host.get("CpuPeriod") or 0, host.get("CpuQuota") or 0
    count = os.cpu_count() or 1
    if nano and period:
        raise BadRequest("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano and quota:
        raise BadRequest("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano < 0 or nano > count * 10**9:
        raise BadRequest(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if period and not 1000 <= period <= 1_000_000:
        raise BadRequest("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise BadRequest("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if (host.get("CpuShares") or 0) < 0:
        raise BadRequest(f"invalid CPU shares ({host['CpuShares']}): value must be a positive integer")
    for name, most, what in (("CpusetCpus", count, "CPUs"), ("CpusetMems", 0, "memory nodes")):
        _cpuset(host.get(name) or "", most, what)


def _cpuset(text, count, what):
    if not text:
        return
    if not re.fullmatch(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", text, re.ASCII):
        raise BadRequest(f"Invalid value {text} for cpuset {'cpus' if count else 'mems'}")
    if count and max(int(number) for number in re.findall(r"\d+", text)) >= count:
        raise BadRequest(f"Requested {what} are not available - requested {text}, available: {'0' if count == 1 else f'0-{count - 1}'}")


def _others(host):
    score = host.get("OomScoreAdj") or 0
    if not -1000 <= score <= 1000:
        raise BadRequest(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    if (host.get("ShmSize") or 0) < 0:
        raise BadRequest("SHM size can not be less than 0")
    weight = host.get("BlkioWeight") or 0
    if weight and not 10 <= weight <= 1000:
        raise BadRequest("Range of blkio weight is from 10 to 1000")
    for limit in host.get("Ulimits") or []:
        if f"RLIMIT_{limit['Name'].upper()}" not in RLIMITS:
            raise BadRequest(f"invalid ulimit type: {limit['Name']}")
    for text in host.get("DeviceCgroupRules") or []:
        bundle_limits.parse_device_rule(text)
    for name, value in (host.get("Sysctls") or {}).items():
        if not re.fullmatch(r"[A-Za-z0-9_]+([./][A-Za-z0-9_*:-]+)+", name) or "\n" in str(value):
            raise BadRequest(f"invalid sysctl: {name}={value}")
    for server in host.get("Dns") or []:
        import ipaddress  # cold: few name one

        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise BadRequest(f"{server} is not an ip address") from None
    parent = host.get("CgroupParent") or ""
    if ".." in parent.split("/"):
        raise BadRequest(f"invalid cgroup parent: {parent}")


_MODES = {
    "NetworkMode": ("", "none", "host", "container:"),
    "PidMode": ("", "host", "container:"),
    "IpcMode": ("", "private", "shareable", "host", "none", "container:"),
    "UTSMode": ("", "host"),
    "UsernsMode": ("", "host"),
    "CgroupnsMode": ("", "private", "host"),
}


def _modes(host):
    for name, known in _MODES.items():
        value = host.get(name) or ""
        if value in known and value != "container:":
            continue
        if "container:" in known and value.startswith("container:") and len(value) > len("container:"):
            continue
        if name == "NetworkMode":
            raise BadRequest(f"network {value}: networks come with a later release", hint="--network none, host or container:NAME")
        raise BadRequest(f"invalid {name.removesuffix('Mode').upper()} mode: {value}")


def _conflicts(body, host):
    """What is another's where a namespace is shared: the container's files of names are those of whose network it has."""
    if host.get("UTSMode") == "host" and body.get("Hostname"):
        raise BadRequest("conflicting options: hostname and the UTS mode")
    if (host.get("NetworkMode") or "").startswith("container:"):
        for given, what in ((body.get("Hostname"), "hostname"), (host.get("Dns"), "dns"), (host.get("ExtraHosts"), "custom host-to-IP mapping")):
            if given:
                raise BadRequest(f"conflicting options: {what} and the network mode")


def _restart(host):
    policy = host.get("RestartPolicy") or {}
    name, most = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    if name not in ("no", "always", "unless-stopped", "on-failure"):
        raise BadRequest(f"invalid restart policy '{name}'")
    if most and name != "on-failure":
        raise BadRequest(f"invalid restart policy: maximum retry count cannot be used with restart policy '{name}'")
    if most < 0:
        raise BadRequest("invalid restart policy: maximum retry count cannot be negative")
    if host.get("AutoRemove") and name != "no":
        raise BadRequest("can't create 'AutoRemove' container with restart policy")


def _mounts(host):
    for mount in bundle_mounts.requested(host):
        kind, source = mount.get("Type"), mount.get("Source") or ""
        if kind == "volume" and source:
            raise BadRequest(f"volume {source}: named volumes come with a later release", hint="bind a host directory: -v /host/path:/path")
        if kind == "bind" and not source.startswith("/"):
            raise BadRequest(f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute")
        if kind not in ("bind", "tmpfs", "volume"):
            raise BadRequest(f"mount type {kind}: bind and tmpfs are what there is")
        if kind == "bind" and not (mount.get("BindOptions") or {}).get("CreateMountpoint") and not os.path.exists(source):
            raise BadRequest(f'invalid mount config for type "bind": bind source path does not exist: {source}')
        propagation = (mount.get("BindOptions") or {}).get("Propagation") or ""
        if propagation and propagation not in bundle_mounts.PROPAGATIONS:
            raise BadRequest(f"invalid propagation mode: {propagation}")


def _later(host):
    for name, what in (("PortBindings", "published ports"), ("PublishAllPorts", "published ports"), ("Links", "links"), ("VolumesFrom", "volumes")):
        if host.get(name):
            raise BadRequest(f"{name}: {what} come with a later release")
    if host.get("VolumeDriver"):
        raise BadRequest("VolumeDriver: volumes come with a later release")


def _security(host):
    """A seccomp profile may be named by its file: its text takes the name's place, so that it is as it was at create."""
    found = bundle_security.options(host)
    if found.apparmor:
        from pyoci.minidocker.apparmor import profile_of

        profile_of(host)
    if found.seccomp in ("", "unconfined"):
        return
    import json

    text = found.seccomp
    if not text.startswith("{"):
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read(1 << 20)
        except (OSError, ValueError) as error:
            raise BadRequest(f"opening seccomp profile ({found.seccomp}) failed: {getattr(error, 'strerror', None) or error}") from error
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(profile, dict):
        raise BadRequest("Decoding seccomp profile failed: not an object")
    if "archMap" in profile or any("name" in rule or "includes" in rule or "excludes" in rule for rule in profile.get("syscalls") or []):
        from pyoci.minidocker.seccomp_file import convert

        profile = convert(profile, host)
    options = [word for word in host["SecurityOpt"] if not word.startswith(("seccomp=", "seccomp:"))]
    host["SecurityOpt"] = [*options, f"seccomp={json.dumps(profile)}"]
