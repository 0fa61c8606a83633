"""A foreground run or exec: what happens to pyoci itself is not the container's."""

import fcntl
import os
import signal
import subprocess
import sys
import termios

import pytest

pytestmark = pytest.mark.needs("root", "busybox")


def test_broken_pipe_of_our_own_writing_is_not_forwarded(pyoci, bundle):
    """What a write of ours raises is pending though ignored, since every signal is blocked."""
    bundle.shell("trap 'echo forwarded' PIPE; trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    run = pyoci.start_process("run", "--bundle", bundle.path, pyoci.new_id(), stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGPIPE)
    run.send_signal(signal.SIGTERM)
    assert (run.communicate(timeout=60)[0], run.returncode) == ("", 7)


LIBRARY = """
import subprocess, sys
from pyoci.api import Runtime
child = subprocess.Popen(["sh", "-c", "read word < $0; exit 3", sys.argv[4]])
Runtime(sys.argv[1]).run(sys.argv[2], sys.argv[3])
sys.exit(child.wait())
"""


def test_children_of_a_librarys_user_are_left_to_him(pyoci, bundle):
    fifo = bundle.rootfs / "tmp" / "fifo"
    os.mkfifo(fifo)
    bundle.shell("echo end > /tmp/fifo; sleep 0.3")
    words = [sys.executable, "-c", LIBRARY, pyoci.root, pyoci.new_id(), bundle.path, fifo]
    assert subprocess.run(words, stdin=subprocess.DEVNULL, timeout=60, check=False).returncode == 3


@pytest.fixture
def with_terminal(bundle):
    bundle.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
    bundle.process["terminal"] = True
    return bundle


def test_terminal_that_hangs_up_leaves_the_exit_status(pyoci, with_terminal, tmp_path):
    """There is no terminal any more to give its mode back to."""
    with_terminal.shell("trap 'exit 5' HUP; echo ready; while :; do sleep 0.1; done")
    ours, theirs = os.openpty()
    with (tmp_path / "errors").open("w+") as errors:
        run = pyoci.start_process("run", "--bundle", with_terminal.path, pyoci.new_id(), stdin=theirs, stdout=theirs, stderr=errors,
                                  start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # fmt: skip
        os.close(theirs)
        said = b""
        while b"ready" not in said:
            said += os.read(ours, 1000)
        os.close(ours)
        assert run.wait(60) == 5
        errors.seek(0)
        assert errors.read() == ""


def test_process_that_reads_nothing_of_its_terminal_is_heard(pyoci, with_terminal, tmp_path):
    """More input than a terminal holds, and as much output."""
    (tmp_path / "input").write_bytes(b"y\n" * 200_000)
    with_terminal.shell("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; echo all said")
    with (tmp_path / "input").open("rb") as words:
        done = pyoci.run(with_terminal, stdin=words, timeout_s=60)
    assert done.returncode == 0 and "all said" in done.stdout, done.stderr
