"""config-linux.md#control-groups: where the container's cgroup is, and what is written there."""
import os
from pathlib import Path

import pytest

clause = pytest.mark.clause

MIB = 1 << 20


@pytest.fixture
def confined(container, cgroups):
    """A container with a cgroup named after it at the top of every hierarchy."""
    container.linux["cgroupsPath"] = f"/{container.id}"
    container.linux["resources"] = {}
    container.cgroups = cgroups
    return container


def setting(container, controller, name):
    return (container.cgroups.hierarchy(controller) / container.id / name).read_text().strip()


# resources; the v1 controller, its file, what is read there; the v2 file, what is read there (None: v2 has none)
LIMITS = {
    "memory limit": ({"memory": {"limit": 64 * MIB}}, "memory", "memory.limit_in_bytes", str(64 * MIB), "memory.max", str(64 * MIB)),
    "memory reservation": ({"memory": {"reservation": 32 * MIB}}, "memory", "memory.soft_limit_in_bytes", str(32 * MIB), "memory.low", str(32 * MIB)),
    "memory and swap": ({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}, "memory", "memory.memsw.limit_in_bytes", str(96 * MIB),
                        "memory.swap.max", str(32 * MIB)),
    "swappiness": ({"memory": {"swappiness": 10}}, "memory", "memory.swappiness", "10", None, None),
    "cpu shares": ({"cpu": {"shares": 2048}}, "cpu", "cpu.shares", "2048", None, None),
    "cpu period": ({"cpu": {"quota": 50000, "period": 500000}}, "cpu", "cpu.cfs_period_us", "500000", "cpu.max", "50000 500000"),
    "cpu quota": ({"cpu": {"quota": 200000, "period": 100000}}, "cpu", "cpu.cfs_quota_us", "200000", "cpu.max", "200000 100000"),
    "cpus": ({"cpu": {"cpus": "0"}}, "cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
    "mems": ({"cpu": {"mems": "0"}}, "cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
    "pids": ({"pids": {"limit": 1000}}, "pids", "pids.max", "1000", "pids.max", "1000"),
    "pids without limit": ({"pids": {"limit": -1}}, "pids", "pids.max", "max", "pids.max", "max"),
}


@pytest.mark.parametrize(("resources", "controller", "name", "value", "name2", "value2"), LIMITS.values(),
                         ids=[each.replace(" ", "-") for each in LIMITS])
@clause("config-linux.md#memory, #cpu, #pids", "resources: all of the properties configured MUST be applied")
def test_limit_is_written_to_the_cgroup(confined, resources, controller, name, value, name2, value2):
    if confined.cgroups.unified:
        if name2 is None:
            pytest.skip(f"cgroup2 has no {name}")
        name, value = name2, value2
    confined.linux["resources"] = resources
    confined.create()
    assert setting(confined, controller, name) == value


@clause("config-linux.md#memory", "disableOOMKiller controls whether the OOM killer is disabled")
def test_oom_killer_is_disabled(confined):
    if confined.cgroups.unified:
        pytest.skip("cgroup2 can't disable the OOM killer")
    confined.linux["resources"] = {"memory": {"disableOOMKiller": True}}
    confined.create()
    assert "oom_kill_disable 1" in setting(confined, "memory", "memory.oom_control")


@clause("config-linux.md#block-io", "throttleReadBpsDevice, throttleWriteBpsDevice, throttleReadIOPSDevice, throttleWriteIOPSDevice")
@pytest.mark.parametrize(("key", "name", "word"), [("throttleReadBpsDevice", "read_bps", "rbps"), ("throttleWriteBpsDevice", "write_bps", "wbps"),
                                                  ("throttleReadIOPSDevice", "read_iops", "riops"), ("throttleWriteIOPSDevice", "write_iops", "wiops")])
def test_throttle_is_written_to_the_cgroup(confined, key, name, word):
    major, minor = a_disk()
    confined.linux["resources"] = {"blockIO": {key: [{"major": major, "minor": minor, "rate": 102400}]}}
    confined.create()
    if confined.cgroups.unified:
        assert f"{word}=102400" in setting(confined, "io", "io.max")
    else:
        assert setting(confined, "blkio", f"blkio.throttle.{name}_device") == f"{major}:{minor} 102400"


def a_disk():
    """The numbers of a whole block device."""
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram", "nbd")):
            major, _, minor = Path(f"/sys/block/{name}/dev").read_text().strip().partition(":")
            return int(major), int(minor)
    pytest.skip("no disk")


@clause("config-linux.md#unified", "unified: parameters of cgroup v2 as files and values")
def test_unified_value_is_written_to_the_cgroup(confined):
    if not confined.cgroups.unified:
        pytest.skip("needs cgroup2 alone")
    confined.linux["resources"] = {"unified": {"pids.max": "77"}}
    confined.create()
    assert setting(confined, "pids", "pids.max") == "77"


@clause("config-linux.md#unified", "MUST generate an error when the configuration refers to a controller that is not present")
def test_unified_value_of_a_missing_controller_is_refused(confined):
    confined.linux["resources"] = {"unified": {"nonsense.max": "1"}}
    confined.refused()


@clause("config-linux.md#huge-page-limits", "pageSize: a page size that the kernel doesn't have cannot be applied")
def test_limit_of_a_page_size_that_does_not_exist_is_refused(confined):
    confined.linux["resources"] = {"hugepageLimits": [{"pageSize": "3MB", "limit": 3 * MIB}]}
    confined.refused()
    assert confined.cgroups.folders(confined.id) == []


@clause("runtime.md#create", "If the runtime cannot apply a property it MUST generate an error")
def test_limit_that_the_kernel_refuses_is_refused_and_leaves_no_cgroup(confined):
    confined.linux["resources"] = {"cpu": {"cpus": "4000"}}
    confined.refused()
    assert confined.cgroups.folders(confined.id) == []


# --- the place ------------------------------------------------------------------------------------------------------

@clause("config-linux.md#cgroups-path", "an absolute path: MUST take the path to be relative to the cgroups mount point")
def test_absolute_path_is_below_the_mount_point(confined):
    pid = confined.create().state()["pid"]
    for folder in confined.cgroups.folders(confined.id):
        assert str(pid) in (folder / "cgroup.procs").read_text().split()
    assert confined.cgroups.hierarchy("memory") / confined.id in confined.cgroups.folders(confined.id)


@clause("config-linux.md#cgroups-path", "MUST consistently attach to the same place in the hierarchy given the same value")
def test_same_relative_path_is_the_same_place_each_time(new_container, cgroups):
    places, both = [], (new_container(), new_container())
    for container in both:
        container.linux["cgroupsPath"] = f"{both[0].id}-place/inner"
        container.run_probe("exit", "0")
        places.append(Path(f"/proc/{container.create().state()['pid']}/cgroup").read_text())
        container.start().wait().delete()
    assert places[0] == places[1]


@clause("config-linux.md#cgroups-path", "The cgroups will be created if they don't exist")
def test_parents_of_the_cgroup_are_made(container, cgroups):
    container.linux["cgroupsPath"] = f"/{container.id}/one/two"
    pid = container.create().state()["pid"]
    assert str(pid) in (cgroups.hierarchy("pids") / container.id / "one" / "two" / "cgroup.procs").read_text().split()


@clause("config-linux.md#namespaces", "cgroup: the container will have an isolated view of the cgroup hierarchy")
def test_own_cgroup_is_the_root_in_a_cgroup_namespace(confined):
    confined.add_namespace("cgroup")
    places = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in confined.report()["cgroup"].splitlines()}
    assert places["" if confined.cgroups.unified else "memory"] == "/"


# --- devices --------------------------------------------------------------------------------------------------------

@clause("config-linux.md#allowed-device-list", "The runtime MUST apply entries in the listed order")
def test_allowed_devices_are_listed_in_order(confined):
    if confined.cgroups.unified:
        pytest.skip("cgroup2 shows no device list")
    confined.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"},
                                               {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
                                               {"allow": True, "type": "b", "major": 8, "minor": 20, "access": "rw"},
                                               {"allow": True, "type": "b", "major": 10, "minor": 200, "access": "r"}]}
    confined.create()
    assert setting(confined, "devices", "devices.list").splitlines()[:3] == ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r"]


DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_MEM = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}


@pytest.mark.parametrize(("rules", "readable"), [([DENY_ALL], 0), ([DENY_ALL, ALLOW_MEM], 1), ([DENY_ALL, ALLOW_MEM, DENY_ALL], 0)],
                         ids=["denied", "allowed", "denied again"])
@clause("config-linux.md#allowed-device-list", "The runtime MUST apply entries in the listed order")
def test_last_rule_that_matches_a_device_counts(confined, rules, readable):
    """/dev/kmsg (1:11): opened for writing, it needs no capability."""
    confined.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    confined.linux["resources"] = {"devices": rules}
    assert confined.report("/dev/kmsg")["paths"]["/dev/kmsg"]["writable"] == readable


@clause("config-linux.md#allowed-device-list", "access: r, w and m by themselves")
def test_device_may_be_allowed_for_reading_only(confined):
    confined.linux["devices"] = [{"path": "/dev/extra", "type": "c", "major": 1, "minor": 11}]
    confined.linux["resources"] = {"devices": [DENY_ALL, ALLOW_MEM | {"access": "r"}]}
    assert confined.report("/dev/extra")["paths"]["/dev/extra"]["writable"] == 0
