"""Two of ours at once: what the slower one must not spoil."""

import ctypes
import json
import os
import pathlib
import signal
import subprocess

import pytest
import support

from pyoci.errors import WrongStatus
from pyoci.runtime import exec as exec_verb

pytestmark = pytest.mark.needs("root", "busybox")
# -D: strace is nobody's parent here, and ends when the container does.
LATE_SECOND_MESSAGE = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", "inject=sendmsg:delay_enter=300000:when=2")


@pytest.fixture
def other_network():
    """The path of a network namespace that is neither ours nor the container's."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec sleep 1000"], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"made\n"
    yield f"/proc/{holder.pid}/ns/net"
    holder.kill()
    holder.wait()
    holder.stdout.close()


@pytest.mark.needs("strace", "userns", "netns")
def test_init_that_goes_on_as_another_process_is_placed_in_its_cgroups(pyoci, open_path, other_network):
    """The first process of init tells of the second one late: by then the second must not have asked for anything."""
    bundle = support.Bundle(open_path / "bundle")
    bundle.add_user_namespace()
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "sysfs"]
    for namespace in bundle.linux["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = other_network
    bundle.write()
    container_id = pyoci.new_id()
    done = subprocess.run([*LATE_SECOND_MESSAGE, *pyoci.command("create", "--bundle", bundle.path, container_id)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0
    record = json.loads((pyoci.root / container_id / "state.json").read_text())
    for directory in record["cgroups"].values():
        assert str(record["pid"]) in pathlib.Path(directory, "cgroup.procs").read_text().split()


@pytest.mark.needs("strace")
def test_mount_point_that_another_makes_at_the_same_moment_is_taken(pyoci, bundle, tmp_path):
    """Two containers that start with one volume, both with a mount in it: here the kernel says to init's first try that the other was first."""
    (tmp_path / "volume").mkdir()
    bundle.mount("/volume", "bind", tmp_path / "volume", "bind")
    bundle.mount("/volume/inner")
    bundle.shell("echo >/volume/inner/file")
    injected = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=mkdirat", "-e", "inject=mkdirat:error=EEXIST:when=1")
    done = subprocess.run([*injected, *pyoci.command("run", "--bundle", bundle.path, pyoci.new_id())], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(tmp_path / "volume") == ["inner"]


@pytest.fixture
def successor():
    """successor(pid): a process of the host's that gets that number, once it is free."""
    started = []

    def begin(pid):
        wanted = (ctypes.c_int * 1)(pid)
        # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
        arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
        found = ctypes.CDLL(None, use_errno=True).syscall(435, arguments, ctypes.sizeof(arguments))
        if not found:
            os.execv("/bin/sleep", ["sleep", "1000"])
        assert found == pid, os.strerror(ctypes.get_errno())
        started.append(pid)

    yield begin
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.needs("init", "shim")
@pytest.mark.parametrize("early", [False, True], ids=["before they are opened", "before they are read"])
def test_exec_never_runs_in_the_namespaces_of_who_has_the_containers_pid_by_now(bundle, pyoci, tmp_path, monkeypatch, successor, early):
    """The container ends, and a process of the host's gets its number, between two looks at it: the exec would run on the host."""
    name = pyoci.start(bundle)
    pid = pyoci.pid(name)
    at = (exec_verb, "_namespaces") if early else (exec_verb, "compile_exec")
    real = getattr(*at)

    def exchanged(*arguments):
        found = None if early else real(*arguments)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        successor(pid)
        return real(*arguments) if early else found

    monkeypatch.setattr(*at, exchanged)
    mark = tmp_path / "mark"
    process = {"args": ["touch", str(mark)], "cwd": "/", "env": ["PATH=/usr/bin:/bin"], "user": {"uid": 0, "gid": 0}}
    with pytest.raises(WrongStatus, match="^cannot exec in a stopped container$"):
        pyoci.api().exec(name, process)
    assert not mark.exists()
