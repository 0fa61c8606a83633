"""Limits as the kernel holds them: written, refused, updated and rolled back, on v1 and (in a machine with cgroup2 alone) on v2."""

import errno
import json
import os
import re
import select

import pytest

from pyoci.cgroup import face, layout, limits, stats, update
from pyoci.errors import ConfigError, SyscallError, UnsupportedConfig

MIB = 1 << 20


def nothing(path):
    """No journal."""


@pytest.fixture(params=[1, 2])
def version(request, needs):
    needs("cgroup1" if request.param == 1 else "cgroup2")
    return request.param


@pytest.fixture
def group(version, request):
    """A container's cgroups, made, with no limit yet."""
    directories = request.getfixturevalue(f"v{version}")
    face.make(directories, nothing)
    return directories


def apply(group, resources):
    for one in limits.writes(resources, layout.read_layout()):
        limits.write(group, one)


def held(group, file):
    """What a limit's file holds; by its v1 or v2 name."""
    controller = {"cpuset": "cpuset", "hugetlb": "hugetlb"}.get(file.partition(".")[0], file.partition(".")[0])
    return face.read_file(f"{group.get(controller) or group['']}/{file}").strip()


def one_of(version, v1_value, v2_value):
    return v1_value if version == 1 else v2_value


# --- written


def test_limits_are_what_the_kernel_holds(group, version):
    apply(
        group,
        {
            "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 16 * MIB},
            "cpu": {"shares": 2048, "quota": 20000, "period": 50000, "burst": 1000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 17},
        },
    )
    v1 = {
        "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "100663296", "memory.soft_limit_in_bytes": "16777216",
        "cpu.shares": "2048", "cpu.cfs_quota_us": "20000", "cpu.cfs_period_us": "50000", "cpu.cfs_burst_us": "1000",
        "cpuset.cpus": "0", "cpuset.mems": "0", "pids.max": "17",
    }  # fmt: skip
    v2 = {
        "memory.max": "67108864", "memory.low": "16777216",
        "cpu.weight": "174", "cpu.max": "20000 50000", "cpu.max.burst": "1000",
        "cpuset.cpus": "0", "cpuset.mems": "0", "pids.max": "17",
    }  # fmt: skip
    wanted = one_of(version, v1, v2)
    assert {file: held(group, file) for file in wanted} == wanted


@pytest.mark.needs("cgroup2")
def test_unified_values_are_what_the_kernel_holds(v2):
    face.make(v2, nothing)
    apply(v2, {"memory": {"limit": 64 * MIB}, "unified": {"memory.max": "32M", "memory.high": "16777216", "cgroup.max.depth": "3"}})
    assert [held(v2, file) for file in ("memory.max", "memory.high", "cgroup.max.depth")] == ["33554432", "16777216", "3"]


