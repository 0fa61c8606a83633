"""checkpoint and restore of a container whose cgroups systemd makes (tests/fake_systemd.py plays it)."""

import pathlib

import pytest
from fake_systemd import NAME, FakeSystemd, Refusal
from talking import Talk, call, checkpointed, restored

from pyoci.cgroup.layout import read_layout

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim", "criu")
LAYOUT = read_layout()


@pytest.fixture
def systemd(tmp_path):
    made = FakeSystemd(tmp_path / "bus", {name: LAYOUT.mounts[name][0] for name in ("name=systemd", "memory", "devices", "pids") if name in LAYOUT.mounts})
    yield made
    made.close()


@pytest.fixture
def pyoci(systemd, pyoci):
    """The runtime with the driver."""
    pyoci.flags = ("--systemd-cgroup",)
    pyoci.environment["DBUS_SYSTEM_BUS_ADDRESS"] = systemd.address
    yield pyoci
    pyoci.clean()
    systemd.settle()
    assert systemd.units == {}


@pytest.fixture
def limited(bundle):
    bundle.linux["resources"] = {"pids": {"limit": 7}}
    bundle.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "5"}
    return bundle.write()


def test_restored_process_is_in_a_scope_that_is_limited_once_it_stands(limited, pyoci, images, systemd):
    checkpointed(pyoci, limited, images)
    assert systemd.units == {}
    with Talk() as talk:
        name = restored(pyoci, limited, images, talk)
        assert talk.ask("two") == "2 two"
        scope = f"pyoci-{name}.scope"
        assert scope in pathlib.Path(f"/proc/{pyoci.pid(name)}/cgroup").read_text()
        started = dict(systemd.called("StartTransientUnit")[-1][2])
        assert "TasksMax" not in started and started["TimeoutStopUSec"] == ("t", 5000000)
        assert systemd.properties(scope)["TasksMax"] == 7
        processes = pathlib.Path(f"{LAYOUT.mounts['memory' if LAYOUT.version == 1 else ''][0]}/system.slice/{scope}/cgroup.procs").read_text().split()
        assert processes == [str(pyoci.pid(name))]  # neither criu nor what held its place
        pyoci.ok("update", "--pids-limit", "9", name)
        assert systemd.properties(scope)["TasksMax"] == 9


@pytest.mark.parametrize("member", ["StartTransientUnit", "SetUnitProperties"])
def test_restore_that_systemd_refuses_leaves_nothing(limited, pyoci, images, systemd, member):
    checkpointed(pyoci, limited, images)

    def refuse(_arguments):
        raise Refusal(f"{NAME}.Odd", "Not today.")

    systemd.faults[member] = refuse
    line = pyoci.fails("restore", "--bundle", limited.path, "--image-path", images, pyoci.new_id())
    assert line.endswith(f"{member}: Not today ({NAME}.Odd)")
    assert systemd.units == {}


def test_images_of_one_driver_are_restored_by_the_other(limited, pyoci, images, systemd):
    checkpointed(pyoci, limited, images)
    pyoci.flags = ()
    with Talk() as talk:
        name = pyoci.new_id()
        call(pyoci, talk, "restore", "--detach", "--bundle", limited.path, "--image-path", images, name)
        assert talk.ask("two") == "2 two"
    assert systemd.units == {}
