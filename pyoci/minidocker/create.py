"""Creating a container: the request judged, the image's defaults filled in, the record written.  Nothing of the host is touched but the two folders.

Source: Engine API v1.44 ContainerCreate; docker-create(1); what dockerd refuses.
"""

import os

from pyoci.minidocker import bundle, containers
from pyoci.minidocker.errors import BadRequest, MiniDockerError, NotFound, RegistryProblem, nearest
from pyoci.minidocker.judge import judge, judge_merged
from pyoci.minidocker.paths import Roots  # noqa: F401 - for whoever makes an Engine
from pyoci.minidocker.runtimes import check_runtime


class Created:
    """`id`, and `warnings`: strings.  `hold`: a descriptor that keeps prune away until it is closed, or -1."""

    __slots__ = ("hold", "id", "warnings")

    def __init__(self, container_id, warnings, hold=-1):
        self.id = container_id
        self.warnings = warnings
        self.hold = hold


def words(value):
    """A command as a list: the API allows a string too."""
    return [value] if isinstance(value, str) else list(value or [])


def merge(body, config):
    """The request with the image config's defaults filled in, by docker's rules.  config: image-spec config.md#properties `config`."""
    made = dict(body)
    made["Labels"] = {**(config.get("Labels") or {}), **(body.get("Labels") or {})}
    made["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **(body.get("ExposedPorts") or {})}
    made["Volumes"] = {**(config.get("Volumes") or {}), **(body.get("Volumes") or {})}
    for name in ("User", "WorkingDir", "StopSignal", "Shell"):
        made[name] = body.get(name) or config.get(name) or ("" if name != "Shell" else None)
    given = list(body.get("Env") or [])
    named = {word.partition("=")[0] for word in given}
    made["Env"] = given + [word for word in config.get("Env") or [] if word.partition("=")[0] not in named]
    entrypoint, command = body.get("Entrypoint"), words(body.get("Cmd"))
    if entrypoint is None:
        entrypoint = words(config.get("Entrypoint"))
        command = command or words(config.get("Cmd"))
    else:
        entrypoint = [word for word in words(entrypoint) if word] if words(entrypoint) == [""] else words(entrypoint)
    made["Entrypoint"], made["Cmd"] = entrypoint or None, command or None
    made["Healthcheck"] = _merged_check(body.get("Healthcheck"), config.get("Healthcheck"))
    return made


def _merged_check(given, from_image):
    if not given:
        return from_image
    if not from_image or given.get("Test") == ["NONE"]:
        return given
    return {**from_image, **{name: value for name, value in given.items() if value}}


def find_image(store, body, *, pull="missing", platform="", progress=None):
    """The Image of a request, pulled if it is not here (or by `pull`: always, missing, never).  Raises NotFound, BadRequest."""
    from pyoci.minidocker.images import records

    name = body.get("Image") or ""
    if not name:
        raise BadRequest("no image was named")
    if pull not in ("always", "missing", "never"):
        raise BadRequest(f"invalid pull option: '{pull}': must be one of always, missing or never")
    if pull != "always":
        try:
            image = records.find(store, name)
            if not platform or _fits(image, platform):
                return image
        except NotFound:
            if pull == "never":
                raise
    from pyoci.minidocker.images.pull import pull as pull_image

    try:
        return pull_image(store, name, platform, progress() if callable(progress) else progress)
    except RegistryProblem as error:
        error.hint = _nearest_image(store, name) or error.hint
        raise


def _nearest_image(store, name):
    """A hint to the image of this host that may have been meant: a name without a registry's host is more often misspelt than elsewhere."""
    from pyoci.minidocker.images import records, reference

    known = [reference.parse(tag).familiar() for image in records.all_images(store) for tag in image.tags]
    hint = nearest(reference.parse(name).familiar(), known)
    return hint and f"{hint} It is on this host"


def _fits(image, platform):
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    if not rest:
        system, architecture = "linux", system
    config = image.config
    return config.get("os", "linux") == system and config.get("architecture", "") == architecture and (not variant or config.get("variant", "") == variant)


def _platform_warning(image, platform):
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    theirs = image.config.get("architecture") or machine
    if platform or theirs == machine:
        return []
    return [
        f"The requested image's platform ({image.config.get('os', 'linux')}/{theirs}) does not match the detected host platform (linux/{machine}) "
        "and no specific platform was requested"
    ]


def create(store, body, name="", *, runtime="", pull="missing", platform="", progress=None, starts=False):
    """Create a container.  Returns Created; raises BadRequest, Conflict, NotFound, and then nothing is left.  starts: give it a `hold`."""
    if name:
        name = containers.check_name(name)
        containers.refuse_taken_name(store.db, name)
    warnings = judge(body)
    image = find_image(store, body, pull=pull, platform=platform, progress=progress)
    warnings += _platform_warning(image, platform)
    made = merge(body, image.config.get("config") or {})
    host = made["HostConfig"] = dict(body.get("HostConfig") or {})
    if runtime or host.get("Runtime"):
        host["Runtime"] = check_runtime(host.get("Runtime") or runtime)
    judge_merged(made)
    if not bundle.command(made):
        raise BadRequest("no command specified", hint="the image names none: give one after the image's name")
    bundle.check_words("argument", bundle.command(made))
    bundle.check_words("environment variable", made["Env"])
    container_id = containers.new_id()
    if not made.get("Hostname"):
        made["Hostname"] = "" if host.get("UTSMode") == "host" or host.get("NetworkMode") == "host" else container_id[:12]
    folder = store.roots.container(container_id)
    try:
        os.makedirs(folder, 0o710)
    except OSError as error:
        raise MiniDockerError(f"make {folder}: {error.strerror}") from error
    hold = -1
    try:
        if starts:
            hold = containers.hold_start(store.roots, container_id)
        containers.insert(store, container_id, name, body.get("Image", ""), image.id, image.chain, made)
    except BaseException:
        containers.remove_folders(store.roots, container_id)
        if hold >= 0:
            os.close(hold)
        raise
    return Created(container_id, warnings, hold)
