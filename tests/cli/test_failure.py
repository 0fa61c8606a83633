"""The words of an error: escapes, length, and when a line of a document is looked up."""

import pytest

from pyoci import errors
from pyoci.cli.failure import LONGEST_MESSAGE, describe, one_line
from pyoci.cli.main import Command


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain é 漢", "plain é 漢"),
        ("a\nb\tc", "a\\nb\\x09c"),
        ("\x00\x1b\x7f\x9b\xff", "\\x00\\x1b\\x7f\\x9bÿ"),
        ("\u0600\ufeff\U000e0001", "\\u0600\\ufeff\\U000e0001"),
        ("\udc80\udcff", "\\x80\\xff"),
        ("\udc7f\udd00\ud800", "\\udc7f\\udd00\\ud800"),
        ("\uffff\U0001fffe", "\\uffff\\U0001fffe"),
    ],
)
def test_characters_that_a_terminal_might_obey_are_escaped(text, shown):
    assert one_line(text) == shown


def test_the_longest_message_is_not_cut():
    assert one_line("x" * LONGEST_MESSAGE) == "x" * LONGEST_MESSAGE
    assert one_line("x" * (LONGEST_MESSAGE + 1)) == "x" * LONGEST_MESSAGE + "..."


@pytest.fixture
def command(tmp_path):
    """`pyoci create --bundle TMP a`, with a config whose member `default` is on line 2 and `mounts` on line 3."""
    (tmp_path / "config.json").write_text('{\n"default": 1,\n"mounts": 2}\n')
    made = Command()
    made.verb, made.values, made.arguments = "create", {"bundle": str(tmp_path)}, ["a"]
    return made


def test_the_line_of_a_config_path_is_filled_in(command):
    assert describe(command, errors.ConfigError("mounts", "bad")) == "config.json:3: mounts: bad"


def test_a_line_that_is_known_already_is_left(command):
    error = errors.ConfigError("mounts", "bad")
    error.line = 9
    assert describe(command, error) == "config.json:9: mounts: bad"


def test_an_operation_that_nobody_asked_for_has_no_line(command):
    error = errors.OperationFailed("default", "hide /proc/acpi", "mount", 1)
    assert describe(command, error) == "hide /proc/acpi: mount: Operation not permitted (EPERM)"
    assert error.line == 0


def test_an_error_of_the_document_as_a_whole_has_no_line(command):
    assert describe(command, errors.ConfigError("", "bad")) == "config.json: bad"


@pytest.mark.parametrize("verb", ["start", "delete", "exec", "kill"])
def test_verbs_without_a_bundle_look_up_no_line(command, monkeypatch, verb):
    monkeypatch.chdir(command.values["bundle"])
    command.verb = verb
    assert describe(command, errors.ConfigError("mounts", "bad")) == "config.json: mounts: bad"


def test_another_document_is_not_looked_up_in_config_json(command):
    assert describe(command, errors.ConfigError("mounts", "bad", document="command line")) == "command line: mounts: bad"


def test_resources_are_looked_up_in_their_file(command, tmp_path):
    (tmp_path / "r.json").write_text('{\n\n"pids": 1}')
    command.verb, command.values = "update", {"resources": f"{tmp_path}/r.json"}
    assert describe(command, errors.ConfigError("pids", "bad", document="resources.json")) == "resources.json:3: pids: bad"


def test_resources_from_standard_input_have_no_line(command):
    command.verb, command.values = "update", {"resources": "-"}
    assert describe(command, errors.ConfigError("pids", "bad", document="resources.json")) == "resources.json: pids: bad"
