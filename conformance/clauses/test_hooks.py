"""config.md#posix-platform-hooks and the lifecycle's steps for them."""
import json
import os
from pathlib import Path

import pytest
from container import Refused

clause = pytest.mark.clause

AT_CREATE = ("prestart", "createRuntime", "createContainer")
AT_START = ("startContainer", "poststart")
IN_RUNTIME_NAMESPACE = ("prestart", "createRuntime", "poststart", "poststop")
KINDS = (*AT_CREATE, *AT_START, "poststop")


def seen_at(container, kind):
    """Where a hook of this kind can write: (the path it uses, the same file for us)."""
    outside = container.rootfs / kind
    return ("/" + kind if kind == "startContainer" else str(outside)), outside


def note(container, kind, word=None, log="log"):
    """A hook that adds a word (its kind) to a log in the root file system."""
    inside = f"/{log}" if kind == "startContainer" else str(container.rootfs / log)
    container.hook(kind, "append", inside, word or kind, **where(kind))


def observe(container, kind, **more):
    """A hook that reports what it sees; the report is read by observation()."""
    container.hook(kind, "hook", seen_at(container, kind)[0], **where(kind), **more)


def where(kind):
    return {"probe": "/probe"} if kind == "startContainer" else {}


def observation(container, kind):
    return json.loads(seen_at(container, kind)[1].read_text())


def log_of(container, log="log"):
    path = container.rootfs / log
    return path.read_text().split() if path.exists() else []


def whole_life(container):
    """From create to delete; the program ends by itself."""
    container.create().start().wait().delete()


# --- when -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", AT_CREATE)
@clause("config.md#prestart, #createRuntime-hooks, #createContainer-hooks", "MUST be called as part of the create operation")
def test_hook_is_called_by_create(container, kind):
    note(container, kind)
    container.create()
    assert log_of(container) == [kind]


@pytest.mark.parametrize("kind", AT_CREATE)
@clause("config.md#prestart, #createRuntime-hooks, #createContainer-hooks", "after the runtime environment has been created")
def test_hook_of_create_finds_the_mounts_made(container, kind):
    container.mount("/made")
    observe(container, kind)
    pid = container.create().state()["pid"]
    mounts = observation(container, kind)["mountinfo"] if kind == "createContainer" else Path(f"/proc/{pid}/mountinfo").read_text()
    assert "/made " in mounts


@clause("config.md#createContainer-hooks", "before the pivot_root or any equivalent operation has been executed")
def test_createContainer_hook_still_sees_the_runtimes_files(container):
    container.hook("createContainer", "hook", seen_at(container, "createContainer")[0], str(container.bundle / "config.json"))
    container.create()
    seen = observation(container, "createContainer")["paths"][str(container.bundle / "config.json")]
    assert seen["kind"] == "file"


@pytest.mark.parametrize("kind", AT_START)
@clause("config.md#startContainer-hooks, #poststart", "MUST be called as part of the start operation, before it returns")
def test_hook_is_called_by_start(container, kind):
    note(container, kind)
    container.run_probe("wait")
    container.create()
    assert log_of(container) == []
    container.start()
    assert log_of(container) == [kind]


@clause("config.md#startContainer-hooks", "MUST be called before the user-specified process is executed")
def test_startContainer_hook_runs_before_the_program(container):
    note(container, "startContainer")
    container.run_probe("append", "/log", "program")
    container.create().start().wait()
    assert log_of(container) == ["startContainer", "program"]


@clause("config.md#poststart", "MUST be called after the user-specified process is executed")
def test_poststart_hook_runs_when_the_program_has_been_executed(container):
    container.run_probe("wait")
    observe(container, "poststart")
    container.create().start()
    pid = json.loads(observation(container, "poststart")["stdin"])["pid"]
    assert Path(f"/proc/{pid}/cmdline").read_text() == "/probe\0wait\0"


