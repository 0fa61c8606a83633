"""Images as one file: `save` writes it for docker, skopeo, podman and us, `load` reads what any of them wrote.

Written is an OCI image layout with Docker's manifest.json and repositories beside it (as Docker 25 and newer), which Docker 20.10 loads too.  Read is that, an OCI layout alone
(nested indexes too), and Docker's old form (ID/layer.tar, links between files), each packed or not.  Everything goes from the stream into the blob store by its digest; no
name in the archive ever becomes a path.
Source: image-spec image-layout.md; Docker's image specification v1.2 ("Combined Image JSON + Filesystem Changeset Format"); containerd's annotation io.containerd.image.name.
"""

import json
import posixpath

from pyoci.minidocker.errors import BadRequest, ImageProblem, NotFound
from pyoci.minidocker.images import assemble, documents, layers, records, reference, tar
from pyoci.minidocker.images.compress import Plain
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.images.pack import Packer, make_entry
from pyoci.minidocker.images.pax import shown
from pyoci.minidocker.images.unpack import Limits

NAME, REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"
MAX_ENTRIES = 100_000
MAX_DOCUMENT_BYTES = 4 << 20
_DOCUMENTS = ("manifest.json", "index.json", "oci-layout", "repositories")


# --- save


def save(store, names, sink):
    """Write images into one archive.  names: as users give them; a name without a tag means all its tags.  Raises NotFound, MiniDockerError."""
    if not names:
        raise BadRequest("no image named")
    wanted = {}  # id -> (Image, {Reference})
    for name in names:
        for image, named in _named(store, name):
            wanted.setdefault(image.id, (image, {}))[1].update(dict.fromkeys(named))
    with Content(store.roots).lease() as lease:
        _Writer(store, lease, sink).write([(image, list(named)) for image, named in wanted.values()])


def _named(store, name):
    """[(Image, [Reference])] of a user's word: of a bare name every tag, of an id none."""
    try:
        bare = reference.parse(name, default_tag="")
    except BadRequest:
        bare = None
    if bare and not bare.tag and not bare.digest:
        found = [(image, [tag for tag in map(reference.parse, image.tags) if tag.name == bare.name]) for image in records.all_images(store)]
        if found := [(image, tags) for image, tags in found if tags]:
            return found
    image = records.find(store, name)
    return [(image, [bare] if bare and bare.tag and str(bare) in image.tags else [])]


class _Writer:
    def __init__(self, store, lease, sink):
        self.content = Content(store.roots)
        self.lease = lease
        self.packer = Packer(sink)
        self.folders = set()
        self.written = set()

    def write(self, images):
        """The blobs first, as docker does, then the documents that name them."""
        for image, _names in images:
            self.lease.add(image.id, image.manifest, *(blob for _chain, blob in image.layers))
            for digest in (*(blob for _chain, blob in image.layers), image.id, image.manifest):
                self._blob(digest)
        self._document("index.json", _index(self.content, images))
        self._document("manifest.json", [_docker_item(image, names) for image, names in images])
        self._document("oci-layout", {"imageLayoutVersion": "1.0.0"})
        self._document("repositories", _repositories(images))
        self.packer.close()

    def _blob(self, digest):
        algorithm, _colon, value = digest.partition(":")
        if digest in self.written:
            return
        self.written.add(digest)
        for folder in ("blobs", f"blobs/{algorithm}"):
            if folder not in self.folders:
                self.folders.add(folder)
                self.packer.add(make_entry(folder.encode(), tar.FOLDER, 0o755))
        with self.content.open(digest) as file:
            self.packer.add_file(make_entry(f"blobs/{algorithm}/{value}".encode(), tar.FILE, size=self.content.size(digest)), file.fileno())

    def _document(self, name, document):
        data = assemble.encode(document)
        self.packer.add(make_entry(name.encode(), tar.FILE, size=len(data)), data)


def _index(content, images):
    manifests = []
    for image, names in images:
        media = json.loads(content.read(image.manifest)).get("mediaType") or documents.OCI_MANIFEST
        descriptor = {"mediaType": media, "digest": image.manifest, "size": content.size(image.manifest)}
        annotations = [{"annotations": {NAME: str(name), REF_NAME: name.tag}} for name in names] or [{}]
        manifests += [{**descriptor, **annotation} for annotation in annotations]
    return {"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": manifests}


def _path_of(digest):
    return f"blobs/{digest.replace(':', '/')}"


def _docker_item(image, names):
    return {"Config": _path_of(image.id), "RepoTags": [name.familiar() for name in names] or None, "Layers": [_path_of(blob) for _chain, blob in image.layers]}


