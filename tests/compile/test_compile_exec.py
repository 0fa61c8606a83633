"""exec: a process object and what the container has -> one act."""

import pytest
from compiling import FILTER, argument, in_order, names, one, place, some

from pyoci.compile.joining import Joining, compile_exec

USER, PID, MNT, NET, TIME = 0x10000000, 0x20000000, 0x20000, 0x40000000, 0x80
PROCESS = {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}}


def joining(*flags, **more):
    found = Joining([(flag, f"/proc/9/ns/{flag}") for flag in flags], {"cpu": "/c/cpu", "pids": "/c/pids"}, 9)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def execute(facts, **members):
    return compile_exec({**PROCESS, **members}, facts)


def test_namespaces_are_opened_and_joined_in_their_order_the_user_namespace_last():
    ops = execute(joining(NET, PID, MNT, USER))
    assert some(ops, "open_namespace", "join", "become_root") == [
        ("open_namespace", NET, f"/proc/9/ns/{NET}", 4),
        ("open_namespace", PID, f"/proc/9/ns/{PID}", 5),
        ("open_namespace", MNT, f"/proc/9/ns/{MNT}", 6),
        ("open_namespace", USER, f"/proc/9/ns/{USER}", 7),
        ("join", NET, 4),
        ("join", PID, 5),
        ("join", MNT, 6),
        ("join", USER, 7),
        ("become_root",),
    ]


def test_process_of_a_container_without_namespaces_of_its_own_joins_none():
    ops = execute(joining(root="/proc/9/root"))
    assert not {"open_namespace", "join", "become_root"} & set(names(ops))
    assert argument(ops, "spawn", "flags") == 0 and "clone_again" not in names(ops)


def test_pid_namespace_is_entered_last_by_a_child_that_is_limited_already():
    """Before that, a process of the container could look at what the runtime is (CVE-2019-5736)."""
    ops = execute(joining(PID, MNT, USER))
    assert in_order(ops, "open_cgroups", "join", "become_root", "enter_cgroups", "clone_again", "new_session", "become_user")


def test_root_is_opened_before_namespaces_change_what_its_path_means():
    ops = execute(joining(NET, root="/proc/9/root"))
    assert some(ops, "open_rootfs", "change_root") == [("open_rootfs", "/proc/9/root", 0), ("change_root",)]
    assert in_order(ops, "open_rootfs", "join", "change_root")


def test_limits_of_the_cgroup_hold_before_the_user_runs():
    ops = execute(joining(MNT))
    assert one(ops, "open_cgroups").args[:3] == (["cpu\t/c/cpu", "pids\t/c/pids"], ["/c/cpu", "/c/pids"], 2)
    assert one(ops, "enter_cgroups").args[:2] == (["/c/cpu", "/c/pids"], 2)
    assert in_order(ops, "open_cgroups", "spawn", "enter_cgroups", "become_user")


def test_process_is_born_in_the_cgroup_of_version_2_or_placed_there():
    """Where it can't be born in it, the runtime moves it."""
    ops = execute(joining(MNT, directories={"": "/c"}))
    assert argument(ops, "spawn", "cgroup") == "/c"
    entered = place(ops, "place_in_cgroup")
    assert ops[entered].overlapped and ops[entered].args == (["\t/c"], 9, 0, "", "")
    assert place(ops, "wait_for", index=entered) < place(ops, "become_user")


def test_hybrid_host_has_both_ways():
    ops = execute(joining(MNT, directories={"pids": "/c/pids", "name=systemd": "/c/systemd", "": "/c/unified"}))
    assert argument(ops, "spawn", "cgroup") == "/c/unified"
    assert one(ops, "enter_cgroups").args[:2] == (["/c/pids", "/c/systemd"], 1)


def test_user_has_his_process_placed_which_may_be_refused():
    ops = execute(joining(MNT, rootless=True))
    assert argument(ops, "spawn", "cgroup") is None and one(ops, "place_in_cgroup").args[2] == 1


@pytest.mark.parametrize("private", [True, False])
def test_filter_stands_where_create_puts_it(private):
    ops = execute(joining(seccomp=FILTER), noNewPrivileges=private, capabilities={"bounding": []})
    assert (place(ops, "seccomp") > place(ops, "capabilities")) == private
    assert names(ops).count("seccomp") == 1


def test_denied_setgroups_keeps_the_groups():
    assert one(execute(joining(USER, keep_groups=True)), "become_user").args[3] == 1
    assert one(execute(joining(USER)), "become_user").args[3] == 0


def test_terminal_is_sent_once_all_that_can_fail_before_execve_is_done():
    ops = execute(joining(MNT, console_socket="/s"), terminal=True, consoleSize={"width": 70000, "height": 5})
    assert one(ops, "open_console").args == (5, 65535, 5, 0, 0)
    assert one(ops, "send_console").args == ("/s", 5)
    assert in_order(ops, "open_console", "find_program", "send_console", "execute")


def test_pidfd_is_told_to_be_of_a_further_process():
    assert some(execute(joining(pidfd_socket="/p")), "send_pidfd") == [("send_pidfd", "/p", "setns")]


def test_score_limits_and_preserved_descriptors_are_the_process_objects():
    ops = execute(joining(preserve_fds=2), oomScoreAdj=-1, rlimits=[{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}])
    assert some(ops, "score_oom", "limit_process") == [("score_oom", -1), ("limit_process", 0, 1, 2, "RLIMIT_CPU")]
    assert argument(ops, "spawn", "preserve") == argument(ops, "close_on_execute", "preserve") == 2


def test_exec_makes_nothing_of_a_container():
    kinds = set(names(execute(joining(MNT, PID, USER, console_socket="/s"), terminal=True)))
    assert not kinds & {"claim", "listen", "make_cgroup", "limit", "mount", "pivot", "record", "write_pid", "gate", "keyring", "hide", "unshare"}


def test_label_is_named_on_the_runtimes_procfs_before_the_user_is():
    ops = execute(joining(MNT, PID), apparmorProfile="p", terminal=True)
    assert one(ops, "open_procfs").args == (7,)  # 4 and 5 are namespaces, 6 is the terminal
    assert one(ops, "label").args == ("self/attr/apparmor/exec", "self/attr/exec", "exec p", 7)
    assert in_order(ops, "open_procfs", "spawn", "clone_again", "label", "become_user")
