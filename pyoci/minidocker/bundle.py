"""The create request and what only this host can say become config.json, as docker's would be.  Pure: no files, no clock, no kernel.

`make(body, facts)` gives the config.  Its parts: bundle_mounts.py, bundle_limits.py, bundle_security.py.
Source: Engine API v1.44 ContainerCreate; runtime-spec 1.3.0 config.md, config-linux.md; what docker's own bundles hold.
"""

from pyoci.minidocker import bundle_limits, bundle_mounts, bundle_security
from pyoci.minidocker.errors import BadRequest

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT = "/sbin/docker-init"
# What a container may not see, and what it may not change; docker-run(1), --security-opt systempaths.
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Facts:
    """What the host and the image say.

    apparmor       the profile's name, or ""
    id             the container's
    rootfs         its absolute path
    user           {"uid", "gid", "additionalGids"}
    hostname       "" to keep the host's
    files          {"/etc/hosts": path on the host, ...}
    binds          mounts that are resolved already: config.md#mounts
    namespaces     {kind: ""} for a new one, {kind: path} to join; a kind that is not there is the host's
    shm            "tmpfs", "host", or the path of another's
    devices        [{"path", "type", "major", "minor", "fileMode", "uid", "gid"}] to make
    numbers        {path of a block device: (major, minor)} for the blkio limits
    held           capabilities that this process can give
    is_cgroup2     the host has the unified hierarchy alone
    init           path of the init to put in, or ""
    seccomp        linux.seccomp as the user's file has it, or None for the default profile
    confined       what is known of a user namespace (confined.Confined), or None for the host's root
    """

    __slots__ = ("apparmor", "binds", "confined", "devices", "files", "held", "hostname", "id", "init", "is_cgroup2", "namespaces", "numbers", "rootfs", "seccomp",
                 "shm", "user")  # fmt: skip

    def __init__(self, **values):
        for name in self.__slots__:
            setattr(self, name, values[name])


def make(body, facts):
    """config.json as a dict."""
    host = body.get("HostConfig") or {}
    security = bundle_security.options(host)
    config = {
        "ociVersion": "1.0.2",
        "process": process(body, host, facts, security),
        "root": {"path": facts.rootfs, "readonly": bool(host.get("ReadonlyRootfs"))},
        "mounts": bundle_mounts.mounts(host, facts),
        "annotations": {**(host.get("Annotations") or {}), **(body.get("Annotations") or {})},
        "linux": linux(host, facts, security, config_capabilities := bundle_security.capabilities(host, facts.held)),
    }
    config["process"]["capabilities"] = bundle_security.capability_sets(config_capabilities, facts.user["uid"])
    if "uts" in facts.namespaces and not facts.namespaces["uts"]:
        config["hostname"] = facts.hostname
        if body.get("Domainname"):
            config["domainname"] = body["Domainname"]
    if facts.confined:
        from pyoci.minidocker.bundle_rootless import adapt  # never for root

        adapt(config, facts)
    return config


def process(body, host, facts, security):
    """config.md#process, but for the capabilities."""
    made = {
        "terminal": bool(body.get("Tty")),
        "user": facts.user,
        "args": [*([INIT, "--"] if facts.init else []), *command(body)],
        "env": environment(body, facts.hostname),
        "cwd": body.get("WorkingDir") or "/",
        "noNewPrivileges": security.no_new_privileges,
    }
    size = host.get("ConsoleSize")
    if made["terminal"] and size and all(size):
        made["consoleSize"] = {"height": size[0], "width": size[1]}
    if host.get("OomScoreAdj"):
        made["oomScoreAdj"] = host["OomScoreAdj"]
    if limits := bundle_limits.rlimits(host):
        made["rlimits"] = limits
    if facts.apparmor:
        made["apparmorProfile"] = facts.apparmor
    if security.label:
        made["selinuxLabel"] = security.label
    return made


def command(body):
    """What is executed: the entry point and its arguments."""
    return [*(body.get("Entrypoint") or []), *(body.get("Cmd") or [])]


def check_words(what, words):
    """Raise BadRequest for a word that config.json, which is UTF-8, can't hold: it would reach the program as another."""
    for word in words:
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            shown = word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise BadRequest(f"{what} '{shown}' is not UTF-8", hint="a file or standard input carries any bytes")


def environment(body, hostname):
    """The environment: docker's three, then what image and user set; a name alone takes a variable away."""
    given = [PATH, f"HOSTNAME={hostname}"] + (["TERM=xterm"] if body.get("Tty") else []) + list(body.get("Env") or [])
    found = {}
    for word in given:
        name, sign, _ = word.partition("=")
        if sign:
            found[name] = word
        else:
            found.pop(name, None)
    return list(found.values())


def hidden_paths(host):
    """(maskedPaths, readonlyPaths): what was asked for, or docker's."""
    masked, read_only = host.get("MaskedPaths"), host.get("ReadonlyPaths")
    return list(MASKED if masked is None else masked), list(READ_ONLY if read_only is None else read_only)


def linux(host, facts, security, capabilities):
    """config-linux.md."""
    made = {
        "namespaces": [{"type": kind, **({"path": path} if path else {})} for kind, path in facts.namespaces.items()],
        "cgroupsPath": f"/{(host.get('CgroupParent') or 'minidocker').strip('/')}/{facts.id}",
        "resources": bundle_limits.resources(host, facts),
    }
    if sysctls := {**default_sysctls(facts), **(host.get("Sysctls") or {})}:
        made["sysctl"] = sysctls
    if facts.devices:
        made["devices"] = facts.devices
    if not host.get("Privileged"):
        if not security.shows_system_paths:
            made["maskedPaths"], made["readonlyPaths"] = hidden_paths(host)
        made["seccomp"] = bundle_security.seccomp(security, facts.seccomp, capabilities)
    elif security.seccomp not in ("", "unconfined"):
        made["seccomp"] = facts.seccomp
    if not made.get("seccomp"):
        made.pop("seccomp", None)
    if security.label:
        made["mountLabel"] = security.label
    return made


def default_sysctls(facts):
    """In a network namespace of its own a container may use low ports and ping without capabilities."""
    if facts.namespaces.get("network", "host"):
        return {}
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
