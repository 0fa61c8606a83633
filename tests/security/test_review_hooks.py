"""A state that is larger than a pipe, and hooks that read none of it.  config.md#posix-platform-hooks"""

import json

import pytest
import support

pytestmark = pytest.mark.needs("root", "busybox")
KINDS = pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
LARGE = "x" * 200_000  # Kubernetes' annotations may have 256 kB; a pipe holds 64


def with_hook(bundle, kind, script):
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    return bundle.shell("echo ran")


@KINDS
def test_state_larger_than_a_pipe_reaches_the_hook_whole(pyoci, bundle, tmp_path, kind):
    bundle.config["annotations"] = {"large": LARGE}
    place = "/tmp" if kind == "startContainer" else tmp_path
    done = pyoci.run(with_hook(bundle, kind, f"cat > {place}/seen"))
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    read = bundle.rootfs / "tmp" if kind == "startContainer" else tmp_path
    state = json.loads((read / "seen").read_text())
    assert state["annotations"]["large"] == LARGE and ("pid" in state or kind == "poststop")


@KINDS
@pytest.mark.parametrize("own_pids", [True, False])
def test_hook_need_not_read_a_large_state(pyoci, bundle, kind, own_pids):
    """Without a pid namespace init is no process 1, which SIGPIPE would end."""
    bundle.config["annotations"] = {"large": LARGE}
    if not own_pids:
        bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "pid"]
        bundle.linux["maskedPaths"] = []
    done = pyoci.run(with_hook(bundle, kind, "exec <&-; exit 0"))
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_hook_that_neither_reads_nor_ends_meets_its_time_out(pyoci, bundle, kind):
    bundle.config["annotations"] = {"large": LARGE}
    with_hook(bundle, kind, "exec sleep 1000")
    bundle.config["hooks"][kind][0]["timeout"] = 1
    assert "hook ran past specified timeout of 1.0s" in pyoci.fails("run", "--bundle", bundle.write().path, pyoci.new_id())


HOOKS = {
    "all is well": ("printf '\\0hello' >&2", 0, None),
    "a number": ("printf '\\0002' >&2", 0, None),
    "it fails": ("printf '\\0hello' >&2; exit 3", 1, "exit status 3"),
    "a huge number": ("printf '\\0099999999999999999999999999' >&2; exit 127", 1, "exit status 127"),
}


@pytest.mark.parametrize(("script", "status", "why"), HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
def test_what_a_hook_writes_is_not_taken_for_a_failed_execve(bundle, pyoci, kind, script, status, why):
    """A child of init tells by a NUL and a number on its stderr that it could not become the hook."""
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    done = pyoci.run(bundle.shell("exit 0"))
    assert done.returncode == status
    if why:
        support.assert_one_line(done)
        assert why in done.stderr and "execve" not in done.stderr


@pytest.mark.parametrize("kind", ["createContainer", "startContainer", "createRuntime"])
def test_hook_that_reads_its_own_output_meets_its_time_out(bundle, pyoci, kind):
    """Between our look at the pipe and our reading of it there may be nothing left."""
    script = "cat /proc/self/fd/1 >/dev/null & while :; do echo x; done"
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], "timeout": 1}]}
    line = pyoci.fails("run", "--bundle", bundle.write().path, pyoci.new_id(), timeout_s=30)
    assert "hook ran past specified timeout of 1.0s" in line
