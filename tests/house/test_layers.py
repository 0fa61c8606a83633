"""Who may call whom, which modules a hot room may import, and how a room looks: read from the source with ast, imports inside functions too.

The order of the rooms is the design's. A new room needs a place in it: an unknown one is an error here.
"""

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "pyoci"

# Highest first. Rooms on one line do not import each other.
ORDER = (
    ("__main__",),
    ("cli",),
    ("minidocker",),
    ("api",),
    ("runtime",),
    ("compile", "launch"),
    ("cgroup", "state", "seccomp"),
    ("plan", "spec"),
    ("kernel",),
    ("native", "hotfile"),
    ("errors", "hot"),
    ("__init__",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# Each costs next to nothing beside the bare interpreter (all but _socket, select and fcntl are compiled into Debian's, and marshal is always
# loaded); os, re, json, enum and their like cost 1 to 15 ms.
HOT_IMPORTS = {"_imp", "posix", "time", "fcntl", "_json", "_struct", "errno", "select", "_socket", "sys", "marshal", "_blake2", "gc"}

# A module that no hot verb loads says `Cold` in its docstring, and may import what it likes; hot modules import it in functions only.
COLD = re.compile(r"\bCold\b")
# What the docstring does not say, with who loads it.
COLD_MODULES = {
    "cli/help.py": "--help and usage errors",
    "plan/header.py": "the build",
    "runtime/events.py": "events",
    "runtime/update.py": "update",
    "seccomp/enosys.py": "a filter that is not in the cache",
}

# The platform: all of it is cold, and of pyoci it knows these alone (hot: its start), so that it runs on any OCI runtime.
PLATFORM = "minidocker"
PLATFORM_CALLS = {PLATFORM, "api", "spec", "kernel", "errors", "hot", "hotfile", "__init__"}

PURE_ROOMS = ("compile", "plan", "spec")
# Clocks, files, processes: what a pure room must not reach. Its modules may still read sys.maxsize or errno's names.
IMPURE_MODULES = {"posix", "os", "time", "fcntl", "select", "_socket", "socket", "subprocess", "io", "pathlib"}
IMPURE_EXCEPTIONS = {
    "spec/decode.py": {"posix"},  # reads the one document that it decodes
    "spec/explain.py": {"pathlib"},  # reads the schemas that the package brings
}


def modules():
    """Every module of the package, by its path below pyoci/."""
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(module):
    """`compile` for compile/mounts.py, `errors` for errors.py."""
    return module.split("/")[0].removesuffix(".py")


def is_cold(module):
    """Whether no hot verb loads the module."""
    return room_of(module) == PLATFORM or module in COLD_MODULES or bool(COLD.search(ast.get_docstring(ast.parse((PACKAGE / module).read_text())) or ""))


def module_file(name):
    """`kernel/mount.py` for pyoci.kernel.mount; None for a name that is not a module's (a class, an extension)."""
    path = "/".join(name.split(".")[1:])
    return next((found for found in (f"{path}.py", f"{path}/__init__.py") if (PACKAGE / found).is_file()), None)


def imports_of(source):
    """[(dotted name, at the top of the module, line)] of every import statement; a relative import raises ValueError."""
    tree = ast.parse(source)
    found = []
    cold = {node for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.Lambda)) for node in ast.walk(function)}
    # The body of `if TYPE_CHECKING:` never runs.
    for branch in ast.walk(tree):
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING":
            cold.update(node for statement in branch.body for node in ast.walk(statement))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node not in cold, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: relative import")
            if node.module == "pyoci":
                found += [(f"pyoci.{alias.name}", node not in cold, node.lineno) for alias in node.names]
            else:
                found.append((node.module, node not in cold, node.lineno))
                submodules = [f"{node.module}.{alias.name}" for alias in node.names] if node.module.startswith("pyoci.") else []
                found += [(name, node not in cold, node.lineno) for name in submodules if module_file(name)]
    return found


