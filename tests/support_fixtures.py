"""Fixtures over support.py, for the conftest.py of a room that runs containers: import the names that it wants."""

import pathlib
import shutil
import tempfile

import pytest
import support


@pytest.fixture(scope="module", autouse=True)
def place():
    """Mounts and orphans of these tests are their own."""
    support.adopt_orphans()
    with support.private_mounts():
        yield


@pytest.fixture
def bundle(tmp_path):
    """A bundle whose process sleeps."""
    return support.Bundle(tmp_path / "bundle")


@pytest.fixture
def pyoci(tmp_path):
    """The runtime; whatever a test leaves is deleted, and then nothing may be left of it on the host."""
    runtime = support.Pyoci(tmp_path / "state")
    before = support.snapshot()
    yield runtime
    runtime.clean()
    support.assert_unchanged(before)


@pytest.fixture
def open_path():
    """A folder that every user may enter, as the root of a user namespace must; pytest's own are closed."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{support.TOKEN}-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
