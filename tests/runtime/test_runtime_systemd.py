"""--systemd-cgroup with a systemd that is made of Python (tests/fake_systemd.py); tests/vm/systemd.sh has the real one."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import support
from fake_systemd import NAME, FakeSystemd, Refusal

from pyoci.cgroup import dbus, unit
from pyoci.cgroup.layout import read_layout
from pyoci.errors import PyociError

LAYOUT = read_layout()
# What systemd makes of itself on v1; the rest is the runtime's to make.
OWN = ("", "name=systemd", "memory", "cpu", "pids", "devices", "blkio")


@pytest.fixture
def systemd(tmp_path):
    made = FakeSystemd(tmp_path / "bus", {name: LAYOUT.mounts[name][0] for name in OWN if name in LAYOUT.mounts})
    yield made
    made.close()


@pytest.fixture
def pyoci(tmp_path, systemd):
    """The runtime with the driver, and a host that must look as before."""
    runtime = support.Pyoci(tmp_path / "state", "--systemd-cgroup")
    before = support.snapshot()
    runtime.env = {**support.ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": systemd.address}
    yield runtime
    runtime.clean()
    systemd.settle()
    assert systemd.units == {}
    support.assert_unchanged(before)


@pytest.fixture
def bundle(bundle):
    bundle.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 30}}
    return bundle.write()


def create(pyoci, bundle, *words, name=None):
    name = name or pyoci.new_id()
    pyoci.ok("create", "--bundle", bundle.path, *words, name, env=pyoci.env)
    return name


def refused(pyoci, bundle, name=None):
    return pyoci.fails("create", "--bundle", bundle.path, name or pyoci.new_id(), env=pyoci.env)


def cgroups_of(pid):
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text()


def place(controller, unit_name):
    hierarchy = "" if LAYOUT.version == 2 else controller
    return pathlib.Path(f"{LAYOUT.mounts[hierarchy][0]}/system.slice/{unit_name}")


def test_life_of_a_container_in_a_scope(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    scope, pid = f"pyoci-{name}.scope", pyoci.pid(name)
    given = systemd.properties(scope)
    assert (given["PIDs"], given["Slice"], given["Delegate"], given["DefaultDependencies"]) == ([pid], "system.slice", True, False)
    assert (given["MemoryMax" if LAYOUT.version == 2 else "MemoryLimit"], given["TasksMax"]) == (64 << 20, 30)
    assert given["Description"] == f"pyoci container {pyoci.root}/{name}"
    places = {line.split(":", 2)[2] for line in cgroups_of(pid).splitlines() if line.split(":")[1] in LAYOUT.mounts}
    assert places == {f"/system.slice/{scope}"}
    assert place("pids", scope).joinpath("pids.max").read_text() == "30\n"
    pyoci.ok("start", name)
    assert scope in pyoci.ok("exec", name, "cat", "/proc/self/cgroup")
    pyoci.ok("pause", name)
    assert pyoci.state(name)["status"] == "paused"
    pyoci.ok("resume", name)
    pyoci.ok("kill", name, "KILL")
    support.wait_until_stopped(pyoci, name)
    pyoci.ok("delete", name)
    assert systemd.units == {} and not place("pids", scope).exists() and not place("freezer", scope).exists()


def test_other_verbs_know_the_unit_without_flag_and_address(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    plain = support.Pyoci(pyoci.root)
    plain.ok("update", "--pids-limit", "40", name)
    assert systemd.properties(f"pyoci-{name}.scope")["TasksMax"] == 40
    plain.ok("delete", "--force", name)
    assert systemd.units == {}


def test_cgroups_path_names_slice_and_scope(pyoci, bundle, systemd):
    bundle.linux["cgroupsPath"] = f"pyocitest-{support.TOKEN.rpartition('-')[2]}.slice:lib:{pyoci.new_id()}"
    bundle.write()
    create(pyoci, bundle)
    slice_, prefix, name = bundle.linux["cgroupsPath"].split(":")
    assert systemd.properties(f"{prefix}-{name}.scope")["Slice"] == slice_


def test_a_process_that_may_not_move_itself_is_placed_by_systemd(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    with subprocess.Popen(["sleep", "1000"]) as child:
        unit.attach(systemd.path, f"pyoci-{name}.scope", child.pid)
        assert f"pyoci-{name}.scope" in cgroups_of(child.pid)
        child.kill()
    with pytest.raises(PyociError, match="not loaded"):
        unit.attach(systemd.path, "pyoci-nobody.scope", os.getpid())


def test_run_leaves_no_unit(pyoci, bundle, systemd):
    bundle.shell("exit 5")
    assert pyoci("run", "--bundle", bundle.path, pyoci.new_id(), env=pyoci.env).returncode == 5
    assert systemd.units == {}


def test_users_namespace_changes_nothing(pyoci, open_path, systemd):
    bundle = support.Bundle(open_path / "bundle")
    bundle.add_user_namespace()
    name = create(pyoci, bundle)
    assert f"pyoci-{name}.scope" in cgroups_of(pyoci.pid(name))


# --- update


def test_update_that_a_file_refuses_takes_its_properties_back(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    scope = f"pyoci-{name}.scope"
    resources = {"pids": {"limit": 50}, "cpu": {"shares": 512, "cpus": "4000"}}
    with _text(resources) as text:
        line = pyoci.fails("update", "--resources", "-", name, stdin=text)
    assert "cpuset.cpus" in line
    assert systemd.properties(scope)["TasksMax"] == 30
    assert place("pids", scope).joinpath("pids.max").read_text() == "30\n"


def test_update_that_systemd_refuses_changes_no_file(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    systemd.faults["SetUnitProperties"] = _refuse(f"{NAME}.Odd", "No such property.")
    line = pyoci.fails("update", "--pids-limit", "50", name)
    assert line == f"SetUnitProperties: No such property ({NAME}.Odd)"
    assert place("pids", f"pyoci-{name}.scope").joinpath("pids.max").read_text() == "30\n"


@pytest.mark.skipif(LAYOUT.version == 2, reason="on version 2 systemd knows nothing of the devices")
def test_devices_of_a_scope_stay_as_they_are(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    with _text({"devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}]}) as text:
        line = pyoci.fails("update", "--resources", "-", name, stdin=text)
    assert line.endswith("linux.resources.devices: on cgroup v1 the devices of a scope of systemd can't be changed")
    with _text({"devices": bundle.linux["resources"].get("devices"), "pids": {"limit": 31}}) as text:
        pyoci.ok("update", "--resources", "-", name, stdin=text)


def _text(document):
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
    file.write(json.dumps(document).encode())
    file.seek(0)
    return file


def _refuse(name, words):
    def fault(_arguments):
        raise Refusal(name, words)

    return fault


# --- what goes wrong


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (_refuse("org.freedesktop.DBus.Error.PropertyReadOnly", "Cannot set property X, or unknown property."),
         "StartTransientUnit: Cannot set property X, or unknown property (org.freedesktop.DBus.Error.PropertyReadOnly)"),
        (_refuse("org.freedesktop.DBus.Error.ServiceUnknown", "The name org.freedesktop.systemd1 was not provided by any .service files"),
         "StartTransientUnit: The name org.freedesktop.systemd1 was not provided by any .service files "
         "(org.freedesktop.DBus.Error.ServiceUnknown)"),
    ],
)  # fmt: skip
def test_refused_scope_fails_the_create_and_leaves_nothing(pyoci, bundle, systemd, fault, why):
    systemd.faults["StartTransientUnit"] = fault
    pyoci.root.mkdir(mode=0o700)
    before = support.snapshot(bundle.path, pyoci.root)
    line = refused(pyoci, bundle)
    assert re.match(r"pyoci create failed: config.json:\d+: linux.cgroupsPath: have systemd put init into pyoci-", line) and line.endswith(why)
    support.assert_unchanged(before)


@pytest.mark.parametrize("result", ["failed", "canceled", "timeout"])
def test_job_that_fails_fails_the_create_and_the_unit_is_stopped(pyoci, bundle, systemd, result):
    systemd.results["StartTransientUnit"] = result
    assert f"the job of pyoci-{support.TOKEN}" in (line := refused(pyoci, bundle)) and line.endswith(f"ended as '{result}'")
    assert systemd.units == {} and len(systemd.called("StopUnit")) == 1


@pytest.mark.parametrize(
    ("method", "answer", "why"),
    [
        ("StartTransientUnit", ("",), "StartTransientUnit: the answer is '', and should be 'o'"),
        ("StartTransientUnit", ("u", 5), "StartTransientUnit: the answer is 'u', and should be 'o'"),
        ("StartTransientUnit", ("oo", "/a", "/b"), "StartTransientUnit: the answer is 'oo', and should be 'o'"),
    ],
)
def test_answer_of_another_kind_fails_the_create(pyoci, bundle, systemd, method, answer, why):
    setattr(systemd, method, lambda *_: answer)
    line = refused(pyoci, bundle)
    assert why in line and "internal error" not in line


@pytest.mark.parametrize(
    ("answer", "why"),
    [(("",), "the answer is '', and should be 'v'"), (("v", ("u", 5)), "Description is a 'u', and should be a string")],
)
def test_answer_of_another_kind_fails_the_delete(pyoci, bundle, systemd, answer, why):
    name = create(pyoci, bundle)
    systemd.Get = lambda *_: answer
    line = pyoci.fails("delete", "--force", name, env=pyoci.env)
    assert why in line and "internal error" not in line
    del systemd.Get
    pyoci.ok("delete", "--force", name, env=pyoci.env)


def test_job_that_does_not_end_is_given_up(pyoci, bundle, systemd, monkeypatch):
    monkeypatch.setattr(unit, "JOB_TIMEOUT_S", 0.1)
    monkeypatch.setattr(dbus, "CALL_TIMEOUT_S", 5)
    systemd.results["StartTransientUnit"] = None
    runtime = pyoci.api()
    runtime.systemd_cgroup = True
    with pytest.raises(PyociError, match="JobRemoved: no answer in time$"):
        runtime.create(pyoci.new_id(), str(bundle.path), environ={"DBUS_SYSTEM_BUS_ADDRESS": systemd.address})
    assert systemd.units == {}


def test_later_failure_of_create_stops_the_unit(pyoci, bundle, systemd):
    bundle.process["args"] = ["not-there"]
    bundle.write()
    assert "executable file not found" in refused(pyoci, bundle)
    assert systemd.units == {} and len(systemd.called("StopUnit")) == 1


def test_unit_of_somebody_else_is_left_alone(pyoci, bundle, systemd):
    name = pyoci.new_id()
    scope = f"pyoci-{name}.scope"
    systemd.units[scope] = {"properties": {"Description": ("s", "another's")}, "directories": [], "state": "active"}
    try:
        line = refused(pyoci, bundle, name)
        assert line.endswith(
            f"StartTransientUnit: Unit {scope} was already loaded or has a fragment file ({NAME}.UnitExists); "
            "another runtime or root directory has a container of this name"
        )
        assert scope in systemd.units and systemd.called("StopUnit") == []
    finally:
        systemd.units.clear()


def test_unit_that_failed_once_does_not_stand_in_the_way(pyoci, bundle, systemd):
    name = pyoci.new_id()
    systemd.units[f"pyoci-{name}.scope"] = {"properties": {"Description": ("s", "old")}, "directories": [], "state": "failed"}
    create(pyoci, bundle, name=name)
    assert systemd.called("ResetFailedUnit") == [(f"pyoci-{name}.scope",)]


def test_delete_leaves_a_unit_that_took_the_name_since(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    scope = f"pyoci-{name}.scope"
    systemd.units[scope]["properties"]["Description"] = ("s", "another's")
    pyoci.ok("delete", "--force", name)
    assert systemd.called("StopUnit") == []
    systemd.StopUnit(scope, "replace")


def test_delete_needs_no_bus_once_the_user_is_gone(pyoci, bundle, systemd):
    name = create(pyoci, bundle)
    os.unlink(systemd.path)
    pyoci.ok("delete", "--force", name)
    systemd.StopUnit(f"pyoci-{name}.scope", "replace")


def test_delete_touches_no_process_while_nobody_says_whose_it_is(pyoci, bundle, systemd):
    bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "pid"]
    bundle.shell("sleep 1000 & exec sleep 1000")
    name = create(pyoci, bundle)
    pyoci.ok("start", name)
    aside = pathlib.Path(f"{systemd.path}.aside")
    os.rename(systemd.path, aside)
    line = pyoci.fails("delete", "--force", name)
    assert line == f"could not remove connect {systemd.path}: No such file or directory (ENOENT)"
    assert len(json.loads(pyoci.ok("ps", "--format", "json", name))) == 1
    os.rename(aside, systemd.path)
    pyoci.ok("delete", "--force", name)


def test_processes_that_outlive_the_first_are_ended_with_the_unit(pyoci, bundle, systemd):
    bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "pid"]
    bundle.shell("sleep 1000 & echo $!; exec sleep 1000")
    name = create(pyoci, bundle)
    pyoci.ok("start", name)
    assert len(json.loads(pyoci.ok("ps", "--format", "json", name))) == 2
    pyoci.ok("delete", "--force", name)


def test_killed_create_is_undone_by_delete(pyoci, bundle, systemd):
    """Killed while systemd works: the unit is made, and nobody has heard of it."""
    systemd.results["StartTransientUnit"] = None
    name = pyoci.new_id()
    process = pyoci.start_process("create", "--bundle", bundle.path, name, env=pyoci.env)
    _until(lambda: systemd.units)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "does not exist" in pyoci.fails("delete", name)
    assert systemd.units == {}


def _until(found):
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "systemd is not running on this host"),
        ({"DBUS_SYSTEM_BUS_ADDRESS": "tcp:host=localhost"}, "'tcp:host=localhost' is no address of a message bus with a path (unix:path=...)"),
    ],
)
def test_host_without_systemd_is_refused_before_any_effect(pyoci, bundle, environ, why):
    if not environ and os.path.exists("/run/systemd/system"):
        pytest.skip("this host runs systemd")
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id(), env={**support.ENVIRONMENT, **environ})
    assert line == f"pyoci create failed: command line: --systemd-cgroup: {why}; without the flag cgroups are made directly"
    assert not pyoci.root.exists() or os.listdir(pyoci.root) == []


def test_socket_that_nobody_listens_at_fails_the_create(pyoci, bundle, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    line = pyoci.fails(
        "create", "--bundle", bundle.path, pyoci.new_id(), env={**support.ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/dead"}
    )
    assert f"connect: {tmp_path}/dead: Connection refused (ECONNREFUSED)" in line


def test_plan_shows_the_scope_and_asks_nobody(pyoci, bundle, systemd):
    text = pyoci.ok("plan", bundle.path, env=pyoci.env)
    memory = "MemoryMax" if LAYOUT.version == 2 else "MemoryLimit"
    assert f"have systemd put init into pyoci-container.scope in system.slice with {memory}=uint64 67108864 TasksMax=uint64 30" in text
    assert systemd.calls == []
