"""process, devices, hooks and the acts after create."""

import json

import pytest
from compiling import FILTER, argument, compiled, config, create, facts, in_user_namespace, names, namespaces, one, place, some

from pyoci.compile.process import DEFAULT_PATH, environment

CHR, BLK, FIFO = 0o020000, 0o060000, 0o010000
KILL, CHOWN = 1 << 5, 1


def process(**members):
    """The operations for a process with those members."""
    return create(config(process_=members))


def test_user_becomes_what_the_config_says():
    ops = process(user={"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o27})
    become = one(ops, "become_user")
    assert become.args == (7, 8, b"\x09\0\0\0\x0a\0\0\0", 0)
    assert one(ops, "set_umask").args == (0o27,) and one(ops, "set_umask").origin == "process.user.umask"


def test_umask_of_zero_is_a_umask():
    assert one(process(user={"uid": 0, "gid": 0, "umask": 0}), "set_umask").args == (0,)


def test_default_umask_is_the_runtimes():
    assert (one(process(), "set_umask").args, one(process(), "set_umask").origin) == ((0o22,), "default")


@pytest.mark.parametrize(("uid", "terminal", "owned"), [(0, False, False), (5, False, True), (5, True, False)])
def test_streams_are_given_to_another_user_unless_there_is_a_terminal(uid, terminal, owned):
    ops = process(user={"uid": uid, "gid": 0}, terminal=terminal)
    assert ("own_stdio" in names(ops)) == owned


def test_capability_sets_are_masks():
    sets = {"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN"]}  # fmt: skip
    ops = process(capabilities=sets)
    assert some(ops, "bound_capabilities", "capabilities") == [
        ("bound_capabilities", KILL | CHOWN),
        ("capabilities", KILL, KILL | CHOWN, KILL, KILL),  # ambient: what is permitted and inheritable
    ]


def test_process_without_capabilities_has_none():
    """As runc and crun have it."""
    assert some(process(), "bound_capabilities", "capabilities") == [("bound_capabilities", 0), ("capabilities", 0, 0, 0, 0)]
    assert one(process(), "capabilities").origin == "default"


def test_unknown_capability_is_left_out():
    assert some(process(capabilities={"bounding": ["CAP_NEW_ONE", "CAP_KILL"]}), "bound_capabilities") == [("bound_capabilities", KILL)]


def test_empty_capabilities_are_none_at_all():
    assert some(process(capabilities={}), "bound_capabilities", "capabilities") == [("bound_capabilities", 0), ("capabilities", 0, 0, 0, 0)]


def test_directory_is_made_then_entered_as_root_and_again_as_the_user():
    ops = process(cwd="/a/../work", user={"uid": 1, "gid": 1})
    assert some(ops, "make_cwd", "change_directory") == [
        ("make_cwd", "/work"), ("change_directory", "/a/../work", 0), ("change_directory", "/a/../work", 1),
    ]  # fmt: skip
    assert place(ops, "change_directory", late=0) < place(ops, "become_user") < place(ops, "change_directory", late=1)


@pytest.mark.parametrize(
    ("env", "words", "home", "path"),
    [
        ([], [], None, None),
        (["A=1", "B=2", "A=3"], ["A=3", "B=2"], None, None),
        (["HOME=/x", "PATH=/b"], ["HOME=/x", "PATH=/b"], "/x", "/b"),
        (["HOME=", "PATH="], ["PATH="], None, ""),
        (["A=b=c", "E="], ["A=b=c", "E="], None, None),
    ],
)
def test_environment_keeps_its_order_and_the_last_value(env, words, home, path):
    assert environment({"env": env}) == (words, home, path)


@pytest.mark.parametrize(
    ("args", "env", "expected"),
    [
        (["sh"], [], ("sh", DEFAULT_PATH)),
        (["sh"], ["PATH=/x:/y"], ("sh", "/x:/y")),
        (["sh"], ["PATH="], ("sh", "")),
        (["/bin/sh"], ["PATH=/x"], ("/bin/sh", None)),
        (["./sh", "-c"], [], ("./sh", None)),
    ],
)
def test_program_is_searched_for_in_the_containers_path(args, env, expected):
    assert one(process(args=args, env=env), "find_program").args == expected


def test_home_is_looked_up_only_where_it_is_missing():
    assert some(process(user={"uid": 6, "gid": 0}), "home") == [("home", 6)]
    assert some(process(env=["HOME=/h"]), "home") == []


def test_sockets_are_told_to_the_process():
    assert one(create(config(), facts(listen_fds=2)), "execute").args == (["sh"], ["LISTEN_FDS=2"], 1)
    assert one(create(config(), facts(notify="/s/name")), "execute").args[1] == ["NOTIFY_SOCKET=/run/notify/notify.sock"]
    assert one(create(config()), "execute").args == (["sh"], [], 0)


def test_preserved_descriptors_are_those_of_the_flag_and_of_activation():
    ops = create(config(), facts(preserve_fds=2, listen_fds=3))
    assert one(ops, "close_on_execute").args == (5,)
    assert argument(ops, "spawn", "preserve") == 5


def test_rlimits_are_numbers_with_their_names():
    ops = process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 2**64 - 1}])
    assert some(ops, "limit_process") == [("limit_process", 7, 5, 2**64 - 1, "RLIMIT_NOFILE")]
    assert one(ops, "limit_process").origin == "process.rlimits[0]"


