"""Lists as docker prints them: a table with a heading, a template a line, JSON lines, or bare ids.

A column is a field that --format can name; its heading stands in the table.  Source: docker's "Format command and log output".
"""

GAP = 3
NARROWEST = 10


def table(headings, rows):
    """Lines of a table: columns as wide as their widest word, three blanks between."""
    rows = [headings, *rows]
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
    from pyoci.minidocker.cli.template import Template, as_json  # dear, 5 ms: only --format needs it

    if form == "json":
        return "".join(as_json({name: str(_value(row, name)) for name in columns}) + "\n" for row in rows)
    is_table = form.startswith("table")
    template = Template(_unescaped(form.removeprefix("table").strip() if is_table else form), strict=True)
    if not is_table:
        return "".join(template.render(row) + "\n" for row in rows)
    cells = [template.render(row).split("\t") for row in ({**columns, "Label": lambda key: key}, *rows)]
    return _lines(cells[0], cells[1:])


def _lines(headings, rows):
    return "".join(line.rstrip() + "\n" for line in table(headings, rows))


def _unescaped(form):
    return form.replace("\\t", "\t").replace("\\n", "\n")


def _value(row, name):
    value = row[name]
    return value() if callable(value) else value


def human_duration(seconds):
    """docker's words: Less than a second, 3 seconds, About a minute, 2 hours, 4 weeks."""
    seconds = max(int(seconds), 0)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{seconds} second" + ("s" if seconds > 1 else "")
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, length, word in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 365 * 2, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // length} {word}"
    return f"{hours // (24 * 365)} years"
