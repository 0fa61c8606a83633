"""What a start needs before a runtime is called: the root file system mounted, the container's files written, the host's facts found, config.json made.

`prepare` and `undo` are each other's opposite.  Decides nothing: bundle.py does, of what is found here.
Source: docker-run(1), --volume, --device, --dns, --add-host; config.md.
"""

import errno
import json
import os
import stat

from pyoci.kernel.proc import read_file
from pyoci.kernel.tree import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_below
from pyoci.minidocker import apparmor, bundle, bundle_mounts, bundle_security, containers, users
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError
from pyoci.minidocker.images.rootless import in_user_namespace
from pyoci.minidocker.paths import private
from pyoci.spec.names import CAPABILITIES

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INIT = f"{PACKAGE}/native/minit/minidocker-init"
HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
# Of the host's /dev, what --privileged does not bring: mounts, links, and the console.
_NOT_DEVICES = ("pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-cgroup", ".udev")


def prepare(store, container, warn=None):
    """Mount and write everything; returns the bundle's folder.  A failure leaves nothing mounted."""
    from pyoci.minidocker.images import layers

    volatile = bool(container.host.get("AutoRemove"))
    layers.mount(store, container.chain, container.folder, container.rootfs, volatile)
    try:
        make_volumes(container)
        facts = gather(store, container, warn)
        config = bundle.make(container.body, facts)
        folder = f"{container.folder}/bundle"
        os.makedirs(folder, 0o700, exist_ok=True)
        text = json.dumps(config, separators=(",", ":"), ensure_ascii=True)
        _write(f"{folder}/config.json", text, private)
    except BaseException as error:
        _undo_after(store, container, error)
        raise
    return folder


def _undo_after(store, container, error):
    try:
        undo(store, container)
    except MiniDockerError as left:
        error.add_note(str(left))


def undo(store, container):
    """Detach what prepare mounted."""
    from pyoci.minidocker.images import layers

    layers.unmount(container.rootfs)
    if (container.host.get("IpcMode") or "") == "shareable":
        layers.unmount(shm_of(container))


def _write(path, text, opener=None):
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape", opener=opener) as file:
            file.write(text)
    except OSError as error:
        raise MiniDockerError(f"write {path}: {error.strerror}") from error


def gather(store, container, warn=None):
    """bundle.Facts."""
    body, host = container.body, container.host
    namespaces, shm = find_namespaces(store, container)
    hostname = host_name(container, namespaces)
    profile = bundle_security.options(host).seccomp
    user = users.resolve(container.rootfs, body.get("User") or "", host.get("GroupAdd"))
    return bundle.Facts(
        apparmor=apparmor.make_ready(apparmor.profile_of(host), store.roots, warn),
        id=container.id,
        rootfs=os.path.realpath(container.rootfs),  # a link may lead to the data root; the runtime takes none in a rootfs
        user=user,
        hostname=hostname,
        files=write_files(store, container, hostname),
        binds=find_binds(host),
        namespaces=namespaces,
        shm=shm,
        devices=find_devices(host),
        numbers=block_numbers(host),
        held=held_capabilities(),
        is_cgroup2=is_cgroup2(),
        init=find_init(host),
        seccomp=json.loads(profile) if profile.startswith("{") else None,
        confined=find_confined(container, user),
    )


def find_confined(container, user):
    """What a user namespace changes (confined.Confined), None outside of one."""
    if not in_user_namespace():
        return None
    from pyoci.minidocker import confined  # never for root

    return confined.gather(container, user)


def held_capabilities():
    """The names of the capabilities in our bounding set: what can be given."""
    for line in read_file("/proc/self/status").split(b"\n"):
        if line.startswith(b"CapBnd:"):
            mask = int(line.split()[1], 16)
            return {name for name, number in CAPABILITIES.items() if mask >> number & 1}
    return set(CAPABILITIES)


def is_cgroup2():
    """Whether the unified hierarchy stands alone."""
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def find_init(host):
    """The init for --init, or "".  Raises MiniDockerError where it was not built."""
    if not host.get("Init"):
        return ""
    if not os.access(INIT, os.X_OK):
        raise MiniDockerError(f"this installation is incomplete: {INIT} is missing", hint="install the package again")
    return INIT


# --- namespaces


