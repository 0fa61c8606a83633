#!/usr/bin/env python3
"""The clause table of docs/conformance.md, made from the tests: which sentence of the runtime spec each examines.

    python conformance/clause_table.py           print the table
    python conformance/clause_table.py --write   put it into docs/conformance.md

It reads the sources (nothing is imported or run); a clause test checks that the document has what this prints.
"""
import ast
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "conformance.md"
BEGIN, END = "<!-- clause table: made by conformance/clause_table.py -->\n", "<!-- end of the clause table -->\n"


def rows() -> "list[tuple[str, str, str]]":
    """(reference, the clause in short, the test) for every test function, by reference and then as they are written."""
    found = []
    for path in sorted((HERE / "clauses").glob("test_*.py")):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                found += [(*clause, f"{path.stem}: {function.name.removeprefix('test_')}") for clause in clauses_of(function)]
    return sorted(found, key=lambda row: row[0])


def clauses_of(function: ast.FunctionDef) -> "list[tuple[str, str]]":
    calls = [each for each in function.decorator_list if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "clause"]
    return [tuple(ast.literal_eval(argument) for argument in call.args) for call in calls]


def table() -> str:
    lines = ["| clause | what it says, in short | test (conformance/clauses/) |", "|---|---|---|"]
    lines += [f"| {reference} | {words} | {test} |" for reference, words, test in rows()]
    return "\n".join(lines) + "\n"


def main(arguments: "list[str]") -> int:
    if arguments != ["--write"]:
        sys.stdout.write(table())
        return 0
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + table() + END + after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
