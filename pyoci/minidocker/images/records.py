"""The images that are here: their rows, found by name or id, tagged, removed by docker's rules, and shown in the Engine API's shapes.

Rows only.  Blobs (content.py) and unpacked layers (layers.py) that no row needs any more are garbage, which `collect` removes; it runs after every
removal, and a kill in between leaves it for the next one.
Source: image-spec config.md (chain ids, history); docker-image-rm(1), docker-image-prune(1); Engine API v1.44: ImageInspect, ImageHistory, ImageDelete, ImagePrune.
"""

import contextlib
import json
import os
import re
import time

from pyoci.kernel.tree import remove_tree
from pyoci.minidocker.errors import BadRequest, Conflict, NotFound
from pyoci.minidocker.images import reference as references

SHORT_ID = 12
RUNNING = ("running", "paused", "restarting")
# What docker's clients expect in an image's Config, whatever the image says.
CONFIG_DEFAULTS = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
    "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "OnBuild": None, "Labels": None,
}  # fmt: skip


class Layer:
    """One layer of an image: `chain` id, `diff` id of its tar, `size` in bytes unpacked, and the digest of its `blob` as the manifest names it."""

    __slots__ = ("blob", "chain", "diff", "size")

    def __init__(self, chain, diff, size, blob):
        self.chain = chain
        self.diff = diff
        self.size = size
        self.blob = blob


class Image:
    """A row of images with what hangs on it.

    id           sha256:HEX of the config
    manifest     digest of the manifest blob, ""-less
    config       the image config, a dict
    layers       [(chain id, blob digest)], the lowest first
    tags         ["docker.io/library/busybox:latest"], normalized; `digests` the same for names with @sha256:...
    size         bytes of the unpacked layers
    created_ns   when this host got it; the image's own date is config["created"]
    """

    __slots__ = ("config", "created_ns", "digests", "id", "layers", "manifest", "size", "tags")

    def __init__(self, row, names, layers):
        self.id = row["id"]
        self.manifest = row["manifest"]
        self.config = json.loads(row["config"])
        self.layers = layers
        self.tags = [name for name in names if "@" not in name]
        self.digests = [name for name in names if "@" in name]
        self.size = row["size"]
        self.created_ns = row["created_ns"]

    @property
    def chain(self):
        """The chain id of the topmost layer, "" without layers."""
        return self.layers[-1][0] if self.layers else ""

    @property
    def short_id(self):
        """Twelve digits, as tables show it."""
        return short(self.id)


def chain_ids(diff_ids):
    """The chain id of each layer, from the diff ids, the lowest first.  image-spec config.md#layer-chainid"""
    from hashlib import sha256  # dear: who looks an image up needs none

    chains = []
    for diff in diff_ids:
        chains.append("sha256:" + sha256(f"{chains[-1]} {diff}".encode()).hexdigest() if chains else diff)
    return chains


def short(image_id):
    """The first twelve digits of an id."""
    return image_id.partition(":")[2][:SHORT_ID] or image_id[:SHORT_ID]


# --- finding


def find(store, name):
    """The Image that a user's word means: name with tag (`latest`) or digest, `sha256:ID`, or an id's unique beginning.  Raises NotFound
    (`No such image: busybox:latest`), BadRequest."""
    return _load(store, find_id(store, name)[0])


def all_images(store):
    """Every Image, the newest of this host first."""
    rows = store.db.execute("select id from images order by created_ns desc, id").fetchall()
    return [_load(store, row["id"]) for row in rows]


def get(store, image_id):
    """The Image of a full id, or None."""
    return _load(store, image_id) if _exists(store, image_id) else None


def by_reference(store, reference):
    """The full id that a Reference leads to, or ""."""
    wanted = reference.with_digest(reference.digest) if reference.digest else reference
    row = store.db.execute("select image_id from tags where reference = ?", (str(wanted),)).fetchone()
    return row["image_id"] if row else ""


def find_id(store, name):
    """(full id, the Reference by which it was found or None for an id)."""
    value = name.removeprefix("sha256:")
    if re.fullmatch("[0-9a-f]{64}", value):
        if _exists(store, f"sha256:{value}"):
            return f"sha256:{value}", None
        raise NotFound(f"No such image: {name}")
    try:
        reference = references.parse(name)
    except BadRequest:
        if not name.startswith("sha256:"):
            raise
        reference = None
    if reference and (found := by_reference(store, reference)):
        return found, reference
    if re.fullmatch("[0-9a-f]{1,63}", value) and (found := _by_prefix(store, value)):
        return found, None
    raise NotFound(f"No such image: {reference.familiar() if reference else name}")


