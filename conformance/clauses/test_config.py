"""config.md: the version, annotations, extensibility and valid values."""
import pytest

clause = pytest.mark.clause


@pytest.mark.parametrize("version", ["invalid", "", "1", "1.0", "01.0.0", "1.0.0.0"])
@clause("config.md#specification-version", "ociVersion MUST be in SemVer v2.0.0 format")
def test_version_that_is_no_semver_is_refused(container, version):
    container.config["ociVersion"] = version
    container.refused()


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.0.0-rc5+build.7", "1.1.0", "1.2.1", "1.3.0"])
@clause("config.md#specification-version", "retains forward and backward compatibility within major versions")
def test_version_of_the_same_major_up_to_ours_is_accepted(container, version):
    container.config["ociVersion"] = version
    container.create()


@clause("config.md#specification-version", "ociVersion is REQUIRED")
def test_config_without_a_version_is_refused(container):
    del container.config["ociVersion"]
    container.refused()


@clause("config.md#annotations", "Runtimes MUST handle unknown annotation keys like any other unknown property")
def test_unknown_annotation_is_no_error(container):
    container.config["annotations"] = {"org.example.unknown": "value"}
    container.report()


@clause("config.md#annotations", "Values MAY be an empty string")
def test_empty_annotation_is_no_error(container):
    container.config["annotations"] = {"org.example.unknown": ""}
    container.report()


@clause("config.md#annotations", "Values MUST be strings")
def test_annotation_that_is_no_string_is_refused(container):
    container.config["annotations"] = {"org.example.number": 1}
    container.refused()


@pytest.mark.parametrize("place", ["", "process", "linux", "root", "mounts", "hooks", "resources"])
@clause("config.md#extensibility", "unknown properties: MUST otherwise ignore them")
def test_unknown_property_is_ignored(container, place):
    config = container.config
    config["hooks"] = {}
    config["linux"]["resources"] = {}
    target = {"": config, "process": config["process"], "linux": config["linux"], "root": config["root"], "mounts": config["mounts"][0],
              "hooks": config["hooks"], "resources": config["linux"]["resources"]}[place]
    target["unknown"] = {"anything": [1, "two", None]}
    container.report()


INVALID = {
    "namespace kind": lambda config: config["linux"]["namespaces"].append({"type": "galaxy"}),
    "device kind": lambda config: config["linux"].update(devices=[{"path": "/dev/x", "type": "x", "major": 1, "minor": 3}]),
    "seccomp action": lambda config: config["linux"].update(seccomp={"defaultAction": "SCMP_ACT_MAYBE"}),
    "seccomp architecture": lambda config: config["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"],
                 "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]}),
    "uid that is a string": lambda config: config["process"]["user"].update(uid="root"),
    "negative uid": lambda config: config["process"]["user"].update(uid=-1),
    "args that are a string": lambda config: config["process"].update(args="/probe"),
    "root that is a list": lambda config: config.update(root=[]),
    "mounts that are an object": lambda config: config.update(mounts={}),
    "oomScoreAdj out of range": lambda config: config["process"].update(oomScoreAdj=5000),
}


@pytest.mark.parametrize("change", INVALID.values(), ids=[each.replace(" ", "-") for each in INVALID])
@clause("config.md#valid-values", "Runtimes MUST generate an error when invalid or unsupported values are encountered")
def test_invalid_value_is_refused(container, change):
    change(container.config)
    container.refused()


@clause("config.md#valid-values", "Runtimes MUST generate an error when invalid or unsupported values are encountered")
def test_config_that_is_no_json_is_refused(container):
    container.write_config = lambda: (container.bundle / "config.json").write_text("{")
    container.refused()
