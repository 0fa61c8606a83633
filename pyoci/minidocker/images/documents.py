"""Image manifests, indexes and configs as they come from elsewhere: judged by plain code before anything is done with them.

What is needed of them has its type and can be trusted to be what it says (digests are digests, sizes are sizes); unknown members are left alone, as the specification wants.
Null stands for absent, as Go's encoder writes it.  `explain` lists every problem by the schemas (schemas/image-*.schema.json) for who wants to know more.
Source: image-spec 1.1 manifest.md, image-index.md, config.md, descriptor.md; Docker's image manifest version 2, schema 2.
"""

import json
import re

from pyoci.minidocker.errors import ImageProblem

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_LAYER = re.compile(
    r"application/vnd\.oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?|application/vnd\.docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?"
)

_DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")
_MEDIA = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
MAX_LAYERS = 500
MAX_SIZE = (1 << 63) - 1


def decode(data, what):
    """The object that these bytes are in JSON.  Raises ImageProblem."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageProblem(f"{what}: no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ImageProblem(f"{what}: not an object but {_kind(document)}")
    return document


def _kind(value):
    return {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


class _Judge:
    """Typed readers for one document; each names the member that it refuses, by its key `under` a path."""

    def __init__(self, what):
        self.what = what

    def refuse(self, where, problem):
        raise ImageProblem(f"{self.what}: {where}: {problem}")

    def member(self, document, key, kind, name, under="", required=False):
        where = f"{under}.{key}" if under else key
        value = document.get(key)
        if value is None:
            if required:
                self.refuse(where, "is missing")
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.refuse(where, f"must be {name}, not {_kind(value)}")
        return value

    def string(self, document, key, under="", required=False):
        return self.member(document, key, str, "a string", under, required)

    def table(self, document, key, under="", required=False):
        return self.member(document, key, dict, "an object", under, required)

    def array(self, document, key, under="", required=False):
        return self.member(document, key, list, "an array", under, required)

    def each(self, values, where, kind, name):
        for key, value in values:
            if not isinstance(value, kind):
                self.refuse(f"{where}[{key!r}]", f"must be {name}, not {_kind(value)}")

    def strings(self, document, key, under=""):
        self.each(enumerate(self.array(document, key, under) or ()), f"{under}.{key}" if under else key, str, "a string")

    def map_of(self, document, key, kind, name, under=""):
        """An object; a member without a name is left alone, as the schemas do."""
        found = self.table(document, key, under) or {}
        self.each(((one, value) for one, value in found.items() if one), f"{under}.{key}" if under else key, kind, name)

    def string_map(self, document, key, under=""):
        self.map_of(document, key, str, "a string", under)

    def number(self, document, key, least, under="", required=False):
        value = self.member(document, key, int, "a whole number", under, required)
        if value is not None and not least <= value <= MAX_SIZE:
            self.refuse(f"{under}.{key}" if under else key, f"must be from {least} to {MAX_SIZE}, not {value}")
        return value

    def media(self, document, key, under="", required=False):
        value = self.string(document, key, under, required)
        if value is not None and not _MEDIA.fullmatch(value):
            self.refuse(f"{under}.{key}" if under else key, f"is no media type: {value!r}")
        return value

    def head(self, document):
        """What a manifest and an index have in common."""
        if self.number(document, "schemaVersion", 0, required=True) != 2:
            self.refuse("schemaVersion", f"must be 2, not {document['schemaVersion']}")
        self.media(document, "mediaType")
        self.media(document, "artifactType")
        self.string_map(document, "annotations")

    def descriptor(self, value, where):
        """The media type of a descriptor."""
        if not isinstance(value, dict):
            self.refuse(where, f"must be an object, not {_kind(value)}")
        digest = self.string(value, "digest", where, required=True)
        if not _DIGEST.fullmatch(digest):
            self.refuse(f"{where}.digest", f"is no digest: {digest!r}")
        self.number(value, "size", 0, where, required=True)
        self.strings(value, "urls", where)
        self.string_map(value, "annotations", where)
        self.media(value, "artifactType", where)
        return self.media(value, "mediaType", where, required=True)


def kind_of(document, media=""):
    """`index` or `manifest`, by its own media type, the one it came with, or its members.  Raises ImageProblem."""
    own = document.get("mediaType") or media
    if own in DOCKER_SCHEMA_1 or document.get("schemaVersion") == 1:
        raise ImageProblem("manifest: Docker's schema 1, which names no config; it was given up in 2019", "let the image be pushed again by a newer docker")
    if own in INDEXES:
        return "index"
    if own in MANIFESTS:
        return "manifest"
    if own:
        raise ImageProblem(f"manifest: unknown media type {own!r}")
    return "index" if "manifests" in document else "manifest"


def check_manifest(document):
    """The manifest, if it can be that of an image.  Raises ImageProblem."""
    judge = _Judge("manifest")
    judge.head(document)
    if "manifests" in document and "layers" not in document:
        judge.refuse("manifests", "belongs into an index")
    media = judge.descriptor(document.get("config"), "config")
    if media not in CONFIGS:
        judge.refuse("config.mediaType", f"{media!r} is not an image's")
    layers = judge.array(document, "layers", required=True)
    if len(layers) > MAX_LAYERS:
        judge.refuse("layers", f"{len(layers)} of them; overlayfs takes {MAX_LAYERS}")
    for number, layer in enumerate(layers):
        media = judge.descriptor(layer, f"layers[{number}]")
        if not _LAYER.fullmatch(media):
            judge.refuse(f"layers[{number}].mediaType", f"{media!r} is no layer's")
    return document


def check_index(document):
    """The index, if it is one.  Raises ImageProblem."""
    judge = _Judge("index")
    judge.head(document)
    for number, value in enumerate(judge.array(document, "manifests", required=True)):
        where = f"manifests[{number}]"
        judge.descriptor(value, where)
        platform = judge.table(value, "platform", where)
        if platform is not None:
            inner = f"{where}.platform"
            judge.string(platform, "architecture", inner, required=True)
            judge.string(platform, "os", inner, required=True)
            judge.string(platform, "variant", inner)
            judge.string(platform, "os.version", inner)
            judge.strings(platform, "os.features", inner)
    return document


def check_config(document):
    """The image config, if it is one.  Raises ImageProblem."""
    judge = _Judge("image config")
    for name in ("architecture", "os"):
        judge.string(document, name, required=True)
    for name in ("created", "author", "variant", "os.version"):
        judge.string(document, name)
    judge.strings(document, "os.features")
    rootfs = judge.table(document, "rootfs", required=True)
    if judge.string(rootfs, "type", "rootfs", required=True) != "layers":
        judge.refuse("rootfs.type", f'must be "layers", not {rootfs["type"]!r}')
    for number, digest in enumerate(judge.array(rootfs, "diff_ids", "rootfs", required=True)):
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            judge.refuse(f"rootfs.diff_ids[{number}]", f"is no digest: {digest!r}")
    _check_run_config(judge, judge.table(document, "config") or {})
    for number, entry in enumerate(judge.array(document, "history") or ()):
        where = f"history[{number}]"
        if not isinstance(entry, dict):
            judge.refuse(where, f"must be an object, not {_kind(entry)}")
        for name in ("created", "author", "created_by", "comment"):
            judge.string(entry, name, where)
        judge.member(entry, "empty_layer", bool, "a boolean", where)
    return document


def _check_run_config(judge, config):
    for name in ("User", "WorkingDir", "StopSignal"):
        judge.string(config, name, "config")
    for name in ("Env", "Entrypoint", "Cmd", "Shell", "OnBuild"):
        judge.strings(config, name, "config")
    for name in ("ExposedPorts", "Volumes"):
        judge.map_of(config, name, dict, "an object", "config")
    judge.string_map(config, "Labels", "config")
    judge.member(config, "ArgsEscaped", bool, "a boolean", "config")
    judge.number(config, "StopTimeout", -1, "config")
    health = judge.table(config, "Healthcheck", "config")
    if health:
        judge.strings(health, "Test", "config.Healthcheck")
        for name in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
            judge.number(health, name, 0, "config.Healthcheck")


def check_pair(manifest, config):
    """A manifest and its config belong together: a diff id for each layer.  Raises ImageProblem."""
    layers, diffs = len(manifest["layers"]), len(config["rootfs"]["diff_ids"])
    if layers != diffs:
        raise ImageProblem(f"manifest: {layers} layers, but the config has {diffs} diff ids")


def explain(document, kind):
    """[(path, problem)] of all that the schema refuses.  kind: `manifest`, `index`, `config`."""
    from pyoci.spec.explain import schema_problems  # jsonschema costs 80 ms

    return schema_problems(document, f"image-{kind}")