def _by_prefix(store, value):
    rows = store.db.execute("select id from images where id glob ? limit 2", (f"sha256:{value}*",)).fetchall()
    if len(rows) > 1:
        raise BadRequest(f"multiple IDs found with provided prefix: {value}")
    return rows[0]["id"] if rows else ""


def _exists(store, image_id):
    return store.db.execute("select 1 from images where id = ?", (image_id,)).fetchone() is not None


def _load(store, image_id):
    row = store.db.execute("select * from images where id = ?", (image_id,)).fetchone()
    layers = store.db.execute("select chain, blob from image_layers where image_id = ? order by position", (image_id,)).fetchall()
    return Image(row, _names_of(store, image_id), [(layer["chain"], layer["blob"]) for layer in layers])


def _names_of(store, image_id):
    return [row["reference"] for row in store.db.execute("select reference from tags where image_id = ? order by rowid", (image_id,))]


# --- adding and naming


def add(store, image_id, manifest, config, layers, names=(), action="pull"):
    """Record an image in one transaction: its rows, its layers ([Layer], the lowest first) and its names ([Reference]).  Returns the Image.

    Everything it names is on disk and verified, under a lease (content.py).  An image that is here keeps its date and other names; its
    manifest and blobs become these.  action: the event, `pull`, `load`, `import`; "" for none.
    """
    with store.change() as db:
        size = sum(layer.size for layer in layers)
        db.execute(
            "insert into images (id, manifest, created_ns, size, config) values (?, ?, ?, ?, ?)"
            " on conflict (id) do update set manifest = excluded.manifest, size = excluded.size",
            (image_id, manifest, time.time_ns(), size, json.dumps(config)),
        )
        db.execute("delete from image_layers where image_id = ?", (image_id,))
        parent = ""
        for position, layer in enumerate(layers):
            row = (layer.chain, parent, layer.diff, layer.size)
            db.execute("insert into layers (chain, parent, diff, size) values (?, ?, ?, ?) on conflict (chain) do nothing", row)
            db.execute("insert into image_layers (image_id, position, chain, blob) values (?, ?, ?, ?)", (image_id, position, layer.chain, layer.blob))
            parent = layer.chain
        for name in names:
            _put_name(db, name, image_id)
        if action:
            store.add_event("image", action, str(names[0].familiar()) if names else image_id, {"name": names[0].familiar_name} if names else {})
    return _load(store, image_id)


def tag(store, source, target):
    """Give an image (any word of `find`) one more name.  A name that led to another image leads to this one.  Returns the Reference.  docker-tag(1)"""
    name = references.parse(target)
    if name.digest:
        raise BadRequest("refusing to create a tag with a digest reference")
    with store.change() as db:
        image_id, _ = find_id(store, source)
        _put_name(db, name, image_id)
        store.add_event("image", "tag", image_id, {"name": name.familiar()})
    return name


def _put_name(db, name, image_id):
    """Let a Reference lead to the image; with tag and digest it is the digest that is kept."""
    reference = str(name.with_digest(name.digest) if name.digest else name)
    db.execute("delete from tags where reference = ? and image_id <> ?", (reference, image_id))
    db.execute("insert into tags (reference, image_id) values (?, ?) on conflict (reference) do nothing", (reference, image_id))


# --- removing


def remove(store, name, force=False):
    """Remove a name, and the image with its last one, by docker's rules.  Returns what docker prints: [("Untagged", "busybox:latest"),
    ("Deleted", "sha256:...")].  Raises NotFound, Conflict (`conflict: unable to delete 0123456789ab (must be forced) - ...`)."""
    with store.change() as db:
        done = _remove(store, db, name, force)
    if any(word == "Deleted" for word, _ in done):
        collect(store)
    return done


def prune(store, everything=False, until_ns=0, keeps=lambda image: False):
    """Remove images without a tag; with `everything`, all that no container uses.  `until_ns`: only those made before; `keeps(image)`: a filter
    that spares.  Returns (lines as of `remove`, bytes freed).  docker-image-prune(1)"""
    done, freed = [], 0
    for image in all_images(store):
        if (not everything and image.tags) or (until_ns and created_ns(image) >= until_ns) or keeps(image):
            continue
        with store.change() as db:
            if not _users(db, image.id):
                before = _layers_size(db)
                for name in (*image.tags, *image.digests):
                    _drop_name(store, db, image.id, name, done)
                _delete(store, db, image.id, done)
                freed += before - _layers_size(db)
    collect(store)
    return done, freed


