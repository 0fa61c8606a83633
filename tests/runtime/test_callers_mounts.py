"""Mounts as the configs of dockerd, containerd and podman ask for them."""

import os
import stat

import pytest
import support

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")


def test_masked_file_lets_nobody_inside_change_the_null_device_of_the_host(bundle, pyoci):
    """Engines mask /proc/keys and others, and give CAP_FOWNER and CAP_CHOWN."""
    bundle.shell("chmod 667 /proc/keys; chown 1 /proc/keys; touch -d 1990-01-01 /proc/keys; echo x >/proc/keys && cat /proc/keys && echo empty")
    try:
        done = pyoci.run(bundle)
        facts = os.stat("/dev/null")
    finally:
        os.chmod("/dev/null", 0o666)
        os.chown("/dev/null", 0, 0)
    assert done.stdout == "empty\n", done
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o666, 0)
    assert facts.st_mtime > 700_000_000


@pytest.mark.parametrize(("target", "options", "mode"), [
    ("/made/for/it", [], "1777"), ("/made", ["tmpcopyup"], "1777"), ("/root", ["tmpcopyup"], "755"), ("/made", ["mode=0750"], "750"), ("/bin/..//made", ["size=4k"], "1777"), ("/etc", [], "755"), ("/tmp", [], "1777"),
])  # fmt: skip
def test_tmpfs_over_a_new_mount_point_is_everybodys(bundle, pyoci, target, options, mode):
    """docker's --tmpfs and --mount type=tmpfs name no mode, nor does podman with tmpcopyup; over a directory of the image it is that directory's."""
    bundle.mount(target, "tmpfs", "tmpfs", "nosuid", "nodev", *options).shell(f"stat -c %a {target}")
    assert pyoci.run(bundle).stdout == f"{mode}\n"


def test_shared_root_leaves_a_mount_its_own_propagation(bundle, pyoci, open_path):
    """dockerd sets rootfsPropagation to rshared for the sake of one volume; the others are asked for as rprivate."""
    for name in ("shared", "private"):
        (open_path / name).mkdir()
    support.mount(open_path, open_path, flags=0x1000)  # MS_BIND; support's place makes it shared
    bundle.linux["rootfsPropagation"] = "rshared"
    bundle.mount("/shared", "bind", open_path / "shared", "rbind", "rshared").mount("/private", "bind", open_path / "private", "rbind", "rprivate")
    bundle.shell("while read -r _ _ _ _ target _ tags; do echo $target ${tags%%:*}; done </proc/self/mountinfo | grep -E '^(/|/shared|/private|/proc) '")
    try:
        lines = pyoci.run(bundle).stdout.splitlines()
    finally:
        support.umount(open_path)
    assert {line.split()[0]: line.split()[1] == "shared" for line in lines} == {"/": True, "/shared": True, "/private": False, "/proc": False}


@pytest.mark.parametrize("cover", ["/t", "/link", "/t/back"])
def test_mount_point_is_made_in_what_covers_the_tmpfs_of_the_one_before(bundle, pyoci, cover):
    """Several in one tmpfs are made from its descriptor; not so once something lies on it, by whatever name it was put there."""
    (bundle.rootfs / "link").symlink_to("t")
    (bundle.rootfs / "t").mkdir()
    (bundle.rootfs / "t" / "back").symlink_to("../t")
    bundle.mount("/t", "tmpfs", "tmpfs", "tmpcopyup").mount("/t/one").mount("/t/two").mount(cover).mount("/t/three").mount("/t/four")
    bundle.linux["devices"] = [{"path": "/t/null", "type": "c", "major": 1, "minor": 3}]
    bundle.write().shell("cd /t; echo *; : >null; grep -c ' /t/[a-z]* ' /proc/self/mountinfo")
    assert pyoci.run(bundle).stdout == "four null three\n4\n"


def test_mount_points_beside_each_other_in_a_tmpfs_lie_on_what_they_name(bundle, pyoci):
    (bundle.rootfs / "t" / "there").mkdir(parents=True)
    (bundle.rootfs / "t" / "link").symlink_to("there/inner")
    bundle.mount("/t", "tmpfs", "tmpfs", "tmpcopyup").mount("/t/one").mount("/t/there").mount("/t/link").mount("/t/two/deep").mount("/t/three")
    bundle.shell("cd /t; echo * there/*; while read -r _ _ _ _ target _; do echo $target; done </proc/self/mountinfo | grep ^/t/")
    assert pyoci.run(bundle).stdout.split() == "link one there three two there/inner /t/one /t/there /t/there/inner /t/two/deep /t/three".split()
