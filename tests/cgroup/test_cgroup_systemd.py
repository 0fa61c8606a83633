"""The systemd driver's names and numbers, and where it finds its bus."""

import pytest
from hypothesis import given, strategies

from pyoci.cgroup import unit
from pyoci.cgroup.layout import Layout
from pyoci.cgroup.systemd import (
    Manager, annotated, base_of, bit_mask, device_properties, directories, expand, merged, properties, rounded, scope_of, taken_back, typed,
)  # fmt: skip
from pyoci.errors import ConfigError, UnsupportedConfig

V2 = Layout(2, {"": ("/sys/fs/cgroup", "/")}, {"": "/own"}, frozenset(("cpu", "memory")))
HYBRID = Layout(
    1,
    {name: (f"/sys/fs/cgroup/{name or 'unified'}", "/") for name in ("memory", "devices", "", "name=systemd", "name=other")},
    dict.fromkeys(("memory", "devices", "", "name=systemd", "name=other"), "/own"),
    frozenset(("memory", "devices")),
)
UNLIMITED = 2**64 - 1


# --- names


@pytest.mark.parametrize(
    ("path", "is_user", "slice_", "scope"),
    [
        ("", False, "system.slice", "pyoci-web.scope"),
        ("", True, "user.slice", "pyoci-web.scope"),
        ("machine.slice:libpod:1f", False, "machine.slice", "libpod-1f.scope"),
        (":docker:1f", False, "system.slice", "docker-1f.scope"),
        (":docker:1f", True, "user.slice", "docker-1f.scope"),
        ("-:a:b", False, "-.slice", "a-b.scope"),
        ("-.slice:a:b", False, "-.slice", "a-b.scope"),
        ("a.slice::b", False, "a.slice", "-b.scope"),
    ],
)
def test_cgroups_path_names_a_scope_in_a_slice(path, is_user, slice_, scope):
    assert scope_of(path, "web", is_user) == (slice_, scope)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/a/b", "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got '/a/b' instead; "
                 "without --systemd-cgroup it is a path"),
        ("a:b", "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got 'a:b' instead; "
                "without --systemd-cgroup it is a path"),
        ("a:b:c:d", "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got 'a:b:c:d' instead; "
                    "without --systemd-cgroup it is a path"),
        ("a.slice:b:", "'b-.scope' can't name a unit: letters, digits and :-_.\\@, up to 255 of them"),
        ("a.slice:b:x/y", "'b-x/y.scope' can't name a unit: letters, digits and :-_.\\@, up to 255 of them"),
        ("a.slice:b:\u00e9", "'b-\u00e9.scope' can't name a unit: letters, digits and :-_.\\@, up to 255 of them"),
        ("a.slice:b:c.slice", "'c.slice' is a slice, which holds no processes of its own"),
        ("a:b:c", "invalid slice name: 'a'"),
        (".slice:b:c", "invalid slice name: '.slice'"),
        ("a--b.slice:b:c", "invalid slice name: 'a--b.slice'"),
        ("-a.slice:b:c", "invalid slice name: '-a.slice'"),
        ("a/b.slice:b:c", "invalid slice name: 'a/b.slice'"),
        ("../a.slice:b:c", "invalid slice name: '../a.slice'"),
    ],
)  # fmt: skip
def test_cgroups_path_that_names_none_is_refused(path, problem):
    with pytest.raises(ConfigError) as refused:
        scope_of(path, "web", False)
    assert str(refused.value) == f"config.json: linux.cgroupsPath: {problem} (config-linux.md#cgroups-path)"


def test_name_that_is_too_long_for_a_unit_is_refused():
    with pytest.raises(ConfigError, match="can't name a unit"):
        scope_of("", "x" * 250, False)


@given(strategies.text(max_size=40))
def test_no_cgroups_path_leads_out_of_the_manager(path):
    try:
        slice_, scope = scope_of(path, "web", False)
    except ConfigError:
        return
    found = directories(V2, Manager("/bus", False, {}), slice_, scope)[""]
    assert found.startswith("/sys/fs/cgroup/") and ".." not in found.split("/") and found.endswith(".scope")


