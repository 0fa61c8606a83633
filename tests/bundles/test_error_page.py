"""docs/errors.md lists what errors say: it must hold every hint and every check of pyoci, and the words that callers match."""

import json
import pathlib
import struct

import pytest

from pyoci.launch import explain
from pyoci.plan import wire
from pyoci.plan.ops import STEPS
from pyoci.plan.plan import Op

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")

TREE = pathlib.Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs" / "errors.md").read_text()


@pytest.mark.parametrize("hint", sorted({*explain._HINTS.values(), *explain._VERIFIED.values()}))
def test_page_has_each_hint(hint):
    assert f"| {hint} |" in PAGE


@pytest.mark.parametrize(
    "words",
    [
        "container does not exist",
        "container with given ID already exists",
        "container not running",
        "container not paused",
        "cannot start an already running container",
        "cannot start a container that has stopped",
        "cannot exec in a stopped container",
        "executable file not found in $PATH",
        "permission denied",
        "is a directory",
        "container init was OOM-killed (memory limit too low?)",
        "(possibly OOM-killed)",
        "flag needs an argument",
        "JSON specification file config.json not found",
        "cannot allocate tty if pyoci will detach without setting console socket",
    ],
)
def test_words_that_callers_match_are_in_the_page_and_in_the_source(words):
    assert words in PAGE
    assert any(words in path.read_text() for path in (TREE / "pyoci").rglob("*.py"))


def test_init_of_another_build_says_so():
    """In a tree where Python was updated and init was not: operations have other numbers."""
    message = wire.Message(struct.pack("<IIIiII32s", wire.FAIL, 7, STEPS.index("plan"), 0, 3, 0, b""))
    said = str(explain.init_failure(Op("new_session", "default"), message))
    assert said == "lead a new session: init does not know this plan: it was built from other sources; build it again (make build)"


def test_example_of_the_page_is_what_is_printed(pyoci, examples, tmp_path):
    config = json.loads((examples / "hello" / "config.json").read_text())
    config["mounts"].append({"destination": "/data", "type": "bind", "source": "/nosuch", "options": ["bind"]})
    (tmp_path / "config.json").write_text(json.dumps(config, indent=4))
    (examples / "hello" / "rootfs").rename(tmp_path / "rootfs")
    try:
        said = pyoci.fails("run", "--bundle", tmp_path, pyoci.new_id())
    finally:
        (tmp_path / "rootfs").rename(examples / "hello" / "rootfs")
    line = next(line for line in PAGE.splitlines() if line.startswith("pyoci run failed"))
    number = said.split("config.json:")[1].split(":")[0]
    assert said == line.replace("config.json:41:", f"config.json:{number}:")
