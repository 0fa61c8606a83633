"""Typed values as text."""

import pytest
from hypothesis import given, strategies

from pyoci.cgroup.gvariant import KEYWORDS, RANGES, parse, quoted, type_end


@pytest.mark.parametrize(
    ("text", "signature", "value"),
    [
        ("true", "b", True),
        (" false ", "b", False),
        ("5", "i", 5),
        ("-5", "i", -5),
        ("+5", "i", 5),
        ("0x1f", "i", 31),
        ("010", "i", 8),
        ("0", "i", 0),
        ("1.5", "d", 1.5),
        ("1e3", "d", 1000.0),
        ("uint64 18446744073709551615", "t", 2**64 - 1),
        ("@t 5", "t", 5),
        ("byte 0xff", "y", 255),
        ("double 5", "d", 5.0),
        ("boolean true", "b", True),
        ("'it'", "s", "it"),
        ('"it\'s"', "s", "it's"),
        (r"'it\'s \\ \n \u00e9 \U0001f600'", "s", "it's \\ \n é 😀"),
        ("''", "s", ""),
        ("objectpath '/a'", "o", "/a"),
        ("['a', 'b']", "as", ["a", "b"]),
        ("@as []", "as", []),
        ("@ay [1, 0xff]", "ay", [1, 255]),
        ("[uint64 1, 2]", "at", [1, 2]),
        ("[[1], [2, 3]]", "aai", [[1], [2, 3]]),
        ("('a', uint64 5)", "(st)", ("a", 5)),
        ("('a',)", "(s)", ("a",)),
        ("@a(st) [('/dev/sda', 5), ('/dev/sdb', 6)]", "a(st)", [("/dev/sda", 5), ("/dev/sdb", 6)]),
        ("<uint64 5>", "v", ("t", 5)),
    ],
)
def test_text_is_a_value_of_a_type(text, signature, value):
    assert parse(text) == (signature, value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a value is missing"),
        ("yes", "'yes' is no value"),
        ("'open", "a string without an end"),
        ("'a' 'b'", "\"'b'\" stands after the value"),
        ("uint64 -1", "-1 is not from 0 to 18446744073709551615"),
        ("2147483648", "2147483648 is not from -2147483648 to 2147483647"),
        ("byte 256", "256 is not from 0 to 255"),
        ("uint64 'a'", "a string where a 't' should be"),
        ("uint64 1.5", "'1.5' is no number"),
        ("08", "'08' is no number"),
        ("[]", "an empty array needs its type, as in @as []"),
        ("['a', 5]", "a number where a 's' should be"),
        ("['a'", "',' is missing before ''"),
        ("()", "an empty tuple"),
        ("@as 5", "a number where a 'as' should be"),
        ("@(st) ('a')", "a '(s)' where a '(st)' should be"),
        ("@(s) ('a', 'b')", "more than '(s)'"),
        ("@x", "a value is missing"),
        ("@ 5", "'' is no type"),
        ("@ss 'a'", "'ss' is no type"),
        ("@a{sv} {}", "'{}' is no value"),
        ("{'a': 5}", "\"{'a': 5}\" is no value"),
        ("'\\u0000'", "a NUL in a string"),
        ("'\\ud800'", "\\ud800 is no letter"),
        ("--5", "--5 is not from -2147483648 to 2147483647"),
        ("[" * 40, "it is nested too deeply"),
    ],
)
def test_text_that_is_no_value_is_refused(text, why):
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert str(refused.value) == why


@given(strategies.text(alphabet="'\"[](){}<>@,:\\ abfnstuvxyi0179-+.e" + "é\n", max_size=30))
def test_parser_is_total(text):
    try:
        signature, _ = parse(text)
    except ValueError:
        return
    assert type_end(signature, 0) == len(signature)


@given(strategies.sampled_from([word for word, kind in KEYWORDS.items() if kind in RANGES]), strategies.integers(-(2**65), 2**65))
def test_number_is_taken_exactly_where_its_type_can_hold_it(word, number):
    low, high = RANGES[KEYWORDS[word]]
    if low <= number <= high:
        assert parse(f"{word} {number}") == (KEYWORDS[word], number)
    else:
        with pytest.raises(ValueError):
            parse(f"{word} {number}")


@given(strategies.text().filter(lambda text: "\0" not in text))
def test_quoted_text_is_read_as_it_was(text):
    assert parse(quoted(text)) == ("s", text)
