"""The example bundles, copied with a rootfs of their own, so that what they write is not written into the tree."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest
from support_fixtures import place, pyoci  # noqa: F401 - pytest finds them by their names here

TREE = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def examples():
    """A copy of bundles/ in which every bundle has a rootfs.  Not below pytest's folder, which a user namespace's root may not enter."""
    with tempfile.TemporaryDirectory(prefix="pyoci-examples-") as tree:
        pathlib.Path(tree).chmod(0o755)
        folder = pathlib.Path(tree) / "bundles"
        shutil.copytree(TREE / "bundles", folder, symlinks=True, ignore=shutil.ignore_patterns("rootfs", "*.log"))
        subprocess.run([sys.executable, folder / "rootfs.py"], capture_output=True, check=True)
        yield folder
