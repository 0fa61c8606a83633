"""Writes hot.py's file.  Cold: once after an installation or an edit.

Layout: MAGIC; the length of hot.py's code, and where the index is, in 8 bytes each; hot.py's code, with which interpreter.c begins; the code of each
module; the code of each group; the index.  All code is marshalled; line numbers are left out, a quarter of it: only --debug shows them, and it
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
    """One module: its path below FOLDER, its file's mtime_ns and size, its code, and what it imports of ours at once."""

    def __init__(self, path, is_package):
        found = os.stat(path)
        with open(path, "rb") as file:
            text = file.read()
        self.inner = path[len(FOLDER) :]
        self.mtime_ns, self.size = found.st_mtime_ns, found.st_size
        self.is_package = is_package
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
    codes = {name: marshal.dumps(source.code) for name, source in found.items()}
    common = set()
    groups = {"": _order(found, GROUPS[""], common)}
    for verb, roots in GROUPS.items():
        if verb:
            groups[verb] = _order(found, (f"cli.verbs.{verb}", "api", *roots), set(common))
    group_codes = {verb: marshal.dumps([found[name].code for name in names]) for verb, names in groups.items()}
    start = codes["pyoci.hot"]
    body = b"".join([*codes.values(), *group_codes.values()])
    head = MAGIC + len(start).to_bytes(8, "little") + (HEAD_BYTES + len(start) + len(body)).to_bytes(8, "little")
    return head + start + body + _index(found, codes, groups, group_codes, len(head) + len(start))


def _index(found, codes, groups, group_codes, start):
    entries = {}
    for name, source in found.items():
        entries[name] = (source.inner, source.mtime_ns, source.size, start, len(codes[name]), source.is_package)
        start += len(codes[name])
    places = {}
    for verb, names in groups.items():
        places[verb] = (names, start, len(group_codes[verb]))
        start += len(group_codes[verb])
    return marshal.dumps((sys.hexversion, entries, places, _shared(), os.path.dirname(os.__file__)))


def _shared():
    """Where the extension modules lie."""
    found = {}
    for name in EXTENSIONS:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin.startswith("/"):
            facts = os.stat(spec.origin)
            found[name] = (spec.origin, facts.st_mtime_ns, facts.st_size)
    return found
