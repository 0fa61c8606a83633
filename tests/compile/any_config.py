"""Strategies for config.json: what a caller may write, and hosts that it may meet."""

from compiling import FILTER, LAYOUTS, facts
from hypothesis import strategies as st

from pyoci.spec.names import CAPABILITIES, MOUNT_OPTIONS, RLIMITS

WORD = st.text("abz09-_. /é", min_size=1, max_size=8)
PATH = st.lists(st.sampled_from(["a", "b", "proc", "dev", "..", ".", "", "é", "sys"]), max_size=4).map(lambda parts: "/" + "/".join(parts))
TARGET = PATH | st.sampled_from(["/proc", "/proc/uptime", "/proc/self/x", "/dev", "/", "a/b", "/sys/fs/cgroup"])
OPTION = st.sampled_from(sorted(set(MOUNT_OPTIONS) - {"idmap", "ridmap"})) | st.sampled_from(["mode=755", "size=64k", ""])
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)


def members(required=None, **optional):
    """An object with all of `required` and any of the optional members."""
    return st.fixed_dictionaries(required or {}, optional=optional)


MOUNT = members(
    {"destination": TARGET}, type=st.sampled_from(["tmpfs", "proc", "sysfs", "bind", "cgroup", "cgroup2", "mqueue", "devpts", ""]),
    source=PATH | st.just("tmpfs"), options=st.lists(OPTION, max_size=4),
)  # fmt: skip
CAPABILITY_SETS = {
    name: st.lists(st.sampled_from([*sorted(CAPABILITIES), "CAP_UNKNOWN"]), max_size=3)
    for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
}


def _rlimit(triple):
    name, first, second = triple
    return {"type": name, "soft": min(first, second), "hard": max(first, second)}


RLIMITS_LIST = st.lists(st.tuples(st.sampled_from(sorted(RLIMITS)), UINT64, UINT64).map(_rlimit), max_size=3, unique_by=lambda one: one["type"])
PROCESS = members(
    {"args": st.lists(WORD, min_size=1, max_size=3), "cwd": PATH},
    env=st.lists(st.sampled_from(["A=1", "A=2", "HOME=/h", "HOME=", "PATH=/bin", "E="]), max_size=4),
    user=members({"uid": UINT32, "gid": UINT32}, umask=st.integers(0, 0o777), additionalGids=st.lists(UINT32, max_size=3)),
    terminal=st.booleans(), consoleSize=st.fixed_dictionaries({"height": st.integers(0, 65535), "width": st.integers(0, 65535)}),
    noNewPrivileges=st.booleans(), capabilities=members(**CAPABILITY_SETS), rlimits=RLIMITS_LIST, oomScoreAdj=st.integers(-1000, 1000),
)  # fmt: skip
HOOK = members(
    {"path": PATH}, args=st.lists(WORD, max_size=2), env=st.lists(st.just("K=v"), max_size=1), timeout=st.integers(1, 100)
)
HOOKS = members(**{
    kind: st.lists(HOOK, max_size=2)
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
})
KINDS = ("mount", "pid", "ipc", "uts", "network", "user", "cgroup", "time")
NAMESPACE = st.tuples(st.sampled_from(KINDS), st.booleans()).map(
    lambda pair: {"type": pair[0], "path": f"/n/{pair[0]}"} if pair[1] else {"type": pair[0]}
)
MAPPINGS = st.lists(
    st.fixed_dictionaries({"containerID": st.integers(0, 2**31), "hostID": st.integers(0, 2**31), "size": st.integers(1, 2**31)}), min_size=1, max_size=2
)
DEVICE = members(
    {"path": PATH, "type": st.sampled_from("cubp"), "major": st.integers(0, 4095), "minor": st.integers(0, 2**20 - 1)},
    fileMode=UINT32, uid=UINT32, gid=UINT32,
)  # fmt: skip
RESOURCES = members(
    memory=members(limit=st.integers(-1, 2**40), reservation=st.integers(-1, 2**40), swappiness=st.integers(0, 100)),
    cpu=members(shares=st.integers(0, 2**18), quota=st.integers(1000, 10**6), period=st.integers(1000, 10**6), cpus=st.just("0")),
    pids=st.fixed_dictionaries({"limit": st.integers(-1, 2**20)}),
    devices=st.lists(members({"allow": st.booleans(), "access": st.sampled_from(["r", "rwm"])}, type=st.sampled_from("abc")), max_size=3),
)  # fmt: skip
LINUX = members(
    namespaces=st.lists(NAMESPACE, max_size=8, unique_by=lambda one: one["type"]),
    maskedPaths=st.lists(PATH, max_size=3), readonlyPaths=st.lists(PATH, max_size=3),
    rootfsPropagation=st.sampled_from(["", "private", "rslave", "shared", "unbindable"]),
    sysctl=st.dictionaries(st.sampled_from(["net.ipv4.ip_forward", "kernel.msgmax", "fs.mqueue.msg_max"]), st.just("1"), max_size=2),
    devices=st.lists(DEVICE, max_size=2), personality=st.fixed_dictionaries({"domain": st.sampled_from(["LINUX", "LINUX32"])}),
    cgroupsPath=PATH | st.sampled_from(["", "a/b", "../x"]), resources=RESOURCES,
)  # fmt: skip


@st.composite
def documents(draw):
    """config.json; the namespaces that its other members demand are mostly there."""
    config = draw(
        members(
            {"ociVersion": st.sampled_from(["1.0.0", "1.2.1", "1.3.0"]), "root": members({"path": st.just("rootfs")}, readonly=st.booleans())},
            process=PROCESS, mounts=st.lists(MOUNT, max_size=4), hooks=HOOKS, linux=LINUX, hostname=WORD, domainname=WORD,
            annotations=st.dictionaries(WORD, WORD, max_size=2),
        )
    )  # fmt: skip
    linux = config.setdefault("linux", {})
    if draw(st.integers(0, 9)):
        _give_what_is_needed(draw, config, linux)
    return config


def _give_what_is_needed(draw, config, linux):
    spaces = linux.setdefault("namespaces", [])
    present = {one["type"]: one for one in spaces}
    needed = set()
    if config.get("hostname") or config.get("domainname"):
        needed.add("uts")
    if linux.get("maskedPaths") or linux.get("readonlyPaths"):
        needed.add("mount")
    if linux.get("sysctl"):
        needed |= {"network", "ipc"}
    spaces += [{"type": kind} for kind in sorted(needed - set(present))]
    if "user" in present and "path" not in present["user"]:
        linux["uidMappings"] = draw(MAPPINGS)
        linux["gidMappings"] = draw(MAPPINGS)


@st.composite
def hosts(draw):
    """Facts of any host and call."""
    return facts(
        draw(st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.get)), draw(st.sampled_from([(5, 12), (6, 1), (6, 8)])),
        draw(st.none() | st.just(FILTER)), has_kcore=draw(st.booleans()), no_pivot=draw(st.booleans()), no_new_keyring=draw(st.booleans()),
        preserve_fds=draw(st.integers(0, 3)), listen_fds=draw(st.integers(0, 2)), notify=draw(st.sampled_from(["", "/state/name"])),
        pid_file=draw(st.sampled_from(["", "/pid"])), console_socket=draw(st.sampled_from(["", "/console"])),
        pidfd_socket=draw(st.sampled_from(["", "/pidfd"])),
    )  # fmt: skip
