"""docs/walk.md shows the plan of bundles/hello: its listing must be the real one."""

import pathlib
import re

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")

TREE = pathlib.Path(__file__).resolve().parents[2]


def plain(line):
    """A line of a plan without its number, which differs with the version of the cgroups."""
    return re.sub(r"^ *\d+ |(?<=for operation )\d+", "", line)


def depends_on_the_host(line):
    """How devices are limited, and whether there is a /proc/kcore."""
    return re.search(r"devices\.(deny|allow)|/dev/core|device program|write .* to ", line) is not None


def listing():
    return re.search(r"```\n(create:\n.*?)```", (TREE / "docs" / "walk.md").read_text(), re.DOTALL).group(1).splitlines()


def test_listing_of_the_walk_is_the_plan(pyoci, examples):
    real = [plain(line) for line in pyoci.ok("plan", examples / "hello").splitlines() if not depends_on_the_host(line)]
    told = [plain(line) for line in listing() if not depends_on_the_host(line)]
    for said, line in zip(told, real, strict=True):
        assert re.fullmatch(re.escape(said).replace(re.escape("..."), ".*"), line)


def test_every_operation_that_the_walk_points_at_is_in_its_listing():
    text = (TREE / "docs" / "walk.md").read_text().split("```")[2]
    numbers = {int(number) for words in re.findall(r"^\*\*([\d, andto]+) ", text, re.MULTILINE) for number in re.findall(r"\d+", words)}
    shown = {int(line.split()[0]) for line in listing() if line[:1] == " "}
    assert numbers and numbers <= shown
