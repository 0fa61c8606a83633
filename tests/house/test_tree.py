"""What holds for every tracked file, and for the papers that say the same thing twice."""

import ast
import configparser
import pathlib
import re
import subprocess
import tomllib

import pytest

import pyoci

TREE = pathlib.Path(__file__).resolve().parents[2]
# Words that would tie the tree to a machine where it was written; spelt so that this file does not hold them.
FOREIGN_WORDS = [b"/work" + b"/", b"/fa" + b"rm/", b"/root/" + b".pyenv"]
LONGEST_FUNCTION_LINES = 60
LONGEST_LINE = 180

# Functions that are longer, with their length: a ratchet, which only ever gets shorter.
LONG_FUNCTIONS = {}


def tracked_files():
    """The paths that git tracks and that exist, or every file of an unpacked archive."""
    try:
        listed = subprocess.run(["git", "-C", TREE, "ls-files", "-z"], capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return [path for path in TREE.rglob("*") if path.is_file() and not {".venv", "build", ".git", "rootfs"} & set(path.relative_to(TREE).parts)]
    return [TREE / name for name in listed.decode().split("\0") if name and (TREE / name).is_file() and not (TREE / name).is_symlink()]


def python_files():
    return [path for path in tracked_files() if path.suffix == ".py"]


def long_functions(source):
    """{name: lines} of the functions above LONGEST_FUNCTION_LINES; a docstring doesn't count."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
            docstring_lines = first.end_lineno - first.lineno + 1 if documented else 0
            lines = node.end_lineno - node.lineno + 1 - docstring_lines
            if lines > LONGEST_FUNCTION_LINES:
                found[node.name] = lines
    return found


def test_no_tracked_file_names_the_machine_it_was_written_on():
    told = [f"{path.relative_to(TREE)}: {word.decode()}" for path in tracked_files() for word in FOREIGN_WORDS if word in path.read_bytes()]
    assert told == []


def test_no_function_grows_past_the_limit():
    grown = []
    for path in python_files():
        for name, lines in long_functions(path.read_text()).items():
            key = f"{path.relative_to(TREE)}:{name}"
            if lines > LONG_FUNCTIONS.get(key, LONGEST_FUNCTION_LINES):
                grown.append(f"{key}: {lines} lines")
    assert grown == []


def test_long_function_is_seen():
    body = "\n".join(["    x = 1"] * LONGEST_FUNCTION_LINES)
    assert long_functions(f"def f():\n{body}\n") == {"f": LONGEST_FUNCTION_LINES + 1}
    assert long_functions(f'def f():\n    """a\n    b"""\n{body[10:]}\n') == {}


def test_every_ratchet_entry_is_still_needed():
    found = {f"{path.relative_to(TREE)}:{name}": lines for path in python_files() for name, lines in long_functions(path.read_text()).items()}
    assert {key: found.get(key) for key in LONG_FUNCTIONS} == LONG_FUNCTIONS


def test_no_line_is_too_long():
    long = [
        f"{path.relative_to(TREE)}:{number}"
        for path in tracked_files()
        if path.suffix in (".py", ".c", ".h") and path.is_relative_to(TREE / "pyoci")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LONGEST_LINE
    ]
    assert long == []


@pytest.mark.parametrize("path", [path for path in python_files() if path.is_relative_to(TREE / "pyoci") and path.stat().st_size], ids=lambda path: path.name)
def test_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_names_of_test_modules_are_unique():
    """The rooms of tests/ are folders, not packages: pytest imports their modules by their bare names."""
    names = [path.name for path in python_files() if path.relative_to(TREE).parts[0] in ("tests", "conformance") and path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_version_is_written_once():
    metadata = tomllib.loads((TREE / "pyproject.toml").read_text())
    assert "version" in metadata["project"]["dynamic"]
    assert metadata["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pyoci.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", pyoci.__version__)


def test_wheel_is_tagged_for_the_oldest_python_that_is_promised():
    oldest = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=3.")
    settings = configparser.ConfigParser()
    settings.read(TREE / "setup.cfg")
    launcher = (TREE / "pyoci" / "native" / "launcher" / "launcher.c").read_text()
    assert settings["bdist_wheel"]["py_limited_api"] == f"cp3{oldest}"
    assert f"OLDEST_MINOR = {oldest}" in launcher


def test_generated_files_are_not_tracked():
    names = {str(path.relative_to(TREE)) for path in tracked_files()}
    assert not names & {"pyoci/native/init/ops.h", "pyoci/native/init/pyoci-init", "pyoci/native/launcher/pyoci"}
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o"))]
