"""The tables for the sections that are not Linux's: vm, windows, solaris, zos, freebsd. Judged, then ignored.

Cold: loaded only for a document that has such a section. In the rule language of validate.py.
Sources: config-vm.md, config-windows.md, config-solaris.md, config-zos.md, config-freebsd.md.
"""

from pyoci.spec.validate import _STRINGS, _UINT16, _UINT32, _UINT64, _refused, _wrong


def _object(value):
    if type(value) is not dict:
        raise _wrong(value, "an object")


def _folders(value):
    if type(value) is not list:
        raise _wrong(value, "an array")
    for index, item in enumerate(value):
        if type(item) is not str:
            raise _wrong(item, "a string", f"[{index}]")
    if not value:
        raise _refused("", "", "must not be empty")


_VM = {
    None: ("kernel",),
    "hypervisor": {None: ("path",), "path": str, "parameters": _STRINGS},
    "kernel": {None: ("path",), "path": str, "parameters": _STRINGS, "initrd": str},
    "image": {None: ("path", "format"), "path": str, "format": frozenset(("raw", "qcow2", "vdi", "vmdk", "vhd"))},
    "hwConfig": {
        None: (), "deviceTree": str, "vcpus": _UINT32, "memory": _UINT64, "dtdevs": _STRINGS, "irqs": [_UINT32],
        "iomems": [{None: ("firstMFN", "nrMFNs"), "firstGFN": _UINT64, "firstMFN": _UINT64, "nrMFNs": _UINT64}],
    },
}

_WINDOWS = {
    None: ("layerFolders",),
    "layerFolders": _folders,
    "devices": [{None: ("id", "idType"), "id": str, "idType": frozenset(("class",))}],
    "resources": {
        None: (),
        "memory": {None: (), "limit": _UINT64},
        "cpu": {None: (), "count": _UINT64, "shares": _UINT16, "maximum": _UINT16,
                "affinity": {None: (), "mask": _UINT64, "group": _UINT32}},
        "storage": {None: (), "iops": _UINT64, "bps": _UINT64, "sandboxSize": _UINT64},
    },
    "network": {None: (), "endpointList": _STRINGS, "allowUnqualifiedDNSQuery": bool, "DNSSearchList": _STRINGS,
                "networkSharedContainerName": str, "networkNamespace": str},
    "credentialSpec": _object,
    "servicing": bool,
    "ignoreFlushesDuringBoot": bool,
    "hyperv": {None: (), "utilityVMPath": str},
}

_SOLARIS = {
    None: (), "milestone": str, "limitpriv": str, "maxShmMemory": str,
    "cappedCPU": {None: (), "ncpus": str},
    "cappedMemory": {None: (), "physical": str, "swap": str},
    "anet": [{None: (), "linkname": str, "lowerLink": str, "allowedAddress": str, "configureAllowedAddress": str, "defrouter": str,
              "macAddress": str, "linkProtection": str}],
}

_ZOS = {None: (), "namespaces": [{None: ("type",), "path": str, "type": frozenset(("mount", "pid", "uts", "ipc"))}]}

_SHARING = frozenset(("disable", "new", "inherit"))
_SHARING_ON = frozenset(("new", "inherit"))
_FREEBSD = {
    None: (),
    "devices": [{None: (), "path": str, "mode": (0, 0o777)}],
    "jail": {
        None: (), "parent": str, "interface": str, "enforceStatfs": (0, 255),
        "host": _SHARING_ON, "vnet": _SHARING_ON, "vnetInterfaces": _STRINGS,
        "ip4": _SHARING, "ip4Addr": _STRINGS, "ip6": _SHARING, "ip6Addr": _STRINGS,
        "sysvmsg": _SHARING, "sysvsem": _SHARING, "sysvshm": _SHARING,
        "allow": {None: (), "setHostname": bool, "rawSockets": bool, "chflags": bool, "mount": _STRINGS, "quotas": bool,
                  "socketAf": bool, "mlock": bool, "reservedPorts": bool, "suser": bool},
    },
}

PLATFORMS = {None: (), "vm": _VM, "windows": _WINDOWS, "solaris": _SOLARIS, "zos": _ZOS, "freebsd": _FREEBSD}
