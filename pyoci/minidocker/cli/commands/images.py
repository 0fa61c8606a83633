"""images, tag, rmi, history, image make.  docker-images(1), docker-tag(1), docker-rmi(1), docker-history(1)"""

import sys
import time

from pyoci.minidocker.cli.commands.each import for_each
from pyoci.minidocker.cli.commands.ps import filters
from pyoci.minidocker.cli.listing import listing
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, TEXT, Option
from pyoci.minidocker.cli.values import FALSE, TRUE, switch
from pyoci.minidocker.durations import human_duration
from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.images import records, reference
from pyoci.minidocker.sizes import human_size

COLUMNS = {
    "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
    "Size": "SIZE", "Containers": "CONTAINERS",
}  # fmt: skip
NONE = "<none>"
FILTERS = ("dangling", "label", "reference", "before", "since")
HISTORY = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"}
CREATED_BY_WIDTH = 45


def _rows(image, whole, digests, now_s):
    """A row a name; one with <none> for an image without any."""
    names = [reference.parse(name) for name in image.tags]
    by_name = {}
    for name in map(reference.parse, image.digests):
        by_name.setdefault(name.familiar_name, []).append(name.digest)
    shown = [(name.familiar_name, name.tag, digest) for name in names for digest in (by_name.get(name.familiar_name) if digests else None) or [NONE]]
    if not names:
        shown = [(name, NONE, digest) for name, found in by_name.items() for digest in found] or [(NONE, NONE, NONE)]
    created_s = records.created_ns(image) // 10**9
    says = created_s or image.config.get("created")  # 1970 is a time, too, of reproducible builds
    for repository, tag, digest in shown:
        yield {
            "Repository": repository, "Tag": tag, "Digest": digest, "ID": image.id if whole else image.short_id,
            "CreatedSince": human_duration(now_s - created_s) + " ago" if says else "N/A",
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(created_s)), "Size": human_size(image.size), "Containers": "N/A",
        }  # fmt: skip


def _matches(image, wanted, store):
    """Whether an image meets the filters."""
    if any(switch(word, "dangling") == bool(image.tags) for word in wanted.get("dangling", ())):
        return False
    labels = (image.config.get("config") or {}).get("Labels") or {}
    for word in wanted.get("label", ()):
        key, equals, value = word.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    made = records.created_ns(image)
    for key, meets in (("before", lambda other: made < other), ("since", lambda other: made > other)):
        if not all(meets(records.created_ns(records.find(store, word))) for word in wanted.get(key, ())):
            return False
    patterns = wanted.get("reference", ())
    return not patterns or any(_bears(image, pattern) for pattern in patterns)


def _bears(image, pattern):
    import fnmatch  # cold: a pattern

    names = [reference.parse(name) for name in image.tags]
    return any(fnmatch.fnmatchcase(word, pattern) for name in names for word in (name.familiar(), name.familiar_name))


def images(call):
    """List images."""
    values = call.values
    wanted = filters(values["filter"], FILTERS)
    if call.arguments:
        name = call.arguments[0]
        wanted.setdefault("reference", []).append(name if ":" in name.rpartition("/")[2] or "*" in name else f"{name}:*")
    for word in wanted.get("dangling", ()):
        if word not in TRUE + FALSE:
            raise BadRequest(f"invalid filter 'dangling={word}'")
    store = call.engine.store
    now_s = time.time()
    whole, digests = bool(values["no-trunc"]), bool(values["digests"]) or ".Digest" in (values["format"] or "")
    rows = []
    for image in sorted(records.all_images(store), key=records.created_ns, reverse=True):
        if _matches(image, wanted, store):
            for row in _rows(image, whole, digests, now_s):
                name = f"{row['Repository']}:{row['Tag']}"
                if not wanted.get("reference") or any(_bears_word(name, row["Repository"], pattern) for pattern in wanted["reference"]):
                    rows.append(row)
    if values["quiet"] and not values["format"]:
        rows = list({row["ID"]: row for row in rows}.values())
    default = ("Repository", "Tag", *(("Digest",) if values["digests"] else ()), "ID", "CreatedSince", "Size")
    sys.stdout.write(listing(COLUMNS, rows, values["format"] or "", "ID" if values["quiet"] else None, default))


