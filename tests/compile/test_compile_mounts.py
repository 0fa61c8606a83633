"""root, mounts, maskedPaths and readonlyPaths."""

import pytest
from compiling import HYBRID, V1, V2, compiled, config, create, facts, names, namespaces, one, place, some

from pyoci.compile.mounts import clean

RO, NOSUID, NODEV, NOEXEC, NOATIME, STRICTATIME, ATIME = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x70
REC, UNBINDABLE, PRIVATE, SLAVE, SHARED = 0x4000, 0x20000, 0x40000, 0x80000, 0x100000


def mounted(*entries, given=None, **more):
    """The operations of mounts[] with those entries."""
    ops = create(config(mounts=list(entries), **more), given)
    return [op for op in ops if op.origin.startswith("mounts[")]


def entry(destination="/mnt", kind="tmpfs", *options, source=None):
    made = {"destination": destination, "type": kind, "options": list(options)}
    return {**made, "source": source} if source else made


def test_mounts_keep_their_order_and_origin():
    ops = mounted(entry("/a"), entry("/b", "bind", "rbind", source="/s"), entry("/c", "proc"), entry("/a", "", "remount", "ro"))
    assert names(ops) == ["mount", "bind", "mount", "remount"]
    assert [op.origin for op in ops] == [f"mounts[{index}]" for index in range(4)]


@pytest.mark.parametrize(
    ("options", "attr_set", "flags", "data"),
    [
        ((), 0, [], []),
        (("nosuid", "nodev", "noexec"), NOSUID | NODEV | NOEXEC, [], []),
        (("strictatime", "mode=755", "size=64k"), STRICTATIME, [], ["mode=755", "size=64k"]),
        (("noatime",), NOATIME, [], []),
        (("nosuid", "suid"), 0, [], []),
        (("rnosuid",), NOSUID, [], []),
        (("sync", "async"), 0, ["async"], []),
        (("defaults", "silent", "unknown", "newinstance"), 0, [], ["unknown", "newinstance"]),
    ],
)
def test_options_go_to_the_mount_the_file_system_or_its_data(options, attr_set, flags, data):
    (op,) = mounted(entry("/mnt", "tmpfs", *options))
    assert op.args == ("tmpfs", "tmpfs", "/mnt", attr_set, flags, data, 0, 1)


def test_source_of_a_mount_is_its_type_where_it_has_none():
    assert mounted(entry("/p", "proc"))[0].args[:2] == ("proc", "proc")
    assert mounted(entry("/p", "proc", source="none"))[0].args[:2] == ("proc", "none")


def test_only_tmpfs_inherits_the_mode_of_what_it_covers():
    assert [op.args[-1] for op in mounted(entry("/a"), entry("/b", "mqueue"), entry("/c", "devpts"))] == [1, 0, 0]


def test_tmpcopyup_is_asked_of_the_mount():
    assert mounted(entry("/a", "tmpfs", "tmpcopyup"))[0].args[-2] == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("bind",), (0, 0, 0, 0, 0)),
        (("rbind",), (1, 0, 0, 0, 0)),
        (("bind", "ro"), (0, RO, 0, 0, 0)),
        (("bind", "rw"), (0, 0, RO, 0, 0)),
        (("bind", "rro"), (0, 0, 0, RO, 0)),
        (("rbind", "rrw", "rnoexec"), (1, 0, 0, NOEXEC, RO)),
        (("bind", "noatime"), (0, NOATIME, ATIME, 0, 0)),
        (("rbind", "ratime"), (1, 0, 0, 0, ATIME)),
    ],
)
def test_options_of_a_bind_set_and_clear(options, expected):
    (op,) = mounted(entry("/mnt", "", *options, source="/s"))
    assert op.args == ("/s", "/mnt", -1, *expected, 0)


def test_bind_is_told_by_its_options_or_its_type():
    for given in (entry("/m", "bind", source="/s"), entry("/m", "ext4", "bind", source="/s"), entry("/m", "", "rbind", source="/s")):
        assert names(mounted(given)) == ["bind"]


