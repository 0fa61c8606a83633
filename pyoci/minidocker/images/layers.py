"""Unpacked layers, by chain id: made whole or not at all, mounted over each other for a container.

    DATA/layers/HEX/diff         the layer, as overlayfs takes it; never changed again
    DATA/layers/HEX/layer.json   {"parent", "diff", "size", "lost"}: what is known before there is a row
    DATA/layers/HEX/initial/diff what every container on top of it finds (initial.py), made with the first one
    DATA/layers/new-*            on its way; whoever works on it holds its flock(2)

`extract` unpacks a layer without asking for the one below it, so that all layers of an image can be unpacked at once; `publish` then goes up from the lowest: it gives
folders that the layer has no entry for what the layers below say, takes out whiteouts of nothing, and renames.  A killed process leaves a `new-` folder that nobody has
locked (remove_dead removes it, which every pull, load and removal of an image calls), never half a layer.
Rows are records.py's; a folder without a row is garbage unless a lease names its chain id (content.py).
Source: image-spec layer.md and config.md#layer-chainid, overlayfs.rst.
"""

import contextlib
import errno
import fcntl
import json
import os
import threading

from pyoci.kernel.calls import unmount as detach
from pyoci.kernel.tree import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_below, remove_tree
from pyoci.minidocker.errors import ImageProblem, MiniDockerError
from pyoci.minidocker.images.cover import adopt, copy_attributes, drop_idle_whiteouts
from pyoci.minidocker.images.disk import disk_errors
from pyoci.minidocker.images.initial import fill
from pyoci.minidocker.images.overlay import mount_overlay
from pyoci.minidocker.images.rootless import is_opaque

WORKERS = 4
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def chain_id(parent, diff):
    """The chain id of a layer over another ("" if it is the lowest).  image-spec config.md#layer-chainid"""
    from hashlib import sha256  # dear: who mounts needs none

    return "sha256:" + sha256(f"{parent} {diff}".encode()).hexdigest() if parent else diff


def home(roots, chain):
    """The folder of a layer's parts."""
    return f"{roots.layers}/{chain.partition(':')[2]}"


def tree_of(roots, chain):
    """The unpacked layer itself."""
    return f"{home(roots, chain)}/diff"


