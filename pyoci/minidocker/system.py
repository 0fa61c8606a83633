"""The engine as a whole: info, version, what it takes of the disk, pruning, and what starts with the host.

Source: Engine API v1.44 SystemInfo, SystemVersion, SystemDataUsage, ContainerPrune; docker-system(1).
"""

import os
import platform
import re
import time

from pyoci import __version__
from pyoci.errors import PyociError
from pyoci.kernel.proc import has_apparmor
from pyoci.minidocker import containers, show
from pyoci.minidocker.errors import BadRequest, Conflict, NotFound
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.settle import refresh

API_VERSION, MIN_API_VERSION = "1.44", "1.24"
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version():
    """SystemVersion."""
    host = os.uname()
    details = {"ApiVersion": API_VERSION, "MinAPIVersion": MIN_API_VERSION, "Os": "linux", "Arch": architecture(), "KernelVersion": host.release}
    return {
        "Platform": {"Name": "MiniDocker"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}, {"Name": "pyoci", "Version": __version__, "Details": {}}],
        "Version": __version__,
        **details,
        "GitCommit": "",
        "GoVersion": f"python{platform.python_version()}",
        "BuildTime": "",
    }


def architecture():
    """This machine's in Go's words."""
    machine = os.uname().machine
    return _GO_ARCHITECTURES.get(machine, machine)


def _os_name():
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            found = re.search(r'^PRETTY_NAME="?([^"\n]*)', file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else "Linux"


def _file_system(path):
    """The type of the file system that a folder lies on, by the mount table."""
    found, longest = "unknown", -1
    place = f"{os.path.realpath(path)}/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            words = line.split(" ")
            point = words[4].rstrip("/")
            if len(point) >= longest and place.startswith(f"{point}/"):
                found, longest = words[words.index("-") + 1], len(point)
    return found


def info(store, runtime=""):
    """SystemInfo."""
    statuses = [containers.status_of(container) for container in containers.all_containers(store)]
    images = store.db.execute("select count(*) from images").fetchone()[0]
    host = os.uname()
    is_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) * 1024
    found = {
        "ID": store.roots.data, "Containers": len(statuses), "ContainersRunning": statuses.count("running") + statuses.count("restarting"),
        "ContainersPaused": statuses.count("paused"),
        "ContainersStopped": len([one for one in statuses if one in ("created", "exited", "dead", "removing")]),
        "Images": images, "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", _file_system(store.roots.data)]], "DockerRootDir": store.roots.data,
        "Plugins": {"Volume": [], "Network": ["host", "none"], "Authorization": None, "Log": ["json-file", "none"]},
        "MemoryLimit": True, "SwapLimit": True, "CpuCfsPeriod": True, "CpuCfsQuota": True, "CPUShares": True, "CPUSet": True, "PidsLimit": True,
        "OomKillDisable": not is_v2, "IPv4Forwarding": True, "Debug": False, "NFd": len(os.listdir("/proc/self/fd")), "NGoroutines": 1,
        "SystemTime": show.moment(time.time_ns()), "LoggingDriver": "json-file", "CgroupDriver": "cgroupfs", "CgroupVersion": "2" if is_v2 else "1",
        "KernelVersion": host.release, "OperatingSystem": _os_name(), "OSType": "linux", "Architecture": host.machine, "NCPU": os.cpu_count() or 1,
        "MemTotal": memory, "Name": host.nodename, "Labels": [], "ExperimentalBuild": False, "ServerVersion": __version__,
        "Runtimes": {name: {"path": name} for name in ("pyoci", runtime) if name},
        "DefaultRuntime": runtime or "pyoci", "LiveRestoreEnabled": True, "InitBinary": "minidocker-init",
        "SecurityOptions": (["name=apparmor"] if has_apparmor() else []) + ["name=seccomp,profile=builtin"] + (["name=cgroupns"] if is_v2 else []), "Warnings": None,
        "Swarm": {"LocalNodeState": "inactive"}, "IndexServerAddress": "https://index.docker.io/v1/", "HttpProxy": "", "HttpsProxy": "", "NoProxy": "",
    }  # fmt: skip
    if in_user_namespace():
        from pyoci.minidocker import confined  # never for root

        found |= confined.info(is_v2)
    return found


