"""Judges config.json, process and resources documents with plain code, in well under a millisecond.

The tables below say which member has which type, as schemas/config.schema.json does; the functions after them say what no schema
can, the rules between fields. Where the verdict differs from the schema's, the difference is listed in rules.py: STRICTER (with the
clause) and LAXITIES (with the caller). Looks at no file and asks the kernel nothing; does not change the document.
Sources: config.md, config-linux.md, config-vm.md of runtime-spec 1.3.0.
"""

from pyoci.errors import ConfigError, UnsupportedConfig
from pyoci.spec.names import CAPABILITIES, RLIMITS

# The tables. A rule is one of: str (without NUL, for it goes to the kernel); bool; int; (lowest, highest); a frozenset of words; [rule]
# for an array; a dict of members, with the names of the required ones under None; or a function. Null is absent.
_INT32 = (-(1 << 31), (1 << 31) - 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)
_UINT16 = (0, (1 << 16) - 1)
_UINT32 = (0, (1 << 32) - 1)
_UINT64 = (0, (1 << 64) - 1)
_STRINGS = [str]


def _string_map(value):
    """Names to strings; a NUL is allowed, an annotation never reaches the kernel."""
    if type(value) is not dict:
        raise _wrong(value, "an object")
    for name, item in value.items():
        if not name:
            raise _refused("map-key-empty", "", "a key must not be empty")
        if type(item) is not str:
            raise _wrong(item, "a string", _key(name))


def _map_of(table):
    def check(value):
        if type(value) is not dict:
            raise _wrong(value, "an object")
        for name, item in value.items():
            try:
                _check(item, table)
            except ConfigError as error:
                raise _inside(error, _key(name))

    return check


def _rlimit_name(value):
    if type(value) is not str:
        raise _wrong(value, "a string")
    if not (value[:7] == "RLIMIT_" and _upper(value[7:])):
        raise _refused("", "", f"expected a name such as RLIMIT_NOFILE, got {_quoted(value)}")


def _upper(text):
    return text.isascii() and text.isalpha() and text.isupper()


def _page_size(value):
    if type(value) is not str:
        raise _wrong(value, "a string")
    digits = value[:-2]
    if not (value[-2:] in ("KB", "MB", "GB") and digits.isascii() and digits.isdigit() and digits[0] != "0"):
        raise _refused("", "", f"expected a size such as 64KB, 2MB or 1GB, got {_quoted(value)}")


def _cpu_list(value):
    if type(value) is not str:
        raise _wrong(value, "a string")
    if value.strip("0123456789, -"):
        raise _refused("", "", f"expected a list such as 0-3,7, got {_quoted(value)}")


def _bandwidth_schema(value):
    if type(value) is not str:
        raise _wrong(value, "a string")
    if value[:3] != "MB:" or "\n" in value:
        raise _refused("", "", f"expected MB:..., got {_quoted(value)}")


_HOOKS = [{None: ("path",), "path": str, "args": _STRINGS, "env": _STRINGS, "timeout": (1, 1 << 20000)}]
_MAPPINGS = [{None: ("containerID", "hostID", "size"), "containerID": _UINT32, "hostID": _UINT32, "size": _UINT32}]
_WEIGHTS = [{None: ("major", "minor"), "major": _INT64, "minor": _INT64, "weight": _UINT16, "leafWeight": _UINT16}]
_RATES = [{None: ("major", "minor"), "major": _INT64, "minor": _INT64, "rate": _UINT64}]
_OFFSET = {None: (), "secs": _INT64, "nanosecs": _UINT32}

_MOUNTS = [{
    None: ("destination",), "destination": str, "source": str, "type": str, "options": _STRINGS,
    "uidMappings": _MAPPINGS, "gidMappings": _MAPPINGS,
}]

