"""Where validate.py differs from the schema, as data, and the words of a refusal. Cold: loaded to refuse, by tests, by documents.

Each row of STRICTER is a document that the schema accepts and pyoci refuses; each of LAXITIES one that the schema refuses and pyoci
accepts. tests/spec holds an example of every row, and schemas/README.md shows both lists.
"""

from pyoci.spec.decode import encode

# rule -> (clause, what is refused)
STRICTER = {
    "version-not-semver": ("config.md#specification-version", "an ociVersion that is not SemVer"),
    "version-major": ("config.md#specification-version", "an ociVersion of a major version above 1"),
    "root-missing": ("config.md#root", "no root, or an empty root.path"),
    "args-empty": ("config.md#process", "a process without args"),
    "cwd-relative": ("config.md#process", "a process.cwd that is empty or relative"),
    "env-entry": ("config.md#posix-process", "an env entry without =, or without a name before it"),
    "console-size-range": ("config.md#process", "a console height or width beyond 65535, which no terminal can hold"),
    "rlimit-unknown": ("config.md#posix-process", "an rlimit type that Linux does not have"),
    "rlimit-duplicate": ("config.md#posix-process", "an rlimit type given twice"),
    "rlimit-soft-above-hard": ("config.md#posix-process", "an rlimit whose soft limit is above its hard limit"),
    "id-none": ("config.md#posix-platform-user", "the uid or gid 4294967295, which to the kernel means: as it is"),
    "oom-score-range": ("config.md#linux-process", "an oomScoreAdj outside -1000..1000"),
    "nul": ("config.md", "a NUL byte in a string that goes to the kernel: paths, args, env, options, labels"),
    "mount-destination": ("config.md#mounts", "an empty mount destination, or one that is the rootfs itself"),
    "mount-type-missing": ("config.md#mounts", "a mount without a type that is neither a bind mount nor a remount"),
    "bind-source-missing": ("config.md#mounts", "a bind mount without a source"),
    "hook-path-relative": ("config.md#posix-platform-hooks", "a hook path that is not absolute"),
    "hook-timeout-range": ("config.md#posix-platform-hooks", "a hook timeout above 2147483647 seconds"),
    "map-key-empty": ("config.md#annotations", "an empty key in annotations, sysctl or unified"),
    "hostname-without-uts": ("config.md#hostname", "a hostname without a uts namespace"),
    "domainname-without-uts": ("config.md#domainname", "a domainname without a uts namespace"),
    "namespace-duplicate": ("config-linux.md#namespaces", "a namespace type given twice"),
    "namespace-path-relative": ("config-linux.md#namespaces", "a namespace path that is not absolute"),
    "mappings-without-user": ("config-linux.md#user-namespace-mappings", "uidMappings or gidMappings without a user namespace"),
    "user-without-mappings": ("config-linux.md#user-namespace-mappings", "a new user namespace without both mappings"),
    "mapping-size": ("config-linux.md#user-namespace-mappings", "an id mapping of size 0, or beyond the last id"),
    "time-offsets-without-time": ("config-linux.md#offset-for-time-namespace", "timeOffsets without a new time namespace"),
    "sysctl-not-namespaced": ("config-linux.md#sysctl", "a sysctl that would change the host, or is not a name"),
    "paths-without-mount": ("config-linux.md#masked-paths", "maskedPaths or readonlyPaths without a mount namespace"),
    "paths-relative": ("config-linux.md#masked-paths", "a masked or read-only path that is not absolute"),
    "device-path-relative": ("config-linux.md#devices", "a device path that is not absolute"),
    "device-number-missing": ("config-linux.md#devices", "a device other than a FIFO without major or minor"),
    "cgroups-path-dots": ("config-linux.md#cgroups-path", "a cgroupsPath with a .. in it"),
    "device-rule-type": ("config-linux.md#allowed-device-list", "a device rule whose type is none of a, b, c"),
    "device-rule-access": ("config-linux.md#allowed-device-list", "a device rule without access, or with other letters than r, w, m"),
    "swap-below-limit": ("config-linux.md#memory", "a memory.swap (which counts memory too) below memory.limit"),
    "swappiness-range": ("config-linux.md#memory", "a memory.swappiness above 100"),
    "weight-range": ("config-linux.md#block-io", "a block I/O weight outside 10..1000; 0 is unset"),
    "rdma-empty": ("config-linux.md#rdma", "an rdma entry with neither hcaHandles nor hcaObjects"),
    "unified-name": ("config-linux.md#unified", "a name in unified that is not a file name"),
    "listener-metadata-alone": ("config-linux.md#seccomp", "seccomp.listenerMetadata without listenerPath"),
    "seccomp-argument-index": ("config-linux.md#seccomp", "a seccomp argument index above 5"),
}

# laxity -> (who needs it, what is accepted)
LAXITIES = {
    "null": ("dockerd, podman and every other Go caller: a nil pointer, slice or map without omitempty",
             "null for a member is the same as no such member; null in an array or as the value of a map is refused"),
    "recursive-propagation": ("dockerd, containerd and podman pass on the word of --volume or mount propagation",
                              "rootfsPropagation may be rprivate, rshared, rslave or runbindable"),
    "file-mode-bits": ("podman and CRI-O copy st_mode of the host's device",
                       "linux.devices[].fileMode may carry the file type, set-id and sticky bits, any 32-bit number"),
    "pids-without-limit": ("Go callers built with runtime-spec 1.3, where an unset limit is left out",
                           "linux.resources.pids may be an object without limit"),
}

