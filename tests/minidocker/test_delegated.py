"""Which cgroups a user's containers get, and which limits can't be had there."""

import pathlib
import subprocess
import sys

import pytest

from pyoci.minidocker.delegated import Delegated, bus


@pytest.fixture
def base(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    return str(tmp_path)


@pytest.mark.parametrize(("driver", "parent", "path", "folder"), [
    ("systemd", "", ":minidocker:ID", "/user.slice/minidocker-ID.scope"),
    ("systemd", "a-b.slice", "a-b.slice:minidocker:ID", "/a.slice/a-b.slice/minidocker-ID.scope"),
    ("cgroupfs", "", "minidocker/ID", "/minidocker/ID"),
    ("cgroupfs", "/mine/", "mine/ID", "/mine/ID"),
])  # fmt: skip
def test_a_container_has_a_cgroup_below_what_is_delegated(base, driver, parent, path, folder):
    cgroups = Delegated(driver, base)
    assert cgroups.cgroups_path("ID", parent) == path
    assert cgroups.folder("ID", parent) == base + folder


def test_without_delegation_it_has_none():
    assert (Delegated("none").cgroups_path("ID"), Delegated("none").folder("ID")) == ("", "")


def test_limits_lack_the_controllers_that_are_not_delegated(base):
    host = {"Memory": 1, "PidsLimit": 5, "NanoCpus": 1, "CpusetCpus": "0", "BlkioWeight": 0, "MemorySwappiness": -1}
    assert Delegated("systemd", base).lacking(host) == [("NanoCpus", "--cpus", "cpu"), ("CpusetCpus", "--cpuset-cpus", "cpuset")]
    assert [name for name, _, _ in Delegated("none").lacking(host)] == ["Memory", "NanoCpus", "CpusetCpus", "PidsLimit"]


def test_what_asks_for_no_limit_lacks_nothing():
    assert Delegated("none").lacking({"Memory": 0, "MemorySwap": -1, "PidsLimit": -1, "MemorySwappiness": -1, "OomKillDisable": False}) == []


def test_the_bus_is_systemds_own_where_it_is_there(tmp_path):
    address = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/another", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert bus(4_000_000, address) == {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/another"}
    (tmp_path / "bus").touch()
    assert bus(4_000_000, address) == {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert bus(4_000_000, {"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/tmp/dbus-x"}) == bus(4_000_000, {}) == {}


@pytest.mark.needs("root", "init", "shim", "busybox")
def test_root_loads_no_room_of_users(place):
    script = (
        "import sys; from pyoci.minidocker.cli.main import main; status = main(sys.argv[1:]);"
        "print(*[name for name in sys.modules if name.startswith('pyoci.minidocker.')]); sys.exit(status)"
    )
    words = ["--data-root", place.roots.data, "--run-root", place.roots.run, "run", "--rm", "--network", "none", "-m", "64m", "busybox", "true"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60, check=True, cwd=pathlib.Path(__file__).parents[2])
    loaded = set(done.stdout.split())
    assert "pyoci.minidocker.prepare" in loaded
    assert not loaded & {f"pyoci.minidocker.{room}" for room in ("rootless", "confined", "delegated", "bundle_rootless", "process_stats")}
