"""runtime.md: the state and the operations."""
import json
import os
import signal

import pytest
from container import Refused

clause = pytest.mark.clause


# --- state ----------------------------------------------------------------------------------------------------------

@clause("runtime.md#query-state", "MUST generate an error if it is not provided the ID")
def test_state_without_an_id_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("state")


@clause("runtime.md#query-state", "Attempting to query a container that does not exist MUST generate an error")
def test_state_of_an_unknown_container_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("state", "clause-unknown")


@clause("runtime.md#state", "ociVersion, id, status, pid and bundle are REQUIRED")
def test_state_has_every_required_property(container):
    state = container.create().state()
    kinds = {name: type(state.get(name)) for name in ("ociVersion", "id", "status", "pid", "bundle")}
    assert kinds == {"ociVersion": str, "id": str, "status": str, "pid": int, "bundle": str}


@clause("runtime.md#state", "id is the container's ID")
def test_state_names_the_container(container):
    assert container.create().state()["id"] == container.id


@clause("runtime.md#state", "created: the runtime has finished the create operation")
def test_state_of_a_created_container_is_created(container):
    assert container.create().status == "created"


@clause("runtime.md#state", "running: the container process has executed the user-specified program but has not exited")
def test_state_of_a_running_container_is_running(container):
    container.run_probe("wait")
    assert container.create().start().status == "running"


@clause("runtime.md#state", "stopped: the container process has exited")
def test_state_of_an_exited_container_is_stopped(container):
    container.run_probe("exit", "3")
    assert container.create().start().wait().status == "stopped"


@clause("runtime.md#state", "pid is the ID of the container process")
def test_state_pid_is_the_first_process_of_the_container(container):
    pid = container.create().state()["pid"]
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")


@clause("runtime.md#state", "bundle is the absolute path to the container's bundle directory")
def test_state_bundle_is_absolute_when_create_was_given_a_relative_one(container):
    container.create(bundle=container.bundle.name, cwd=container.bundle.parent)
    assert container.state()["bundle"] == str(container.bundle)


@clause("runtime.md#state", "annotations contains the list of annotations associated with the container")
def test_state_repeats_the_annotations(container):
    container.config["annotations"] = {"org.example.key": "value", "org.example.empty": ""}
    assert container.create().state()["annotations"] == {"org.example.key": "value", "org.example.empty": ""}


@clause("runtime.md#runtimeScopeContainer", "MUST be able to use the operations against that same container")
def test_every_operation_works_on_what_create_made(container):
    container.run_probe("wait")
    container.create().start().read_line()
    container.kill("TERM")
    container.wait().delete()
    assert not container.exists()


# --- create ---------------------------------------------------------------------------------------------------------

@clause("runtime.md#create", "MUST generate an error if it is not provided the container ID")
def test_create_without_an_id_is_refused(container, runtime):
    container.write_config()
    with pytest.raises(Refused):
        runtime.call("create", "--bundle", str(container.bundle))


@clause("runtime.md#create", "MUST generate an error if it is not provided a path to the bundle")
def test_create_of_a_bundle_that_does_not_exist_is_refused(container, runtime):
    with pytest.raises(Refused):
        runtime.call("create", "--bundle", str(container.bundle / "missing"), container.id)
    assert not container.exists()


@clause("bundle.md#containerFormat", "config.json MUST reside in the root of the bundle directory")
def test_create_of_a_bundle_without_config_json_is_refused(container, runtime):
    with pytest.raises(Refused):
        runtime.call("create", "--bundle", str(container.bundle), container.id)
    assert not container.exists()


@clause("runtime.md#create", "If the ID provided is not unique the implementation MUST generate an error")
def test_create_with_an_id_in_use_is_refused(container):
    container.create()
    with pytest.raises(Refused):
        container.runtime.call("create", "--bundle", str(container.bundle), container.id)


