"""A bundle, the runtime with criu in its PATH, and a host that must look as before when the test is over."""

import os
import pathlib
import shutil

import pytest
import support
from support_fixtures import bundle, open_path, place  # noqa: F401 - pytest finds them by their names here


class Criu(support.Pyoci):
    """pyoci, whose callers have a criu in their PATH: the one that PYOCI_CRIU names, or the host's."""

    def __init__(self, root, folder):
        super().__init__(root)
        self.environment = {"PATH": f"{folder}:{support.ENVIRONMENT['PATH']}"}

    def __call__(self, *words, **more):
        return super().__call__(*words, **{"env": self.environment, **more})

    def start_process(self, *words, **more):
        return super().start_process(*words, **{"env": self.environment, **more})


@pytest.fixture(scope="session")
def criu_folder(tmp_path_factory):
    """A folder with `criu` in it."""
    folder = tmp_path_factory.mktemp("criu")
    program = os.environ.get("PYOCI_CRIU") or shutil.which("criu")
    if program:
        (folder / "criu").symlink_to(pathlib.Path(program).resolve())
    return folder


@pytest.fixture
def pyoci(tmp_path, criu_folder):
    """The runtime; whatever a test leaves is deleted, and then nothing may be left of it on the host."""
    runtime = Criu(tmp_path / "state", criu_folder)
    before = support.snapshot()
    yield runtime
    runtime.clean()
    support.assert_unchanged(before)


@pytest.fixture
def images(tmp_path):
    """Where the images go; not there yet."""
    return tmp_path / "images"
