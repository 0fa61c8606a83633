"""linux.resources -> the files and values of both versions, and every refusal, without a kernel."""

import pytest

from pyoci.cgroup import limits, v2
from pyoci.cgroup.layout import Layout
from pyoci.errors import ConfigError, UnsupportedConfig

V1_CONTROLLERS = "cpu cpuacct cpuset memory devices freezer pids blkio hugetlb net_cls net_prio rdma".split()
V2_CONTROLLERS = "cpu cpuset io memory pids hugetlb rdma misc".split()


def layout_of(version, without=()):
    controllers = frozenset(V1_CONTROLLERS if version == 1 else V2_CONTROLLERS) - set(without)
    return Layout(version, {}, {}, controllers)


def planned(version, resources, without=()):
    """[(file, values)] without the devices, which every container has."""
    return [(one.file, one.values) for one in limits.writes(resources, layout_of(version, without)) if one.controller != "devices"]


MIB = 1 << 20
V1 = [
    ("memory-limit", {"memory": {"limit": 64 * MIB}}, [("memory.limit_in_bytes", ["67108864"])]),
    ("memory-unlimited-lifts-swap-too", {"memory": {"limit": -1}}, [("memory.limit_in_bytes", ["-1"]), ("memory.memsw.limit_in_bytes", ["-1"])]),
    ("memory-zero-is-unset", {"memory": {"limit": 0, "swap": 0, "reservation": 0}}, []),
    ("memory-null-is-unset", {"memory": {"limit": None, "swappiness": None, "disableOOMKiller": None}, "cpu": None, "pids": None}, []),
    (
        "memory-and-swap",
        {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}},
        [("memory.limit_in_bytes", ["67108864"]), ("memory.memsw.limit_in_bytes", ["134217728"])],
    ),
    ("memory-swap-unlimited", {"memory": {"swap": -1}}, [("memory.memsw.limit_in_bytes", ["-1"])]),
    ("memory-reservation", {"memory": {"reservation": MIB}}, [("memory.soft_limit_in_bytes", ["1048576"])]),
    ("memory-swappiness", {"memory": {"swappiness": 0}}, [("memory.swappiness", ["0"])]),
    ("memory-swappiness-minus-one-is-unset", {"memory": {"swappiness": -1}}, []),
    ("memory-oom-killer", {"memory": {"disableOOMKiller": True}}, [("memory.oom_control", ["1"])]),
    ("memory-oom-killer-stays", {"memory": {"disableOOMKiller": False}}, []),
    ("memory-kernel-is-accepted", {"memory": {"kernel": 1, "kernelTCP": 1, "useHierarchy": True, "checkBeforeUpdate": True}}, []),
    ("cpu-shares", {"cpu": {"shares": 1024}}, [("cpu.shares", ["1024"])]),
    ("cpu-zero-is-unset", {"cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""}}, []),
    ("cpu-quota", {"cpu": {"quota": 50000, "period": 20000}}, [("cpu.cfs_period_us", ["20000"]), ("cpu.cfs_quota_us", ["50000"])]),
    ("cpu-quota-unlimited", {"cpu": {"quota": -1}}, [("cpu.cfs_quota_us", ["-1"])]),
    ("cpu-burst-after-quota", {"cpu": {"quota": 5000, "burst": 0}}, [("cpu.cfs_quota_us", ["5000"]), ("cpu.cfs_burst_us", ["0"])]),
    ("cpu-idle-leaves-shares", {"cpu": {"idle": 1, "shares": 512}}, [("cpu.idle", ["1"])]),
    ("cpu-not-idle", {"cpu": {"idle": 0, "shares": 512}}, [("cpu.idle", ["0"]), ("cpu.shares", ["512"])]),
    ("cpuset", {"cpu": {"cpus": "0-1", "mems": "0"}}, [("cpuset.cpus", ["0-1"]), ("cpuset.mems", ["0"])]),
    ("cpu-realtime", {"cpu": {"realtimeRuntime": 9, "realtimePeriod": 99}}, [("cpu.rt_period_us", ["99"]), ("cpu.rt_runtime_us", ["9"])]),
    ("pids", {"pids": {"limit": 7}}, [("pids.max", ["7"])]),
    ("pids-negative-is-max", {"pids": {"limit": -1}}, [("pids.max", ["max"])]),
    ("pids-zero-is-one", {"pids": {"limit": 0}}, [("pids.max", ["1"])]),
    ("pids-unset", {"pids": {}}, []),
    ("blkio-weight", {"blockIO": {"weight": 500, "leafWeight": 10}}, [("blkio.weight", ["500"]), ("blkio.leaf_weight", ["10"])]),
    (
        "blkio-devices",
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}]}},
        [("blkio.weight_device", ["8:0 500"]), ("blkio.leaf_weight_device", ["8:0 300"])],
    ),
    (
        "blkio-throttle",
        {
            "blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 16, "rate": 0}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}],
            }
        },
        [
            ("blkio.throttle.read_bps_device", ["8:0 1"]),
            ("blkio.throttle.read_bps_device", ["8:16 0"]),
            ("blkio.throttle.write_bps_device", ["8:0 2"]),
            ("blkio.throttle.read_iops_device", ["8:0 3"]),
            ("blkio.throttle.write_iops_device", ["8:0 4"]),
        ],
    ),
    (
        "hugepages",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
        [("hugetlb.2MB.limit_in_bytes", ["9"]), ("hugetlb.2MB.rsvd.limit_in_bytes", ["9"])],
    ),
    (
        "network",
        {"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]}},
        [("net_cls.classid", ["1048577"]), ("net_prio.ifpriomap", ["lo 5"])],
    ),
    ("rdma", {"rdma": {"mlx5_1": {"hcaHandles": 3}}}, [("rdma.max", ["mlx5_1 hca_handle=3 hca_object=max"])]),
]
V2 = [
    ("memory-limit", {"memory": {"limit": 64 * MIB}}, [("memory.max", ["67108864"])]),
    ("memory-unlimited-lifts-swap-too", {"memory": {"limit": -1}}, [("memory.swap.max", ["max"]), ("memory.max", ["max"])]),
    ("memory-zero-is-unset", {"memory": {"limit": 0, "swap": 0, "reservation": 0}}, []),
    (
        "swap-is-without-memory",
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
        [("memory.swap.max", ["33554432"]), ("memory.max", ["67108864"])],
    ),
    ("swap-equal-to-memory-is-none", {"memory": {"limit": MIB, "swap": MIB}}, [("memory.swap.max", ["0"]), ("memory.max", ["1048576"])]),
    ("swap-unlimited", {"memory": {"limit": MIB, "swap": -1}}, [("memory.swap.max", ["max"]), ("memory.max", ["1048576"])]),
    ("reservation", {"memory": {"reservation": MIB}}, [("memory.low", ["1048576"])]),
    ("reservation-unlimited", {"memory": {"reservation": -1}}, [("memory.low", ["max"])]),
    ("swappiness-unset", {"memory": {"swappiness": -1, "disableOOMKiller": False}}, []),
    ("cpu-shares", {"cpu": {"shares": 1024}}, [("cpu.weight", ["100"])]),
    ("cpu-quota", {"cpu": {"quota": 50000, "period": 20000}}, [("cpu.max", ["50000 20000"])]),
    ("cpu-quota-alone", {"cpu": {"quota": 50000}}, [("cpu.max", ["50000 100000"])]),
    ("cpu-period-alone", {"cpu": {"period": 20000}}, [("cpu.max", ["max 20000"])]),
    ("cpu-quota-unlimited", {"cpu": {"quota": -1}}, [("cpu.max", ["max 100000"])]),
    ("cpu-burst", {"cpu": {"quota": 5000, "burst": 1000}}, [("cpu.max", ["5000 100000"]), ("cpu.max.burst", ["1000"])]),
    ("cpu-idle-leaves-shares", {"cpu": {"idle": 1, "shares": 512}}, [("cpu.idle", ["1"])]),
    ("cpuset", {"cpu": {"cpus": "0-1", "mems": "0"}}, [("cpuset.cpus", ["0-1"]), ("cpuset.mems", ["0"])]),
    ("pids", {"pids": {"limit": 7}}, [("pids.max", ["7"])]),
    ("pids-zero-is-one", {"pids": {"limit": 0}}, [("pids.max", ["1"])]),
    ("io-weight", {"blockIO": {"weight": 500}}, [("io.bfq.weight", ["500"])]),
    ("io-weight-device", {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}}, [("io.bfq.weight", ["8:0 500"])]),
    (
        "io-throttle",
        {
            "blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 16, "rate": 0}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}],
            }
        },
        [
            ("io.max", ["8:0 rbps=1"]),
            ("io.max", ["8:16 rbps=max"]),
            ("io.max", ["8:0 wbps=2"]),
            ("io.max", ["8:0 riops=3"]),
            ("io.max", ["8:0 wiops=4"]),
        ],
    ),
    ("hugepages", {"hugepageLimits": [{"pageSize": "1GB", "limit": 9}]}, [("hugetlb.1GB.max", ["9"]), ("hugetlb.1GB.rsvd.max", ["9"])]),
    ("network-unset", {"network": {"classID": 0, "priorities": []}}, []),
    ("rdma", {"rdma": {"mlx5_1": {"hcaObjects": 3}}}, [("rdma.max", ["mlx5_1 hca_handle=max hca_object=3"])]),
    (
        "unified-last-and-line-by-line",
        {"unified": {"memory.high": "1048576", "io.max": "8:0 rbps=1\n8:16 rbps=2\n"}, "pids": {"limit": 1}},
        [("pids.max", ["1"]), ("memory.high", ["1048576"]), ("io.max", ["8:0 rbps=1", "8:16 rbps=2"])],
    ),
    ("unified-of-the-core", {"unified": {"cgroup.max.depth": "3"}}, [("cgroup.max.depth", ["3"])]),
]