def _bears_word(name, repository, pattern):
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(repository, pattern)


def tag(call):
    """Give an image a further name."""
    records.tag(call.engine.store, *call.arguments)


def remove(call):
    """Remove names, and images with their last name."""
    store, force = call.engine.store, bool(call.values["force"])

    def show(done):
        print("".join(f"{word}: {what}\n" for word, what in done), end="")

    return for_each(call.arguments, lambda name: records.remove(store, name, force), show, may_lack=force)


def history(call):
    """The steps by which an image was made, the newest first."""
    values = call.values
    store = call.engine.store
    whole, human = bool(values["no-trunc"]), values["human"] is None or values["human"]
    rows, now_s = [], time.time()
    for step in records.history(store, records.find(store, call.arguments[0])):
        by = step["CreatedBy"].replace("\t", " ")
        rows.append({
            "ID": step["Id"] if whole or step["Id"] == "<missing>" else records.short(step["Id"]),
            "CreatedSince": human_duration(now_s - step["Created"]) + " ago" if step["Created"] else "N/A",
            "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(step["Created"])),
            "CreatedBy": by if whole or len(by) <= CREATED_BY_WIDTH else by[: CREATED_BY_WIDTH - 1] + "…",
            "Size": human_size(step["Size"]) if human else str(step["Size"]), "Comment": step["Comment"],
        })  # fmt: skip
    default = ("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment")
    sys.stdout.write(listing(HISTORY, rows, values["format"] or "", "ID" if values["quiet"] else None, default))


def make(call):
    """An image without any registry: the host's busybox, or a directory or tar."""
    from pyoci.minidocker.images.make import make_busybox, make_image

    store, words = call.engine.store, call.arguments
    if words[0] == "busybox":
        image = make_busybox(store, words[1] if len(words) > 1 else "busybox")
    elif len(words) == 2:
        image = make_image(store, words[0], words[1], call.values["change"])
    else:
        raise BadRequest(f"{words[0]}: a name for the image is missing", hint=f"minidocker image make {words[0]} NAME")
    print(f"{image.id}")


COMMANDS = {
    "images": Command(images, "[OPTIONS] [REPOSITORY[:TAG]]", "list images", "minidocker images --format '{{.Repository}}:{{.Tag}} {{.Size}}'", most=1, options=(
        Option("all", "a", FLAG, "accepted; there are no hidden images"),
        Option("quiet", "q", FLAG, "print ids only"),
        Option("filter", "f", LIST, "show those that match, such as dangling=true or label=a=b"),
        Option("format", "", TEXT, "table, json or a template"),
        Option("no-trunc", "", FLAG, "don't cut ids"),
        Option("digests", "", FLAG, "show digests"))),
    "tag": Command(tag, "IMAGE NEW_NAME[:TAG]", "give an image a further name", "minidocker tag busybox localhost:5000/busybox:1", least=2, most=2),
    "rmi": Command(remove, "[OPTIONS] IMAGE [IMAGE...]", "remove images", "minidocker rmi busybox", least=1, most=None, frees=True, options=(
        Option("force", "f", FLAG, "remove it although a stopped container uses it, or it has several names"),
        Option("no-prune", "", FLAG, "accepted; layers that nothing needs are always removed"))),
    "history": Command(history, "[OPTIONS] IMAGE", "show how an image was made", "minidocker history busybox", least=1, most=1, options=(
        Option("human", "H", FLAG, "sizes and times for people (default true)"),
        Option("no-trunc", "", FLAG, "don't cut"),
        Option("quiet", "q", FLAG, "print ids only"),
        Option("format", "", TEXT, "table, json or a template"))),
    "image make": Command(make, "busybox [NAME] | DIRECTORY NAME | TAR NAME", "make an image without a registry", "minidocker image make busybox", least=1, most=2,
                          options=(Option("change", "c", LIST, "a Dockerfile instruction to apply, such as 'CMD [\"sh\"]'"),)),
}  # fmt: skip
