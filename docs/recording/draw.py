#!/usr/bin/env python3
"""An asciicast (version 2) as one SVG that plays itself, by CSS alone: GitHub shows it in a README, where no script may run.

    docs/recording/draw.py IN.cast OUT.svg
    docs/recording/draw.py IN.cast OUT.svg --at 12.5     one moment, standing still

The text is laid on a long sheet, each line at its place; the window moves down over it when the terminal scrolls.  A line that changes is drawn once a state, and each
state is visible for its time.  Who wants no motion, and a viewer that knows none, sees the end.
Understands what MiniDocker and a shell write: console_codes(4) without regions, tabs and character sets.
"""

import argparse
import json
import re
from xml.sax.saxutils import escape

CHAR, LINE, MARGIN, TITLE, FONT = 8.4, 18, 14, 30, 14
MOST_IDLE_S, STEP_S, HOLD_S = 1.6, 0.07, 4.0  # the longest stillness; changes nearer together are one; how long the end stays
COLORS = {30: "#6e7681", 31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd", 37: "#e6edf3"}
PLAIN = ("", False)
CODES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b[=>()][0-9AB]?|[\r\n\b]|[^\x00-\x1f\x7f]+|[\x00-\x1f\x7f]")


class Sheet:
    """A terminal on endless paper: `lines` from the first one on, each a list of (character, style); `top` is the first line that is in sight."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [[]]
        self.row = self.column = self.top = 0
        self.style = PLAIN

    def write(self, text):
        for found in CODES.finditer(text):
            if found[2]:
                numbers = [int(word) if word.isdigit() else 0 for word in found[1].split(";")]
                self._control(found[2], numbers, numbers[0] or 1)
            elif found[0] == "\r":
                self.column = 0
            elif found[0] == "\n":
                self._down()
            elif found[0] == "\b":
                self.column = max(self.column - 1, 0)
            elif found[0] >= " ":
                for character in found[0]:
                    self._put(character)

    def _down(self):
        self.row += 1
        while len(self.lines) <= self.row:
            self.lines.append([])
        self.top = max(self.top, self.row - self.rows + 1)

    def _put(self, character):
        if self.column == self.columns:
            self.column = 0
            self._down()
        line = self.lines[self.row]
        line += [(" ", PLAIN)] * (self.column + 1 - len(line))
        line[self.column] = (character, self.style)
        self.column += 1

    def _control(self, letter, numbers, count):
        if letter == "m":
            self._set_style(numbers)
        elif letter == "A":
            self.row = max(self.row - count, self.top)
        elif letter == "B":
            self.row = min(self.row + count, len(self.lines) - 1)
        elif letter == "C":
            self.column = min(self.column + count, self.columns - 1)
        elif letter == "D":
            self.column = max(self.column - count, 0)
        elif letter == "G":
            self.column = count - 1
        elif letter == "K":
            line = self.lines[self.row]
            first, last = {0: (self.column, len(line)), 1: (0, self.column + 1), 2: (0, len(line))}[numbers[0]]
            line[first:last] = [] if last >= len(line) else [(" ", PLAIN)] * (last - first)

    def _set_style(self, numbers):
        color, bold = self.style
        for number in numbers:
            if number == 0:
                color, bold = PLAIN
            elif number == 1:
                bold = True
            elif number == 22:
                bold = False
            elif number == 39:
                color = ""
            elif number in COLORS or number - 60 in COLORS:
                color = COLORS.get(number) or COLORS[number - 60]
        self.style = (color, bold)


class State:
    """What one line shows from one moment on."""

    __slots__ = ("begin", "cells", "end", "line")

    def __init__(self, line, cells, begin):
        self.line, self.cells, self.begin, self.end = line, cells, begin, None


class Film:
    """`states` of lines, `tops` [(second, first line in sight)], `cursors` [(second, line, column)], `length` in seconds without the hold."""

    def __init__(self, header, events):
        self.columns, self.rows = header["width"], header["height"]
        self.title = header.get("title", "")
        self.states, self.tops, self.cursors, self.length = [], [], [], 0.0
        sheet, shown = Sheet(self.columns, self.rows), {}
        for second, text in moments(events):
            sheet.write(text)
            self.length = second
            for number, line in enumerate(sheet.lines):
                cells = tuple(line)
                if number in shown and shown[number].cells == cells:
                    continue
                if number in shown:
                    shown[number].end = second
                shown[number] = State(number, cells, second)
                self.states.append(shown[number])
            if not self.tops or self.tops[-1][1] != sheet.top:
                self.tops.append((second, sheet.top))
            self.cursors.append((second, sheet.row, sheet.column))
        self.states = [state for state in self.states if "".join(character for character, _ in state.cells).strip()]

    def at(self, second):
        """The film of that moment alone."""
        self.states = [state for state in self.states if state.begin <= second and (state.end is None or second < state.end)]
        for state in self.states:
            state.end = None
        self.tops = [[one for one in self.tops if one[0] <= second][-1]]
        self.cursors = [[one for one in self.cursors if one[0] <= second][-1]]


def moments(events):
    """[(second, text)]: idle times cut, and what comes within STEP_S as one."""
    found, now, last = [], 0.0, 0.0
    for second, kind, text in events:
        if kind != "o":
            continue
        now += min(second - last, MOST_IDLE_S)
        last = second
        if found and now - found[-1][0] < STEP_S:
            found[-1] = (found[-1][0], found[-1][1] + text)
        else:
            found.append((round(now, 3), text))
    return found


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def draw(film, moving=True):
    """The SVG's text."""
    width, height = film.columns * CHAR + 2 * MARGIN, film.rows * LINE + TITLE + MARGIN
    total = film.length + HOLD_S
    rules, marks = [], []

    def percent(second):
        return f"{number(100 * second / total)}%"

    for count, state in enumerate(film.states):
        kind = "z" if state.end is None else ""
        name = ""
        if moving and (state.begin or state.end is not None):
            name = f"k{count}"
            off = f"{percent(state.end)}{{visibility:hidden}}" if state.end is not None else ""
            rules.append(f"@keyframes {name}{{0%{{visibility:hidden}}{percent(state.begin)}{{visibility:visible}}{off}}}")
        marks.append(_line(state, kind, name))
    last_top, (_, row, column) = film.tops[-1][1], film.cursors[-1]
    if moving:
        rules.append(_moves("s", [(second, 0, -top * LINE) for second, top in film.tops], percent))
        rules.append(_moves("c", [(second, column * CHAR, row * LINE) for second, row, column in film.cursors], percent))
    colors = "".join(f".c{code}{{fill:{color}}}" for code, color in COLORS.items() if any(style[0] == color for state in film.states for _, style in state.cells))
    motion = f"text,.s,.c{{animation:{number(total)}s step-end infinite}}.s{{animation-name:s}}.c{{animation-name:c}}" if moving else ""
    still = "@media(prefers-reduced-motion){text,.s,.c{animation:none!important}}" if moving else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {height}" xml:space="preserve" '
        f'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',\'Liberation Mono\',monospace" font-size="{FONT}">'
        f"<title>{escape(film.title)}</title>"
        f"<style>text{{fill:#e6edf3;visibility:hidden;white-space:pre}}.z{{visibility:visible}}.b{{font-weight:700}}{colors}{motion}{still}{''.join(rules)}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>'
        + "".join(f'<circle cx="{18 + 18 * place}" cy="16" r="5.5" fill="{color}"/>' for place, color in enumerate(("#ff5f57", "#febc2e", "#28c840")))
        + f'<svg x="{MARGIN}" y="{TITLE}" width="{number(film.columns * CHAR)}" height="{film.rows * LINE}">'
        f'<g class="s" transform="translate(0 {-last_top * LINE})">'
        f'<rect class="c" width="{CHAR}" height="{LINE}" fill="#8b949e" transform="translate({number(column * CHAR)} {row * LINE})"/>'
        + "".join(marks)
        + "</g></svg></svg>\n"
    )