@pytest.mark.parametrize("score", [0, -5, 1000])
def test_oom_score_is_set_as_soon_as_init_is_there(score):
    ops = process(oomScoreAdj=score)
    assert place(ops, "score_oom") == place(ops, "spawn") + 1
    assert one(ops, "score_oom").args == (score,)


def test_oom_score_that_is_not_set_is_left_alone():
    assert "score_oom" not in names(process())


@pytest.mark.parametrize(("domain", "value"), [("LINUX", 0), ("LINUX32", 8)])
def test_personality_is_a_number(domain, value):
    assert one(create(config(linux_={"personality": {"domain": domain}})), "personality").args == (value,)


def test_terminal_has_its_size_its_owner_and_a_place_to_go():
    document = config(process_={"terminal": True, "consoleSize": {"height": 25, "width": 80}, "user": {"uid": 5, "gid": 0}})
    ops = create(document, facts(console_socket="/socket"))
    opened = one(ops, "open_console")
    assert opened.args[1:] == (80, 25, 1, 5)
    assert one(ops, "send_console").args == ("/socket", opened.args[0])


def test_terminal_without_a_mount_namespace_mounts_nothing():
    assert one(create(config(process_={"terminal": True}, linux={})), "open_console").args[3] == 0


def test_config_without_a_process_ends_at_the_gate():
    ops = create(config(process=None), facts(seccomp=FILTER))
    assert names(ops)[-2:] == ["gate", "leave"]
    assert not {"execute", "find_program", "become_user", "seccomp", "make_cwd"} & set(names(ops))


# --- devices


def test_default_devices_are_made_after_those_of_the_config():
    ops = create(config(linux_={"devices": [{"path": "/dev/sda", "type": "b", "major": 8, "minor": 1, "fileMode": 0o640, "uid": 1, "gid": 2}]}))
    made = some(ops, "make_device")
    assert made[0] == ("make_device", "/dev/sda", BLK, 8, 1, 0o640, 1, 2, 1)
    assert [row[1] for row in made[1:]] == ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]


def test_device_of_the_config_takes_the_place_of_a_default_one():
    ops = create(config(linux_={"devices": [{"path": "/dev//null", "type": "u", "major": 1, "minor": 3, "fileMode": 0o100600}]}))
    assert [row[2:6] for row in some(ops, "make_device") if row[1] == "/dev/null"] == [(CHR, 1, 3, 0o600)]


def test_fifo_needs_no_numbers():
    assert some(create(config(linux_={"devices": [{"path": "/f", "type": "p"}]})), "make_device")[0][1:5] == ("/f", FIFO, 0, 0)


