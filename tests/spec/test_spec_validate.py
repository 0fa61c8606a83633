"""validate.py: every stricter rule by its full text, every laxity, every unsupported wish, and that no document breaks it."""

import copy
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_documents import (
    LINUX,
    MINIMAL,
    NAMESPACES,
    PROCESS,
    RESOURCES,
    minimal,
    with_linux,
    with_process,
)
from spec_mutations import places, replaced

from pyoci.errors import ConfigError, UnsupportedConfig
from pyoci.spec import validate as module
from pyoci.spec.explain import schema_problems
from pyoci.spec.rules import LAXITIES, STRICTER, clause_of, quoted, without_laxities
from pyoci.spec.validate import (
    unsupported,
    unsupported_process,
    validate,
    validate_process,
    validate_resources,
)


def with_resources(**members):
    return with_linux(resources=members)


def with_mount(**members):
    return minimal(mounts=[{"destination": "/proc", "type": "proc"}, members])


def with_rlimits(*rlimits):
    return with_process(rlimits=[dict(zip(("type", "soft", "hard"), rlimit, strict=True)) for rlimit in rlimits])


def with_device(**members):
    return with_linux(devices=[members])


def with_hook(**members):
    return minimal(hooks={"poststop": [members]})


def user_namespace(**members):
    return with_linux(namespaces=[{"type": "user"}, {"type": "mount"}], **members)


MAPPINGS = [{"containerID": 0, "hostID": 1000, "size": 1}]
SYSTEM_CALL = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}

