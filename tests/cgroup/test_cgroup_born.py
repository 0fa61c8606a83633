"""A process that is born in its cgroup of version 2, or can't be."""

import errno
import os

import pytest

from pyoci.cgroup import face
from pyoci.errors import SyscallError
from pyoci.kernel import calls

pytestmark = pytest.mark.needs("root", "shim", "cgroup2-mount")


@pytest.fixture
def born():
    """born(directory) starts a process there that ends at once, and gives its /proc/PID/cgroup."""

    def start(directory):
        exe, group = os.open("/bin/true", os.O_PATH | os.O_CLOEXEC), os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pid, pidfd = calls.spawn(0, exe_fd=exe, channel_fd=exe, channel_number=3, cgroup_fd=group)
        finally:
            os.close(exe)
            os.close(group)
        # It lies there, dead, until it is reaped.
        where = face.read_file(f"/proc/{pid}/cgroup")
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        return where

    return start


def test_process_is_there_from_the_start(v2, born):
    face.make(v2, lambda paths: None)
    own = v2[""].removeprefix("/sys/fs/cgroup/unified").removeprefix("/sys/fs/cgroup")
    assert f"0::{own}" in born(v2[""]).splitlines()


def test_cgroup_that_takes_no_process_is_an_error_of_clone3(v2, born):
    """Below a threaded cgroup a new one is unusable; the kernel finds out when it has begun to fill in what clone3 returns."""
    face.make(v2, lambda paths: None)
    for name in ("threaded", "invalid"):
        os.mkdir(f"{v2['']}/{name}")
    face.write_file(f"{v2['']}/threaded/cgroup.type", "threaded")
    with pytest.raises(SyscallError) as caught:
        born(f"{v2['']}/invalid")
    assert (caught.value.call, caught.value.errno) == ("clone3", errno.EOPNOTSUPP)