def test_device_mode_of_zero_is_a_mode():
    ops = create(config(linux_={"devices": [{"path": "/f", "type": "p", "fileMode": 0}]}))
    assert some(ops, "make_device")[0][5] == 0


@pytest.mark.parametrize("words", [("user",), ("user=/u",)])
def test_devices_are_bound_where_a_user_namespace_forbids_making_them(words):
    linux = in_user_namespace("mount") if words == ("user",) else {"namespaces": namespaces("mount", *words)}
    ops = create(config(linux=linux))
    assert "make_device" not in names(ops)
    assert some(ops, "bind_device")[0] == ("bind_device", "/dev/null", CHR, 1, 3, "/dev/null", -1)


def test_ptmx_of_the_config_is_still_the_link():
    ops = create(config(linux_={"devices": [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]}))
    assert "/dev/ptmx" not in [row[1] for row in some(ops, "make_device")]
    assert some(ops, "make_link")[-1] == ("make_link", "/dev/ptmx", "pts/ptmx", 1)


@pytest.mark.parametrize("kcore", [True, False])
def test_core_is_linked_where_the_kernel_has_it(kcore):
    links = [row[1:3] for row in some(create(config(), facts(has_kcore=kcore)), "make_link")]
    assert (("/dev/core", "/proc/kcore") in links) == kcore


@pytest.mark.parametrize("how", [{"options": ["bind"]}, {"options": ["rbind", "ro"]}, {"type": "bind"}, {"type": "devtmpfs"}])
def test_nothing_is_made_in_a_dev_of_the_host(how):
    ops = create(config(mounts=[{"destination": "/dev/", "source": "/dev", **how}]))
    assert not {"make_device", "make_link", "bind_device"} & set(names(ops))


# --- hooks and the later acts


def test_hook_has_its_arguments_environment_and_time():
    hook = {"path": "/h", "args": ["name", "a"], "env": ["K=v"], "timeout": 7}
    ops = create(config(hooks={"createRuntime": [{"path": "/first"}, hook]}))
    assert some(ops, "hook") == [
        ("hook", "createRuntime", 0, "/first", ["/first"], [], 0, "creating"),
        ("hook", "createRuntime", 1, "/h", ["name", "a"], ["K=v"], 7, "creating"),
    ]
    assert [op.origin for op in ops if op.name == "hook"] == ["hooks.createRuntime[0]", "hooks.createRuntime[1]"]


def test_hook_in_the_container_gets_the_state_with_a_hole_for_the_pid():
    document = config(hooks={"createContainer": [{"path": "/h"}]}, annotations={'"pid":0': '"pid":0'})
    hook = one(create(document), "hook_inside")
    state = json.loads(f"{hook.args[6]}42{hook.args[7]}")
    assert state == {
        "ociVersion": state["ociVersion"], "id": "name", "bundle": "/bundle", "annotations": {'"pid":0': '"pid":0'}, "status": "creating", "pid": 42,
    }  # fmt: skip


def test_startContainer_hook_inherits_the_environment_of_the_process():
    document = config(hooks={"startContainer": [{"path": "/h"}, {"path": "/h", "env": []}]}, process_={"env": ["A=1"]})
    assert [op.args[4] for op in create(document) if op.name == "hook_inside"] == [["A=1"], []]


def test_later_acts_have_their_hooks():
    plan = compiled(config(hooks={"poststart": [{"path": "/a"}], "poststop": [{"path": "/b"}, {"path": "/c"}]}))
    assert some(plan.start, "hook") == [("hook", "poststart", 0, "/a", ["/a"], [], 0, "running")]
    assert names(plan.delete) == ["undo", "hook", "hook"]
    assert plan.delete[1].args[-1] == "stopped"


def test_without_hooks_delete_only_undoes():
    plan = compiled(config())
    assert (plan.start, names(plan.delete)) == ([], ["undo"])
