"""Fixtures: one wheel, and one virtual environment with it, a session."""

import os
import subprocess
import sys

import packaging_places as places
import pytest


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    return places.call_backend("build_wheel", places.copy_tree(folder / "tree"), folder)


@pytest.fixture(scope="session")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel installed by pip and the probe in it."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    site = places.make_venv(folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    places.put_probe(site / "pyoci")
    return folder
