"""All modules' code in one file, so that a verb's forty imports are not forty walks of the path.

The ordinary import of a module costs 0.15 ms, most of it system calls and the import machinery.  What a frequent verb imports
lies here as one group, in an order in which each module finds its own imports done: it is read and unmarshalled at once, and
each module's code is run; an `import` then only looks into sys.modules.  Any other module is found here by Finder, one by one.

The file is `__pycache__/hot.TAG` beside this one, written by the first command whose user may write there.  It carries the size
and modification time of each source, and is used only while they are still the same, so that an edited or upgraded source is
imported as ever and the file made anew.  Without the file, or with a torn one, nothing is different but the speed.
Trusted like the .pyc files in the same folder.  Source: PEP 451 (finders and loaders), PEP 552 (what a stale .pyc is).
"""

import marshal
import posix
import sys

MAGIC = b"pyoci hot 3\n"
HEAD_BYTES = len(MAGIC) + 8
FOLDER = __file__.rpartition("/")[0]
FILE = f"{FOLDER}/__pycache__/hot.{sys.implementation.cache_tag}"
ModuleSpec = sys.modules["_frozen_importlib"].ModuleSpec
ExtensionFileLoader = sys.modules["_frozen_importlib_external"].ExtensionFileLoader
Module = type(sys)
EXTENSIONS = ("_cffi_backend", "_json", "pyoci.native._sys")
# Group -> what its verb imports beside cli.verbs.VERB and api; "" is what every command line imports.
GROUPS = {
    "": ("cli.main",),
    "create": ("runtime.create",), "start": ("runtime.start",), "run": ("runtime.run",), "exec": ("runtime.exec", "runtime.foreground"),
    "kill": ("runtime.kill",), "delete": ("runtime.delete",), "state": ("runtime.inspect",),
}  # fmt: skip


class Finder:
    """Finds the modules of the file.  `stale`: some module of ours was not in it, or its source is another by now.

    entries  {module: (path below FOLDER, mtime_ns, size, offset, length, is_package)}
    groups   {group: (modules, offset, length)}
    shared   {module: (absolute path, mtime_ns, size)} of EXTENSIONS, which then cost no listing of large folders
    """

    __slots__ = ("fd", "entries", "groups", "shared", "stale")

    def __init__(self, fd, entries, groups, shared):
        self.fd = fd
        self.entries = entries
        self.groups = groups
        self.shared = shared
        self.stale = not entries

    def find_spec(self, name, path=None, target=None):
        """The spec of a module that is in the file and whose source is unchanged, or None."""
        entry = self.entries.get(name)
        if entry is None:
            if name in self.shared:
                return self._extension(name)
            if name[:6] == "pyoci." and name[:14] != "pyoci.native._":
                self.stale = True
            return None
        if not self._is_fresh(entry):
            return None
        source = FOLDER + entry[0]
        spec = ModuleSpec(name, self, origin=source, loader_state=entry[3:5], is_package=entry[5])
        spec.has_location = True
        if entry[5]:
            spec.submodule_search_locations.append(source[: -len("/__init__.py")])
        return spec

    def _extension(self, name):
        path, mtime_ns, size = self.shared[name]
        if not self._is_unchanged(path, mtime_ns, size):
            return None
        return ModuleSpec(name, ExtensionFileLoader(name, path), origin=path)

    def _is_fresh(self, entry):
        return self._is_unchanged(FOLDER + entry[0], entry[1], entry[2])

    def _is_unchanged(self, path, mtime_ns, size):
        try:
            found = posix.stat(path)
            if found.st_mtime_ns == mtime_ns and found.st_size == size:
                return True
        except OSError:
            pass
        self.stale = True
        return False

    def create_module(self, spec):
        """The ordinary module object."""
        return None

    def exec_module(self, module):
        """Run the module's code in it."""
        at, length = module.__spec__.loader_state
        exec(marshal.loads(posix.pread(self.fd, length, at)), module.__dict__)

    def preload(self, group):
        """Import what a verb imports, if all of it is in the file and unchanged; a verb without a group imports as it goes."""
        names, at, length = self.groups.get(group, ((), 0, 0))
        entries = self.entries
        if not names or not all([self._is_fresh(entries[name]) for name in names]):
            return
        modules = sys.modules
        for name, code in zip(names, marshal.loads(posix.pread(self.fd, length, at))):
            if name in modules:
                continue
            module = modules[name] = Module(name)
            parent, _, leaf = name.rpartition(".")
            source = FOLDER + entries[name][0]
            space = module.__dict__
            space["__file__"] = source
            space["__package__"] = parent
            if entries[name][5]:
                space["__package__"] = name
                space["__path__"] = [source[: -len("/__init__.py")]]
            exec(code, space)
            setattr(modules[parent], leaf, module)

    def renew_if_stale(self):
        """Write the file anew if something in it was missing or old; to be called when the work is done."""
        if self.stale and not sys.dont_write_bytecode and "pyoci.native._sys" in sys.modules:  # the verb was a real one
            renew()


