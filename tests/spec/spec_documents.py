"""Documents that use every member of the specification once. All are valid for the schema; LINUX also for the stricter rules."""

import copy

MAPPING = {"containerID": 0, "hostID": 100000, "size": 65536}
NUMBERS = {"major": 8, "minor": 16}

PROCESS = {
    "terminal": True,
    "consoleSize": {"height": 24, "width": 80},
    "user": {"uid": 1000, "gid": 100, "umask": 18, "additionalGids": [5, 6], "username": "nobody"},
    "args": ["sh", "-c", "true"],
    "commandLine": "sh",
    "env": ["PATH=/bin", "EMPTY="],
    "cwd": "/srv",
    "capabilities": {
        "bounding": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "permitted": ["CAP_KILL"],
        "inheritable": [],
        "ambient": [],
    },
    "rlimits": [
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615},
    ],
    "noNewPrivileges": True,
    "apparmorProfile": "profile",
    "selinuxLabel": "a:b:c:d",
    "oomScoreAdj": -5,
    "scheduler": {
        "policy": "SCHED_DEADLINE",
        "nice": -20,
        "priority": 1,
        "runtime": 10,
        "deadline": 20,
        "period": 30,
        "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_KEEP_POLICY"],
    },
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "execCPUAffinity": {"initial": "0-3, 7", "final": "1"},
}

RESOURCES = {
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": -1, "access": "r"},
    ],
    "memory": {
        "limit": 1 << 29,
        "reservation": 1 << 28,
        "swap": 1 << 30,
        "kernel": -1,
        "kernelTCP": -1,
        "swappiness": 60,
        "disableOOMKiller": False,
        "useHierarchy": True,
        "checkBeforeUpdate": False,
    },
    "cpu": {
        "shares": 1024,
        "quota": 100000,
        "burst": 1000,
        "period": 100000,
        "realtimeRuntime": 950000,
        "realtimePeriod": 1000000,
        "cpus": "0-1",
        "mems": "0",
        "idle": 0,
    },
    "pids": {"limit": 100},
    "blockIO": {
        "weight": 10,
        "leafWeight": 20,
        "weightDevice": [{**NUMBERS, "weight": 500, "leafWeight": 300}],
        "throttleReadBpsDevice": [{**NUMBERS, "rate": 600}],
        "throttleWriteBpsDevice": [{**NUMBERS, "rate": 600}],
        "throttleReadIOPSDevice": [{**NUMBERS, "rate": 600}],
        "throttleWriteIOPSDevice": [{**NUMBERS, "rate": 600}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
    "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 5}]},
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
    "unified": {"memory.high": "max"},
}

LINUX = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs", "readonly": True},
    "process": PROCESS,
    "hostname": "box",
    "domainname": "example.org",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/data", "source": "/srv/data", "options": ["rbind", "ro"], "uidMappings": [MAPPING], "gidMappings": [MAPPING]},
    ],
    "hooks": {
        kind: [{"path": "/bin/hook", "args": ["hook", "-v"], "env": ["A=b"], "timeout": 5}]
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    },
    "annotations": {"org.example.key": "value"},
    "linux": {
        "namespaces": [
            {"type": "pid", "path": "/proc/1/ns/pid"},
            *({"type": kind} for kind in ("network", "ipc", "uts", "mount", "user", "cgroup", "time")),
        ],
        "uidMappings": [MAPPING],
        "gidMappings": [MAPPING],
        "timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 1}, "boottime": {"secs": 5, "nanosecs": 0}},
        "devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0},
            {"path": "/dev/fifo", "type": "p"},
        ],
        "netDevices": {"eth0": {"name": "inside"}, "eth1": {}},
        "cgroupsPath": "/a/b",
        "resources": RESOURCES,
        "rootfsPropagation": "slave",
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener",
            "listenerMetadata": "words",
            "syscalls": [
                {
                    "names": ["read", "clone"],
                    "action": "SCMP_ACT_NOTIFY",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
        },
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536", "user.max_user_namespaces": "5", "kernel/domainname": "x"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "a:b:c:d",
        "intelRdt": {
            "closID": "group",
            "schemata": ["L3:0=f"],
            "l3CacheSchema": "L3:0=f",
            "memBwSchema": "MB:0=20",
            "enableMonitoring": True,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32", "flags": []},
    },
}