def disk_usage(store):
    """SystemDataUsage."""
    from pyoci.minidocker.images import records

    used = {}
    listed = []
    for container in containers.all_containers(store):
        status = containers.status_of(container)
        used[container.image_id] = used.get(container.image_id, 0) + 1
        listed.append(show.summary(container, status, size=True))
    layers = store.db.execute("select coalesce(sum(size), 0) from layers").fetchone()[0]
    images = [
        {"Id": image.id, "RepoTags": image.tags, "RepoDigests": image.digests, "Created": records.created_ns(image) // 10**9, "Size": image.size,
         "SharedSize": _shared_size(store, image), "Containers": used.get(image.id, 0)}
        for image in records.all_images(store)
    ]  # fmt: skip
    return {"LayersSize": layers, "Images": images, "Containers": listed, "Volumes": [], "BuildCache": [], "Summary": _totals(layers, images, listed)}


def _totals(layers, images, listed):
    """The rows of `system df`: what there is, what is used, and what pruning would give back.  Ours; not in the Engine API."""
    unused = sum(image["Size"] - image["SharedSize"] for image in images if not image["Containers"])
    idle = [one for one in listed if one["State"] not in (*containers.ALIVE, "restarting")]
    return [
        {"Type": "Images", "TotalCount": len(images), "Active": sum(1 for image in images if image["Containers"]), "Size": layers, "Reclaimable": unused},
        {"Type": "Containers", "TotalCount": len(listed), "Active": len(listed) - len(idle), "Size": sum(one["SizeRw"] for one in listed),
         "Reclaimable": sum(one["SizeRw"] for one in idle)},
        {"Type": "Local Volumes", "TotalCount": 0, "Active": 0, "Size": 0, "Reclaimable": 0},
        {"Type": "Build Cache", "TotalCount": 0, "Active": 0, "Size": 0, "Reclaimable": 0},
    ]  # fmt: skip


def _shared_size(store, image):
    chains = [chain for chain, _ in image.layers]
    marks = ", ".join("?" for _ in chains)
    query = f"select coalesce(sum(size), 0) from layers where chain in (select chain from image_layers where chain in ({marks}) group by chain having count(*) > 1)"
    return store.db.execute(query, chains).fetchone()[0] if chains else 0


# --- pruning


def _seconds(text):
    """A Go duration or a number of seconds."""
    units = {"h": 3600, "m": 60, "s": 1, "": 1}
    parts = re.findall(r"(\d{1,9})([hms]?)", text, re.ASCII)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise BadRequest(f"invalid duration: {text!r}")
    return sum(int(number) * units[unit] for number, unit in parts)


def prune(store, filters=None, warn=None):
    """Remove every container that does not run; warns of one that can't be removed.  Returns (ids, bytes freed).

    filters: until (a span), until_ns (a moment), label, label!
    """
    from pyoci.minidocker.life import remove

    filters = filters or {}
    for name in filters:
        if name not in ("until", "until_ns", "label", "label!"):
            raise BadRequest(f"invalid filter '{name}'")
    before_ns = filters.get("until_ns") or 0
    if filters.get("until"):
        before_ns = time.time_ns() - _seconds(filters["until"][0]) * 10**9
    wanted = show._by_label(filters.get("label", []))
    spared = [show._by_label([value]) for value in filters.get("label!", [])]
    removed, freed = [], 0
    for container in containers.all_containers(store):
        status = containers.status_of(container)
        if status not in ("created", "exited", "dead") or (before_ns and container.created_ns >= before_ns):
            continue
        if status == "created" and containers.is_about_to_start(container):
            continue  # of a `run` that has not come to its second half
        if not wanted(container, status) or any(test(container, status) for test in spared):
            continue
        size = show.sizes(container)[0]
        try:
            remove(store, container.id)
        except (NotFound, Conflict):
            continue  # somebody has started or removed it meanwhile
        except PyociError as error:
            if warn:
                warn(f"container {container.name} is not removed: {error}")
            continue
        removed.append(container.id)
        freed += size
    return removed, freed


# --- the host's start


def start_all(store, warn):
    """After the host has started: settle what the last boot left, and start what its restart policy keeps running.  Returns the ids that were started."""
    from pyoci.minidocker.life import start

    started = []
    for container in containers.all_containers(store):
        was_running = container.status in ("running", "paused", "restarting")
        if was_running and containers.status_of(container) in containers.ALIVE:
            continue
        try:
            with containers.locked(store, container.id) as now:
                keeps = _keeps_running(now, was_running)
                refresh(store, now)
            if keeps:
                start(store, container.id, warn)
                started.append(container.id)
        except PyociError as error:
            warn(f"{container.name}: {error}")
    return started


def _keeps_running(container, was_running):
    name = (container.host.get("RestartPolicy") or {}).get("Name") or "no"
    if name == "always":
        return container.status != "created"
    return name == "unless-stopped" and not container.stopped_by_user and container.status != "created" or (name == "on-failure" and was_running)
