"""decode.py: JSON in and out, and the lines of config paths."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyoci.errors import ConfigError
from pyoci.spec import decode as module
from pyoci.spec.decode import decode, encode, read_document
from pyoci.spec.locate import locate

# No lone surrogates: they have no UTF-8, so they can be in no document.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=5)


@pytest.fixture(params=["private", "public"])
def scanner(request, monkeypatch):
    """Runs a test with `_json` and with the public fallback."""
    if request.param == "public":
        monkeypatch.setattr(module, "make_scanner", None)
        monkeypatch.setattr(module, "make_encoder", None)


def refusal(text, document="config.json"):
    with pytest.raises(ConfigError) as caught:
        decode(text, document)
    return str(caught.value)


REFUSED = {
    "empty": (b"", "config.json: broken JSON: the document is empty"),
    "blank": (b" \n\t", "config.json: broken JSON: the document is empty"),
    "not-utf8": (b'{"a":"\xff"}', "config.json: not UTF-8: byte 0xff at offset 6"),
    "utf8-surrogate": (b'"\xed\xa0\x80"', "config.json: not UTF-8: byte 0xed at offset 1"),
    "missing-comma": (b'{\n  "a": 1\n  "b": 2\n}', "config.json: broken JSON at line 3, column 3: expecting ',' delimiter"),
    "no-value": (b'{"a": }', "config.json: broken JSON at line 1, column 7: expected a value"),
    "cut-off": (b'{"a": [1, 2', "config.json: broken JSON at line 1, column 12: expecting ',' delimiter"),
    "open-string": (b'{"a": "b', "config.json: broken JSON at line 1, column 7: unterminated string starting at"),
    "bad-escape": (rb'{"a": "\q"}', "config.json: broken JSON at line 1, column 8: invalid \\escape"),
    "newline-in-string": (b'{"a": "b\nc"}', "config.json: broken JSON at line 1, column 9: invalid control character at"),
    "second-document": (b"{}\n{}", "config.json: broken JSON at line 2, column 1: text after the end of the document"),
    "byte-order-mark": (b"\xef\xbb\xbf{}", "config.json: broken JSON at line 1, column 1: a byte order mark at the start"),
    "array": (b"[1]", "config.json: expected an object, got an array (config.md)"),
    "string": (b'"a"', "config.json: expected an object, got a string (config.md)"),
    "number": (b"5", "config.json: expected an object, got a number (config.md)"),
    "null": (b"null", "config.json: expected an object, got null (config.md)"),
    "boolean": (b"true", "config.json: expected an object, got a boolean (config.md)"),
    "nan": (b'{"a": NaN}', "config.json: broken JSON: NaN is not a JSON number"),
    "infinity": (b'{"a": Infinity}', "config.json: broken JSON: Infinity is not a JSON number"),
    "minus-infinity": (b'{"a": -Infinity}', "config.json: broken JSON: -Infinity is not a JSON number"),
    "overflow": (b'{"a": 1e999}', "config.json: number 1e999 is out of range"),
    "many-digits": (b'{\n"a": ' + b"9" * 5000 + b"}", "config.json: broken JSON at line 2, column 6: a number with too many digits"),
    "lone-surrogate": (rb'{"a": "\ud800"}', "config.json: \\ud800 is half of a surrogate pair"),
    "surrogate-as-byte": (rb'{"\udcff": 1}', "config.json: \\udcff is half of a surrogate pair"),
}


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("name", REFUSED)
def test_broken_document_is_refused_in_one_line(name):
    text, expected = REFUSED[name]
    # the interpreters word some of these slightly differently ("Invalid \\escape: ")
    assert refusal(text).rstrip(": ") == expected


def test_refusal_names_the_document():
    assert refusal(b"[", "process.json").startswith("process.json: broken JSON")
    assert refusal(b'{"a": NaN}', "process.json").startswith("process.json: ")


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_deep_nesting_is_refused(text):
    assert refusal(text) == "config.json: nested too deeply"


def test_deep_nesting_does_not_crash_a_fresh_interpreter():
    """In a process of its own: a stack overflow would take the test run with it."""
    code = "from pyoci.spec.decode import decode\ntry: decode(b'[' * 3_000_000)\nexcept Exception as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": "."})
    assert (done.returncode, done.stdout) == (0, "config.json: nested too deeply\n")


@pytest.mark.usefixtures("scanner")
def test_encoding_too_deep_a_value_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for indent in (None, "  "):
        with pytest.raises(ConfigError, match="nested too deeply"):
            encode(deep, indent)


@pytest.mark.usefixtures("scanner")
def test_last_of_two_equal_members_wins():
    assert decode(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.usefixtures("scanner")
def test_white_space_around_the_document_is_ignored():
    assert decode(b' \r\n\t{"a": [1, -2, 2.5, true, null, "\\u00e4\\ud83d\\ude00"]} \n') == {"a": [1, -2, 2.5, True, None, "ä😀"]}


def test_private_scanner_and_encoder_work_on_this_python(monkeypatch):
    """The fallback is slow; a Python version whose private API has changed should be noticed here."""
    monkeypatch.setitem(sys.modules, "json.decoder", None)
    monkeypatch.setitem(sys.modules, "json.encoder", None)
    assert decode(encode({"a": [1, "b", {}]}).encode()) == {"a": [1, "b", {}]}


@pytest.mark.usefixtures("scanner")
def test_compact_text_has_no_blank_and_no_escaped_slash():
    assert encode({"a": ["/b", 1, True, None, {}], "ä": "\n"}) == '{"a":["/b",1,true,null,{}],"ä":"\\n"}'


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("indent", ["  ", "    ", "\t"])
@given(value=JSON)
@example(value={"a": [], "b": {}, "c": [{"d": [1, [2]]}]})
def test_indented_text_is_what_the_json_module_writes(indent, value):
    assert encode(value, indent) == json.dumps(value, indent=indent, ensure_ascii=False)


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": {1, 2}}, {("a",): 1}])
def test_what_json_cannot_hold_is_not_encoded(value):
    with pytest.raises((TypeError, ValueError)):
        encode(value)


@given(OBJECT)
def test_decode_undoes_encode(value):
    assert decode(encode(value).encode()) == value
    assert decode(encode(value, "\t").encode()) == value


@given(st.binary() | TEXT.map(str.encode) | st.text('{}[]",:0123eE+-. \\utfalsn\n').map(str.encode))
def test_decode_is_total_and_agrees_with_the_json_module(text):
    try:
        decoded = decode(text)
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    assert decoded == json.loads(text)


def test_small_file_is_read_whole(tmp_path):
    (tmp_path / "config.json").write_bytes(b"{}")
    assert read_document(str(tmp_path / "config.json")) == b"{}"
    assert read_document(os.fsencode(tmp_path / "config.json")) == b"{}"


def test_descriptor_is_read_and_stays_open(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b'{"a": 1}')
    os.close(writer)
    assert read_document(reader, document="resources.json") == b'{"a": 1}'
    os.close(reader)


def read_refusal(*arguments, **named):
    with pytest.raises(ConfigError) as caught:
        read_document(*arguments, **named)
    return str(caught.value)


def test_missing_config_is_refused_with_the_sentence_of_runc(tmp_path):
    expected = f"config.json: JSON specification file config.json not found in {tmp_path}"
    assert read_refusal(f"{tmp_path}/config.json") == expected
    assert read_refusal("config.json").endswith("config.json not found in .")


def test_missing_process_document_is_refused_by_its_path(tmp_path):
    assert read_refusal(f"{tmp_path}/p", document="process.json") == f"process.json: open {tmp_path}/p: No such file or directory (ENOENT)"


def test_huge_file_is_refused_by_its_size_before_it_is_read(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    reads = []
    real = module.posix.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.posix, "read", lambda *arguments: reads.append(arguments) or real(*arguments))
        assert read_refusal(str(path)) == "config.json: larger than 16777216 bytes"
    assert reads == []


def test_endless_file_is_refused_after_the_limit():
    assert read_refusal("/dev/zero", 1 << 21, "process.json") == "process.json: larger than 2097152 bytes"


def test_file_of_exactly_the_limit_is_read(tmp_path):
    (tmp_path / "config.json").write_bytes(b" " * 100)
    assert len(read_document(f"{tmp_path}/config.json", 100)) == 100
    assert read_refusal(f"{tmp_path}/config.json", 99) == "config.json: larger than 99 bytes"


def test_config_that_is_a_fifo_or_a_directory_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "folder").mkdir()
    assert read_refusal(f"{tmp_path}/config.json") == f"config.json: {tmp_path}/config.json is not a regular file"
    assert read_refusal(f"{tmp_path}/folder") == f"config.json: {tmp_path}/folder is not a regular file"
    assert read_refusal(f"{tmp_path}/folder", document="process.json") == "process.json: read: Is a directory (EISDIR)"


def test_path_with_a_nul_or_a_line_end_is_refused_in_one_line(tmp_path):
    assert read_refusal(f"{tmp_path}/a\0b").startswith("config.json: open ")
    assert "\n" not in read_refusal(f"{tmp_path}/a\nb", document="x")


LINES = b"""{
  "a": 1,
  "mounts": [
    {"type": "proc"},
    {
      "type": "a\\"]}{",
      "options": ["x",
        "y"]
    }
  ],
  "linux": {"sysctl": {"net": 1,
    "net.ipv4": 2,
    "net.ipv4.x": 3}},
  "a": {"b":
    2}, "\\u00e4": 5
}"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("mounts", 3),
        ("mounts[0]", 4),
        ("mounts[0].type", 4),
        ("mounts[1]", 5),
        ("mounts[1].type", 6),
        ("mounts[1].options[1]", 8),
        ("mounts[1].source", 5),
        ("mounts[2].type", 3),
        ("mounts[1].options[1].deeper", 8),
        ("linux.sysctl.net", 11),
        ("linux.sysctl.net.ipv4", 12),
        ('linux.sysctl["net.ipv4.x"]', 13),
        ("linux.sysctl.net.ipv4.x", 13),
        ("linux.sysctl.none", 11),
        ("a", 14),
        ("a.b", 14),
        ("a.c", 14),
        ("ä", 15),
        ("nothing.here", 0),
        ("mount", 0),
        ("", 0),
    ],
)
def test_config_path_is_found_on_its_line(path, line):
    assert locate(LINES, path) == line


def test_later_of_two_equal_members_is_located():
    assert locate(b'{"a": {"b": 1},\n"a": {\n"b": 2}}', "a.b") == 3
    assert locate(b'{"a": {"b": 1},\n"a": {}}', "a.b") == 2


def test_member_in_a_huge_deep_document_is_located():
    text = b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b',\n"mounts": [1,\n2]}'
    assert locate(text, "mounts[1]") == 3


@given(st.binary() | OBJECT.map(lambda value: encode(value, " ").encode()), st.text())
def test_locate_is_total(text, path):
    assert 0 <= locate(text, path) <= text.count(b"\n") + 1


SMALL = st.dictionaries(st.text("cd", min_size=1, max_size=3), st.integers(), max_size=3)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.lists(SMALL, max_size=3), max_size=3))
def test_every_leaf_of_an_indented_document_is_on_its_own_line(value):
    text = encode(value, " ").encode()
    lines = text.split(b"\n")
    for name, items in value.items():
        for index, item in enumerate(items):
            for key, number in item.items():
                line = lines[locate(text, f"{name}[{index}].{key}") - 1]
                assert line.strip().rstrip(b",") == f'"{key}": {number}'.encode()