def facts(roots, chain):
    """What layer.json says, or None if the layer is not unpacked here."""
    try:
        with open(f"{home(roots, chain)}/layer.json", encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MiniDockerError(f"layer {chain}: layer.json can't be read: {error}", "minidocker system check") from error


def below(roots, chain):
    """The chain ids from this one down to the lowest.  Raises ImageProblem where one is missing."""
    found = []
    while chain:
        known = facts(roots, chain)
        if known is None:
            raise ImageProblem(f"layer {chain}: not unpacked in {roots.layers}", "pull the image again")
        found.append(chain)
        chain = known["parent"]
    return found


# --- making


class Unfinished:
    """A layer on its way: in the end unpacked and verified, but not yet published.  `diff` is its diff id, `size` its bytes.  Use it in a `with`: what is not published goes."""

    def __init__(self, roots):
        os.makedirs(roots.layers, 0o700, exist_ok=True)
        self.path = f"{roots.layers}/new-{os.urandom(8).hex()}"
        gate = os.open(roots.layers, _FOLDER)
        try:
            fcntl.flock(gate, fcntl.LOCK_SH)  # dead_folders holds it alone while it asks who is locked
            os.mkdir(self.path, 0o700)
            self.lock = os.open(self.path, _FOLDER)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        finally:
            os.close(gate)
        try:
            os.mkdir(f"{self.path}/diff")
            os.chmod(f"{self.path}/diff", 0o755)
        except OSError:
            self.discard()
            raise
        self.diff = ""
        self.size = 0
        self.implied = []
        self.whiteouts = []
        self.lost = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.discard()

    def move(self, place):
        """Rename it to where it belongs, whole; if another process was first, its one stays."""
        try:
            os.rename(self.path, place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return
        os.close(self.lock)
        self.lock = -1

    def discard(self):
        """Remove what was not published."""
        if self.lock >= 0:
            with contextlib.suppress(OSError):  # `system check` finds it
                remove_tree(self.path)
            os.close(self.lock)
            self.lock = -1


def extract(roots, packed, diff="", limits=None):
    """Unpack a layer's blob (`packed.read(n)`, compressed or not, or a Plain) aside.  Returns an Unfinished; raises ImageProblem, MiniDockerError, and then leaves nothing.

    diff   the diff id that it must have, or "" to learn it.  Threads may do this at once: it touches no store.
    """
    # Dear, all of them: who mounts needs none, and a start is measured.
    from pyoci.minidocker.images.ahead import Ahead
    from pyoci.minidocker.images.compress import Plain
    from pyoci.minidocker.images.unpack import Limits, unpack

    limits = limits or Limits()
    with disk_errors(f"layer {diff}".rstrip()):
        layer = Unfinished(roots)
    try:
        plain = packed if isinstance(packed, Plain) else Plain(packed, limits)
        with Ahead(plain) as stream:
            found = unpack(stream, f"{layer.path}/diff", limits)
        if diff and plain.digest != diff:
            raise ImageProblem(f"layer {diff}: the content that came has the diff id {plain.digest}")
        layer.diff, layer.size, layer.lost = plain.digest, found.size, found.lost
        layer.implied, layer.whiteouts = found.implied, found.whiteouts
    except BaseException:
        layer.discard()
        raise
    return layer


def publish(roots, layer, parent=""):
    """Put an Unfinished over the layer `parent`, whose chain is published.  Returns the chain id.  Another process may have been first: then its layer stays."""
    chain = chain_id(parent, layer.diff)
    try:
        with disk_errors(f"layer {chain}"):
            fit(roots, layer, parent)
            _describe(layer, parent)
            layer.move(home(roots, chain))
    finally:
        layer.discard()
    return chain


def fit(roots, layer, parent):
    """Mend in an Unfinished what depends on the layers below: `parent` and those under it."""
    lowers = [tree_of(roots, one) for one in below(roots, parent)]
    drop_idle_whiteouts(f"{layer.path}/diff", layer.whiteouts, lowers)
    adopt(f"{layer.path}/diff", layer.implied, lowers)


def ensure(roots, parent, diff, open_blob, limits=None):
    """The chain id of a layer over `parent`, unpacked from `open_blob()` if it is not here yet.  The caller's lease names it."""
    chain = chain_id(parent, diff)
    if facts(roots, chain) is None:
        with contextlib.closing(open_blob()) as packed:
            layer = extract(roots, packed, diff, limits)
        publish(roots, layer, parent)
    return chain


def ensure_all(roots, diffs, openers, limits=None, workers=WORKERS, failed=lambda error: None):
    """The chain ids of an image's layers, the lowest first: those that are missing are unpacked at once, then published upwards.

    diffs    the diff ids              openers   for each a function that gives its blob as a file
    failed   is called with the first failure, in its thread, to end what the openers wait for
    The caller's lease names them.  The first failure ends all of them and is what is raised; nothing is left.
    """
    chains = []
    for diff in diffs:
        chains.append(chain_id(chains[-1] if chains else "", diff))
    missing = [number for number, chain in enumerate(chains) if facts(roots, chain) is None]
    first = _First(failed)

    def work(number):
        try:
            first.check()
            with contextlib.closing(openers[number]()) as packed:
                return extract(roots, _Watched(packed, first), diffs[number], limits)
        except BaseException as error:
            first.note(error)
            raise

    from concurrent.futures import ThreadPoolExecutor  # dear: who mounts needs none

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        futures = {number: pool.submit(work, number) for number in missing}
        try:
            for number in missing:
                layer = stack.enter_context(futures[number].result())
                publish(roots, layer, chains[number - 1] if number else "")
        except BaseException as error:
            first.note(error)
            for future in futures.values():
                if not future.cancel() and future.exception() is None:
                    future.result().discard()
            raise first.error from None
    return chains


class Stopped(MiniDockerError):
    """Another layer failed; said by that one."""


class _First:
    """The first failure of several threads."""

    def __init__(self, failed):
        self.error = None
        self._failed = failed
        self._lock = threading.Lock()

    def note(self, error):
        with self._lock:
            if self.error is not None:
                return
            self.error = error
        self._failed(error)

    def check(self):
        if self.error is not None:
            raise Stopped("another layer of this image failed")


class _Watched:
    """A blob that can be read until another layer fails."""

    def __init__(self, packed, first):
        self._packed = packed
        self._first = first

    def read(self, count):
        self._first.check()
        return self._packed.read(count)


# --- what was left behind


def dead_folders(roots):
    """Layers on their way that nobody works on any more, and removed ones that are not gone yet."""
    try:
        gate = os.open(roots.layers, _FOLDER)
    except FileNotFoundError:
        return []
    try:
        names = [name for name in sorted(os.listdir(gate)) if name.startswith(("gone-", "new-"))]
        if not names:
            return []
        fcntl.flock(gate, fcntl.LOCK_EX)
        return [f"{roots.layers}/{name}" for name in names if not _is_locked(f"{roots.layers}/{name}")]
    finally:
        os.close(gate)


def remove_dead(roots):
    """Remove them."""
    for path in dead_folders(roots):
        with contextlib.suppress(OSError):  # it stays garbage, which check tells
            remove_tree(path)


def _is_locked(path):
    try:
        fd = os.open(path, _FOLDER)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _describe(layer, parent):
    lost = [[os.fsdecode(path), what] for path, what in layer.lost]
    with open(f"{layer.path}/layer.json", "w", encoding="utf-8") as file:
        json.dump({"parent": parent, "diff": layer.diff, "size": layer.size, "lost": lost}, file)


# --- mounting


def mount(store, chain, container, target, volatile=False):
    """Mount the layers up to `chain` ("": none) at target, with upper and work in the container's folder, made if they are not there.  Raises MiniDockerError.

    volatile   nothing of it need outlive the host (--rm): fsync costs nothing.  Otherwise what a program syncs is on the disk.
    """
    lowers = lowers_of(store, chain)
    with disk_errors(f"container folder {container}"):
        lowers = [initial_layer(store.roots, chain, lowers), *lowers]
        _make_upper(container, lowers[0])
        os.makedirs(target, 0o755, exist_ok=True)
    mount_overlay(lowers, target, f"{container}/upper", f"{container}/work", volatile)


def initial_layer(roots, chain, lowers):
    """The folder of the layer that lies between these (the topmost first) and a container, made if it is not there."""
    place = f"{home(roots, chain) if chain else f'{roots.layers}/none'}/initial"
    if not os.path.isdir(place):
        os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
        with Unfinished(roots) as layer:
            fill(f"{layer.path}/diff", lowers)
            layer.move(place)
    return f"{place}/diff"


def unmount(target):
    """Detach what is mounted at target; a target where nothing is mounted is fine.  Raises SyscallError."""
    from pyoci.errors import SyscallError

    try:
        detach(target)
    except SyscallError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def lowers_of(store, chain):
    """The folders of the layers from `chain` down, by the records; those below an opaque root don't count, which overlayfs would not see."""
    rows = store.db.execute(
        "with recursive up (chain, parent, depth) as (select chain, parent, 0 from layers where chain = ?"
        " union all select layers.chain, layers.parent, depth + 1 from layers join up on layers.chain = up.parent)"
        " select chain from up order by depth",
        (chain,),
    ).fetchall()
    if chain and not rows:
        raise ImageProblem(f"layer {chain}: there is no record of it", "minidocker system check")
    found = []
    for row in rows:
        found.append(tree_of(store.roots, row["chain"]))
        if is_opaque(found[-1]):
            break
    return found


def _make_upper(container, lowest):
    """upper and work, once.  The root of an overlay is the upper's: it looks like the layer's."""
    if os.path.isdir(f"{container}/work"):
        return
    os.makedirs(f"{container}/upper", 0o755, exist_ok=True)
    upper, source = os.open(f"{container}/upper", _FOLDER), os.open(lowest, _FOLDER)
    try:
        copy_attributes(source, upper)
    finally:
        os.close(upper)
        os.close(source)
    os.mkdir(f"{container}/work", 0o700)


def tree_size(folder):
    """Bytes of the files and symbolic links of a tree, a file with several names once, as docker counts them: what `ps -s` and `system df` show.

    A container may change it meanwhile: what goes, and what lies deeper than a path can say, is not counted.  No link is followed.
    """
    total, seen = 0, set()
    root = os.open(folder, _FOLDER)
    try:
        pending = [b""]
        while pending:
            path = pending.pop()
            fd = open_below(root, path or b".", _FOLDER, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
            if fd < 0:
                continue
            try:
                found, folders = _sizes_in(fd)
            finally:
                os.close(fd)
            pending += [path + b"/" + os.fsencode(name) if path else os.fsencode(name) for name in folders]
            for facts in found:
                if facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in seen:
                    total += facts.st_size
                if facts.st_nlink > 1:
                    seen.add((facts.st_dev, facts.st_ino))
    finally:
        os.close(root)
    return total


def _sizes_in(fd):
    """(facts of the files, names of the folders) of an open folder."""
    found, folders = [], []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                with contextlib.suppress(FileNotFoundError):
                    found.append(entry.stat(follow_symlinks=False))
    return found, folders
