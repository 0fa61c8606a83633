"""containerd's CRI, as kubelet calls it, with pyoci as it is with runc; the scenarios are in engine_cri.py."""

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines", "cri")

SCENARIOS = {
    "two_containers": r"'net': True, 'ipc': True, 'uts': True, 'mnt': False, 'pid': False",
    "shared_pids": r"'sleep 1000000', 'sleep 1001', 'sleep 1002'",
    "execs": r"^\(9, 'V\\n', 'err\\n'\)$",
    "logs_and_exit": "'stdout F out'",
    "stop": r"^\('ended', 5, .*\n\('ended', 137",
    "limits": "OOMKilled",
    "secured": "Read-only file system",
    "node_namespaces": r"net:\[shared\]",
    "many": "^pods 0 containers 0$",
}  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_pod_is_as_under_runc(cri, scenario):
    cri.same(f"$CRI {scenario}", SCENARIOS[scenario])


def test_nothing_is_left_of_the_pods(cri):
    found = cri.run("find $PWD/state/io.containerd.runtime.v2.task /run/containerd/runc -mindepth 2", "pyoci").output
    assert "No such file" in found or found == ""
    assert cri.run(f"find /sys/fs/cgroup -type d -path '*{cri.place.group}/*'; ip -o link | grep -c veth", "pyoci").output == "0\n"
