"""README.md: the console blocks that are marked `<!-- runs -->` are run, in one folder and in order, and must show what they say.

Numbers may differ, and white space; `...` stands for anything, alone on a line for any lines.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")

TREE = pathlib.Path(__file__).resolve().parents[2]
TEXT = (TREE / "README.md").read_text()
BLOCKS = re.findall(r"<!-- runs -->\n```console\n(.*?)```", TEXT, re.DOTALL)
HOME = "/home/you/pyoci"


def commands(block):
    """[(command, the lines that it prints)] of a block: `$ ` begins a command, `> ` goes on with it."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif line.startswith("> "):
            found[-1][0] += "\n" + line[2:]
        else:
            found[-1][1].append(line)
    return found


def normal(line):
    """A line with one blank for many, and 0 for every number: a table grows with the pids in it."""
    return re.sub(r"\d+", "0", " ".join(line.split()))


def pattern(lines):
    """The regular expression for what a command must print."""
    words = []
    for line in lines:
        if line == "...":
            words.append(r"(?:.*\n)*?")
            continue
        words.append(re.escape(normal(line)).replace(re.escape("..."), ".*") + "\n")
    return "".join(words)


@pytest.fixture
def folder(examples, pyoci, tmp_path):
    """Where the commands run: bundles/ is there, and pyoci and its Python are on PATH, with a root of their own."""
    (tmp_path / "bundles").symlink_to(examples)
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "pyoci"
    wrapper.write_text(f"#!/bin/sh\nexec {' '.join(pyoci.command())} \"$@\"\n")
    wrapper.chmod(0o755)
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    yield tmp_path
    shutil.rmtree("/run/pyoci-readme", ignore_errors=True)  # of the example in Python


def shown(text, folder, examples):
    """What was printed, with the folder's name as the README has it."""
    text = text.replace(str(examples), f"{HOME}/bundles").replace(str(folder), HOME)
    return "".join(normal(line) + "\n" for line in text.splitlines())


@pytest.mark.parametrize("block", [pytest.param(block, id=commands(block)[0][0].split("\n")[0][:40]) for block in BLOCKS])
def test_block_of_the_readme_shows_what_it_says(block, folder, examples):
    environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "LANG": "C.UTF-8", "PYTHONPATH": str(TREE)}
    for command, expected in commands(block):
        with (folder / "shown").open("w+") as out:
            subprocess.run(["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False)
        text = shown((folder / "shown").read_text(), folder, examples)
        assert re.fullmatch(pattern(expected), text), f"{command}\nprinted\n{text}\nbut the README says\n{pattern(expected)}"


def test_every_verb_has_an_example():
    from pyoci.cli.main import VERBS

    assert [verb for verb in VERBS if not any(f"pyoci {verb}" in block for block in BLOCKS)] == []


@pytest.mark.parametrize("paper", ["README.md", "bundles/README.md", *(str(path.relative_to(TREE)) for path in sorted((TREE / "docs").rglob("*.md")))])
def test_links_between_the_papers_lead_somewhere(paper):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (TREE / paper).read_text())
    assert [link for link in links if not ((TREE / paper).parent / link).exists()] == []


def test_everything_that_is_refused_is_in_the_readme():
    from pyoci.spec import validate

    refused = [name for name, _ in (*validate.UNSUPPORTED_PROCESS, *validate.UNSUPPORTED_LINUX, *validate.UNSUPPORTED_MOUNT[:1])]
    refused += [validate.UNSUPPORTED_SECCOMP_ACTION, validate.UNSUPPORTED_MOUNT_OPTIONS[0]]
    limits = TEXT.split("## What it does not do")[1].split("\n## ")[0]
    assert [name for name in refused if f"`{name}`" not in limits and f".{name}`" not in limits] == []


def test_map_has_every_room():
    rooms = {path.parent.name for path in (TREE / "pyoci").glob("*/__init__.py")} | {path.stem for path in (TREE / "pyoci").glob("[a-z]*.py")}
    text = (TREE / "docs" / "map.md").read_text()
    assert sorted(room for room in rooms if f"**`{room}" not in text and f"`{room}.py`" not in text) == []