def find_namespaces(store, container):
    """({kind: "" or path}, where /dev/shm comes from)."""
    host = container.host
    found = {"mount": ""}
    _network(store, host, found)
    _pid(store, host, found)
    if (host.get("UTSMode") or "") != "host":
        found["uts"] = ""
    if (host.get("CgroupnsMode") or ("private" if is_cgroup2() else "host")) == "private":
        found["cgroup"] = ""
    return found, _ipc(store, container, found)


def other(store, mode, what):
    """The running container that `container:NAME` names.  Raises NotFound, Conflict."""
    found = containers.find(store, mode.partition(":")[2])
    if containers.status_of(found) not in containers.ALIVE:
        raise Conflict(f"cannot join {what} of a non running container: {found.id}")
    return found


def _network(store, host, found):
    mode = host.get("NetworkMode") or "none"
    if mode.startswith("container:"):
        found["network"] = f"/proc/{other(store, mode, 'network').pid}/ns/net"
    elif mode != "host":
        found["network"] = ""


def _pid(store, host, found):
    mode = host.get("PidMode") or ""
    if mode.startswith("container:"):
        found["pid"] = f"/proc/{other(store, mode, 'PID').pid}/ns/pid"
    elif mode != "host":
        found["pid"] = ""


def shm_of(container):
    """Where a container whose IPC is shareable keeps its /dev/shm."""
    return f"{container.folder}/shm"


def _ipc(store, container, found):
    mode = container.host.get("IpcMode") or "private"
    if mode == "host":
        return "host"
    if mode.startswith("container:"):
        joined = other(store, mode, "IPC")
        if (joined.host.get("IpcMode") or "private") != "shareable":
            raise Conflict(f"cannot join IPC of a non-shareable container: {joined.id}", hint="start that one with --ipc shareable")
        found["ipc"] = f"/proc/{joined.pid}/ns/ipc"
        return shm_of(joined)
    found["ipc"] = ""
    if mode == "shareable":
        return _mount_shm(container)
    return "" if mode == "none" else "tmpfs"


def _mount_shm(container):
    from pyoci.minidocker.mounts import mount_tmpfs

    path = shm_of(container)
    os.makedirs(path, 0o700, exist_ok=True)
    mount_tmpfs(path, container.host.get("ShmSize") or bundle_mounts.SHM_BYTES)
    return path


# --- files


def host_name(container, namespaces):
    """The host name in the container."""
    if "uts" not in namespaces:
        return os.uname().nodename
    if container.body.get("Hostname"):
        return container.body["Hostname"]
    return os.uname().nodename if container.host.get("NetworkMode") == "host" else container.short_id


def write_files(store, container, hostname):
    """Write resolv.conf, hosts and hostname; returns {target: path}.  Who joins a network shares those of its owner."""
    mode = container.host.get("NetworkMode") or "none"
    folder = containers.find(store, mode.partition(":")[2]).folder if mode.startswith("container:") else container.folder
    found = {f"/etc/{name}": f"{folder}/{name}" for name in ("resolv.conf", "hosts", "hostname")}
    if folder == container.folder:
        _write(f"{folder}/hostname", f"{hostname}\n")
        _write(f"{folder}/hosts", hosts(container.host, mode == "host"))
        _write(f"{folder}/resolv.conf", resolv_conf(container.host, mode == "host"))
    return found


