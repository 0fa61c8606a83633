"""linux.namespaces and the id maps: the roads into them (user_namespaces(7), time_namespaces(7))."""

import pytest
from compiling import MAPS, V1, V2, argument, config, create, facts, in_order, in_user_namespace, names, namespaces, one, place, some

from pyoci.compile.namespaces import host_id, sysctl_path
from pyoci.plan.ops import argument_names

FLAGS = {
    "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000,
    "network": 0x40000000, "time": 0x80,
}  # fmt: skip
AT_ONCE = ("mount", "uts", "ipc", "pid", "network")
MOVES = ("open_namespace", "spawn", "map_ids", "join", "unshare", "become_root", "clone_again")


def flags(*kinds):
    return sum(FLAGS[kind] for kind in kinds)


def moves(*words, kernel=(6, 8), **linux):
    """The operations on namespaces for those words."""
    document = config(linux={"namespaces": namespaces(*words), **linux})
    return moves_of(create(document, facts(kernel=kernel)))


def moves_of(ops):
    """Those of MOVES; of `spawn` only which namespaces it makes, and whether init keeps the capabilities of a new user namespace."""
    arguments = {"spawn": ("flags", "raise_capabilities")}
    return [
        (op.name, *(value for name, value in zip(argument_names(op.number), op.args) if name in arguments.get(op.name, (name,))))
        for op in ops
        if op.name in MOVES
    ]


def test_new_namespaces_are_made_at_once_by_clone():
    assert moves(*AT_ONCE) == [("spawn", flags(*AT_ONCE), 0)]


@pytest.mark.parametrize("kind", AT_ONCE)
def test_each_kind_alone_is_its_flag(kind):
    assert moves(kind) == [("spawn", FLAGS[kind], 0)]


def test_no_namespaces_are_no_flags():
    assert moves() == [("spawn", 0, 0)]


def test_new_user_namespace_owns_the_others_and_is_mapped_before_init_goes_on():
    found = moves("user", *AT_ONCE, uidMappings=MAPS, gidMappings=MAPS)
    assert found == [
        ("spawn", flags("user", *AT_ONCE), 1),
        ("map_ids", "0 100000 65536\n", "0 100000 65536\n", 0, "", ""),
        ("become_root",),
    ]


def test_joined_namespace_is_opened_before_init_is_there_and_entered_by_it():
    document = config(linux={"namespaces": namespaces("mount", "ipc=/proc/5/ns/ipc", "network=/run/netns/a")})
    ops = create(document)
    assert moves_of(ops) == [
        ("open_namespace", FLAGS["ipc"], "/proc/5/ns/ipc", 4),
        ("open_namespace", FLAGS["network"], "/run/netns/a", 5),
        ("spawn", FLAGS["mount"], 0),
        ("join", FLAGS["ipc"], 4),
        ("join", FLAGS["network"], 5),
    ]
    assert [op.origin for op in ops if op.name in ("open_namespace", "join")] == ["linux.namespaces[1]", "linux.namespaces[2]"] * 2


def test_joined_pid_namespace_is_entered_by_a_child_of_init():
    """So that nothing of the runtime's own program ever shows in its /proc (CVE-2019-5736)."""
    assert moves("mount", "pid=/p") == [
        ("open_namespace", FLAGS["pid"], "/p", 4), ("spawn", FLAGS["mount"], 0), ("join", FLAGS["pid"], 4), ("clone_again",),
    ]  # fmt: skip


def test_new_user_namespace_comes_after_the_joined_ones():
    """Init may join what belongs to the host only while it is the host's root; what is new must belong to the new user namespace."""
    found = moves("user", "mount", "uts", "network=/n", uidMappings=MAPS, gidMappings=MAPS)
    assert found == [
        ("open_namespace", FLAGS["network"], "/n", 4),
        ("spawn", 0, 0),
        ("join", FLAGS["network"], 4),
        ("unshare", FLAGS["user"]),
        ("map_ids", "0 100000 65536\n", "0 100000 65536\n", 0, "", ""),
        ("become_root",),
        ("unshare", flags("mount", "uts")),
    ]


def test_new_pid_namespace_below_joined_ones_takes_one_more_clone():
    found = moves("user", "pid", "network=/n", uidMappings=MAPS, gidMappings=MAPS)
    assert found[-2:] == [("unshare", FLAGS["pid"]), ("clone_again",)]


def test_joined_user_namespace_owns_what_is_new():
    assert moves("user=/u", "mount", "pid", "ipc=/i") == [
        ("open_namespace", FLAGS["user"], "/u", 4),
        ("open_namespace", FLAGS["ipc"], "/i", 5),
        ("spawn", 0, 0),
        ("join", FLAGS["ipc"], 5),
        ("join", FLAGS["user"], 4),
        ("become_root",),
        ("unshare", flags("mount", "pid")),
        ("clone_again",),
    ]


