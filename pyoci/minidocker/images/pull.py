"""pull: an image from a registry, its layers fetched, verified and unpacked at once.

Nothing is recorded before all of it is here and verified; what was fetched stays for the next try, byte for byte.  Two processes that pull the same layer
fetch it once (content.py).  Blobs are kept as they came, since a push must give the same bytes back (docs/decisions/0023).
Source: distribution-spec "Pulling manifests", "Pulling blobs"; image-spec image-index.md, manifest.md.
"""

from pyoci.minidocker.errors import ImageProblem, NotFound, RegistryProblem
from pyoci.minidocker.images import assemble, documents, layers, records, reference
from pyoci.minidocker.images.commit import parse_platform
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.images.progress import Silent
from pyoci.minidocker.images.registry import Registry, Settings

MAX_CONFIG_BYTES = 8 << 20
MAX_DEPTH = 4
# Go's names of variants; an image without one fits every.
VARIANTS = {"arm64": ("v8", ""), "arm": ("v7", "v6", "v5", ""), "amd64": ("", "v1")}


def pull(store, name, platform="", progress=None):
    """Get an image.  platform: `os/architecture[/variant]`, this host's if "".  Returns the Image; raises RegistryProblem, ImageProblem, NotFound, MiniDockerError."""
    wanted = reference.parse(name)
    progress = progress or Silent()
    settings = Settings()
    hosts = [*(settings.mirrors if wanted.registry == reference.DEFAULT_REGISTRY else ()), wanted.registry]
    for host in hosts:
        registry = Registry(host, wanted.repository, settings=settings)
        try:
            return _Pull(store, registry, wanted, platform, progress).run()
        except (RegistryProblem, ImageProblem) as error:
            if host == hosts[-1]:
                raise
            progress.say(f"{host} (mirror): {error}: trying the next")
        finally:
            registry.close()
    raise AssertionError("unreachable")


def choose(entries, platform):
    """The descriptor of an index that suits a platform ({"os", "architecture", "variant"}).  Raises NotFound."""
    wanted = {"os": "linux", "architecture": assemble.architecture(), **platform}
    ranked = [wanted["variant"]] if wanted.get("variant") else VARIANTS.get(wanted["architecture"], ("",))
    found = {}
    for entry in entries:
        offered = entry.get("platform") or {}
        if offered.get("os") == wanted["os"] and offered.get("architecture") == wanted["architecture"]:
            found.setdefault(offered.get("variant") or "", entry)
    for variant in ranked:
        if variant in found:
            return found[variant]
    if found and not wanted.get("variant"):
        return next(iter(found.values()))
    offered = sorted({"/".join(filter(None, (one.get("os"), one.get("architecture"), one.get("variant")))) for one in (entry.get("platform") or {} for entry in entries)} - {""})
    asked = "/".join(filter(None, (wanted["os"], wanted["architecture"], wanted.get("variant", ""))))
    raise NotFound(f"no image for {asked}; there is: {', '.join(offered) or 'nothing with a platform'}", hint="--platform names another")


