"""What a command would do, and nothing done: MiniDocker's steps, and below them the runtime's operations.

The runtime's list is pyoci's own plan of the very config.json; where the image's root would be mounted, the topmost layer stands in for it.
"""

import json
import os
import tempfile

from pyoci.api import Runtime
from pyoci.errors import PyociError
from pyoci.minidocker import apparmor, bundle, bundle_mounts, containers, prepare, users
from pyoci.minidocker.create import find_image, merge
from pyoci.minidocker.judge import judge, judge_merged
from pyoci.minidocker.logs import log_config

NO_ID = "0" * 64


class _Imagined(containers.Container):
    """A container that is not there."""

    __slots__ = ()

    def __init__(self, store, body, image, name):
        self.store = store
        self.row = {"id": NO_ID, "name": name, "image": body.get("Image", ""), "image_id": image.id, "chain": image.chain, "status": "created", "pid": 0}
        self.body = body
        self.folder = store.roots.container("ID")
        self.live = store.roots.live("ID")


def _imagine(store, body, name):
    warnings = judge(body)
    image = find_image(store, body, pull="never")
    made = merge(body, image.config.get("config") or {})
    judge_merged(made)
    made["HostConfig"] = dict(body.get("HostConfig") or {})
    made["Hostname"] = made.get("Hostname") or NO_ID[:12]
    return _Imagined(store, made, image, name or "NAME"), warnings


def plan_create(store, body, name=""):
    """What create would do, as text."""
    container, warnings = _imagine(store, body, name)
    return _listed("create", create_steps(container), warnings)


def create_steps(container):
    """MiniDocker's steps of a create."""
    return [
        f"use the image {container.image} ({container.image_id[:19]})",
        f"make the folder {container.folder}",
        f"record the container {container.name}, and the event create",
    ]


def start_steps(store, container):
    """MiniDocker's steps of a start."""
    from pyoci.minidocker.images import layers

    driver, size, files = log_config(container.host)
    lowers = layers.lowers_of(store, container.chain) if container.chain else []
    return [
        f"hold the lock {container.live}/lock",
        f"mount overlay on {container.rootfs}: {len(lowers)} layers below {container.folder}/upper",
        f"write resolv.conf, hosts and hostname in {container.folder}",
        f"write {container.folder}/bundle/config.json: {' '.join(bundle.command(container.body))}",
        "start the monitor: " + (f"log to {container.folder}/log.json" if driver != "none" else "no log") + (f", rotated at {size} bytes, {files} files" if size else ""),
        f"call the runtime ({container.host.get('Runtime') or 'pyoci'}) in a child of the monitor: create, start",
        "record pid, monitor and the event start",
    ]


def plan_run(store, body, name=""):
    """What run would do, down to the runtime's operations."""
    container, warnings = _imagine(store, body, name)
    text = _listed("create", create_steps(container), warnings) + _listed("start", start_steps(store, container), ())
    return text + runtime_plan(store, container)


def runtime_plan(store, container):
    """pyoci's plan of the container's config.json."""
    from pyoci.minidocker.images import layers

    lowers = layers.lowers_of(store, container.chain) if container.chain else []
    with tempfile.TemporaryDirectory() as folder:
        top = lowers[0] if lowers else folder
        user = _user(lowers, container)
        facts = bundle.Facts(
            apparmor=apparmor.profile_of(container.host), id="ID", rootfs=top, user=user, hostname=container.body["Hostname"],
            files={f"/etc/{name}": f"{container.folder}/{name}" for name in ("resolv.conf", "hosts", "hostname")},
            binds=_binds(container),
            namespaces=_namespaces(container), shm="tmpfs", devices=prepare.find_devices(container.host),
            numbers=prepare.block_numbers(container.host), held=prepare.held_capabilities(), is_cgroup2=prepare.is_cgroup2(),
            init=prepare.find_init(container.host), seccomp=None, confined=prepare.find_confined(container, user),
        )  # fmt: skip
        config = bundle.make(container.body, facts)
        config["process"]["terminal"] = False  # a terminal needs a socket that is there
        with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        try:
            plan = Runtime(store.roots.runtime).plan(folder, "ID", detach=True)
        except PyociError as error:
            return f"runtime: {error}\n"
    return "".join(f"runtime {line}\n" if line.endswith(":") else f"{line}\n" for line in plan.text().splitlines())


def _binds(container):
    return [bundle_mounts.bind_mount(mount, os.path.isdir(mount["Source"])) for mount in bundle_mounts.requested(container.host)
            if mount["Type"] == "bind" and os.path.exists(mount["Source"])]  # fmt: skip


def _namespaces(container):
    """As prepare.find_namespaces, but for what would have to be there to be joined."""
    host = container.host
    found = {"mount": "", "uts": "", "ipc": "", "pid": "", "network": ""}
    for kind, name in (("network", "NetworkMode"), ("pid", "PidMode"), ("ipc", "IpcMode"), ("uts", "UTSMode")):
        if host.get(name) == "host":
            del found[kind]
    return found


def _user(lowers, container):
    for folder in lowers:
        try:
            return users.resolve(folder, container.body.get("User") or "", container.host.get("GroupAdd"))
        except PyociError:
            continue
    return {"uid": 0, "gid": 0}


def plan_remove(store, ref, force=False):
    """What rm would do, as text."""
    container = containers.find(store, ref)
    status = containers.status_of(container)
    steps = [f"hold the lock {container.live}/lock"]
    if status in containers.ALIVE:
        steps += (["kill its processes, wait for the monitor", "delete it in the runtime, unmount its file system"] if force
                  else [f"refuse: it is {status}, and --force was not given"])  # fmt: skip
    if force or status not in containers.ALIVE:
        steps += [f"delete the record of {container.name}, note the event destroy", f"remove {container.folder}", f"remove {container.live}"]
    return _listed("remove", steps, ())


def _listed(act, steps, warnings):
    lines = [f"{act}:"] + [f"{number:5d} {step}" for number, step in enumerate(steps)]
    return "\n".join([*lines, *(f"      warning: {text}" for text in warnings)]) + "\n"