OTHERS = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "vm": {
        "hypervisor": {"path": "/bin/vmm", "parameters": ["a=b"]},
        "kernel": {"path": "/vmlinuz", "parameters": ["quiet"], "initrd": "/initrd"},
        "image": {"path": "/root.img", "format": "raw"},
        "hwConfig": {
            "deviceTree": "/tree.dtb",
            "vcpus": 1,
            "memory": 1 << 30,
            "dtdevs": ["/soc"],
            "iomems": [{"firstGFN": 1, "firstMFN": 2, "nrMFNs": 3}],
            "irqs": [112],
        },
    },
    "windows": {
        "layerFolders": ["C:\\layer"],
        "devices": [{"id": "24E552D7", "idType": "class"}],
        "resources": {
            "memory": {"limit": 1},
            "cpu": {"count": 1, "shares": 2, "maximum": 3, "affinity": {"mask": 1, "group": 0}},
            "storage": {"iops": 1, "bps": 2, "sandboxSize": 3},
        },
        "network": {
            "endpointList": ["a"],
            "allowUnqualifiedDNSQuery": True,
            "DNSSearchList": ["b"],
            "networkSharedContainerName": "c",
            "networkNamespace": "d",
        },
        "credentialSpec": {"any": 1},
        "servicing": True,
        "ignoreFlushesDuringBoot": True,
        "hyperv": {"utilityVMPath": "C:\\vm"},
    },
    "solaris": {
        "milestone": "a",
        "limitpriv": "b",
        "maxShmMemory": "c",
        "cappedCPU": {"ncpus": "8"},
        "cappedMemory": {"physical": "1g", "swap": "2g"},
        "anet": [
            {
                "linkname": "net0",
                "lowerLink": "net1",
                "allowedAddress": "a",
                "configureAllowedAddress": "true",
                "defrouter": "b",
                "macAddress": "c",
                "linkProtection": "d",
            }
        ],
    },
    "zos": {"namespaces": [{"type": "pid", "path": "/x"}, {"type": "uts"}]},
    "freebsd": {
        "devices": [{"path": "null", "mode": 438}],
        "jail": {
            "parent": "p",
            "host": "new",
            "ip4": "disable",
            "ip4Addr": ["192.0.2.1"],
            "ip6": "inherit",
            "ip6Addr": ["2001:db8::1"],
            "vnet": "new",
            "interface": "em0",
            "vnetInterfaces": ["em1"],
            "sysvmsg": "new",
            "sysvsem": "new",
            "sysvshm": "new",
            "enforceStatfs": 2,
            "allow": {
                "setHostname": True,
                "rawSockets": True,
                "chflags": True,
                "mount": ["devfs"],
                "quotas": True,
                "socketAf": True,
                "mlock": True,
                "reservedPorts": True,
                "suser": True,
            },
        },
    },
}

STATE = {
    "ociVersion": "1.3.0",
    "id": "box",
    "status": "running",
    "pid": 4242,
    "bundle": "/srv/box",
    "annotations": {"key": "value"},
}

FEATURES = {
    "ociVersionMin": "1.0.0",
    "ociVersionMax": "1.3.0",
    "hooks": ["prestart"],
    "mountOptions": ["ro", "rro"],
    "linux": {
        "namespaces": ["user", "time"],
        "capabilities": ["CAP_CHOWN"],
        "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
        "seccomp": {
            "enabled": True,
            "actions": ["SCMP_ACT_ALLOW"],
            "operators": ["SCMP_CMP_EQ"],
            "archs": ["SCMP_ARCH_X86_64"],
            "knownFlags": ["SECCOMP_FILTER_FLAG_LOG"],
            "supportedFlags": ["SECCOMP_FILTER_FLAG_TSYNC"],
        },
        "apparmor": {"enabled": False},
        "selinux": {"enabled": False},
        "intelRdt": {"enabled": False, "schemata": True, "monitoring": True},
        "memoryPolicy": {"modes": ["MPOL_BIND"], "flags": []},
        "mountExtensions": {"idmap": {"enabled": False}},
        "netDevices": {"enabled": False},
    },
    "annotations": {"key": "value"},
    "potentiallyUnsafeConfigAnnotations": ["key"],
}

# A joined user namespace asks for no mappings, so that a part of LINUX is valid by itself.
NAMESPACES = [{"type": "user", "path": "/proc/1/ns/user"}]
NAMESPACES += [{"type": kind} for kind in ("network", "ipc", "uts", "mount", "cgroup", "time")]

MINIMAL = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["true"]},
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
}


def minimal(**members):
    """A fresh MINIMAL with members replaced."""
    return {**copy.deepcopy(MINIMAL), **members}


def with_linux(**members):
    """A fresh MINIMAL with members of linux replaced."""
    config = minimal()
    config["linux"].update(members)
    return config


def with_process(**members):
    """A fresh MINIMAL with members of process replaced."""
    config = minimal()
    config["process"].update(members)
    return config


def parts(document):
    """Yields (steps, a small document with the section at `steps`): a mutation of a section is judged ten times faster in it."""
    for name, section in document.items():
        if name == "linux" and isinstance(section, dict):
            yield from _parts_of_linux(section)
        elif name == "process" and isinstance(section, dict):
            for inner, value in section.items():
                yield ("process", inner), minimal(process={"cwd": "/", "args": ["sh"], inner: value}, linux={"namespaces": NAMESPACES})
        else:
            yield (name,), {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "linux": {"namespaces": NAMESPACES}, name: section}


def _parts_of_linux(linux):
    for name, section in linux.items():
        if name == "resources" and isinstance(section, dict):
            for inner, value in section.items():
                yield ("linux", "resources", inner), with_linux(namespaces=NAMESPACES, resources={inner: value})
        else:
            yield ("linux", name), with_linux(**{"namespaces": NAMESPACES, name: section})
    yield ("linux",), with_linux()
