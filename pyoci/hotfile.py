"""Writes hot.py's file.  Cold: once after an installation or an edit.

Layout: MAGIC; the length of hot.py's code, and where the index is, in 8 bytes each; hot.py's code, with which interpreter.c begins; the code of each
module; each group; the entries of all modules; the index.  All of it is marshalled; line numbers are left out, a quarter of it: only --debug shows them, and it
does without the file.
"""

import _imp
import ast
import importlib.util
import marshal
import os
import sys
import types

from pyoci.hot import EXTENSIONS, FILE, FOLDER, GROUPS, HEAD_BYTES, MAGIC, ROOTS

LIBRARY = os.path.dirname(os.__file__)


def renew():
    """Write the file anew from the sources; silently not where that is forbidden."""
    folder = os.path.dirname(FILE)
    if not os.access(folder if os.path.isdir(folder) else FOLDER, os.W_OK, effective_ids=True):
        return  # as for most users: before the sources are compiled in vain at each command
    found = {}
    for folder, folders, names in os.walk(FOLDER):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                _compile(found, os.path.join(folder, name))
    fresh = f"{FILE}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(FILE), 0o755, exist_ok=True)
        # Callers have a umask of 0; whoever may write to this file is who runs the next command.
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "wb") as file:
            file.write(_layout(found))
        os.replace(fresh, FILE)
    except OSError:
        if os.path.exists(fresh):
            os.unlink(fresh)


class _Source:
    """One module: `facts` (its path below its tree, its file's mtime_ns and size, whether it is a package), its code, and what it imports at once."""

    def __init__(self, name, tree, path, optimize):
        found = os.stat(path)
        with open(path, "rb") as file:
            text = file.read()
        is_package = path.endswith("/__init__.py")
        self.facts = (path[len(tree) :], found.st_mtime_ns, found.st_size, is_package)
        self.code = _without_lines(compile(text, path, "exec", dont_inherit=True, optimize=optimize))
        self.imports = list(_imports(ast.parse(text), name if is_package else name.rpartition(".")[0]))


def _without_lines(code):
    constants = tuple(_without_lines(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=constants)


def _imports(node, package):
    """The modules, and what may be one, that importing the node's module imports: not what functions import later, or what depends."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            base = ".".join(filter(None, (package if child.level else "", child.module)))
            yield base
            yield from (f"{base}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.If, ast.ExceptHandler)):
            yield from _imports(child, package)


def _compile(found, path):
    inner = path[len(FOLDER) :]
    name = "pyoci" + inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if name not in ("pyoci.__main__", "pyoci.hotfile"):
        found[name] = _Source(name, FOLDER, path, optimize=2)


def _find_in_library(name):
    """The source of a module of the standard library that is written in Python and not frozen into the interpreter, or None."""
    for path in (f"{LIBRARY}/{name.replace('.', '/')}/__init__.py", f"{LIBRARY}/{name.replace('.', '/')}.py"):
        if not _imp.is_frozen(name) and os.path.isfile(path):
            return _Source(name, LIBRARY, path, optimize=0)
    return None


def _order(found, roots, done):
    """The modules that importing the roots imports, each after its own imports and its package; without those in `done`."""
    order = []

    def visit(name):
        if name in done or not name:
            return
        done.add(name)
        if name not in found and not name.startswith("pyoci."):
            found[name] = _find_in_library(name)
        if found.get(name):
            visit(name.rpartition(".")[0])
            for one in found[name].imports:
                visit(one)
            order.append(name)

    for root in roots:
        visit(f"pyoci.{root}")
    return tuple(order)


def _layout(found):
    """The file's bytes."""
    start = marshal.dumps(found["pyoci.hot"].code)
    head_bytes = HEAD_BYTES + len(start)
    body = bytearray()

    def put(value):
        data = marshal.dumps(value)
        at = head_bytes + len(body)
        body.extend(data)
        return at, len(data)

    entries = {name: (*source.facts, *put(source.code)) for name, source in found.items()}
    groups = {}
    for program in GROUPS:
        orders = _orders(program, found)
        groups[program] = {group: put(tuple((name, *found[name].facts, found[name].code) for name in names)) for group, names in orders.items()}
    entries_at, _ = put(entries)
    index_at, _ = put((sys.hexversion, groups, _shared(), LIBRARY, entries_at))
    return MAGIC + len(start).to_bytes(8, "little") + index_at.to_bytes(8, "little") + start + body


def _orders(program, found):
    """{group: names} of a program; each without what "" has."""
    common = set()
    orders = {"": _order(found, GROUPS[program][""], common)}
    for verb, roots in GROUPS[program].items():
        if verb:
            own = [root.format(verb) for root in ROOTS[program]]
            orders[verb] = _order(found, (*own, *roots, *_of_this_host(verb)), set(common))
    return orders


def _of_this_host(verb):
    """What functions import on this host, or on any."""
    return ["native", "cgroup.v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "cgroup.v1"] if verb in ("create", "run") else ["native"]


def _shared():
    """Where the extension modules lie."""
    found = {}
    for name in EXTENSIONS:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin.startswith("/"):
            facts = os.stat(spec.origin)
            found[name] = (spec.origin, facts.st_mtime_ns, facts.st_size)
    return found