@pytest.mark.needs("cgroup1")
def test_device_list_is_what_the_kernel_holds(v1):
    face.make(v1, nothing)
    apply(v1, {"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]})
    lines = held(v1, "devices.list").splitlines()
    assert lines[0] == "c 10:229 rw"
    assert set(lines[1:]) == {
        "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
        "c 10:200 rwm",
    }  # fmt: skip


OPENER = """
import os
for path, flags in (('/dev/null', os.O_RDWR), ('/dev/zero', os.O_RDONLY), ('/dev/full', os.O_WRONLY), ('/dev/kmsg', os.O_WRONLY)):
    try:
        os.close(os.open(path, flags)); print('open', end=' ')
    except PermissionError:
        print('refused', end=' ')
"""


def test_processes_can_open_exactly_the_allowed_devices(either, gated, needs):
    needs("root", "shim")
    face.make(either, nothing)
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]
    where = layout.Layout(2, {}, {}, frozenset()) if face.is_v2(either) else layout.read_layout()
    for one in limits.writes({"devices": rules}, where):
        limits.write(either, one)
    assert gated(either, OPENER).communicate()[0] == "open open open refused "


@pytest.mark.needs("cgroup2-mount", "root", "shim")
def test_new_program_takes_the_place_of_the_old(v2, gated):
    face.make(v2, nothing)
    where = layout.Layout(2, {}, {}, frozenset())
    for rules in ([], [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"}]):
        for one in limits.writes({"devices": rules}, where):
            limits.write(v2, one)
    assert gated(v2, OPENER).communicate()[0] == "open open open open "


@pytest.mark.needs("cgroup1")
def test_realtime_share_is_lent_by_parents_that_have_none(v1):
    inner = {"cpu": v1["cpu"] + "/pod/ctr"}
    try:
        face.make(inner, nothing)
        if not os.path.exists(f"{inner['cpu']}/cpu.rt_runtime_us"):
            pytest.skip("needs realtime groups: this kernel has none")
        for one in limits.writes({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 500000}}, layout.read_layout()):
            if one.controller == "cpu":
                limits.write(inner, one)
        assert [held(inner, file) for file in ("cpu.rt_runtime_us", "cpu.rt_period_us")] == ["1000", "500000"]
    finally:
        face.remove({}, dict.fromkeys([inner["cpu"], v1["cpu"] + "/pod"]))


# --- refused by the kernel


@pytest.mark.needs("cgroup1")
def test_v1_limit_below_the_usage_names_usage_and_peak(v1, gated):
    face.make(v1, nothing)
    process = gated(v1, "x = bytearray(b'1') * (8 << 20); print('full', flush=True); sys.stdin.read()")
    process.stdout.readline()
    with pytest.raises(SyscallError) as failed:
        apply(v1, {"memory": {"limit": MIB, "swap": MIB}})
    where = re.escape(v1["memory"])
    pattern = rf"unable to set memory limit to 1048576 \(current usage: \d+, peak usage: \d+\) {where}: Device or resource busy \(EBUSY\)"
    assert re.fullmatch(pattern, str(failed.value))


def test_refused_value_is_named_with_its_file(group, version):
    file = one_of(version, "cpuset.cpus", "cpuset.cpus")
    one = limits.Write("before", "cpuset", file, ["4000-4001"], "linux.resources.cpu.cpus")
    with pytest.raises(SyscallError) as failed:
        limits.write(group, one)
    assert (failed.value.call, failed.value.on) == ("write", f'"4000-4001" to {group.get("cpuset") or group[""]}/cpuset.cpus')


def test_missing_file_is_a_wish_that_cannot_be_granted(group, version):
    one = limits.Write("after", "memory", "memory.no_such_file", ["1"], "linux.resources.memory.limit")
    with pytest.raises(UnsupportedConfig) as failed:
        limits.write(group, one)
    where = group.get("memory") or group[""]
    assert str(failed.value) == (
        f"config.json: linux.resources.memory.limit: memory.no_such_file is not among the files of {where}; this kernel does not offer it"
    )


@pytest.mark.needs("cgroup2-mount")
def test_missing_file_of_a_controller_that_is_not_enabled_says_so(v2):
    face.make(v2, nothing)
    one = limits.Write("after", "net_cls", "net_cls.classid", ["1"], "linux.resources.network.classID")
    with pytest.raises(UnsupportedConfig, match="the net_cls controller is not enabled there"):
        limits.write(v2, one)


def test_missing_optional_file_is_fine(group):
    limits.write(group, limits.Write("after", "memory", "memory.no_such_file", ["1"], "x", optional=True))


@pytest.mark.needs("cgroup1")
def test_limits_of_an_existing_cgroup_do_not_stand_in_the_way(v1):
    face.make(v1, nothing)
    apply(v1, {"memory": {"limit": 8 * MIB, "swap": 8 * MIB}, "cpu": {"quota": 5000, "period": 100000, "burst": 5000}})
    apply(v1, {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "cpu": {"quota": 2000, "period": 1000, "burst": 100}})
    files = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us")
    assert [held(v1, file) for file in files] == ["67108864", "67108864", "2000", "1000", "100"]


@pytest.mark.needs("cgroup1")
def test_partner_of_a_refused_value_keeps_its_own(v1):
    face.make(v1, nothing)
    apply(v1, {"cpu": {"quota": 5000}})
    with pytest.raises(SyscallError):
        apply(v1, {"cpu": {"period": 5}})
    assert held(v1, "cpu.cfs_quota_us") == "5000"


# --- update


def test_update_changes_what_it_names_and_keeps_the_rest(group, version):
    old = {"memory": {"limit": 64 * MIB}, "cpu": {"shares": 512, "quota": 20000, "period": 50000}, "pids": {"limit": 10}}
    apply(group, old)
    merged = update.update(group, version, old, {"cpu": {"quota": 30000}, "pids": {"limit": 20}})
    assert merged == {"memory": {"limit": 64 * MIB}, "cpu": {"shares": 512, "quota": 30000, "period": 50000}, "pids": {"limit": 20}}
    if version == 1:
        assert [held(group, file) for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us", "pids.max")] == ["30000", "50000", "20"]
    else:
        assert [held(group, file) for file in ("cpu.max", "pids.max")] == ["30000 50000", "20"]


def test_memory_grows_and_shrinks_with_its_swap(group, version):
    resources = {"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}
    apply(group, resources)
    for size in (64, 16, 128):
        resources = update.update(group, version, resources, {"memory": {"limit": size * MIB, "swap": size * MIB}})
        assert held(group, one_of(version, "memory.limit_in_bytes", "memory.max")) == str(size * MIB)
        if version == 1:
            assert held(group, "memory.memsw.limit_in_bytes") == str(size * MIB)


def test_lifting_the_memory_limit_lifts_the_swap_limit(group, version):
    old = {"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}
    apply(group, old)
    assert update.update(group, version, old, {"memory": {"limit": -1}}) == {"memory": {"limit": -1}}
    if version == 1:
        assert held(group, "memory.memsw.limit_in_bytes") == held(group, "memory.limit_in_bytes") == "9223372036854771712"
    else:
        assert held(group, "memory.max") == "max"


def test_failed_update_puts_everything_back(group, version):
    old = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "cpu": {"shares": 512, "cpus": "0"}, "pids": {"limit": 10}}
    apply(group, old)
    v1 = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpuset.cpus", "pids.max"]
    files = one_of(version, v1, ["memory.max", "cpu.weight", "cpu.max", "cpuset.cpus", "pids.max"])
    before = {file: held(group, file) for file in files}
    new = {"memory": {"limit": 128 * MIB, "swap": 256 * MIB}, "cpu": {"shares": 100, "quota": 9000, "cpus": "0"}, "pids": {"limit": 2**63}}
    with pytest.raises(SyscallError, match="pids.max"):
        update.update(group, version, old, new)
    assert {file: held(group, file) for file in files} == before


def test_refused_update_touches_nothing(group, version):
    apply(group, {"pids": {"limit": 10}})
    with pytest.raises(ConfigError, match="memory.swap"):
        update.update(group, version, {"pids": {"limit": 10}}, {"pids": {"limit": 5}, "memory": {"swap": 5}})
    assert held(group, "pids.max") == "10"


@pytest.mark.needs("cgroup1")
def test_update_of_devices_opens_and_closes_only_the_difference(v1):
    face.make(v1, nothing)
    fuse, kvm = ({"allow": True, "type": "c", "major": 10, "minor": minor, "access": "rwm"} for minor in (229, 232))
    old = {"devices": [fuse]}
    apply(v1, old)
    merged = update.update(v1, 1, old, {"devices": [kvm]})
    lines = held(v1, "devices.list").splitlines()
    assert ("c 10:229 rwm" in lines, "c 10:232 rwm" in lines, "c 1:3 rwm" in lines) == (False, True, True)
    assert merged == {"devices": [kvm]}


@pytest.mark.needs("cgroup1")
def test_failed_update_of_devices_puts_the_list_back(v1, monkeypatch):
    face.make(v1, nothing)
    old = {"devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]}
    apply(v1, old)
    before = set(held(v1, "devices.list").splitlines())
    real = update.write

    def failing(directories, one):
        if one.file == "devices.deny":
            raise SyscallError("write", errno.EIO, one.file)
        real(directories, one)

    monkeypatch.setattr(update, "write", failing)
    with pytest.raises(SyscallError):
        update.update(v1, 1, old, {"devices": [{"allow": True, "type": "c", "major": 10, "minor": 232, "access": "rwm"}]})
    assert set(held(v1, "devices.list").splitlines()) == before


@pytest.mark.needs("cgroup2")
def test_update_on_v2_never_touches_the_device_program(v2, gated):
    face.make(v2, nothing)
    apply(v2, {})
    rules = [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"}]
    assert "devices" not in update.update(v2, 2, {}, {"devices": rules, "pids": {"limit": 50}})
    assert gated(v2, OPENER).communicate()[0] == "open open open refused "


@pytest.mark.needs("cgroup2")
def test_limit_below_the_usage_is_refused_when_the_check_is_wished(v2, gated):
    face.make(v2, nothing)
    process = gated(v2, "x = bytearray(b'1') * (8 << 20); print('full', flush=True); sys.stdin.read()")
    process.stdout.readline()
    with pytest.raises(ConfigError, match=r"rejecting memory limit 1048576 <= usage \d+"):
        update.update(v2, 2, {}, {"memory": {"limit": MIB, "checkBeforeUpdate": True}})
    assert held(v2, "memory.max") == "max"


MERGES = [
    ("absent-keeps", {"cpu": {"quota": 1}}, {"cpu": {"period": 2}}, {"cpu": {"quota": 1, "period": 2}}),
    ("null-keeps", {"pids": {"limit": 1}}, {"pids": None, "cpu": {"quota": None}}, {"pids": {"limit": 1}, "cpu": {}}),
    ("unlimited-memory-drops-swap", {"memory": {"limit": 1, "swap": 2}}, {"memory": {"limit": -1}}, {"memory": {"limit": -1}}),
    ("unlimited-memory-with-swap", {"memory": {"limit": 1}}, {"memory": {"limit": -1, "swap": -1}}, {"memory": {"limit": -1, "swap": -1}}),
    ("idle-drops-shares", {"cpu": {"shares": 9}}, {"cpu": {"idle": 1}}, {"cpu": {"idle": 1}}),
    (
        "devices-are-merged-by-number",
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 1, "rate": 1}]}},
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 5}, {"major": 9, "minor": 0, "rate": 6}]}},
        {
            "blockIO": {
                "throttleReadBpsDevice": [
                    {"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 1, "rate": 5}, {"major": 9, "minor": 0, "rate": 6},
                ]
            }
        },
    ),
    ("unified-keys-are-merged", {"unified": {"a.b": "1", "c.d": "2"}}, {"unified": {"a.b": "3"}}, {"unified": {"a.b": "3", "c.d": "2"}}),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), [pytest.param(*row[1:], id=row[0]) for row in MERGES])