def _host_file(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def hosts(host, shares_network):
    """/etc/hosts.  With the host's network it begins as the host's."""
    text = (_host_file("/etc/hosts") if shares_network else "") or HOSTS
    for entry in host.get("ExtraHosts") or []:
        name, colon, address = entry.partition(":") if "=" not in entry else entry.partition("=")
        if not colon or not name or not address:
            raise BadRequest(f'bad format for add-host: "{entry}"')
        text += f"{address.strip('[]') if address != 'host-gateway' else '127.0.0.1'}\t{name}\n"
    return text


def resolv_conf(host, shares_network):
    """/etc/resolv.conf: the host's, without name servers that only the host can reach, or what was asked for."""
    lines = _host_file("/etc/resolv.conf").splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    searches = next((line.split()[1:] for line in reversed(lines) if line.startswith(("search ", "domain "))), [])
    options = next((line.split()[1:] for line in reversed(lines) if line.startswith("options ")), [])
    if not shares_network:
        servers = [server for server in servers if not server.startswith("127.") and server != "::1"]
    servers = host.get("Dns") or servers
    searches = host.get("DnsSearch") or searches
    options = host.get("DnsOptions") or options
    text = "".join(f"nameserver {server}\n" for server in servers)
    if searches and searches != ["."]:
        text += f"search {' '.join(searches)}\n"
    return text + (f"options {' '.join(options)}\n" if options else "")


# --- binds and devices


def make_volumes(container):
    """The folders of anonymous volumes, where the image has none: /a of `-v /a` and of an image's VOLUME.  Raises MiniDockerError."""
    asked = [mount["Target"] for mount in bundle_mounts.requested(container.host) if mount["Type"] == "volume"]
    for target in [*(container.body.get("Volumes") or {}), *asked]:
        try:
            _make_folder(container.rootfs, target)
        except OSError as error:
            raise MiniDockerError(f"volume {target}: {error.strerror}") from error
        except ValueError as error:  # an image may say what no path can be: a NUL, half a character
            raise BadRequest(f"volume {target!r}: not a path") from error


def _make_folder(rootfs, target):
    """A folder of the container and those above it, as the container's links lead."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    above = os.dup(root)
    try:
        parts = [part for part in target.split("/") if part not in ("", ".")]
        for number, name in enumerate(parts):
            path = os.fsencode("/".join(parts[: number + 1]))
            found = open_below(root, path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
            if found == -errno.ENOENT:
                os.mkdir(name, 0o755, dir_fd=above)
                os.chmod(name, 0o755, dir_fd=above)  # whatever the umask is
                found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            if found < 0:
                raise OSError(-found, os.strerror(-found))
            os.close(above)
            above = found
    finally:
        os.close(above)
        os.close(root)


def find_binds(host):
    """The bind mounts, with sources that are there: made for -v, an error for --mount.  Raises BadRequest, MiniDockerError."""
    made = []
    for mount in bundle_mounts.requested(host):
        if mount["Type"] != "bind":
            continue
        source = mount["Source"]
        if not os.path.exists(source):
            if not (mount.get("BindOptions") or {}).get("CreateMountpoint"):
                raise BadRequest(f'invalid mount config for type "bind": bind source path does not exist: {source}')
            try:
                os.makedirs(source, 0o755, exist_ok=True)
            except OSError as error:
                raise MiniDockerError(f"error while creating mount source path '{source}': {error.strerror}") from error
        made.append(bundle_mounts.bind_mount(mount, os.path.isdir(source)))
    return made


def _node(path, target):
    facts = os.stat(path)
    kind = "c" if stat.S_ISCHR(facts.st_mode) else "b"
    numbers = {"major": os.major(facts.st_rdev), "minor": os.minor(facts.st_rdev)}
    return {"path": target, "type": kind, **numbers, "fileMode": stat.S_IMODE(facts.st_mode), "uid": facts.st_uid, "gid": facts.st_gid}


def _nodes_below(folder, target):
    found = []
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode) and name not in _NOT_DEVICES:
            found += _nodes_below(path, f"{target}/{name}")
        elif (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and name not in _NOT_DEVICES:
            found.append(_node(path, f"{target}/{name}"))
    return found


def find_devices(host):
    """The devices of --device (a folder means all below it) and of --privileged.  Raises BadRequest."""
    if host.get("Privileged"):
        return _openable(_nodes_below("/dev", "/dev"))
    found = []
    for device in host.get("Devices") or []:
        path, target = device["PathOnHost"], device.get("PathInContainer") or device["PathOnHost"]
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                found += _nodes_below(path, target)
                continue
        except OSError as error:
            raise BadRequest(f'error gathering device information while adding custom device "{path}": {error.strerror.lower()}') from error
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
            raise BadRequest(f'error gathering device information while adding custom device "{path}": not a device node')
        found.append(_node(path, target))
    return found


def _openable(nodes):
    """Those that a container can open; all of them for the host's root."""
    if not in_user_namespace():
        return nodes
    from pyoci.minidocker.confined import is_open  # never for root

    return [node for node in nodes if is_open(node["fileMode"], node["uid"])]


def block_numbers(host):
    """{path: (major, minor)} of the devices that blkio limits name.  Raises BadRequest."""
    found = {}
    names = ("BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps")
    for one in (one for name in names for one in host.get(name) or []):
        path = one["Path"]
        try:
            facts = os.stat(path)
        except OSError as error:
            raise BadRequest(f"{path}: {error.strerror.lower()}") from error
        if not stat.S_ISBLK(facts.st_mode):
            raise BadRequest(f"{path}: not a block device")
        found[path] = (os.major(facts.st_rdev), os.minor(facts.st_rdev))
    return found
