"""All modules' code in one file, so that a verb's forty imports are not forty walks of the path.

The ordinary import of a module costs 0.15 ms, most of it system calls and the import machinery.  What a frequent verb imports
lies here as one group, in an order in which each module finds its own imports done: it is read and unmarshalled at once, and
each module's code is run; an `import` then only looks into sys.modules.  Any other module is found here by Finder, one by one.

The file is `__pycache__/hot.TAG` beside this one, written (hotfile.py) by the first command whose user may write there.  It carries the size
and modification time of each source, and is used only while they are still the same, so that an edited or upgraded source is
imported as ever and the file made anew.  Without the file, or with a torn one, nothing is different but the speed.
Trusted like the .pyc files in the same folder.  Source: PEP 451 (finders and loaders), PEP 552 (what a stale .pyc is).
"""

import _imp
import marshal
import posix
import sys

MAGIC = b"pyoci hot 10\n"  # interpreter.c knows it too, and what the head is
HEAD_BYTES = len(MAGIC) + 16
FOLDER = __file__.rpartition("/")[0]
FILE = f"{FOLDER}/__pycache__/hot.{sys.implementation.cache_tag}"
ModuleSpec = sys.modules["_frozen_importlib"].ModuleSpec
Module = type(sys)
EXTENSIONS = ("_cffi_backend", "_json", "_sqlite3", "pyoci.native._sys")
# Program -> {group: what it imports beside what ROOTS say of its verb}; "" is what every command line of the program imports.
GROUPS = {
    "pyoci": {
        "": ("hot", "cli.main"),
        "create": ("runtime.create", "seccomp.cache"), "start": ("runtime.start",), "run": ("runtime.run", "seccomp.cache"),
        "exec": ("runtime.exec", "runtime.foreground", "seccomp.cache"),
        "kill": ("runtime.kill",), "delete": ("runtime.delete",), "state": ("runtime.inspect",),
    },
    "minidocker": {
        "": ("hot", "minidocker.cli.main", "minidocker.cli.options"),
        "ps": ("minidocker.containers", "minidocker.show"),
        "run": ("minidocker.life", "minidocker.create", "minidocker.attach", "minidocker.images.cover", "minidocker.images.layers", "minidocker.seccomp",
                "minidocker.settle", "minidocker.images.records", "api", "runtime.create", "runtime.start", "runtime.delete", "seccomp.cache"),
        "exec": ("minidocker.execute", "minidocker.relay", "api", "runtime.exec", "runtime.foreground"),
    },
}  # fmt: skip
ROOTS = {"pyoci": ("cli.verbs.{}", "api"), "minidocker": ("minidocker.cli.commands.{}", "minidocker.engine", "minidocker.paths")}


NOTHING = (b"", {}, {}, "", 0)  # Finder's, without a file


