"""save, load, import: images as files.  docker-save(1), docker-load(1), docker-import(1)"""

import os

from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, TEXT, Option
from pyoci.minidocker.cli.output import written
from pyoci.minidocker.errors import BadRequest, MiniDockerError


def save(call):
    """Write images into one archive."""
    from pyoci.minidocker.images import archive

    with written(call.values["output"], "an archive") as sink:
        archive.save(call.engine.store, call.arguments, sink)


def _opened(path):
    if path in (None, "-"):
        if os.isatty(0):
            raise BadRequest("requested load from stdin, but stdin is empty", hint="name a file with --input, or redirect one")
        return open(0, "rb", buffering=0, closefd=False)
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise MiniDockerError(f"open {path}: {error.strerror}") from error


def load(call):
    """Read images from an archive."""
    from pyoci.minidocker.images import archive
    from pyoci.minidocker.images.commit import parse_platform

    platform = parse_platform(call.values["platform"]) if call.values["platform"] else None
    with _opened(call.values["input"]) as stream:
        found = archive.load(call.engine.store, stream, platform=platform)
    for image, names in found:
        for name in names:
            print(f"Loaded image: {name.familiar()}")
        if not names:
            print(f"Loaded image ID: {image.id}")


def import_tree(call):
    """An image out of a root file system's tar."""
    from pyoci.minidocker.images import reference
    from pyoci.minidocker.images.commit import import_tree as import_stream
    from pyoci.minidocker.images.commit import parse_platform

    source, values = call.arguments[0], call.values
    if source.startswith(("http://", "https://")):
        raise BadRequest(f"{source}: import reads a file or standard input", hint=f"curl -fL {source} | minidocker import -")
    names = [reference.parse(call.arguments[1])] if len(call.arguments) > 1 else []
    platform = parse_platform(values["platform"]) if values["platform"] else None
    with _opened(source) as stream:
        image = import_stream(call.engine.store, stream, names=names, instructions=values["change"], message=values["message"] or "", source=source, platform=platform)
    print(image.id)


PLATFORM = Option("platform", "", TEXT, "platform, such as linux/arm64")
COMMANDS = {
    "save": Command(save, "[OPTIONS] IMAGE [IMAGE...]", "write images into one archive", "minidocker save -o busybox.tar busybox", least=1, most=None,
                    options=(Option("output", "o", TEXT, "file to write, instead of standard output"),)),
    "load": Command(load, "[OPTIONS]", "read images from an archive", "minidocker load -i busybox.tar", options=(
        Option("input", "i", TEXT, "file to read, instead of standard input"), Option("quiet", "q", FLAG, "accepted; no progress is shown anyway"), PLATFORM)),
    "import": Command(import_tree, "[OPTIONS] FILE|- [NAME[:TAG]]", "make an image of a root file system's tar", "minidocker import rootfs.tar.gz my-base",
                      least=1, most=2, options=(
        Option("change", "c", LIST, "a Dockerfile instruction to apply, such as 'CMD [\"sh\"]'"), Option("message", "m", TEXT, "comment for the history"), PLATFORM)),
}  # fmt: skip
