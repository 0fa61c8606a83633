"""The layout of several kinds of hosts, from what /proc shows there, and the directories that follow from it."""

import pytest

from pyoci.cgroup import layout
from pyoci.errors import ConfigError, UnsupportedConfig

HYBRID_OWN = """\
12:pids:/user.slice/user-0.slice
11:net_cls,net_prio:/
10:cpu,cpuacct:/user.slice
9:devices:/user.slice
2:freezer:/
1:name=systemd:/user.slice/user-0.slice/session-1.scope
0::/user.slice/user-0.slice/session-1.scope
"""
HYBRID_MOUNTS = """\
24 1 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
31 24 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:29 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd
36 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
37 31 0:33 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid shared:16 - cgroup cgroup rw,net_cls,net_prio
38 31 0:34 / /sys/fs/cgroup/devices rw,nosuid shared:17 - cgroup cgroup rw,devices
39 31 0:35 / /sys/fs/cgroup/freezer rw,nosuid shared:18 - cgroup cgroup rw,freezer
40 31 0:36 / /sys/fs/cgroup/pids rw,nosuid shared:19 - cgroup cgroup rw,pids
"""
# A container without a cgroup namespace: the host's paths in /proc, a part of each hierarchy mounted.
NESTED_OWN = "3:devices:/docker/abc\n2:memory:/docker/abc\n1:pids:/docker/abc/child\n"
NESTED_MOUNTS = """\
601 590 0:34 /docker/abc /sys/fs/cgroup/devices ro,nosuid master:17 - cgroup cgroup rw,devices
602 590 0:35 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:18 - cgroup cgroup rw,memory
603 590 0:36 /docker/abc /sys/fs/cgroup/pids ro,nosuid master:19 - cgroup cgroup rw,pids
"""


def v1_layout(own, mounts):
    rows = layout.parse_own(own)
    return layout.layout_v1(rows, layout.parse_mounts(mounts, rows))


def v2_layout(own):
    return layout.layout_v2(layout.parse_own(own), "cpuset cpu io memory pids\n")


