"""The order in which the operations of a container stand, and why the kernel needs it."""

import pytest
from compiling import FILTER, HYBRID, LAYOUTS, V1, V2, argument, config, create, facts, in_order, in_user_namespace, names, namespaces, one, place, some

from pyoci.compile.container import SLOT_FREE, SLOT_GATE
from pyoci.plan.ops import HOST
from pyoci.plan.wire import MAX_SLOTS

FULL = config(
    hostname="host",
    domainname="domain",
    root={"path": "rootfs", "readonly": True},
    annotations={"key": "value"},
    mounts=[
        {"destination": "/proc", "type": "proc"},
        {"destination": "/dev", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]},
        {"destination": "/data", "type": "bind", "source": "/srv", "options": ["bind"]},
    ],
    hooks={kind: [{"path": f"/bin/{kind}"}] for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")},
    process_={
        "terminal": True, "oomScoreAdj": 5, "user": {"uid": 7, "gid": 8}, "noNewPrivileges": False,
        "capabilities": {"bounding": ["CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
    },
    linux_={
        "namespaces": namespaces("mount", "pid", "uts", "ipc", "network", "cgroup", "time"),
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "sysctl": {"net.ipv4.ip_forward": "1"},
        "resources": {"memory": {"limit": 2**20}, "cpu": {"cpus": "0", "shares": 5}, "pids": {"limit": 3}},
        "personality": {"domain": "LINUX"}, "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
    },
)  # fmt: skip
CALL = {"console_socket": "/c", "pidfd_socket": "/p", "pid_file": "/pid", "notify": "/run/pyoci/name"}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_acts_follow_the_birth_of_a_container(layout):
    ops = create(FULL, facts(layout, seccomp=FILTER, **CALL))
    placed = [] if layout is V2 else ["enter_cgroups"]  # on v2 it is spawned into its cgroup
    assert in_order(
        ops, "claim", "listen", "make_directory", "make_cgroup", "limit", "spawn", "score_oom", *placed, "new_session", "keyring",
        "propagate_root", "open_rootfs", "mount", "make_device", "make_link", "hostname", "domainname", "loopback_up", "sysctl", "hook",
        "hook_inside", "make_cwd", "open_console", "protect", "hide", "pivot", "seal_mount", "seal_root", "personality", "limit_process",
        "close_on_execute", "change_directory", "bound_capabilities", "become_user", "set_umask", "find_program", "seccomp", "capabilities",
        "send_console", "send_pidfd", "record", "write_pid", "gate", "execute",
    )  # fmt: skip
    assert names(ops).count("gate") == 1


def test_plan_begins_by_claiming_the_id_and_ends_as_the_process():
    ops = create(config())
    assert (names(ops)[0], names(ops)[-1]) == ("claim", "execute")


def test_nothing_of_the_host_is_done_between_the_gate_and_execve():
    """`start` may come from anybody, years later."""
    ops = create(FULL, facts(seccomp=FILTER, **CALL))
    assert all(op.actor != HOST for op in ops[place(ops, "gate") :])


def test_pid_file_is_written_when_nothing_but_the_gate_is_left():
    ops = create(FULL, facts(**CALL))
    assert place(ops, "gate") == place(ops, "write_pid") + 1 == place(ops, "record") + 2


def test_devices_are_made_before_their_file_system_is_sealed():
    ops = create(FULL)
    last = max(index for index, op in enumerate(ops) if op.name in ("make_device", "make_link"))
    assert last < place(ops, "seal_mount", target="/dev")


@pytest.mark.parametrize("name", ["hide", "protect"])
def test_paths_are_covered_before_the_hosts_files_are_gone(name):
    assert place(create(FULL), name) < place(create(FULL), "pivot")


def test_paths_are_covered_after_the_working_directory_is_made_below_them():
    assert in_order(create(FULL), "make_cwd", "open_console", "protect", "hide", "seal_root")


def test_createContainer_hooks_run_after_the_mounts_and_before_pivot():
    ops = create(FULL)
    last_mount = max(index for index, op in enumerate(ops) if op.name in ("mount", "bind"))
    assert last_mount < place(ops, "hook_inside", kind="createContainer") < place(ops, "pivot")


def test_hooks_of_create_run_in_the_order_of_the_lifecycle():
    ops = create(FULL)
    kinds = [op.args[0] for op in ops if op.name in ("hook", "hook_inside")]
    assert kinds == ["prestart", "createRuntime", "createContainer", "startContainer"]
    assert place(ops, "gate") < place(ops, "hook_inside", kind="startContainer") < place(ops, "execute")


# --- cgroups: limits hold before the process, and cost no waiting


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_limit_holds_before_init_is_there(layout):
    """Devices for one more reason: between two writes of a list, init's mknod would be refused."""
    ops = create(FULL, facts(layout))
    written = [index for index, op in enumerate(ops) if op.name == "limit"]
    assert len(written) > 3 and max(written) < place(ops, "spawn")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_nobody_waits_for_the_placement(layout):
    """Whoever moves another process waits for the kernel's RCU; init is born in its cgroup, or goes there by itself."""
    ops = create(FULL, facts(layout))
    assert not {"place_in_cgroup", "wait_for"} & set(names(ops)) and not any(op.overlapped for op in ops)
    assert (argument(ops, "spawn", "cgroup") is None) == (layout is V1)


def test_optional_hierarchy_comes_last():
    opened, entered = one(create(FULL, facts(HYBRID)), "open_cgroups"), one(create(FULL, facts(HYBRID)), "enter_cgroups")
    assert opened.args[1:] == entered.args
    paths, required, _ = entered.args
    assert paths[required:] == ["/sys/fs/cgroup/systemd/name"] and not any("unified" in path for path in paths)


def test_cgroup_namespace_is_made_in_the_cgroup_and_before_cgroups_are_mounted():
    ops = create(FULL)
    assert place(ops, "enter_cgroups") < place(ops, "unshare", flags=0x2000000) < place(ops, "mount", fstype="cgroup")


def test_cgroup_namespace_is_made_once_where_cgroups_are_mounted_twice():
    twice = [{"destination": f"/cgroup{number}", "type": "cgroup"} for number in (1, 2)]
    ops = create(config(mounts=twice, linux_={"namespaces": namespaces("mount", "cgroup")}), facts(V1))
    assert [op.args for op in ops if op.name == "unshare"] == [(0x2000000,)]


# --- the filter


@pytest.mark.parametrize("private", [True, False])
def test_filter_goes_in_after_the_gate_only_where_no_privilege_is_needed(private):
    ops = create(config(process_={"noNewPrivileges": private}), facts(seccomp=FILTER))
    assert names(ops).count("seccomp") == 1
    assert (place(ops, "seccomp") > place(ops, "gate")) == private
    if private:
        assert names(ops)[-2:] == ["seccomp", "execute"]
    else:
        assert in_order(ops, "become_user", "find_program", "seccomp", "record", "gate")


def test_capabilities_are_dropped_after_the_filter_that_needs_them():
    document = config(process_={"noNewPrivileges": False, "capabilities": {"bounding": []}, "user": {"uid": 1, "gid": 1}})
    assert in_order(create(document, facts(seccomp=FILTER)), "become_user", "seccomp", "capabilities", "gate")


def test_capabilities_are_given_up_after_the_filter_is_in():
    ops = create(config(process_={"user": {"uid": 1, "gid": 1}}), facts(seccomp=FILTER))
    assert names(ops)[place(ops, "seccomp") + 1] == "capabilities"
    assert some(ops, "capabilities") == [("capabilities", 0, 0, 0, 0)]


def test_startContainer_hooks_run_before_the_last_filter():
    ops = create(config(hooks={"startContainer": [{"path": "/x"}]}, process_={"noNewPrivileges": True}), facts(seccomp=FILTER))
    assert in_order(ops, "gate", "hook_inside", "seccomp", "execute")


# --- slots


@pytest.mark.parametrize("kinds", [("mount",), ("mount", "pid=/p", "ipc=/i", "uts=/u", "network=/n", "cgroup=/c", "time=/t")])
def test_each_descriptor_has_a_slot_of_its_own(kinds):
    ops = create(config(process_={"terminal": True}, linux={"namespaces": namespaces(*kinds)}))
    slots = [op.args[2] for op in ops if op.name == "open_namespace"] + [op.args[0] for op in ops if op.name == "open_console"]
    assert len(set(slots)) == len(slots)
    assert all(SLOT_FREE <= slot < MAX_SLOTS for slot in slots)
    assert some(ops, "listen", "gate") == [("listen", SLOT_GATE), ("gate", SLOT_GATE)]


def test_everything_that_can_be_joined_at_once_fits_the_slots():
    words = [f"{kind}=/n/{kind}" for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup", "time", "user")]
    ops = create(config(process_={"terminal": True}, linux={"namespaces": namespaces(*words)}))
    assert max(op.args[2] for op in ops if op.name == "open_namespace") < MAX_SLOTS - 1


# --- limits of the process


def test_rlimits_are_set_from_outside_before_init_is_another_user():
    document = config(
        process_={"user": {"uid": 1, "gid": 1}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]},
        linux=in_user_namespace("mount"),
    )
    assert in_order(create(document), "pivot", "limit_process", "become_user", "gate")


@pytest.mark.parametrize(("user", "linux", "late"), [
    ({"uid": 0, "gid": 0}, {}, True), ({}, {}, True), ({"uid": 1, "gid": 0}, {}, False), ({"uid": 0, "gid": 1}, {}, False),
    ({"uid": 0, "gid": 0}, in_user_namespace("mount"), False),
], ids=["root", "nobody-named", "user", "group", "mapped-root"])  # fmt: skip
def test_rlimits_of_the_hosts_root_are_set_with_the_record(user, linux, late):
    """Whose ids are the runtime's may be limited by it at any time, prlimit(2): the others before init takes their ids."""
    document = config(process_={"user": user, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]}, **({"linux": linux} if linux else {}))
    ops = names(create(document))
    assert (ops.index("limit_process") == ops.index("record") - 1) is late
    assert (ops.index("limit_process") < ops.index("close_on_execute")) is not late