def test_merge(old, new, expected):
    kept = json.dumps([old, new])
    assert update.merge(old, new) == expected
    assert json.dumps([old, new]) == kept, "the inputs were changed"


@pytest.mark.parametrize(
    ("file", "text", "value", "expected"),
    [
        ("memory.max", "max\n", "4096", "max"),
        ("cpuset.cpus", "\n", "0", "\n"),
        ("io.max", "8:0 rbps=1 wbps=max riops=max wiops=max\n", "8:0 rbps=9", "8:0 rbps=1 wbps=max riops=max wiops=max"),
        ("io.max", "", "8:0 rbps=9", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.max", "8:01 rbps=1\n", "8:0 rbps=9", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.bfq.weight", "default 100\n8:0 300\n", "500", "100"),
        ("io.bfq.weight", "default 100\n8:0 300\n", "8:0 500", "8:0 300"),
        ("io.weight", "default 100\n", "8:0 500", "8:0 default"),
        ("blkio.throttle.read_bps_device", "", "8:0 5", "8:0 0"),
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n", "0", "1"),
        ("rdma.max", "", "mlx5 hca_handle=1 hca_object=max", "mlx5 hca_handle=max hca_object=max"),
    ],
)
def test_what_puts_a_file_back(file, text, value, expected):
    assert update._line_to_restore(file, text, value) == expected


