"""The documents that pyoci writes (spec, features), and explain.py."""

import pytest
from spec_documents import LINUX, minimal, with_linux

from pyoci import __version__
from pyoci.runtime.checkpoint import CONFIG_ANNOTATION
from pyoci.spec import features as features_module
from pyoci.spec.locate import locate
from pyoci.spec.defaults import spec
from pyoci.spec.explain import config_path, explain, schema_problems
from pyoci.spec.features import features
from pyoci.spec.names import CAPABILITIES, MOUNT_OPTIONS
from pyoci.spec.validate import validate


@pytest.mark.parametrize("rootless", [False, True])
@pytest.mark.parametrize("cgroup2", [False, True])
def test_default_config_is_valid_and_supported(rootless, cgroup2):
    config = spec(rootless, cgroup2=cgroup2, euid=1000, egid=100)
    assert explain(config) == []
    assert validate(config) == []


def namespace_types(config):
    return [entry["type"] for entry in config["linux"]["namespaces"]]


def test_default_config_is_what_runc_writes():
    config = spec()
    assert list(config) == ["ociVersion", "process", "root", "hostname", "mounts", "linux"]
    assert config["hostname"] == "pyoci"
    assert config["process"]["args"] == ["sh"]
    assert config["process"]["terminal"] is True
    assert config["root"] == {"path": "rootfs", "readonly": True}
    assert set(config["process"]["capabilities"]) == {"bounding", "effective", "permitted"}
    assert namespace_types(config) == ["pid", "network", "ipc", "uts", "mount", "cgroup"]
    assert config["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    assert [mount["destination"] for mount in config["mounts"]] == [
        "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup",
    ]  # fmt: skip


def test_default_config_asks_for_a_cgroup_namespace_on_cgroup2_only():
    assert "cgroup" not in namespace_types(spec(cgroup2=False))


def test_rootless_config_maps_the_caller_and_asks_for_nothing_it_cannot_have():
    config = spec(True, euid=1000, egid=100)
    assert namespace_types(config) == ["pid", "ipc", "uts", "mount", "cgroup", "user"]
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert config["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 100, "size": 1}]
    assert "resources" not in config["linux"]
    assert config["mounts"][-1] == {
        "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "rro"],
    }  # fmt: skip
    assert not [option for mount in config["mounts"] for option in mount.get("options", ()) if option.startswith("gid=")]


def test_default_config_is_fresh_each_time():
    spec()["process"]["capabilities"]["bounding"].clear()
    assert spec()["process"]["capabilities"]["bounding"]


def test_features_are_valid_for_the_schema():
    document = features(libseccomp="2.5.4", seccomp_archs=["SCMP_ARCH_X86_64"], seccomp_flags=["SECCOMP_FILTER_FLAG_LOG"])
    assert schema_problems(document, "features") == []
    assert schema_problems(features(), "features") == []


def test_features_claim_nothing_that_is_refused(monkeypatch):
    linux = features(libseccomp="2.5.4")["linux"]
    assert linux["mountExtensions"]["idmap"]["enabled"] is False
    assert linux["netDevices"]["enabled"] is False
    assert linux["memoryPolicy"] == {"modes": [], "flags": []}
    assert "SCMP_ACT_NOTIFY" not in linux["seccomp"]["actions"]
    monkeypatch.setattr(features_module, "UNSUPPORTED_LINUX", ())
    monkeypatch.setattr(features_module, "UNSUPPORTED_MOUNT_OPTIONS", ())
    document = features()
    assert document["linux"]["netDevices"]["enabled"] is True
    assert document["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert "MPOL_BIND" in document["linux"]["memoryPolicy"]["modes"]
    assert set(document["mountOptions"]) == set(MOUNT_OPTIONS)


def test_features_know_the_labels_of_both_security_modules():
    linux = features()["linux"]
    assert linux["apparmor"] == linux["selinux"] == {"enabled": True}


def test_features_know_the_systemd_driver():
    assert features()["linux"]["cgroup"]["systemd"] is True
    assert features()["potentiallyUnsafeConfigAnnotations"] == [CONFIG_ANNOTATION, "org.systemd.property."]
    assert [features(systemd_user=can)["linux"]["cgroup"]["systemdUser"] for can in (False, True)] == [False, True]


def test_features_list_every_mount_option_that_is_done():
    assert set(MOUNT_OPTIONS) - set(features()["mountOptions"]) == {"idmap", "ridmap"}
    assert "rro" in features()["mountOptions"]


def test_features_follow_the_facts_of_the_host():
    document = features(last_capability=37, libseccomp="2.5.4", seccomp_flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_NEWER"], commit="abc")
    assert document["linux"]["capabilities"] == list(CAPABILITIES)[:38]
    assert document["linux"]["seccomp"]["supportedFlags"] == ["SECCOMP_FILTER_FLAG_LOG"]
    assert document["annotations"] == {
        "org.pyoci.version": __version__, "org.pyoci.commit": "abc", "io.github.seccomp.libseccomp.version": "2.5.4",
    }  # fmt: skip
    assert features()["linux"]["seccomp"] == {"enabled": False}


def test_explanation_names_every_problem():
    config = {"ociVersion": 5, "mounts": [{}], "process": {"cwd": "/", "rlimits": [{"type": "x"}]}, "annotations": {"a.b": 5}}
    assert explain(config) == [
        ('annotations["a.b"]', "expected a string, got 5"),
        ("mounts[0].destination", "missing"),
        ("ociVersion", "expected a string, got 5"),
        ("process.rlimits[0].hard", "missing"),
        ("process.rlimits[0].soft", "missing"),
        ("process.rlimits[0].type", '"x" does not match ^RLIMIT_[A-Z]+$'),
    ]


def test_explanation_of_ranges_and_words_is_short():
    config = with_linux(namespaces=[{"type": "x" * 5000}], cgroupsPath=10**4000, resources={"pids": {"limit": 10**4000}}, seccomp={"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]})
    problems = dict(explain(config))
    assert problems["linux.resources.pids.limit"] == "a huge number is above 9223372036854775807"
    assert problems["linux.cgroupsPath"] == "expected a string, got a huge number"
    assert problems["linux.seccomp.syscalls[0].names"] == "must not be empty"
    assert all(len(problem) < 300 for problem in problems.values())


def test_explanation_leaves_the_laxities_alone():
    assert explain(with_linux(rootfsPropagation="rslave", devices=None)) == []


def test_explanation_of_a_valid_shape_goes_on_to_the_rules_and_to_what_is_unsupported():
    assert explain(minimal(hostname="x")) == [("hostname", "unable to set hostname without a private UTS namespace")]
    assert explain(LINUX) == [("process.scheduler", "scheduler is not supported by this release")]


def test_explained_paths_are_those_that_locate_finds():
    text = b'{"annotations": {\n"a.b": [\n1, {"c\\"d": 5}]}}'
    assert config_path(["annotations", "a.b", 1, 'c"d']) == r'annotations["a.b"][1]["c\"d"]'
    assert locate(text, config_path(["annotations", "a.b", 1, 'c"d'])) == 3


def test_deeply_nested_unknown_members_are_explained_too():
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert explain(minimal(unknown=deep)) == []