@pytest.mark.parametrize(("resources", "expected"), [pytest.param(*row[1:], id=row[0]) for row in V1])
def test_v1_values(resources, expected):
    assert planned(1, resources) == expected


@pytest.mark.parametrize(("resources", "expected"), [pytest.param(*row[1:], id=row[0]) for row in V2])
def test_v2_values(resources, expected):
    assert planned(2, resources) == expected


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(2, 1), (3, 2), (10, 4), (102, 17), (256, 35), (512, 59), (1024, 100), (1025, 101), (2048, 174), (10240, 639), (102400, 4429),
     (262144, 10000), (1, 1), (300000, 10000)],
)  # fmt: skip
def test_shares_become_a_weight_on_the_quadratic_curve(shares, weight):
    assert v2.cpu_weight(shares) == weight


@pytest.mark.parametrize(("weight", "expected"), [("10", "1"), ("100", "910"), ("500", "4950"), ("1000", "10000"), ("8:0 500", "8:0 4950")])
def test_blkio_weight_becomes_an_io_weight(weight, expected):
    assert limits.io_weight(weight) == expected


REFUSALS = [
    ("swap-without-limit", (1, 2), {"memory": {"swap": MIB}}, "memory.swap: unable to set swap limit without memory limit (config-linux.md#memory)"),
    ("swap-below-limit", (1, 2), {"memory": {"limit": 2 * MIB, "swap": MIB}}, "memory.swap: memory+swap limit should be >= memory limit (config-linux.md#memory)"),
    ("limit-below-minus-one", (1, 2), {"memory": {"limit": -2}}, "memory.limit: -2 is below -1, which means unlimited"),
    ("swappiness-range", (1,), {"memory": {"swappiness": 101}}, "memory.swappiness: invalid memory swappiness value: 101 (valid range is 0-100) (config-linux.md#memory)"),
    ("swappiness-on-v2", (2,), {"memory": {"swappiness": 0}}, "memory.swappiness: cannot set memory swappiness with cgroup v2 (config-linux.md#memory)"),
    ("oom-killer-on-v2", (2,), {"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller: cannot disable the OOM killer with cgroup v2 (config-linux.md#memory)"),
    ("shares-too-small", (1,), {"cpu": {"shares": 1}}, "cpu.shares: the minimum allowed cpu-shares is 2 (config-linux.md#cpu)"),
    ("shares-too-large", (1,), {"cpu": {"shares": 262145}}, "cpu.shares: the maximum allowed cpu-shares is 262144 (config-linux.md#cpu)"),
    ("shares-negative", (1, 2), {"cpu": {"shares": -1}}, "cpu.shares: -1 is negative"),
    ("idle-range", (1, 2), {"cpu": {"idle": 2}}, "cpu.idle: 2 is not 0 or 1 (config-linux.md#cpu)"),
    ("burst-negative", (1, 2), {"cpu": {"burst": -1}}, "cpu.burst: -1 is negative (config-linux.md#cpu)"),
    ("realtime-on-v2", (2,), {"cpu": {"realtimeRuntime": 9}}, "cpu.realtimeRuntime: cgroup v2 has no realtime limits (config-linux.md#cpu)"),
    ("weight-range", (1, 2), {"blockIO": {"weight": 9}}, "blockIO.weight: 9 is not from 10 to 1000 (config-linux.md#block-io)"),
    (
        "device-weight-range",
        (1, 2),
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1001}]}},
        "blockIO.weightDevice[0].weight: 1001 is not from 10 to 1000 (config-linux.md#block-io)",
    ),
    ("leaf-weight-on-v2", (2,), {"blockIO": {"leafWeight": 10}}, "blockIO.leafWeight: cgroup v2 has no leaf weight (config-linux.md#block-io)"),
    ("page-size", (1, 2), {"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}, 'hugepageLimits[0].pageSize: "2M" is not a size like "2MB" (config-linux.md#huge-page-limits)'),
    ("page-limit-missing", (1, 2), {"hugepageLimits": [{"pageSize": "2MB"}]}, "hugepageLimits[0].limit: a limit in bytes is missing (config-linux.md#huge-page-limits)"),
    ("network-on-v2", (2,), {"network": {"classID": 1}}, "network.classID: network limits not supported on cgroup v2 (config-linux.md#network)"),
    ("rdma-empty", (1, 2), {"rdma": {"mlx5": {}}}, "rdma.mlx5: needs hcaHandles or hcaObjects (config-linux.md#rdma)"),
    ("unified-on-v1", (1,), {"unified": {"memory.high": "1"}}, "unified: cannot use unified on a cgroup v1 host (config-linux.md#unified)"),
    ("unified-slash", (2,), {"unified": {"memory/../x.y": "1"}}, 'unified.memory/../x.y: "memory/../x.y" must be a file name (no slashes) (config-linux.md#unified)'),
    ("unified-form", (2,), {"unified": {"tasks": "1"}}, 'unified.tasks: "tasks" must be in the form CONTROLLER.PARAMETER (config-linux.md#unified)'),
    ("unified-controller", (2,), {"unified": {"perf_event.x": "1"}}, 'unified.perf_event.x: controller "perf_event" not available (config-linux.md#unified)'),
    ("device-type", (1, 2), {"devices": [{"allow": True, "type": "p", "access": "r"}]}, 'devices[0].type: "p" is not "a", "b" or "c" (config-linux.md#allowed-device-list)'),
    ("device-access-empty", (1, 2), {"devices": [{"allow": True}]}, "devices[0].access: is empty: device access field cannot be empty (config-linux.md#allowed-device-list)"),
    ("device-access", (1, 2), {"devices": [{"allow": True, "access": "rx"}]}, 'devices[0].access: "rx" is not made of "r", "w" and "m" (config-linux.md#allowed-device-list)'),
    ("device-number", (1, 2), {"devices": [{"allow": True, "access": "r", "minor": -2}]}, "devices[0].minor: -2 is not a device number (config-linux.md#allowed-device-list)"),
    ("device-allow-missing", (1, 2), {"devices": [{"access": "r"}]}, "devices[0].allow: true or false is missing (config-linux.md#allowed-device-list)"),
    (
        "device-hole",
        (1,),
        {"devices": [{"allow": True, "type": "c", "major": 1, "access": "rw"}, {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"}]},
        """devices: "deny c 1:3 w" is an exception to "c 1:* rw" before it, which cgroup v1 can't hold""",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "resources", "text"),
    [pytest.param(version, row[2], row[3], id=f"{row[0]}-v{version}") for row in REFUSALS for version in row[1]],
)
def test_refusal(version, resources, text):
    with pytest.raises(ConfigError) as refused:
        planned(version, resources)
    assert str(refused.value) == f"config.json: linux.resources.{text}"


@pytest.mark.parametrize(
    ("version", "controller", "resources", "path"),
    [
        (1, "hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "hugepageLimits[0]"),
        (1, "net_cls", {"network": {"classID": 1}}, "network.classID"),
        (1, "net_prio", {"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "network.priorities[0]"),
        (1, "rdma", {"rdma": {"x": {"hcaHandles": 1}}}, "rdma.x"),
        (1, "pids", {"pids": {"limit": 1}}, "pids.limit"),
        (1, "memory", {"memory": {"limit": 1}}, "memory.limit"),
        (1, "cpuset", {"cpu": {"cpus": "0"}}, "cpu.cpus"),
        (2, "memory", {"memory": {"limit": 1}}, "memory.limit"),
        (2, "cpu", {"cpu": {"shares": 2}}, "cpu.shares"),
        (2, "io", {"blockIO": {"weight": 10}}, "blockIO.weight"),
        (2, "pids", {"pids": {"limit": 1}}, "pids.limit"),
    ],
)
def test_wish_of_a_controller_that_the_host_lacks_is_refused_by_name(version, controller, resources, path):
    with pytest.raises(UnsupportedConfig) as refused:
        planned(version, resources, without=[controller])
    assert str(refused.value) == f"config.json: linux.resources.{path}: this host has no {controller} cgroup controller"


@pytest.mark.parametrize("version", [1, 2])
def test_absent_resources_need_no_controller_but_devices(version):
    nothing = {"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "hugepageLimits": [], "network": {}, "rdma": {}, "unified": {}}
    assert planned(version, nothing, without=set(V1_CONTROLLERS + V2_CONTROLLERS) - {"devices"}) == []


@pytest.mark.parametrize("version", [1, 2])
def test_cpuset_goes_in_before_the_process_joins(version):
    found = limits.writes({"cpu": {"cpus": "0", "shares": 2}, "memory": {"limit": MIB}}, layout_of(version))
    assert {one.file: one.phase for one in found if one.phase == "before"} == {"cpuset.cpus": "before"}
    assert [one.phase for one in found] == sorted((one.phase for one in found), reverse=True)


def test_realtime_goes_in_before_the_process_joins():
    found = limits.writes({"cpu": {"realtimeRuntime": 9, "realtimePeriod": 99}}, layout_of(1))
    assert [one.file for one in found if one.phase == "before"] == ["cpu.rt_period_us", "cpu.rt_runtime_us"]


@pytest.mark.parametrize("version", [1, 2])
def test_every_write_names_the_place_that_asked_for_it(version):
    found = limits.writes({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}}, layout_of(version))
    assert [one.origin for one in found] == [*["default"] * (2 if version == 1 else 1), "linux.resources.blockIO.throttleReadBpsDevice[0]"]


def test_killer_is_switched_on_again_by_an_update():
    found = limits.writes({"memory": {"disableOOMKiller": False}}, layout_of(1), fresh=False)
    assert ("memory.oom_control", ["0"]) in [(one.file, one.values) for one in found]


def test_swap_that_can_be_ignored_is_optional_on_v2():
    kinds = {}
    for swap in (-1, MIB, 2 * MIB):
        found = limits.writes({"memory": {"limit": MIB, "swap": swap}}, layout_of(2))
        kinds[swap] = next(one.optional for one in found if one.file == "memory.swap.max")
    assert kinds == {-1: True, MIB: True, 2 * MIB: False}
