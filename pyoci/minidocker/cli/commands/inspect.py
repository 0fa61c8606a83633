"""inspect: all that is known of containers and images.  docker-inspect(1)"""

import json

from pyoci.errors import PyociError
from pyoci.minidocker.cli.main import FAILED, Command, say
from pyoci.minidocker.cli.options import FLAG, TEXT, Option
from pyoci.minidocker.cli.template import Fields, Nil, Template, as_json
from pyoci.minidocker.cli.visible import json_escaped
from pyoci.minidocker.errors import BadRequest, NotFound


# What is a map, by the names of its holder and its own: any key may be asked for.
MAPS = {
    ("Config", "Labels"), ("Config", "ExposedPorts"), ("Config", "Volumes"), ("LogConfig", "Config"), ("HostConfig", "Tmpfs"), ("HostConfig", "Sysctls"),
    ("HostConfig", "PortBindings"),
    ("HostConfig", "Annotations"), ("HostConfig", "StorageOpt"), ("NetworkSettings", "Networks"), ("NetworkSettings", "Ports"), ("GraphDriver", "Data"),
}  # fmt: skip
# Fields that JSON leaves out while they are empty, by their holder.
UNSAID = {
    "": {"SizeRw": None, "SizeRootFs": None, "Parent": "", "Comment": "", "Author": ""},
    "State": {"Health": None},
    "Config": {"StopSignal": "", "StopTimeout": None, "Healthcheck": None, "ExposedPorts": None, "Volumes": None, "Labels": None, "Shell": None,
               "Entrypoint": None, "OnBuild": None, "User": "", "WorkingDir": "", "Cmd": None, "Env": None, "ArgsEscaped": False},
    "HostConfig": {"Init": None, "Mounts": None, "Tmpfs": None, "Sysctls": None, "Annotations": None, "StorageOpt": None, "GroupAdd": None},
}  # fmt: skip
# Lists and maps of Go's, by their holder, that are null in JSON while they are empty.
NULL_LISTS = {
    "": {"ExecIDs", "Args", "RepoTags", "RepoDigests"},
    "Config": {"Env", "Cmd", "Entrypoint", "OnBuild", "Shell"},
    "HostConfig": {"Binds", "VolumesFrom", "CapAdd", "CapDrop", "ExtraHosts", "GroupAdd", "Links", "SecurityOpt", "DeviceCgroupRules", "DeviceRequests", "Mounts"},
}  # fmt: skip


def _null(name, key):
    """What stands for null in a field."""
    if (name, key) in MAPS:
        return Nil("map[]")
    return Nil("[]") if key in NULL_LISTS.get(name, ()) else None


def _fields(document, name=""):
    """The document with its objects as Fields."""
    made = Fields()
    made.unsaid = {key: _null(name, key) if value is None else value for key, value in UNSAID.get(name, {}).items()}
    for key, value in document.items():
        value = _null(name, key) if value is None else value
        made[key] = _fields(value, key) if isinstance(value, dict) and (name, key) not in MAPS else value
    return made


def _image(call, name):
    from pyoci.minidocker.images import records

    return records.inspect(call.engine.store, records.find(call.engine.store, name))


def _container(call, name):
    return call.engine.inspect(name, size=bool(call.values["size"]))


def _either(call, name):
    try:
        return _container(call, name)
    except NotFound as error:
        hint = error.hint
    try:
        return _image(call, name)
    except (NotFound, BadRequest) as error:
        raise NotFound(f"No such object: {name}", hint=getattr(error, "hint", "") or hint) from error


def _show(call, find):
    form = call.values["format"] or ""
    template = Template(form) if form not in ("", "json") else None
    found, status = [], 0
    for name in call.arguments:
        try:
            found.append(find(call, name))
        except PyociError as error:
            say(error)
            status = FAILED
    if not form:
        print(json_escaped(json.dumps(found, indent=4, ensure_ascii=False)))
    for document in found if form else ():
        print(template.render(_fields(document)) if template else as_json(document))
    return status


def inspect(call):
    """Containers, or images, or what bears the name."""
    kinds = {"": _either, "container": _container, "image": _image}
    if (call.values["type"] or "") not in kinds:
        raise BadRequest(f'"{call.values["type"]}" is not a valid value for --type: container or image')
    return _show(call, kinds[call.values["type"] or ""])


def container_inspect(call):
    """Containers alone."""
    return _show(call, _container)


def image_inspect(call):
    """Images alone."""
    return _show(call, _image)


FORMAT = Option("format", "f", TEXT, "json or a template")
COMMANDS = {
    "inspect": Command(inspect, "[OPTIONS] NAME [NAME...]", "show all that is known of containers or images", "minidocker inspect -f '{{.State.Status}}' web", least=1, most=None,
                       options=(FORMAT, Option("type", "", TEXT, "container or image"), Option("size", "s", FLAG, "sizes too"))),
    "container inspect": Command(container_inspect, "[OPTIONS] CONTAINER [CONTAINER...]", "show all that is known of containers",
                                 "minidocker container inspect -f '{{.State.Status}}' web", least=1, most=None,
                                 options=(FORMAT, Option("size", "s", FLAG, "sizes too"))),
    "image inspect": Command(image_inspect, "[OPTIONS] IMAGE [IMAGE...]", "show all that is known of images", "minidocker image inspect busybox",
                             least=1, most=None, options=(FORMAT,)),
}  # fmt: skip
