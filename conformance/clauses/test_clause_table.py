"""The clause tests and docs/conformance.md say the same. (House rules, no clauses of the spec.)"""
import ast

import clause_table
from deviations import DEVIATIONS

OWN = {"test_clause_table", "test_runtime_tools"}


def functions():
    for path in sorted((clause_table.HERE / "clauses").glob("test_*.py")):
        if path.stem not in OWN:
            yield from (each for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"))


def test_every_clause_test_cites_its_clause():
    for function in functions():
        cited = clause_table.clauses_of(function)
        assert cited and all(reference.partition("#")[0].endswith(".md") and words for reference, words in cited), function.name


def test_the_document_has_the_table_of_the_tests():
    assert clause_table.BEGIN + clause_table.table() + clause_table.END in clause_table.DOCUMENT.read_text()


def test_every_deviation_is_a_test_and_in_the_document():
    names = {each.name for each in functions()}
    text = clause_table.DOCUMENT.read_text()
    assert all(name in names and name in text for name in DEVIATIONS)