# (rule, the document, what it is refused with; the clause of the rule is added by the test)
BROKEN = [
    ("version-not-semver", minimal(ociVersion="1.0"), 'ociVersion: "1.0" is not a version such as 1.3.0'),
    ("version-not-semver", minimal(ociVersion="1.0.²"), 'ociVersion: "1.0.²" is not a version such as 1.3.0'),
    ("version-major", minimal(ociVersion="2.0.0"), 'ociVersion: "2.0.0" is of another major version than 1'),
    ("root-missing", {"ociVersion": "1.3.0"}, "root: root must be specified"),
    ("root-missing", minimal(root={"path": ""}), "root.path: must not be empty"),
    ("args-empty", minimal(process={"cwd": "/"}), "process.args: args must not be empty"),
    ("args-empty", with_process(args=[]), "process.args: args must not be empty"),
    ("cwd-relative", with_process(cwd="srv"), 'process.cwd: cwd must be an absolute path, got "srv"'),
    ("cwd-relative", with_process(cwd=""), 'process.cwd: cwd must be an absolute path, got ""'),
    ("env-entry", with_process(env=["A=b", "C"]), 'process.env[1]: invalid environment variable: no = in "C"'),
    ("env-entry", with_process(env=["=b"]), 'process.env[0]: invalid environment variable: a name must not be empty "=b"'),
    ("console-size-range", with_process(consoleSize={"height": 65536, "width": 1}), "process.consoleSize.height: 65536 is not in 0..65535"),
    ("rlimit-unknown", with_rlimits(("RLIMIT_FOO", 1, 1)), 'process.rlimits[0].type: unknown rlimit "RLIMIT_FOO"'),
    (
        "rlimit-duplicate",
        with_rlimits(("RLIMIT_CPU", 1, 1), ("RLIMIT_CPU", 1, 1)),
        "process.rlimits[1].type: RLIMIT_CPU is given twice",
    ),
    (
        "rlimit-soft-above-hard",
        with_rlimits(("RLIMIT_CPU", 2, 1)),
        "process.rlimits[0].soft: soft limit 2 is above the hard limit 1",
    ),
    ("id-none", with_process(user={"uid": 2**32 - 1, "gid": 0}), "process.user.uid: 4294967295 is no id"),
    ("id-none", with_process(user={"uid": 0, "gid": 2**32 - 1}), "process.user.gid: 4294967295 is no id"),
    ("id-none", with_process(user={"additionalGids": [1, 2**32 - 1]}), "process.user.additionalGids[1]: 4294967295 is no id"),
    ("oom-score-range", with_process(oomScoreAdj=-1001), "process.oomScoreAdj: -1001 is not in -1000..1000"),
    ("nul", with_process(args=["sh", "a\0b"]), r'process.args[1]: "a\u0000b" contains a NUL byte'),
    ("nul", minimal(root={"path": "a\0b"}), r'root.path: "a\u0000b" contains a NUL byte'),
    ("mount-destination", with_mount(destination="", type="proc"), "mounts[1].destination: must not be empty"),
    ("mount-destination", with_mount(destination="/.//./..", type="proc"), 'mounts[1].destination: "/.//./.." is on the top of rootfs'),
    ("mount-type-missing", with_mount(destination="/x"), "mounts[1].type: missing, and it is not a bind mount"),
    ("bind-source-missing", with_mount(destination="/x", options=["rbind"]), "mounts[1].source: a bind mount needs a source"),
    ("hook-path-relative", with_hook(path="hook"), 'hooks.poststop[0].path: "hook" is not absolute'),
    ("hook-timeout-range", with_hook(path="/x", timeout=1 << 31), "hooks.poststop[0].timeout: is longer than 2147483647 seconds"),
    ("map-key-empty", minimal(annotations={"": "x"}), "annotations: a key must not be empty"),
    ("hostname-without-uts", minimal(hostname="box"), "hostname: unable to set hostname without a private UTS namespace"),
    ("domainname-without-uts", minimal(domainname="x"), "domainname: unable to set domainname without a private UTS namespace"),
    (
        "namespace-duplicate",
        with_linux(namespaces=[{"type": "pid"}, {"type": "pid"}]),
        'linux.namespaces[1].type: duplicated namespace "pid"',
    ),
    (
        "namespace-path-relative",
        with_linux(namespaces=[{"type": "pid", "path": "ns"}]),
        'linux.namespaces[0].path: "ns" is not absolute',
    ),
    ("mappings-without-user", with_linux(gidMappings=MAPPINGS), "linux.gidMappings: id mappings need a user namespace"),
    ("user-without-mappings", user_namespace(uidMappings=MAPPINGS), "linux.gidMappings: a new user namespace needs id mappings"),
    (
        "mapping-size",
        user_namespace(uidMappings=[{"containerID": 0, "hostID": 0, "size": 0}]),
        "linux.uidMappings[0].size: must not be 0",
    ),
    (
        "mapping-size",
        user_namespace(uidMappings=[{"containerID": 0, "hostID": 2, "size": 4294967295}]),
        "linux.uidMappings[0].size: 4294967295 reaches beyond the last id",
    ),
    ("time-offsets-without-time", with_linux(timeOffsets={"boottime": {"secs": 1}}), "linux.timeOffsets: needs a new time namespace"),
    (
        "sysctl-not-namespaced",
        with_linux(sysctl={"kernel.msgmax": "1"}),
        'linux.sysctl["kernel.msgmax"]: sysctl "kernel.msgmax" is not allowed in the hosts ipc namespace',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(sysctl={"fs/mqueue/msg_max": "1"}),
        'linux.sysctl["fs/mqueue/msg_max"]: sysctl "fs/mqueue/msg_max" is not allowed in the hosts ipc namespace',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(sysctl={"net.core.somaxconn": "1"}),
        'linux.sysctl["net.core.somaxconn"]: sysctl "net.core.somaxconn" not allowed in host network namespace',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(sysctl={"kernel.domainname": "x"}),
        'linux.sysctl["kernel.domainname"]: sysctl "kernel.domainname" is not allowed in the hosts uts namespace',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(sysctl={"user.max_mnt_namespaces": "1"}),
        'linux.sysctl["user.max_mnt_namespaces"]: sysctl "user.max_mnt_namespaces" is not allowed in the hosts user namespace',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(namespaces=NAMESPACES, sysctl={"kernel.hostname": "x"}),
        'linux.sysctl["kernel.hostname"]: sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(namespaces=NAMESPACES, sysctl={"vm.swappiness": "1"}),
        'linux.sysctl["vm.swappiness"]: sysctl "vm.swappiness" is not in a separate kernel namespace',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(namespaces=NAMESPACES, sysctl={"net/../kernel/core_pattern": "x"}),
        'linux.sysctl["net/../kernel/core_pattern"]: sysctl "net/../kernel/core_pattern" is not a name',
    ),
    (
        "sysctl-not-namespaced",
        with_linux(namespaces=NAMESPACES, sysctl={"net.ipv4./../x": "x"}),
        'linux.sysctl["net.ipv4./../x"]: sysctl "net.ipv4./../x" is not a name',
    ),
    (
        "paths-without-mount",
        with_linux(namespaces=[], maskedPaths=["/proc/kcore"]),
        "linux.maskedPaths: unable to restrict sys entries without a private mount namespace",
    ),
    ("paths-relative", with_linux(readonlyPaths=["/proc/sys", "proc"]), 'linux.readonlyPaths[1]: "proc" is not absolute'),
    ("device-path-relative", with_device(path="dev/x", type="p"), 'linux.devices[0].path: "dev/x" is not absolute'),
    ("device-number-missing", with_device(path="/dev/x", type="c", major=1), "linux.devices[0].minor: missing for type c"),
    ("cgroups-path-dots", with_linux(cgroupsPath="/a/../../b"), 'linux.cgroupsPath: "/a/../../b" must not contain ..'),
    (
        "device-rule-type",
        with_resources(devices=[{"allow": True, "type": "p", "access": "r"}]),
        'linux.resources.devices[0].type: "p" is none of a, b, c',
    ),
    ("device-rule-access", with_resources(devices=[{"allow": True}]), 'linux.resources.devices[0].access: expected some of r, w, m, got ""'),
    (
        "device-rule-access",
        with_resources(devices=[{"allow": True, "access": "rx"}]),
        'linux.resources.devices[0].access: expected some of r, w, m, got "rx"',
    ),
    (
        "swap-below-limit",
        with_resources(memory={"limit": 2, "swap": 1}),
        "linux.resources.memory.swap: memory+swap limit should be >= memory limit, got 1 < 2",
    ),
    ("swappiness-range", with_resources(memory={"swappiness": 101}), "linux.resources.memory.swappiness: 101 is not in 0..100"),
    ("weight-range", with_resources(blockIO={"leafWeight": 9}), "linux.resources.blockIO.leafWeight: 9 is not in 10..1000"),
    (
        "weight-range",
        with_resources(blockIO={"weightDevice": [{"major": 8, "minor": 0, "weight": 1001}]}),
        "linux.resources.blockIO.weightDevice[0].weight: 1001 is not in 10..1000",
    ),
    ("rdma-empty", with_resources(rdma={"mlx5_1": {}}), 'linux.resources.rdma["mlx5_1"]: needs hcaHandles or hcaObjects'),
    (
        "unified-name",
        with_resources(unified={"../memory.max": "1"}),
        'linux.resources.unified["../memory.max"]: unified resource "../memory.max" must be a file name',
    ),
    (
        "listener-metadata-alone",
        with_linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
        "linux.seccomp.listenerMetadata: needs listenerPath",
    ),
    (
        "seccomp-argument-index",
        with_linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**SYSTEM_CALL, "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
        "linux.seccomp.syscalls[0].args[0].index: 6 is not in 0..5",
    ),
]