@clause("runtime.md#errors", "generating an error MUST leave the state of the environment as if the operation were never attempted")
def test_create_with_an_id_in_use_leaves_the_first_container_as_it_was(container):
    container.run_probe("exit", "0")
    before = container.create().state()
    with pytest.raises(Refused):
        container.runtime.call("create", "--bundle", str(container.bundle), container.id)
    assert container.state() == before
    container.start().wait()


@pytest.mark.parametrize("container_id", ["a/b", "..", "../escape", ""], ids=["slash", "dots", "parent", "empty"])
@clause("runtime.md#create", "If the ID is not valid in any other way the implementation MUST generate an error")
def test_create_with_an_invalid_id_is_refused(container, container_id):
    container.write_config()
    with pytest.raises(Refused):
        container.runtime.call("create", "--bundle", str(container.bundle), container_id)


@clause("runtime.md#create", "process.args MUST NOT be applied until triggered by the start operation")
def test_create_does_not_run_the_program(container):
    container.run_probe("append", "/mark", "ran")
    container.create()
    assert not (container.rootfs / "mark").exists()
    container.start().wait()
    assert (container.rootfs / "mark").read_text() == "ran\n"


@clause("runtime.md#lifecycle", "Any updates to config.json after this step MUST NOT affect the container")
def test_change_of_config_json_after_create_has_no_effect(container):
    container.config["hostname"] = "first"
    container.create()
    (container.bundle / "config.json").write_text(json.dumps({"ociVersion": "1.0.0"}))
    report = json.loads(container.start().output())
    assert report["hostname"] == "first"
    container.wait().delete()


@clause("runtime.md#create", "If the runtime cannot apply a property it MUST generate an error and a new container MUST NOT be created")
def test_create_that_cannot_mount_leaves_no_container(container):
    container.mount("/data", kind="no-such-file-system")
    container.refused()


@clause("config.md#process", "process is REQUIRED when start is called (and only then)")
def test_create_without_a_process_is_accepted(container):
    del container.config["process"]
    assert container.create().status == "created"


# --- start ----------------------------------------------------------------------------------------------------------

@clause("runtime.md#start", "MUST generate an error if it is not provided the container ID")
def test_start_without_an_id_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("start")


@clause("runtime.md#start", "Attempting to start a container that is not created MUST generate an error")
def test_start_of_an_unknown_container_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("start", "clause-unknown")


@clause("runtime.md#start", "Attempting to start a container that is not created MUST have no effect on the container and MUST generate an error")
def test_start_of_a_running_container_is_refused_without_effect(container):
    container.run_probe("wait")
    before = container.create().start().state()
    with pytest.raises(Refused):
        container.start()
    assert container.state() == before


@clause("runtime.md#start", "Attempting to start a container that is not created MUST have no effect on the container and MUST generate an error")
def test_start_of_a_stopped_container_is_refused_without_effect(container):
    container.run_probe("append", "/mark", "ran")
    container.create().start().wait()
    with pytest.raises(Refused):
        container.start()
    assert (container.rootfs / "mark").read_text() == "ran\n"


@clause("runtime.md#start", "MUST run the user-specified program as specified by process")
def test_start_runs_the_program_with_its_arguments(container):
    container.process["args"] = ["/probe", "report", "/no such", "", "ünï"]
    assert container.report()["args"] == ["/probe", "report", "/no such", "", "ünï".encode().decode("latin-1")]


@clause("runtime.md#start", "MUST generate an error if process was not set (runtime.md#errors: how it is exposed is not mandated)")
def test_start_without_a_process_is_told(container):
    del container.config["process"]
    assert "process" in container.create().start_and_listen()


@clause("runtime.md#start", "MUST run the user-specified program")
def test_program_that_does_not_exist_is_an_error_at_create_or_start(container):
    container.process["args"] = ["/missing"]
    with pytest.raises(Refused):
        container.create()
        container.start()


# --- kill -----------------------------------------------------------------------------------------------------------

@clause("runtime.md#kill", "MUST generate an error if it is not provided the container ID")
def test_kill_without_an_id_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("kill")


