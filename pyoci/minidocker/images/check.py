"""Whether records, layers and blobs tell the same story, and what can be mended: for `system check`.

Damage is a record without its file; garbage a file without a record or a lease.  A layer that is damaged is unpacked again from its blob; a blob that is missing can only
be pulled again.
Whoever is pulling meanwhile holds leases and locks: what they name is neither.
Source: content.py, layers.py (what lies where); image-spec config.md#layer-chainid.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil

from pyoci.errors import PyociError
from pyoci.minidocker.images import layers, records
from pyoci.minidocker.images.content import CHUNK_BYTES, Content

_HEX = re.compile("[0-9a-f]{64}")


def check(store, deep=False):
    """[problem], one line each; [] if all is well.  deep: read every blob and count every layer's bytes too."""
    return [*_layer_damage(store, deep), *_image_damage(store, deep), *_container_damage(store), *_garbage(store)]


def heal(store, deep=False):
    """Mend what can be mended.  Returns [what was done]; check() then says what is left.  deep: layers with other bytes than were unpacked too."""
    garbage = _garbage(store)
    done = [line for chain in _damaged_layers(store, deep) for line in _unpack_again(store, chain)]
    for path in _dead_folders(store.roots):
        shutil.rmtree(path, ignore_errors=True)
    records.collect(store)
    left = set(_garbage(store))
    return done + [f"removed {problem}" for problem in garbage if problem not in left]


# --- damage


def _layer_rows(store):
    return store.db.execute("select chain, parent, diff, size from layers order by chain").fetchall()


def _layer_damage(store, deep):
    rows = _layer_rows(store)
    known = {row["chain"] for row in rows}
    for row in rows:
        chain = row["chain"]
        if row["parent"] and row["parent"] not in known:
            yield f"layer {chain}: its parent {row['parent']} has no record"
        if layers.chain_id(row["parent"], row["diff"]) != chain:
            yield f"layer {chain}: the record's parent and diff id do not give this chain id"
        if problem := _folder_problem(store.roots, row, deep):
            yield f"layer {chain}: {problem}"


def _folder_problem(roots, row, deep):
    """What is wrong with a layer's folder, or ""."""
    try:
        found = layers.facts(roots, row["chain"])
    except PyociError:
        return "layer.json can't be read"
    if found is None or not os.path.isdir(layers.tree_of(roots, row["chain"])):
        return "it is not unpacked"
    wrong = [key for key in ("parent", "diff", "size") if found.get(key) != row[key]]
    if wrong:
        return f"layer.json and the record differ in {' and '.join(wrong)}"
    if deep and (size := layers.tree_size(layers.tree_of(roots, row["chain"]))) != row["size"]:
        return f"its files have {size} bytes; {row['size']} were unpacked"
    return ""


def _damaged_layers(store, deep):
    """The chain ids of layers whose folder is wrong, the lowest first: a layer's folders look like those below it."""
    rows = {row["chain"]: row for row in _layer_rows(store)}
    damaged = [chain for chain, row in rows.items() if _folder_problem(store.roots, row, deep)]

    def height(chain):
        return 1 + height(rows[chain]["parent"]) if chain in rows else 0

    return sorted(damaged, key=height)


def _unpack_again(store, chain):
    """[what was done], from the blob of any image that has the layer."""
    row = store.db.execute("select parent, diff from layers where chain = ?", (chain,)).fetchone()
    content = Content(store.roots)
    for (blob,) in store.db.execute("select distinct blob from image_layers where chain = ?", (chain,)).fetchall():
        with contextlib.suppress(PyociError), content.lease() as lease:
            lease.add(chain, blob)
            with content.open(blob) as packed, layers.extract(store.roots, packed, row["diff"]) as unfinished:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(layers.home(store.roots, chain), f"{store.roots.layers}/gone-{chain.partition(':')[2]}-{os.urandom(4).hex()}")
                layers.publish(store.roots, unfinished, row["parent"])
            return [f"unpacked layer {chain} again"]
    return []


def _image_damage(store, deep):
    content = Content(store.roots)
    seen = set()
    for image in records.all_images(store):
        name = image.tags[0] if image.tags else image.id
        chains = [chain for chain, _blob in image.layers]
        diffs = (image.config.get("rootfs") or {}).get("diff_ids") or []
        if records.chain_ids(diffs) != chains:
            yield f"image {name}: its layers are not those of its config"
        for what, digest in (("config", image.id), ("manifest", image.manifest), *(("layer", blob) for _chain, blob in image.layers)):
            if digest in seen:
                continue
            seen.add(digest)
            if not content.has(digest):
                yield f"image {name}: the blob of its {what} {digest} is not here; pull it again"
            elif deep and _digest_of_file(content.path(digest), digest.partition(":")[0]) != digest:
                yield f"image {name}: the blob of its {what} {digest} is damaged; pull it again"


def _digest_of_file(path, algorithm):
    found = hashlib.new(algorithm)
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            found.update(data)
    return f"{algorithm}:{found.hexdigest()}"


def _container_damage(store):
    for row in store.db.execute("select id, chain from containers where chain <> '' and chain not in (select chain from layers)").fetchall():
        yield f"container {row['id'][:12]}: its layer {row['chain']} has no record"


# --- garbage


def _garbage(store):
    content = Content(store.roots)
    with content.collecting() as leased:
        needed = records.needed_blobs(store) | leased
        chains = {row["chain"] for row in _layer_rows(store)} | leased
        found = [f"unfinished layer {os.path.basename(path)}" for path in _dead_folders(store.roots)]
        found += [f"layer folder {name}: no record" for name in _names(store.roots.layers) if _HEX.fullmatch(name) and f"sha256:{name}" not in chains]
        blobs = f"{store.roots.data}/blobs"
        found += [f"blob {algorithm}:{name}: no record" for algorithm in _names(blobs) for name in _names(f"{blobs}/{algorithm}") if f"{algorithm}:{name}" not in needed]
    return found


def _dead_folders(roots):
    """Layers on their way that nobody works on any more, and removed ones that are not gone yet."""
    try:
        gate = os.open(roots.layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        paths = [f"{roots.layers}/{name}" for name in _names(roots.layers) if name.startswith(("gone-", "new-"))]
        return [path for path in paths if not _is_locked(path)]
    finally:
        os.close(gate)


def _is_locked(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _names(folder):
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