def test_joined_user_and_pid_namespaces_take_one_more_clone_after_what_is_new():
    found = [move[0] for move in moves("user=/u", "mount", "pid=/p")]
    assert found == ["open_namespace", "open_namespace", "spawn", "join", "join", "become_root", "unshare", "clone_again"]


def test_time_namespace_is_unshared_by_init_and_entered_at_execve():
    assert moves("mount", "time") == [("spawn", FLAGS["mount"], 0), ("unshare", FLAGS["time"])]


@pytest.mark.parametrize(("kernel", "again"), [((5, 12), True), ((6, 2), True), ((6, 3), False), ((7, 0), False)])
def test_time_namespace_of_an_older_kernel_is_entered_by_a_child(kernel, again):
    found = moves("mount", "pid", "time", kernel=kernel)
    if again:
        assert found == [("spawn", 0, 0), ("unshare", flags("mount", "pid", "time")), ("clone_again",)]
    else:
        assert found == [("spawn", flags("mount", "pid"), 0), ("unshare", FLAGS["time"])]


def test_user_and_time_namespaces_of_an_older_kernel_are_made_by_init():
    found = moves("user", "time", "mount", kernel=(5, 15), uidMappings=MAPS, gidMappings=MAPS)
    assert [move[0] for move in found] == ["spawn", "unshare", "map_ids", "become_root", "unshare", "clone_again"]
    assert found[1:2] + found[-2:-1] == [("unshare", FLAGS["user"]), ("unshare", flags("mount", "time"))]


@pytest.mark.parametrize("layout", [V1, V2], ids=["v1", "v2"])
def test_cgroup_namespace_is_unshared_once_init_is_in_its_cgroup(layout):
    ops = create(config(linux={"namespaces": namespaces("mount", "cgroup")}), facts(layout))
    made = place(ops, "unshare", flags=FLAGS["cgroup"])
    if layout is V1:
        assert place(ops, "enter_cgroups") < made
    else:
        assert argument(ops, "spawn", "cgroup").startswith("/sys/fs/cgroup/") and made > place(ops, "spawn")
    assert argument(ops, "spawn", "flags") == FLAGS["mount"]


def test_joined_cgroup_namespace_is_not_made():
    ops = create(config(linux={"namespaces": namespaces("mount", "cgroup=/c")}))
    assert "unshare" not in names(ops)
    assert ("join", FLAGS["cgroup"], 4) in some(ops, "join")


def test_id_maps_keep_their_order_and_lines():
    more = [*MAPS, {"containerID": 65536, "hostID": 5, "size": 1}]
    ops = create(config(linux=in_user_namespace("mount", uidMappings=more)))
    assert one(ops, "map_ids").args == ("0 100000 65536\n65536 5 1\n", "0 100000 65536\n", 0, "", "")
    assert one(ops, "map_ids").origin == "linux.uidMappings"


@pytest.mark.parametrize(("wanted", "found"), [(0, 100000), (65535, 165535), (65536, 7), (65537, -1)])
def test_id_of_the_container_has_one_on_the_host(wanted, found):
    assert host_id([*MAPS, {"containerID": 65536, "hostID": 7, "size": 1}], wanted) == found


def test_without_mappings_ids_are_the_same():
    assert host_id([], 5) == 5


def test_keyring_bears_the_containers_name_and_can_be_left_out():
    assert some(create(config()), "keyring") == [("keyring", "_ses.name")]
    assert some(create(config(), facts(no_new_keyring=True)), "keyring") == []


# --- names


def test_names_are_set_before_the_user_runs_anything():
    document = config(hostname="h", domainname="d", hooks={"createRuntime": [{"path": "/x"}]})
    ops = create(document)
    assert some(ops, "hostname", "domainname") == [("hostname", "h"), ("domainname", "d")]
    assert in_order(ops, "hostname", "domainname", "hook")
    assert [one(ops, name).origin for name in ("hostname", "domainname")] == ["hostname", "domainname"]


@pytest.mark.parametrize(("words", "up"), [(("mount", "network"), True), (("mount", "network=/n"), False), (("mount",), False)])
def test_loopback_is_brought_up_in_a_new_network_namespace_only(words, up):
    assert ("loopback_up" in names(create(config(linux={"namespaces": namespaces(*words)})))) == up


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel.msgmax", "kernel/msgmax"),
    ],
)
def test_separator_of_a_sysctl_is_the_first_that_occurs(key, path):
    assert sysctl_path(key) == path


def test_sysctls_are_written_in_their_order():
    ops = create(config(linux_={"sysctl": {"net.b.c": "1", "kernel.msgmax": "2"}}))
    assert some(ops, "sysctl") == [("sysctl", "sys/net/b/c", "1"), ("sysctl", "sys/kernel/msgmax", "2")]
    assert [op.origin for op in ops if op.name == "sysctl"] == ["linux.sysctl.net.b.c", "linux.sysctl.kernel.msgmax"]
