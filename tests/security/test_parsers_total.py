"""What users write for ids, sizes and cgroups is understood in full or refused, and never taken for something else (CVE-2026-30892)."""

import hypothesis
import pytest
from hypothesis import strategies

from pyoci.cli.options import number
from pyoci.cli.verbs.exec import parse_cgroups, parse_group, parse_user
from pyoci.cli.verbs.update import parse_size
from pyoci.errors import PyociError
from pyoci.state.store import check_id

TEXTS = strategies.text(alphabet=strategies.sampled_from("0123456789:-+ xXeE_.kKmMgGbBiI\0\n٣²Ⅷ/\udc80") | strategies.characters()) | strategies.text()


def read(parse, *args):
    """What the parser makes of it, or None where it refuses; another exception is a failure."""
    try:
        return parse(*args)
    except (PyociError, ValueError) as error:  # ValueError is number()'s word for it, which its callers put into theirs
        assert str(error) and (parse is number or isinstance(error, PyociError))
        return None


@hypothesis.given(TEXTS)
@hypothesis.example("1").via("crun took it for 0:0")
@hypothesis.example("0x0")
@hypothesis.example("-0")
@hypothesis.example("+1")
@hypothesis.example("1:")
@hypothesis.example(":1")
@hypothesis.example("٣")
@hypothesis.example("4294967296")
def test_user_is_read_back_as_it_was_written(text):
    found = read(parse_user, text)
    if not found:
        assert found is None or not text
        return
    uid, gid = found["uid"], found.get("gid")
    words = text.split(":")
    assert words[0].isascii() and int(words[0]) == uid and 0 <= uid < 1 << 32
    assert gid is None and len(words) == 1 or int(words[1]) == gid and 0 <= gid < 1 << 32


@hypothesis.given(TEXTS)
def test_group_is_read_back_as_it_was_written(text):
    found = read(parse_group, text)
    assert found is None or int(text) == found and 0 < found < 1 << 32 or text.strip("0") == "" and found == 0


@hypothesis.given(TEXTS)
def test_number_is_read_back_as_it_was_written(text):
    found = read(number, text)
    assert found is None or int(text) == found


@hypothesis.given(TEXTS)
def test_size_has_digits_and_is_no_smaller_than_they_say(text):
    found = read(parse_size, text, "memory")
    if found is not None and found >= 0:
        digits = "".join(letter for letter in text if letter in "0123456789.")
        assert digits and found >= int(float(digits))


@hypothesis.given(strategies.lists(TEXTS, max_size=3))
def test_cgroups_of_an_exec_are_paths_by_controller(words):
    found = read(parse_cgroups, words)
    assert found is None or all(isinstance(path, str) for path in found.values())


@hypothesis.given(TEXTS)
def test_id_that_is_accepted_is_one_name_of_a_directory(text):
    found = read(check_id, text)
    assert found is None or found == text and "/" not in text and "\0" not in text and text not in (".", "..", "")


@pytest.mark.parametrize("text", [":", "1:2:3", "root", "1 ", " 1", "1_0", "²", "1e3"])
def test_user_that_is_not_two_numbers_is_refused(text):
    with pytest.raises(PyociError):
        parse_user(text)
