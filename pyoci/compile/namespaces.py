"""linux.namespaces, the id maps, hostname, domainname and sysctl -> operations.

The road depends on what is new and what is joined (user_namespaces(7)):

  fast    clone3 makes all new ones at once, owned by the new user namespace where there is one; init joins the others
  slow    a user namespace is joined, or made while others are joined: first those, while init is still the host's root; then the
          user namespace; then the rest is unshared, so that it belongs to that user namespace

A pid namespace that is joined, or made by unshare, holds for children: init goes on as one.  It is never spawned into one that is
joined: until its execveat it is this very program, which must not show in a container's /proc (CVE-2019-5736).
"""

from pyoci.errors import ConfigError
from pyoci.kernel.calls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)
from pyoci.plan.plan import Op

FLAGS = {
    "cgroup": CLONE_NEWCGROUP, "ipc": CLONE_NEWIPC, "mount": CLONE_NEWNS, "network": CLONE_NEWNET, "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME, "user": CLONE_NEWUSER, "uts": CLONE_NEWUTS,
}  # fmt: skip
# Made by init itself: the cgroup namespace once init is in its cgroup, the time namespace because it takes effect at execve.
_UNSHARED_LATER = CLONE_NEWCGROUP | CLONE_NEWTIME
TIME_AT_EXECVE = (6, 3)  # the kernel that lets execve enter time_for_children
ORIGIN = "linux.namespaces"


class Namespaces:
    """What the config asks for: `new` flags, `joined` [(flag, path, origin, slot)], and whether a kind is private."""

    __slots__ = ("new", "joined", "kinds")

    def __init__(self, linux, slots):
        self.new = 0
        self.joined = []
        self.kinds = 0
        for index, namespace in enumerate(linux.get("namespaces") or ()):
            flag = FLAGS[namespace["type"]]
            path = namespace.get("path") or ""
            self.kinds |= flag
            if path:
                self.joined.append((flag, path, f"{ORIGIN}[{index}]", slots.take()))
            else:
                self.new |= flag

    def has(self, flag):
        """Whether the container has such a namespace of its own, new or joined."""
        return bool(self.kinds & flag)

    def joins(self, flag):
        """The slot of the joined namespace of that kind, or -1."""
        for joined, _, _, slot in self.joined:
            if joined == flag:
                return slot
        return -1


def spawn(ops, namespaces, linux, preserve, kernel, cgroup, rootless=None):
    """Open what is joined, start init, and write the maps: HOST's part, and INIT's steps into its namespaces."""
    for flag, path, origin, slot in namespaces.joined:
        ops.append(Op("open_namespace", origin, flag, path, slot))
    others = [one for one in namespaces.joined if one[0] != CLONE_NEWUSER]
    joins_user = namespaces.joins(CLONE_NEWUSER) >= 0
    new = namespaces.new & ~_UNSHARED_LATER
    late_time = namespaces.new & CLONE_NEWTIME and kernel < TIME_AT_EXECVE
    slow = joins_user or late_time or (others and new & CLONE_NEWUSER)
    makes_user = new & CLONE_NEWUSER
    ops.append(Op("spawn", ORIGIN, 0 if slow else new, preserve, int(bool(makes_user and not slow)), cgroup, int(bool(rootless and rootless.confined))))
    if makes_user and not slow:
        _map_ids(ops, linux, rootless)
    return slow, others, makes_user, late_time


def enter(ops, namespaces, linux, road, rootless=None):
    """INIT's way into the namespaces."""
    slow, others, makes_user, late_time = road
    _join_and_unshare(ops, namespaces, linux, slow, others, makes_user, late_time, rootless)
    if namespaces.new & CLONE_NEWTIME and not late_time:
        ops.append(Op("unshare", ORIGIN, CLONE_NEWTIME))


def _join_and_unshare(ops, namespaces, linux, slow, others, makes_user, late_time, rootless):
    joins = [Op("join", origin, flag, slot) for flag, _, origin, slot in others]
    # Without privilege the user namespace gives the right to join the others, so it comes first.
    user_first = slow and rootless and rootless.unprivileged
    if not user_first:
        ops.extend(joins)
    joins_pid = namespaces.joins(CLONE_NEWPID) >= 0
    if not slow:
        if makes_user:
            ops.append(Op("become_root", "linux.uidMappings"))
        if joins_pid:
            ops.append(Op("clone_again", ORIGIN))
        return
    new = namespaces.new & ~_UNSHARED_LATER & ~CLONE_NEWUSER
    user_slot = namespaces.joins(CLONE_NEWUSER)
    if makes_user:
        ops.append(Op("unshare", ORIGIN, CLONE_NEWUSER))
        _map_ids(ops, linux, rootless)
    elif user_slot >= 0:
        ops.append(Op("join", ORIGIN, CLONE_NEWUSER, user_slot))
    if makes_user or user_slot >= 0:
        ops.append(Op("become_root", "linux.uidMappings" if makes_user else ORIGIN))
    if user_first:
        ops.extend(joins)
    if late_time:
        new |= CLONE_NEWTIME
    if new:
        ops.append(Op("unshare", ORIGIN, new))
    if joins_pid or new & (CLONE_NEWPID | CLONE_NEWTIME):
        ops.append(Op("clone_again", ORIGIN))


def _map_ids(ops, linux, rootless):
    uid_map = id_map(linux.get("uidMappings") or ())
    gid_map = id_map(linux.get("gidMappings") or ())
    if not uid_map or not gid_map:
        raise ConfigError(
            "linux.uidMappings" if not uid_map else "linux.gidMappings",
            "a new user namespace needs id mappings",
            "config-linux.md#user-namespace-mappings",
        )
    deny, tools = 0, ("", "")
    if rootless and rootless.unprivileged:
        from pyoci.compile.rootless import maps_own_id  # only without privilege

        own_uid, own_gid = maps_own_id(linux["uidMappings"], rootless.euid), maps_own_id(linux["gidMappings"], rootless.egid)
        deny, tools = int(own_gid), ("" if own_uid else rootless.uid_tool, "" if own_gid else rootless.gid_tool)
    ops.append(Op("map_ids", "linux.uidMappings", uid_map, gid_map, deny, *tools))


def id_map(mappings):
    """The lines for /proc/PID/uid_map."""
    return "".join(f"{one['containerID']} {one['hostID']} {one['size']}\n" for one in mappings)


def host_id(mappings, container_id):
    """The id on the host of an id in the container; the same without mappings; -1 if it has none."""
    if not mappings:
        return container_id
    for one in mappings:
        if one["containerID"] <= container_id < one["containerID"] + one["size"]:
            return one["hostID"] + container_id - one["containerID"]
    return -1


def names(ops, config, linux, namespaces):
    """hostname, domainname, the loopback device, kernel parameters."""
    if config.get("hostname"):
        ops.append(Op("hostname", "hostname", config["hostname"]))
    if config.get("domainname"):
        ops.append(Op("domainname", "domainname", config["domainname"]))
    if namespaces.new & CLONE_NEWNET:
        ops.append(Op("loopback_up", "default"))
    for key, value in (linux.get("sysctl") or {}).items():
        ops.append(Op("sysctl", f"linux.sysctl.{key}", "sys/" + sysctl_path(key), value))


def sysctl_path(key):
    """The file below /proc/sys: of `.` and `/` the first that occurs separates, the other belongs to a name.  sysctl(8)"""
    dot, slash = key.find("."), key.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return key
    return key.replace("/", "\0").replace(".", "/").replace("\0", ".")