class Finder:
    """Finds the modules of the file.  `stale`: some module of ours was not in it, or its source is another by now.

    file     its bytes: a memoryview, or a File
    groups   {program: {group: (offset, length)}}, each a tuple of (module, path below FOLDER or `library`, mtime_ns, size, is_package, code)
    shared   {module: (absolute path, mtime_ns, size)} of EXTENSIONS, which then cost no listing of large folders
    library  the standard library's folder
    entries  {module: (path below FOLDER, mtime_ns, size, is_package, offset, length)}, read from where it begins by the first module of no group
    are_unchanged  (rows, FOLDER, library) -> whether the sources of all rows are as they were: interpreter.c's, or the function here
    """

    __slots__ = ("file", "groups", "shared", "library", "entries", "stale", "are_unchanged")

    def __init__(self, program, file, groups, shared, library, entries_at):
        self.file = file
        self.groups = groups.get(program, {})
        self.shared = shared
        self.library = library
        self.entries = entries_at
        self.stale = not file
        self.are_unchanged = are_unchanged

    def find_spec(self, name, path=None, target=None):
        """The spec of a module that is in the file and whose source is unchanged, or None."""
        if name in self.shared:
            return self._extension(name)
        if name[:6] != "pyoci." or name[:14] == "pyoci.native._" or name == "pyoci.hotfile":
            return None
        entry = self._entry(name)
        if not entry or not is_unchanged(FOLDER + entry[0], entry[1], entry[2]):
            self.stale = True
            return None
        source = FOLDER + entry[0]
        spec = ModuleSpec(name, self, origin=source, loader_state=entry[4:], is_package=entry[3])
        spec.has_location = True
        spec.cached = FILE
        if entry[3]:
            spec.submodule_search_locations.append(source[: -len("/__init__.py")])
        return spec

    def _entry(self, name):
        if isinstance(self.entries, int):
            self.entries = marshal.loads(self.file[self.entries :]) if self.entries else {}
        return self.entries.get(name)

    def _extension(self, name):
        path, mtime_ns, size = self.shared[name]
        if not is_unchanged(path, mtime_ns, size):
            self.stale = True
            return None
        return ModuleSpec(name, Extension, origin=path)

    def create_module(self, spec):
        """None: the ordinary module object."""

    def exec_module(self, module):
        """Run the module's code in it."""
        at, length = module.__spec__.loader_state
        exec(marshal.loads(self.file[at : at + length]), module.__dict__)

    def preload(self, group):
        """Import what a verb imports, if all of it is in the file and unchanged; a verb without a group imports as it goes.  Returns whether."""
        at, length = self.groups.get(group, (0, 0))
        rows = marshal.loads(self.file[at : at + length]) if length else ()
        if not rows:
            return False
        if not self.are_unchanged(rows, FOLDER, self.library):
            self.stale = True
            return False
        modules = sys.modules
        early = {}
        for row in rows:
            name = row[0]
            parent, _, leaf = name.rpartition(".")
            if name in early:
                module = early.pop(name)
            elif name in modules:
                continue
            else:
                if parent and parent not in modules:  # a package that imports its own modules first
                    early[parent] = self._make(next(other for other in rows if other[0] == parent))
                module = self._make(row)
            exec(row[5], module.__dict__)
            if parent:
                setattr(modules[parent], leaf, module)
        return True

    def _make(self, row):
        name, inner, _, _, is_package, _ = row
        module = sys.modules[name] = Module(name)
        space = module.__dict__
        space["__file__"] = source = source_of(name, inner, FOLDER, self.library)
        space["__package__"] = name.rpartition(".")[0]
        if is_package:
            space["__package__"] = name
            space["__path__"] = [source[: -len("/__init__.py")]]
        return module

    def is_to_be_renewed(self):
        """Whether the file should be written anew (hotfile.py), now that a real verb's work is done."""
        return self.stale and not sys.dont_write_bytecode and "pyoci.native._sys" in sys.modules


def source_of(name, inner, folder, library):
    """A module's path, by that below its tree."""
    return (folder if name[:5] == "pyoci" else library) + inner


def is_unchanged(path, mtime_ns, size):
    """Whether a file is as it was."""
    try:
        found = posix.stat(path)
    except OSError:
        return False
    return found.st_mtime_ns == mtime_ns and found.st_size == size


def are_unchanged(rows, folder, library):
    """Whether the sources of a group are."""
    return all([is_unchanged(source_of(row[0], row[1], folder, library), row[2], row[3]) for row in rows])


class Extension:
    """The loader of an extension module, which the import system has only once its second phase is there."""

    create_module = staticmethod(_imp.create_dynamic)
    exec_module = staticmethod(_imp.exec_dynamic)


