"""The command line over a fake api, and a caller: argv in; status, output and error text back."""

import sys
import types

import pytest
from fake_api import FakeApi

from pyoci.cli import main as cli


@pytest.fixture
def api(monkeypatch):
    fake = FakeApi()
    module = types.ModuleType("pyoci.api")
    module.Runtime = fake.runtime
    monkeypatch.setitem(sys.modules, "pyoci.api", module)
    return fake


@pytest.fixture
def pyoci(capfd):
    """Call main with words; returns (status, standard output, standard error)."""

    def call(*words):
        capfd.readouterr()
        status = cli.main(["pyoci", *words])
        out, err = capfd.readouterr()
        return status, out, err

    return call
