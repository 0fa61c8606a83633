"""On a kernel that lacks a call, or under a filter that hides it: a fallback, or one line that names the call and the kernel needed."""

import os
import re

import pytest
import support
from older import NUMBERS, older

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")

HINT = "pyoci needs Linux 5.12 or newer, and no filter around it that hides the call"
MISSING = "Function not implemented (ENOSYS)"
START = "start init in new namespaces"
# Of init's operations: on version 2 it is born in its cgroup.
FIRST = "lead a new session" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "config.json:1: linux.cgroupsPath: enter its cgroups"
# call -> how the line of `run` goes on before the reason, or None where it works all the same
RUN = {
    "open_tree": "config.json:1: root.path: open the rootfs {rootfs}: open_tree",
    "move_mount": "config.json:1: root.path: open the rootfs {rootfs}: move_mount",
    "fsopen": 'error mounting "proc" to rootfs at "/proc": config.json:1: mounts[0]: mount proc on /proc: fsopen',
    "fsconfig": 'error mounting "proc" to rootfs at "/proc": config.json:1: mounts[0]: mount proc on /proc: fsconfig',
    "fsmount": 'error mounting "proc" to rootfs at "/proc": config.json:1: mounts[0]: mount proc on /proc: fsmount',
    "openat2": 'error mounting "proc" to rootfs at "/proc": config.json:1: mounts[0]: mount proc on /proc: openat2',
    "mount_setattr": "make / rslave: mount_setattr",
    "clone3": f"config.json:1: linux.namespaces: {START}: mount, uts, ipc, pid, network: clone3",
    "close_range": f"config.json:1: linux.namespaces: {START}: mount, uts, ipc, pid, network: close_range",
    "execveat": f"config.json:1: linux.namespaces: {START}: mount, uts, ipc, pid, network: execveat",
    "memfd_create": "memfd_create for init: memfd_create",
    "statx": f"{FIRST}: init can't read its plan",
    "pidfd_open": None,
    "pidfd_send_signal": None,
    "memfd_create MFD_EXEC": None,
}
EXEC = {
    "clone3": f"{START}: none: clone3",
    "close_range": f"{START}: none: close_range",
    "execveat": f"{START}: none: execveat",
    "memfd_create": "memfd_create for init: memfd_create",
    "statx": "join the ipc namespace: init can't read its plan",
    **dict.fromkeys(("open_tree", "move_mount", "fsopen", "mount_setattr", "openat2", "pidfd_open", "pidfd_send_signal", "memfd_create MFD_EXEC")),
}


def anywhere(line):
    """The line without the cgroup2 that init was to be born in, which not every host has."""
    return re.sub(r", in /sys/fs/cgroup/[^:]*", "", line)


def test_every_call_is_tried():
    assert set(NUMBERS) - {"faccessat2"} <= set(RUN)


@pytest.mark.parametrize("call", [call for call, words in RUN.items() if words])
def test_run_without_a_call_says_which_and_leaves_nothing(bundle, pyoci, tmp_path, call):
    pyoci.root.mkdir()
    bundle.shell("echo ran")
    before = support.snapshot(tmp_path)
    line = pyoci.fails("run", "--bundle", bundle.path, pyoci.new_id(), preexec_fn=older(call))
    assert anywhere(line) == f"pyoci run failed: {RUN[call].format(rootfs=bundle.rootfs)}: {MISSING}; {HINT}"
    support.assert_unchanged(before)


@pytest.mark.parametrize("call", [call for call, words in RUN.items() if not words])
def test_run_does_without_a_call(bundle, pyoci, call):
    done = pyoci.run(bundle.shell("echo ran"), preexec_fn=older(call))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize("call", [call for call, words in EXEC.items() if words])
def test_exec_without_a_call_says_which_and_the_container_goes_on(bundle, pyoci, call):
    name = pyoci.start(bundle)
    before = support.snapshot()
    line = pyoci.fails("exec", name, "echo", "ran", status=255, preexec_fn=older(call))
    assert anywhere(line) == f"exec failed: {EXEC[call]}: {MISSING}; {HINT}"
    support.assert_unchanged(before)
    assert pyoci.state(name)["status"] == "running"


@pytest.mark.parametrize("call", [call for call, words in EXEC.items() if not words])
def test_exec_does_without_a_call(bundle, pyoci, call):
    name = pyoci.start(bundle)
    done = pyoci("exec", name, "echo", "ran", preexec_fn=older(call))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize("program", ["sh", "/bin/sh"])
def test_missing_faccessat2_is_not_taken_for_a_missing_program(bundle, pyoci, program):
    bundle.process["args"] = [program, "-c", "exit"]
    line = pyoci.fails("run", "--bundle", bundle.write().path, pyoci.new_id(), preexec_fn=older("faccessat2"))
    assert line == (
        f'pyoci run failed: unable to start container process: config.json:1: process.args[0]: exec: "{program}": statx or faccessat2: '
        f"function not implemented; {HINT}"
    )


@pytest.mark.parametrize("call", ["pidfd_open", "pidfd_send_signal"])
def test_kill_without_a_call_says_which(bundle, pyoci, call):
    name = pyoci.start(bundle)
    line = pyoci.fails("kill", name, "KILL", preexec_fn=older(call))
    pid = f" {pyoci.pid(name)}" if call == "pidfd_open" else ""
    assert line == f"{call}{pid}: {MISSING}; {HINT}"
    assert pyoci.state(name)["status"] == "running"


@pytest.mark.parametrize("call", ["pidfd_open", "pidfd_send_signal"])
def test_delete_that_cannot_end_the_process_says_so_at_once_and_keeps_the_container(bundle, pyoci, call):
    name = pyoci.start(bundle)
    line = pyoci.fails("delete", "--force", name, preexec_fn=older(call), timeout_s=5)
    assert line.startswith(f"could not remove {call}") and line.endswith(f"{MISSING}; {HINT}")
    assert os.path.exists(pyoci.root / name / "state.json")


@pytest.mark.parametrize("verb", ["state", "list", "ps"])
def test_looking_needs_none_of_the_newer_calls(bundle, pyoci, verb):
    name = pyoci.start(bundle)
    words = [verb] if verb == "list" else [verb, name] if verb == "state" else [verb, "--format", "json", name]
    assert pyoci.ok(*words, preexec_fn=older(*(set(NUMBERS) - {"execveat", "statx", "faccessat2"})))


def test_time_namespace_is_entered_the_older_way_too(bundle, pyoci, monkeypatch, needs):
    """Before Linux 6.3 execve did not enter it: init goes on as a child that is in it."""
    needs("timens")
    from pyoci.compile import namespaces

    monkeypatch.setattr(namespaces, "TIME_AT_EXECVE", (99, 0))
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.shell("for name in time time_for_children; do readlink /proc/self/ns/$name; done > /tmp/out")
    assert pyoci.api().run(pyoci.new_id(), str(bundle.path)) == 0
    own, children = (bundle.rootfs / "tmp/out").read_text().split()
    assert own == children != os.readlink("/proc/self/ns/time")
