"""What a hot verb loads of the command line: main, options and its own file, and nothing dear."""

import subprocess
import sys

import pytest

FAKE = """
import sys
class Runtime:
    def __init__(self, *a, **k): pass
    def __getattr__(self, name): return lambda *a, **k: {} if name in ("state", "exec_process") else 0
module = type(sys)("pyoci.api"); module.Runtime = Runtime; sys.modules["pyoci.api"] = module
before = set(sys.modules)
from pyoci.cli.main import main
status = main(["pyoci", *sys.argv[1:]])
import posix
posix.write(2, " ".join(sorted(set(sys.modules) - before)).encode())
posix._exit(status)
"""

CLI = {"pyoci", "pyoci.cli", "pyoci.cli.main", "pyoci.cli.options", "pyoci.cli.verbs", "pyoci.errors", "errno"}
# main needs the JSON encoder of spec for `state` alone; the api has loaded it by then.
JSON = {"pyoci.spec", "pyoci.spec.decode", "_json"}


@pytest.mark.parametrize(
    "words, more",
    [
        (["create", "a"], set()),
        (["run", "a"], set()),
        (["start", "a"], set()),
        (["kill", "a", "9"], set()),
        (["delete", "a"], set()),
        (["exec", "a", "sh"], set()),
        (["--log", "/dev/null", "--log-format", "json", "--root", "r", "start", "a"], set()),
        (["state", "a"], JSON),
    ],
)
def test_a_hot_verb_loads_these_modules_and_no_others(words, more):
    done = subprocess.run(
        [sys.executable, "-S", "-c", FAKE, *words], env={"PYTHONPATH": ":".join(filter(None, sys.path))}, capture_output=True, text=True
    )
    verb = next(word for word in words if word in ("create", "run", "start", "kill", "delete", "exec", "state"))
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) <= CLI | {f"pyoci.cli.verbs.{verb}"} | more
