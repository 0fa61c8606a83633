"""The example of every command's --help works as it stands, on a terminal.  Those that a registry of the world would have to answer are only read."""

import os
import pty
import select
import shlex
import signal
import subprocess
import sys

import pytest
from minidocker_place import TIMEOUT_S, TREE

from pyoci.minidocker.cli.main import COMMANDS, NOUNS, command_of

pytestmark = pytest.mark.needs("root")

ONLINE = {"pull", "push", "login"}
ENDLESS = {"events"}  # goes on until it is ended
EXAMPLES = {name: command_of(name, module).example for name, module in [*COMMANDS.items(), *(one for words in NOUNS.values() for one in words.values())]}
# What must be there: a container "web" in this state, with `sleep` seconds to live where it runs.
STATES = {
    "running": ["exec", "stop", "rm", "inspect", "restart", "kill", "cp", "stats", "top", "commit", "export", "update", "pause", "rename", "diff", "container inspect",
                "ps", "system check", "system start"],
    "short": ["attach", "wait"],
    "paused": ["unpause"],
    "created": ["start"],
    "exited": ["logs", "container prune", "system prune", "events"],
}  # fmt: skip


def arrange(place, state):
    """A container in that state."""
    if state == "created":
        place.create("echo", "hi", name="web")
    elif state == "exited":
        assert place.run("echo", "hi", name="web").returncode == 0
    elif state:
        place.up("sleep", "1" if state == "short" else "1000", name="web")
        if state == "paused":
            place.engine.pause("web")


def prepare_files(place, folder, name):
    """The files that some examples read."""
    if name == "load":
        run(place, folder, "minidocker save -o busybox.tar busybox")
    if name == "import":
        subprocess.run(["tar", "-czf", folder / "rootfs.tar.gz", "-C", folder, "--files-from", os.devnull], check=True)


def run(place, folder, line, *, endless=False):
    """(exit status, output) of a command line on a terminal, at which `exit` is typed."""
    words = [sys.executable, "-m", "pyoci.minidocker", "--data-root", place.roots.data, "--run-root", place.roots.run, *shlex.split(line)[1:]]
    master, slave = pty.openpty()
    environ = {**os.environ, "PYTHONPATH": str(TREE), "HOME": str(folder), "DOCKER_CONFIG": str(folder)}
    process = subprocess.Popen(words, cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True)
    os.close(slave)
    try:
        os.write(master, b"exit\r")
        shown = b""
        while select.select([master], [], [], TIMEOUT_S)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:  # EIO: nobody holds the other side any more
                break
            if endless and b" die " in shown:
                process.send_signal(signal.SIGTERM)
        return process.wait(TIMEOUT_S), shown.decode("utf-8", "replace")
    finally:
        os.close(master)
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - ONLINE))
def test_example_works(place, tmp_path, name):
    state = next((state for state, names in STATES.items() if name in names), "")
    arrange(place, state)
    folder = tmp_path / "here"
    folder.mkdir()
    prepare_files(place, folder, name)
    for line in EXAMPLES[name].splitlines():
        status, shown = run(place, folder, line, endless=name in ENDLESS)
        assert status == (-signal.SIGTERM if name in ENDLESS else 0), shown
        assert "minidocker: " not in shown


def test_every_state_is_of_commands_that_exist():
    assert {name for names in STATES.values() for name in names} | ONLINE | ENDLESS <= set(EXAMPLES)
