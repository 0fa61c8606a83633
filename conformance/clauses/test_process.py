"""config.md#process: the program, its user, its limits and its rights."""
import array
import os
import resource
import socket
from pathlib import Path

import pytest
from container import Refused

clause = pytest.mark.clause

CHOWN, KILL, NET_BIND_SERVICE, SYS_CHROOT = 0, 5, 10, 18
SETS = ("effective", "permitted", "inheritable", "bounding", "ambient")


# --- the program ----------------------------------------------------------------------------------------------------

@clause("config.md#process", "cwd is the working directory that will be set for the executable")
def test_program_runs_in_cwd(container):
    (container.rootfs / "work").mkdir()
    container.process["cwd"] = "/work"
    assert container.report()["cwd"] == "/work"


@clause("config.md#process", "cwd MUST be an absolute path")
def test_relative_cwd_is_refused(container):
    container.process["cwd"] = "work"
    container.refused()


@clause("config.md#process", "env with the same semantics as environ")
def test_program_gets_exactly_the_configured_environment(container):
    container.process["env"] = ["PATH=/", "ONE=1", "EMPTY=", "EQUALS=a=b", "HOME=/somewhere"]
    assert container.report()["env"] == ["PATH=/", "ONE=1", "EMPTY=", "EQUALS=a=b", "HOME=/somewhere"]


@clause("config.md#process", "the first of args is used with the same semantics as execvp's file")
def test_program_without_a_slash_is_found_on_the_containers_path(container):
    (container.rootfs / "tools").mkdir()
    os.link(container.probe, container.rootfs / "tools" / "tool")
    container.process.update(env=["PATH=/nowhere:/tools"], args=["tool", "report"])
    assert container.report()["args"] == ["tool", "report"]


@clause("config.md#process", "at least one entry of args is REQUIRED")
def test_empty_args_are_refused(container):
    container.process["args"] = []
    with pytest.raises(Refused):
        container.create()
        container.start()


@clause("runtime-linux.md#file-descriptors", "By default, only stdin, stdout and stderr are kept open for the application")
def test_program_gets_three_descriptors_and_no_more(container):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        output = container.create(pass_fds=(reader,)).start().output()
    finally:
        os.close(reader)
        os.close(writer)
    assert '"fds":[0,1,2]' in output


@clause("config.md#process", "Runtimes MUST ignore consoleSize if terminal is false or unset")
def test_console_size_without_a_terminal_is_ignored(container):
    container.process["consoleSize"] = {"height": 24, "width": 80}
    assert container.report()["terminal"] == 0


@clause("config.md#process", "terminal specifies whether a terminal is attached to the process")
def test_terminal_is_sent_to_the_console_socket_and_is_the_programs(container, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        container.process["terminal"] = True
        container.run_probe("hook", "/seen")
        container.create("--console-socket", str(tmp_path / "console"))
        master = received_descriptor(listener)
    os.write(master, b"\x04")  # end of file for the probe's reading of its standard input
    container.start().wait()
    os.close(master)
    assert '"terminal":1' in (container.rootfs / "seen").read_text()


def received_descriptor(listener):
    connection, _ = listener.accept()
    with connection:
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    numbers = array.array("i")
    numbers.frombytes(ancillary[0][2])
    return numbers[0]


# --- the user -------------------------------------------------------------------------------------------------------

@clause("config.md#posix-platform-user", "uid specifies the user ID in the container namespace")
def test_program_runs_as_the_configured_user(container):
    container.process["user"] = {"uid": 1000, "gid": 2000}
    assert container.report()["uid"] == 1000


@clause("config.md#posix-platform-user", "gid specifies the group ID in the container namespace")
def test_program_runs_as_the_configured_group(container):
    container.process["user"] = {"uid": 1000, "gid": 2000}
    assert container.report()["gid"] == 2000


@clause("config.md#posix-platform-user", "additionalGids specifies additional group IDs to be added to the process")
def test_program_has_the_additional_groups_and_no_others(container):
    container.process["user"] = {"uid": 1000, "gid": 2000, "additionalGids": [5, 3000]}
    assert sorted(set(container.report()["groups"]) - {2000}) == [5, 3000]


@clause("config.md#posix-platform-user", "umask specifies the umask of the user")
def test_program_has_the_configured_umask(container):
    container.process["user"] = {"uid": 0, "gid": 0, "umask": 0o027}
    assert container.report()["umask"] == 0o027


# --- rlimits --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK",
                                  "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO",
                                  "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"])
