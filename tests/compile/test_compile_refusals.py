"""What can't be planned is refused by name, before anything is done."""

import pytest
from compiling import MAPS, V1, V2, config, create, facts, namespaces

from pyoci.cgroup.layout import Layout
from pyoci.errors import ConfigError, UnsupportedConfig

PROC_FILES = (
    "/proc/cpuinfo /proc/diskstats /proc/loadavg /proc/meminfo /proc/slabinfo /proc/stat /proc/swaps /proc/sys/crypto/fips_enabled"
    " /proc/sys/kernel/ns_last_pid /proc/uptime"
)
NO_DEVICES = Layout(1, {"cpu": ("/sys/fs/cgroup/cpu", "/")}, {"cpu": "/"}, frozenset(("cpu",)))
ROWS = {
    "rootfs-itself": (
        config(mounts=[{"destination": "/a/..", "type": "tmpfs"}]), facts(),
        "mounts[0].destination: '/a/..' is the rootfs itself (config.md#mounts)",
    ),
    "bind-without-source": (
        config(mounts=[{"destination": "/a", "type": "bind"}]), facts(),
        "mounts[0].source: a bind mount needs a source (config.md#mounts)",
    ),
    "no-type": (
        config(mounts=[{"destination": "/a", "type": "tmpfs"}, {"destination": "/b"}]), facts(),
        "mounts[1].type: a mount that is no bind mount needs a type (config.md#mounts)",
    ),
    "tmpcopyup": (
        config(mounts=[{"destination": "/a", "type": "ext4", "options": ["tmpcopyup"]}]), facts(),
        "mounts[0].options: tmpcopyup is for tmpfs, not for 'ext4' (config.md#mounts)",
    ),
    "something-on-proc": (
        config(mounts=[{"destination": "/proc", "type": "tmpfs"}]), facts(),
        "mounts[0].destination: only a procfs may be mounted on /proc (config.md#mounts)",
    ),
    "tmpfs-inside-proc": (
        config(mounts=[{"destination": "/x/../proc/acpi", "type": "tmpfs"}]), facts(),
        f"mounts[0].destination: '/proc/acpi' cannot be mounted because it is inside /proc; only these may be covered: {PROC_FILES}",
    ),
    "bind-inside-proc": (
        config(mounts=[{"destination": "/proc/self/exe", "type": "bind", "source": "/x"}]), facts(),
        f"mounts[0].destination: '/proc/self/exe' cannot be mounted because it is inside /proc; only these may be covered: {PROC_FILES}",
    ),
    "private-without-pivot": (
        config(linux_={"rootfsPropagation": "private"}), facts(no_pivot=True),
        "linux.rootfsPropagation: 'private' needs pivot_root, which --no-pivot forbids",
    ),
    "no-uid-map": (
        config(linux={"namespaces": namespaces("user"), "gidMappings": MAPS}), facts(),
        "linux.uidMappings: a new user namespace needs id mappings (config-linux.md#user-namespace-mappings)",
    ),
    "no-gid-map": (
        config(linux={"namespaces": namespaces("user", "network=/n"), "uidMappings": MAPS}), facts(),
        "linux.gidMappings: a new user namespace needs id mappings (config-linux.md#user-namespace-mappings)",
    ),
    "no-args": (config(process_={"args": []}), facts(), "process.args: args must not be empty (config.md#process)"),
    "newline-in-cgroup": (
        config(linux_={"cgroupsPath": "/a\nb"}), facts(),
        "linux.cgroupsPath: a NUL or a newline can't be in a path of a cgroup (config-linux.md#cgroups-path)",
    ),
    "deep-cgroup": (
        config(linux_={"cgroupsPath": "/a" * 101}), facts(), "linux.cgroupsPath: it has more than 100 slashes (config-linux.md#cgroups-path)",
    ),
    "no-devices-controller": (
        config(), facts(NO_DEVICES), "linux.cgroupsPath: this host has no devices cgroup controller, so devices would be open to all",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("document", "given", "text"), ROWS.values(), ids=ROWS)
def test_refusal_says_where_what_and_why(document, given, text):
    with pytest.raises(ConfigError) as caught:
        create(document, given)
    assert str(caught.value) == f"config.json: {text}"


def test_what_this_host_cannot_do_is_told_from_what_nobody_can():
    with pytest.raises(UnsupportedConfig):
        create(config(), facts(NO_DEVICES))


@pytest.mark.parametrize("layout", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("path", ["/a/../../../etc", "../../x", "/..", "a//b/."])
def test_cgroup_path_never_leads_out(path, layout):
    from compiling import one

    lines = one(create(config(linux_={"cgroupsPath": path}), facts(layout)), "make_cgroup").args[0]
    for line in lines:
        directory = line.partition("\t")[2]
        assert directory.startswith("/sys/fs/cgroup") and ".." not in directory.split("/")
