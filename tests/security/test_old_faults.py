"""Faults that other runtimes had, each as its attack: what the races of tests/security/test_hostile_rootfs.py meet by chance is set up here.

A createContainer hook stands for the attacker who shares a volume: it runs once the mounts are made, and changes what init uses next.
"""

import os
import re
import socket
import subprocess

import pytest
import support

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")


def attacked(bundle, script):
    """The bundle, in whose rootfs ($ROOTFS, in the container's mount namespace) the script runs after the mounts and before the root is changed."""
    hook = {"path": "/bin/sh", "args": ["sh", "-e", "-c", script], "env": [f"ROOTFS={bundle.rootfs}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
    bundle.config["hooks"] = {"createContainer": [hook]}
    return bundle.write()


@pytest.fixture
def console(tmp_path):
    """The path of a console socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        yield tmp_path / "console"


@pytest.mark.parametrize("evil", ["ln -s /secret $ROOTFS/dev/null", "mknod $ROOTFS/dev/null c 1 5", "echo evil > $ROOTFS/dev/null", "mkfifo $ROOTFS/dev/null"],
                         ids=["link", "zero", "file", "fifo"])  # fmt: skip
def test_null_device_that_is_exchanged_late_masks_nothing(bundle, pyoci, evil):
    """CVE-2025-31133: the container's /dev/null, bound over each masked file."""
    (bundle.rootfs / "hidden").write_text("secret")
    (bundle.rootfs / "secret").write_text("evil")
    bundle.linux["maskedPaths"] = ["/hidden"]
    attacked(bundle, f"rm $ROOTFS/dev/null; {evil}")
    bundle.shell("stat -c '%t:%T %F' /hidden; head -c 9 /hidden; echo x > /hidden; cat /secret")
    assert pyoci.run(bundle).stdout == "1:3 character special file\nevil"


@pytest.mark.parametrize("link", ["/proc/sys/kernel/core_pattern", "/proc/uptime", "../proc/self/../cpuinfo"])
def test_console_goes_over_no_file_of_procfs(bundle, pyoci, console, link):
    """CVE-2025-52565, and what CVE-2019-16884 asks of every mount: /dev/console as a link."""
    bundle.process["terminal"] = True
    attacked(bundle, f"rm -f $ROOTFS/dev/console; ln -s {link} $ROOTFS/dev/console")
    line = pyoci.fails("create", "--console-socket", console, "--bundle", bundle.path, pyoci.new_id())
    assert "process.terminal: " in line and "only a procfs may lie on /proc: /dev/console" in line


def test_console_that_is_a_link_out_covers_nothing_outside(bundle, pyoci, tmp_path, console):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    bundle.process["terminal"] = True
    attacked(bundle, f"rm -f $ROOTFS/dev/console; ln -s {precious} $ROOTFS/dev/console; cat {precious} > $ROOTFS/tmp/before")
    mounts = support.snapshot().kinds["mounts"]
    done = pyoci("create", "--console-socket", console, "--bundle", bundle.path, pyoci.new_id())
    assert done.returncode == 0 or support.assert_one_line(done) is None
    assert support.snapshot().kinds["mounts"] == mounts and precious.read_text() == "precious"


@pytest.mark.needs("strace")
def test_terminal_is_asked_of_its_master_and_not_opened_by_a_name(bundle, pyoci, tmp_path, console):
    """CVE-2025-52565: between the master and its name the container may put something else there.  TIOCGPTPEER(2const)"""
    bundle.process["terminal"] = True
    words = pyoci.command("create", "--console-socket", console, "--bundle", bundle.write().path, pyoci.new_id())
    trace = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,ioctl,open_tree", "-o", str(tmp_path / "trace"), "-D"]
    assert subprocess.run([*trace, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
    calls = (tmp_path / "trace").read_text()
    assert "TIOCGPTPEER" in calls and not re.search(r"pts/\d", calls)


@pytest.mark.needs("userns")
@pytest.mark.parametrize("name", ["null", "tty"])
def test_device_goes_over_no_file_of_procfs(open_path, pyoci, name):
    """A bound device of a user namespace, whose place in /dev is a link."""
    bundle = support.Bundle(open_path / "bundle")
    bundle.config["mounts"] = [one for one in bundle.config["mounts"] if not one["destination"].startswith("/dev") and one["type"] != "sysfs"]
    bundle.add_user_namespace()
    (bundle.rootfs / "dev" / name).symlink_to("/proc/uptime")
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert f"/dev/{name}" in line and "only a procfs may lie on /proc" in line


def test_sysctl_is_the_kernels_own_under_a_procfs_that_is_covered_late(bundle, pyoci):
    """CVE-2025-52881: a tmpfs with a file of that name over /proc/sys, or all of /proc, when init writes."""
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    fake = "mount -t tmpfs none $ROOTFS/proc/sys; mkdir -p $ROOTFS/proc/sys/net/ipv4; echo fake > $ROOTFS/proc/sys/net/ipv4/ip_forward"
    attacked(bundle, fake)
    bundle.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), support.HELD)
    bundle.shell("cat /proc/sys/net/ipv4/ip_forward; umount /proc/sys; cat /proc/sys/net/ipv4/ip_forward")
    assert pyoci.run(bundle).stdout.split() == ["fake", "1"]


def test_directories_that_are_missing_are_made_below_no_link_that_comes_late(bundle, pyoci, tmp_path):
    """CVE-2024-45310: the working directory is made after the attacker has had his turn."""
    outside = tmp_path / "outside"
    outside.mkdir()
    attacked(bundle, f"ln -s {outside} $ROOTFS/led; ln -s ../../../../../../../../../..{outside} $ROOTFS/led2")
    for place in ("/led/new/place", "/led2/new/place"):
        bundle.process["cwd"] = place
        done = pyoci("create", "--bundle", bundle.write().path, pyoci.new_id())
        assert done.returncode == 0 or support.assert_one_line(done) is None
        assert os.listdir(outside) == []
        subprocess.run(["rm", "-f", bundle.rootfs / "led", bundle.rootfs / "led2"], check=True)


def test_no_process_holds_an_inheritable_capability_that_nobody_asked_for(bundle, pyoci):
    """CVE-2022-29162: of the container, of an exec, of an exec with one more, and of the default config."""
    bundle.shell("grep CapInh /proc/self/status; exec sleep 1000")
    name = pyoci.start(bundle)
    for more in ([], ["--cap", "CAP_CHOWN"]):
        assert pyoci.ok("exec", *more, name, "grep", "CapInh", "/proc/self/status").split()[1] == "0" * 16
    folder = bundle.path / "default"
    folder.mkdir()
    pyoci.ok("spec", "--bundle", folder)
    assert not re.search(r'"inheritable": \[\s*"', (folder / "config.json").read_text())