def _line(state, kind, name):
    """One state of a line; blanks before it are left out."""
    cells = list(state.cells)
    while cells[-1][0] == " ":
        cells.pop()
    first = next(place for place, (character, _) in enumerate(cells) if character != " ")
    cells = cells[first:]
    runs = []
    for character, style in cells:
        if runs and (runs[-1][1] == style or character == " "):
            runs[-1][0].append(character)
        else:
            runs.append(([character], style))
    text = "".join(_run("".join(characters), style) for characters, style in runs)
    where = (f' x="{number(first * CHAR)}"' if first else "") + f' y="{state.line * LINE + 13}"'
    how = (f' class="{kind}"' if kind else "") + (f' style="animation-name:{name}"' if name else "")
    return f'<text{where}{how} textLength="{number(len(cells) * CHAR)}">{text}</text>'


def _run(text, style):
    color, bold = style
    if style == PLAIN:
        return escape(text)
    names = ([f"c{next(code for code, value in COLORS.items() if value == color)}"] if color else []) + (["b"] if bold else [])
    return f'<tspan class="{" ".join(names)}">{escape(text)}</tspan>'


def _moves(name, places, percent):
    steps = "".join(f"{percent(second)}{{transform:translate({number(x)}px,{number(y)}px)}}" for second, x, y in places)
    return f"@keyframes {name}{{{steps}}}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--at", type=float, metavar="SECONDS")
    given = parser.parse_args()
    with open(given.source, encoding="utf-8") as file:
        header, *events = [json.loads(line) for line in file]
    film = Film(header, events)
    if given.at is not None:
        film.at(given.at)
    with open(given.target, "w", encoding="utf-8") as file:
        file.write(draw(film, given.at is None))


if __name__ == "__main__":
    main()
