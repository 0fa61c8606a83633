"""The clause tests' fixtures. One container a fixture call, removed whatever happens; one probe a session."""
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "tests")]

import abilities
import container as containers
import deviations
import runtime_tools

numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "clause(reference, words): the sentence of the OCI runtime spec that a test examines")


def pytest_collection_modifyitems(items):
    if "RUNTIME" in os.environ:
        return
    for item in items:
        if why := deviations.DEVIATIONS.get(item.originalname):
            item.add_marker(pytest.mark.xfail(reason=why, strict=True))


@pytest.fixture(scope="session")
def workshop():
    """A folder that every user of the host may enter (pytest's own may not): a container's root may be one of them."""
    with tempfile.TemporaryDirectory(prefix="pyoci-clauses-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture(scope="session")
def probe(workshop):
    target = workshop / "probe"
    subprocess.run([shutil.which("cc") or "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-static", "-Os", "-s",
                    "-o", str(target), str(HERE.parent / "probe.c")], check=True)
    return target


@pytest.fixture(scope="session")
def runtime(workshop):
    return containers.Runtime(workshop / "state")


@pytest.fixture(scope="session", autouse=True)
def device_owners():
    """A runtime must not give the host's devices away; a peer that does is put right."""
    before = runtime_tools.device_owners()
    yield
    for device, (uid, gid) in before.items():
        os.chown(device, uid, gid)


@pytest.fixture
def new_container(runtime, workshop, probe):
    """Call it for a container: its config is yours until create()."""
    made = []

    def make():
        container_id = f"clause-{os.getpid()}-{next(numbers)}"
        made.append(containers.Container(runtime, workshop / container_id, container_id, probe))
        return made[-1]

    yield make
    for each in reversed(made):
        each.clean()
        shutil.rmtree(each.bundle, ignore_errors=True)


@pytest.fixture
def container(new_container):
    return new_container()


@pytest.fixture
def needs():
    """Skip unless the host has these abilities (tests/abilities.py)."""
    def check(*names):
        for name in names:
            if (seen := abilities.lack(name)) is not None:
                pytest.skip(f"needs {name}: {seen}")

    return check


class Cgroups:
    """The host's hierarchies, version 1 (a folder a controller) or 2, from outside."""

    def __init__(self):
        self.top = runtime_tools.CGROUP
        self.unified = (self.top / "cgroup.controllers").exists()

    def hierarchy(self, controller):
        return self.top if self.unified else self.top / controller

    def make(self, controller, name):
        folder = self.hierarchy(controller) / name
        folder.mkdir()
        return folder

    def folders(self, name):
        """Every cgroup of this name at the top of a hierarchy."""
        tops = [self.top] if self.unified else runtime_tools.hierarchies()
        return [top / name for top in tops if (top / name).is_dir()]


@pytest.fixture
def cgroups(needs):
    found = Cgroups()
    if not found.unified:
        needs("cgroup1")
    return found