def wrong_directions(module, source):
    """The imports of a module that its room may not make, as sentences."""
    room = room_of(module)
    if room not in RANK:
        return [f"{module}: unknown room {room}: give it a place in ORDER"]
    wrong = []
    for name, _top, line in imports_of(source):
        if not name.startswith("pyoci."):
            continue
        target = name.split(".")[1]
        if target.startswith("__version__"):
            target = "__init__"
        if target not in RANK:
            wrong.append(f"{module}:{line}: imports from unknown room {target}")
        elif room == PLATFORM and target not in PLATFORM_CALLS:
            wrong.append(f"{module}:{line}: the platform may not import {target}")
        elif target != room and RANK[target] <= RANK[room]:
            wrong.append(f"{module}:{line}: {room} may not import {target}")
    return wrong


def dear_imports(module, source):
    """The imports at a hot module's top that are not on the allow-list."""
    return [
        f"{module}:{line}: imports {name} at its top"
        for name, top, line in imports_of(source)
        if top and not name.startswith("pyoci.") and name != "pyoci" and name not in HOT_IMPORTS
    ]


@pytest.mark.parametrize("module", modules())
def test_room_imports_only_rooms_below_it(module):
    assert wrong_directions(module, (PACKAGE / module).read_text()) == []


@pytest.mark.parametrize("module", [module for module in modules() if not is_cold(module)])
def test_hot_module_imports_only_what_is_cheap(module):
    assert dear_imports(module, (PACKAGE / module).read_text()) == []


@pytest.mark.parametrize("module", [module for module in modules() if not is_cold(module)])
def test_hot_module_imports_no_cold_one_at_its_top(module):
    tops = {name for name, top, _line in imports_of((PACKAGE / module).read_text()) if top and name.startswith("pyoci.")}
    assert [name for name in sorted(tops) if (file := module_file(name)) and is_cold(file)] == []


def test_every_cold_module_exists():
    assert set(COLD_MODULES) <= set(modules())


def test_cold_module_is_known_by_its_docstring():
    assert is_cold("native/build.py")
    assert not is_cold("errors.py")


@pytest.mark.parametrize("module", [module for module in modules() if room_of(module) in PURE_ROOMS and module != "plan/header.py"])
def test_pure_room_reaches_no_clock_file_or_process(module):
    reached = {name.split(".")[0] for name, _top, _line in imports_of((PACKAGE / module).read_text())} & IMPURE_MODULES
    assert reached <= IMPURE_EXCEPTIONS.get(module, set())


@pytest.mark.parametrize("module", [module for module in modules() if module.endswith("__init__.py") and module != "__init__.py"])
def test_init_file_is_empty(module):
    assert (PACKAGE / module).read_bytes() == b""


def test_package_imports_nothing():
    assert imports_of((PACKAGE / "__init__.py").read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        pytest.param("kernel/mount.py", "def f():\n    from pyoci.runtime import create\n", "kernel may not import runtime", id="inside-a-function"),
        pytest.param("compile/a.py", "from pyoci import launch\n", "compile may not import launch", id="beside"),
        pytest.param("compile/a.py", "import pyoci.launch.run\n", "compile may not import launch", id="by-import"),
        pytest.param("compile/a.py", "from pyoci.attic import x\n", "unknown room attic", id="unknown-target"),
        pytest.param("attic/a.py", "", "unknown room attic", id="unknown-room"),
        pytest.param("minidocker/a.py", "from pyoci.launch import run\n", "the platform may not import launch", id="platform"),
        pytest.param("api.py", "from pyoci.minidocker import store\n", "api may not import minidocker", id="from-below"),
        pytest.param("errors.py", "from pyoci.errors2 import x\n", "unknown room errors2", id="unknown-file"),
    ],
)
def test_wrong_direction_is_seen(module, source, said):
    assert any(said in line for line in wrong_directions(module, source))


def test_right_direction_is_accepted():
    assert wrong_directions("cli/main.py", "from pyoci.errors import PyociError\nfrom pyoci import api, __version__\n") == []


def test_relative_import_is_seen():
    with pytest.raises(ValueError, match="relative import"):
        imports_of("from . import x\n")


def test_dear_import_is_seen_at_the_top_only():
    source = "import os\nimport posix\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n    import typing\ndef f():\n    import json\n"
    assert dear_imports("kernel/a.py", source) == ["kernel/a.py:1: imports os at its top"]