class Rest:
    """Finds all that is in no file of ours: asks for the interpreter's second phase first, and then leaves it to that.

    complete  interpreter.c's
    library   the standard library's folder
    path      what sys.path has behind that
    """

    __slots__ = ("complete", "library", "path")

    def __init__(self, complete, library, path):
        self.complete = complete
        self.library = library
        self.path = path

    def find_spec(self, name, path=None, target=None):
        """What the ordinary import finds."""
        if name.partition(".")[0] != "encodings":
            self.finish()
        elif "_frozen_importlib_external" not in sys.modules:  # a rare codec: the second phase itself would wait for this import
            sys.modules["_frozen_importlib"]._install_external_importers()
            path = path or [self.library]
        return sys.modules["_frozen_importlib_external"].PathFinder.find_spec(name, path, target)

    def open(self, *arguments, **keywords):
        """The builtin."""
        self.finish()
        return open(*arguments, **keywords)

    def finish(self):
        """Have the second phase."""
        sys.meta_path.remove(self)
        self.complete()
        sys.path += self.path


def start_embedded(complete, are_unchanged, file, argv, site):
    """What __main__.py does, for an interpreter that has had its first phase alone (interpreter.c).

    Returns the Finder, or None where the ordinary interpreter is wanted.
    """
    import builtins

    finder = Finder("pyoci", *_read(file))
    finder.are_unchanged = are_unchanged
    rest = Rest(complete, finder.library, [FOLDER[: -len("/pyoci")], site])
    sys.argv = argv
    sys._xoptions = {"utf8": True, "pyoci_site": site}
    sys.dont_write_bytecode, sys.pycache_prefix = False, None
    sys.meta_path[:] = [finder, *sys.meta_path, rest]
    builtins.open = rest.open
    if is_debugged() or not finder.preload(""):
        return None
    sys.modules["pyoci"].hot = sys.modules["pyoci.hot"]
    return finder


def is_debugged():
    """Whether tracebacks are wanted, which the file's code has no line numbers for."""
    return not {"--debug", "-debug", "-D"}.isdisjoint(sys.argv)


def install(program):
    """Put the file's modules before the path, unless tracebacks are wanted (--debug).  Returns the Finder.  program: of GROUPS."""
    if is_debugged():
        finder = Finder(program, *NOTHING)
        finder.stale = False
        return finder
    finder = Finder(program, *_read(_code_file()))
    sys.meta_path.insert(0, finder)
    return finder


def _is_ours(facts):
    """Whether the file is nobody else's to write: where the umask was 0, its folder may be open to all."""
    return not facts.st_mode & 0o022 and (facts.st_uid in (0, posix.geteuid()) or _is_folders(facts))


def _is_folders(facts):
    """In a user namespace root's files have no owner to be seen: then the file is its folder's, where nobody else may make one."""
    folder = posix.stat(f"{FOLDER}/__pycache__")
    return folder.st_uid == facts.st_uid and not folder.st_mode & 0o022


class File:
    """A file whose slices are read when they are asked for."""

    __slots__ = ("fd",)

    def __init__(self, fd):
        self.fd = fd

    def __getitem__(self, wanted):
        """The bytes from wanted.start to wanted.stop, or to the end."""
        return posix.pread(self.fd, (posix.fstat(self.fd).st_size if wanted.stop is None else wanted.stop) - wanted.start, wanted.start)


def descriptors():
    """Those that code still comes from: who closes the rest in a process that goes on keeps them."""
    return [finder.file.fd for finder in sys.meta_path if isinstance(getattr(finder, "file", None), File)]


def _open(path):
    """A descriptor above 2: one of those that was closed stays so, for whoever occupies it, and is no file of ours."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    if fd > 2:
        return fd
    try:
        return _open(path)
    finally:
        posix.close(fd)


def _code_file():
    """The file, or nothing where there is no good one."""
    try:
        fd = _open(FILE)
    except OSError:
        return b""
    if _is_ours(posix.fstat(fd)):
        return File(fd)
    posix.close(fd)
    return b""


def _read(file):
    """What Finder is made of; nothing of a file that is torn, or another interpreter's."""
    try:
        head = file[0:HEAD_BYTES]
        if head[: len(MAGIC)] == MAGIC:
            version, *index = marshal.loads(file[int.from_bytes(head[-8:], "little") :])
            if version == sys.hexversion:
                return file, *index
    except (ValueError, EOFError, TypeError, OSError, IndexError):
        pass
    return NOTHING
