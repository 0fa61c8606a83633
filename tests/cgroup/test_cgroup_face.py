"""Making, filling, freezing, signalling and removing cgroups, on the kernel: v1, and a cgroup2 hierarchy."""

import errno
import os
import select
import signal
import time

import pytest

from pyoci.cgroup import face
from pyoci.errors import CleanupError, StateError, SyscallError

FORKER = """
import os, sys
for _ in range(20):
    if os.fork() == 0:
        while True:
            if os.fork() == 0: os._exit(0)
            os.wait()
print('forking', flush=True)
sys.stdin.read()
"""


def nothing(paths):
    """No journal."""


def made(directories):
    return face.identities(face.make(directories, nothing))


def all_exist(directories):
    return {os.path.isdir(path) for path in directories.values()} == {True}


# --- making


def test_make_makes_every_directory_and_names_it(either):
    created = face.make(either, nothing)
    assert all_exist(either)
    assert set(created) == set(either.values())


def test_each_directory_is_told_before_it_is_made_parents_first(either):
    deeper = {name: f"{path}/pod/ctr" for name, path in either.items()}
    told = []
    created = face.make(deeper, lambda paths: told.extend((path, os.path.exists(path)) for path in paths))
    assert sorted(told) == sorted((path, False) for path in created)
    assert len(created) == 3 * len(set(either.values()))
    assert all(created.index(path.rpartition("/")[0]) < created.index(path) for path in deeper.values())


def test_existing_empty_cgroup_is_used_and_neither_told_nor_named_as_made(either):
    made(either)
    told = []
    assert face.make(either, told.extend) == told == []


def test_cgroup_with_processes_is_refused(either, spawn):
    made(either)
    spawn(place=either)
    with pytest.raises(StateError, match=r"^container's cgroup is not empty: 1 process\(es\) found: /sys/fs/cgroup/"):
        face.make(either, nothing)


def test_processes_in_a_cgroup_below_count_too(either, spawn):
    made(either)
    inner = {name: f"{path}/inner" for name, path in either.items()}
    made(inner)
    spawn(place=inner)
    with pytest.raises(StateError, match="1 process"):
        face.make(either, nothing)


def test_frozen_cgroup_is_refused(either):
    made(either)
    face.freeze(either)
    with pytest.raises(StateError, match="^container's cgroup unexpectedly frozen: "):
        face.make(either, nothing)


def test_parent_that_cannot_be_made_is_an_error_that_names_it(either):
    first = next(path for name, path in either.items() if name not in ("", face.SYSTEMD) or len(either) == 1)
    broken = {name: path if path != first else f"{path}/new\nline/a" for name, path in either.items()}
    with pytest.raises(SyscallError) as failed:
        face.make(broken, nothing)
    assert (failed.value.call, failed.value.errno, failed.value.on) == ("mkdir", errno.EINVAL, f"{first}/new\nline")


def test_parent_that_another_container_makes_meanwhile_is_shared(either):
    deeper = {name: f"{path}/ctr" for name, path in either.items()}
    created = face.make(deeper, lambda paths: [os.mkdir(path) for path in paths if path in either.values()])
    assert created == list(dict.fromkeys(deeper.values()))


def test_cgroup_that_another_container_makes_meanwhile_is_refused(either):
    first = next(iter(either.values())) if len(either) == 1 else either["pids"]
    created = []
    with pytest.raises(SyscallError) as failed:
        face.make(either, lambda paths: first in paths and os.mkdir(first), created)
    assert (failed.value.call, failed.value.errno, failed.value.on) == ("mkdir", errno.EEXIST, first)
    assert first not in created


def test_parent_that_another_container_removes_meanwhile_is_made_again(either, monkeypatch):
    deeper = {name: f"{path}/ctr" for name, path in either.items()}
    removed = set()

    def mkdir(path, mode):
        parent = path.rpartition("/")[0]
        if path in deeper.values() and path not in removed and os.path.exists(parent):
            removed.add(path)
            os.rmdir(parent)
        os.mkdir(path, mode)

    monkeypatch.setattr(face, "mkdir", mkdir)
    face.make(deeper, nothing)
    assert removed == set(deeper.values())
    assert all_exist(deeper)


