"""An image out of layers and a config: blobs, the manifest that names them, and the record.

The same layers and config always give the same ids: documents are written with sorted names and without spaces, gzip without a time.
Whoever adds something holds a lease (content.py) until the record is written.
Source: image-spec manifest.md, config.md; RFC 1952.
"""

import json
import os
import zlib

from pyoci.minidocker.images import layers, records
from pyoci.minidocker.images.compress import Plain, kind_of
from pyoci.minidocker.images.content import Content, digest_of
from pyoci.minidocker.images.unpack import Limits

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SUFFIX = {"": "", "gzip": "+gzip", "zstd": "+zstd"}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


def architecture():
    """This host's, in Go's words, as image configs have it."""
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def encode(document):
    """The bytes of a JSON document, the same for the same content."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


class Gzip:
    """A sink that writes gzip into another one."""

    def __init__(self, sink):
        self._sink = sink
        self._machine = zlib.compressobj(6, zlib.DEFLATED, 31)

    def write(self, data):
        """Pack some bytes."""
        if packed := self._machine.compress(data):
            self._sink.write(packed)

    def close(self):
        """The rest, and the trailer."""
        self._sink.write(self._machine.flush())


def add_layer(store, lease, source, parent="", limits=None):
    """A layer out of a tar (`source.read(n)`, packed or not) over the chain `parent`: unpacked, and kept as a gzip blob.  Returns a records.Layer."""
    roots = store.roots
    limits = limits or Limits()
    with Content(roots).writer() as writer:
        packed = Gzip(writer)
        with layers.extract(roots, Plain(source, limits, also=packed.write)) as unfinished:
            packed.close()
            blob = f"sha256:{writer.hash.hexdigest()}"
            chain = layers.chain_id(parent, unfinished.diff)
            lease.add(blob, chain)
            writer.commit()
            diff, size = unfinished.diff, unfinished.size
            layers.publish(roots, unfinished, parent)
    return records.Layer(chain, diff, size, blob)


def layer_type(content, blob):
    """The media type of a layer's blob, by its first bytes."""
    with content.open(blob) as file:
        return LAYER + SUFFIX.get(kind_of(file.read(512)), "")


def add_image(store, lease, config, image_layers, names=(), action=""):
    """Record an image of layers (records.Layer, the lowest first, published) and a config without rootfs.  Returns a records.Image."""
    content = Content(store.roots)
    document = {**config, "rootfs": {"type": "layers", "diff_ids": [layer.diff for layer in image_layers]}}
    config_id = _add(content, lease, encode(document))
    manifest = add_manifest(content, lease, config_id, image_layers)
    return records.add(store, config_id, manifest, document, image_layers, names, action)


def add_manifest(content, lease, config_id, image_layers):
    """The manifest of a config's blob and layers (records.Layer).  Returns its digest."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_id, "size": content.size(config_id)},
        "layers": [{"mediaType": layer_type(content, layer.blob), "digest": layer.blob, "size": content.size(layer.blob)} for layer in image_layers],
    }
    return _add(content, lease, encode(document))


def _add(content, lease, data):
    lease.add(digest_of(data))
    return content.add_bytes(data)
