"""Whether records, layers and blobs tell the same story, and what can be mended: for `system check`.

Damage is a record without its file; garbage a file without a record or a lease.  A layer that is damaged is unpacked again from its blob; a blob that is missing or damaged can
only be pulled again.  A deep check reads all: every blob's digest, and every layer beside what its blob, whose diff id is verified, unpacks to.
Whoever is pulling meanwhile holds leases and locks: what they name is neither.
Source: content.py, layers.py (what lies where); image-spec config.md#layer-chainid.
"""

import contextlib
import hashlib
import os
import re

from pyoci.errors import PyociError
from pyoci.minidocker.images import layers, records
from pyoci.minidocker.images.compare import differences
from pyoci.minidocker.images.content import CHUNK_BYTES, Content
from pyoci.minidocker.images.pax import shown

_HEX = re.compile("[0-9a-f]{64}")
MOST_FILES = 20  # of a layer that are named
REMOVED_BLOB = "removed the damaged blob "


def check(store, deep=False):
    """[problem], one line each; [] if all is well.  deep: read every blob and every file of every layer too."""
    return [*_layer_damage(store, deep), *_image_damage(store, deep), *_container_damage(store), *_garbage(store)]


def heal(store, deep=False):
    """Mend what can be mended.  Returns [what was done]; check() then says what is left.

    deep   layers with other files than were unpacked too; and blobs with other bytes than their digest go, so that a pull fetches them.
    A layer that a running container has below it stays as it is.
    """
    garbage = _garbage(store)
    held = _held(store)
    done = [line for chain in _damaged_layers(store, deep) if chain not in held for line in _unpack_again(store, chain)]
    if deep:
        done += [line for image in records.all_images(store) for _what, digest in _blobs(image) for line in _drop_damaged(store, digest)]
    records.collect(store)
    left = set(_garbage(store))
    return done + [f"removed {problem}" for problem in garbage if problem not in left]


# --- damage


def _layer_rows(store):
    return store.db.execute("select chain, parent, diff, size from layers order by chain").fetchall()


def _layer_damage(store, deep):
    rows = _layer_rows(store)
    known = {row["chain"] for row in rows}
    held = _held(store)
    for row in rows:
        chain = row["chain"]
        if row["parent"] and row["parent"] not in known:
            yield f"layer {chain}: its parent {row['parent']} has no record"
        if layers.chain_id(row["parent"], row["diff"]) != chain:
            yield f"layer {chain}: the record's parent and diff id do not give this chain id"
        for problem in _folder_problems(store, row, deep):
            yield f"layer {chain}: {problem}" + (f"; container {held[chain]} runs on it: stop it before --heal" if chain in held else "")


def _folder_problems(store, row, deep):
    """What is wrong with a layer's folder, a line each."""
    try:
        found = layers.facts(store.roots, row["chain"])
    except PyociError:
        return ["layer.json can't be read"]
    if found is None or not os.path.isdir(layers.tree_of(store.roots, row["chain"])):
        return ["it is not unpacked"]
    wrong = [key for key in ("parent", "diff", "size") if found.get(key) != row[key]]
    if wrong:
        return [f"layer.json and the record differ in {' and '.join(wrong)}"]
    return _changed_files(store, row) if deep else []


def _changed_files(store, row):
    """A line for each file of a layer that is not as its blob has it.  Without a sound blob, which _image_damage tells, only bytes can be counted."""
    chain = row["chain"]
    content = Content(store.roots)
    for (blob,) in store.db.execute("select distinct blob from image_layers where chain = ?", (chain,)).fetchall():
        if not content.has(blob) or _is_damaged(content, blob):
            continue
        try:
            with content.open(blob) as packed, layers.extract(store.roots, packed, row["diff"]) as wanted:
                layers.fit(store.roots, wanted, row["parent"])
                found = differences(layers.tree_of(store.roots, chain), f"{wanted.path}/diff")
        except (PyociError, OSError) as error:
            return [f"could not be compared with its blob: {error}"]
        lines = [f"{shown(b'/' + path)} is not as in its blob: {what}" for path, what in found[:MOST_FILES]]
        return lines + ([f"and {len(found) - MOST_FILES} more files are not as in its blob"] if len(found) > MOST_FILES else [])
    size = layers.tree_size(layers.tree_of(store.roots, chain))
    return [f"its files have {size} bytes; {row['size']} were unpacked"] if size != row["size"] else []


def _held(store):
    """{chain id: name} of the layers that a running container has below it: to replace them would take its files away."""
    rows = {row["chain"]: row["parent"] for row in _layer_rows(store)}
    held = {}
    for container in store.db.execute("select name, chain from containers where status in (?, ?, ?)", records.RUNNING).fetchall():
        chain = container["chain"]
        while chain in rows and chain not in held:
            held[chain] = container["name"]
            chain = rows[chain]
    return held


def _damaged_layers(store, deep):
    """The chain ids of layers whose folder is wrong, the lowest first: a layer's folders look like those below it."""
    rows = {row["chain"]: row for row in _layer_rows(store)}
    damaged = [chain for chain, row in rows.items() if _folder_problems(store, row, deep)]

    def height(chain):
        return 1 + height(rows[chain]["parent"]) if chain in rows else 0

    return sorted(damaged, key=height)


def _unpack_again(store, chain):
    """[what was done], from the blob of any image that has the layer and that gives its diff id."""
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
        for what, digest in _blobs(image):
            if digest in seen:
                continue
            seen.add(digest)
            if not content.has(digest):
                yield f"image {name}: the blob of its {what} {digest} is not here; pull it again"
            elif deep and _is_damaged(content, digest):
                yield f"image {name}: the blob of its {what} {digest} is damaged; pull it again"


def _blobs(image):
    """[(what, digest)]."""
    return [("config", image.id), ("manifest", image.manifest), *(("layer", blob) for _chain, blob in image.layers)]


def _is_damaged(content, digest):
    """Whether a blob has another digest than its name says."""
    algorithm = digest.partition(":")[0]
    found = hashlib.new(algorithm)
    with content.open(digest) as file:
        while data := file.read(CHUNK_BYTES):
            found.update(data)
    return f"{algorithm}:{found.hexdigest()}" != digest


def _drop_damaged(store, digest):
    """[what was done]: without the file, a pull fetches it."""
    content = Content(store.roots)
    if not content.has(digest) or not _is_damaged(content, digest):
        return []
    os.unlink(content.path(digest))
    return [REMOVED_BLOB + digest]


def _container_damage(store):
    for row in store.db.execute("select id, chain from containers where chain <> '' and chain not in (select chain from layers)").fetchall():
        yield f"container {row['id'][:12]}: its layer {row['chain']} has no record"


# --- garbage


def _garbage(store):
    content = Content(store.roots)
    with content.collecting() as leased:
        needed = records.needed_blobs(store) | leased
        chains = {row["chain"] for row in _layer_rows(store)} | leased
        found = [f"unfinished layer {os.path.basename(path)}" for path in layers.dead_folders(store.roots)]
        found += [f"layer folder {name}: no record" for name in _names(store.roots.layers) if _HEX.fullmatch(name) and f"sha256:{name}" not in chains]
        blobs = f"{store.roots.data}/blobs"
        found += [f"blob {algorithm}:{name}: no record" for algorithm in _names(blobs) for name in _names(f"{blobs}/{algorithm}") if f"{algorithm}:{name}" not in needed]
    return found


def _names(folder):
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
