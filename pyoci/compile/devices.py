"""linux.devices, the default devices and the links of /dev -> operations.  config-linux.md#devices, #default-devices"""

from pyoci.compile.mounts import clean
from pyoci.kernel.calls import CLONE_NEWUSER
from pyoci.plan.plan import Op
from pyoci.spec.names import parse_mount_options

TYPES = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
DEFAULT = (("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0))
LINKS = (("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"), ("/dev/stderr", "/proc/self/fd/2"))


def devices(ops, config, linux, namespaces, has_kcore, is_nested=False):
    """Nodes, made; in a user namespace, where mknod is refused, bound from the host.  Nothing where /dev is the host's."""
    if _dev_is_the_hosts(config):
        return
    bound = is_nested or namespaces.has(CLONE_NEWUSER)
    asked = linux.get("devices") or ()
    paths = set()
    for index, device in enumerate(asked):
        path = clean(device["path"])
        paths.add(path)
        if path != "/dev/ptmx":
            _node(ops, f"linux.devices[{index}]", path, device, bound)
    for path, major, minor in DEFAULT:
        if path not in paths:
            _node(ops, "default", path, {"type": "c", "major": major, "minor": minor}, bound)
    for path, content in LINKS:
        ops.append(Op("make_link", "default", path, content, 0))
    if has_kcore:
        ops.append(Op("make_link", "default", "/dev/core", "/proc/kcore", 0))
    ops.append(Op("make_link", "default", "/dev/ptmx", "pts/ptmx", 1))


def _dev_is_the_hosts(config):
    """Bound from it, or a devtmpfs, of which the kernel has one for all: a link made there would take the host's terminals away."""
    for mount in config.get("mounts") or ():
        if clean(mount["destination"]) != "/dev":
            continue
        if mount.get("type") in ("bind", "devtmpfs") or parse_mount_options(mount.get("options") or ()).bind:
            return True
    return False


def _node(ops, origin, path, device, bound):
    kind = TYPES[device["type"]]
    major, minor = device.get("major") or 0, device.get("minor") or 0
    if bound and kind != TYPES["p"]:
        ops.append(Op("bind_device", origin, path, kind, major, minor, path, -1))
        return
    mode = device.get("fileMode")
    mode = 0o666 if mode is None else mode & 0o7777
    ops.append(Op("make_device", origin, path, kind, major, minor, mode, device.get("uid") or 0, device.get("gid") or 0, 1))
