"""What a frequent verb may cost, held without a clock: the modules that it loads, and the system calls that it makes.

A module more, or a few dozen calls more, is a decision: change the number here in the commit that needs it, and say why.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest

from support import PYOCI

TREE = pathlib.Path(__file__).resolve().parents[2]
# What the interpreter itself has loaded before our first line runs (Debian's 3.11), and what is built into it.
INTERPRETER = {"encodings", "encodings.aliases", "encodings.utf_8", "codecs", "io", "abc", "zipimport", "site", "os", "stat", "posixpath",
               "genericpath", "_collections_abc", "_sitebuiltins"}  # fmt: skip
# Not ours, and yet worth their price.
ALLOWED = {"_cffi_backend", "_json"}
# verb -> the most modules of ours that it may load, packages included.  create, run and exec have seccomp.cache without a filter too: engines always give one.
MODULES = {"create": 47, "start": 29, "state": 28, "kill": 26, "delete": 29, "exec": 49, "run": 53}
# verb -> the most system calls of the runtime's own process from its first to its last.  A start-up of the interpreter is 330 of them.
CALLS = {"create": 740, "start": 500, "state": 475, "kill": 480, "delete": 540, "exec": 625}


@pytest.fixture(scope="module", autouse=True)
def fresh_code_file():
    """The first command after an edit writes the file of all code anew (hotfile.py), which is not what a verb costs."""
    subprocess.run([PYOCI, "--root", "/nowhere", "state", "nothing"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


@pytest.fixture
def life(bundle, pyoci):
    """{verb: command line} for one container, in the order of its life."""
    name = pyoci.new_id()
    common = [str(PYOCI), "--root", str(pyoci.root)]
    bundle.process["args"] = ["sleep", "1000"]
    bundle.write()
    return {
        "create": [*common, "create", "--bundle", str(bundle.path), name],
        "start": [*common, "start", name],
        "state": [*common, "state", name],
        "exec": [*common, "exec", name, "true"],
        "kill": [*common, "kill", name, "KILL"],
        "delete": [*common, "delete", "--force", name],
    }


def loaded(command):
    """The modules in sys.modules when the verb is done."""
    # As bin/pyoci starts it, but for the last step, which is told here in place of posix._exit.
    script = (
        "import posix, sys\n"
        "leave = posix._exit\n"
        "def tell(status):\n"
        "    sys.stderr.write('\\nMODULES ' + ' '.join(sorted(sys.modules)) + '\\n')\n"
        "    sys.stderr.flush()\n"
        "    leave(status)\n"
        "posix._exit = tell\n"
        "sys.argv[0:1] = []\n"
        f"__file__ = {str(TREE / 'pyoci/__main__.py')!r}\n"
        "exec(compile(open(__file__).read(), __file__, 'exec'))\n"
    )
    site = next(path for path in sys.path if path.endswith("site-packages"))
    with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as said:
        subprocess.run(
            [sys.executable, "-IS", "-X", "utf8", "-X", f"pyoci_site={site}", "-c", script, *command],
            stdin=nothing, stdout=subprocess.DEVNULL, stderr=said, check=True, timeout=60,
        )  # fmt: skip
        said.seek(0)
        line = next(line for line in said.read().splitlines() if line.startswith("MODULES "))
    return set(line.split()[1:])


def test_a_frequent_verb_loads_no_dear_module(life, bundle, pyoci):
    builtin = set(sys.builtin_module_names) | {"_frozen_importlib", "_frozen_importlib_external"}
    for verb, command in life.items():
        foreign = {
            name for name in loaded(command)
            if not name.startswith("pyoci") and name not in builtin | INTERPRETER | ALLOWED and name != "__main__"
        }  # fmt: skip
        assert not foreign, f"{verb} loads {sorted(foreign)}"


def test_a_frequent_verb_loads_few_modules_of_ours(life, bundle, pyoci):
    counts = {verb: sum(name.startswith("pyoci") for name in loaded(command)) for verb, command in life.items()}
    bundle.process["args"] = ["true"]
    bundle.write()
    run = [str(PYOCI), "--root", str(pyoci.root), "run", "--bundle", str(bundle.path), pyoci.new_id()]
    counts["run"] = sum(name.startswith("pyoci") for name in loaded(run))
    over = {verb: count for verb, count in counts.items() if count > MODULES[verb]}
    assert not over, f"{over} of {MODULES}"


@pytest.mark.needs("strace")
def test_a_frequent_verb_makes_few_system_calls(life, bundle, pyoci, tmp_path):
    for command in life.values():  # the code file is fresh after this
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60)
    over = {}
    for verb, command in life.items():
        count = calls_of(command, tmp_path / f"{verb}.strace")
        if count > CALLS[verb]:
            over[verb] = count
    assert not over, f"{over} of {CALLS}"


@pytest.mark.needs("strace", "libpython")
def test_a_frequent_verb_needs_half_an_interpreter(life, bundle, pyoci, tmp_path):
    """Nothing of a frequent verb asks for the second phase (native/interpreter), which starts with the encodings."""
    asked = []
    for verb, command in {**life, "run": [*life["create"][:3], "run", "--bundle", str(bundle.path), pyoci.new_id()]}.items():
        if verb == "run":
            bundle.process["args"] = ["true"]
            bundle.write()
        trace = tmp_path / f"{verb}.strace"
        subprocess.run(["strace", "-o", trace, "-e", "trace=execve,openat", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True, timeout=60)  # fmt: skip
        lines = trace.read_text(errors="replace")
        assert "native/interpreter/python3" in lines
        if "/encodings/" in lines or lines.count("execve(") != 2:
            asked.append(verb)
    assert asked == []


@pytest.mark.needs("strace", "root", "busybox", "init", "shim")
def test_a_frequent_command_of_minidocker_imports_from_the_file_of_all_code(tmp_path):
    """No .pyc is opened after hot.py's own: what `ps` and `run` import, of the standard library too, is in their groups.  The encodings are the interpreter's."""
    minidocker = PYOCI.with_name("minidocker")
    environ = {"PATH": os.environ["PATH"], "MINIDOCKER_ROOT": str(tmp_path / "root"), "MINIDOCKER_RUN": str(tmp_path / "run")}
    subprocess.run([minidocker, "image", "make", "busybox"], env=environ, capture_output=True, check=True, timeout=60)
    for words in (["ps"], ["run", "--rm", "--network", "none", "busybox", "true"]):
        command = [minidocker, *words]
        subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
        trace = tmp_path / "trace"
        subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=openat,execve", *command], env=environ, stdin=subprocess.DEVNULL, capture_output=True,
                       check=True, timeout=60)  # fmt: skip
        lines = trace.read_text(errors="replace").splitlines()
        # On a slow host the monitor may do what the foreground was to do: another program, and no frequent one.
        others = {line.split()[0] for line in lines if "deeds.py" in line}
        opened = set(re.findall(r'"([^"]*)\.cpython-\d+\.pyc"', "\n".join(line for line in lines if line.split()[0] not in others)))
        dear = {path for path in opened if "/encodings/" not in path and not path.endswith(("/pyoci/__pycache__/__init__", "/pyoci/__pycache__/hot"))}
        assert not dear, f"minidocker {words[0]} imports {sorted(dear)} one by one: add what imports them to hot.GROUPS"


def calls_of(command, file):
    """System calls of the command's own process."""
    subprocess.run(["strace", "-o", file, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=True, timeout=60)  # fmt: skip
    return sum(not line.startswith(("---", "+++")) for line in file.read_text(errors="replace").splitlines())


def test_the_code_file_follows_an_edited_source(tmp_path):
    """An edit must show at once, whatever lies in the file of all code (hot.py)."""
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["cp", "-a", str(TREE / "pyoci"), str(tree)], check=True)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    command = [sys.executable, "-IS", "-X", "utf8", "-X", f"pyoci_site={site}", str(tree / "pyoci/__main__.py")]

    def state():
        return subprocess.run([*command, "--root", str(tmp_path / "none"), "state", "x"], capture_output=True, text=True, timeout=60).stderr

    assert "container does not exist" in state()
    assert "container does not exist" in state()
    source = tree / "pyoci/errors.py"
    source.write_text(source.read_text().replace("container does not exist", "no such box"))
    assert "no such box" in state()
    assert "no such box" in state()


@pytest.mark.parametrize("spoil", [lambda data: data[:100], lambda data: b"", lambda data: data[:20] + bytes(40) + data[60:]],
                         ids=["cut", "empty", "overwritten"])  # fmt: skip
def test_a_torn_code_file_changes_nothing(tmp_path, spoil):
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["cp", "-a", str(TREE / "pyoci"), str(tree)], check=True)
    for old in (tree / "pyoci/__pycache__").glob("hot.*"):
        old.unlink()
    site = next(path for path in sys.path if path.endswith("site-packages"))
    command = [sys.executable, "-IS", "-X", "utf8", "-X", f"pyoci_site={site}", str(tree / "pyoci/__main__.py"), "--root", str(tmp_path), "state", "x"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60)
    file = next(one for one in (tree / "pyoci/__pycache__").glob("hot.*") if not re.search(r"\.pyc$", one.name))
    file.write_bytes(spoil(file.read_bytes()))
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (first.returncode, first.stderr) == (again.returncode, again.stderr) == (1, "container does not exist: x\n")
    assert json.dumps(first.stdout) == '""'
