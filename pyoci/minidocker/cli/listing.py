"""Lists as docker prints them: a table with a heading, a template a line, JSON lines, or bare ids.

A column is a field that --format can name; its heading stands in the table.  Source: docker's "Format command and log output".
"""

from pyoci.minidocker.cli.visible import visible

GAP = 3
NARROWEST = 10


def table(headings, rows):
    """Lines of a table: columns as wide as their widest word, three blanks between.  A row is one line, whatever its words hold."""
    rows = [headings, *([visible(word) for word in row] for row in rows)]
    widths = [max([NARROWEST] + [len(row[at]) + GAP for row in rows]) for at in range(len(headings))]
    return ["".join(word.ljust(width) for word, width in zip(row[:-1], widths, strict=False)) + row[-1] for row in rows]


def listing(columns, rows, form="", quiet=None, default=()):
    """The text of a list.

    columns  {field: heading}, all that --format may name
    rows     dicts: a value, or a function that makes it when it is asked for (a size is dear)
    form     --format: "", table, json, a template, or `table TEMPLATE`
    quiet    the field that -q prints alone, or None
    default  the fields of the table when nothing was asked
    """
    if quiet and not form:
        return "".join(f"{_value(row, quiet)}\n" for row in rows)
    if form and form != "table":
        return _formatted(columns, rows, form)
    return _lines([columns[name] for name in default], [[str(_value(row, name)) for name in default] for row in rows])


def _formatted(columns, rows, form):
    from pyoci.minidocker.cli.template import (  # dear, 5 ms: only --format needs it
        Template,
        as_json,
    )

    if form == "json":
        return "".join(as_json({name: str(_value(row, name)) for name in sorted(columns)}) + "\n" for row in rows)
    is_table = form.startswith("table")
    template = Template(_unescaped(form.removeprefix("table").strip() if is_table else form), strict=True)
    if not is_table:
        return "".join(template.render({name: row[name] for name in sorted(row)}) + "\n" for row in rows)  # for {{json .}}
    cells = [template.render(row).split("\t") for row in ({**columns, "Label": lambda key: key}, *rows)]
    return _lines(cells[0], cells[1:])


def _lines(headings, rows):
    return "".join(line.rstrip() + "\n" for line in table(headings, rows))


def _unescaped(form):
    return form.replace("\\t", "\t").replace("\\n", "\n")


def _value(row, name):
    value = row[name]
    return value() if callable(value) else value
