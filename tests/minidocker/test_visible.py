"""What a container or an image chooses, where people read it: no terminal obeys it, no row is two, and JSON says the same as ever."""

import io
import json

import pytest

from pyoci.minidocker.cli import main, visible
from pyoci.minidocker.cli.commands import inspect, look
from pyoci.minidocker.cli.listing import listing, table
from pyoci.minidocker.cli.template import Template, as_json
from pyoci.minidocker.errors import BadRequest

HOSTILE = "a\x1b]0;owned\x07\nb\x7f\x9b31m\u202e\udcff\ttab"
SHOWN = r"a\x1b]0;owned\x07\nb\x7f\x9b31m\u202e\xff\ttab"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_control_characters_are_shown():
    assert visible.visible(HOSTILE) == SHOWN
    assert visible.visible("\u00e9 \u4e2d\u6587 \U0001f469\u200d\U0001f680 \\") == "\u00e9 \u4e2d\u6587 \U0001f469\u200d\U0001f680 \\"


def test_row_of_a_table_is_one_line():
    lines = table(["NAME", "MORE"], [[HOSTILE, "x"]])
    assert len(lines) == 2 and lines[1].startswith(SHOWN)
    assert listing({"Name": "NAME"}, [{"Name": HOSTILE}], default=("Name",)).splitlines()[1] == SHOWN


def test_path_of_a_diff_is_one_line(capsys):
    class Engine:
        @staticmethod
        def changes(_ref):
            return [("A", f"/{HOSTILE}")]

    class Call:
        engine, arguments = Engine, ["web"]

    look.diff(Call)
    assert capsys.readouterr().out == f"A /{SHOWN}\n"


def test_process_title_is_one_line(capsys):
    class Engine:
        @staticmethod
        def top(_ref, _words):
            return {"Titles": ["PID", "CMD"], "Processes": [["1", HOSTILE]]}

    class Call:
        engine, arguments = Engine, ["web"]

    look.top(Call)
    assert capsys.readouterr().out.splitlines()[1].endswith(SHOWN)


def test_event_is_one_line():
    event = {"Type": "container", "Action": f"exec_create: {HOSTILE}", "Actor": {"ID": "x", "Attributes": {"label": HOSTILE}}, "timeNano": 0}
    line = look.event_line(event)
    assert line.count(SHOWN) == 2 and line.isprintable()


@pytest.mark.parametrize("out", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_template_shows_them_on_a_terminal_and_hands_them_on_to_a_program(monkeypatch, out):
    monkeypatch.setattr(visible.sys, "stdout", out)
    text = Template("\x1b[1m{{.Name}}\n").render({"Name": HOSTILE})
    expected = visible.visible(HOSTILE, "\n\t") if out.isatty() else HOSTILE
    assert text == f"\x1b[1m{expected}\n"  # the form is the user's own


def test_json_says_the_same_in_escapes(capsys):
    document = {"Labels": {HOSTILE: HOSTILE}}
    assert json.loads(as_json(document)) == document
    assert as_json(document).isprintable()

    class Call:
        values, arguments = {"format": None}, ["x"]

    inspect._show(Call, lambda _call, _name: document)
    text = capsys.readouterr().out
    assert json.loads(text) == [document]
    assert text.replace("\n", "").isprintable()


def test_error_quotes_them_in_one_line(capsys):
    main.say(BadRequest(f"no {HOSTILE}", hint=HOSTILE))
    main.warn(HOSTILE)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)


def test_half_a_character_is_spelled_out_and_bytes_stay_bytes(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(main.sys, "stdout", io.TextIOWrapper(written, "utf-8"))
    main._print_anything()
    print("a\ud800b\udfff\udc80\udcffc\u00e9", flush=True)
    assert written.getvalue() == b"a\\ud800b\\udfff\x80\xffc\xc3\xa9\n"
