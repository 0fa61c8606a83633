"""The parser: every form, every refusal by its full text, and no word that makes it raise anything else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.cli import options
from pyoci.cli.options import COUNT, LIST, NUMBER, SWITCH, TEXT, BadUsage, absolute, check_count, number, parse

TABLE = (
    ("bundle", "b", TEXT, "DIR", "text"),
    ("force", "f", SWITCH, "", "switch"),
    ("limit", "", NUMBER, "N", "number"),
    ("preserve-fds", "", COUNT, "N", "count"),
    ("env", "e", LIST, "X", "list"),
    ("half", "", lambda text: int(text) / 2, "N", "function"),
)


@pytest.mark.parametrize(
    "line, values, positionals",
    [
        pytest.param([], {}, [], id="nothing"),
        pytest.param(["a", "b"], {}, ["a", "b"], id="positionals"),
        pytest.param(["--bundle", "/x", "a"], {"bundle": "/x"}, ["a"], id="two dashes, next word"),
        pytest.param(["-bundle", "/x", "a"], {"bundle": "/x"}, ["a"], id="one dash, next word"),
        pytest.param(["--bundle=/x", "a"], {"bundle": "/x"}, ["a"], id="two dashes, equals"),
        pytest.param(["-bundle=/x", "a"], {"bundle": "/x"}, ["a"], id="one dash, equals"),
        pytest.param(["-b", "/x"], {"bundle": "/x"}, [], id="short"),
        pytest.param(["--b=/x"], {"bundle": "/x"}, [], id="short with two dashes"),
        pytest.param(["--bundle="], {"bundle": ""}, [], id="empty value"),
        pytest.param(["--bundle=a=b"], {"bundle": "a=b"}, [], id="equals in value"),
        pytest.param(["--bundle", "--force"], {"bundle": "--force"}, [], id="a value may look like a flag"),
        pytest.param(["--bundle", "--"], {"bundle": "--"}, [], id="a value may be two dashes"),
        pytest.param(["-b", "1", "-b", "2"], {"bundle": "2"}, [], id="the last one counts"),
        pytest.param(["a", "--force"], {"force": True}, ["a"], id="flag after positional"),
        pytest.param(["--force=true"], {"force": True}, [], id="switch true"),
        pytest.param(["--force=1"], {"force": True}, [], id="switch 1"),
        pytest.param(["--force=false"], {"force": False}, [], id="switch false"),
        pytest.param(["--force", "false"], {"force": True}, ["false"], id="a switch takes no word"),
        pytest.param(["-e", "A=1", "--env=B=2,3"], {"env": ["A=1", "B=2,3"]}, [], id="repeatable, no split at commas"),
        pytest.param(["--limit", "-1"], {"limit": -1}, [], id="negative number"),
        pytest.param(["--limit=+7"], {"limit": 7}, [], id="plus sign"),
        pytest.param(["--preserve-fds", "3"], {"preserve-fds": 3}, [], id="count"),
        pytest.param(["--preserve-fds=0"], {"preserve-fds": 0}, [], id="count of none"),
        pytest.param(["--half", "3"], {"half": 1.5}, [], id="function"),
        pytest.param(["--", "--force", "-x"], {}, ["--force", "-x"], id="words after two dashes"),
        pytest.param(["a", "--", "--force"], {}, ["a", "--force"], id="two dashes after a positional"),
        pytest.param(["-"], {}, ["-"], id="one dash is a positional"),
        pytest.param([""], {}, [""], id="empty word"),
        pytest.param(["-h"], {"help": True}, [], id="help is always known, short"),
        pytest.param(["a", "--help"], {"help": True}, ["a"], id="help is always known, long"),
    ],
)
def test_forms_of_flags(line, values, positionals):
    assert parse(line, TABLE) == (values, positionals)


@pytest.mark.parametrize(
    "line, values, positionals",
    [
        pytest.param(["-f", "id", "-f", "--nope"], {"force": True}, ["id", "-f", "--nope"], id="stops at the first positional"),
        pytest.param(["--", "id", "--force"], {}, ["id", "--force"], id="two dashes before it"),
        pytest.param(["id", "--", "x"], {}, ["id", "--", "x"], id="two dashes behind it are its own"),
    ],
)
def test_in_order_the_first_positional_ends_the_flags(line, values, positionals):
    assert parse(line, TABLE, in_order=True) == (values, positionals)


@pytest.mark.parametrize(
    "line, text",
    [
        (["--bogus"], "flag provided but not defined: -bogus"),
        (["-bogus=1"], "flag provided but not defined: -bogus"),
        (["-fb"], "flag provided but not defined: -fb"),
        (["--"[:1] + "é"], "flag provided but not defined: -é"),
        (["--bundle"], "flag needs an argument: --bundle"),
        (["a", "-b"], "flag needs an argument: -b"),
        (["---force"], "bad flag syntax: ---force"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-=x"], "bad flag syntax: -=x"),
        (["--force=maybe"], 'invalid boolean value "maybe" for -force: parse error'),
        (["-f="], 'invalid boolean value "" for -f: parse error'),
        (["--limit=x"], 'invalid value "x" for flag -limit: parse error'),
        (["--limit="], 'invalid value "" for flag -limit: parse error'),
        (["--limit", "1_0"], 'invalid value "1_0" for flag -limit: parse error'),
        (["--limit", "٣"], 'invalid value "٣" for flag -limit: parse error'),
        (["--limit", "9" * 5000], f'invalid value "{"9" * 5000}" for flag -limit: parse error'),
        (["--limit", str(2**63)], f'invalid value "{2**63}" for flag -limit: parse error'),
        (["--preserve-fds", "-1"], 'invalid value "-1" for flag -preserve-fds: parse error'),
        (["--half=x"], 'invalid value "x" for flag -half: parse error'),
    ],
)
def test_refusals(line, text):
    with pytest.raises(BadUsage) as caught:
        parse(line, TABLE)
    assert str(caught.value) == text
    assert caught.value.heading == f"Incorrect Usage: {text}"


WORD = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["--", "-", "--bundle", "-b", "--force", "--limit", "--half", "-e", "--preserve-fds", "-h", "=", "--force=", "a"]),
)


@given(st.lists(WORD, max_size=8), st.booleans())
def test_the_parser_is_total(words, in_order):
    try:
        values, positionals = parse(words, TABLE, in_order)
    except BadUsage as error:
        assert str(error)
    else:
        assert len(positionals) <= len(words)
        assert set(values) <= {row[0] for row in TABLE} | {"help"}


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_reads_back(value):
    assert number(str(value)) == value


@pytest.mark.parametrize("value, limits", [(2**63 - 1, ()), (-(2**63), ()), (2**64 - 1, (0, 2**64 - 1))])
def test_numbers_at_the_limits_can_be_read(value, limits):
    assert number(str(value), *limits) == value


@pytest.mark.parametrize("value, limits", [(2**63, ()), (-(2**63) - 1, ()), (2**64, (0, 2**64 - 1)), (-1, (0, 5)), (10**21, (0, 10**30))])
def test_numbers_beyond_the_limits_are_refused(value, limits):
    with pytest.raises(ValueError):
        number(str(value), *limits)


@given(st.text(max_size=30))
def test_number_is_total(text):
    try:
        assert number(text) == int(text)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "given_count, least, most, problem",
    [
        (0, 1, 1, "requires exactly 1 argument(s)"),
        (2, 1, 1, "requires exactly 1 argument(s)"),
        (1, 0, 0, "requires exactly 0 argument(s)"),
        (0, 1, 2, "requires a minimum of 1 argument(s)"),
        (3, 1, 2, "requires a maximum of 2 argument(s)"),
        (0, 1, None, "requires a minimum of 1 argument(s)"),
    ],
)
def test_wrong_numbers_of_arguments_are_refused_in_runcs_words(given_count, least, most, problem):
    with pytest.raises(BadUsage) as caught:
        check_count("kill", given_count, least, most)
    assert str(caught.value) == f'pyoci: "kill" {problem}'
    assert caught.value.heading == "Incorrect Usage."


@pytest.mark.parametrize("given_count, least, most", [(1, 1, 1), (0, 0, 0), (2, 1, 2), (99, 1, None)])
def test_right_numbers_of_arguments_pass(given_count, least, most):
    assert check_count("kill", given_count, least, most) is None


@pytest.mark.parametrize("path, result", [("/a/b", "/a/b"), ("/a//b/./c/", "/a/b/c"), ("/", "/"), ("//", "/")])
def test_absolute_paths_lose_dots_and_slashes(path, result):
    assert absolute(path) == result


def test_relative_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("b") == f"{tmp_path}/b"
    assert absolute(".") == absolute("") == str(tmp_path)
    assert os.getcwd() == str(tmp_path)


def test_dot_dot_is_resolved_as_the_kernel_does_behind_a_link(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "inner")
    assert absolute(f"{tmp_path}/link/..") == f"{tmp_path}/real"


def test_dot_dot_in_a_path_that_is_not_there_is_left_for_whoever_opens_it():
    assert absolute("/nowhere/../x/y") == "/nowhere/../x/y"


def test_a_deleted_working_directory_is_an_error_in_one_line(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(options.SyscallError) as caught:
        absolute("b")
    assert str(caught.value) == "getcwd: No such file or directory (ENOENT)"
