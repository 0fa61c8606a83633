"""A state that is larger than a pipe, and hooks that read none of it.  config.md#posix-platform-hooks"""

import json

import pytest

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