# What the schema refuses too: one of each kind of rule.
SHAPES = [
    ({}, "ociVersion: missing (config.md#specification-version)"),
    (minimal(hostname=5), "hostname: expected a string, got 5 (config.md#hostname)"),
    (minimal(mounts={}), "mounts: expected an array, got an object (config.md#mounts)"),
    (minimal(mounts=[None]), "mounts[0]: expected an object, got null (config.md#mounts)"),
    (minimal(annotations={"a.b": 1}), 'annotations["a.b"]: expected a string, got 1 (config.md#annotations)'),
    (minimal(annotations={"a": None}), 'annotations["a"]: expected a string, got null (config.md#annotations)'),
    (with_process(terminal="yes"), 'process.terminal: expected true or false, got "yes" (config.md#process)'),
    (with_process(env=["A=b", ["C"]]), "process.env[1]: expected a string, got an array (config.md#posix-process)"),
    (with_process(user={"uid": -1}), "process.user.uid: -1 is below 0 (config.md#posix-platform-user)"),
    (with_process(user={"uid": 1 << 32}), "process.user.uid: 4294967296 is above 4294967295 (config.md#posix-platform-user)"),
    (with_process(user={"uid": 1.0}), "process.user.uid: expected an integer, got 1.0 (config.md#posix-platform-user)"),
    (with_process(user={"uid": True}), "process.user.uid: expected an integer, got true (config.md#posix-platform-user)"),
    (with_process(oomScoreAdj=10**400), "process.oomScoreAdj: a huge number is not in -1000..1000 (config.md#linux-process)"),
    (with_rlimits(("NOFILE", 1, 1)), 'process.rlimits[0].type: expected a name such as RLIMIT_NOFILE, got "NOFILE" (config.md#posix-process)'),
    (with_rlimits(("RLIMIT_CPU\n", 1, 1)), r'process.rlimits[0].type: expected a name such as RLIMIT_NOFILE, got "RLIMIT_CPU\n" (config.md#posix-process)'),
    (
        with_linux(namespaces=[{"type": "net"}]),
        "linux.namespaces[0].type: unknown value "
        + '"net", expected one of cgroup ipc mount network pid time user uts (config-linux.md#namespaces)',
    ),
    (
        with_resources(hugepageLimits=[{"pageSize": "64kB", "limit": 1}]),
        "linux.resources.hugepageLimits[0].pageSize: "
        + 'expected a size such as 64KB, 2MB or 1GB, got "64kB" (config-linux.md#huge-page-limits)',
    ),
    (
        with_linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**SYSTEM_CALL, "names": []}]}),
        "linux.seccomp.syscalls[0].names: must not be empty (config-linux.md#seccomp)",
    ),
    (with_process(execCPUAffinity={"final": "all"}), 'process.execCPUAffinity.final: expected a list such as 0-3,7, got "all" (config.md#linux-process)'),
    (with_linux(intelRdt={"memBwSchema": "MB0"}), 'linux.intelRdt.memBwSchema: expected MB:..., got "MB0" (config-linux.md#intelrdt)'),
    (with_linux(rootfsPropagation=[]), "linux.rootfsPropagation: expected a string, got an array (config-linux.md#rootfs-mount-propagation)"),
    (with_device(path="/x", type="p", fileMode=1 << 32), "linux.devices[0].fileMode: 4294967296 is above 4294967295 (config-linux.md#devices)"),
    (minimal(windows={}), "windows.layerFolders: missing (config-windows.md)"),
    (minimal(windows={"layerFolders": []}), "windows.layerFolders: must not be empty (config-windows.md)"),
    (minimal(vm={"kernel": {"path": 1}}), "vm.kernel.path: expected a string, got 1 (config-vm.md)"),
]


