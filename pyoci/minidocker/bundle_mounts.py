"""The mounts of a container: docker's own, its files, and what the user asked for; sorted so that no mount hides an earlier one.  Pure.

Source: Engine API v1.44 HostConfig.Tmpfs, Mounts; docker-run(1); config.md#mounts.
"""

import posixpath

from pyoci.minidocker.errors import BadRequest

SHM_BYTES = 64 << 20
_QUIET = ["nosuid", "noexec", "nodev"]


def mounts(host, facts):
    """config.md#mounts, in order."""
    own = [*tmpfs(host), *facts.binds]
    taken = {mount["destination"] for mount in own}
    files = [file_mount(target, source, bool(host.get("ReadonlyRootfs"))) for target, source in facts.files.items() if target not in taken]
    base = [mount for mount in defaults(host, facts) if mount["destination"] not in taken and not _is_below_dev(mount, taken)]
    if facts.init:
        files.append({"destination": "/sbin/docker-init", "type": "bind", "source": facts.init, "options": ["bind", "ro", "rprivate"]})
    return base + sorted(files + own, key=lambda mount: mount["destination"].count("/"))


def _is_below_dev(mount, taken):
    return "/dev" in taken and mount["destination"].startswith("/dev/")


def defaults(host, facts):
    """What every container has."""
    privileged = bool(host.get("Privileged"))
    writable = "rw" if privileged else "ro"
    made = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": list(_QUIET)},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_QUIET, writable]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*_QUIET, writable]},
    ]  # fmt: skip
    # Of whatever IPC namespace it is, the host's too, which need not have it mounted.
    made.append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": list(_QUIET)})
    if facts.shm == "host":
        made.append(_bind("/dev/shm", "/dev/shm", "rbind"))
    elif facts.shm == "tmpfs":
        size = host.get("ShmSize") or SHM_BYTES
        made.append({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*_QUIET, "mode=1777", f"size={size}"]})
    elif facts.shm:
        made.append(_bind("/dev/shm", facts.shm, "rbind", *_QUIET))
    return made


def _bind(target, source, *options):
    return {"destination": target, "type": "bind", "source": source, "options": [*options, "rprivate"]}


def file_mount(target, source, read_only=False):
    """One of the files that MiniDocker writes for a container; read-only with its root."""
    return _bind(target, source, "rbind", *(["ro"] if read_only else []))


def tmpfs(host):
    """The mounts of --tmpfs and of --mount type=tmpfs."""
    made = []
    for target, text in (host.get("Tmpfs") or {}).items():
        options = [word for word in text.split(",") if word]
        made.append(_tmpfs(target, options))
    for mount in host.get("Mounts") or []:
        if mount.get("Type") == "tmpfs":
            given = mount.get("TmpfsOptions") or {}
            options = [f"size={given['SizeBytes']}"] if given.get("SizeBytes") else []
            options += [f"mode={given['Mode']:o}"] if given.get("Mode") else []
            made.append(_tmpfs(mount["Target"], options + (["ro"] if mount.get("ReadOnly") else [])))
    return made


def _tmpfs(target, options):
    opposites = {"nosuid": "suid", "noexec": "exec", "nodev": "dev"}
    quiet = [word for word in _QUIET if opposites[word] not in options and word not in options]
    return {"destination": clean_target(target), "type": "tmpfs", "source": "tmpfs", "options": [*quiet, *options]}


def clean_target(target):
    """A path in the container without `.`, `..` and doubled slashes.  Raises BadRequest for one that is not absolute, or the root."""
    if not target.startswith("/"):
        raise BadRequest(f"invalid mount path: '{target}' mount path must be absolute")
    cleaned = posixpath.normpath(target)
    if cleaned.strip("/") == "":
        raise BadRequest(f"invalid specification: destination can't be '/': {target}")
    return "/" + cleaned.lstrip("/")


PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def parse_bind(text):
    """`/host:/target[:options]` as the Engine API's Mount: {Type, Source, Target, ReadOnly, BindOptions, Labels}.  Raises BadRequest.

    A source without a slash is a volume; a target alone is an anonymous one.  docker-run(1), --volume
    """
    words = text.split(":")
    if len(words) > 3 or not all(words):
        raise BadRequest(f"invalid volume specification: '{text}'")
    if len(words) == 1:
        return {"Type": "volume", "Source": "", "Target": clean_target(words[0])}
    options = words[2].split(",") if len(words) == 3 else []
    source, target = words[0], clean_target(words[1])
    made = {"Type": "bind" if source.startswith("/") else "volume", "Source": source, "Target": target, "ReadOnly": "ro" in options}
    known = {"ro", "rw", "z", "Z", "nocopy", "bind", "rbind", "consistent", "cached", "delegated", *PROPAGATIONS}
    for option in options:
        if option not in known:
            raise BadRequest(f"invalid volume specification: '{text}': invalid mode: {words[2]}")
    if "ro" in options and "rw" in options:
        raise BadRequest(f"invalid volume specification: '{text}': invalid mode: {words[2]}")
    propagation = [option for option in options if option in PROPAGATIONS]
    if len(propagation) > 1:
        raise BadRequest(f"invalid volume specification: '{text}': invalid mode: {words[2]}")
    made["Mode"] = words[2] if len(words) == 3 else ""
    made["BindOptions"] = {"Propagation": propagation[0] if propagation else "", "CreateMountpoint": True}
    return made


def bind_mount(mount, is_folder=True):
    """A Mount of type bind as config.md#mounts has it.  Read-only means what is mounted below a folder too."""
    given = mount.get("BindOptions") or {}
    options = ["bind" if given.get("NonRecursive") else "rbind", given.get("Propagation") or "rprivate"]
    if mount.get("ReadOnly"):
        recursive = is_folder and not given.get("NonRecursive") and not given.get("ReadOnlyNonRecursive")
        options += ["ro", "rro"] if recursive else ["ro"]
    return {"destination": clean_target(mount["Target"]), "type": "bind", "source": mount["Source"], "options": options}


def requested(host):
    """Every Mount that Binds and Mounts ask for, in this order.  Raises BadRequest on two for one target."""
    made = [parse_bind(text) for text in host.get("Binds") or []]
    made += [{**mount, "Target": clean_target(mount.get("Target", ""))} for mount in host.get("Mounts") or []]
    targets = [mount["Target"] for mount in made] + [clean_target(target) for target in host.get("Tmpfs") or {}]
    for target in targets:
        if targets.count(target) > 1:
            raise BadRequest(f"Duplicate mount point: {target}")
    return made
