"""What is made of a container's file system: its changes, a tar of it, an image of it.

Source: docker-diff(1), docker-export(1), docker-commit(1).
"""

import os

from pyoci.minidocker import bundle, containers
from pyoci.minidocker.copy import root_of


def changes(store, ref):
    """[(kind, path)]: A added, C changed, D deleted."""
    container = containers.find(store, ref)
    if not os.path.isdir(f"{container.folder}/upper"):
        return []
    from pyoci.minidocker.images import commit as images

    return images.diff(store, container.chain, f"{container.folder}/upper")


def export(store, ref, file):
    """Write the whole file system as a tar to `file`; what is mounted into it is left out."""
    from pyoci.minidocker.images import commit as images

    with root_of(store, ref) as (container, _):
        images.export_tree(container.rootfs, file)


def commit(store, ref, reference="", *, author="", message="", changes=(), pause=True):
    """An image of a container as it is; a running one is frozen meanwhile, with `pause`.  Returns the image's id."""
    from pyoci.minidocker import life
    from pyoci.minidocker.images import commit as images
    from pyoci.minidocker.images import records
    from pyoci.minidocker.images import reference as references

    container = containers.find(store, ref)
    names = [references.parse(reference)] if reference else []
    freezes = pause and containers.status_of(container) == "running"
    if freezes:
        life.pause(store, container.id)
    try:
        upper = f"{container.folder}/upper"
        if not os.path.isdir(upper):  # never started: nothing differs
            with root_of(store, ref):
                pass
        base = records.get(store, container.image_id)
        config = {**container.body, "Image": container.image}
        said = {"author": author, "comment": message, "created_by": " ".join(bundle.command(container.body)), "instructions": changes}
        image = images.commit(store, base, container.chain, upper, config, names=names, **said)
        with store.change():
            container.event("commit", comment=message, imageID=image.id, imageRef=str(names[0]) if names else "")
        return image.id
    finally:
        if freezes:
            life.unpause(store, container.id)
