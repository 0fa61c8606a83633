"""cp, export, commit: what a container has made.  docker-cp(1), docker-export(1), docker-commit(1)"""

import contextlib
import sys

from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, TEXT, Option
from pyoci.minidocker.cli.output import written
from pyoci.minidocker.errors import BadRequest


def split_place(word):
    """(container, path) of CONTAINER:PATH, or (None, path): a path with / or . in front is a host's, even with a colon."""
    container, colon, path = word.partition(":")
    if not colon or not container or word.startswith(("/", ".")):
        return None, word
    return container, path


def copy(call):
    """Copy between a container and the host."""
    (source_ref, source), (target_ref, target) = map(split_place, call.arguments)
    if source_ref and target_ref:
        raise BadRequest("copying between containers is not supported")
    if not source_ref and not target_ref:
        raise BadRequest("must specify at least one container source", hint="CONTAINER:PATH names a file in a container")
    options = {"follow_links": bool(call.values["follow-link"]), "keep_ids": bool(call.values["archive"])}
    if source_ref:
        with written(None, "an archive") if target == "-" else contextlib.nullcontext():
            call.engine.copy_out(source_ref, source, target, **options)
    else:
        call.engine.copy_in(target_ref, source, target, **options)
    if not call.values["quiet"] and sys.stderr.isatty() and "-" not in (source, target):
        print(f"Successfully copied {call.arguments[0]} to {call.arguments[1]}", file=sys.stderr)


def export(call):
    """Write a container's file system as a tar."""
    with written(call.values["output"], "an archive") as sink:
        call.engine.export(call.arguments[0], sink)


def commit(call):
    """An image of what a container has become."""
    values = call.values
    reference = call.arguments[1] if len(call.arguments) > 1 else ""
    print(call.engine.commit(call.arguments[0], reference, author=values["author"] or "", message=values["message"] or "", changes=values["change"], pause=values["pause"]))


OUTPUT = Option("output", "o", TEXT, "file to write, instead of standard output")
COMMANDS = {
    "cp": Command(copy, "[OPTIONS] CONTAINER:PATH PATH|-  or  PATH|- CONTAINER:PATH", "copy files between a container and the host",
                  "minidocker cp web:/etc/passwd .", least=2, most=2, options=(
        Option("archive", "a", FLAG, "keep owner and group"),
        Option("follow-link", "L", FLAG, "copy what a symbolic link points to"),
        Option("quiet", "q", FLAG, "say nothing"))),
    "export": Command(export, "[OPTIONS] CONTAINER", "write a container's file system as a tar", "minidocker export -o rootfs.tar web", least=1, most=1, options=(OUTPUT,)),
    "commit": Command(commit, "[OPTIONS] CONTAINER [NAME[:TAG]]", "make an image of a container", "minidocker commit -m 'with data' web my-web:2", least=1, most=2, options=(
        Option("author", "a", TEXT, "author, for the image's config"),
        Option("message", "m", TEXT, "comment for the history"),
        Option("change", "c", LIST, "a Dockerfile instruction to apply, such as 'CMD [\"sh\"]'"),
        Option("pause", "p", FLAG, "pause the container meanwhile (default true)"))),
}  # fmt: skip