def install():
    """Put the file's modules before the path.  Returns the Finder."""
    finder = Finder(*_read())
    sys.meta_path.insert(0, finder)
    return finder


def _read():
    """What Finder is made of; nothing without a good file."""
    try:
        fd = posix.open(FILE, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return -1, {}, {}, {}
    head = posix.pread(fd, HEAD_BYTES, 0)
    length = int.from_bytes(head[len(MAGIC) :], "little")
    if head[: len(MAGIC)] == MAGIC and length <= posix.fstat(fd).st_size:
        try:
            version, entries, groups, shared = marshal.loads(posix.pread(fd, length, HEAD_BYTES))
            if version == sys.hexversion:
                return fd, entries, groups, shared
        except (ValueError, EOFError, TypeError):
            pass  # torn: as if it were not there
    posix.close(fd)
    return -1, {}, {}, {}


# From here on nothing is in a hurry: once after an installation or an edit.


def renew():
    """Write the file anew from the sources; silently not where that is forbidden."""
    import os

    found = {}
    for folder, folders, names in os.walk(FOLDER):
        folders[:] = [name for name in folders if name not in ("__pycache__", "minidocker", "tools")]
        for name in names:
            if name.endswith(".py"):
                _compile(found, os.path.join(folder, name))
    fresh = f"{FILE}.{posix.getpid()}"
    try:
        os.makedirs(os.path.dirname(FILE), exist_ok=True)
        with open(fresh, "wb") as file:
            file.write(_layout(found))
        os.replace(fresh, FILE)
    except OSError:
        if os.path.exists(fresh):
            os.unlink(fresh)


class _Source:
    """One module: its path below FOLDER, its file's mtime_ns and size, its code, and what it imports of ours at once."""

    def __init__(self, path, is_package):
        import ast

        found = posix.stat(path)
        with open(path, "rb") as file:
            text = file.read()
        self.inner = path[len(FOLDER) :]
        self.mtime_ns, self.size = found.st_mtime_ns, found.st_size
        self.is_package = is_package
        self.code = compile(text, path, "exec", dont_inherit=True, optimize=2)
        self.imports = list(_imports(ast.parse(text)))


def _imports(node):
    """The modules, and what may be one, that importing the node's module imports: not what functions import later."""
    import ast

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
    if name not in ("pyoci", "pyoci.__main__", "pyoci.hot"):
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
    """The file's bytes: the length of the index, the index, the code of each module, the code of each group."""
    codes = {name: marshal.dumps(source.code) for name, source in found.items()}
    common = set()
    groups = {"": _order(found, GROUPS[""], common)}
    for verb, roots in GROUPS.items():
        if verb:
            groups[verb] = _order(found, (f"cli.verbs.{verb}", "api", *roots), set(common))
    group_codes = {verb: marshal.dumps([found[name].code for name in names]) for verb, names in groups.items()}
    start = 0
    while True:  # the offsets' own size may move them
        index = _index(found, codes, groups, group_codes, start)
        if start == HEAD_BYTES + len(index):
            return MAGIC + len(index).to_bytes(8, "little") + index + b"".join(codes.values()) + b"".join(group_codes.values())
        start = HEAD_BYTES + len(index)


def _index(found, codes, groups, group_codes, start):
    entries = {}
    for name, source in found.items():
        entries[name] = (source.inner, source.mtime_ns, source.size, start, len(codes[name]), source.is_package)
        start += len(codes[name])
    places = {}
    for verb, names in groups.items():
        places[verb] = (names, start, len(group_codes[verb]))
        start += len(group_codes[verb])
    return marshal.dumps((sys.hexversion, entries, places, _shared()))


def _shared():
    """Where the extension modules lie that this process has loaded."""
    found = {}
    for name in EXTENSIONS:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            facts = posix.stat(path)
            found[name] = (path, facts.st_mtime_ns, facts.st_size)
    return found
