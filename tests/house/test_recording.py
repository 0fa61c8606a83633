"""The README's recording: drawn from what was recorded, light, and readable for who can't see it."""

import importlib.util
import json
import pathlib
import re
import xml.etree.ElementTree

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
FOLDER = TREE / "docs" / "recording"
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def drawing():
    """docs/recording/draw.py as a module."""
    spec = importlib.util.spec_from_file_location("recording_draw", FOLDER / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded():
    header, *events = [json.loads(line) for line in (FOLDER / "session.cast").read_text().splitlines()]
    return header, events


def film(drawing, *texts, columns=10, rows=3):
    """A film of these texts, a second apart."""
    return drawing.Film({"width": columns, "height": rows}, [[float(second), "o", text] for second, text in enumerate(texts)])


def test_picture_is_drawn_from_the_recording(drawing):
    assert drawing.draw(drawing.Film(*recorded())) == (FOLDER / "session.svg").read_text()


def test_recording_is_of_the_session():
    header, events = recorded()
    assert header["version"] == 2
    shown = re.sub(r"\x1b\[[0-9;]*m|\r", "", "".join(text for _, _, text in events))
    typed = [line.removeprefix("# ") for line in shown.split("\n") if line.startswith("# ")]
    assert [line for line in typed if line] == (FOLDER / "session.txt").read_text().splitlines()


def test_picture_is_light_and_has_no_script():
    data = (FOLDER / "session.svg").read_bytes()
    assert len(data) < MOST_BYTES
    kinds = {element.tag.rpartition("}")[2] for element in xml.etree.ElementTree.fromstring(data).iter()}
    assert kinds <= {"svg", "title", "style", "rect", "circle", "g", "text", "tspan"}
    assert b"http" not in data.replace(b"http://www.w3.org/2000/svg", b"")  # GitHub shows no picture that fetches another


def test_readme_shows_it_and_says_what_it_shows():
    ((alt,),) = [re.findall(r"!\[([^]]*)\]\(docs/recording/session\.svg\)", (TREE / "README.md").read_text())]
    assert all(word in alt for word in ("pull", "run", "exec", "logs", "stats"))


@pytest.mark.parametrize(
    ("texts", "lines", "top", "cursor"),
    [
        pytest.param(["one\r\ntwo"], ["one", "two"], 0, (1, 3), id="lines"),
        pytest.param(["abc\rx"], ["xbc"], 0, (0, 1), id="return"),
        pytest.param(["ab\b\bx"], ["xb"], 0, (0, 1), id="backspace"),
        pytest.param(["0123456789ab"], ["0123456789", "ab"], 0, (1, 2), id="wrap"),
        pytest.param(["a\r\nb\r\nc\r\nd"], ["a", "b", "c", "d"], 1, (3, 1), id="scroll"),
        pytest.param(["a: 1\r\nb: 1\r\n\x1b[2A\r\x1b[2Ka: 2\x1b[2B\r"], ["a: 2", "b: 1", ""], 0, (2, 0), id="bars"),
        pytest.param(["abcd\x1b[2D\x1b[K"], ["ab"], 0, (0, 2), id="erase the rest"),
        pytest.param(["abcd\x1b[3D\x1b[1K"], ["  cd"], 0, (0, 1), id="erase the beginning"),
        pytest.param(["\x1b[3Cx\x1b[1Gy"], ["y  x"], 0, (0, 1), id="columns"),
        pytest.param(["\x1b]0;title\x07a\x1b[?2004hb"], ["ab"], 0, (0, 2), id="what is not shown"),
    ],
)
def test_terminal_shows(drawing, texts, lines, top, cursor):
    sheet = drawing.Sheet(10, 3)
    for text in texts:
        sheet.write(text)
    assert ["".join(character for character, _ in line) for line in sheet.lines] == lines
    assert (sheet.top, (sheet.row, sheet.column)) == (top, cursor)


def test_a_changed_line_is_shown_a_state_at_a_time(drawing):
    found = film(drawing, "a", "b", "\r\nc")
    assert [(state.line, "".join(character for character, _ in state.cells), state.begin, state.end) for state in found.states] == [
        (0, "a", 0.0, 1.0), (0, "ab", 1.0, None), (1, "c", 2.0, None),
    ]  # fmt: skip


def test_long_stillness_is_cut(drawing):
    assert drawing.Film({"width": 10, "height": 3}, [[0.0, "o", "a"], [100.0, "o", "b"]]).length == drawing.MOST_IDLE_S


def test_colours_and_markup_are_kept(drawing):
    text = drawing.draw(film(drawing, "\x1b[1;32m<&\x1b[0m x"))
    assert '<tspan class="c32 b">&lt;&amp; </tspan>x</text>' in text


def test_one_moment_stands_still(drawing):
    found = film(drawing, "a", "b")
    found.at(0.5)
    text = drawing.draw(found, moving=False)
    assert ">a</text>" in text and ">ab</text>" not in text and "keyframes" not in text
