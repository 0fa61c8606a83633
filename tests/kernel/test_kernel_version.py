"""proc.kernel_version, from the names that distributions give their kernels."""

import posix
from types import SimpleNamespace

import pytest

from pyoci.kernel import proc


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-57-cloud-amd64", (6, 1)), ("6.12.48+deb13-amd64", (6, 12)), ("5.15.167.4-microsoft-standard-WSL2", (5, 15)), ("6.10-rc1", (6, 10)), ("7.0", (7, 0))],
)
def test_version_is_the_two_numbers_at_the_start(monkeypatch, release, version):
    monkeypatch.setattr(posix, "uname", lambda: SimpleNamespace(release=release))
    assert proc.kernel_version() == version
