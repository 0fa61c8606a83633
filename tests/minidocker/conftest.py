"""What tests of MiniDocker share: roots of their own, and a store in them; a place where containers run."""

import pytest
from minidocker_place import own_mounts, place  # noqa: F401 - fixtures, by their names

from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store


@pytest.fixture
def roots(tmp_path):
    """Empty roots below tmp_path."""
    return Roots(tmp_path / "data", tmp_path / "run", environ={})


@pytest.fixture
def store(roots):
    """An open, empty store."""
    store = Store(roots)
    yield store
    store.close()
