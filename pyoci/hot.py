"""All modules' code in one file, so that a verb's forty imports are forty look-ups in a dict and not forty walks of the path.

The ordinary import of a module costs 0.15 ms, most of it system calls; from here it costs what unmarshalling its code does.
The file is `__pycache__/hot.TAG` beside this one, written by the first command whose user may write there; each entry carries
its source's size and modification time, and is used only while they are still the same, so that an edited or upgraded source is
imported as ever and the file made anew.  Without the file, or with a torn one, nothing is different but the speed.
Trusted like the .pyc files in the same folder.  Source: PEP 451 (finders and loaders), PEP 552 (what a stale .pyc is).
"""

import marshal
import posix
import sys

MAGIC = b"pyoci hot 1\n"
HEAD_BYTES = len(MAGIC) + 8
FOLDER = __file__.rpartition("/")[0]
FILE = f"{FOLDER}/__pycache__/hot.{sys.implementation.cache_tag}"
ModuleSpec = sys.modules["_frozen_importlib"].ModuleSpec


class Finder:
    """Finds the modules of the file.  `stale`: some module of ours was not in it, or its source is another by now."""

    __slots__ = ("fd", "entries", "stale")

    def __init__(self, fd, entries):
        self.fd = fd
        self.entries = entries
        self.stale = not entries

    def find_spec(self, name, path=None, target=None):
        """The spec of a module that is in the file and whose source is unchanged, or None."""
        entry = self.entries.get(name)
        if entry is None:
            if name[:6] == "pyoci." and name[:14] != "pyoci.native._":
                self.stale = True
            return None
        source = FOLDER + entry[0]
        try:
            found = posix.stat(source)
        except OSError:
            return None
        if (found.st_mtime_ns, found.st_size) != entry[1:3]:
            self.stale = True
            return None
        spec = ModuleSpec(name, self, origin=source, loader_state=entry[3:5], is_package=entry[5])
        spec.has_location = True
        if entry[5]:
            spec.submodule_search_locations.append(source[: -len("/__init__.py")])
        return spec

    def create_module(self, spec):
        """The ordinary module object."""
        return None

    def exec_module(self, module):
        """Run the module's code in it."""
        at, length = module.__spec__.loader_state
        exec(marshal.loads(posix.pread(self.fd, length, at)), module.__dict__)


    def renew_if_stale(self):
        """Write the file anew if something in it was missing or old; to be called when the work is done."""
        if self.stale and not sys.dont_write_bytecode:
            renew()


def install():
    """Put the file's modules before the path.  Returns the Finder."""
    finder = Finder(*_read())
    sys.meta_path.insert(0, finder)
    return finder


def _read():
    """(descriptor, {module: (path, mtime_ns, size, offset, length, is_package)}), or (-1, {})."""
    try:
        fd = posix.open(FILE, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return -1, {}
    head = posix.pread(fd, HEAD_BYTES, 0)
    length = int.from_bytes(head[len(MAGIC) :], "little")
    if head[: len(MAGIC)] == MAGIC and length <= posix.fstat(fd).st_size:
        try:
            version, entries = marshal.loads(posix.pread(fd, length, HEAD_BYTES))
            if version == sys.hexversion:
                return fd, entries
        except (ValueError, EOFError, TypeError):
            pass  # torn: as if it were not there
    posix.close(fd)
    return -1, {}


def renew():
    """Write the file anew from the sources; silently not where that is forbidden."""
    import os  # cold: once after an installation or an edit

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


def _layout(found):
    """The file's bytes: the length of the index, the index, and the code of each module."""
    index = _index(found, 0)
    while True:  # the offsets' own size may move them
        start = HEAD_BYTES + len(index)
        again = _index(found, start)
        if len(again) == len(index):
            return MAGIC + len(again).to_bytes(8, "little") + again + b"".join(one[3] for one in found.values())
        index = again


def _index(found, start):
    entries = {}
    for name, (inner, mtime_ns, size, code, is_package) in found.items():
        entries[name] = (inner, mtime_ns, size, start, len(code), is_package)
        start += len(code)
    return marshal.dumps((sys.hexversion, entries))


def _compile(entries, path):
    inner = path[len(FOLDER) :]
    is_package = inner.endswith("/__init__.py")
    name = "pyoci" + (inner[: -len("/__init__.py")] if is_package else inner[:-3]).replace("/", ".")
    if name in ("pyoci", "pyoci.__main__", "pyoci.hot"):
        return
    found = posix.stat(path)
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True, optimize=2)
    entries[name] = (inner, found.st_mtime_ns, found.st_size, marshal.dumps(code), is_package)
