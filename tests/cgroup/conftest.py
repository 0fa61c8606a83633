"""Cgroups of the tests' own, below one unique name each, always removed; and processes to put into them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

from pyoci.cgroup import face, layout

# Ends when its standard input does, so that no test leaves a process behind.
WAITER = ("cat",)


@pytest.fixture
def name():
    return f"/pyoci-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def spawn():
    """spawn(*command, place=directories) -> Popen that is already in its cgroups; killed at the end."""
    started, places = [], []

    def start(*command, place=None):
        process = subprocess.Popen(command or WAITER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started.append(process)
        if place:
            places.append(place)
            face.place(place, process.pid)
        return process

    yield start
    end(started, places)


@pytest.fixture
def gated():
    """gated(directories, code) -> Popen of Python code that begins only once it is in the cgroups."""
    started, places = [], []

    def start(directories, code):
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.stdin.readline()\n{code}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started.append(process)
        places.append(directories)
        face.place(directories, process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        return process

    yield start
    end(started, places)


def end(started, places):
    """Kill and reap, with all that runs in their cgroups (it holds our pipes); v1 lets nothing die that is frozen."""
    for process in started:
        process.kill()
    for directories in places:
        while pids := face.processes(directories):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if face.frozen(directories):
                face.thaw(directories)
    for process in started:
        process.wait()
        process.stdin.close()
        process.stdout.close()


def cleaned(directories):
    """Remove whatever is left of a test's cgroups, with all processes."""
    tops = {path: None for path in directories.values() if os.path.isdir(path)}
    for path in tops:
        one = {"": path} if os.path.exists(f"{path}/cgroup.freeze") else {"freezer": path, "devices": path}
        if os.path.exists(f"{path}/cgroup.freeze") or os.path.exists(f"{path}/freezer.state"):
            face.thaw(one)
        for pid in face.processes(one):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    face.remove({path: path for path in tops}, tops)


@pytest.fixture
def v1(name):
    """The directories of a v1 container, not made yet."""
    directories = layout.directories(layout.read_layout(), name, "id")
    yield directories
    cleaned(directories)


def unified_mount():
    return "/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "/sys/fs/cgroup/unified"


@pytest.fixture
def v2(name):
    """The directory of a container in a cgroup2 hierarchy, not made yet; on a hybrid host without controllers."""
    directories = {"": unified_mount() + name}
    controllers = pathlib.Path(unified_mount(), "cgroup.subtree_control")
    before = set(controllers.read_text().split())
    yield directories
    cleaned(directories)
    if unified_mount() != "/sys/fs/cgroup":  # enabled here, a controller can't be mounted by itself any more, as engines want it
        for added in set(controllers.read_text().split()) - before:
            controllers.write_text(f"-{added}")


@pytest.fixture(params=["v1", "v2"])
def either(request, needs):
    """Directories of each version that this host has."""
    needs("cgroup1" if request.param == "v1" else "cgroup2-mount")
    return request.getfixturevalue(request.param)