@clause("config.md#posix-process", "rlim.rlim_cur and rlim.rlim_max MUST match the configured values")
def test_program_has_the_configured_limits(container, kind):
    ceiling = resource.getrlimit({"RLIMIT_LOCKS": 10}.get(kind, getattr(resource, kind, 0)))[1]
    ceiling = (1 << 62) if ceiling == resource.RLIM_INFINITY else ceiling
    hard = min(3_000_000_000 if kind in ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK") else 3000, ceiling)
    soft = max(hard - 1, 0)
    container.process["rlimits"] = [{"type": kind, "soft": soft, "hard": hard}]
    assert container.report()["rlimits"][kind] == [soft, hard]


@clause("config.md#posix-process", "The runtime MUST generate an error for any values which cannot be mapped to a relevant kernel interface")
def test_unknown_rlimit_is_refused(container):
    container.process["rlimits"] = [{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]
    container.refused()


@clause("config.md#posix-process", "If rlimits contains duplicated entries with same type, the runtime MUST generate an error")
def test_duplicate_rlimits_are_refused(container):
    container.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2
    container.refused()


@clause("config.md#posix-process", "Only a privileged process can raise a hard limit; a property that cannot be applied is an error")
def test_soft_limit_above_the_hard_limit_is_refused(container):
    container.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]
    container.refused()


# --- rights ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("which", SETS)
@clause("config.md#linux-process", "capabilities specifies the sets of capabilities for the process")
def test_capability_set_is_exactly_the_configured_one(container, which):
    container.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_KILL"],
    }
    container.process["user"] = {"uid": 1000, "gid": 1000}  # root would regain its effective set in execve
    expected = {
        "bounding": bits(CHOWN, KILL, NET_BIND_SERVICE, SYS_CHROOT),
        "inheritable": bits(KILL, NET_BIND_SERVICE),
        "ambient": bits(KILL),
        # execve of a file without capabilities by another user than root keeps the ambient set alone: capabilities(7)
        "permitted": bits(KILL),
        "effective": bits(KILL),
    }
    assert container.report()["capabilities"][which] == expected[which]


def bits(*numbers):
    return sum(1 << each for each in numbers)


@clause("config.md#linux-process", "capabilities: sets that are absent are empty")
def test_program_of_root_without_capabilities_has_none(container):
    container.process["capabilities"] = {}
    assert set(container.report()["capabilities"].values()) == {0}


@clause("config.md#linux-process", "Any value which cannot be mapped to a relevant kernel interface MUST be logged as a warning")
def test_unknown_capability_is_no_error(container):
    container.process["capabilities"] = {"bounding": ["CAP_KILL", "CAP_NO_SUCH"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}
    assert container.report()["capabilities"]["bounding"] == bits(KILL)


@clause("config.md#linux-process", "Runtimes SHOULD NOT fail if the configuration requests capabilities that cannot be granted")
def test_capability_that_the_runtime_itself_lacks_is_no_error(container):
    names = [f"CAP_{name}" for name in ("KILL", "SYS_RESOURCE", "SYS_BOOT")]
    container.process["capabilities"] = {"bounding": names, "permitted": names, "effective": names, "inheritable": names, "ambient": names}
    held = int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
    assert container.report()["capabilities"]["effective"] == bits(5, 22, 24) & held


@pytest.mark.parametrize("wanted", [True, False])
@clause("config.md#linux-process", "noNewPrivileges prevents the process from gaining additional privileges")
def test_no_new_privileges_is_as_configured(container, wanted):
    container.process["noNewPrivileges"] = wanted
    assert container.report()["no_new_privs"] == wanted


@clause("config.md#linux-process", "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value")
def test_oom_score_adj_is_set(container):
    container.process["oomScoreAdj"] = 500
    assert container.report()["oom_score_adj"] == "500\n"


@clause("config.md#linux-process", "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj")
def test_oom_score_adj_is_inherited_when_it_is_not_set(container):
    score = Path("/proc/self/oom_score_adj")
    before = score.read_text()
    score.write_text("321")
    try:
        assert container.report()["oom_score_adj"] == "321\n"
    finally:
        score.write_text(before)
