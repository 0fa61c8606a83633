"""SIGKILL at every operation and at any moment: `delete --force` leaves nothing, and touches nothing that is another's.

pyoci is killed in a child of this process, at a HOST operation, before its deed and after it; or as a command, at a random moment.
"""

import contextlib
import errno
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess

import pytest
import support
from rich_bundles import CASES

from pyoci.cgroup import face
from pyoci.errors import NoSuchContainer, OperationFailed, PyociError, SyscallError
from pyoci.launch import host
from pyoci.launch.run import Launch
from pyoci.launch.undo import Trail, journal_of
from pyoci.plan.ops import HOST, TABLE
from pyoci.state.journal import parse
from pyoci.state.store import Container

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")

RANDOM_KILLS = 100
LONGEST_S = 0.08
SEED = int(os.environ.get("PYOCI_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@pytest.fixture(params=["rich", "joining_user", "without_mounts"])
def case(request, open_path):
    made = CASES[request.param](open_path)
    yield made
    made.close()


def host_operations(case):
    return [index for index, op in enumerate(case.plan()) if TABLE[op.number][1] == HOST]


def create_until(case, container_id, index, done):
    """Create in a child that kills itself at that operation, before the deed or after it."""
    real_deed = Launch._deed

    def deed(launch, at):
        if at == index and not done:
            os.kill(os.getpid(), signal.SIGKILL)
        real_deed(launch, at)
        if at == index:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            Launch._deed = deed
            case.runtime().create(container_id, str(case.bundle.path), **case.options)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    case.tidy()


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_create_killed_at_any_host_operation_can_be_deleted(case, done):
    found = []
    for index in host_operations(case):
        name = f"{support.TOKEN}-killed-{index}"
        before = support.snapshot(case.folder)
        create_until(case, name, index, done)
        with contextlib.suppress(NoSuchContainer):
            assert case.runtime().state(name)["status"] in ("created", "stopped")
        try:
            case.runtime().delete(name, force=True)
            support.assert_unchanged(before)
        except (AssertionError, PyociError) as error:
            found.append(f"{index}: {error}")
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_create_killed_at_a_random_moment_can_be_deleted(bundle, pyoci, tmp_path):
    dice = random.Random(SEED)
    pyoci.root.mkdir()
    bundle.edit(lambda config: config["mounts"].append({"destination": "/new/place", "type": "tmpfs", "source": "tmpfs"}))
    bundle.linux["resources"] = {"pids": {"limit": 100}}
    bundle.write()
    before = support.snapshot(tmp_path)
    for number in range(RANDOM_KILLS):
        name = pyoci.new_id("random")
        process = pyoci.start_process("create", "--bundle", bundle.path, "--pid-file", tmp_path / "pid", name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(dice.uniform(0, LONGEST_S))
        process.kill()
        process.wait()
        complete = trail(pyoci, name).complete
        try:
            pyoci.api().delete(name, force=True)
            if complete:  # then the mount points stay, and the pid file is its caller's
                os.unlink(tmp_path / "pid")
                os.rmdir(bundle.rootfs / "new" / "place")
                os.rmdir(bundle.rootfs / "new")
            else:
                assert process.returncode
            support.assert_unchanged(before)
        except AssertionError as error:
            raise AssertionError(f"try {number} of PYOCI_KILL_SEED={SEED}") from error


def test_deleting_what_a_kill_left_is_no_container_without_force(bundle, pyoci):
    name = half_made(bundle, pyoci)
    assert pyoci.fails("delete", name) == f"container does not exist: {name}"
    assert not (pyoci.root / name).exists()


def half_made(bundle, pyoci, operation="record"):
    """A container whose create was killed before the operation."""
    name = pyoci.new_id("half")
    ops = pyoci.api().plan(str(bundle.path), name, detach=True).create
    index = next(index for index, op in enumerate(ops) if op.name == operation)

    class Case:
        options = {}
        runtime = staticmethod(pyoci.api)
        tidy = staticmethod(lambda: None)

    Case.bundle = bundle
    create_until(Case, name, index, False)
    for pid, _ in trail(pyoci, name).processes:
        support.wait_for_end(pid)
    return name


def test_init_that_is_killed_is_told_with_its_signal(bundle, pyoci):
    """A hook kills it, so that the moment is certain; by SIGKILL, as the kernel does when there is no memory."""
    script = "read state; pid=${state##*\\\"pid\\\":}; kill -9 ${pid%%,*}"
    bundle.edit(lambda config: config.update(hooks={"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}))
    before = support.snapshot(bundle.path)
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert "init was killed by signal 9 (possibly OOM-killed)" in line
    support.assert_unchanged(before)


def test_hook_of_a_killed_create_does_not_outlive_the_delete(bundle, pyoci, tmp_path):
    before = support.snapshot()
    began = support.Signal(tmp_path / "began")
    name = pyoci.new_id()
    noted = f"until grep -q hook {pyoci.root}/{name}/journal; do :; done"
    script = f"sleep 1000 & {noted}; echo > {began.path}; wait"
    bundle.edit(lambda config: config.update(hooks={"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}))
    process = pyoci.start_process("create", "--bundle", bundle.path, name)
    began.wait()
    process.kill()
    process.wait()
    pyoci.ok("delete", "--force", name)
    support.assert_unchanged(before)


# --- strangers


@pytest.fixture
def stranger():
    """A process that is nobody's container."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    yield process
    process.communicate()


def trail(pyoci, name):
    return Trail(parse(journal_of(Container(str(pyoci.root), name))))


def replace_cgroups(pyoci, name, pid):
    """Remove the container's cgroups and make others in their places, with a stranger in them.  Returns their paths."""
    places = list(trail(pyoci, name).cgroups)
    for path in places:
        os.rmdir(path)
    for path in places:
        os.mkdir(path)
        if "cpuset" in path:
            for file in ("cpuset.cpus", "cpuset.mems"):
                pathlib.Path(path, file).write_text(pathlib.Path(path, "..", file).read_text())
        pathlib.Path(path, "cgroup.procs").write_text(str(pid))
    return places


@pytest.mark.parametrize("complete", [False, True], ids=["half-made", "stopped"])
def test_cgroup_of_the_same_path_that_others_made_is_left_alone(bundle, pyoci, stranger, complete):
    if complete:
        name = pyoci.start(bundle.shell("exit 0"))
        support.wait_until_stopped(pyoci, name)
    else:
        name = half_made(bundle, pyoci)
    places = replace_cgroups(pyoci, name, stranger.pid)
    try:
        pyoci.ok("delete", "--force", name)
        assert stranger.poll() is None
        assert [path for path in places if not os.path.isdir(path)] == []
    finally:
        stranger.communicate()
        for path in places:
            os.rmdir(path)


def test_cgroups_that_another_create_was_faster_to_make_are_left_alone(bundle, pyoci, monkeypatch):
    """All are told before the first is made: those that it did not come to are the other's, too."""
    name = pyoci.new_id()
    theirs = []

    def mkdir(path, mode):
        if not theirs:
            theirs.extend(trail(pyoci, name).cgroups)
            for place in theirs:
                os.mkdir(place)
        os.mkdir(path, mode)

    monkeypatch.setattr(face, "mkdir", mkdir)
    try:
        with pytest.raises(OperationFailed, match=r"linux\.cgroupsPath: .*mkdir: .*: File exists \(EEXIST\)"):
            pyoci.api().create(name, str(bundle.path))
        assert [path for path in theirs if not os.path.isdir(path)] == [] != theirs
    finally:
        for path in theirs:
            os.rmdir(path)


def rewrite_journal(pyoci, name, change):
    path = pyoci.root / name / "journal"
    path.write_bytes(change(path.read_bytes()))


def test_process_that_has_the_pid_by_now_is_left_alone(bundle, pyoci, stranger):
    name = half_made(bundle, pyoci)
    pid, started = trail(pyoci, name).processes[0]
    rewrite_journal(pyoci, name, lambda text: text.replace(f"process\t{pid}\t".encode(), f"process\t{stranger.pid}\t".encode()))
    assert trail(pyoci, name).processes == [(stranger.pid, started)]
    pyoci.ok("delete", "--force", name)
    assert stranger.poll() is None


def test_file_put_into_a_mount_point_keeps_it(bundle, pyoci):
    bundle.mount("/new/place").mount("/new/other")
    name = half_made(bundle, pyoci)
    (bundle.rootfs / "new" / "place" / "precious").write_text("precious")
    pyoci.ok("delete", "--force", name)
    assert sorted(os.listdir(bundle.rootfs / "new")) == ["place"]
    assert (bundle.rootfs / "new" / "place" / "precious").read_text() == "precious"


def test_mount_point_that_was_filled_instead_of_made_is_kept(bundle, pyoci, tmp_path):
    bundle.mount("/new", "bind", "/etc/hostname", "bind")
    name = half_made(bundle, pyoci)
    (bundle.rootfs / "new").write_text("precious")
    pyoci.ok("delete", "--force", name)
    assert (bundle.rootfs / "new").read_text() == "precious"


def test_directory_exchanged_for_a_link_leads_the_undo_nowhere(bundle, pyoci, tmp_path):
    bundle.mount("/new/place")
    name = half_made(bundle, pyoci)
    outside = tmp_path / "outside"
    (outside / "place").mkdir(parents=True)
    (bundle.rootfs / "new").rename(bundle.rootfs / "moved")
    (bundle.rootfs / "new").symlink_to(outside)
    pyoci.ok("delete", "--force", name)
    assert (outside / "place").is_dir()


def test_directory_that_others_made_anew_is_kept_with_what_is_in_it(bundle, pyoci):
    bundle.mount("/new/place")
    name = half_made(bundle, pyoci)
    (bundle.rootfs / "new").rename(bundle.rootfs / "moved")
    (bundle.rootfs / "new" / "place").mkdir(parents=True)
    pyoci.ok("delete", "--force", name)
    assert (bundle.rootfs / "new" / "place").is_dir()


def test_pid_file_of_another_is_kept_when_create_fails(bundle, pyoci, tmp_path, stranger, monkeypatch):
    """The path was there before: what a failed create did not write is not its to remove."""

    def put_file(path, data, before):
        before(path)
        raise SyscallError("write", errno.ENOSPC, path)

    monkeypatch.setattr(host, "put_file", put_file)
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(stranger.pid))
    with pytest.raises(OperationFailed):
        pyoci.api().create(pyoci.new_id(), str(bundle.path), pid_file=str(pid_file))
    assert pid_file.read_text() == str(stranger.pid)


@pytest.fixture
def volumes(bundle, tmp_path):
    """The bundle, whose mounts need mount points in two volumes of the host, one of them named relatively."""
    for folder in (tmp_path / "volume", tmp_path / "other", bundle.path / "relative"):
        folder.mkdir()
        (folder / "precious").write_text("precious")
    bundle.mount("/data", "bind", tmp_path / "volume", "bind").mount("/data/new/place").mount("/data/file", "bind", "/etc/hostname", "bind")
    bundle.mount("/data/new/other", "bind", tmp_path / "other", "rbind").mount("/data/new/other/deep/er").mount("/near", "none", "relative", "bind")
    return bundle.mount("/near/inner")


def assert_failed_create_leaves_nothing(bundle, pyoci, folder):
    """Neither in the folder nor elsewhere on the host."""
    bundle.process["args"] = ["no-such-program"]
    bundle.write()
    before = support.snapshot(folder)
    pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    shutil.rmtree(pyoci.root)
    support.assert_unchanged(before)


def test_create_that_fails_leaves_no_mount_point_in_a_volume_of_the_host(volumes, pyoci, tmp_path):
    assert_failed_create_leaves_nothing(volumes, pyoci, tmp_path)


def test_killed_create_leaves_no_mount_point_in_a_volume_of_the_host(volumes, pyoci, tmp_path):
    before = support.snapshot(tmp_path)
    pyoci.ok("delete", "--force", half_made(volumes, pyoci))
    shutil.rmtree(pyoci.root)
    support.assert_unchanged(before)


@pytest.fixture
def beside_own(bundle, tmp_path):
    """The bundle, with mount points in a tmpfs of its own, and in a volume that is a tmpfs of the host."""
    disk = tmp_path / "disk"
    disk.mkdir()
    support.mount("tmpfs", disk, "tmpfs", 0, "")
    bundle.mount("/own").mount("/own/in/ner").mount("/data", "bind", disk, "bind").mount("/data/new/place")
    yield bundle
    subprocess.run(["umount", disk], check=True)


def test_create_that_fails_leaves_no_mount_point_in_a_tmpfs_of_the_host(beside_own, pyoci, tmp_path):
    assert_failed_create_leaves_nothing(beside_own, pyoci, tmp_path)


def test_what_goes_with_a_tmpfs_of_its_own_is_not_noted(beside_own, pyoci):
    name = half_made(beside_own, pyoci)
    made = {made_name for *_rest, made_name in trail(pyoci, name).made}
    pyoci.ok("delete", "--force", name)
    assert made & {"own", "in", "ner", "data", "new", "place"} == {"own", "data", "new", "place"}


def test_mount_point_in_a_volume_is_kept_once_the_container_came_up_or_it_is_filled(volumes, pyoci, tmp_path):
    pyoci.ok("delete", "--force", pyoci.start(volumes))
    assert (tmp_path / "volume" / "new" / "place").is_dir()
    shutil.rmtree(tmp_path / "volume" / "new")
    name = half_made(volumes, pyoci)
    (tmp_path / "volume" / "new" / "place" / "mine").write_text("mine")
    pyoci.ok("delete", "--force", name)
    assert sorted(os.listdir(tmp_path / "volume" / "new")) == ["place"] and (tmp_path / "volume" / "new" / "place" / "mine").exists()


def test_pid_file_that_became_a_fifo_holds_no_undo(bundle, pyoci, tmp_path, monkeypatch):
    def put_file(path, data, before):
        before(path)
        os.mkfifo(path)
        raise SyscallError("write", errno.ENOSPC, path)

    monkeypatch.setattr(host, "put_file", put_file)
    signal.alarm(20)
    with pytest.raises(OperationFailed):
        pyoci.api().create(pyoci.new_id(), str(bundle.path), pid_file=str(tmp_path / "pid"))
    signal.alarm(0)


def test_names_with_tabs_and_newlines_are_undone_as_others(open_path, pyoci):
    """The journal parts its fields by tabs and its lines by a NUL and a newline."""
    bundle = support.Bundle(open_path / "bun\tdle\n", "no-such-program")
    bundle.mount("/new\tone/pla\nce").mount("/made\tfi\nle", "bind", "/etc/hostname", "bind")
    bundle.linux["devices"] = [{"path": "/no\tde/\tfuse\n", "type": "c", "major": 10, "minor": 229}]
    bundle.linux["cgroupsPath"] = f"/{support.TOKEN}/one\ttwo/three\tfour"
    bundle.write()
    before = support.snapshot(open_path)
    pyoci.fails("create", "--pid-file", open_path / "pi\td", "--bundle", bundle.path, pyoci.new_id())
    support.assert_unchanged(before)


def test_cgroup_whose_path_holds_a_tab_is_removed_and_no_strangers(bundle, pyoci):
    """What stands before the tab is the path of another cgroup."""
    bundle.linux["cgroupsPath"] = f"/{support.TOKEN}/one\ttwo"
    name = pyoci.start(bundle.write())
    directories = json.loads((pyoci.root / name / "state.json").read_text())["cgroups"].values()
    strangers = {directory.partition("\t")[0] for directory in directories}
    for path in strangers:
        os.mkdir(path)
    try:
        pyoci.ok("delete", "--force", name)
        assert all(os.path.isdir(path) for path in strangers)
        assert not any(os.path.isdir(path) for path in directories)
    finally:
        for path in strangers:
            os.rmdir(path)
            os.rmdir(os.path.dirname(path))


def test_torn_journal_still_serves(bundle, pyoci, tmp_path):
    name = half_made(bundle, pyoci)
    rewrite_journal(pyoci, name, lambda text: text + b"made\t1:2")
    before = json.dumps(sorted(os.listdir(bundle.rootfs)))
    pyoci.ok("delete", "--force", name)
    assert before == json.dumps(sorted(os.listdir(bundle.rootfs)))
