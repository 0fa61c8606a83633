"""A foreground run or exec: what happens to pyoci itself is not the container's."""

import signal
import subprocess

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
