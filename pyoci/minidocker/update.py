"""update: other limits and another restart policy for a container, at once if it runs.

Source: docker-update(1); Engine API v1.44 ContainerUpdate.
"""

import json

from pyoci.minidocker import bundle_limits, containers
from pyoci.minidocker.errors import BadRequest, Conflict
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.judge import judge
from pyoci.minidocker.life import held
from pyoci.minidocker.start import runtime_of

KEYS = (
    "Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuShares", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime",
    "CpusetCpus", "CpusetMems", "PidsLimit", "BlkioWeight", "KernelMemory", "RestartPolicy",
)  # fmt: skip


def update(store, ref, changes):
    """Change what the HostConfig subset says; 0 and "" leave a value as it is.  Returns warnings.  Raises BadRequest, Conflict."""
    for name in changes:
        if name not in KEYS:
            raise BadRequest(f"update: {name} can't be changed")
    given = {name: value for name, value in changes.items() if value not in (0, "", None)}
    if in_user_namespace():
        from pyoci.minidocker.confined import refuse_limits  # never for root

        refuse_limits(given)
    with held(store, ref) as container:
        host = {**container.host, **given}
        _reconcile(container.host, host, given)
        judge({"HostConfig": host, "Image": container.image})
        if host.get("AutoRemove") and (given.get("RestartPolicy") or {}).get("Name", "no") != "no":
            raise BadRequest("Restart policy cannot be updated because AutoRemove is enabled for the container")
        if container.status in containers.ALIVE and set(given) - {"RestartPolicy"}:
            runtime_of(store, container).update(container.id, resources(host, given))
        container.body["HostConfig"] = host
        with store.change() as db:
            container.update(db, body=json.dumps(container.body))
            container.event("update")
    return []


def _reconcile(before, host, given):
    """Values that belong together, by docker's rules."""
    if "NanoCpus" in given and (before.get("CpuPeriod") or before.get("CpuQuota")):
        raise Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period/Quota has already been set")
    if ("CpuQuota" in given or "CpuPeriod" in given) and before.get("NanoCpus"):
        raise Conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
    memory, swap = host.get("Memory") or 0, before.get("MemorySwap") or 2 * (before.get("Memory") or 0)
    if "Memory" in given and "MemorySwap" not in given:
        if 0 < swap < memory:
            raise Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
        if swap:
            host["MemorySwap"] = swap


def resources(host, given):
    """linux.resources with the parts that change."""
    made = {}
    if {"Memory", "MemorySwap", "MemoryReservation"} & set(given):
        made["memory"] = bundle_limits.memory(host)
    if {"NanoCpus", "CpuShares", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems"} & set(given):
        made["cpu"] = bundle_limits.cpu(host)
    if "PidsLimit" in given:
        made["pids"] = {"limit": max(given["PidsLimit"], -1)}
    if "BlkioWeight" in given:
        made["blockIO"] = {"weight": given["BlkioWeight"]}
    return made