@pytest.mark.parametrize(
    ("slice_", "path"),
    [("a.slice", "/a.slice"), ("a-b.slice", "/a.slice/a-b.slice"), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"), ("-.slice", "")],
)
def test_slice_lies_in_the_slices_that_its_name_begins_with(slice_, path):
    assert expand(slice_) == path


def test_scope_lies_below_its_manager_in_each_hierarchy():
    user = Manager("/bus", True, {"": "/user.slice/user-1.slice/user@1.service"})
    assert directories(V2, user, "user.slice", "a-b.scope") == {
        "": "/sys/fs/cgroup/user.slice/user-1.slice/user@1.service/user.slice/a-b.scope"
    }
    host = Manager("/bus", False, {"memory": "", "devices": "/machine"})
    assert directories(HYBRID, host, "m-n.slice", "a-b.scope") == {
        "memory": "/sys/fs/cgroup/memory/m.slice/m-n.slice/a-b.scope",
        "devices": "/sys/fs/cgroup/devices/machine/m.slice/m-n.slice/a-b.scope",
        "": "/sys/fs/cgroup/unified/m.slice/m-n.slice/a-b.scope",
        "name=systemd": "/sys/fs/cgroup/name=systemd/m.slice/m-n.slice/a-b.scope",
    }


@pytest.mark.parametrize(("own", "base"), [("/init.scope", ""), ("/", ""), ("/a/init.scope", "/a"), ("/a", "/a"), ("/a/", "/a")])
def test_manager_lies_above_its_own_scope(own, base):
    assert base_of(own) == base


@pytest.mark.parametrize(
    ("name", "path"),
    [("a.scope", "a_2escope"), ("docker-1f.scope", "docker_2d1f_2escope"), ("1-a.scope", "_31_2da_2escope"), ("a_b:c@d.scope", "a_5fb_3ac_40d_2escope")],
)
def test_object_path_of_a_unit_is_escaped(name, path):
    assert unit.unit_path(name) == f"/org/freedesktop/systemd1/unit/{path}"


# --- properties


def told(resources, version=2):
    return dict(line.split("=", 1) for line in properties(resources, version))


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({"memory": {"limit": 64}}, {"MemoryMax": "uint64 64"}),
        ({"memory": {"limit": -1}}, {"MemoryMax": f"uint64 {UNLIMITED}", "MemorySwapMax": f"uint64 {UNLIMITED}"}),
        ({"memory": {"limit": 64, "swap": 100}}, {"MemoryMax": "uint64 64", "MemorySwapMax": "uint64 36"}),
        ({"memory": {"limit": 64, "swap": 64}}, {"MemoryMax": "uint64 64", "MemorySwapMax": "uint64 0"}),
        ({"memory": {"reservation": 5}}, {"MemoryLow": "uint64 5"}),
        ({"memory": {"limit": 0}}, {}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": "uint64 100"}),
        ({"cpu": {"shares": 1024, "idle": 1}}, {}),
        ({"cpu": {"quota": 50000, "period": 100000}}, {"CPUQuotaPeriodUSec": "uint64 100000", "CPUQuotaPerSecUSec": "uint64 500000"}),
        ({"cpu": {"quota": 50001, "period": 100000}}, {"CPUQuotaPeriodUSec": "uint64 100000", "CPUQuotaPerSecUSec": "uint64 510000"}),
        ({"cpu": {"quota": 50000}}, {"CPUQuotaPerSecUSec": "uint64 500000"}),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": f"uint64 {UNLIMITED}"}),
        ({"cpu": {"period": 5000}}, {"CPUQuotaPeriodUSec": "uint64 5000", "CPUQuotaPerSecUSec": f"uint64 {UNLIMITED}"}),
        ({"cpu": {"cpus": "0-2,9", "mems": "0"}}, {"AllowedCPUs": "@ay [7, 2]", "AllowedMemoryNodes": "@ay [1]"}),
        ({"pids": {"limit": 30}}, {"TasksMax": "uint64 30"}),
        ({"pids": {"limit": -1}}, {"TasksMax": f"uint64 {UNLIMITED}"}),
        ({"pids": {"limit": 0}}, {"TasksMax": "uint64 1"}),
        ({"blockIO": {"weight": 100}}, {"IOWeight": "uint64 910"}),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}, {"major": 8, "minor": 16, "rate": 0}]}},
         {"IOReadBandwidthMax": f"@a(st) [('/dev/block/8:0', 5), ('/dev/block/8:16', {UNLIMITED})]"}),
        ({"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}]}}, {"IOWriteIOPSMax": "@a(st) [('/dev/block/8:0', 5)]"}),
        ({"unified": {"memory.high": "5", "pids.max": "max"}}, {"MemoryHigh": "uint64 5", "TasksMax": f"uint64 {UNLIMITED}"}),
        ({"memory": {"limit": 64}, "unified": {"memory.max": "32"}}, {"MemoryMax": "uint64 32"}),
        ({"unified": {"cpu.max": "50000 100000"}}, {"CPUQuotaPeriodUSec": "uint64 100000", "CPUQuotaPerSecUSec": "uint64 500000"}),
        ({"unified": {"cpu.max": "max"}}, {"CPUQuotaPerSecUSec": f"uint64 {UNLIMITED}"}),
        ({"unified": {"cpu.max": "max 5000"}}, {"CPUQuotaPeriodUSec": "uint64 5000", "CPUQuotaPerSecUSec": f"uint64 {UNLIMITED}"}),
        ({"unified": {"cpu.max": "5 0"}}, {}),
        ({"unified": {"cpu.max": "5 max"}}, {}),
        ({"unified": {"cpu.max": ""}}, {}),
        ({"unified": {"cpuset.cpus": "1"}}, {"AllowedCPUs": "@ay [2]"}),
        ({"unified": {"memory.max": "64M", "hugetlb.2MB.max": "5"}}, {}),
    ],
)  # fmt: skip
def test_limit_is_a_property_on_v2(resources, wanted):
    assert told(resources) == wanted
    typed(properties(resources, 2))


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({"memory": {"limit": 64, "swap": 100, "reservation": 5}}, {"MemoryLimit": "uint64 64"}),
        ({"cpu": {"shares": 512, "cpus": "0"}}, {"CPUShares": "uint64 512"}),
        ({"pids": {"limit": 5}, "unified": {}}, {"TasksMax": "uint64 5"}),
        ({"blockIO": {"weight": 100, "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}]}}, {"BlockIOWeight": "uint64 100"}),
        ({"blockIO": {"throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]}}, {"BlockIOWriteBandwidth": "@a(st) [('/dev/block/8:0', 5)]"}),
    ],
)  # fmt: skip
def test_limit_is_a_property_on_v1(resources, wanted):
    assert told(resources, 1) == wanted
    typed(properties(resources, 1))


def rule(allow, kind="a", major=None, minor=None, access="rwm"):
    given = {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}
    return {name: value for name, value in given.items() if value is not None}


def devices(*rules):
    """{path: access} that systemd is told on v1."""
    policy, allowed = typed(device_properties({"devices": list(rules)}, {("c", 136): "pts", ("b", 8): "sd"}))
    assert policy == ("DevicePolicy", ("s", "strict"))
    assert allowed[0] == "DeviceAllow" and allowed[1][0] == "a(ss)"
    return dict(allowed[1][1])


def test_devices_of_v1_are_told_as_far_as_they_can_be():
    told = devices(rule(False), rule(True, "c", 10, 229), rule(True, "b", 8, access="r"), rule(True, "c", 77), rule(True, "c", minor=5))
    assert told["/dev/char/10:229"] == "rwm" and told["block-sd"] == "r"
    assert told["char-*"] == told["block-*"] == "m"  # the defaults
    assert (told["/dev/char/1:3"], told["char-pts"]) == ("rwm", "rwm")
    assert not [path for path in told if "77" in path]


def test_container_that_may_open_every_device_says_so():
    assert devices(rule(True)) == {"char-*": "rwm", "block-*": "rwm"}


def test_drivers_are_read_by_their_kind():
    text = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n259 blkext\n"
    assert unit._drivers(text) == {("c", 1): "mem", ("c", 136): "pts", ("b", 8): "sd", ("b", 259): "blkext"}


@pytest.mark.parametrize(
    ("cpu", "quota"),
    [
        ({"quota": 50001, "period": 100000}, 51000),
        ({"quota": 50000, "period": 100000}, 50000),
        ({"quota": 1, "period": 100000}, 1000),
        ({"quota": 1500}, 2000),
        ({"quota": 7000, "period": 33333}, 7333),
        ({"quota": -1, "period": 100000}, -1),
    ],
)
def test_quota_is_rounded_as_systemd_will(cpu, quota):
    assert rounded({"cpu": cpu, "pids": {}})["cpu"] == {**cpu, "quota": quota}


def test_resources_without_a_quota_are_as_they_were():
    assert rounded({"cpu": {"shares": 5}}) == {"cpu": {"shares": 5}}
    assert rounded({}) == {}


@pytest.mark.parametrize("text", ["", "x", "3-1", "0-", "-1", "99999", "0-3:1/2", "0,,1"])
def test_cpu_list_that_is_not_simple_is_left_to_its_file(text):
    assert bit_mask(text) == ""


@given(strategies.sets(strategies.integers(0, 300), min_size=1))
def test_each_processor_is_a_bit(cpus):
    ((_, (signature, found)),) = typed([f"AllowedCPUs={bit_mask(','.join(map(str, cpus)))}"])
    assert signature == "ay" and {8 * byte + bit for byte, bits in enumerate(found) for bit in range(8) if bits >> bit & 1} == cpus


# --- annotations


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("TimeoutStopUSec", "uint64 5000000", "TimeoutStopUSec=uint64 5000000"),
        ("TimeoutStopSec", "5", "TimeoutStopUSec=uint64 5000000"),
        ("TimeoutStopSec", "double 1.5", "TimeoutStopUSec=uint64 1500000"),
        ("After", "['a.service']", "After=['a.service']"),
        ("CollectMode", "'inactive'", "CollectMode='inactive'"),
    ],
)
def test_annotation_names_a_property(name, text, line):
    assert annotated({f"org.systemd.property.{name}": text, "org.example": "x"}) == [line]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("X", "5", "'X' is no name of a property; letters only, three at least"),
        ("Memory.Max", "5", "'Memory.Max' is no name of a property; letters only, three at least"),
        ("", "5", "'' is no name of a property; letters only, three at least"),
        ("Slice", "'a.slice'", "Slice is the runtime's own to set"),
        ("Description", "'x'", "Description is the runtime's own to set"),
        ("MemoryMax", "lots", "'lots' is no value: 'lots' is no value; as in uint64 5, 'text', true, @as []"),
        ("TimeoutStopSec", "'5'", "a time in seconds is a number"),
        ("TimeoutStopSec", "-5", "-5 is not a time in seconds"),
        ("TimeoutStopSec", "double inf", "inf is not a time in seconds"),
        ("TimeoutStopSec", "double nan", "nan is not a time in seconds"),
    ],
)
def test_annotation_that_names_none_is_refused(name, text, problem):
    with pytest.raises(ConfigError) as refused:
        annotated({f"org.systemd.property.{name}": text})
    assert str(refused.value) == f'config.json: annotations["org.systemd.property.{name}"]: {problem}'