class _Pull:
    def __init__(self, store, registry, wanted, platform, progress):
        self.store = store
        self.content = Content(store.roots)
        self.registry = registry
        self.wanted = wanted
        self.platform = parse_platform(platform) if platform else {}
        self.progress = progress
        self.failed = None

    def run(self):
        layers.remove_dead(self.store.roots)  # of a pull that was killed: room for this one
        word = self.wanted.digest or self.wanted.tag
        data, media, top = self.registry.manifest(word)
        self.progress.say(f"{word}: Pulling from {self.wanted.repository}")
        with self.content.lease() as lease:
            self.lease = lease
            lease.add(top)
            data, digest = self._platform_manifest(data, media, top)
            image, fresh = self._take(data, digest, top)
        self.progress.say(f"Digest: {top}")
        shown = self.wanted.familiar()
        self.progress.say(f"Status: Downloaded newer image for {shown}" if fresh else f"Status: Image is up to date for {shown}")
        return image

    def _platform_manifest(self, data, media, digest):
        """(bytes, digest) of the manifest that an index leads to."""
        for _ in range(MAX_DEPTH):
            document = documents.decode(data, "manifest")
            if documents.kind_of(document, media) != "index":
                return data, digest
            descriptor = choose(documents.check_index(document)["manifests"], self.platform)
            data, media, digest = self.registry.manifest(descriptor["digest"])
            if len(data) != descriptor["size"]:
                raise ImageProblem(f"manifest {digest}: {len(data)} bytes came, the index announced {descriptor['size']}")
        raise ImageProblem(f"{self.wanted.familiar()}: indexes in indexes in indexes")

    def _take(self, data, digest, top):
        """(Image, whether anything of it is new)."""
        manifest = documents.check_manifest(documents.decode(data, "manifest"))
        names = [self.wanted.with_digest(top)] + ([self.wanted.with_tag(self.wanted.tag)] if self.wanted.tag and not self.wanted.digest else [])
        before = {str(name): records.by_reference(self.store, name) for name in names}
        self.lease.add(digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"]))
        config_id = manifest["config"]["digest"]
        self._fetch(manifest["config"], "")
        config = documents.check_config(documents.decode(self.content.read(config_id, MAX_CONFIG_BYTES), "image config"))
        documents.check_pair(manifest, config)
        self._check_platform(config)
        diffs = config["rootfs"]["diff_ids"]
        chains = records.chain_ids(diffs)
        self.lease.add(*chains)
        self._unpack(manifest["layers"], diffs, chains)
        self.content.add_bytes(data, digest.partition(":")[0])
        found = [
            records.Layer(chain, diff, layers.facts(self.store.roots, chain)["size"], layer["digest"])
            for chain, diff, layer in zip(chains, diffs, manifest["layers"], strict=True)
        ]
        image = records.add(self.store, config_id, digest, config, found, names, "pull")
        return image, any(was != config_id for was in before.values())

    def _check_platform(self, config):
        """An image without an index is taken whatever it is for, unless another was asked for by name."""
        for key, value in self.platform.items():
            if config.get(key) and config[key] != value:
                raise NotFound(f"{self.wanted.familiar()}: is for {config.get('os')}/{config.get('architecture')}, not for {'/'.join(self.platform.values())}")

    def _unpack(self, descriptors, diffs, chains):
        names = [layer["digest"].partition(":")[2][:12] for layer in descriptors]
        here = [layers.facts(self.store.roots, chain) is not None for chain in chains]
        for name, there in zip(names, here, strict=True):
            self.progress.layer(name, "Already exists" if there else "Pulling fs layer")
        openers = [lambda layer=layer, name=name: self._opened(layer, name) for layer, name in zip(descriptors, names, strict=True)]
        # A layer that is unpacked already may have lost its blob, or come with other compression: a push wants this one.
        for layer, there, name in zip(descriptors, here, names, strict=True):
            if there and not self.content.has(layer["digest"]):
                self._fetch(layer, name)
        layers.ensure_all(self.store.roots, diffs, openers, failed=self._stop)
        for name, there in zip(names, here, strict=True):
            if not there:
                self.progress.layer(name, "Pull complete")

    def _opened(self, layer, name):
        self._fetch(layer, name)
        self.progress.layer(name, "Extracting")
        return self.content.open(layer["digest"])

    def _fetch(self, descriptor, name):
        digest, size = descriptor["digest"], descriptor["size"]
        if not name and size > MAX_CONFIG_BYTES:
            raise ImageProblem(f"config {digest}: {size} bytes, more than {MAX_CONFIG_BYTES}")
        note = (lambda count: self.progress.layer(name, "Downloading", count, size)) if name else (lambda count: None)
        with self.content.writer(digest, size, self._cancelled) as writer:
            if not writer.done:
                self._fill(writer, descriptor, note)
                writer.commit()
                if name:
                    self.progress.layer(name, "Download complete")

    def _fill(self, writer, descriptor, note):
        try:
            self.registry.fetch(writer, descriptor["size"], note)
        except RegistryProblem as error:
            if error.code == "not found" and descriptor.get("urls"):
                text = f"layer {descriptor['digest']}: is a foreign layer, which the registry does not have; addresses in manifests are not gone to"
                raise ImageProblem(text, "push the image again with its foreign layers") from error
            raise

    def _stop(self, error):
        """A layer can't be had or is hostile: the downloads of the others end, whatever they wait for."""
        self.failed = error
        self.registry.stop()

    def _cancelled(self):
        if self.failed:
            raise layers.Stopped("another layer of this image failed")
