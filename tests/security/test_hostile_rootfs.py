"""A root file system made by an attacker: links in every place, things that look like devices, files that parsers choke on.

What may never happen: something outside of the rootfs is made, changed or covered; a kernel file system lands where a link
points; what masks a path is something of the image's.
"""

import os
import subprocess
import sys

import pytest
import support

from pyoci.errors import PyociError

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")

PLACES = ("proc", "sys", "dev", "dev/pts", "dev/shm", "etc", "volume")


@pytest.fixture
def outside(tmp_path):
    """A directory of the host, with what an attacker would like to reach; it must stay as it is."""
    folder = tmp_path / "outside"
    for name in ("pts", "shm", "proc", "place"):
        (folder / name).mkdir(parents=True)
    (folder / "precious").write_text("precious")
    before = support.files_below(folder)
    yield folder
    assert support.files_below(folder) == before
    assert (folder / "precious").read_text() == "precious"


def replace(rootfs, place, target):
    """Put a link in the place of what is there."""
    path = rootfs / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        path.rmdir() if not os.listdir(path) else path.rename(rootfs / f"old-{path.name}")
    path.symlink_to(target)


def ways_out(outside, rootfs):
    """Links that lead to `outside` when they are not resolved below the rootfs."""
    return {"absolute": str(outside), "dots": os.path.relpath(outside, rootfs), "many dots": "../" * 40 + str(outside).lstrip("/"),
            "magic": f"/proc/1/root{outside}", "own magic": f"/proc/self/root{outside}"}  # fmt: skip


@pytest.mark.parametrize("way", ["absolute", "dots", "many dots", "magic", "own magic"])
@pytest.mark.parametrize("place", PLACES)
def test_link_in_the_place_of_a_mount_point_leads_nowhere_outside(bundle, pyoci, outside, place, way):
    """The container may come up, with the mount somewhere in its own rootfs, or be refused; the host does not notice."""
    bundle.mount("/volume/inner", "bind", bundle.path, "bind", "ro").mount("/etc/made", "bind", "/etc/hostname", "bind")
    mounts = support.snapshot().kinds["mounts"]
    replace(bundle.rootfs, place, ways_out(outside, bundle.rootfs / os.path.dirname(place))[way])
    done = pyoci("create", "--bundle", bundle.path, pyoci.new_id())
    if done.returncode:
        support.assert_one_line(done)
    assert support.snapshot().kinds["mounts"] == mounts


@pytest.mark.parametrize("place", ["proc", "sys"])
@pytest.mark.parametrize("target", ["tmp", "/tmp", "../tmp", "nothing/there"])
def test_kernel_file_system_is_refused_on_a_link(bundle, pyoci, place, target):
    """CVE-2019-19921: a procfs somewhere else lets the image choose what is written through /proc."""
    replace(bundle.rootfs, place, target)
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    index = next(index for index, one in enumerate(bundle.config["mounts"]) if one["destination"] == f"/{place}")
    assert f"mounts[{index}]: mount " in line and "not a real directory" in line


def test_dev_that_is_a_link_is_followed_only_below_the_rootfs(bundle, pyoci, outside):
    """CVE-2026-41579: nodes and links of /dev made through it."""
    replace(bundle.rootfs, "dev", str(outside))
    bundle.config["mounts"] = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/dev")]
    bundle.linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    done = pyoci("create", "--bundle", bundle.write().path, pyoci.new_id())
    assert done.returncode == 0 or support.assert_one_line(done) is None


def test_dangling_links_on_the_way_are_made_below_the_rootfs(bundle, pyoci, outside):
    (bundle.rootfs / "a").symlink_to(outside / "new")
    (bundle.rootfs / "b").symlink_to("../../../../../../../../../../new")
    (bundle.rootfs / "c").symlink_to("c")
    bundle.mount("/a/x").mount("/b/y")
    name = pyoci.create(bundle)
    assert (bundle.rootfs / "new" / "y").is_dir()
    pyoci.ok("delete", name)
    bundle.mount("/c/z")
    assert "Too many levels of symbolic links (ELOOP)" in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())


# --- what masks a path


def mask_of(bundle, pyoci):
    """The device number and the type of what lies on a masked file and of what lies below a masked directory."""
    (bundle.rootfs / "hidden").write_text("secret")
    bundle.linux["maskedPaths"] = ["/hidden"]
    done = pyoci.run(bundle.shell("cat /hidden; stat -c '%t:%T %F' /hidden"))
    assert "secret" not in done.stdout
    return done