def test_relative_source_of_a_bind_is_below_the_bundle():
    assert mounted(entry("/m", "bind", source="data"))[0].args[0] == "/bundle/data"


def test_data_of_a_bind_is_told_and_left_out():
    plan = compiled(config(mounts=[entry("/m", "bind", "bind", "size=5", "x", source="/s")]))
    assert plan.warnings == ["mounts[0].options: no meaning for a bind mount, so left out: size=5,x"]


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (("private",), [PRIVATE]),
        (("rslave", "rshared"), [SLAVE | REC, SHARED | REC]),
        (("unbindable", "runbindable"), [UNBINDABLE, UNBINDABLE | REC]),
    ],
)
def test_each_propagation_is_a_call_of_its_own_after_the_mount(words, calls):
    ops = mounted(entry("/m", "bind", "rbind", *words, source="/s"))
    assert names(ops) == ["bind"] + ["propagate"] * len(calls)
    assert [op.args for op in ops[1:]] == [("/m", flags) for flags in calls]


# --- what is filled later is sealed later


def test_read_only_tmpfs_is_sealed_after_pivot():
    ops = create(config(mounts=[entry("/t", "tmpfs", "ro", "nosuid")]))
    assert one(ops, "mount").args[3] == NOSUID
    assert place(ops, "pivot") < place(ops, "seal_mount", target="/t")


def test_read_only_dev_is_sealed_after_the_devices_whatever_it_is():
    ops = create(config(mounts=[entry("/dev", "bind", "bind", "ro", source="/d")]))
    assert one(ops, "bind").args[4] == 0
    assert one(ops, "seal_mount").args == ("/dev",)


def test_read_only_proc_is_so_at_once():
    ops = create(config(mounts=[entry("/proc", "proc", "ro")]))
    assert one(ops, "mount").args[3] == RO and "seal_mount" not in names(ops)


def test_read_only_root_is_sealed_last():
    ops = create(config(root={"path": "rootfs", "readonly": True}, mounts=[entry("/t", "tmpfs", "ro")]))
    assert place(ops, "seal_root") > place(ops, "seal_mount") > place(ops, "pivot")
    assert "seal_root" not in names(create(config()))


# --- cgroups


@pytest.mark.parametrize("words", [("mount",), ("mount", "cgroup")])
def test_cgroup_on_v2_is_one_view(words):
    ops = mounted(entry("/sys/fs/cgroup", "cgroup", "ro", "nosuid"), given=facts(V2), linux={"namespaces": namespaces(*words)})
    assert some(ops, "cgroup_view") == [("cgroup_view", "/sys/fs/cgroup", "cgroup", "/sys/fs/cgroup/name", -1, RO | NOSUID)]


def test_cgroup_on_v1_is_a_tmpfs_with_a_mount_a_hierarchy_and_read_only_at_the_end():
    ops = mounted(entry("/c", "cgroup", "ro", "nosuid"), linux={"namespaces": namespaces("mount", "cgroup")}, given=facts(V1))
    assert [op.args[:3] for op in ops if op.name == "mount"][:2] == [("tmpfs", "tmpfs", "/c"), ("cgroup", "cgroup", "/c/cpu")]
    assert ops[-1].name == "remount" and ops[-1].args == ("/c", RO, 0, 0, 0)
    tmpfs, *hierarchies = [op for op in ops if op.name == "mount"]
    assert tmpfs.args[3] == NOSUID  # links are still to be made in it
    assert all(op.args[3] == RO | NOSUID for op in hierarchies) and len(hierarchies) == 7


def test_cgroup_on_v1_without_a_namespace_binds_the_containers_own_directories():
    ops = mounted(entry("/c", "cgroup"), given=facts(V1))
    assert some(ops, "bind")[0][1:3] == ("/sys/fs/cgroup/cpu/name", "/c/cpu")
    assert len(some(ops, "bind")) == 7


