"""What holds for every test: abilities, the skips that are accepted, and hypothesis's settings.

With CI or PYOCI_STRICT_SKIPS in the environment, a skip that tests/skips.txt does not list makes the whole run red.
"""

import os
import pathlib

import abilities
import accepted_skips
import hypothesis
import pytest

SKIPS = pathlib.Path(__file__).parent / "skips.txt"
REASON_PREFIX = "Skipped: "

# No deadline: the machine is shared. Under CI the same examples every time, so that a red run is about the change.
hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def is_strict():
    """Whether an unlisted skip is red."""
    return bool(os.environ.get("CI") or os.environ.get("PYOCI_STRICT_SKIPS"))


def skip_without(names):
    """Skip the running test unless the host has every ability."""
    if wrong := abilities.unknown(names):
        pytest.fail(f"unknown ability {', '.join(map(repr, wrong))}; tests/abilities.py names them", pytrace=False)
    for name in names:
        if (seen := abilities.lack(name)) is not None:
            pytest.skip(f"needs {name}: {seen}")


def pytest_collection_modifyitems(items):
    """Refuse an unknown ability before any test runs."""
    for item in items:
        for mark in item.iter_markers("needs"):
            if not mark.args or (wrong := abilities.unknown(mark.args)):
                raise pytest.UsageError(f"{item.nodeid}: needs: unknown ability {wrong if mark.args else 'nothing'!r}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Try the abilities before any fixture is made."""
    for mark in item.iter_markers("needs"):
        skip_without(mark.args)


@pytest.fixture
def needs():
    """Call it with names of abilities inside a test, where a mark would come too early."""
    return lambda *names: skip_without(names)


class SkipWatch:
    """Collects the skips that no row allows."""

    def __init__(self, rows):
        self.rows = rows
        self.unlisted = []

    def note(self, report):
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix(REASON_PREFIX)
        if not accepted_skips.is_listed(self.rows, report.nodeid, reason):
            self.unlisted.append(f"{report.nodeid} | {reason}")

    pytest_runtest_logreport = note
    pytest_collectreport = note

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.unlisted:
            terminalreporter.section("skips that tests/skips.txt does not list", red=True)
            for line in self.unlisted:
                terminalreporter.line(line)


def pytest_configure(config):
    """Watch the skips where they are to be red."""
    try:
        rows = accepted_skips.read_skips(SKIPS.read_text())
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    if is_strict():
        config.pluginmanager.register(SkipWatch(rows), "skip-watch")