@given(strategies.text(max_size=12), strategies.text(max_size=20))
def test_annotations_are_refused_or_typed(name, text):
    try:
        lines = annotated({f"org.systemd.property.{name}": text})
    except ConfigError as refused:
        assert "\n" not in str(refused)
        return
    typed(lines)


def test_annotation_wins_over_the_limit_of_the_same_name():
    assert merged(["CPUWeight=uint64 5", "TasksMax=uint64 1"], ["CPUWeight=uint64 7"]) == ["CPUWeight=uint64 7", "TasksMax=uint64 1"]


def test_update_is_taken_back_to_what_was_or_to_nothing():
    new = ["MemoryMax=uint64 5", "TasksMax=uint64 5", "MemoryLow=uint64 5", "AllowedCPUs=@ay [1]", "IOReadBandwidthMax=@a(st) [('/dev/block/8:0', 5)]"]
    assert taken_back(new, ["MemoryMax=uint64 9"]) == [
        "MemoryMax=uint64 9", f"TasksMax=uint64 {UNLIMITED}", "MemoryLow=uint64 0", "AllowedCPUs=@ay []"
    ]  # fmt: skip


# --- the bus


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("unix:path=/run/user/1000/bus", "/run/user/1000/bus"),
        ("unix:path=/run/bus,guid=00", "/run/bus"),
        ("unix:guid=00,path=/a%20b%2fc", "/a b/c"),
        ("tcp:host=x;unix:path=/b", "/b"),
    ],
)
def test_address_of_a_bus_has_a_path(address, path):
    assert unit.socket_of(address) == path


@pytest.mark.parametrize("address", ["", "unix:abstract=/tmp/x", "tcp:host=x", "nonsense", "unix:path=", "unix:path=/a%zz"])
def test_address_without_a_path_is_refused(address):
    with pytest.raises(UnsupportedConfig, match="bus"):
        unit.socket_of(address)