@clause("runtime.md#kill", "a signal to a container that is neither created nor running MUST generate an error")
def test_kill_of_an_unknown_container_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("kill", "clause-unknown", "KILL")


@clause("runtime.md#kill", "a signal to a container that is neither created nor running MUST have no effect and MUST generate an error")
def test_kill_of_a_stopped_container_is_refused_without_effect(container):
    container.run_probe("exit", "0")
    before = container.create().start().wait().state()
    with pytest.raises(Refused):
        container.kill("KILL")
    assert container.state() == before


@pytest.mark.parametrize("name", ["TERM", "USR1", "USR2", "HUP"])
@clause("runtime.md#kill", "MUST send the specified signal to the container process")
def test_kill_sends_the_named_signal(container, name):
    container.run_probe("wait")
    assert container.create().start().read_line() == "ready\n"
    container.kill(name)
    assert container.output() == f"{int(signal.Signals['SIG' + name])}\n"


@clause("runtime.md#kill", "MUST send the specified signal to the container process")
def test_kill_reaches_a_created_container(container):
    container.create().kill("KILL")
    assert container.wait().status == "stopped"


@clause("runtime.md#kill", "MUST send the specified signal to the container process")
def test_kill_of_a_running_container_stops_it(container):
    container.run_probe("hang")
    container.create().start().kill("KILL")
    assert container.wait().status == "stopped"


# --- delete ---------------------------------------------------------------------------------------------------------

@clause("runtime.md#delete", "MUST generate an error if it is not provided the container ID")
def test_delete_without_an_id_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("delete")


@clause("runtime.md#delete", "Attempting to delete a container that is not stopped MUST generate an error")
def test_delete_of_an_unknown_container_is_refused(runtime):
    with pytest.raises(Refused):
        runtime.call("delete", "clause-unknown")


@clause("runtime.md#delete", "Attempting to delete a container that is not stopped MUST have no effect on the container and MUST generate an error")
def test_delete_of_a_created_container_is_refused_without_effect(container):
    before = container.create().state()
    with pytest.raises(Refused):
        container.delete()
    assert container.state() == before


@clause("runtime.md#delete", "Attempting to delete a container that is not stopped MUST have no effect on the container and MUST generate an error")
def test_delete_of_a_running_container_is_refused_without_effect(container):
    container.run_probe("wait")
    before = container.create().start().state()
    with pytest.raises(Refused):
        container.delete()
    assert container.state() == before


@clause("runtime.md#delete", "Deleting a container MUST delete the resources that were created during the create step")
def test_delete_removes_the_cgroups_that_create_made(container, cgroups):
    container.linux["cgroupsPath"] = f"/{container.id}"
    container.run_probe("exit", "0")
    container.create()
    assert cgroups.folders(container.id)
    container.start().wait().delete()
    assert cgroups.folders(container.id) == []


@clause("runtime.md#delete", "resources associated with the container, but not created by this container, MUST NOT be deleted")
def test_delete_leaves_a_cgroup_that_was_there_before(container, cgroups):
    folder = cgroups.make("pids", container.id)
    container.linux["cgroupsPath"] = f"/{container.id}"
    container.run_probe("exit", "0")
    container.create().start().wait().delete()
    assert folder.is_dir()


@clause("runtime.md#delete", "resources associated with the container, but not created by this container, MUST NOT be deleted")
def test_delete_leaves_a_foreign_cgroup_that_the_container_was_moved_to(container, cgroups):
    folder = cgroups.make("pids", container.id + "-foreign")
    container.run_probe("exit", "0")
    pid = container.create().state()["pid"]
    (folder / "cgroup.procs").write_text(str(pid))
    container.start().wait().delete()
    assert folder.is_dir()


@clause("runtime.md#delete", "Once a container is deleted its ID MAY be used by a subsequent container")
def test_id_of_a_deleted_container_can_be_used_again(container):
    container.run_probe("exit", "0")
    container.create().start().wait().delete()
    assert container.create().status == "created"
