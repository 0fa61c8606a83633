"""read.py: null is absent, and a wrong type is refused with its path."""

import pytest

from pyoci.errors import ConfigError
from pyoci.spec import read

READERS = [
    (read.number, 5, None, "an integer"),
    (read.string, "x", "", "a string"),
    (read.boolean, True, False, "true or false"),
    (read.strings, ["x"], [], "an array of strings"),
    (read.numbers, [1], [], "an array of integers"),
    (read.section, {"x": 1}, {}, "an object"),
    (read.sections, [{}], [], "an array of objects"),
    (read.string_map, {"x": "y"}, {}, "an object of strings"),
]


@pytest.mark.parametrize(("reader", "value", "absent", "expected"), READERS)
def test_reader_gives_the_value_or_the_default(reader, value, absent, expected):
    assert reader({"a": value}, "a", "b.a") == value
    assert reader({}, "a", "b.a") == absent
    assert reader({"a": None}, "a", "b.a") == absent


@pytest.mark.parametrize(("reader", "value", "absent", "expected"), READERS)
@pytest.mark.parametrize("wrong", [1.5, object, [None], [[]], {"x": None}])
def test_reader_refuses_another_type_with_its_path(reader, value, absent, expected, wrong):
    wrong = float("1.5") if wrong is object else wrong
    if reader is read.section and isinstance(wrong, dict):
        return
    with pytest.raises(ConfigError) as caught:
        reader({"a": wrong}, "a", "b.a")
    assert str(caught.value).startswith(f"config.json: b.a: expected {expected}, got ")


def test_true_is_no_number_and_1_is_no_boolean():
    with pytest.raises(ConfigError):
        read.number({"a": True}, "a", "a")
    with pytest.raises(ConfigError):
        read.numbers({"a": [True]}, "a", "a")
    with pytest.raises(ConfigError):
        read.boolean({"a": 1}, "a", "a")


def test_default_of_the_caller_is_given():
    assert read.number({"a": None}, "a", "a", 7) == 7
    assert read.string({}, "a", "a", "x") == "x"
    assert read.boolean({}, "a", "a", True) is True


def test_default_list_is_fresh():
    read.strings({}, "a", "a").append("x")
    assert read.strings({}, "a", "a") == []