@pytest.mark.needs("cgroup1")
@pytest.mark.parametrize("optional", ["", face.SYSTEMD])
def test_hierarchies_without_limits_may_refuse(v1, spawn, optional):
    if optional not in v1:
        pytest.skip(f"needs a {optional or 'cgroup2'} hierarchy beside version 1: not mounted")
    broken = {**v1, optional: f"/proc/pyoci-can-not-be-made/{optional}"}
    created = face.make(broken, nothing)
    process = spawn(place=broken)
    assert face.processes(broken) == [process.pid]
    assert broken[optional] not in created


@pytest.mark.needs("cgroup1")
def test_new_cpusets_take_the_parents_values_all_the_way_down(v1):
    deeper = {"cpuset": v1["cpuset"] + "/pod/ctr"}
    face.make(deeper, nothing)
    for file in ("cpuset.cpus", "cpuset.mems"):
        assert face.read_file(f"{deeper['cpuset']}/{file}") == face.read_file(f"/sys/fs/cgroup/cpuset/{file}") != "\n"


@pytest.mark.needs("cgroup2")
def test_controllers_are_enabled_down_to_the_container(v2):
    deeper = {"": v2[""] + "/pod/ctr"}
    face.make(deeper, nothing)
    offered = set(face.read_file("/sys/fs/cgroup/cgroup.controllers").split())
    assert set(face.read_file(f"{deeper['']}/cgroup.controllers").split()) == offered


@pytest.mark.needs("cgroup2")
def test_parent_with_processes_is_left_as_it_is(v2, spawn):
    made(v2)
    spawn(place=v2)
    inner = {"": v2[""] + "/inner"}
    face.make(inner, nothing)
    types = [face.read_file(f"{path}/cgroup.type").strip() for path in (v2[""], inner[""])]
    assert (types, face.read_file(f"{inner['']}/cgroup.controllers")) == (["domain", "domain"], "")
    spawn(place=inner)


@pytest.mark.needs("cgroup2-mount")
def test_cgroup_below_a_threaded_one_is_made_threaded(v2):
    made(v2)
    face.write_file(f"{v2['']}/cgroup.type", "threaded")
    inner = {"": f"{v2['']}/inner"}
    face.make(inner, nothing)
    assert face.read_file(f"{inner['']}/cgroup.type") == "threaded\n"