def _remove(store, db, name, force):
    image_id, reference = find_id(store, name)
    done = []
    if reference:
        if not force and _is_single(_names_of(store, image_id)):
            _refuse_reference_in_use(db, image_id, reference)
        _drop_name(store, db, image_id, str(reference.with_digest(reference.digest) if reference.digest else reference), done)
        left = _names_of(store, image_id)
        if not reference.digest and not any(_is_tag_of(reference, other) for other in left):
            for other in left:
                if other.startswith(f"{reference.name}@"):
                    _drop_name(store, db, image_id, other, done)
        if _names_of(store, image_id):
            return done
        # docker says nothing where an unnamed image stays because a container needs it.
        if _conflict(store, db, image_id, force):
            return done
    else:
        names = _names_of(store, image_id)
        if problem := _conflict(store, db, image_id, force, named=not _is_single(names)):
            raise Conflict(f"conflict: unable to delete {short(image_id)} {problem}")
        for other in names:
            _drop_name(store, db, image_id, other, done)
    _delete(store, db, image_id, done)
    return done


def _is_single(names):
    """Whether the names are one tag at most, with digests of the same repository."""
    if len(names) <= 1:
        return True
    tagged = [name for name in names if "@" not in name]
    repositories = {name.partition("@")[0] for name in names if "@" in name}
    if len(tagged) > 1:
        return False
    single = tagged[0].rpartition(":")[0] if tagged else names[0].partition("@")[0]
    return repositories == {single}


def _is_tag_of(reference, name):
    return "@" not in name and name.rpartition(":")[0] == reference.name


def _refuse_reference_in_use(db, image_id, reference):
    if users := _users(db, image_id):
        text = f'conflict: unable to remove repository reference "{reference.familiar()}" (must force)'
        raise Conflict(f"{text} - container {users[0]['id'][:SHORT_ID]} is using its referenced image {short(image_id)}")


def _conflict(store, db, image_id, force, named=False):
    """Why the image can't go, in docker's words, or ""."""
    users = _users(db, image_id)
    for user in users:
        if user["status"] in RUNNING:
            return f"(cannot be forced) - image is being used by running container {user['id'][:SHORT_ID]}"
    if force:
        return ""
    if named:
        return "(must be forced) - image is referenced in multiple repositories"
    return f"(must be forced) - image is being used by stopped container {users[0]['id'][:SHORT_ID]}" if users else ""


def _users(db, image_id):
    return db.execute("select id, status from containers where image_id = ? order by created_ns", (image_id,)).fetchall()


def _drop_name(store, db, image_id, name, done):
    db.execute("delete from tags where reference = ?", (name,))
    done.append(("Untagged", references.parse(name).familiar()))
    store.add_event("image", "untag", image_id, {"name": image_id})


def _delete(store, db, image_id, done):
    db.execute("delete from image_layers where image_id = ?", (image_id,))
    db.execute("delete from images where id = ?", (image_id,))
    done.append(("Deleted", image_id))
    store.add_event("image", "delete", image_id, {"name": image_id})
    done.extend(("Deleted", chain) for chain in _drop_layers(db))


def _drop_layers(db):
    """Delete the rows of layers that neither an image nor a container needs; their chain ids, the topmost first."""
    keep = {row["chain"] for row in db.execute("select chain from image_layers union select chain from containers")}
    parents = {row["chain"]: row["parent"] for row in db.execute("select chain, parent from layers")}
    for chain in list(keep):
        while (chain := parents.get(chain, "")) and chain not in keep:
            keep.add(chain)
    gone = [chain for chain in parents if chain not in keep]
    gone.sort(key=lambda chain: -_depth(parents, chain))
    db.executemany("delete from layers where chain = ?", [(chain,) for chain in gone])
    return gone


def _depth(parents, chain):
    depth = 0
    while chain := parents.get(chain, ""):
        depth += 1
    return depth


def _layers_size(db):
    return db.execute("select coalesce(sum(size), 0) from layers").fetchone()[0]