def test_co_mounted_controllers_share_one_directory():
    found = layout.directories(v1_layout(HYBRID_OWN, HYBRID_MOUNTS), "/pod/one", "id")
    assert found["cpu"] == found["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct/pod/one"


def test_hybrid_host_joins_the_systemd_and_the_unified_hierarchy_too():
    found = layout.directories(v1_layout(HYBRID_OWN, HYBRID_MOUNTS), "/pod/one", "id")
    assert (found["name=systemd"], found[""]) == ("/sys/fs/cgroup/systemd/pod/one", "/sys/fs/cgroup/unified/pod/one")


def test_hybrid_host_has_only_v1_controllers_to_limit_with():
    found = v1_layout(HYBRID_OWN, HYBRID_MOUNTS)
    assert (found.version, found.controllers) == (1, {"pids", "net_cls", "net_prio", "cpu", "cpuacct", "devices", "freezer"})


def test_hierarchy_that_is_not_mounted_is_left_out():
    mounts = "".join(line for line in HYBRID_MOUNTS.splitlines(True) if "freezer" not in line)
    found = v1_layout(HYBRID_OWN, mounts)
    assert "freezer" not in found.controllers | set(layout.directories(found, "/a", "id"))


def test_another_named_hierarchy_is_not_joined():
    found = v1_layout("2:devices:/\n1:name=elogind:/\n", HYBRID_MOUNTS.replace("systemd", "elogind"))
    assert set(layout.directories(found, "/a", "id")) == {"devices"}


def test_host_without_devices_controller_is_refused():
    with pytest.raises(UnsupportedConfig, match="no devices cgroup controller"):
        layout.directories(v1_layout("1:pids:/\n", HYBRID_MOUNTS), "/a", "id")


def test_first_mount_below_sys_fs_cgroup_wins_over_others():
    mounts = (
        "1 0 0:9 / /run/other/devices rw - cgroup cgroup rw,devices\n"
        "2 0 0:9 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
        "3 0 0:9 / /sys/fs/cgroup/later rw - cgroup cgroup rw,devices\n"
    )
    assert layout.parse_mounts(mounts, [(("devices",), "/")]) == {"devices": ("/sys/fs/cgroup/devices", "/")}


def test_blanks_in_mount_points_are_understood():
    mounts = "1 0 0:9 /a\\040b /sys/fs/cgroup/x\\134y rw - cgroup cgroup rw,devices\n"
    assert layout.parse_mounts(mounts, [(("devices",), "/")]) == {"devices": ("/sys/fs/cgroup/x\\y", "/a b")}


def test_cgroup_path_may_hold_colons():
    assert layout.parse_own("0::/a:b:c\n") == [(("",), "/a:b:c")]


@pytest.mark.parametrize(
    ("own", "mounts", "path", "expected"),
    [
        pytest.param(HYBRID_OWN, HYBRID_MOUNTS, "", "/sys/fs/cgroup/pids/user.slice/user-0.slice/id", id="empty-is-own-and-id"),
        pytest.param(HYBRID_OWN, HYBRID_MOUNTS, "a/b", "/sys/fs/cgroup/pids/user.slice/user-0.slice/a/b", id="relative-is-below-own"),
        pytest.param(HYBRID_OWN, HYBRID_MOUNTS, "/a/b", "/sys/fs/cgroup/pids/a/b", id="absolute-is-from-the-mount"),
        pytest.param(HYBRID_OWN, HYBRID_MOUNTS, "../../x", "/sys/fs/cgroup/pids/user.slice/user-0.slice/x", id="relative-cannot-escape"),
        pytest.param(HYBRID_OWN, HYBRID_MOUNTS, "/../../etc", "/sys/fs/cgroup/pids/etc", id="absolute-cannot-escape"),
        pytest.param(HYBRID_OWN, HYBRID_MOUNTS, "//a/./b//", "/sys/fs/cgroup/pids/a/b", id="cleaned"),
        pytest.param(NESTED_OWN, NESTED_MOUNTS, "", "/sys/fs/cgroup/pids/child/id", id="nested-own-is-taken-below-the-mounted-part"),
        pytest.param(NESTED_OWN, NESTED_MOUNTS, "/a", "/sys/fs/cgroup/pids/a", id="nested-absolute-is-from-the-mounted-part"),
        pytest.param("2:devices:/\n1:pids:/../other\n", HYBRID_MOUNTS, "", "/sys/fs/cgroup/pids/other/id", id="own-outside-its-namespace"),
    ],
)
def test_v1_directory(own, mounts, path, expected):
    assert layout.directories(v1_layout(own, mounts), path, "id")["pids"] == expected


@pytest.mark.parametrize(
    ("own", "path", "expected"),
    [
        pytest.param("0::/user.slice/a.scope\n", "", "/sys/fs/cgroup/user.slice/id", id="empty-is-beside-own"),
        pytest.param("0::/user.slice/a.scope\n", "x/y", "/sys/fs/cgroup/user.slice/x/y", id="relative-is-beside-own"),
        pytest.param("0::/user.slice/a.scope\n", "/x/y", "/sys/fs/cgroup/x/y", id="absolute"),
        pytest.param("0::/user.slice/a.scope\n", "../../x", "/sys/fs/cgroup/user.slice/x", id="relative-cannot-escape"),
        pytest.param("0::/\n", "", "/sys/fs/cgroup/id", id="own-is-the-root"),
        pytest.param("0::/../../a\n", "", "/sys/fs/cgroup/id", id="own-outside-its-namespace"),
        pytest.param("", "", "/sys/fs/cgroup/id", id="no-row-for-cgroup2"),
    ],
)
def test_v2_directory(own, path, expected):
    assert layout.directories(v2_layout(own), path, "id") == {"": expected}


def test_v2_layout_names_the_controllers_that_the_root_offers():
    assert v2_layout("0::/\n").controllers == {"cpuset", "cpu", "io", "memory", "pids"}


@pytest.mark.parametrize("letter", ["\0", "\n"])
def test_cgroups_path_with_a_letter_that_no_cgroup_can_have_is_refused(letter):
    with pytest.raises(ConfigError, match="linux.cgroupsPath"):
        layout.directories(v2_layout("0::/\n"), f"/a{letter}b", "id")


@pytest.mark.needs("cgroup1")
def test_the_usual_places_agree_with_mountinfo_on_this_host():
    mounts = layout.parse_mounts(layout._read("/proc/self/mountinfo"), layout.parse_own(layout._read("/proc/self/cgroup")))
    rows = [(names, path) for names, path in layout.parse_own(layout._read("/proc/self/cgroup")) if names[0] in mounts]
    assert layout.conventional_mounts(rows) == mounts


def test_a_bare_directory_in_the_usual_place_is_no_hierarchy(tmp_path, monkeypatch):
    (tmp_path / "pids").mkdir()
    monkeypatch.setattr(layout, "MOUNT_POINT", str(tmp_path))
    assert layout.conventional_mounts([(("pids",), "/")]) is None


def test_this_host_is_read_as_what_it_is(needs):
    found = layout.read_layout()
    assert found.version == (2 if layout._is_hierarchy_root("/sys/fs/cgroup") and found.mounts.keys() == {""} else 1)
    assert all(layout._read(f"{point}/cgroup.procs") is not None for point, _ in found.mounts.values())
