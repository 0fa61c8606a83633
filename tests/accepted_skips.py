"""Reads tests/skips.txt: the skips that CI accepts, each with its reason."""

import fnmatch


def read_skips(text):
    """[(nodeid glob, reason glob, why)] from the lines `NODEID | REASON | WHY`; # begins a comment. Raises ValueError."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = tuple(field.strip() for field in line.split("|"))
        if len(fields) != 3 or not all(fields):
            raise ValueError(f"skips.txt:{number}: not NODEID | REASON | WHY: {line!r}")
        rows.append(fields)
    return rows


def is_listed(rows, nodeid, reason):
    """Whether a row allows this skip."""
    return any(fnmatch.fnmatchcase(nodeid, row[0]) and fnmatch.fnmatchcase(reason, row[1]) for row in rows)
