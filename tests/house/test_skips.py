"""The rules about skips: an ability is known by name, and in CI a skip is listed or red."""

import os
import pathlib
import subprocess
import sys

import abilities
import pytest
from accepted_skips import is_listed, read_skips

TESTS = pathlib.Path(__file__).parent.parent


def run_pytest(folder, body, **environ):
    """Run one test module under this house's conftest; returns (exit status, output)."""
    for name in ("conftest.py", "abilities.py", "accepted_skips.py"):
        (folder / name).write_text((TESTS / name).read_text())
    (folder / "skips.txt").write_text("test_it.py::test_allowed | needs systemd* | there is none on the build machine\n")
    (folder / "setup.cfg").write_text("[tool:pytest]\naddopts = --strict-markers\nmarkers = needs(*abilities): x\n")
    (folder / "test_it.py").write_text("import pytest\n" + body)
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "PYOCI_STRICT_SKIPS")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=folder, env={**clean, **environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_unlisted_skip_is_red_in_ci(tmp_path):
    status, output = run_pytest(tmp_path, "def test_quiet(): pytest.skip('no reason')\n", CI="1")
    assert status == 1
    assert "test_it.py::test_quiet | no reason" in output


def test_unlisted_skip_is_accepted_elsewhere(tmp_path):
    status, _output = run_pytest(tmp_path, "def test_quiet(): pytest.skip('no reason')\n")
    assert status == 0


def test_module_skipped_at_import_is_red_in_ci(tmp_path):
    status, output = run_pytest(tmp_path, "pytest.skip('all of it', allow_module_level=True)\n", PYOCI_STRICT_SKIPS="1")
    assert status != 0
    assert "test_it.py | all of it" in output


def test_listed_skip_is_accepted_in_ci(tmp_path):
    status, output = run_pytest(tmp_path, "def test_allowed(): pytest.skip('needs systemd: not running')\n", CI="1")
    assert status == 0, output


def test_failure_stays_a_failure_beside_a_listed_skip(tmp_path):
    status, _output = run_pytest(tmp_path, "def test_allowed(): pytest.skip('needs systemd: x')\ndef test_bad(): assert 0\n", CI="1")
    assert status == 1


def test_unknown_ability_stops_the_run(tmp_path):
    status, output = run_pytest(tmp_path, "@pytest.mark.needs('cgruop2')\ndef test_any(): pass\n")
    assert status == 4
    assert "cgruop2" in output


def test_needs_without_a_name_stops_the_run(tmp_path):
    status, _output = run_pytest(tmp_path, "@pytest.mark.needs\ndef test_any(): pass\n")
    assert status == 4


def test_unknown_ability_asked_by_fixture_fails(tmp_path):
    status, output = run_pytest(tmp_path, "def test_any(needs): needs('cgruop2')\n")
    assert status == 1
    assert "unknown ability 'cgruop2'" in output


def test_ability_is_had_by_trying():
    assert abilities.lack("gcc") is None or "gcc" in abilities.lack("gcc")
    with pytest.raises(KeyError):
        abilities.lack("cgruop2")


def test_row_without_a_why_is_refused():
    with pytest.raises(ValueError, match=r"skips\.txt:1: not NODEID"):
        read_skips("tests/x.py::* | needs crun* |\n")


def test_row_matches_by_test_and_reason():
    rows = read_skips("# c\n\ntests/a.py::* | needs crun* | why\n")
    assert is_listed(rows, "tests/a.py::test_b[1]", "needs crun: no crun")
    assert not is_listed(rows, "tests/a.py::test_b", "too slow")
    assert not is_listed(rows, "tests/b.py::test_b", "needs crun: no crun")