@pytest.mark.needs("cgroup2-mount")
def test_delegated_cgroup_belongs_to_the_user_with_the_files_that_move_processes(v2):
    made(v2)
    face.delegate(v2, 12345)
    owners = {name: os.stat(f"{v2['']}/{name}").st_uid for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.freeze", "cgroup.max.depth")}
    assert owners == {"": 12345, "cgroup.procs": 12345, "cgroup.subtree_control": 12345, "cgroup.freeze": 0, "cgroup.max.depth": 0}


@pytest.mark.needs("cgroup1")
def test_nothing_is_delegated_on_v1(v1):
    made(v1)
    face.delegate(v1, 12345)
    assert os.stat(v1["pids"]).st_uid == 0


# --- processes


def test_placed_process_is_in_every_cgroup(either, spawn):
    made(either)
    process = spawn(place=either)
    for path in either.values():
        assert face.read_file(f"{path}/cgroup.procs") == f"{process.pid}\n"


def test_placing_a_process_that_is_gone_is_an_error(either, spawn):
    made(either)
    process = spawn("true")
    process.wait(30)
    with pytest.raises(SyscallError) as failed:
        face.place(either, process.pid)
    assert failed.value.errno == errno.ESRCH


def test_processes_are_those_of_the_whole_subtree_in_order(either, spawn):
    made(either)
    pids = {spawn(place=either).pid}  # first: on v2 a cgroup with controllers for others takes no process
    inner = {name: f"{path}/a/b" for name, path in either.items()}
    made(inner)
    pids |= {spawn(place=inner).pid, spawn(place=inner).pid}
    assert face.processes(either) == sorted(pids)


def test_vanished_cgroup_has_no_processes(either):
    assert face.processes(either) == []


@pytest.mark.needs("cgroup2")
def test_process_joins_another_one_where_the_container_made_cgroups_of_its_own(v2, spawn):
    made(v2)
    inner = {"": f"{v2['']}/init.scope"}
    made(inner)
    first = spawn(place=inner)
    face.write_file(f"{v2['']}/cgroup.subtree_control", "+memory")
    second = spawn()
    with pytest.raises(SyscallError) as failed:
        face.place(v2, second.pid)
    assert failed.value.errno == errno.EBUSY
    face.place(v2, second.pid, beside_pid=first.pid)
    assert face.read_file(f"{inner['']}/cgroup.procs").split() == [str(first.pid), str(second.pid)]


def test_kill_all_reaches_every_process_of_the_subtree(either, spawn):
    made(either)
    processes = [spawn(place=either)]
    inner = {name: f"{path}/inner" for name, path in either.items()}
    made(inner)
    processes.append(spawn(place=inner))
    face.kill_all(either, signal.SIGKILL)
    assert [process.wait(30) for process in processes] == [-signal.SIGKILL] * 2


def test_kill_all_leaves_no_child_of_a_forking_process(either, gated):
    made(either)
    process = gated(either, FORKER)
    assert process.stdout.readline() == "forking\n"
    face.kill_all(either, signal.SIGKILL)
    process.wait(30)
    wait_until(lambda: face.processes(either) == [])


WAIT_FOR_SIGNAL = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print('ready', flush=True)
signal.sigwait({signal.SIGUSR1})
print('told', flush=True)
sys.stdin.read()
"""


def test_signal_reaches_all_and_leaves_them_running(either, gated):
    made(either)
    processes = [gated(either, WAIT_FOR_SIGNAL) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    face.kill_all(either, signal.SIGUSR1)
    assert [process.stdout.readline() for process in processes] == ["told\n"] * 2
    assert not face.frozen(either)


def test_sigkill_acts_in_a_frozen_cgroup(either, spawn):
    made(either)
    process = spawn(place=either)
    face.freeze(either)
    face.kill_all(either, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


def test_other_signals_leave_a_frozen_cgroup_frozen(either, spawn):
    made(either)
    spawn(place=either)
    face.freeze(either)
    face.kill_all(either, signal.SIGUSR2)
    assert face.frozen(either)


def test_kill_all_spares_the_caller_but_nobody_else(either, gated, spawn):
    made(either)
    other = spawn(place=either)
    code = f"from pyoci.cgroup import face; face.kill_all({either!r}, 9); print('alive')"
    caller = gated(either, code)
    assert select.select([caller.stdout], [], [], 30)[0], "it froze itself"
    assert caller.stdout.readline() == "alive\n"
    assert other.wait(30) == -signal.SIGKILL


def test_kill_all_of_an_empty_cgroup_does_nothing(either):
    made(either)
    face.kill_all(either, signal.SIGKILL)
    face.kill_all(either, signal.SIGTERM)
    assert not face.frozen(either)


# --- freezing


def test_frozen_processes_stand_still_until_thawed(either, spawn):
    made(either)
    process = spawn("sh", "-c", "read line; echo $line", place=either)
    face.freeze(either)
    assert face.frozen(either)
    process.stdin.write(b"on\n")
    process.stdin.flush()
    os.set_blocking(process.stdout.fileno(), False)
    assert process.stdout.read() is None
    face.thaw(either)
    assert not face.frozen(either)
    os.set_blocking(process.stdout.fileno(), True)
    assert process.stdout.readline() == b"on\n"


def test_vanished_cgroup_is_not_frozen(either):
    assert face.frozen(either) is False


def test_cgroup_frozen_through_its_parent_is_not_frozen_itself(either):
    made(either)
    inner = {name: f"{path}/inner" for name, path in either.items()}
    made(inner)
    face.freeze(either)
    assert (face.frozen(either), face.frozen(inner)) == (True, False)


def test_freezing_a_forking_cgroup_succeeds(either, gated):
    made(either)
    process = gated(either, FORKER)
    process.stdout.readline()
    face.freeze(either)
    before = face.processes(either)
    assert face.processes(either) == before


def test_cgroup_that_does_not_freeze_in_time_is_thawed_again(either, spawn, monkeypatch):
    made(either)
    spawn(place=either)
    version = "v2" if face.is_v2(either) else "v1"
    monkeypatch.setattr(face, f"_freeze_{version}", lambda path, deadline: False)
    face.write_file(*freeze_file(either))
    with pytest.raises(SyscallError) as failed:
        face.freeze(either, 0.01)
    assert (failed.value.errno, face.frozen(either)) == (errno.ETIMEDOUT, False)


def test_waiting_for_an_event_ends_at_its_deadline(v2, needs, spawn):
    needs("cgroup2-mount")
    made(v2)
    spawn(place=v2)
    assert face.wait_event(v2[""], "populated 0", time.monotonic() + 0.01) is False


def test_waiting_for_an_event_ends_with_the_event(v2, needs, spawn):
    needs("cgroup2-mount")
    made(v2)
    process = spawn(place=v2)
    process.stdin.close()
    assert face.wait_event(v2[""], "populated 0", time.monotonic() + 30) is True


def freeze_file(directories):
    if face.is_v2(directories):
        return f"{directories['']}/cgroup.freeze", "1"
    return f"{directories['freezer']}/freezer.state", "FROZEN"


# --- removing


def test_remove_takes_what_the_container_made_inside_too(either):
    identities = made(either)
    made({name: f"{path}/a/b" for name, path in either.items()})
    face.remove(either, identities)
    assert not any(os.path.exists(path) for path in either.values())


def test_remove_of_a_missing_cgroup_is_fine(either):
    identities = made(either)
    face.remove(either, identities)
    face.remove(either, identities)


def test_stranger_in_the_place_of_the_container_stays(either):
    identities = made(either)
    for path in identities:
        os.rmdir(path)
        os.mkdir(path)
    face.remove(either, identities)
    assert all_exist(either)


def test_nothing_else_than_what_was_given_is_removed(either):
    made(either)
    face.remove(either, {})
    assert all_exist(either)


def test_parents_that_were_made_go_too(either):
    deeper = {name: f"{path}/pod/ctr" for name, path in either.items()}
    face.remove(deeper, made(deeper))
    assert not any(os.path.exists(path) for path in either.values())


@pytest.mark.parametrize("knows_directories", [True, False], ids=["with-directories", "without"])
def test_parent_that_other_containers_use_by_now_stays_with_them_and_nobody_waits(either, knows_directories):
    ours, theirs = ({name: f"{path}/{end}" for name, path in either.items()} for end in ("ours", "theirs"))
    identities = made(ours)
    assert set(either.values()) < set(identities)
    made(theirs)
    face.remove(ours if knows_directories else {}, identities, timeout_s=5)
    assert all_exist(theirs)
    assert not any(os.path.exists(path) for path in ours.values())


def test_unknown_identity_is_removed_too(either):
    made(either)
    face.remove(either, dict.fromkeys(either.values()))
    assert not any(os.path.exists(path) for path in either.values())


def test_busy_cgroup_is_told_with_its_processes_after_the_rest_was_removed(either, spawn):
    identities = made(either)
    busy = either[""] if face.is_v2(either) else either["pids"]
    process = spawn()
    face.place({"pids": busy, "devices": busy} if len(either) > 1 else either, process.pid)
    with pytest.raises(CleanupError) as failed:
        face.remove(either, identities, timeout_s=0.01)
    assert str(failed.value) == f"could not remove rmdir {busy} (1 process(es) left): Device or resource busy (EBUSY)"
    assert [path for path in either.values() if os.path.exists(path)] == [busy]


def test_remove_waits_for_dying_processes(either, spawn):
    identities = made(either)
    for _ in range(5):
        spawn(place=either)
    face.kill_all(either, signal.SIGKILL)
    face.remove(either, identities)
    assert not any(os.path.exists(path) for path in either.values())


def wait_until(condition):
    """Bounded; what is waited for gives no descriptor to wait on."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()
