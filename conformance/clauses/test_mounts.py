"""config.md#root and #mounts."""
import json
import os
import subprocess

import pytest
from container import mount_of, mounts_in

clause = pytest.mark.clause


@pytest.fixture
def source(container):
    """A folder of the host with a file and a submount, to be bound."""
    folder = container.bundle / "source"
    folder.mkdir()
    (folder / "file").write_text("text")
    (folder / "sub").mkdir()
    return folder


@pytest.fixture
def submount(source):
    """The folder's submount: a tmpfs with one file."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(source / "sub")], check=True)
    (source / "sub" / "deep").write_text("deep")
    yield source / "sub"
    subprocess.run(["umount", "-l", str(source / "sub")], check=True)


# --- root -----------------------------------------------------------------------------------------------------------

@clause("config.md#root", "If readonly is true the root filesystem MUST be read-only inside the container")
def test_read_only_root_cannot_be_written(container):
    for name in ("proc", "dev", "sys"):
        (container.rootfs / name).mkdir()
    container.config["root"]["readonly"] = True
    assert container.report("/")["paths"]["/"]["writable"] == 0


@clause("config.md#root", "readonly defaults to false")
def test_root_is_writable_by_default(container):
    assert container.report("/")["paths"]["/"]["writable"] == 1


@clause("config.md#root", "path is either an absolute path or a relative path to the bundle")
def test_root_path_may_be_absolute(container):
    container.config["root"]["path"] = str(container.rootfs)
    assert "/probe" in container.report()["args"]


@clause("config.md#root", "A directory MUST exist at the path declared by the field")
def test_missing_root_is_refused(container):
    container.config["root"]["path"] = "missing"
    container.refused()


@clause("config.md#root", "A directory MUST exist at the path declared by the field")
def test_root_that_is_a_file_is_refused(container):
    (container.bundle / "file").touch()
    container.config["root"]["path"] = "file"
    container.refused()


@clause("config.md#root", "root: on all other platforms, this field is REQUIRED")
def test_config_without_a_root_is_refused(container):
    del container.config["root"]
    container.refused()


# --- order and places -----------------------------------------------------------------------------------------------

@clause("config.md#mounts", "The runtime MUST mount entries in the listed order")
def test_mounts_appear_in_the_listed_order(container):
    for target in ("/c", "/a", "/b", "/a/inner"):
        container.mount(target)
    targets = [each["target"] for each in mounts_in(container.report()["mountinfo"])]
    assert [each for each in targets if each.startswith(("/a", "/b", "/c"))] == ["/c", "/a", "/b", "/a/inner"]


@clause("config.md#mounts", "The runtime MUST mount entries in the listed order")
def test_later_mount_on_the_same_place_lies_on_top(container):
    container.mount("/data", options=["mode=700"])
    container.mount("/data", options=["mode=711"])
    assert container.report("/data")["paths"]["/data"]["mode"] == 0o711


@clause("config.md#mounts", "destination MAY be a relative path, in which case it MUST be interpreted as relative to /")
def test_relative_destination_is_below_the_root(container):
    container.mount("data")
    assert mount_of(container.report(), "/data")["type"] == "tmpfs"


@clause("config.md#mounts", "source: path values for bind mounts are either absolute or relative to the bundle")
def test_relative_source_of_a_bind_is_below_the_bundle(container, source):
    container.bind("source", "/data")
    assert container.report("/data/file")["paths"]["/data/file"]["text"] == "text"


@clause("config.md#mounts", "source is a device name, or a dummy")
def test_source_of_a_mount_is_shown_as_configured(container):
    container.mount("/data", source="my-dummy")
    assert mount_of(container.report(), "/data")["source"] == "my-dummy"


@clause("config.md#mounts", "If the runtime cannot apply a property it MUST generate an error")
def test_bind_of_a_missing_source_is_refused(container):
    container.bind(container.bundle / "missing", "/data")
    container.refused()


# --- binds ----------------------------------------------------------------------------------------------------------

@clause("config.md#mounts", "A mount is a bind mount if it has either bind or rbind in the options; its type is a dummy")
@pytest.mark.parametrize("kind", ["bind", "none", "tmpfs", None])
def test_bind_ignores_its_type(container, source, kind):
    container.mount("/data", source, kind, ["bind"])
    if kind is None:
        del container.config["mounts"][-1]["type"]
    assert container.report("/data/file")["paths"]["/data/file"]["text"] == "text"


@clause("config.md#linux-mount-options", "bind: MUST")
def test_file_can_be_bound(container, source):
    container.bind(source / "file", "/etc/config")
    assert container.report("/etc/config")["paths"]["/etc/config"]["text"] == "text"


@clause("config.md#linux-mount-options", "bind: MUST")
def test_bind_leaves_submounts_behind(container, source, submount):
    container.bind(source, "/data")
    seen = container.report("/data/file", "/data/sub/deep")["paths"]
    assert "text" in seen["/data/file"] and "errno" in seen["/data/sub/deep"]


@clause("config.md#linux-mount-options", "rbind: MUST")
def test_rbind_takes_submounts_along(container, source, submount):
    container.mount("/data", source, "bind", ["rbind"])
    assert container.report("/data/sub/deep")["paths"]["/data/sub/deep"]["text"] == "deep"


@clause("config.md#linux-mount-options", "bind with ro: the mount's own flags")
def test_read_only_bind_cannot_be_written(container, source):
    container.bind(source, "/data", "ro")
    assert container.report("/data")["paths"]["/data"]["writable"] == 0


@clause("config.md#linux-mount-options", "rro: SHOULD")
def test_recursive_read_only_reaches_submounts(container, source, submount):
    container.mount("/data", source, "bind", ["rbind", "rro"])
    assert "ro" in mount_of(container.report(), "/data/sub")["options"]


@clause("config.md#linux-mount-options", "ro: MUST, of the mount alone")
def test_read_only_does_not_reach_submounts(container, source, submount):
    container.mount("/data", source, "bind", ["rbind", "ro"])
    assert "rw" in mount_of(container.report(), "/data/sub")["options"]


@pytest.mark.parametrize("option", ["rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"])
@clause("config.md#linux-mount-options", "recursive options: SHOULD")
def test_recursive_option_reaches_submounts(container, source, submount, option):
    container.mount("/data", source, "bind", ["rbind", option])
    assert option[1:] in mount_of(container.report(), "/data/sub")["options"]


@clause("config.md#linux-mount-options", "bind: options of file systems have no meaning for it")
def test_bind_with_the_options_of_a_file_system_is_accepted(container, source):
    container.bind(source, "/data", "nosuid", "strictatime", "mode=755", "size=1k")
    assert "nosuid" in mount_of(container.report(), "/data")["options"]


# --- options --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("option", "shown"), [
    ("ro", "ro"), ("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"), ("noatime", "noatime"), ("nodiratime", "nodiratime"),
    ("relatime", "relatime"), ("nosymfollow", "nosymfollow"),
])
@clause("config.md#linux-mount-options", "ro, nosuid, nodev, noexec, noatime, nodiratime, relatime: MUST; nosymfollow: SHOULD")
def test_option_is_shown_on_the_mount(container, option, shown):
    container.mount("/data", options=[option])
    assert shown in mount_of(container.report(), "/data")["options"]


@clause("config.md#linux-mount-options", "strictatime: MUST")
def test_strictatime_is_neither_relatime_nor_noatime(container):
    container.mount("/data", options=["strictatime"])
    assert {"relatime", "noatime"}.isdisjoint(mount_of(container.report(), "/data")["options"])


@pytest.mark.parametrize("option", ["sync", "dirsync", "lazytime"])
@clause("config.md#linux-mount-options", "sync, dirsync, lazytime: MUST")
def test_option_is_shown_on_the_file_system(container, option):
    container.mount("/data", options=[option])
    assert option in mount_of(container.report(), "/data")["super"]


@pytest.mark.parametrize("option", ["async", "atime", "defaults", "dev", "diratime", "exec", "iversion", "loud", "noiversion", "nolazytime",
                                    "norelatime", "nostrictatime", "rw", "silent", "suid", "symfollow"])
@clause("config.md#linux-mount-options", "every option of the table that says MUST")
def test_option_that_names_a_default_is_accepted(container, option):
    container.mount("/data", options=[option])
    options = set(mount_of(container.report(), "/data")["options"])
    assert options <= {"rw", "relatime"}, options


@pytest.mark.parametrize(("first", "second", "absent"), [("nosuid", "suid", "nosuid"), ("nodev", "dev", "nodev"), ("noexec", "exec", "noexec"),
                                                        ("ro", "rw", "ro"), ("noatime", "atime", "noatime")])
@clause("config.md#linux-mount-options", "as mount(8): a later option takes back an earlier one")
def test_later_option_takes_back_an_earlier_one(container, first, second, absent):
    container.mount("/data", options=[first, second])
    assert absent not in mount_of(container.report(), "/data")["options"]


@clause("config.md#linux-mount-options", "Runtimes SHOULD treat unknown options as filesystem-specific ones")
def test_unknown_option_is_given_to_the_file_system(container):
    container.mount("/data", options=["size=64k", "nr_inodes=17", "mode=751"])
    assert {"size=64k", "nr_inodes=17", "mode=751"} <= set(mount_of(container.report(), "/data")["super"])


@clause("config.md#linux-mount-options", "Runtimes SHOULD treat unknown options as filesystem-specific ones")
def test_option_that_the_file_system_refuses_is_refused(container):
    container.mount("/data", options=["no-such-option=1"])
    container.refused()


@clause("config.md#linux-mount-options", "remount: MUST")
def test_remount_changes_the_options_of_a_mount(container):
    container.mount("/data")
    container.mount("/data", options=["remount", "ro"])
    report = container.report("/data")
    assert report["paths"]["/data"]["writable"] == 0


@pytest.mark.parametrize(("option", "field"), [("shared", "shared"), ("slave", None), ("private", None), ("unbindable", "unbindable"),
                                               ("rshared", "shared"), ("rslave", None), ("rprivate", None), ("runbindable", "unbindable")])
@clause("config.md#linux-mount-options", "shared, slave, private, unbindable and their recursive forms: MUST")
def test_mount_has_the_configured_propagation(container, option, field):
    container.mount("/data", options=[option])
    kinds = {each.partition(":")[0] for each in mount_of(container.report(), "/data")["propagation"]}
    assert kinds == ({field} if field else set())


@pytest.mark.parametrize(("option", "kept"), [("rslave", True), ("rprivate", False)])
@clause("config.md#linux-mount-options", "rslave: MUST, mounts made outside appear inside")
def test_bind_receives_later_mounts_of_its_source_only_as_a_slave(container, source, option, kept):
    subprocess.run(["mount", "--bind", str(source), str(source)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(source)], check=True)
        container.mount("/data", source, "bind", ["rbind", option])
        container.run_probe("report", "/data/file", "/data/sub/deep")
        container.create()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(source / "sub")], check=True)
        (source / "sub" / "deep").write_text("deep")
        seen = json.loads(container.start().output())["paths"]
        assert (seen["/data/file"]["text"], "text" in seen["/data/sub/deep"]) == ("text", kept)
    finally:
        subprocess.run(["umount", "-R", "-l", str(source)], check=True)


@clause("runtime.md#delete", "resources associated with the container, but not created by this container, MUST NOT be deleted")
def test_bound_source_is_as_it_was_after_delete(container, source):
    container.bind(source, "/data")
    assert mount_of(container.report(), "/data")
    container.delete()
    assert sorted(os.listdir(source)) == ["file", "sub"]
