"""A criu that is broken or lies, and images that somebody else made: one line, nothing left, and no process of anybody else's touched.

The criu is a program of Python that speaks its protocol; no real one is needed.
"""

import json
import os
import pathlib
import stat
import subprocess
import sys

import pytest
import support

from pyoci.kernel.proc import start_time

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim", "cgroup1")

HERE = pathlib.Path(__file__).parents[2]
PROGRAM = f"""#!{sys.executable} -IS
import os, socket, sys
sys.path.insert(0, {str(HERE)!r})
from pyoci.launch import criu_wire as wire
channel = socket.socket(fileno=int(sys.argv[2]))
def say(**values):
    channel.send(wire.encode("response", values))
def notify(script, pid):
    say(type=wire.NOTIFY, success=True, notify={{"script": script, "pid": pid}})
while data := channel.recv(65536):
    asked = wire.decode("request", data)["type"]
    if asked == wire.VERSION:
        say(type=asked, success=True, version={{"major": 3, "minor": 17}})
    else:
        exec(os.environ["DOES"])
"""


@pytest.fixture
def criu(tmp_path):
    """criu(does): an environment whose criu does that when it is asked to dump or to restore."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "criu").write_text(PROGRAM)
    (folder / "criu").chmod(0o755)
    return lambda does: {"PATH": f"{folder}:{support.ENVIRONMENT['PATH']}", "DOES": does}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "descriptors.json").write_text('["", "", ""]')
    return folder


@pytest.fixture
def stranger():
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


LIES = {
    "ends": ("sys.exit(3)", "it ended without an answer, exit status 3"),
    "is killed": ("os.kill(os.getpid(), 9)", "it was killed by signal 9"),
    "garbage": ("channel.send(b'\\xff' * 50)", "an answer that can't be read"),
    "no type": ("channel.send(b'\\x10\\x01')", "an answer that can't be read"),
    "cut": ("channel.send(b'\\x2a\\x7f' + b'\\x0a\\x7d' * 40)", "an answer that can't be read"),
    "huge errno": ("say(type=asked, success=False, cr_errno=2**40); sys.exit()", "error 1099511627776"),
    "negative errno": ("say(type=asked, success=False, cr_errno=-5); sys.exit()", "error -5"),
    "words that a terminal obeys": ("say(type=asked, success=False, cr_errmsg='a\\n\\x1b[31mb'); sys.exit()", "a\\n\\x1b[31mb"),
    "no process": ("say(type=asked, success=True)", "criu names no process that it restored"),
    "itself": ("notify('setup-namespaces', os.getpid())", "which is none that it restored"),
    "huge pid": ("notify('setup-namespaces', 2**40)", "criu names process 1099511627776, which is none that it restored"),
    "negative pid": ("notify('setup-namespaces', -1)", "criu names process -1, which is none that it restored"),
    "process 1": ("notify('setup-namespaces', 1)", "criu names process 1, which is none that it restored"),
}


@pytest.mark.parametrize(("does", "why"), LIES.values(), ids=LIES)
def test_restore_by_a_criu_that_lies_is_one_line(bundle, pyoci, criu, images, does, why):
    line = pyoci.fails("restore", "--detach", "--bundle", bundle.path, "--image-path", images, pyoci.new_id(), env=criu(does))
    assert why in line and "internal error" not in line


@pytest.mark.parametrize("script", ["setup-namespaces", "post-restore"])
def test_process_of_somebody_else_is_not_ended_because_criu_names_it(bundle, pyoci, criu, images, stranger, script):
    does = f"notify({script!r}, {stranger.pid}); channel.recv(65536); sys.exit(1)"
    line = pyoci.fails("restore", "--detach", "--bundle", bundle.path, "--image-path", images, pyoci.new_id(), env=criu(does))
    assert line.endswith(f"criu names process {stranger.pid}, which is none that it restored")
    assert stranger.poll() is None and start_time(stranger.pid)


STREAMS = {
    "deep": "[" * 60000, "half a pair": '["file[\\ud800", "", ""]', "nul": '["file[\\u0000", "", ""]', "two": '["", ""]', "four": '["", "", "", ""]',
    "numbers": "[1, 2, 3]", "object": "{}", "nothing": "", "not utf-8": "\udcff", "huge": json.dumps(["x" * 70000, "", ""]),
}  # fmt: skip


@pytest.mark.parametrize("text", STREAMS.values(), ids=STREAMS)
def test_streams_of_the_images_that_are_no_three_names_are_refused(bundle, pyoci, criu, images, text):
    (images / "descriptors.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    line = pyoci.fails("restore", "--detach", "--bundle", bundle.path, "--image-path", images, pyoci.new_id(), env=criu("sys.exit()"))
    assert line.endswith("descriptors.json: no list of three names, as checkpoint writes it")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("/dev/tty")],
                         ids=["fifo", "endless", "terminal"])  # fmt: skip
def test_streams_of_the_images_that_are_no_file_hold_nobody(bundle, pyoci, criu, images, make):
    (images / "descriptors.json").unlink()
    make(images / "descriptors.json")
    words = ["restore", "--detach", "--bundle", bundle.path, "--image-path", images, pyoci.new_id()]
    assert "descriptors.json" in pyoci.fails(*words, env=criu("sys.exit()"), timeout_s=20)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parent.parent / "precious")], ids=["fifo", "link"])
def test_checkpoint_writes_over_what_bears_a_name_of_its_images_and_not_through_it(bundle, pyoci, criu, images, tmp_path, make):
    (tmp_path / "precious").write_text("precious")
    (images / "descriptors.json").unlink()
    make(images / "descriptors.json")
    name = pyoci.start(bundle)
    pyoci.ok("checkpoint", "--leave-running", "--image-path", images, name, env=criu("say(type=asked, success=True)"), timeout_s=20)
    assert stat.S_ISREG((images / "descriptors.json").lstat().st_mode) and len(json.loads((images / "descriptors.json").read_text())) == 3
    assert (tmp_path / "precious").read_text() == "precious"
