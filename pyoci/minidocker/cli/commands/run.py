"""run and create.  docker-run(1), docker-create(1)"""

import sys

from pyoci.minidocker.cli import flags
from pyoci.minidocker.cli.commands.each import check_terminal, foreground_status
from pyoci.minidocker.cli.main import Command, warn
from pyoci.minidocker.cli.visible import visible
from pyoci.minidocker.errors import BadRequest


def _create(call, body, starts=False):
    """The id of a new container; the cidfile is written last, and refused first."""
    values = call.values
    cidfile = values["cidfile"] and _new_cidfile(values["cidfile"])
    pull = values["pull"] or "missing"
    if pull not in ("always", "missing", "never"):
        raise BadRequest(f'invalid --pull "{pull}": always, missing or never')
    created = call.engine.create(body, values["name"] or "", pull=pull, platform=values["platform"] or "", progress=_progress(call), starts=starts)
    for warning in created.warnings:
        warn(warning)
    if cidfile:
        cidfile.write(created.id)
        cidfile.close()
    return created.id


def _new_cidfile(path):
    try:
        return open(path, "x")  # noqa: SIM115 - closed by who writes it
    except FileExistsError as error:
        raise BadRequest(f"container ID file found, make sure the other container isn't running or delete {path}") from error
    except OSError as error:
        raise BadRequest(f"cidfile {path}: {error.strerror}") from error


def _progress(call):
    """What shows a pull, made when there is one: callable() -> progress object, or None for --quiet."""
    if call.values["quiet"]:
        return None

    def make():
        from pyoci.minidocker.images import reference
        from pyoci.minidocker.images.progress import for_stream

        if call.values["pull"] != "always":
            print(f"Unable to find image '{reference.parse(call.arguments[0]).familiar()}' locally", file=sys.stderr)
        return for_stream(sys.stderr)

    return make


def _body(call):
    return flags.request(call.values, call.arguments[0], call.arguments[1:])


def run(call):
    """Create, start, and stay with it unless -d."""
    body = _body(call)
    values = call.values
    if values["plan"]:
        sys.stdout.write(visible(call.engine.plan_run(body, values["name"] or ""), "\n"))
        return 0
    check_terminal(body)
    container_id = _create(call, body, starts=True)
    if values["detach"]:
        try:
            call.engine.start(container_id)
        finally:
            print(container_id, flush=True)  # one that could not be started is there
        return 0
    proxy = values["sig-proxy"]
    return foreground_status(call.engine.run_attached(container_id, detach_keys=values["detach-keys"] or "", sig_proxy=proxy is None or proxy))


def create(call):
    """Create, and print the id."""
    body = _body(call)
    if call.values["plan"]:
        sys.stdout.write(visible(call.engine.plan_create(body, call.values["name"] or ""), "\n"))
        return
    print(_create(call, body))


USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
NOT_FOR_CREATE = ("detach", "sig-proxy", "detach-keys")
COMMANDS = {
    "run": Command(run, USAGE, "create a container from an image and start it", "minidocker run -it --rm busybox sh", options=flags.GROUPS, least=1, most=None, interspersed=False),
    "create": Command(
        create, USAGE, "create a container without starting it", "minidocker create --name web -m 64m busybox httpd -f",
        options={heading: tuple(option for option in group if option.name not in NOT_FOR_CREATE) for heading, group in flags.GROUPS.items()},
        least=1, most=None, interspersed=False),
}  # fmt: skip