@pytest.mark.parametrize("kind", ["link", "file", "other device", "directory"])
def test_masking_does_not_use_the_null_device_of_the_image(bundle, pyoci, tmp_path, kind):
    """CVE-2025-31133: /dev/null of the image as the source of the mask."""
    bundle.config["mounts"] = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/dev")]
    null = bundle.rootfs / "dev" / "null"
    if kind == "link":
        null.symlink_to("/proc/sys/kernel/core_pattern")
    elif kind == "file":
        null.write_text("evil")
    elif kind == "directory":
        null.mkdir()
    else:
        os.mknod(null, 0o020666, os.makedev(1, 5))
    done = mask_of(bundle, pyoci)
    if done.returncode:
        support.assert_one_line(done)
        assert "not the device that was asked for" in done.stderr
    else:
        assert "1:3 character special file" in done.stdout


def test_masked_path_through_a_link_masks_what_it_leads_to(bundle, pyoci):
    (bundle.rootfs / "real").write_text("secret")
    (bundle.rootfs / "hidden-link").symlink_to("/real")
    bundle.linux["maskedPaths"] = ["/hidden-link"]
    assert "secret" not in pyoci.run(bundle.shell("cat /real /hidden-link")).stdout


def test_masks_can_not_be_taken_off_or_filled(bundle, pyoci):
    (bundle.rootfs / "secrets").mkdir()
    (bundle.rootfs / "secrets" / "one").write_text("secret")
    bundle.linux["maskedPaths"] = ["/secrets"]
    bundle.process["capabilities"] = {"bounding": ["CAP_DAC_OVERRIDE"], "effective": ["CAP_DAC_OVERRIDE"], "permitted": ["CAP_DAC_OVERRIDE"]}
    done = pyoci.run(bundle.shell("umount /secrets; ls /secrets; touch /secrets/new; ls -A /secrets; cat /secrets/one"))
    assert "one" not in done.stdout.split() and "new" not in done.stdout.split()


# --- procfs


def test_bind_of_something_else_on_proc_is_refused(bundle, pyoci, tmp_path):
    """CVE-2019-16884: security attributes would be written into a file of the attacker's."""
    bundle.config["mounts"] = [{"destination": "/proc", "type": "bind", "source": str(tmp_path), "options": ["bind"]}]
    line = pyoci.fails("create", "--bundle", bundle.write().path, pyoci.new_id())
    assert "mounts[0]: bind " in line and "procfs" in line


@pytest.mark.parametrize("target", ["/proc/self", "/proc/1/attr", "/proc/sys", "/proc/./sys/kernel", "/proc//self/", "/x/../proc/sys"])
def test_mount_inside_proc_is_refused(bundle, pyoci, target):
    bundle.mount(target)
    assert "cannot be mounted because it is inside /proc" in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())


@pytest.mark.parametrize("link", ["/proc/sys/kernel", "../proc/self", "/proc"])
def test_mount_through_a_link_into_proc_is_refused(bundle, pyoci, link):
    (bundle.rootfs / "innocent").symlink_to(link)
    bundle.mount("/innocent")
    assert "procfs" in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())


@pytest.mark.parametrize("link", ["/proc/sys/kernel", "/proc/self/attr"])
def test_bind_through_a_link_into_proc_is_refused(bundle, pyoci, tmp_path, link):
    (bundle.rootfs / "innocent").symlink_to(link)
    bundle.mount("/innocent", "bind", tmp_path, "bind")
    assert "procfs" in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())


def test_sysctl_is_written_to_the_kernel_and_to_no_file_of_the_image(bundle, pyoci):
    """CVE-2025-52881: a /proc of the image that looks like one."""
    fake = bundle.rootfs / "proc" / "sys" / "net" / "ipv4"
    fake.mkdir(parents=True)
    (fake / "ip_forward").write_text("fake")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    done = pyoci.run(bundle.shell("cat /proc/sys/net/ipv4/ip_forward"))
    assert done.stdout == "1\n"
    bundle.config["mounts"] = [one for one in bundle.config["mounts"] if one["destination"] != "/proc"]
    del bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"]
    done = pyoci("create", "--bundle", bundle.write().path, pyoci.new_id())
    assert (fake / "ip_forward").read_text() == "fake"
    assert done.returncode == 0 or support.assert_one_line(done) is None


def test_sysctl_name_leads_nowhere(bundle, pyoci, outside):
    for name in ("net.ipv4/../../../precious", "net/../../../etc/passwd", "net./etc/passwd", "net..x"):
        bundle.linux["sysctl"] = {name: "1"}
        line = pyoci.fails("create", "--bundle", bundle.write().path, pyoci.new_id())
        assert "linux.sysctl" in line


# --- files that the runtime reads in the container


PASSWDS = {
    "empty": b"",
    "huge": b"x:x:5:5::/x:/bin/sh\n" * 1_000_000,
    "one long line": b"a" * 5_000_000,
    "long home": b"root:x:0:0::/" + b"h" * 100_000 + b":/bin/sh\n",
    "nuls": b"\0" * 5000 + b"root:x:0:0::/root:/bin/sh\n",
    "colons": b":" * 100_000 + b"\n",
    "huge uid": b"root:x:99999999999999999999999:0::/root:/bin/sh\n",
    "negative": b"root:x:-0:0::/evil:/bin/sh\n",
    "not utf-8": bytes(range(1, 256)) * 100,
    "no newline": b"root:x:0:0::/home",
    "newline in home": b"root:x:0:0::/a\rb:/bin/sh",
}


