"""The config.json that `pyoci spec` writes: a shell on a terminal in a read-only rootfs, with few privileges.

Cold and pure: the host's facts are arguments. Source: what runc's `spec` writes, as callers expect it; runtime-spec 1.3.0.
"""

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def spec(rootless=False, *, cgroup2=True, euid=0, egid=0):
    """The document. cgroup2: the host has a unified hierarchy, so a cgroup namespace is asked for; euid, egid: who maps to root
    in a rootless container."""
    config = {
        "ociVersion": "1.3.0",
        "process": _process(),
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyoci",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount") + ("cgroup",) * cgroup2],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }
    if rootless:
        _make_rootless(config, euid, egid)
    return config


def _process():
    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": [_PATH, "TERM=xterm"],
        "cwd": "/",
        # neither inheritable nor ambient: CVE-2022-29162
        "capabilities": {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _mounts():
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
    ]


def _mount(destination, kind, source, options):
    return {"destination": destination, "type": kind, "source": source, "options": options.split()}


def _make_rootless(config, euid, egid):
    linux = config["linux"]
    del linux["resources"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "network"] + [{"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": euid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": egid, "size": 1}]
    # sysfs can only be mounted by the owner of the network namespace, which stays the host's
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/sys")]
    config["mounts"].append(_mount("/sys", "none", "/sys", "rbind nosuid noexec nodev rro"))  # what is mounted below is the user's to write to (CVE-2023-25809)
    for mount in config["mounts"]:
        if "options" in mount:
            mount["options"] = [option for option in mount["options"] if option[:4] not in ("uid=", "gid=")]