def refusal(judge, document):
    with pytest.raises(ConfigError) as caught:
        judge(document)
    return caught.value


@pytest.mark.parametrize(("rule", "config", "text"), BROKEN, ids=[f"{row[0]}-{index}" for index, row in enumerate(BROKEN)])
def test_stricter_rule_refuses_with_path_value_and_clause(rule, config, text):
    error = refusal(validate, config)
    assert str(error) == f"config.json: {text} ({STRICTER[rule][0]})"
    assert error.rule == rule


@pytest.mark.parametrize(("rule", "config", "text"), BROKEN, ids=[f"{row[0]}-{index}" for index, row in enumerate(BROKEN)])
def test_stricter_rule_is_really_stricter_than_the_schema(rule, config, text):
    assert schema_problems(config) == []


def test_every_stricter_rule_has_an_example():
    assert {row[0] for row in BROKEN} == set(STRICTER)


@pytest.mark.parametrize(("config", "text"), SHAPES)
def test_wrong_shape_is_refused_with_path_value_and_clause(config, text):
    error = refusal(validate, config)
    assert str(error) == "config.json: " + text
    assert error.rule in ("", "oom-score-range")


LAX = [
    ("null", with_process(user=None, env=None, capabilities={"ambient": None})),
    ("null", minimal(mounts=None, hooks={"poststop": None}, annotations=None, hostname=None, process=None)),
    ("null", {**minimal(), "linux": None}),
    ("null", with_resources(memory={"limit": None}, devices=None, rdma={"a": {"hcaHandles": None, "hcaObjects": 1}})),
    *(("recursive-propagation", with_linux(rootfsPropagation=word)) for word in ("rprivate", "rshared", "rslave", "runbindable")),
    ("file-mode-bits", with_device(path="/dev/x", type="c", major=1, minor=3, fileMode=0o20666)),
    ("pids-without-limit", with_resources(pids={})),
]


