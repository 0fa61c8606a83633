"""push: an image to its registry; what is there already is not sent again.

A layer that another repository of the same registry has from us is mounted from there.  Source: distribution-spec "Push".
"""

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images import documents, records, reference
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.images.progress import Silent
from pyoci.minidocker.images.registry import Registry

WORKERS = 3


def push(store, name, progress=None):
    """Send the image that a name with a tag leads to.  Returns the manifest's digest.  Raises NotFound, RegistryProblem, ImageProblem."""
    progress = progress or Silent()
    wanted = reference.parse(name)
    image = records.find(store, str(wanted))
    content = Content(store.roots)
    with content.lease() as lease:
        lease.add(image.manifest, image.id, *(blob for _, blob in image.layers))
        data = content.read(image.manifest)
        manifest = documents.check_manifest(documents.decode(data, "manifest"))
        registry = Registry(wanted.registry, wanted.repository, actions="pull,push")
        try:
            progress.say(f"The push refers to repository [{wanted.name}]")
            _send_blobs(registry, content, manifest, _sources(store, wanted), progress)
            word = wanted.tag or wanted.digest
            media = manifest.get("mediaType") or documents.OCI_MANIFEST
            registry.put_manifest(word, data, media)
        finally:
            registry.close()
    store.add_event("image", "push", wanted.familiar(), {"name": wanted.familiar_name})
    progress.say(f"{word}: digest: {image.manifest} size: {len(data)}")
    return image.manifest


def _sources(store, wanted):
    """{blob digest: a repository of the same registry that may have it}."""
    found = {}
    for image in records.all_images(store):
        for text in (*image.tags, *image.digests):
            name = reference.parse(text)
            if name.registry == wanted.registry and name.repository != wanted.repository:
                for _, blob in image.layers:
                    found.setdefault(blob, name.repository)
    return found


def _send_blobs(registry, content, manifest, sources, progress):
    from concurrent.futures import ThreadPoolExecutor

    def send(layer):
        name = layer["digest"].partition(":")[2][:12]
        if registry.has_blob(layer["digest"]):
            progress.layer(name, "Layer already exists")
            return
        progress.layer(name, "Pushing")
        source = sources.get(layer["digest"], "")
        mounted = registry.upload(layer["digest"], lambda: content.open(layer["digest"]), layer["size"], source)
        progress.layer(name, f"Mounted from {source}" if mounted else "Pushed")

    for layer in manifest["layers"]:
        progress.layer(layer["digest"].partition(":")[2][:12], "Preparing")
        if not content.has(layer["digest"]):
            raise ImageProblem(f"layer {layer['digest']}: its blob is not here any more", "pull or load the image again")
    with ThreadPoolExecutor(WORKERS) as pool:
        sent = [pool.submit(send, layer) for layer in manifest["layers"]]
        try:
            for done in sent:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    config = manifest["config"]
    if not registry.has_blob(config["digest"]):
        registry.upload(config["digest"], lambda: content.open(config["digest"]), config["size"])
