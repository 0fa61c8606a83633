"""Any layers, mounted, show what the specification's words give when they are applied one after the other to a plain dictionary."""

import io
import os
import shutil
import stat
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tars import archive, file, folder, symlink

from pyoci.minidocker.images import layers
from pyoci.minidocker.images.changes import changes
from pyoci.minidocker.images.overlay import mount_overlay
from pyoci.minidocker.images.pack import pack_tree
from pyoci.minidocker.paths import Roots

pytestmark = pytest.mark.needs("root")

NAMES = ("a", "b", "c")
PATHS = [*NAMES, *(f"{one}/{two}" for one in NAMES for two in NAMES), *(f"a/{two}/{three}" for two in NAMES for three in NAMES)]
LAYER = st.fixed_dictionaries(
    {
        "entries": st.dictionaries(st.sampled_from(PATHS), st.sampled_from(["file", "folder", "symlink"]), max_size=6),
        "whiteouts": st.sets(st.sampled_from(PATHS), max_size=3),
        "opaque": st.sets(st.sampled_from(["", "a", "b", "a/b"]), max_size=1),
        "order": st.randoms(use_true_random=False),
    }
)


def above(path):
    """The folders that a path lies in, the outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


def sound(layer):
    """The layer without entries below what is no folder in it, and without whiteouts or opaque marks there."""
    blocked = {path for path, kind in layer["entries"].items() if kind != "folder"}
    free = [path for path in layer["entries"] if not blocked & set(above(path))]
    entries = {path: layer["entries"][path] for path in free}
    whiteouts = {path for path in layer["whiteouts"] if not blocked & set(above(path))}
    hidden = {path for path in whiteouts if any(path in above(other) or path == other for other in entries)}
    # A whiteout of a folder that others lie below (without an entry for it), or below another whiteout: builders write neither.
    whiteouts = {path for path in whiteouts - hidden if not whiteouts & set(above(path))} | {path for path in hidden if path in entries}
    opaque = {path for path in layer["opaque"] if path not in blocked and not blocked & set(above(path)) and not whiteouts & {path, *above(path)}}
    return entries, whiteouts, opaque


def tar_of(layer, number):
    entries, whiteouts, opaque = sound(layer)
    members = [
        {"file": lambda path: file(path, str(number).encode()), "folder": lambda path: folder(path, mode=0o700 + number), "symlink": lambda path: symlink(path, str(number))}[
            kind
        ](path)
        for path, kind in entries.items()
    ]
    members += [file("/".join([*path.split("/")[:-1], f".wh.{path.split('/')[-1]}"])) for path in whiteouts]
    members += [file(f"{path}/.wh..wh..opq".lstrip("/")) for path in opaque]
    layer["order"].shuffle(members)
    return archive(*members)


def applied(state, layer, number):
    """What the layer makes of {path: (kind, content or mode)}."""
    entries, whiteouts, opaque = sound(layer)
    gone = [path for path in state if any(path == one or one in above(path) for one in whiteouts)]
    gone += [path for path in state if any((one in above(path)) if one else True for one in opaque)]
    state = {path: value for path, value in state.items() if path not in gone}
    touched = dict(entries)
    for path in [*entries, *(f"{one}/x" for one in opaque if one), *whiteouts]:
        for parent in above(path):
            touched.setdefault(parent, "implied")
    for path, kind in sorted(touched.items()):
        before = state.get(path)
        if kind == "implied":
            if before is None or before[0] != "folder":
                state[path] = ("folder", 0o755)
            continue
        if kind != "folder":
            state = {other: value for other, value in state.items() if path not in above(other)}
        state[path] = {"file": ("file", str(number)), "folder": ("folder", 0o700 + number), "symlink": ("symlink", str(number))}[kind]
    return state


def shown(top):
    found = {}
    for where, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(where, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode):
                value = ("folder", stat.S_IMODE(mode))
            elif stat.S_ISLNK(mode):
                value = ("symlink", os.readlink(path))
            else:
                with open(path) as opened:
                    value = ("file", opened.read())
            found[os.path.relpath(path, top)] = value
    return found


class Stack:
    """Layers published in a folder of their own, and mounted."""

    def __init__(self, tars):
        self.folder = tempfile.mkdtemp()
        self.roots = Roots(f"{self.folder}/data", f"{self.folder}/run", {})
        self.chains = []
        for data in tars:
            self.add(data)
        for name in ("upper", "work", "rootfs"):
            os.mkdir(f"{self.folder}/{name}")
        self.rootfs = f"{self.folder}/rootfs"

    def add(self, data):
        unfinished = layers.extract(self.roots, io.BytesIO(data))
        self.chains.append(layers.publish(self.roots, unfinished, self.chains[-1] if self.chains else ""))

    @property
    def lowers(self):
        found = []
        for chain in reversed(self.chains):
            found.append(layers.tree_of(self.roots, chain))
            if layers.is_opaque(found[-1]):
                break
        return found

    def __enter__(self):
        mount_overlay(self.lowers, self.rootfs, f"{self.folder}/upper", f"{self.folder}/work", volatile=True)
        return self

    def __exit__(self, *_):
        layers.unmount(self.rootfs)
        shutil.rmtree(self.folder)


@given(st.lists(LAYER, min_size=1, max_size=5))
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
def test_layers_show_what_the_specification_says(some):
    state = {}
    for number, layer in enumerate(some):
        state = applied(state, layer, number)
    with Stack([tar_of(layer, number) for number, layer in enumerate(some)]) as stack:
        assert shown(stack.rootfs) == state


@given(st.lists(LAYER, min_size=1, max_size=3), LAYER)
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_a_commit_shows_what_the_container_showed_and_changes_tell_the_difference(some, deeds):
    """The last layer's deeds are done in a container; its upper folder, packed as a layer, shows the same on top of the others."""
    with Stack([tar_of(layer, number) for number, layer in enumerate(some)]) as stack:
        before = shown(stack.rootfs)
        act(stack.rootfs, deeds)
        after = shown(stack.rootfs)
        sink = io.BytesIO()
        pack_tree(sink, f"{stack.folder}/upper", layer=True)
        told = {path[1:]: kind for kind, path in changes(f"{stack.folder}/upper", stack.lowers)}
        stack.add(sink.getvalue())
        layers.unmount(stack.rootfs)
        mount_overlay(stack.lowers, stack.rootfs, "", "") if len(stack.lowers) > 1 else mount_overlay([*stack.lowers, f"{stack.folder}/run"], stack.rootfs)
        assert shown(stack.rootfs) == after
    wanted = dict.fromkeys(after.keys() - before.keys(), "A")
    wanted |= {path: "D" for path in before.keys() - after.keys() if all(parent in after for parent in above(path)) and all(after[parent][0] == "folder" for parent in above(path))}
    wanted |= {path: "C" for path in after.keys() & before.keys() if after[path] != before[path]}
    for path in list(wanted):
        for parent in above(path):
            wanted.setdefault(parent, "C")
    assert {path: kind for path, kind in told.items() if wanted.get(path) != kind and kind != "C"} == {}
    assert {path: kind for path, kind in wanted.items() if told.get(path) != kind} == {}


def act(top, layer):
    entries, whiteouts, _opaque = sound(layer)
    for path in sorted(whiteouts, reverse=True):
        remove(f"{top}/{path}")
    for path, kind in sorted(entries.items()):
        for parent in above(path):
            if not os.path.isdir(f"{top}/{parent}") or os.path.islink(f"{top}/{parent}"):
                remove(f"{top}/{parent}")
                os.mkdir(f"{top}/{parent}")
        if kind == "folder" and os.path.isdir(f"{top}/{path}") and not os.path.islink(f"{top}/{path}"):
            os.chmod(f"{top}/{path}", 0o755)
            continue
        remove(f"{top}/{path}")
        if kind == "folder":
            os.mkdir(f"{top}/{path}")
        elif kind == "symlink":
            os.symlink("new", f"{top}/{path}")
        else:
            with open(f"{top}/{path}", "w") as opened:
                opened.write("new")


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
