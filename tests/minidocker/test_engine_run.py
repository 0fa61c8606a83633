"""A container's whole way, in the foreground and in the background."""

import json
import os
import pathlib

import pytest

from pyoci.kernel.tree import remove_tree
from pyoci.minidocker import containers
from pyoci.minidocker.errors import BadRequest, Conflict, NotFound
from pyoci.minidocker.images import layers
from pyoci.minidocker.start import StartFailed

pytestmark = pytest.mark.needs("root")


def test_run_shows_the_output_and_gives_the_exit_status(place):
    done = place.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_run_writes_the_log_as_json_lines(place):
    place.run("sh", "-c", "echo out; echo err >&2", name="web")
    lines = sorted(place.log("web"), key=lambda line: line["stream"])
    assert [(line["log"], line["stream"]) for line in lines] == [("err\n", "stderr"), ("out\n", "stdout")]
    assert all(line["time"].endswith("Z") for line in lines)


def test_ended_container_is_recorded_as_exited(place):
    place.run("sh", "-c", "exit 3", name="web")
    container = place.get("web")
    assert (container.status, container.exit_code, container.pid) == ("exited", 3, 0)
    assert place.actions(container.id) == ["create", "attach", "start", "die"]


def test_signal_gives_128_and_its_number(place):
    assert place.run("sh", "-c", "kill -9 $$").returncode == 0  # the kernel keeps pid 1 from itself
    assert place.run("sh", "-c", "sh -c 'kill -9 $$'; exit $?").returncode == 137


def test_rm_leaves_no_trace(place):
    done = place.run("true", name="web", AutoRemove=True)
    assert done.returncode == 0
    with pytest.raises(NotFound, match="No such container: web"):
        place.get("web")
    assert list(pathlib.Path(place.roots.data, "containers").iterdir()) == []
    assert list(pathlib.Path(place.roots.run, "containers").iterdir()) == []


@pytest.mark.parametrize(
    ("command", "status"),
    [pytest.param(["nosuch"], 127, id="missing"), pytest.param(["/etc/passwd"], 126, id="not-executable"), pytest.param(["/tmp"], 126, id="a-folder")],
)
def test_program_that_cannot_be_run_gives_dockers_status(place, command, status):
    done = place.run(*command, name="web")
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert place.get("web").status == "created"


def test_rm_takes_away_what_could_not_be_started(place):
    assert place.run("nosuch", name="web", AutoRemove=True).returncode == 127
    assert containers.all_containers(place.store) == []
    assert list(pathlib.Path(place.roots.data, "containers").iterdir()) == []


def test_input_reaches_the_container(place, tmp_path):
    (tmp_path / "in").write_text("one\ntwo\n" * 10_000)
    with open(tmp_path / "in") as file:
        done = place.run("wc", "-l", stdin=file, OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True)
    assert (done.returncode, done.stdout) == (0, "20000\n")


def test_much_output_arrives_whole(place):
    done = place.run("sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done", name="web")
    expected = [f"{number}\n" for number in range(20000)]
    assert done.stdout == "".join(expected)
    assert [line["log"] for line in place.log("web")] == expected


def test_background_container_is_awaited(place):
    container_id = place.up("sh", "-c", "read line; exit 4", OpenStdin=True)
    assert containers.status_of(place.get(container_id)) == "running"
    code = f"    status = engine.wait({container_id!r})\n"
    import subprocess

    from pyoci.minidocker import monitor

    waiting = subprocess.Popen(place.arguments(code))
    link = monitor.connect(place.get(container_id).live)
    link.attach(monitor.WANTS_IN)
    link.say(monitor.INPUT, b"go\n")
    assert waiting.wait(60) == 4
    link.close()
    assert place.get(container_id).status == "exited"


def test_name_in_use_is_refused(place):
    first = place.create("true", name="web")
    with pytest.raises(Conflict) as caught:
        place.create("true", name="web")
    assert str(caught.value) == f'Conflict. The container name "/web" is already in use by container "{first}"'
    assert len(list(pathlib.Path(place.roots.data, "containers").iterdir())) == 1


def test_prefix_of_an_id_names_a_container(place):
    container_id = place.create("true")
    assert place.get(container_id[:12]).id == container_id
    with pytest.raises(NotFound):
        place.get("f" * 12 if not container_id.startswith("f") else "0" * 12)


def test_image_without_a_command_is_refused(place):
    from minidocker_place import add_image

    add_image(place.store, "docker.io/library/empty:latest", Cmd=None)
    with pytest.raises(BadRequest, match="no command specified"):
        place.create(image="empty")


def test_image_for_another_machine_is_told_and_its_failure_explained(place, tmp_path):
    if os.path.basename(place.runtime) in ("runc", "crun"):
        pytest.skip("runc and crun start a program for another machine, which ends then")
    from minidocker_place import add_image

    add_image(place.store, "docker.io/library/foreign:latest", Labels={"a": "b"})
    row = place.store.db.execute("select id, config from images where config like '%\"a\"%'").fetchone()
    with place.store.change() as db:
        db.execute("update images set config = ? where id = ?", (row["config"].replace('"amd64"', '"s390x"'), row["id"]))
    made = place.engine.create(place.body("true", image="foreign"))
    assert "does not match the detected host platform" in made.warnings[0]
    (tmp_path / "program").write_bytes(b"\x7fELF\x02\x02\x01" + b"\0" * 100)
    (tmp_path / "program").chmod(0o755)
    container_id = place.create("/program", Binds=[f"{tmp_path / 'program'}:/program"])
    with pytest.raises(StartFailed) as caught:
        place.engine.start(container_id)
    assert caught.value.exit_status == 126 and "for another machine" in caught.value.hint


def test_container_holds_no_descriptor_of_the_engine(place):
    done = place.run("sh", "-c", "ls -l /proc/self/fd | wc -l")
    assert done.stdout == "5\n"  # 0, 1, 2, the folder that is listed, and the line of the total


def test_config_is_as_the_request_says(place):
    container_id = place.create("true", Hostname="here", User="user", WorkingDir="/tmp")
    place.engine.start(container_id)
    place.engine.wait(container_id)
    config = json.loads(pathlib.Path(place.get(container_id).folder, "bundle", "config.json").read_text())
    assert config["hostname"] == "here"
    assert config["process"]["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000]}
    assert config["process"]["cwd"] == "/tmp"


def test_tree_of_any_depth_is_removed(tmp_path):
    import os

    fd = os.open(tmp_path, os.O_RDONLY)
    for level in range(3000):
        if level == 0:
            os.mkdir("deep", dir_fd=fd)
            inner = os.open("deep", os.O_RDONLY, dir_fd=fd)
        else:
            os.mkdir("d", dir_fd=fd)
            inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    (tmp_path / "deep" / "link").symlink_to(tmp_path)
    assert layers.tree_size(tmp_path) >= 3
    remove_tree(f"{tmp_path}/deep")
    assert list(tmp_path.iterdir()) == []