PROCESS = {
    None: ("cwd",),
    "terminal": bool,
    "consoleSize": {None: ("height", "width"), "height": _UINT64, "width": _UINT64},
    "user": {None: (), "uid": _UINT32, "gid": _UINT32, "umask": _UINT32, "additionalGids": [_UINT32], "username": str},
    "args": _STRINGS,
    "commandLine": str,
    "env": _STRINGS,
    "cwd": str,
    "capabilities": {None: (), "bounding": _STRINGS, "effective": _STRINGS, "inheritable": _STRINGS, "permitted": _STRINGS,
                     "ambient": _STRINGS},
    "rlimits": [{None: ("type", "soft", "hard"), "type": _rlimit_name, "soft": _UINT64, "hard": _UINT64}],
    "noNewPrivileges": bool,
    "apparmorProfile": str,
    "selinuxLabel": str,
    "oomScoreAdj": int,
    "scheduler": {
        None: ("policy",),
        "policy": frozenset(("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE")),
        "nice": _INT32, "priority": _INT32, "runtime": _UINT64, "deadline": _UINT64, "period": _UINT64,
        "flags": [frozenset(("SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_KEEP_POLICY",
                             "SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"))],
    },
    "ioPriority": {None: ("class",), "class": frozenset(("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")),
                   "priority": _INT32},
    "execCPUAffinity": {None: (), "initial": _cpu_list, "final": _cpu_list},
}

RESOURCES = {
    None: (),
    "devices": [{None: ("allow",), "allow": bool, "type": str, "major": _INT64, "minor": _INT64, "access": str}],
    "memory": {None: (), "limit": _INT64, "reservation": _INT64, "swap": _INT64, "kernel": _INT64, "kernelTCP": _INT64,
               "swappiness": _UINT64, "disableOOMKiller": bool, "useHierarchy": bool, "checkBeforeUpdate": bool},
    "cpu": {None: (), "shares": _UINT64, "quota": _INT64, "burst": _UINT64, "period": _UINT64, "realtimeRuntime": _INT64,
            "realtimePeriod": _UINT64, "cpus": str, "mems": str, "idle": _INT64},
    "pids": {None: (), "limit": _INT64},
    "blockIO": {None: (), "weight": _UINT16, "leafWeight": _UINT16, "weightDevice": _WEIGHTS,
                "throttleReadBpsDevice": _RATES, "throttleWriteBpsDevice": _RATES,
                "throttleReadIOPSDevice": _RATES, "throttleWriteIOPSDevice": _RATES},
    "hugepageLimits": [{None: ("pageSize", "limit"), "pageSize": _page_size, "limit": _UINT64}],
    "network": {None: (), "classID": _UINT32,
                "priorities": [{None: ("name", "priority"), "name": str, "priority": _UINT32}]},
    "rdma": _map_of({None: (), "hcaHandles": _UINT32, "hcaObjects": _UINT32}),
    "unified": _string_map,
}

