"""Another runtime in pyoci's place: a container's life by runc and by crun.  `MINIDOCKER_RUNTIME=runc pytest tests/minidocker` runs everything by it."""

import pytest
import support
from minidocker_place import Place, assert_nothing_left, take_controllers_from_cgroup2

from pyoci.minidocker.errors import MiniDockerError

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")


@pytest.fixture(params=["runc", "crun"])
def place(request, own_mounts, tmp_path, needs):
    """A Place whose containers are the other runtime's."""
    needs(request.param)
    if request.param == "crun":
        take_controllers_from_cgroup2()
    before = support.snapshot()
    made = Place(tmp_path, request.param)
    yield made
    made.clean()
    made.engine.close()
    assert_nothing_left(made, before)


@pytest.mark.parametrize(
    ("command", "status"),
    [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["nosuch"], 127), (["/no/such"], 127), (["/etc/passwd"], 126), (["sh", "-c", "sleep 9 & kill -9 $!; wait $!"], 137)],
    ids=["0", "own", "missing", "missing-path", "not-executable", "signal"],
)
def test_exit_status_is_dockers(place, command, status):
    done = place.run(*command, name="web")
    assert done.returncode == status, done.stderr


def test_streams_and_environment_arrive(place):
    done = place.run("sh", "-c", "echo out $A; echo err >&2; id -u; pwd", Env=["A=b"], User="1000", WorkingDir="/tmp")
    assert (done.stdout, done.stderr) == ("out b\n1000\n/tmp\n", "err\n")


def test_terminal_is_the_container_s(place):
    done = place.run("sh", "-c", "test -t 0 && test -t 1 && echo terminal", Tty=True)
    assert done.stdout == "terminal\r\n", done.stderr


def test_life_of_a_container(place):
    container_id = place.up("sleep", "1000", name="web", Memory=64 << 20)
    engine = place.engine
    assert engine.inspect("web")["HostConfig"]["Runtime"] == place.runtime
    assert place.command("    status = engine.exec('web', {'Cmd': ['sh', '-c', 'echo in; exit 6'], 'AttachStdout': True})\n").returncode == 6
    with pytest.raises(MiniDockerError) as caught:
        engine.exec("web", {"Cmd": ["nosuch"]}, detach=True)
    assert caught.value.exit_status == 127
    engine.pause("web")
    assert engine.inspect("web")["State"]["Status"] == "paused"
    engine.unpause("web")
    engine.update("web", {"Memory": 96 << 20, "MemorySwap": 192 << 20})
    assert engine.stats("web")["memory_stats"]["limit"] == 96 << 20
    assert engine.top("web")["Processes"][0][-1] == "sleep 1000"
    engine.stop("web", 0)
    assert (place.get("web").status, place.get("web").exit_code) == ("exited", 137)
    engine.start("web")
    engine.restart("web", 0)
    engine.kill("web")
    assert engine.wait("web") == 137
    engine.remove("web")
    assert place.actions(container_id)[-1] == "destroy"


def test_policy_restarts(place):
    container_id = place.up("sh", "-c", "exit 3", RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 1})
    place.until(lambda: place.get(container_id).status == "exited", "its end")
    assert (place.get(container_id).restarts, place.get(container_id).exit_code) == (1, 3)
