"""Two of ours at once: what the slower one must not spoil."""

import json
import pathlib
import subprocess

import pytest
import support

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
