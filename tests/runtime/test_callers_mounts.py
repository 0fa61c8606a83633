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
