"""The label of a process, as far as a host without a security module can tell: which file is written, by whom, and when.

The attribute files answer only to a module, so timerslack_ns of the same procfs stands in for them: every user may write
it, but only each process its own, and execve keeps it.
tests/vm/apparmor.sh has the real thing.
"""

import json

import pytest
import support

from pyoci.compile import process as compile_process
from pyoci.errors import PyociError
from pyoci.plan.plan import Op

SLACK = ("self/timerslack_ns", None, "56789")


@pytest.fixture
def label(monkeypatch):
    """Has every process label itself with these (file, instead, text); a container's procfs is not there to help."""

    def choose(file, instead, text):
        def labels(process, origin, without, take_slot):
            slot = take_slot()
            return [Op("open_procfs", "process.apparmorProfile", slot), Op("label", "process.apparmorProfile", file, instead, text, slot)]

        monkeypatch.setattr(compile_process, "labels", labels)

    return choose


@pytest.fixture
def without_procfs(bundle):
    """The bundle, whose /proc is an empty directory."""
    bundle.config["mounts"] = []
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    return bundle


def slack(pid):
    with open(f"/proc/{pid}/timerslack_ns") as file:
        return int(file.read())


def life(bundle, pyoci, exec_args=("true",)):
    """(timer slack of the container's process, exit status of an exec)."""
    runtime, name = pyoci.api(), pyoci.new_id()
    runtime.create(name, str(bundle.write().path))
    runtime.start(name)
    status = runtime.exec(name, {**runtime.exec_process(name), "args": list(exec_args)})
    return slack(runtime.state(name)["pid"]), status


def test_label_is_written_on_the_runtimes_procfs(without_procfs, pyoci, label):
    label(*SLACK)
    assert life(without_procfs, pyoci) == (56789, 0)


def test_exec_names_its_label_too(bundle, pyoci, label):
    label(*SLACK)
    assert life(bundle, pyoci, ("sh", "-c", "exit $(( $(cat /proc/self/timerslack_ns) - 56700 ))")) == (56789, 89)


def test_label_needs_no_privilege_on_the_host(open_path, pyoci, label):
    label(*SLACK)
    bundle = support.Bundle(open_path / "bundle")
    bundle.add_user_namespace()
    assert life(bundle, pyoci) == (56789, 0)


def test_file_of_older_kernels_is_written_where_there_is_no_other(bundle, pyoci, label):
    label("self/attr/not-here/exec", "self/timerslack_ns", "56789")
    assert life(bundle, pyoci) == (56789, 0)


def test_label_that_is_refused_fails_the_create_and_leaves_nothing(bundle, pyoci, label):
    label("self/timerslack_ns", None, "docker-default")
    before = support.snapshot(bundle.path)
    with pytest.raises(PyociError) as failed:
        pyoci.api().create(pyoci.new_id(), str(bundle.write().path))
    assert str(failed.value) == (
        "process.apparmorProfile: write docker-default to /proc/self/timerslack_ns: write: Invalid argument (EINVAL); "
        "the security module knows no such label"
    )
    support.assert_unchanged(before)


def test_link_of_procfs_leads_nowhere_else(bundle, pyoci, label):
    """root of a process is a magic link out of the procfs."""
    label("self/root/etc/hostname", None, "x")
    with pytest.raises(PyociError, match=r"open: .*\(ELOOP\)$"):
        pyoci.api().create(pyoci.new_id(), str(bundle.write().path))


def test_profile_without_apparmor_is_told_and_left_out(bundle, pyoci, no_module):
    bundle.process["apparmorProfile"] = "docker-default"
    said = pyoci("create", "--bundle", bundle.write().path, pyoci.new_id())
    assert "process.apparmorProfile: left out, since AppArmor is not enabled on this host" in said.stderr


def test_process_label_without_selinux_is_refused(bundle, pyoci, no_module):
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0"
    line = pyoci.fails("create", "--bundle", bundle.write().path, pyoci.new_id())
    assert "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported" in line


def test_exec_is_confined_as_the_container_is_unless_it_says_otherwise(bundle, pyoci, monkeypatch):
    seen = []
    monkeypatch.setattr(compile_process, "labels", lambda process, *_: seen.append(process.get("apparmorProfile")) or [])
    bundle.process["apparmorProfile"] = "own"
    runtime, name = pyoci.api(), pyoci.new_id()
    runtime.create(name, str(bundle.write().path))
    runtime.start(name)
    plain = json.loads(json.dumps(runtime.exec_process(name)))
    plain["args"] = ["true"]
    del plain["apparmorProfile"]
    runtime.exec(name, plain)
    runtime.exec(name, {**plain, "apparmorProfile": "other"})
    assert seen == ["own", "own", "other"]


@pytest.fixture
def no_module():
    """A host without security modules; others are the virtual machine's."""
    from pyoci.runtime.facts import has_module

    if has_module("AppArmor") or has_module("SELinux"):
        pytest.skip("this host has a security module")
