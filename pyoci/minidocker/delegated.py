"""Which cgroups a user may have: what systemd or somebody else delegates to it, on version 2 alone.  Cold: root never loads it.

    systemd    the user's own manager makes a scope a container
    cgroupfs   the cgroup above our own belongs to the user
    none       no cgroups: what limits ask for is discarded with a warning, and containers can't be paused
Source: cgroup-v2.rst ("Delegation"), systemd.resource-control(5), user@.service(5); docs/decisions/0025.
"""

import os

MOUNT = "/sys/fs/cgroup"
# Fields of HostConfig with the flag that sets them, by the controller that they need.
LIMITS = {
    "memory": {"Memory": "--memory", "MemorySwap": "--memory-swap", "MemoryReservation": "--memory-reservation",
               "MemorySwappiness": "--memory-swappiness", "OomKillDisable": "--oom-kill-disable"},
    "cpu": {"NanoCpus": "--cpus", "CpuShares": "--cpu-shares", "CpuPeriod": "--cpu-period", "CpuQuota": "--cpu-quota",
            "CpuRealtimePeriod": "--cpu-rt-period", "CpuRealtimeRuntime": "--cpu-rt-runtime"},
    "cpuset": {"CpusetCpus": "--cpuset-cpus", "CpusetMems": "--cpuset-mems"},
    "pids": {"PidsLimit": "--pids-limit"},
    "io": {"BlkioWeight": "--blkio-weight", "BlkioWeightDevice": "--blkio-weight-device", "BlkioDeviceReadBps": "--device-read-bps",
           "BlkioDeviceWriteBps": "--device-write-bps", "BlkioDeviceReadIOps": "--device-read-iops", "BlkioDeviceWriteIOps": "--device-write-iops"},
}  # fmt: skip


class Delegated:
    """driver: systemd, cgroupfs or none; base: the folder below which the containers' cgroups lie; controllers: what can be limited there."""

    __slots__ = ("base", "controllers", "driver")

    def __init__(self, driver, base=""):
        self.driver = driver
        self.base = base
        self.controllers = frozenset(_read(f"{base}/cgroup.controllers").split()) if base else frozenset()

    def cgroups_path(self, container_id, parent=""):
        """config.json's linux.cgroupsPath, "" for none."""
        if self.driver == "systemd":
            return f"{parent}:minidocker:{container_id}"
        return f"{(parent or 'minidocker').strip('/')}/{container_id}" if self.driver == "cgroupfs" else ""

    def folder(self, container_id, parent=""):
        """Where the cgroup of a container is, "" for nowhere."""
        if self.driver == "systemd":
            slices = (parent or "user.slice").removesuffix(".slice").split("-")
            inner = "/".join(f"{'-'.join(slices[: count + 1])}.slice" for count in range(len(slices)))
            return f"{self.base}/{inner}/minidocker-{container_id}.scope"
        return f"{self.base}/{self.cgroups_path(container_id, parent)}" if self.driver == "cgroupfs" else ""

    def lacking(self, host):
        """[(field, its flag, the controller)] of the limits of a HostConfig that can't be had."""
        return [(name, flag, controller) for controller, fields in LIMITS.items() if controller not in self.controllers
                for name, flag in fields.items() if _is_set(name, host.get(name))]  # fmt: skip


def _is_set(name, value):
    if name == "MemorySwappiness":
        return value is not None and value >= 0
    return bool(value) and not (name in ("PidsLimit", "MemorySwap") and value == -1)


def find_delegated(uid, environ=os.environ):
    """The Delegated of this user; uid: its id on the host."""
    if not os.path.exists(f"{MOUNT}/cgroup.controllers"):
        return Delegated("none")
    own = f"{MOUNT}/user.slice/user-{uid}.slice/user@{uid}.service"
    if os.path.isdir(own) and bus(uid, environ):
        return Delegated("systemd", own)
    above = MOUNT + _own_path().rpartition("/")[0]
    if all(os.access(f"{above}/{name}", os.W_OK, effective_ids=True) for name in ("", "cgroup.procs", "cgroup.subtree_control")):
        return Delegated("cgroupfs", above)
    return Delegated("none")


def bus(uid, environ=os.environ):
    """The environment that names the bus of the user's systemd, {} where there is none.

    systemd's own place comes first: DBUS_SESSION_BUS_ADDRESS may be another's, as dbus-run-session sets it.
    """
    for folder in (f"/run/user/{uid}", environ.get("XDG_RUNTIME_DIR") or ""):
        if folder and os.path.exists(f"{folder}/bus"):
            return {"XDG_RUNTIME_DIR": folder}
    address = environ.get("DBUS_SESSION_BUS_ADDRESS") or ""
    return {"DBUS_SESSION_BUS_ADDRESS": address} if address.startswith("unix:path=") else {}


def _own_path():
    """This process's path in the unified hierarchy."""
    return next((line[3:].rstrip("\n") for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "/")


def _read(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