@pytest.mark.parametrize(("laxity", "config"), LAX, ids=[f"{row[0]}-{index}" for index, row in enumerate(LAX)])
def test_laxity_is_accepted_although_the_schema_refuses_it(laxity, config):
    assert validate(config) == []
    assert schema_problems(config) != []
    assert schema_problems(without_laxities(config)) == []


def test_every_laxity_has_an_example():
    assert {row[0] for row in LAX} == set(LAXITIES)


@pytest.mark.parametrize(
    "config",
    [
        minimal(),
        minimal(process=None),
        minimal(ociVersion="1.99.0-rc.1+x"),
        minimal(ociVersion="0.5.0-dev"),
        minimal(unknown={"deep": [None]}, annotations={"a": "\0"}),
        with_mount(destination="/x", options=["remount", "ro"]),
        with_mount(destination="/x", type="bind", source="/y"),
        with_mount(destination="/...", type="tmpfs"),
        with_linux(namespaces=NAMESPACES, sysctl={"net/ipv4/conf/eth0.1/forwarding": "1", "net.ipv4.conf.eth0/1.forwarding": "1"}),
        with_linux(namespaces=[{"type": "user", "path": "/proc/1/ns/user"}], uidMappings=MAPPINGS),
        with_resources(memory={"limit": 2, "swap": -1, "swappiness": (1 << 64) - 1}),
        with_resources(memory={"limit": 1, "swap": 1, "swappiness": 100}),
        with_resources(memory={"limit": -1, "swap": 0}, blockIO={"weight": 0}, pids={"limit": 0}),
        with_resources(devices=[{"allow": False, "type": "", "access": "rwm"}]),
        LINUX,
    ],
)
def test_valid_config_is_accepted_without_a_warning(config):
    assert validate(config) == []


def test_unknown_capability_is_a_warning():
    config = with_process(capabilities={"bounding": ["CAP_KILL", "CAP_FLY", "kill"], "effective": ["CAP_FLY"], "other": [["x"]]})
    assert validate(config) == ['process.capabilities: ignoring unknown capabilities "CAP_FLY", "kill"']
    assert validate_process(config["process"]) == ['capabilities: ignoring unknown capabilities "CAP_FLY", "kill"']


def test_relative_mount_destination_is_a_warning():
    config = with_mount(destination="data", type="tmpfs")
    assert validate(config) == ['mounts[1].destination: "data" is relative, which is deprecated; taken from /']


def test_personality_flags_are_a_warning():
    config = with_linux(personality={"domain": "LINUX", "flags": ["x"]})
    assert validate(config) == ["linux.personality.flags: ignored, no flag is defined"]


def test_validate_does_not_change_the_document():
    config = copy.deepcopy(LINUX)
    validate(config)
    assert config == LINUX


def test_process_document_is_refused_by_its_own_paths():
    assert str(refusal(validate_process, {"cwd": "x", "args": ["a"]})) == 'process.json: cwd: cwd must be an absolute path, got "x" (config.md#process)'
    assert str(refusal(validate_process, {"cwd": "/", "args": [1]})) == "process.json: args[0]: expected a string, got 1 (config.md#process)"
    assert validate_process(PROCESS) == []


def test_resources_document_is_refused_by_its_own_paths():
    error = refusal(validate_resources, {"memory": {"limit": "1g"}})
    assert str(error) == 'resources.json: memory.limit: expected an integer, got "1g" (config-linux.md#memory)'
    assert validate_resources(RESOURCES) == []