@pytest.mark.parametrize("text", PASSWDS.values(), ids=PASSWDS)
def test_passwd_of_the_image_may_hold_anything(bundle, pyoci, text):
    """HOME is found in it, or is /; create and exec come up either way."""
    (bundle.rootfs / "etc" / "passwd").write_bytes(text)
    name = pyoci.start(bundle)
    done = pyoci("exec", name, "sh", "-c", "echo ${#HOME}")
    assert done.returncode == 0 and 1 <= int(done.stdout) <= 65536


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink(path.name, path)],
                         ids=["directory", "fifo", "endless device", "loop"])  # fmt: skip
def test_passwd_of_the_image_may_be_anything(bundle, pyoci, make):
    """A FIFO must not hold us, nor an endless device."""
    (bundle.rootfs / "etc" / "passwd").unlink()
    make(bundle.rootfs / "etc" / "passwd")
    done = pyoci.run(bundle.shell("echo $HOME"), timeout_s=20)
    assert done.stdout == "/\n"


def test_passwd_of_the_host_is_not_read_through_a_link(bundle, pyoci, outside):
    (outside / "passwd").write_text("root:x:0:0::/of-the-host:/bin/sh\n")
    (bundle.rootfs / "etc" / "passwd").unlink()
    (bundle.rootfs / "etc" / "passwd").symlink_to(outside / "passwd")
    assert pyoci.run(bundle.shell("echo $HOME")).stdout == "/\n"
    (outside / "passwd").unlink()


def test_program_through_a_link_is_the_container_s_own(bundle, pyoci, outside):
    (outside / "tool").write_text("#!/bin/sh\necho of the host\n")
    (outside / "tool").chmod(0o755)
    (bundle.rootfs / "bin" / "tool").symlink_to(outside / "tool")
    assert 'exec: "tool": executable file not found in $PATH' in pyoci.fails("create", "--bundle", _args(bundle, "tool").path, pyoci.new_id())
    (outside / "tool").unlink()


def _args(bundle, *args):
    bundle.process["args"] = list(args)
    return bundle.write()


@pytest.mark.parametrize("where", ["bin/sleep", "bin"])
def test_working_directory_that_is_made_is_made_inside(bundle, pyoci, outside, where):
    (bundle.rootfs / "out").symlink_to(outside)
    bundle.process["cwd"] = "/out/new/place"
    name = pyoci.create(bundle.write())
    assert not (outside / "new").exists()
    pyoci.ok("delete", name)


# --- exchanged while we work

_RACER = """
import ctypes, sys
libc = ctypes.CDLL(None)
first, second = sys.argv[1].encode(), sys.argv[2].encode()
print(flush=True)
while True:
    libc.renameat2(-100, first, -100, second, 2)  # RENAME_EXCHANGE
"""


@pytest.fixture
def exchanging():
    """exchange(a, b): a process that exchanges the two all the time."""
    started = []

    def exchange(first, second):
        process = subprocess.Popen([sys.executable, "-c", _RACER, first, second], stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()

    yield exchange
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("victim", ["proc", "sys", "dev", "volume", "volume/inner"])
def test_exchange_of_a_directory_and_a_link_reaches_nothing_outside(bundle, pyoci, outside, exchanging, victim):
    """Every create ends in a container whose mounts lie below its rootfs, or in one line; each try at another moment."""
    (bundle.rootfs / "volume" / "inner").mkdir(parents=True)
    (bundle.rootfs / victim).parent.joinpath("evil").symlink_to(outside)
    for name in ("pts", "inner"):
        (outside / name).mkdir(exist_ok=True)
    bundle.mount("/volume/inner", "bind", "/etc", "bind", "ro").mount("/volume/inner/made", "tmpfs")
    bundle.config["mounts"][-1]["destination"] = "/volume/other"
    bundle.linux["maskedPaths"] = ["/volume/other", "/proc/kcore"]
    bundle.write()
    mounts = support.snapshot().kinds["mounts"]
    exchanging(bundle.rootfs / victim, (bundle.rootfs / victim).parent / "evil")
    api = pyoci.api()
    for _ in range(25):
        name = pyoci.new_id("race")
        try:
            api.create(name, str(bundle.path))
        except PyociError as error:  # any refusal will do
            assert "\n" not in str(error)
        assert support.snapshot().kinds["mounts"] == mounts
        api.delete(name, force=True)
        assert sorted(os.listdir(outside)) == sorted({"pts", "shm", "proc", "place", "precious", "inner"})
        assert not os.listdir(outside / "pts") and not os.listdir(outside / "inner")
    (outside / "inner").rmdir()
