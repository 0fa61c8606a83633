"""The library in a program that has a life of its own: threads, signals, a directory, descriptors."""

import os
import pathlib
import signal
import threading

import pytest
import support

from pyoci.api import Runtime
from pyoci.errors import AlreadyExists, NoSuchContainer, PyociError, WrongStatus

THREADS = 20


def this_process():
    """What a call of the library may not change."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "umask": umask,
        "environ": dict(os.environ),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        "status": [line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line[:3] in ("Cap", "Uid", "Gid", "NoN", "Sec")],
        "cgroup": pathlib.Path("/proc/self/cgroup").read_text(),
        "descriptors": {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if int(name) > 2 and _is_open(name)},
    }


def _is_open(name):
    try:
        os.readlink(f"/proc/self/fd/{name}")
    except OSError:  # the one that lists
        return False
    return True


def life(runtime, name, bundle):
    """A container from its create to its delete, with something of every verb."""
    runtime.create(name, bundle)
    runtime.start(name)
    assert runtime.state(name)["status"] == "running"
    assert runtime.exec(name, {**runtime.exec_process(name), "args": ["sh", "-c", "exit 3"]}) == 3
    runtime.update(name, {"pids": {"limit": 30}})
    runtime.pause(name)
    runtime.resume(name)
    assert len(runtime.ps(name)) == 1
    runtime.kill(name, 15)
    runtime.delete(name, force=True)


def test_no_call_changes_the_process_that_makes_it(bundle, pyoci):
    runtime = pyoci.api()
    where = os.getcwd()
    os.chdir(bundle.path.parent)
    old = os.umask(0o7)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        life(runtime, pyoci.new_id(), str(bundle.path))  # what is loaded once is loaded now
        before = this_process()
        life(runtime, pyoci.new_id(), str(bundle.path))
        bundle.shell("exit 4")
        assert runtime.run(pyoci.new_id(), str(bundle.path)) == 4
        assert runtime.plan(str(bundle.path)).text()
        assert this_process() == before
    finally:
        os.chdir(where)
        os.umask(old)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda config: config["process"].update(args=["not-there"]), "executable file not found"),
        (lambda config: config["mounts"].append({"destination": "/x", "type": "none-such"}), "none-such"),
        (lambda config: config.update(hooks={"createRuntime": [{"path": "/bin/false"}]}), "exit status 1"),
        (lambda config: config["linux"].update(cgroupsPath="/a\nb"), "newline"),
    ],
    ids=["program", "mount", "hook", "refusal"],
)
def test_failed_create_changes_nothing_either(bundle, pyoci, spoil, why):
    bundle.edit(spoil)
    runtime = pyoci.api()
    with pytest.raises(PyociError):
        runtime.create(pyoci.new_id(), str(bundle.path))
    before = this_process()
    with pytest.raises(PyociError, match=why):
        runtime.create(pyoci.new_id(), str(bundle.path))
    assert this_process() == before


def in_threads(work):
    """Call work(number) in THREADS threads that begin together.  Raises what the first of them raised."""
    barrier, failures = threading.Barrier(THREADS), []

    def one(number):
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_twenty_threads_create_and_delete_at_once(bundle, pyoci):
    runtime = pyoci.api()
    names = [pyoci.new_id() for _ in range(THREADS)]
    life(runtime, pyoci.new_id(), str(bundle.path))
    before = this_process()
    in_threads(lambda number: life(runtime, names[number], str(bundle.path)))
    support.reap()
    assert runtime.list() == []
    assert this_process() == before


def test_one_of_twenty_threads_gets_the_id(bundle, pyoci):
    runtime, name, refused = pyoci.api(), pyoci.new_id(), []

    def work(_):
        try:
            runtime.create(name, str(bundle.path))
        except AlreadyExists:
            refused.append(1)

    in_threads(work)
    assert len(refused) == THREADS - 1
    assert runtime.state(name)["status"] == "created"


def test_one_of_twenty_threads_starts_it(bundle, pyoci):
    runtime, name, refused = pyoci.api(), pyoci.new_id(), []
    runtime.create(name, str(bundle.path))

    def work(_):
        try:
            runtime.start(name)
        except WrongStatus:
            refused.append(1)

    in_threads(work)
    assert len(refused) == THREADS - 1
    assert runtime.state(name)["status"] == "running"


def test_one_of_twenty_threads_deletes_it(bundle, pyoci):
    runtime, name, missing = pyoci.api(), pyoci.new_id(), []
    runtime.create(name, str(bundle.path))

    def work(_):
        try:
            runtime.delete(name)
        except NoSuchContainer:
            missing.append(1)

    in_threads(work)
    assert len(missing) == THREADS - 1


def test_runtimes_with_different_roots_do_not_know_each_other(bundle, pyoci, tmp_path):
    name = pyoci.new_id()
    other = Runtime(str(tmp_path / "other"))
    pyoci.api().create(name, str(bundle.path))
    with pytest.raises(NoSuchContainer):
        other.state(name)
    (tmp_path / "other").mkdir()
    assert other.list() == []


def test_warning_is_told_to_the_caller(bundle, pyoci):
    bundle.mount("/data", "bind", "/etc", "bind", "mode=755")
    told = []
    Runtime(str(pyoci.root), warn=told.append).plan(str(bundle.path))
    assert told == ["mounts[5].options: no meaning for a bind mount, so left out: mode=755"]
