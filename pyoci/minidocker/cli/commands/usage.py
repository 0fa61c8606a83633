"""system df: what images and containers take.  docker-system-df(1)"""

import sys
import time

from pyoci.minidocker.cli.commands import ps
from pyoci.minidocker.cli.listing import listing, table
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, TEXT, Option
from pyoci.minidocker.durations import human_duration
from pyoci.minidocker.sizes import human_size

SUMMARY = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
IMAGES = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE", "SharedSize": "SHARED SIZE",
          "UniqueSize": "UNIQUE SIZE", "Containers": "CONTAINERS"}  # fmt: skip
CONTAINERS = {"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE", "RunningFor": "CREATED", "Status": "STATUS",
              "Names": "NAMES"}  # fmt: skip
VOLUMES = ("VOLUME NAME", "LINKS", "SIZE")
CACHE = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")


def disk_usage(call):
    """What images and containers take: a row a kind, or with --verbose each of them."""
    found = call.engine.system_df()
    form = call.values["format"] or ""
    if call.values["verbose"]:
        return _verbose(found, form)
    rows = [_total(kind) for kind in found["Summary"]]
    sys.stdout.write(listing(SUMMARY, rows, form, default=tuple(SUMMARY)))
    return 0


def _total(kind):
    part = f" ({100 * kind['Reclaimable'] // kind['Size']}%)" if kind["Size"] else ""
    return {"Type": kind["Type"], "TotalCount": str(kind["TotalCount"]), "Active": str(kind["Active"]), "Size": human_size(kind["Size"], 4),
            "Reclaimable": human_size(kind["Reclaimable"], 4) + part}  # fmt: skip


def _verbose(found, form):
    now_s = time.time()
    images = [_image(image, now_s, whole=bool(form)) for image in found["Images"]]
    containers = [_container(one, now_s, whole=bool(form)) for one in found["Containers"]]
    if form and form != "table":
        from pyoci.minidocker.cli.template import Template, as_json  # dear: only --format needs it

        document = {"Images": images, "Containers": containers, "Volumes": [], "BuildCache": []}
        print(as_json(document) if form == "json" else Template(form, strict=True).render(document))
        return 0
    print("Images space usage:\n\n" + listing(IMAGES, images, default=tuple(IMAGES)))
    print("Containers space usage:\n\n" + listing(CONTAINERS, containers, default=tuple(CONTAINERS)))
    print("Local Volumes space usage:\n\n" + table(VOLUMES, [])[0])
    print("\nBuild cache usage: 0B\n\n" + table(CACHE, [])[0])
    return 0


def _image(image, now_s, whole):
    from pyoci.minidocker.images import records, reference

    name = reference.parse(image["RepoTags"][0]) if image["RepoTags"] else None
    return {
        "Repository": name.familiar_name if name else "<none>", "Tag": name.tag if name else "<none>", "ID": image["Id"] if whole else records.short(image["Id"]),
        "CreatedSince": human_duration(now_s - image["Created"]) + " ago", "Size": human_size(image["Size"]), "SharedSize": human_size(image["SharedSize"], 4),
        "UniqueSize": human_size(image["Size"] - image["SharedSize"], 4), "Containers": str(image["Containers"]),
    }  # fmt: skip


def _container(summary, now_s, whole):
    row = ps.row({**summary, "SizeRootFs": 0}, whole, now_s)  # of the image's part its own row tells
    return {name: row[name] for name in ps.COLUMNS}


COMMANDS = {
    "system df": Command(disk_usage, "[OPTIONS]", "show what images and containers take", "minidocker system df", options=(
        Option("verbose", "v", FLAG, "each of them"), Option("format", "", TEXT, "table, json or a template"))),
}  # fmt: skip
