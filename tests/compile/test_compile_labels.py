"""process.apparmorProfile, process.selinuxLabel, linux.mountLabel -> operations."""

import pytest
from compiling import FILTER, config, create, facts, in_order, in_user_namespace, namespaces, names, one, some

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"
CONTEXT = f"context={LABEL}"


@pytest.mark.parametrize(
    ("member", "value", "operation"),
    [
        ("apparmorProfile", "web", ("label", "self/attr/apparmor/exec", "self/attr/exec", "exec web")),
        ("selinuxLabel", "u:r:t:s0", ("label", "self/attr/exec", None, "u:r:t:s0")),
    ],
)
def test_label_is_written_to_the_attribute_of_its_module(member, value, operation):
    ops = create(config(process_={member: value}), facts(no_new_keyring=True))
    (slot,) = one(ops, "open_procfs").args
    assert some(ops, "label") == [(*operation, slot)]
    assert {op.origin for op in ops if op.name in ("open_procfs", "label")} == {f"process.{member}"}


def test_procfs_is_opened_by_the_runtime_before_init_and_used_inside():
    ops = create(config(process_={"apparmorProfile": "p", "user": {"uid": 1, "gid": 1}, "noNewPrivileges": True}))
    assert in_order(ops, "open_procfs", "spawn", "pivot", "label", "no_new_privileges", "become_user", "gate")


def test_label_is_named_before_a_filter_can_forbid_it():
    ops = create(config(process_={"apparmorProfile": "p", "noNewPrivileges": False}), facts(seccomp=FILTER))
    assert in_order(ops, "label", "seccomp", "gate")


def test_keyring_is_made_with_the_label_that_may_use_it():
    ops = create(config(process_={"selinuxLabel": "u:r:t:s0"}))
    at = names(ops).index("keyring")
    (slot,) = one(ops, "open_procfs").args
    assert [ops[at - 1].args, ops[at + 1].args] == [("self/attr/keycreate", None, text, slot) for text in ("u:r:t:s0", "\n")]
    assert names(create(config(process_={"apparmorProfile": "p"}))).count("label") == 1


@pytest.mark.parametrize("value", [None, ""])
def test_no_label_is_no_operation(value):
    assert not {"open_procfs", "label"} & set(names(create(config(process_={"apparmorProfile": value, "selinuxLabel": value}))))


def test_label_of_a_module_that_the_host_lacks_is_no_operation():
    document = config(process_={"apparmorProfile": "p"}, linux_={"mountLabel": LABEL}, mounts=[mount("tmpfs")])
    ops = create(document, facts(without=["apparmorProfile", "mountLabel"]))
    assert "label" not in names(ops) and one(ops, "mount").args[5] == []


def mount(fstype, *options):
    return {"destination": "/it", "type": fstype, "source": fstype, "options": list(options)}


@pytest.mark.parametrize("fstype", ["tmpfs", "devpts", "mqueue", "ext4"])
def test_mount_of_the_containers_own_gets_the_label(fstype):
    (made,) = some(create(config(linux_={"mountLabel": LABEL}, mounts=[mount(fstype)])), "mount")
    assert made[6] == [CONTEXT]


@pytest.mark.parametrize("fstype", ["proc", "sysfs"])
def test_mount_that_shows_the_kernels_own_state_gets_none(fstype):
    (made,) = some(create(config(linux_={"mountLabel": LABEL}, mounts=[mount(fstype)])), "mount")
    assert made[6] == []


def test_queues_of_another_ipc_namespace_have_their_label_already():
    linux = {"namespaces": namespaces("mount", "ipc=/proc/9/ns/ipc"), "mountLabel": LABEL}
    assert some(create(config(linux=linux, mounts=[mount("mqueue")])), "mount")[0][6] == []


def test_bind_mount_keeps_the_label_of_its_source():
    ops = create(config(linux_={"mountLabel": LABEL}, mounts=[{"destination": "/d", "source": "/s", "options": ["bind"]}]))
    assert CONTEXT not in str(one(ops, "bind").args)


def test_mount_that_names_a_label_keeps_it():
    document = config(linux=in_user_namespace("mount", mountLabel=LABEL), mounts=[mount("tmpfs", "context=a:b:c:d")])
    assert some(create(document), "mount")[0][6] == ["context=a:b:c:d"]
