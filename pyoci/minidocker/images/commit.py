"""A container's changes as one more layer, and an image of it; a whole tree as an image of one layer (import) or as a tar (export).

A container that changed nothing adds no layer, only a line of history.  A layer's bytes depend on the tree alone (pack.py).
Source: docker-commit(1), docker-import(1), docker-export(1), image-spec config.md (history, empty_layer).
"""

import os
import stat
import time

from pyoci.minidocker.errors import BadRequest, Conflict
from pyoci.minidocker.images import assemble, records
from pyoci.minidocker.images.changes import changes as changes_of
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.images.instructions import apply_changes
from pyoci.minidocker.images.layers import initial_layer, lowers_of
from pyoci.minidocker.images.pack import pack_tree, packed_tree

PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")
# What of a container's config (the create request) belongs into an image.
KEPT = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "StopTimeout", "Healthcheck", "Shell", "OnBuild",
    "ArgsEscaped",
)  # fmt: skip


def diff(store, chain, upper):
    """What a container on top of `chain` with this upper folder changed: changes.changes."""
    return changes_of(upper, _below(store, chain))


def _below(store, chain):
    lowers = lowers_of(store, chain)
    return [initial_layer(store.roots, chain, lowers), *lowers]


def commit(store, base, chain, upper, config, *, names=(), author="", comment="", created_by="", instructions=(), created_ns=0):
    """An image of a container.  Returns the records.Image.

    base          the records.Image that it was made of, or None with chain ""       upper   its upper folder
    config        the container's config (Engine API shape), defaults merged in      names   [Reference]
    instructions  lines of --change                                                  created_ns  now, if 0
    """
    if chain and (base is None or base.chain != chain):
        raise Conflict("the image of this container is not here any more, so its layers can't be written", "pull the image again")
    config = apply_changes({key: config[key] for key in KEPT if config.get(key)}, instructions)
    created = rfc3339(created_ns or time.time_ns())
    before = base.config if base else {}
    history = {"created": created, **_said(author=author, created_by=created_by, comment=comment)}
    with Content(store.roots).lease() as lease:
        found = layers_of(store, base, lease) if base else []
        below = _below(store, chain)
        root = _root_differs(upper, below[0])
        if root or changes_of(upper, below):
            with packed_tree(upper, layer=True, root=root) as stream:
                found.append(assemble.add_layer(store, lease, stream, chain))
        else:
            history["empty_layer"] = True
        document = {
            **({key: before[key] for key in PLATFORM if key in before} or _here()),
            **_said(author=author or before.get("author", "")),
            "created": created,
            "config": config,
            "history": [*(before.get("history") or []), history],
        }
        return assemble.add_image(store, lease, document, found, names)


def import_tree(store, stream, *, names=(), instructions=(), message="", source="-", platform=None, created_ns=0):
    """An image of one layer out of a root file system's tar, packed or not.  Returns the records.Image.  docker-import(1)"""
    config = apply_changes({}, instructions)
    created = rfc3339(created_ns or time.time_ns())
    history = {"created": created, "comment": message or f"Imported from {source}"}
    document = {**_here(), **(platform or {}), "created": created, "config": config, "history": [history]}
    with Content(store.roots).lease() as lease:
        layer = assemble.add_layer(store, lease, stream)
        return assemble.add_image(store, lease, document, [layer], names, "import")


def export_tree(rootfs, sink):
    """Write a container's mounted rootfs as a tar.  docker-export(1)"""
    pack_tree(sink, rootfs, root=False)


def layers_of(store, image, lease):
    """The records.Layer of each layer of an image, leased."""
    found = []
    for chain, blob in image.layers:
        lease.add(chain, blob)
        row = store.db.execute("select diff, size from layers where chain = ?", (chain,)).fetchone()
        if row is None or not Content(store.roots).has(blob):
            raise Conflict(f"layer {chain}: its content is not here any more", "pull the image again")
        found.append(records.Layer(chain, row["diff"], row["size"], blob))
    return found


def _root_differs(upper, lower):
    """Whether the container changed what / itself looks like."""
    mine, theirs = os.stat(upper), os.stat(lower)
    return (stat.S_IMODE(mine.st_mode), mine.st_uid, mine.st_gid) != (stat.S_IMODE(theirs.st_mode), theirs.st_uid, theirs.st_gid)


def _here():
    return {"architecture": assemble.architecture(), "os": "linux"}


def _said(**members):
    return {key: value for key, value in members.items() if value}


def rfc3339(nanoseconds):
    """`2026-11-25T05:20:17.123456789Z`."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + (f".{rest:09d}Z" if rest else "Z")


def parse_platform(text):
    """{"os", "architecture", "variant"} of `linux/arm64/v8`.  Raises BadRequest."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(part.isalnum() for part in parts):
        raise BadRequest(f"invalid platform {text!r}: os/architecture[/variant]")
    keys = ("architecture",) if len(parts) == 1 else ("os", "architecture", "variant")
    return dict(zip(keys, parts, strict=False))