# config path -> where its shape is described; the longest prefix counts
_CLAUSES = {
    "": "config.md", "ociVersion": "config.md#specification-version", "root": "config.md#root", "mounts": "config.md#mounts",
    "process": "config.md#process", "process.user": "config.md#posix-platform-user", "process.env": "config.md#posix-process",
    "process.rlimits": "config.md#posix-process", "process.capabilities": "config.md#linux-process",
    "process.oomScoreAdj": "config.md#linux-process", "process.noNewPrivileges": "config.md#linux-process",
    "process.scheduler": "config.md#linux-process", "process.ioPriority": "config.md#linux-process",
    "process.apparmorProfile": "config.md#linux-process", "process.selinuxLabel": "config.md#linux-process",
    "process.execCPUAffinity": "config.md#linux-process", "hostname": "config.md#hostname", "domainname": "config.md#domainname",
    "hooks": "config.md#posix-platform-hooks", "annotations": "config.md#annotations", "linux": "config-linux.md",
    "linux.namespaces": "config-linux.md#namespaces", "linux.uidMappings": "config-linux.md#user-namespace-mappings",
    "linux.gidMappings": "config-linux.md#user-namespace-mappings", "linux.timeOffsets": "config-linux.md#offset-for-time-namespace",
    "linux.devices": "config-linux.md#devices", "linux.netDevices": "config-linux.md#network-devices",
    "linux.cgroupsPath": "config-linux.md#cgroups-path", "linux.resources": "config-linux.md#control-groups",
    "linux.resources.devices": "config-linux.md#allowed-device-list", "linux.resources.memory": "config-linux.md#memory",
    "linux.resources.cpu": "config-linux.md#cpu", "linux.resources.blockIO": "config-linux.md#block-io",
    "linux.resources.hugepageLimits": "config-linux.md#huge-page-limits", "linux.resources.network": "config-linux.md#network",
    "linux.resources.pids": "config-linux.md#pids", "linux.resources.rdma": "config-linux.md#rdma",
    "linux.resources.unified": "config-linux.md#unified", "linux.intelRdt": "config-linux.md#intelrdt",
    "linux.memoryPolicy": "config-linux.md#memory-policy", "linux.sysctl": "config-linux.md#sysctl",
    "linux.seccomp": "config-linux.md#seccomp", "linux.rootfsPropagation": "config-linux.md#rootfs-mount-propagation",
    "linux.maskedPaths": "config-linux.md#masked-paths", "linux.readonlyPaths": "config-linux.md#readonly-paths",
    "linux.mountLabel": "config-linux.md#mount-label", "linux.personality": "config-linux.md#personality",
    "vm": "config-vm.md", "windows": "config-windows.md", "solaris": "config-solaris.md", "zos": "config-zos.md",
    "freebsd": "config-freebsd.md",
}


def clause_of(path):
    """The part of the specification that describes a config path, `config-linux.md#memory` for `linux.resources.memory.limit`."""
    best = ""
    for prefix in _CLAUSES:
        if path.startswith(prefix) and path[len(prefix):][:1] in ("", ".", "[") and len(prefix) > len(best):
            best = prefix
    return _CLAUSES[best]


_LONGEST = 80


def quoted(text):
    """The user's own words as one JSON string: no control character or line end survives; cut at 80 characters."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "..."
    # surrogates and invisible letters would garble a terminal or a log
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in encode(text))


def expected_text(expected, value):
    """`expected a string, got 5`."""
    return f"expected {expected}, got {shown(value)}"


def shown(value):
    """A value for a message: short, one line."""
    if type(value) is str:
        return quoted(value)
    if type(value) is dict:
        return "an object"
    if type(value) is list:
        return "an array"
    if type(value) is int and value.bit_length() > 200:
        return "a huge number"
    if type(value) is float:
        return repr(value)  # 1e999 in a document is inf, which JSON can't write
    return encode(value)


_MAPS = ("annotations", "sysctl", "unified", "rdma", "netDevices")


_DEEPEST = 16  # no rule stands deeper; what does is unknown, and could be nested to the limit of the stack


def without_laxities(value, name="", depth=0):
    """A copy of a document in which each thing that LAXITIES lists is replaced by what the schema accepts for it. Total."""
    if depth == _DEEPEST:
        return value
    if type(value) is list:
        return [without_laxities(item, "", depth + 1) for item in value]
    if type(value) is not dict:
        return value
    plain = {key: without_laxities(item, key, depth + 1) for key, item in value.items() if item is not None or name in _MAPS}
    if name == "linux":
        _strict_linux(plain)
    elif name == "resources" and type(plain.get("pids")) is dict and "limit" not in plain["pids"]:
        del plain["pids"]
    return plain


def _strict_linux(linux):
    propagation = linux.get("rootfsPropagation")
    if propagation in ("rprivate", "rshared", "rslave", "runbindable"):
        linux["rootfsPropagation"] = propagation[1:]
    for device in linux["devices"] if type(linux.get("devices")) is list else ():
        mode = device.get("fileMode") if type(device) is dict else None
        if type(mode) is int and 0 <= mode < 1 << 32:
            device["fileMode"] = mode & 0o777