def collect(store, partial_age_s=7 * 86400):
    """Remove what no record needs and no lease names: rows of layers, their folders, blobs.  Returns the bytes of blobs freed."""
    from pyoci.minidocker.images.content import Content
    from pyoci.minidocker.images.layers import remove_dead

    content = Content(store.roots)
    with store.change() as db:
        _drop_layers(db)
    with content.collecting() as leased:
        _remove_layer_folders(store, leased)
    remove_dead(store.roots)
    return content.collect(lambda: needed_blobs(store), partial_age_s)


def needed_blobs(store):
    """The digests of every blob that an image needs."""
    rows = store.db.execute("select id from images union select manifest from images union select blob from image_layers")
    return {row[0] for row in rows}


def _remove_layer_folders(store, leased):
    """Folders without a row or a lease.  Renamed first: what is half removed must not look like a layer."""
    keep = {row["chain"].partition(":")[2] for row in store.db.execute("select chain from layers")} | {name.partition(":")[2] for name in leased}
    folder = store.roots.layers
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if re.fullmatch("[0-9a-f]{64}", name) and name not in keep:
            gone = f"{folder}/gone-{name}-{os.urandom(4).hex()}"
            os.rename(f"{folder}/{name}", gone)
            with contextlib.suppress(OSError):  # `system check` finds it
                remove_tree(gone)


# --- showing


def inspect(store, image):
    """The Engine API's ImageInspect."""
    config = image.config
    folders = [f"{store.roots.layers}/{chain.partition(':')[2]}/diff" for chain, _ in reversed(image.layers)]
    driver = {"UpperDir": folders[0]} if folders else {}
    if len(folders) > 1:
        driver["LowerDir"] = ":".join(folders[1:])
    return {
        "Id": image.id,
        "RepoTags": [references.parse(name).familiar() for name in image.tags],
        "RepoDigests": [references.parse(name).familiar() for name in image.digests],
        "Parent": "",
        "Comment": (config.get("history") or [{}])[-1].get("comment", ""),
        "Created": config.get("created") or "0001-01-01T00:00:00Z",
        "DockerVersion": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Config": {**CONFIG_DEFAULTS, **(config.get("config") or {})},
        "Architecture": config.get("architecture", ""),
        **({"Variant": config["variant"]} if config.get("variant") else {}),
        "Os": config.get("os", ""),
        **({"OsVersion": config["os.version"]} if config.get("os.version") else {}),
        "Size": image.size,
        "GraphDriver": {"Data": driver, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": list((config.get("rootfs") or {}).get("diff_ids") or [])},
        "Metadata": {"LastTagTime": _rfc3339(image.created_ns)},
    }


def history(store, image):
    """The Engine API's ImageHistory: [{Id, Created (seconds), CreatedBy, Tags, Size, Comment}], the newest first."""
    sizes = [store.db.execute("select size from layers where chain = ?", (chain,)).fetchone()["size"] for chain, _ in image.layers]
    entries = list(image.config.get("history") or [])
    if sum(not entry.get("empty_layer") for entry in entries) != len(sizes):
        entries = [{} for _ in sizes]  # a history that does not fit tells nothing
    rows, position = [], 0
    for entry in entries:
        size = 0
        if not entry.get("empty_layer"):
            size = sizes[position]
            position += 1
        rows.append({
            "Id": "<missing>", "Created": to_ns(entry.get("created")) // 10**9, "CreatedBy": entry.get("created_by", ""),
            "Tags": None, "Size": size, "Comment": entry.get("comment", ""),
        })  # fmt: skip
    rows.reverse()
    if rows:
        rows[0].update(Id=image.id, Tags=[references.parse(name).familiar() for name in image.tags] or None)
    return rows


def created_ns(image):
    """When the image itself was made, 0 if it does not say."""
    return to_ns(image.config.get("created"))


def to_ns(text):
    """Nanoseconds since 1970 of an RFC 3339 text; 0 for none or a wrong one."""
    import calendar

    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", text or "")
    if not found:
        return 0
    day, clock, fraction, sign, hours, minutes = found.groups()
    try:
        seconds = calendar.timegm(time.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M:%S"))
    except ValueError:
        return 0
    offset_s = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1) if sign else 0
    return max(0, (seconds - offset_s) * 10**9 + int((fraction or "0")[:9].ljust(9, "0")))


def _rfc3339(nanoseconds):
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
