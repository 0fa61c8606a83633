"""What the caller's own state must not do to a container, and what other users of the host must not reach."""

import os
import stat

import pytest

pytestmark = pytest.mark.needs("root", "busybox")

SIGNALS_IGNORED = ("grep", "SigIgn", "/proc/self/status")  # no shell, which has its own mind


def hexadecimal(text):
    return int(text.split()[1], 16)


def test_process_begins_with_no_signal_ignored(pyoci, bundle):
    bundle.process["args"] = SIGNALS_IGNORED
    done = pyoci.run(bundle.write())
    assert hexadecimal(done.stdout) == 0, done.stderr


def test_exec_begins_with_no_signal_ignored(pyoci, bundle):
    container_id = pyoci.start(bundle)
    assert hexadecimal(pyoci.ok("exec", container_id, *SIGNALS_IGNORED)) == 0


@pytest.mark.parametrize("umask", [0o022, 0])
def test_gate_is_closed_to_other_users_whatever_the_umask(pyoci, bundle, umask):
    container_id = pyoci.create(bundle, umask=umask)
    gate = os.stat(pyoci.root / container_id / "gate")
    assert stat.S_ISSOCK(gate.st_mode) and not gate.st_mode & 0o077