def _repositories(images):
    """Docker 1.9 and older read this: names by the id of their topmost layer."""
    found = {}
    for image, names in images:
        for name in names:
            found.setdefault(name.familiar_name, {})[name.tag] = (image.layers[-1][1] if image.layers else image.id).partition(":")[2]
    return found


# --- load


def load(store, stream, limits=None, platform=None):
    """Read an archive (`stream.read(n)`, packed or not).  Returns [(Image, [Reference])], in the archive's order.  Raises ImageProblem, MiniDockerError.

    platform   {"os", "architecture", "variant"} where an index offers several; this host's if None
    """
    try:
        with Content(store.roots).lease() as lease:
            archive = _Archive(store, lease, limits or Limits())
            archive.read(stream)
            return [archive.add(*item) for item in archive.images(platform)]
    finally:
        records.collect(store)  # what the archive had beside its images, or all of a refused one


class _Archive:
    """What an archive has: `files` {path: digest}, `links` {path: path}, `documents` {path: bytes}."""

    def __init__(self, store, lease, limits):
        self.store = store
        self.content = Content(store.roots)
        self.lease = lease
        self.limits = limits
        self.files = {}
        self.links = {}
        self.documents = {}

    def read(self, stream):
        """Take every file in."""
        try:
            self._take_all(tar.Reader(Plain(stream, self.limits)))
        except ImageProblem as error:
            raise ImageProblem(f"archive: {str(error).removeprefix('archive: ')}", error.hint) from error

    def _take_all(self, reader):
        stored = 0
        for number, entry in enumerate(reader):
            stored += entry.stored
            if number >= MAX_ENTRIES or stored > self.limits.max_bytes:
                raise ImageProblem(f"archive: more than {MAX_ENTRIES} files, or {self.limits.max_bytes} bytes")
            path = _clean(entry.name)
            if entry.kind == tar.FILE and entry.sparse is None:
                self._take(path, entry, reader)
            elif entry.kind == tar.LINK:
                self.links[path] = _clean(entry.link)
            elif entry.kind == tar.SYMLINK:
                self.links[path] = _clean(posixpath.join(posixpath.dirname(path).encode(), entry.link)) if not entry.link.startswith(b"/") else ""
            elif entry.kind != tar.FOLDER:
                raise ImageProblem(f"archive: {shown(entry.name)}: neither a plain file nor a link")
        reader.source.drain()

    def _take(self, path, entry, reader):
        if path in _DOCUMENTS:
            if entry.size > MAX_DOCUMENT_BYTES:
                raise ImageProblem(f"archive: {path}: {entry.size} bytes")
            self.documents[path] = b"".join(reader.data())
            return
        digest = _digest_in(path)
        if digest:
            self.lease.add(digest)
        with self.content.writer(digest, entry.size if digest else 0) as writer:
            if not writer.done:
                writer.restart()
                try:
                    for view in reader.data():
                        writer.write(view)
                except ImageProblem:
                    writer.restart()  # half a blob is of no use: the archive won't go on where it was cut
                    raise
                self.lease.add(digest or f"sha256:{writer.hash.hexdigest()}")
                writer.commit()
            self.files[path] = writer.digest

    def blob(self, path, what):
        """The digest of a file, through links."""
        path = _clean(path.encode("utf-8", "surrogateescape"))
        for _step in range(8):
            if path in self.files:
                return self.files[path]
            if path not in self.links:
                break
            path = self.links[path]
        raise ImageProblem(f"archive: {what} {path!r} is not in it")

    def images(self, platform):
        """[(config bytes, layer digests, manifest digest or "", [Reference])].  Raises ImageProblem."""
        if "manifest.json" in self.documents:
            return self._docker_images()
        if "index.json" in self.documents:
            return self._oci_images(platform)
        raise ImageProblem("archive: neither manifest.json nor index.json is in it", "a root file system's tar is for `import`")

    def _docker_images(self):
        try:
            items = json.loads(self.documents["manifest.json"])
        except (ValueError, RecursionError) as error:
            raise ImageProblem(f"archive: manifest.json: no JSON: {error}") from error
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ImageProblem("archive: manifest.json: not an array of objects")
        by_config = self._manifests_by_config()
        found = []
        for number, item in enumerate(items):
            where = f"manifest.json: [{number}]"
            config = self.blob(_text(item.get("Config"), f"{where}.Config"), "the config")
            blobs = [self.blob(_text(path, f"{where}.Layers"), "the layer") for path in _list(item.get("Layers"), f"{where}.Layers")]
            names = [_reference(name) for name in _list(item.get("RepoTags"), f"{where}.RepoTags")]
            manifest = by_config.get((config, tuple(blobs)), "")
            found.append((config, blobs, manifest, names))
        return found

    def _manifests_by_config(self):
        """{(config, blobs): digest} of the OCI manifests beside manifest.json: they keep their digest."""
        found = {}
        for descriptor in self._index_entries() if "index.json" in self.documents else ():
            digest = descriptor["digest"]
            if digest in self.files.values() and descriptor["mediaType"] in documents.MANIFESTS:
                manifest = documents.check_manifest(documents.decode(self.content.read(digest), "manifest"))
                found[manifest["config"]["digest"], tuple(layer["digest"] for layer in manifest["layers"])] = digest
        return found

    def _index_entries(self):
        return documents.check_index(documents.decode(self.documents["index.json"], "index.json"))["manifests"]

    def _oci_images(self, platform):
        found = {}
        for descriptor in self._index_entries():
            annotations = descriptor.get("annotations") or {}
            name = annotations.get(NAME) or annotations.get(REF_NAME) or ""
            digest = self._choose(descriptor, platform, 0)
            manifest = documents.check_manifest(documents.decode(self._read(digest), "manifest"))
            blobs = [self._present(layer["digest"]) for layer in manifest["layers"]]
            item = found.setdefault(digest, (self._present(manifest["config"]["digest"]), blobs, digest, []))
            # A tag alone (skopeo's oci-archive:FILE:latest) names no repository.
            if ":" in name or "/" in name:
                item[3].append(_reference(name))
        return list(found.values())

    def _choose(self, descriptor, platform, depth):
        """The digest of the manifest that an index leads to."""
        digest = descriptor["digest"]
        if descriptor["mediaType"] not in documents.INDEXES:
            return digest
        if depth > 4:
            raise ImageProblem("archive: indexes in indexes in indexes")
        entries = documents.check_index(documents.decode(self._read(digest), "index"))["manifests"]
        wanted = {"os": "linux", "architecture": assemble.architecture(), **(platform or {})}
        for entry in entries:
            offered = entry.get("platform") or wanted
            if all(offered.get(key) == value for key, value in wanted.items()) and entry["digest"] in self.files.values():
                return self._choose(entry, platform, depth + 1)
        raise NotFound(f"no image for {wanted['os']}/{wanted['architecture']} in the archive")

    def _present(self, digest):
        if digest not in self.files.values():
            raise ImageProblem(f"archive: blob {digest} is not in it")
        return digest

    def _read(self, digest):
        return self.content.read(self._present(digest), MAX_DOCUMENT_BYTES)

    def add(self, config_digest, blobs, manifest, names):
        """Unpack and record one image.  Returns (Image, [Reference])."""
        config = documents.check_config(documents.decode(self.content.read(config_digest), "image config"))
        diffs = config["rootfs"]["diff_ids"]
        if len(diffs) != len(blobs):
            raise ImageProblem(f"archive: {len(blobs)} layers, but the config has {len(diffs)} diff ids")
        chains = records.chain_ids(diffs)
        self.lease.add(*chains)
        layers.ensure_all(self.store.roots, diffs, [lambda blob=blob: self.content.open(blob) for blob in blobs], self.limits)
        sizes = [layers.facts(self.store.roots, chain)["size"] for chain in chains]
        found = [records.Layer(*facts) for facts in zip(chains, diffs, sizes, blobs, strict=True)]
        if not manifest:
            manifest = assemble.add_manifest(self.content, self.lease, config_digest, found)
        return records.add(self.store, config_digest, manifest, config, found, names, "load"), names


def _clean(name):
    """A path in the archive, never one of ours: it is only compared."""
    return posixpath.normpath(b"/" + name).decode("utf-8", "surrogateescape").lstrip("/")


def _digest_in(path):
    """The digest that a layout's path promises, or ""."""
    parts = path.split("/")
    if len(parts) == 3 and parts[0] == "blobs":
        from pyoci.minidocker.images.content import split_digest

        split_digest(f"{parts[1]}:{parts[2]}")
        return f"{parts[1]}:{parts[2]}"
    return ""


def _text(value, where):
    if not isinstance(value, str):
        raise ImageProblem(f"archive: {where}: must be a string")
    if not value.isascii() and any(0xD800 <= ord(one) < 0xE000 for one in value):
        raise ImageProblem(f"archive: {where}: half a character")  # JSON can say one alone, no encoding of bytes can
    return value


def _list(value, where):
    if value is None:
        return []
    if not isinstance(value, list):
        raise ImageProblem(f"archive: {where}: must be an array")
    return value


def _reference(name):
    try:
        return reference.parse(_text(name, "name"))
    except BadRequest as error:
        raise ImageProblem(f"archive: {name!r}: {error}") from error