UNSUPPORTED = [
    (with_process(scheduler=PROCESS["scheduler"]), "process.scheduler: scheduler"),
    (with_process(ioPriority=PROCESS["ioPriority"]), "process.ioPriority: ioPriority"),
    (with_process(execCPUAffinity={"initial": "0"}), "process.execCPUAffinity: execCPUAffinity"),
    (with_mount(destination="/x", source="/y", options=["rbind", "idmap"]), 'mounts[1].options: mount option "idmap"'),
    (with_mount(destination="/x", source="/y", options=["rbind", "ridmap"]), 'mounts[1].options: mount option "ridmap"'),
    (with_mount(destination="/x", source="/y", options=["bind"], uidMappings=MAPPINGS), "mounts[1].uidMappings: uidMappings"),
    (with_mount(destination="/x", source="/y", options=["bind"], gidMappings=MAPPINGS), "mounts[1].gidMappings: gidMappings"),
    (with_linux(timeOffsets={"boottime": {"secs": 1}}, namespaces=[{"type": "time"}]), "linux.timeOffsets: timeOffsets"),
    (with_linux(netDevices={"eth0": {}}), "linux.netDevices: netDevices"),
    (with_linux(memoryPolicy={"mode": "MPOL_LOCAL"}), "linux.memoryPolicy: memoryPolicy"),
    (with_linux(intelRdt={}), "linux.intelRdt: intelRdt"),
    (with_linux(seccomp={"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY"),
    (
        with_linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [SYSTEM_CALL, {**SYSTEM_CALL, "action": "SCMP_ACT_NOTIFY"}]}),
        "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY",
    ),
]


@pytest.mark.parametrize(("config", "text"), UNSUPPORTED)
def test_valid_but_unsupported_wish_is_refused_by_name(config, text):
    validate(config)
    with pytest.raises(UnsupportedConfig) as caught:
        unsupported(config)
    assert str(caught.value) == f"config.json: {text} is not supported by this release"


def test_every_row_of_the_unsupported_tables_has_an_example():
    examples = {text.split(": ")[0].split(".")[-1] for _config, text in UNSUPPORTED}
    rows = module.UNSUPPORTED_PROCESS + module.UNSUPPORTED_LINUX + module.UNSUPPORTED_MOUNT
    assert {name for name, _how in rows} <= examples
    assert {text.split('"')[1] for _config, text in UNSUPPORTED if '"' in text} == set(module.UNSUPPORTED_MOUNT_OPTIONS)


@pytest.mark.parametrize(
    "config",
    [
        MINIMAL,
        {**minimal(), "linux": None, "process": None, "mounts": None},
        with_process(apparmorProfile="", selinuxLabel="", execCPUAffinity={}, scheduler=None, ioPriority=None),
        with_linux(mountLabel="", netDevices={}, timeOffsets={}, memoryPolicy={}, intelRdt=None),
        with_linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}),
        with_mount(destination="/x", type="tmpfs", uidMappings=[], gidMappings=None, options=None),
    ],
)
def test_empty_wish_is_no_wish(config):
    validate(config)
    unsupported(config)


def test_unsupported_wish_of_a_process_document_is_refused_by_its_own_path():
    with pytest.raises(UnsupportedConfig) as caught:
        unsupported_process({"scheduler": {"policy": "SCHED_RR"}}, document="process.json")
    assert str(caught.value) == "process.json: scheduler: scheduler is not supported by this release"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
PLACES = list(places(LINUX))


@given(st.sampled_from(PLACES), ANY, st.sampled_from(PLACES), ANY)
def test_no_document_makes_the_validator_fail_otherwise_than_by_a_refusal(steps, value, other_steps, other_value):
    config = replaced(LINUX, steps, value)
    try:
        config = replaced(config, other_steps, other_value)
    except (KeyError, IndexError, TypeError, AttributeError):
        pass  # the first change took the second place away
    try:
        validate(config)
        unsupported(config)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 600


@given(st.text(min_size=1))
def test_quoted_text_is_short_and_has_no_line_end(text):
    assert quoted(text).isprintable()
    assert len(quoted(text)) < 1000


@pytest.mark.parametrize(
    ("path", "clause"),
    [
        ("", "config.md"),
        ("nothing", "config.md"),
        ("mountsX", "config.md"),
        ("mounts[4].type", "config.md#mounts"),
        ("linux.resources.memory.limit", "config-linux.md#memory"),
        ("linux.resources.none", "config-linux.md#control-groups"),
        ("linux.none", "config-linux.md"),
    ],
)
def test_clause_is_that_of_the_nearest_described_section(path, clause):
    assert clause_of(path) == clause


def test_both_lists_are_in_the_readme_of_the_schemas():
    readme = (pathlib.Path(__file__).parents[2] / "schemas" / "README.md").read_text()
    for name, (clause, sentence) in STRICTER.items():
        assert f"| {name} | {sentence} | {clause} |" in readme
    for name, (caller, sentence) in LAXITIES.items():
        assert f"| {name} | {sentence} | {caller} |" in readme