@clause("config.md#poststop", "MUST be called before the delete operation returns")
def test_poststop_hook_is_called_by_delete(container):
    note(container, "poststop")
    container.run_probe("exit", "0")
    container.create().start().wait()
    assert log_of(container) == []
    container.delete()
    assert log_of(container) == ["poststop"]


@clause("config.md#poststop", "MUST be called after the container is deleted")
def test_poststop_hook_finds_no_cgroup_of_the_container(container, cgroups):
    container.linux["cgroupsPath"] = f"/{container.id}"
    container.run_probe("exit", "0")
    folders = [str(path / container.id) for path in (cgroups.hierarchy("pids"), cgroups.hierarchy("memory"))]
    container.hook("poststop", "hook", seen_at(container, "poststop")[0], *folders)
    whole_life(container)
    assert all("errno" in each for each in observation(container, "poststop")["paths"].values())


# --- order ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@clause("config.md#posix-platform-hooks", "Hooks MUST be called in the listed order")
def test_hooks_of_one_kind_run_in_the_listed_order(container, kind):
    for word in ("first", "second", "third"):
        note(container, kind, word)
    container.run_probe("exit", "0")
    whole_life(container)
    assert log_of(container) == ["first", "second", "third"]


@clause("config.md#prestart, #createContainer-hooks", "prestart MUST be called before createRuntime, createContainer after it")
def test_kinds_of_hooks_run_in_the_order_of_the_lifecycle(container):
    for kind in reversed(KINDS):
        note(container, kind)
    container.run_probe("wait")
    container.create().start()
    container.kill("KILL")
    container.wait().delete()
    assert log_of(container) == list(KINDS)


# --- what they are given --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@clause("config.md#posix-platform-hooks", "The state of the container MUST be passed to hooks over stdin")
def test_hook_gets_the_state_on_its_standard_input(container, kind):
    container.config["annotations"] = {"org.example": "hooks"}
    container.run_probe("wait")
    observe(container, kind)
    pid = container.create().state()["pid"]
    container.start().kill("KILL")
    container.wait().delete()
    state = json.loads(observation(container, kind)["stdin"])
    assert (state["id"], state["bundle"], state["annotations"]) == (container.id, str(container.bundle), {"org.example": "hooks"})
    assert isinstance(state["ociVersion"], str)
    if kind in ("prestart", "createRuntime", "poststart"):
        assert state["pid"] == pid


@pytest.mark.parametrize(("kind", "statuses"), [
    ("prestart", ("creating", "created")), ("createRuntime", ("creating", "created")), ("createContainer", ("creating", "created")),
    ("startContainer", ("created",)), ("poststart", ("running",)), ("poststop", ("stopped",)),
])
@clause("runtime.md#state", "status is the runtime state of the container")
def test_hook_is_told_the_state_that_it_runs_in(container, kind, statuses):
    observe(container, kind)
    container.run_probe("exit", "0")
    whole_life(container)
    assert json.loads(observation(container, kind)["stdin"])["status"] in statuses


@clause("runtime.md#state", "For hooks executed in the container namespace, it is the pid as seen by the container")
def test_startContainer_hook_is_told_the_pid_in_the_container(container):
    observe(container, "startContainer")
    container.run_probe("exit", "0")
    whole_life(container)
    assert json.loads(observation(container, "startContainer")["stdin"])["pid"] == 1


@pytest.mark.parametrize("kind", KINDS)
@clause("config.md#posix-platform-hooks", "args with the same semantics as execv's argv")
def test_hook_gets_its_arguments_as_they_are(container, kind):
    inside, _ = seen_at(container, kind)
    container.hook(kind, "hook", inside, "", "a b", "$HOME", **where(kind))
    container.run_probe("exit", "0")
    whole_life(container)
    assert observation(container, kind)["args"] == ["probe", "hook", inside, "", "a b", "$HOME"]


@pytest.mark.parametrize("kind", KINDS)
@clause("config.md#posix-platform-hooks", "env with the same semantics as environ")
def test_hook_gets_its_environment_alone(container, kind):
    observe(container, kind, env=["ONE=1", "TWO=2=2"])
    container.run_probe("exit", "0")
    whole_life(container)
    assert observation(container, kind)["env"] == ["ONE=1", "TWO=2=2"]