def test_controllers_mounted_together_are_linked():
    layout = type(V1)(1, {**V1.mounts, "cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", "/"), "cpu": ("/sys/fs/cgroup/cpu,cpuacct", "/")},
                      {**V1.own, "cpuacct": "/"}, V1.controllers)  # fmt: skip
    ops = mounted(entry("/c", "cgroup"), given=facts(layout))
    assert some(ops, "make_link") == [("make_link", "/c/cpu", "cpu,cpuacct", 0), ("make_link", "/c/cpuacct", "cpu,cpuacct", 0)]


def test_named_hierarchy_is_mounted_by_its_name():
    ops = mounted(entry("/c", "cgroup"), given=facts(HYBRID), linux={"namespaces": namespaces("mount", "cgroup")})
    systemd = next(op for op in ops if op.name == "mount" and op.args[2] == "/c/systemd")
    assert systemd.args[5] == ["none", "name=systemd", "xattr"]


# --- procfs


@pytest.mark.parametrize(("target", "rule"), [("/proc", 1), ("/proc/uptime", 2), ("/proc/../proc/./uptime", 2), ("/procfs", 0), ("/a/proc/x", 0)])
def test_bind_on_procfs_is_judged_by_its_cleaned_target(target, rule):
    assert mounted(entry(target, "bind", source="/s"))[0].args[-1] == rule


# --- the root


@pytest.mark.parametrize(
    ("word", "tree", "rootfs", "after"),
    [
        ("", SLAVE | REC, 1, None),
        ("private", PRIVATE | REC, 1, None),
        ("rslave", SLAVE | REC, 1, None),
        ("shared", SHARED | REC, 2, SHARED),
        ("unbindable", SLAVE | REC, 1, UNBINDABLE),
    ],
)
def test_propagation_of_the_root_is_set_before_the_rootfs_is_bound_and_after_pivot(word, tree, rootfs, after):
    ops = create(config(linux_={"rootfsPropagation": word} if word else {}))
    assert one(ops, "propagate_root").args == (tree,)
    assert one(ops, "propagate_root").origin == ("linux.rootfsPropagation" if word else "default")
    assert one(ops, "open_rootfs").args == ("/bundle/rootfs", rootfs)
    assert [op.args for op in ops if op.name == "propagate"] == ([("/", after)] if after else [])


def test_without_a_mount_namespace_the_root_is_changed_and_nothing_of_the_host_touched():
    ops = create(config(linux={"namespaces": namespaces("pid")}, root={"path": "rootfs", "readonly": True}))
    assert "change_root" in names(ops)
    assert not {"propagate_root", "pivot", "move_root", "seal_root"} & set(names(ops))
    assert one(ops, "open_rootfs").args[1] == 3


def test_no_pivot_moves_the_root():
    ops = create(config(), facts(no_pivot=True))
    assert "move_root" in names(ops) and "pivot" not in names(ops)


def test_notify_socket_is_bound_after_the_mounts():
    ops = create(config(mounts=[entry("/run", "tmpfs")]), facts(notify="/state/name"))
    assert some(ops, "bind") == [("bind", "/state/name/notify", "/run/notify", -1, 0, RO | NOSUID | NODEV | NOEXEC, 0, 0, 0, 0)]
    assert place(ops, "mount") < place(ops, "bind")
    assert place(ops, "make_directory") < place(ops, "spawn")


# --- hidden paths


def test_paths_are_protected_first_and_hidden_once():
    document = config(linux_={"maskedPaths": ["/proc/kcore", "/proc//kcore", "/a/../b"], "readonlyPaths": ["/proc/sys"]})
    ops = create(document)
    assert some(ops, "protect", "hide") == [("protect", "/proc/sys"), ("hide", "/proc/kcore"), ("hide", "/b")]
    assert [op.origin for op in ops if op.name == "hide"] == ["linux.maskedPaths[0]", "linux.maskedPaths[2]"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a", "/a"), ("a", "/a"), ("/a/", "/a"), ("//a///b", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/../../b", "/b"),
        ("..", "/"), ("", "/"), ("/", "/"), ("/a/..b", "/a/..b"), ("/.a", "/.a"), ("/a/...", "/a/..."),
    ],
)  # fmt: skip
def test_path_is_cleaned_by_its_letters(path, found):
    assert clean(path) == found
