"""--systemd-cgroup: where the scope stands in the plan, on v1 and v2."""

import pytest
from compiling import HYBRID, V1, V2, argument, compiled, config, create, facts, in_order, in_user_namespace, names, namespaces, one, place

from pyoci.cgroup.systemd import Manager
from pyoci.errors import ConfigError

HOST = Manager("/run/bus", False, {})
CGROUP_MOUNT = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}


def by_systemd(document, layout=V2, manager=HOST):
    return create(document, facts(layout, manager=manager))


def with_limits(**linux):
    return config(linux_={"cgroupsPath": "m.slice:lib:1", "resources": {"memory": {"limit": 64}, "pids": {"limit": 5}}, **linux})


def test_scope_is_made_around_init_with_its_limits():
    op = one(by_systemd(with_limits()), "start_scope")
    directory = "\t/sys/fs/cgroup/m.slice/lib-1.scope"
    assert op.args == ("/run/bus", "lib-1.scope", "m.slice", [directory], ["MemoryMax=uint64 64", "TasksMax=uint64 5"])
    assert op.origin == "linux.cgroupsPath"


@pytest.mark.parametrize("layout", [V1, V2, HYBRID], ids=["v1", "v2", "hybrid"])
def test_systemd_comes_in_place_of_making_and_entering(layout):
    ops = by_systemd(with_limits(), layout)
    assert not {"make_cgroup", "open_cgroups", "enter_cgroups"} & set(names(ops))
    assert argument(ops, "spawn", "cgroup") is None
    assert in_order(ops, "spawn", "start_scope", "limit", "new_session")


def test_on_v2_init_mounts_while_systemd_works():
    ops = by_systemd(with_limits())
    began = place(ops, "start_scope")
    limits = [op for op in ops if op.name == "limit"]
    assert ops[began].overlapped and all(op.overlapped for op in limits)
    assert place(ops, "wait_for", index=began) > place(ops, "open_rootfs")
    assert place(ops, "wait_for", index=began + len(limits)) < place(ops, "hostname" if "hostname" in names(ops) else "close_on_execute")


def test_on_v1_init_waits_until_the_list_of_devices_is_whole():
    ops = by_systemd(with_limits(), V1)
    assert not any(op.overlapped for op in ops) and "wait_for" not in names(ops)
    assert in_order(ops, "start_scope", "limit", "new_session", "make_device")


def test_on_v1_systemd_is_told_of_the_devices_too():
    told = argument(by_systemd(with_limits(), V1, Manager("/bus", False, {}, {("c", 136): "pts"})), "start_scope", "properties")
    assert "DevicePolicy='strict'" in told and any(line.startswith("DeviceAllow=") and "'char-pts', 'rwm'" in line for line in told)


@pytest.mark.parametrize("layout", [V1, V2], ids=["v1", "v2"])
def test_every_limit_is_written_to_its_file_too(layout):
    def files(ops):
        return sorted(op.args[1] for op in ops if op.name == "limit")

    assert files(by_systemd(with_limits(), layout)) == files(create(with_limits(), facts(layout)))


def test_namespace_of_cgroups_is_made_in_the_scope():
    document = with_limits(namespaces=namespaces("mount", "cgroup"))
    document["mounts"] = [CGROUP_MOUNT]
    ops = by_systemd(document)
    assert in_order(ops, "start_scope", "wait_for", "unshare", "cgroup_view")


def test_delegated_scope_is_given_away_before_anything_runs():
    document = config(linux=in_user_namespace("mount", "cgroup", cgroupsPath=":a:b"), mounts=[CGROUP_MOUNT])
    ops = by_systemd(document)
    given = place(ops, "delegate_cgroup")
    assert given == place(ops, "start_scope") + 1 and ops[given].overlapped and ops[given].args == (100000,)
    last = max(index for index, op in enumerate(ops) if op.overlapped)
    assert place(ops, "wait_for", index=last) < place(ops, "make_cwd")


def test_process_that_systemd_gets_is_the_one_that_goes_on():
    """In a joined pid namespace init goes on as a child."""
    ops = by_systemd(config(linux={"namespaces": namespaces("mount", "pid=/proc/9/ns/pid")}))
    assert in_order(ops, "clone_again", "start_scope")


def test_annotation_is_a_property():
    ops = by_systemd(config(annotations={"org.systemd.property.TimeoutStopSec": "5"}))
    assert argument(ops, "start_scope", "properties") == ["TimeoutStopUSec=uint64 5000000"]


def test_annotation_has_no_meaning_without_systemd():
    compiled(config(annotations={"org.systemd.property.X": "nonsense"}))


def test_path_is_refused_where_systemd_wants_names():
    with pytest.raises(ConfigError, match="slice:prefix:name"):
        by_systemd(config(linux_={"cgroupsPath": "/a/b"}))


def test_users_own_systemd_has_a_place_of_its_own():
    ops = by_systemd(config(), manager=Manager("/run/user/5/bus", True, {"": "/user@5.service"}))
    assert argument(ops, "start_scope", "slice") == "user.slice"
    assert argument(ops, "start_scope", "directories") == ["\t/sys/fs/cgroup/user@5.service/user.slice/pyoci-name.scope"]
