"""info and version: what this MiniDocker is, in docker's words and order.  docker-info(1), docker-version(1)"""

from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import TEXT, Option
from pyoci.minidocker.cli.template import Template, as_json
from pyoci.minidocker.cli.visible import visible
from pyoci.minidocker.sizes import binary_size

# (blanks before it, label, key of SystemInfo)
INFO = (
    (1, "Containers", "Containers"), (2, "Running", "ContainersRunning"), (2, "Paused", "ContainersPaused"), (2, "Stopped", "ContainersStopped"), (1, "Images", "Images"),
    (1, "Server Version", "ServerVersion"), (1, "Storage Driver", "Driver"), (2, "", "DriverStatus"), (1, "Logging Driver", "LoggingDriver"),
    (1, "Cgroup Driver", "CgroupDriver"), (1, "Cgroup Version", "CgroupVersion"), (1, "Plugins", "Plugins"), (1, "Swarm", "Swarm"), (1, "Runtimes", "Runtimes"),
    (1, "Default Runtime", "DefaultRuntime"), (1, "Init Binary", "InitBinary"), (1, "Security Options", "SecurityOptions"), (1, "Kernel Version", "KernelVersion"),
    (1, "Operating System", "OperatingSystem"), (1, "OSType", "OSType"), (1, "Architecture", "Architecture"), (1, "CPUs", "NCPU"), (1, "Total Memory", "MemTotal"),
    (1, "Name", "Name"), (1, "ID", "ID"), (1, "Docker Root Dir", "DockerRootDir"), (1, "Debug Mode", "Debug"), (1, "Experimental", "ExperimentalBuild"),
    (1, "Live Restore Enabled", "LiveRestoreEnabled"),
)  # fmt: skip


def _print(call, document, text):
    form = call.values["format"] or ""
    if form:
        print(as_json(document) if form == "json" else Template(form, strict=True).render(document))
    else:
        print(text(document))


def _line(blanks, label, value):
    return f"{' ' * blanks}{label}: {visible(str(value).lower() if isinstance(value, bool) else str(value))}"


# What is no plain word: lines of a value below their label.
SPECIAL = {
    "DriverStatus": lambda value: [_line(2, name, text) for name, text in value],
    "Plugins": lambda value: [" Plugins:", *(_line(2, kind, " ".join(names)) for kind, names in value.items() if names)],
    "Swarm": lambda value: [_line(1, "Swarm", value["LocalNodeState"])],
    "Runtimes": lambda value: [_line(1, "Runtimes", " ".join(value))],
    "MemTotal": lambda value: [_line(1, "Total Memory", binary_size(value))],
    "SecurityOptions": lambda value: [" Security Options:", *(line for option in value for line in _security(option))],
}


def _security(option):
    """`name=seccomp,profile=builtin` as its name, and what else it says below."""
    words = dict(word.partition("=")[::2] for word in option.split(","))
    return [f"  {words.pop('name', '')}", *(_line(3, key.capitalize(), text) for key, text in words.items())]


def info(call):
    """What this MiniDocker is and has."""
    _print(call, call.engine.info(), _info_text)


def _info_text(found):
    lines = ["Client:", _line(1, "Version", found["ServerVersion"]), _line(1, "Debug Mode", found["Debug"]), "", "Server:"]
    for blanks, label, key in INFO:
        lines += SPECIAL[key](found[key]) if key in SPECIAL else [_line(blanks, label, found[key])]
    return "\n".join(lines)


def version(call):
    """The versions of MiniDocker, its runtime, Python and the kernel."""
    found = call.engine.version()
    client = {key: found[key] for key in ("Platform", "Version", "ApiVersion", "GitCommit", "GoVersion", "Os", "Arch", "BuildTime")}
    _print(call, {"Client": client, "Server": found}, _version_text)


def _version_text(found):
    client, server = found["Client"], found["Server"]
    lines = ["Client:", *_versions(1, client), "", f"Server: {server['Platform']['Name']}"]
    for component in server["Components"]:
        lines += [f" {component['Name']}:", *_versions(2, {"Version": component["Version"], **component["Details"]})]
    return "\n".join(lines)


def _versions(blanks, facts):
    """Docker's lines of what there is of them; Python stands where Go does."""
    api = facts.get("ApiVersion", "") + (f" (minimum version {facts['MinAPIVersion']})" if "MinAPIVersion" in facts else "")
    python = facts.get("GoVersion", "").removeprefix("python")
    rows = (("Version", facts["Version"]), ("API version", api), ("Python version", python), ("OS/Arch", "/".join(filter(None, (facts.get("Os"), facts.get("Arch"))))),
            ("Kernel version", facts.get("KernelVersion", "")))  # fmt: skip
    return [f"{' ' * blanks}{label + ':':{20 - blanks}}{text}" for label, text in rows if text]


FORMAT = Option("format", "f", TEXT, "json or a template")
COMMANDS = {
    "info": Command(info, "[OPTIONS]", "show what this MiniDocker is and has", "minidocker info --format '{{.Driver}}'", options=(FORMAT,)),
    "version": Command(version, "[OPTIONS]", "show versions", "minidocker version", options=(FORMAT,)),
}  # fmt: skip