# --- statistics and OOM


def test_statistics_count_what_the_container_used(group, version, gated):
    apply(group, {"memory": {"limit": 64 * MIB}, "pids": {"limit": 17}})
    process = gated(group, "x = bytearray(b'1') * (8 << 20); n = sum(range(10**6)); print('full', flush=True); sys.stdin.read()")
    process.stdout.readline()
    found = stats.stats(group, version)
    assert list(found) == ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    assert found["pids"] == {"current": 1, "limit": 17}
    assert found["memory"]["usage"]["limit"] == 64 * MIB
    assert 8 * MIB < found["memory"]["usage"]["usage"] <= found["memory"]["usage"].get("max", 64 * MIB) <= 64 * MIB
    assert found["cpu"]["usage"]["total"] > 10**6
    json.dumps(found)


def test_statistics_of_a_vanished_container_are_an_error(group, version):
    face.remove(group, dict.fromkeys(group.values()))
    with pytest.raises(SyscallError) as failed:
        stats.stats(group, version)
    assert failed.value.errno == errno.ENOENT


@pytest.mark.needs("cgroup1", "runc", "root", "busybox")
def test_statistics_have_exactly_runcs_members(tmp_path):
    """Side by side on one container of runc's."""
    bundle = tmp_path / "bundle"
    (bundle / "rootfs" / "bin").mkdir(parents=True)
    run("cp", which("busybox"), f"{bundle}/rootfs/bin/busybox")
    run("runc", "spec", cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/busybox", "sleep", "1000"], "rlimits": []}
    config["linux"]["resources"] |= {"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}}
    (bundle / "config.json").write_text(json.dumps(config))
    runc = ("runc", "--root", f"{tmp_path}/root")
    container_id = f"pyoci-test-{os.getpid()}"
    try:
        run(*runc, "run", "-d", container_id, cwd=bundle)
        theirs = json.loads(run(*runc, "events", "--stats", container_id))["data"]
        ours = json.loads(json.dumps(stats.stats(layout.directories(layout.read_layout(), "", container_id), 1)))
    finally:
        run(*runc, "delete", "--force", container_id)
    assert members(ours) == members(theirs)
    assert ours["cpuset"] == theirs["cpuset"]
    assert ours["pids"]["limit"] == theirs["pids"]["limit"]


def members(value):
    """The names in a document, in order, without its values."""
    return {name: members(inner) for name, inner in value.items()} if isinstance(value, dict) else type(value).__name__


def which(name):
    import shutil

    return shutil.which(name)


def run(*command, cwd=None):
    import subprocess

    # Not captured through pipes: runc's detached container would keep them open.
    with open(os.devnull) as nowhere:
        if command[0] == "runc" and "-d" in command:
            return subprocess.run(command, cwd=cwd, stdin=nowhere, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return subprocess.run(command, cwd=cwd, stdin=nowhere, stdout=subprocess.PIPE, check=True, text=True).stdout


HOG = "x = bytearray(b'1') * (64 << 20)"


def test_oom_kill_is_told(group, version, gated):
    apply(group, {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    with stats.open_oom(group, version) as notice:
        assert (notice.read(), notice.gone() and version == 1) == (0, False)
        process = gated(group, HOG)
        assert readable(notice)
        assert process.wait(30) == -9
        counted = notice.read()
        if version == 2 and not counted:  # woken by the process joining, or by the kill not being counted yet
            assert readable(notice)
            counted = notice.read()
        assert counted == 1
        assert notice.read() == 0


def test_vanishing_of_the_cgroup_is_told_and_is_no_oom(group, version, gated):
    with stats.open_oom(group, version) as notice:
        process = gated(group, "")
        process.wait(30)
        face.remove(group, dict.fromkeys(group.values()))
        assert readable(notice)
        assert notice.read() == 0
        assert notice.gone()


@pytest.mark.needs("cgroup2-mount")
def test_end_of_a_container_without_memory_controller_is_told_on_v2(v2, gated, needs):
    face.make(v2, nothing)
    if os.path.exists(f"{v2['']}/memory.events"):
        pytest.skip("needs a cgroup2 without memory controller: it has one")
    process = gated(v2, "sys.stdin.read()")
    with stats.open_oom(v2, 2) as notice:
        assert (notice.read(), notice.gone()) == (0, False)
        process.stdin.close()
        assert readable(notice)
        assert (notice.read(), notice.gone()) == (0, True)


@pytest.mark.needs("cgroup1")
def test_end_of_a_container_without_memory_controller_is_known_on_v1(v1):
    without = {name: path for name, path in v1.items() if name != "memory"}
    identities = face.identities(face.make(without, nothing))
    with stats.open_oom(without, 1) as notice:
        assert (notice.read(), notice.gone()) == (0, False)
        face.remove(without, identities)
        assert (notice.read(), notice.gone()) == (0, True)


def readable(notice):
    watch = select.poll()
    watch.register(notice, select.POLLIN)
    return bool(watch.poll(30000))
