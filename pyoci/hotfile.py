"""Writes hot.py's file.  Cold: once after an installation or an edit.

Layout: MAGIC; the length of hot.py's code, and where the index is, in 8 bytes each; hot.py's code, with which interpreter.c begins; the code of each
module; each group; the entries of all modules; the index.  All of it is marshalled; line numbers are left out, a quarter of it: only --debug shows them, and it
does without the file.
"""

import ast
import importlib.util
import marshal
import os
import sys
import types

from pyoci.hot import EXTENSIONS, FILE, FOLDER, GROUPS, HEAD_BYTES, MAGIC


def renew():
    """Write the file anew from the sources; silently not where that is forbidden."""
    folder = os.path.dirname(FILE)
    if not os.access(folder if os.path.isdir(folder) else FOLDER, os.W_OK, effective_ids=True):
        return  # as for most users: before the sources are compiled in vain at each command
    found = {}
    for folder, folders, names in os.walk(FOLDER):
        folders[:] = [name for name in folders if name not in ("__pycache__", "minidocker", "tools")]
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
    """One module: `facts` (its path below FOLDER, its file's mtime_ns and size, whether it is a package), its code, and what it imports of ours at once."""

    def __init__(self, path, is_package):
        found = os.stat(path)
        with open(path, "rb") as file:
            text = file.read()
        self.facts = (path[len(FOLDER) :], found.st_mtime_ns, found.st_size, is_package)
        self.code = _without_lines(compile(text, path, "exec", dont_inherit=True, optimize=2))
        self.imports = list(_imports(ast.parse(text)))


def _without_lines(code):
    constants = tuple(_without_lines(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.replace(co_linetable=b"", co_consts=constants)


def _imports(node):
    """The modules, and what may be one, that importing the node's module imports: not what functions import later."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child)


def _compile(found, path):
    inner = path[len(FOLDER) :]
    is_package = inner.endswith("/__init__.py")
    name = "pyoci" + (inner[: -len("/__init__.py")] if is_package else inner[:-3]).replace("/", ".")
    if name not in ("pyoci.__main__", "pyoci.hotfile"):
        found[name] = _Source(path, is_package)


def _order(found, roots, done):
    """The modules that importing the roots imports, each after its own imports and its package; without those in `done`."""
    order = []

    def visit(name):
        if name in done or name not in found:
            return
        done.add(name)
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
    common = set()
    names = {"": _order(found, GROUPS[""], common)}
    for verb, roots in GROUPS.items():
        if verb:
            names[verb] = _order(found, (f"cli.verbs.{verb}", "api", *roots, *_of_this_host(verb)), set(common))
    groups = {verb: put(tuple((name, *found[name].facts, found[name].code) for name in names)) for verb, names in names.items()}
    entries_at, _ = put(entries)
    index_at, _ = put((sys.hexversion, groups, _shared(), os.path.dirname(os.__file__), entries_at))
    return MAGIC + len(start).to_bytes(8, "little") + index_at.to_bytes(8, "little") + start + body


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
