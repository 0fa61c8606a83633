"""Hooks where they go wrong: what is told, what is ended, and what is left.  What they get is in conformance/clauses/test_hooks.py."""

import os

import pytest
import support

CREATE_KINDS = ("prestart", "createRuntime", "createContainer")
START_KINDS = ("startContainer", "poststart")


def hook(script, **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], **more}


def failure(bundle, pyoci, kind, entry):
    """The line that create and start end with."""
    bundle.edit(lambda config: config.update(hooks={kind: [entry]}))
    return pyoci.fails("run", "--bundle", bundle.path, pyoci.new_id())


@pytest.mark.parametrize("kind", CREATE_KINDS + START_KINDS)
def test_failed_hook_is_told_with_its_status_and_both_streams(bundle, pyoci, kind):
    line = failure(bundle, pyoci, kind, hook("echo to stdout; echo to stderr >&2; exit 7"))
    assert f"error running {kind} hook #0" in line and f"hooks.{kind}[0]: /bin/sh: exit status 7, " in line
    assert "to stdout" in line and "to stderr" in line


@pytest.mark.parametrize("kind", CREATE_KINDS + START_KINDS)
def test_hook_that_is_killed_is_told_with_its_signal(bundle, pyoci, kind):
    assert f"hooks.{kind}[0]: /bin/sh: signal 9, " in failure(bundle, pyoci, kind, hook("kill -KILL $$"))


@pytest.mark.parametrize("kind", CREATE_KINDS + START_KINDS)
def test_hook_that_is_not_there_is_told(bundle, pyoci, kind):
    line = failure(bundle, pyoci, kind, {"path": "/not/there"})
    assert f"error running {kind} hook #0" in line and "hooks." in line and line.endswith("No such file or directory (ENOENT)")


@pytest.mark.parametrize("kind", CREATE_KINDS + START_KINDS)
def test_hook_that_runs_too_long_is_ended_with_all_that_it_started(bundle, pyoci, kind):
    """Its child holds the pipes, and outlives a kill of the hook alone."""
    line = failure(bundle, pyoci, kind, hook("sleep 1000 & echo waiting; wait", timeout=1))
    assert "hook ran past specified timeout of 1.0s" in line and "waiting" in line


@pytest.mark.parametrize("kind", (*CREATE_KINDS, "poststart"))
def test_hook_that_ignores_its_input_is_no_failure(bundle, pyoci, kind):
    bundle.config["annotations"] = {"big": "x" * 200_000}
    bundle.shell("exit 3")
    bundle.edit(lambda config: config.update(hooks={kind: [hook("exec <&-; exit 0")]}))
    assert pyoci.run(bundle).returncode == 3


@pytest.mark.parametrize("kind", (*CREATE_KINDS, *START_KINDS))
def test_hook_may_leave_a_child_behind_and_is_not_waited_for_longer(bundle, pyoci, tmp_path, kind):
    """Even one that holds the pipes; in the container's pid namespace it ends with it."""
    child = "/dev/null" if kind in ("createContainer", "startContainer") else tmp_path / "child"
    bundle.edit(lambda config: config.update(hooks={kind: [hook(f"sleep 1000 & echo $! > {child}; exit 0")]}))
    name = pyoci.start(bundle, timeout_s=20)
    assert pyoci.state(name)["status"] == "running"
    if child != "/dev/null":
        os.kill(int(child.read_text()), 9)
        support.reap()


def test_long_output_of_a_hook_is_cut(bundle, pyoci):
    line = failure(bundle, pyoci, "createRuntime", hook("head -c 1000000 /dev/zero | tr '\\0' x; exit 1"))
    assert 4000 < len(line) < 6000


def test_second_hook_is_not_run_after_a_first_that_failed(bundle, pyoci, tmp_path):
    marker = tmp_path / "ran"
    bundle.edit(lambda config: config.update(hooks={"createRuntime": [hook("exit 1"), hook(f"touch {marker}")]}))
    pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert not marker.exists()


def test_failed_poststart_hook_ends_the_process(bundle, pyoci):
    bundle.edit(lambda config: config.update(hooks={"poststart": [hook("exit 1")]}))
    name = pyoci.create(bundle)
    assert "error running poststart hook #0" in pyoci.fails("start", name)
    assert pyoci.state(name)["status"] == "stopped"


def test_failed_poststop_hook_is_told_and_the_container_gone(bundle, pyoci):
    bundle.edit(lambda config: config.update(hooks={"poststop": [hook("exit 5")]}))
    name = pyoci.create(bundle)
    done = pyoci("delete", "--force", name)
    assert done.returncode == 0 and "error running poststop hook #0" in done.stderr and "exit status 5" in done.stderr
    assert not (pyoci.root / name).exists()


def test_descriptors_of_the_caller_are_not_the_hooks(bundle, pyoci):
    reader, writer = os.pipe()
    line = None
    try:
        bundle.edit(lambda config: config.update(hooks={"createRuntime": [hook("echo /proc/self/fd/*; exit 1")]}))
        line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id(), pass_fds=(reader, writer))
    finally:
        os.close(reader)
        os.close(writer)
    assert f"/proc/self/fd/{writer}" not in line and f"/proc/self/fd/{reader} " not in line