# --- where ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", IN_RUNTIME_NAMESPACE)
@clause("config.md#posix-platform-hooks", "MUST be executed in the runtime namespace")
def test_hook_runs_in_the_runtimes_namespaces(container, kind):
    container.add_namespace("cgroup")
    observe(container, kind)
    container.run_probe("exit", "0")
    whole_life(container)
    assert observation(container, kind)["namespaces"] == ours()


def ours():
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")}


@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
@clause("config.md#createContainer-hooks, #startContainer-hooks", "MUST be executed in the container namespace")
def test_hook_runs_in_the_containers_namespaces(container, kind):
    observe(container, kind)
    container.run_probe("wait")
    pid = container.create().start().state()["pid"]
    theirs = {each: os.readlink(f"/proc/{pid}/ns/{each}") for each in ours()}
    assert observation(container, kind)["namespaces"] == theirs


@clause("config.md#startContainer-hooks", "path MUST resolve in the container namespace")
def test_startContainer_hook_is_found_in_the_container(container):
    (container.rootfs / "only").mkdir()
    os.link(container.probe, container.rootfs / "only" / "here")
    container.hook("startContainer", "append", "/log", "found", probe="/only/here")
    container.run_probe("exit", "0")
    whole_life(container)
    assert log_of(container) == ["found"]


# --- failures -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", AT_CREATE)
@clause("runtime.md#lifecycle", "If any prestart, createRuntime or createContainer hook fails, the runtime MUST generate an error, stop the container")
def test_failing_hook_of_create_refuses_the_container(container, kind):
    container.hook(kind, "exit", "1")
    note(container, kind, "next")
    container.refused()
    assert log_of(container) == []


@pytest.mark.parametrize("kind", AT_CREATE)
@clause("runtime.md#lifecycle", "and continue the lifecycle at step 12: the poststop hooks MUST be invoked")
def test_poststop_hooks_run_after_a_failed_hook_of_create(container, kind):
    container.hook(kind, "exit", "1")
    note(container, "poststop")
    container.refused()
    assert log_of(container) == ["poststop"]


@clause("runtime.md#lifecycle", "If any startContainer hook fails, the runtime MUST generate an error, stop the container")
def test_failing_startContainer_hook_stops_the_container(container):
    container.hook("startContainer", "exit", "1", probe="/probe")
    container.run_probe("append", "/log", "program")
    container.create()
    with pytest.raises(Refused):
        container.start()
    container.wait()
    assert log_of(container) == []


@clause("runtime.md#lifecycle", "If any poststart hook fails, the runtime MUST generate an error, stop the container")
def test_failing_poststart_hook_stops_the_container(container):
    container.hook("poststart", "exit", "1")
    container.run_probe("hang")
    container.create()
    with pytest.raises(Refused):
        container.start()
    container.wait()


@clause("runtime.md#lifecycle", "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue")
def test_failing_poststop_hook_does_not_stop_the_next_one_nor_delete(container):
    container.hook("poststop", "exit", "1")
    note(container, "poststop")
    container.run_probe("exit", "0")
    whole_life(container)
    assert log_of(container) == ["poststop"]
    assert not container.exists()


@clause("config.md#posix-platform-hooks", "timeout is the number of seconds before aborting the hook")
def test_hook_that_outlives_its_timeout_is_aborted(container):
    container.hook("createRuntime", "hang", timeout=1)
    container.refused()


@clause("config.md#posix-platform-hooks", "If set, timeout MUST be greater than zero")
def test_hook_timeout_of_zero_is_refused(container):
    container.hook("poststop", "exit", "0", timeout=0)
    container.refused()


@pytest.mark.parametrize("kind", KINDS)
@clause("config.md#posix-platform-hooks", "path MUST be absolute")
def test_hook_with_a_relative_path_is_refused(container, kind):
    container.hook(kind, "exit", "0", probe="probe")
    container.refused()
