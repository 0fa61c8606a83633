"""What is made of a container's file system: its changes, a tar of it, an image of it.

Source: docker-diff(1), docker-export(1), docker-commit(1).
"""

import json
import os

from pyoci.minidocker import bundle, containers
from pyoci.minidocker.copy import root_of
from pyoci.minidocker.images.rootless import in_user_namespace


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


def commit(store, ref, reference="", *, author="", message="", changes=(), pause=None, warn=None):
    """An image of a container as it is; a running one is frozen meanwhile, with `pause`; None: if it can be.  Returns the image's id."""
    from pyoci.minidocker import life
    from pyoci.minidocker.images import commit as images
    from pyoci.minidocker.images import records
    from pyoci.minidocker.images import reference as references

    container = containers.find(store, ref)
    names = [references.parse(reference)] if reference else []
    freezes = pause is not False and containers.status_of(container) == "running"
    if freezes and pause is None and in_user_namespace():
        freezes = _can_freeze(container, warn)
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
            for name in names:
                store.add_event("image", "tag", image.id, {"name": name.familiar()})
        return image.id
    finally:
        if freezes:
            life.unpause(store, container.id)


def _can_freeze(container, warn):
    """Whether a user's container has a cgroup to freeze; that it has none is told."""
    with open(f"{container.folder}/bundle/config.json", encoding="utf-8") as file:
        if "cgroupsPath" in json.load(file)["linux"]:
            return True
    if warn:
        warn(f"container {container.name} goes on while it is committed: without a cgroup it can't be paused")
    return False