_ACTIONS = frozenset(("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
                      "SCMP_ACT_TRACE", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY"))
_SECCOMP = {
    None: ("defaultAction",),
    "defaultAction": _ACTIONS,
    "defaultErrnoRet": _UINT32,
    "architectures": [frozenset((
        "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
        "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X",
        "SCMP_ARCH_SH", "SCMP_ARCH_SHEB", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64"))],
    "flags": [frozenset(("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                         "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))],
    "listenerPath": str,
    "listenerMetadata": str,
    "syscalls": [{
        None: ("names", "action"), "names": _STRINGS, "action": _ACTIONS, "errnoRet": _UINT32,
        "args": [{None: ("index", "value", "op"), "index": _UINT32, "value": _UINT64, "valueTwo": _UINT64,
                  "op": frozenset(("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
                                   "SCMP_CMP_MASKED_EQ"))}],
    }],
}

_LINUX = {
    None: (),
    "namespaces": [{None: ("type",), "path": str,
                    "type": frozenset(("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"))}],
    "uidMappings": _MAPPINGS,
    "gidMappings": _MAPPINGS,
    "timeOffsets": {None: (), "monotonic": _OFFSET, "boottime": _OFFSET},
    "devices": [{None: ("type", "path"), "type": frozenset("cbup"), "path": str, "major": _INT64, "minor": _INT64,
                 "fileMode": _UINT32, "uid": _UINT32, "gid": _UINT32}],
    "netDevices": _map_of({None: (), "name": str}),
    "cgroupsPath": str,
    "resources": RESOURCES,
    "rootfsPropagation": frozenset(("private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable")),
    "seccomp": _SECCOMP,
    "sysctl": _string_map,
    "maskedPaths": _STRINGS,
    "readonlyPaths": _STRINGS,
    "mountLabel": str,
    "intelRdt": {None: (), "closID": str, "schemata": _STRINGS, "l3CacheSchema": str, "memBwSchema": _bandwidth_schema,
                 "enableMonitoring": bool},
    "memoryPolicy": {
        None: (), "nodes": str,
        "mode": frozenset(("MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED",
                           "MPOL_PREFERRED_MANY", "MPOL_LOCAL")),
        "flags": [frozenset(("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"))],
    },
    "personality": {None: (), "domain": frozenset(("LINUX", "LINUX32")), "flags": _STRINGS},
}

_CONFIG = {
    None: ("ociVersion",),
    "ociVersion": str,
    "root": {None: ("path",), "path": str, "readonly": bool},
    "process": PROCESS,
    "hostname": str,
    "domainname": str,
    "mounts": _MOUNTS,
    "hooks": {None: (), "prestart": _HOOKS, "createRuntime": _HOOKS, "createContainer": _HOOKS, "startContainer": _HOOKS,
              "poststart": _HOOKS, "poststop": _HOOKS},
    "annotations": _string_map,
    "linux": _LINUX,
}

# The sections of other platforms; their tables are in platforms.py, which real documents do not load.
_PLATFORMS = ("vm", "windows", "solaris", "zos", "freebsd")

# What this release does not do yet; each row goes when its feature comes. "" and empty objects are absent, except where "set" stands:
# there the mere presence asks for something.
UNSUPPORTED_PROCESS = (
    ("scheduler", "set"), ("ioPriority", "set"), ("execCPUAffinity", ""),
)
UNSUPPORTED_LINUX = (
    ("timeOffsets", ""), ("netDevices", ""), ("memoryPolicy", ""), ("intelRdt", "set"),
)
UNSUPPORTED_MOUNT = (("uidMappings", ""), ("gidMappings", ""))
UNSUPPORTED_MOUNT_OPTIONS = ("idmap", "ridmap")
UNSUPPORTED_SECCOMP_ACTION = "SCMP_ACT_NOTIFY"


def validate(config):
    """Judge a config.json (a dict). Returns warnings, one line each; raises ConfigError with config path, quoted value and clause."""
    return _judged(_config_rules, config, _CONFIG, "", "config.json")


def validate_process(process, document="process.json"):
    """Judge a process document (exec --process), as validate() does the section; config paths are relative to it."""
    return _judged(_process_document_rules, process, PROCESS, "process.", document)


def validate_resources(resources, document="resources.json"):
    """Judge a resources document (update --resources), as validate() does the section; config paths are relative to it."""
    return _judged(_resource_rules, resources, RESOURCES, "linux.resources.", document) or []


def _judged(rules, value, table, section, document):
    try:
        _check(value, table)
        return rules(value)
    except ConfigError as error:
        from pyoci.spec.rules import clause_of

        error.document = document
        error.clause = error.clause or clause_of(section + error.path)
        raise


def _config_rules(config):
    for name in _PLATFORMS:
        if config.get(name) is not None:
            from pyoci.spec.platforms import PLATFORMS  # rare

            _check({name: config[name]}, PLATFORMS)
    warnings = []
    _check_version(config["ociVersion"])
    if config.get("root") is None:
        raise _refused("root-missing", "root", "root must be specified")
    if not config["root"]["path"]:
        raise _refused("root-missing", "root.path", "must not be empty")
    _within("process", _process_rules, config.get("process"), "process.", warnings)
    _within("mounts", _mount_rules, config.get("mounts"), warnings)
    _within("hooks", _hook_rules, config.get("hooks"))
    linux = config.get("linux") or {}
    namespaces = _within("linux.namespaces", _namespace_rules, linux.get("namespaces") or ())
    _host_rules(config, namespaces)
    _within("linux", _linux_rules, linux, namespaces, warnings)
    _within("linux.resources", _resource_rules, linux.get("resources"))
    return warnings


def unsupported(config):
    """Refuse by name what this release does not do: raises UnsupportedConfig for the first such wish of a valid config."""
    unsupported_process(config.get("process") or {}, "process.")
    for index, mount in enumerate(config.get("mounts") or ()):
        path = f"mounts[{index}]."
        _refuse_present(mount, UNSUPPORTED_MOUNT, path)
        for option in mount.get("options") or ():
            if option in UNSUPPORTED_MOUNT_OPTIONS:
                raise _unsupported(path + "options", f"mount option {_quoted(option)}")
    linux = config.get("linux") or {}
    _refuse_present(linux, UNSUPPORTED_LINUX, "linux.")
    _refuse_notify(linux.get("seccomp") or {})


def unsupported_process(process, prefix="", document="config.json"):
    """The part of unsupported() that a process document can ask for."""
    _refuse_present(process, UNSUPPORTED_PROCESS, prefix, document)


def _refuse_present(owner, names, prefix, document="config.json"):
    for name, how in names:
        value = owner.get(name)
        if value or (how and value is not None):
            raise _unsupported(prefix + name, name, document)


def _refuse_notify(seccomp):
    if seccomp.get("defaultAction") == UNSUPPORTED_SECCOMP_ACTION:
        raise _unsupported("linux.seccomp.defaultAction", UNSUPPORTED_SECCOMP_ACTION)
    for index, syscall in enumerate(seccomp.get("syscalls") or ()):
        if syscall["action"] == UNSUPPORTED_SECCOMP_ACTION:
            raise _unsupported(f"linux.seccomp.syscalls[{index}].action", UNSUPPORTED_SECCOMP_ACTION)


def _unsupported(path, what, document="config.json"):
    return UnsupportedConfig(path, f"{what} is not supported by this release", document=document)


# The walk. A problem is raised without its path; each level puts its own step in front as the error passes through it.


def _check(value, rule):
    kind = type(rule)
    if kind is type:
        if type(value) is not rule:
            raise _wrong(value, {str: "a string", bool: "true or false", int: "an integer"}[rule])
        if rule is str and "\0" in value:
            raise _nul(value)
    elif kind is tuple:
        if type(value) is not int:
            raise _wrong(value, "an integer")
        if not rule[0] <= value <= rule[1]:
            raise _out_of_range(value, rule)
    elif kind is dict:
        _check_object(value, rule)
    elif kind is list:
        _check_array(value, rule[0])
    elif kind is frozenset:
        if type(value) is not str:
            raise _wrong(value, "a string")
        if value not in rule:
            raise _refused("", "", f"unknown value {_quoted(value)}, expected one of {' '.join(sorted(rule))}")
    else:
        rule(value)


def _check_object(value, table):
    if type(value) is not dict:
        raise _wrong(value, "an object")
    for name in table[None]:
        if value.get(name) is None:
            raise _refused("", name, "missing")
    for name, member in value.items():
        if member is not None and name in table:
            try:
                _check(member, table[name])
            except ConfigError as error:
                raise _inside(error, name)


def _check_array(value, rule):
    if type(value) is not list:
        raise _wrong(value, "an array")
    if rule is str:
        # one pass in C instead of one call each: a config holds some 700 strings
        try:
            if "\0" not in "".join(value):
                return
        except TypeError:
            pass
    for index, item in enumerate(value):
        try:
            _check(item, rule)
        except ConfigError as error:
            raise _inside(error, f"[{index}]")


def _within(prefix, rules, value, *context):
    """Run `rules` on a section that may be absent, and put the section's path in front of what they refuse."""
    if value is None:
        return None
    try:
        return rules(value, *context)
    except ConfigError as error:
        raise _inside(error, prefix)


def _inside(error, step):
    if not error.path:
        error.path = step
    elif error.path[0] == "[":
        error.path = step + error.path
    else:
        error.path = f"{step}.{error.path}"
    return error


# The rules between fields, each named as in rules.STRICTER.


def _check_version(version):
    numbers = version.split("+", 1)[0].split("-", 1)[0].split(".")
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() and (number == "0" or number[0] != "0") for number in numbers):
        raise _refused("version-not-semver", "ociVersion", f"{_quoted(version)} is not a version such as 1.3.0")
    if numbers[0] not in ("0", "1"):
        raise _refused("version-major", "ociVersion", f"{_quoted(version)} is of another major version than 1")


def _user_rules(user):
    """2**32 - 1 means "as it is" to setresuid(2) and setresgid(2): the process would stay root."""
    for name in ("uid", "gid"):
        if user.get(name) == _UINT32[1]:
            raise _refused("id-none", f"user.{name}", f"{_UINT32[1]} is no id")
    if _UINT32[1] in (user.get("additionalGids") or ()):
        index = user["additionalGids"].index(_UINT32[1])
        raise _refused("id-none", f"user.additionalGids[{index}]", f"{_UINT32[1]} is no id")


def _process_document_rules(process):
    warnings = []
    _process_rules(process, "", warnings)
    return warnings


def _process_rules(process, prefix, warnings):
    if not process.get("args"):
        raise _refused("args-empty", "args", "args must not be empty")
    cwd = process["cwd"]
    if cwd[:1] != "/":
        raise _refused("cwd-relative", "cwd", f"cwd must be an absolute path, got {_quoted(cwd)}")
    for index, entry in enumerate(process.get("env") or ()):
        if entry.find("=") < 1:
            raise _bad_environment(index, entry)
    _rlimit_rules(process.get("rlimits") or ())
    _user_rules(process.get("user") or {})
    if not -1000 <= (process.get("oomScoreAdj") or 0) <= 1000:
        raise _refused("oom-score-range", "oomScoreAdj", f"{_shown(process['oomScoreAdj'])} is not in -1000..1000")
    size = process.get("consoleSize") or {}
    for name in size and ("height", "width"):
        if size[name] > 65535:
            raise _refused("console-size-range", f"consoleSize.{name}", f"{size[name]} is not in 0..65535")
    _warn_of_capabilities(process.get("capabilities") or {}, prefix, warnings)


def _bad_environment(index, entry):
    problem = "a name must not be empty" if entry[:1] == "=" else "no = in"
    return _refused("env-entry", f"env[{index}]", f"invalid environment variable: {problem} {_quoted(entry)}")


def _rlimit_rules(rlimits):
    seen = set()
    for index, rlimit in enumerate(rlimits):
        name = rlimit["type"]
        if name not in RLIMITS:
            raise _refused("rlimit-unknown", f"rlimits[{index}].type", f"unknown rlimit {_quoted(name)}")
        if name in seen:
            raise _refused("rlimit-duplicate", f"rlimits[{index}].type", f"{name} is given twice")
        if rlimit["soft"] > rlimit["hard"]:
            problem = f"soft limit {rlimit['soft']} is above the hard limit {rlimit['hard']}"
            raise _refused("rlimit-soft-above-hard", f"rlimits[{index}].soft", problem)
        seen.add(name)


def _warn_of_capabilities(capabilities, prefix, warnings):
    """A capability that cannot be granted is no error: config.md#linux-process asks for a warning."""
    unknown = []
    for kind in PROCESS["capabilities"]:
        names = capabilities.get(kind) or ()
        if not CAPABILITIES.keys() >= set(names):
            unknown += [name for name in names if name not in CAPABILITIES and name not in unknown]
    if unknown:
        warnings.append(f"{prefix}capabilities: ignoring unknown capabilities {', '.join(map(_quoted, unknown))}")


def _mount_rules(mounts, warnings):
    for index, mount in enumerate(mounts):
        destination = mount["destination"]
        if not destination.replace(".", "").strip("/"):
            _check_destination(index, destination)
        if destination[:1] != "/":
            warnings.append(f"mounts[{index}].destination: {_quoted(destination)} is relative, which is deprecated; taken from /")
        options = mount.get("options") or ()
        if "bind" in options or "rbind" in options or mount.get("type") == "bind":
            if not mount.get("source"):
                raise _refused("bind-source-missing", f"[{index}].source", "a bind mount needs a source")
        elif not mount.get("type") and "remount" not in options:
            raise _refused("mount-type-missing", f"[{index}].type", "missing, and it is not a bind mount")


def _check_destination(index, destination):
    if not destination:
        raise _refused("mount-destination", f"[{index}].destination", "must not be empty")
    if all(step in ("", ".", "..") for step in destination.split("/")):
        raise _refused("mount-destination", f"[{index}].destination", f"{_quoted(destination)} is on the top of rootfs")


def _hook_rules(hooks):
    for kind, entries in hooks.items():
        if kind in _CONFIG["hooks"]:
            for index, hook in enumerate(entries or ()):
                if hook["path"][:1] != "/":
                    raise _refused("hook-path-relative", f"{kind}[{index}].path", f"{_quoted(hook['path'])} is not absolute")
                if (hook.get("timeout") or 0) > 0x7FFFFFFF:
                    raise _refused("hook-timeout-range", f"{kind}[{index}].timeout", "is longer than 2147483647 seconds")


def _namespace_rules(entries):
    """Returns {type: path or ""}."""
    namespaces = {}
    for index, entry in enumerate(entries):
        kind, path = entry["type"], entry.get("path") or ""
        if kind in namespaces:
            raise _refused("namespace-duplicate", f"[{index}].type", f"duplicated namespace {_quoted(kind)}")
        if path and path[0] != "/":
            raise _refused("namespace-path-relative", f"[{index}].path", f"{_quoted(path)} is not absolute")
        namespaces[kind] = path
    return namespaces


def _host_rules(config, namespaces):
    if config.get("hostname") and "uts" not in namespaces:
        raise _refused("hostname-without-uts", "hostname", "unable to set hostname without a private UTS namespace")
    if config.get("domainname") and "uts" not in namespaces:
        raise _refused("domainname-without-uts", "domainname", "unable to set domainname without a private UTS namespace")


def _linux_rules(linux, namespaces, warnings):
    _mapping_rules(linux, namespaces)
    _sysctl_rules(linux.get("sysctl") or {}, namespaces)
    _path_rules(linux, namespaces)
    _device_rules(linux.get("devices") or ())
    _seccomp_rules(linux.get("seccomp") or {})
    if ".." in (linux.get("cgroupsPath") or "").split("/"):
        raise _refused("cgroups-path-dots", "cgroupsPath", f"{_quoted(linux['cgroupsPath'])} must not contain ..")
    if linux.get("timeOffsets") and namespaces.get("time") != "":
        raise _refused("time-offsets-without-time", "timeOffsets", "needs a new time namespace")
    if (linux.get("personality") or {}).get("flags"):
        warnings.append("linux.personality.flags: ignored, no flag is defined")


def _mapping_rules(linux, namespaces):
    for name in ("uidMappings", "gidMappings"):
        mappings = linux.get(name)
        if mappings and "user" not in namespaces:
            raise _refused("mappings-without-user", name, "id mappings need a user namespace")
        if not mappings and namespaces.get("user") == "":
            raise _refused("user-without-mappings", name, "a new user namespace needs id mappings")
        for index, mapping in enumerate(mappings or ()):
            size = mapping["size"]
            if not size:
                raise _refused("mapping-size", f"{name}[{index}].size", "must not be 0")
            if max(mapping["containerID"], mapping["hostID"]) + size > 1 << 32:
                raise _refused("mapping-size", f"{name}[{index}].size", f"{size} reaches beyond the last id")


_IPC_SYSCTLS = frozenset(("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
                          "kernel.shmmni", "kernel.shm_rmid_forced"))


def _sysctl_rules(sysctl, namespaces):
    for name, value in sysctl.items():
        if "\0" in value:
            raise _inside(_nul(value), f"sysctl{_key(name)}")
        problem = _sysctl_problem(name, namespaces)
        if problem:
            raise _refused("sysctl-not-namespaced", f"sysctl{_key(name)}", problem)


def _sysctl_problem(name, namespaces):
    """sysctl(8): the first of . and / is the separator, the other then stands for itself (net/ipv4/conf/eth0.1/forwarding)."""
    slash, dot = name.find("/"), name.find(".")
    if 0 <= slash and (dot < 0 or slash < dot):
        steps = name.split("/")
    else:
        steps = name.replace("/", "\0").split(".")
    if "" in steps or "." in steps or ".." in steps or "\0" in name:
        return f"sysctl {_quoted(name)} is not a name"
    plain = ".".join(steps)
    if plain == "kernel.hostname":
        return f'sysctl {_quoted(name)} is not allowed as it conflicts with the OCI "hostname" field'
    if plain in _IPC_SYSCTLS or plain.startswith("fs.mqueue."):
        return "" if "ipc" in namespaces else f"sysctl {_quoted(name)} is not allowed in the hosts ipc namespace"
    if plain.startswith("net."):
        return "" if "network" in namespaces else f"sysctl {_quoted(name)} not allowed in host network namespace"
    if plain == "kernel.domainname":
        return "" if "uts" in namespaces else f"sysctl {_quoted(name)} is not allowed in the hosts uts namespace"
    if plain.startswith("user."):
        return "" if "user" in namespaces else f"sysctl {_quoted(name)} is not allowed in the hosts user namespace"
    return f"sysctl {_quoted(name)} is not in a separate kernel namespace"


def _path_rules(linux, namespaces):
    for name in ("maskedPaths", "readonlyPaths"):
        paths = linux.get(name)
        if paths and "mount" not in namespaces:
            raise _refused("paths-without-mount", name, "unable to restrict sys entries without a private mount namespace")
        for index, path in enumerate(paths or ()):
            if path[:1] != "/":
                raise _refused("paths-relative", f"{name}[{index}]", f"{_quoted(path)} is not absolute")


def _device_rules(devices):
    for index, device in enumerate(devices):
        if device["path"][:1] != "/":
            raise _refused("device-path-relative", f"devices[{index}].path", f"{_quoted(device['path'])} is not absolute")
        if device["type"] != "p":
            for name in ("major", "minor"):
                if device.get(name) is None:
                    raise _refused("device-number-missing", f"devices[{index}].{name}", f"missing for type {device['type']}")


def _seccomp_rules(seccomp):
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        raise _refused("listener-metadata-alone", "seccomp.listenerMetadata", "needs listenerPath")
    for index, syscall in enumerate(seccomp.get("syscalls") or ()):
        if not syscall["names"]:
            raise _refused("", f"seccomp.syscalls[{index}].names", "must not be empty")
        for number, argument in enumerate(syscall.get("args") or ()):
            if argument["index"] > 5:
                path = f"seccomp.syscalls[{index}].args[{number}].index"
                raise _refused("seccomp-argument-index", path, f"{argument['index']} is not in 0..5")


def _resource_rules(resources):
    _memory_rules(resources.get("memory") or {})
    _device_access_rules(resources.get("devices") or ())
    _weight_rules(resources.get("blockIO") or {})
    for name, value in (resources.get("unified") or {}).items():
        if "\0" in value:
            raise _inside(_nul(value), f"unified{_key(name)}")
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise _refused("unified-name", f"unified{_key(name)}", f"unified resource {_quoted(name)} must be a file name")
    for name, limits in (resources.get("rdma") or {}).items():
        if limits.get("hcaHandles") is None and limits.get("hcaObjects") is None:
            raise _refused("rdma-empty", f"rdma{_key(name)}", "needs hcaHandles or hcaObjects")


_UNSET_SWAPPINESS = (1 << 64) - 1  # dockerd writes -1 as an unsigned number


def _memory_rules(memory):
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        raise _refused("swap-below-limit", "memory.swap", f"memory+swap limit should be >= memory limit, got {swap} < {limit}")
    swappiness = memory.get("swappiness") or 0
    if swappiness > 100 and swappiness != _UNSET_SWAPPINESS:
        raise _refused("swappiness-range", "memory.swappiness", f"{swappiness} is not in 0..100")


def _device_access_rules(devices):
    for index, device in enumerate(devices):
        kind, access = device.get("type"), device.get("access")
        if kind and kind not in ("a", "b", "c"):
            raise _refused("device-rule-type", f"devices[{index}].type", f"{_quoted(kind)} is none of a, b, c")
        if not access or access.strip("rwm"):
            problem = f"expected some of r, w, m, got {_quoted(access or '')}"
            raise _refused("device-rule-access", f"devices[{index}].access", problem)


def _weight_rules(block_io):
    for name in ("weight", "leafWeight"):
        _check_weight(name, block_io.get(name))
    for index, device in enumerate(block_io.get("weightDevice") or ()):
        for name in ("weight", "leafWeight"):
            _check_weight(f"weightDevice[{index}].{name}", device.get(name))


def _check_weight(path, weight):
    if weight and not 10 <= weight <= 1000:
        raise _refused("weight-range", f"blockIO.{path}", f"{weight} is not in 10..1000")


# Refusals. The words and clauses are in rules.py, which is loaded when there is something to say.


def _refused(rule, path, problem):
    """A ConfigError whose clause is that of the `rule`; "" is a rule that the schema has too. The path is completed on its way up."""
    error = ConfigError(path, problem)
    error.rule = rule
    if rule:
        from pyoci.spec.rules import STRICTER

        error.clause = STRICTER[rule][0]
    return error


def _wrong(value, expected, path=""):
    from pyoci.spec.rules import expected_text

    return _refused("", path, expected_text(expected, value))


def _out_of_range(value, rule):
    problem = f"below {rule[0]}" if value < rule[0] else f"above {rule[1]}"
    return _refused("", "", f"{_shown(value)} is {problem}")


def _nul(value):
    return _refused("nul", "", f"{_quoted(value)} contains a NUL byte")


def _quoted(text):
    from pyoci.spec.rules import quoted

    return quoted(text)


def _shown(value):
    from pyoci.spec.rules import shown

    return shown(value)


def _key(name):
    return f"[{_quoted(name)}]"
