"""What the process finds: mounts and their options, users, devices, names, limits, hidden paths; with and without namespaces."""

import json
import os
import pathlib
import stat

import pytest
import support
from watching import inside

from pyoci.cgroup import face

HOST_ID = 100_000


def shown(bundle, pyoci, script, *flags):
    """What the container's own shell script prints."""
    done = pyoci.run(bundle.shell(script), None, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def mount_of(bundle, pyoci, target):
    """(options of the mount, propagation, type, options of the file system) of the top mount on a target, from mountinfo."""
    lines = [line for line in shown(bundle, pyoci, "cat /proc/self/mountinfo").splitlines() if line.split()[4] == target]
    left, _, right = lines[-1].partition(" - ")
    fields = left.split()
    kind, _, data = right.split(" ", 2)
    return set(fields[5].split(",")), fields[6:], kind, set(data.split(","))


def bare(bundle, *kinds):
    """Only these namespaces, and nothing that needs others."""
    bundle.linux["namespaces"] = [{"type": kind} for kind in kinds]
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    del bundle.config["hostname"]
    bundle.config["mounts"] = bundle.config["mounts"][1:2] if "mount" in kinds else []
    return bundle.write()


# --- mount options, seen in mountinfo


@pytest.mark.parametrize(
    ("options", "present", "absent"),
    [
        (["ro"], {"ro"}, {"rw"}),
        (["rw"], {"rw"}, {"ro"}),
        (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
        (["nosuid", "suid"], set(), {"nosuid"}),
        (["noatime"], {"noatime"}, {"relatime"}),
        (["strictatime"], set(), {"relatime", "noatime"}),
        (["nodiratime"], {"nodiratime"}, set()),
        (["nosymfollow"], {"nosymfollow"}, set()),
        (["rnosuid", "rnodev"], {"nosuid", "nodev"}, set()),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_option_is_an_attribute_of_the_mount(bundle, pyoci, kind, options, present, absent):
    if kind == "bind":
        (bundle.path / "source").mkdir()
        bundle.mount("/mnt", "bind", "source", "bind", *options)
    else:
        bundle.mount("/mnt", "tmpfs", "tmpfs", *options)
    found = mount_of(bundle, pyoci, "/mnt")[0]
    assert present <= found and not absent & found


@pytest.mark.parametrize(
    ("options", "data"),
    [(["size=64k"], "size=64k"), (["mode=750"], "mode=750"), (["nr_inodes=99"], "nr_inodes=99"), (["sync"], "sync"), (["uid=5"], "uid=5")],
)
def test_option_is_one_of_the_file_system(bundle, pyoci, options, data):
    bundle.mount("/mnt", "tmpfs", "tmpfs", *options)
    assert data in mount_of(bundle, pyoci, "/mnt")[3]


@pytest.mark.parametrize(
    ("word", "fields"),
    [("private", []), ("slave", ["master"]), ("rslave", ["master"]), ("shared", ["shared", "master"]), ("rshared", ["shared", "master"]), ("unbindable", ["unbindable"])],
)
def test_option_is_the_propagation_of_the_mount(bundle, pyoci, word, fields):
    (bundle.path / "source").mkdir()
    bundle.mount("/mnt", "bind", "source", "rbind", word)
    assert [field.partition(":")[0] for field in mount_of(bundle, pyoci, "/mnt")[1]] == fields


def test_mode_of_what_a_tmpfs_covers_is_kept(bundle, pyoci):
    (bundle.rootfs / "kept").mkdir(mode=0o711)
    (bundle.rootfs / "kept").chmod(0o1731)
    bundle.mount("/kept").mount("/new").mount("/given", "tmpfs", "tmpfs", "mode=700")
    assert shown(bundle, pyoci, "stat -c %a /kept /new /given") == "1731\n1777\n700"


# --- trees


@pytest.fixture
def tree(tmp_path):
    """A directory with a tmpfs of its own below it."""
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    support.mount("tmpfs", folder / "below", "tmpfs", 0)
    (folder / "below" / "deep").mkdir()
    support.mount("tmpfs", folder / "below" / "deep", "tmpfs", 0)
    yield folder
    support.umount(folder / "below" / "deep")
    support.umount(folder / "below")


WRITES = "for folder in /mnt /mnt/below /mnt/below/deep; do touch $folder/x 2>/dev/null && echo written || echo refused; done"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["rbind"], "written written written"),
        (["rbind", "ro"], "refused written written"),
        (["rbind", "rro"], "refused refused refused"),
        (["rbind", "rro", "rw"], "refused refused refused"),
    ],
    ids="-".join,
)
def test_read_only_reaches_as_far_as_its_word_says(bundle, pyoci, tree, options, words):
    bundle.mount("/mnt", "bind", tree, *options)
    assert shown(bundle, pyoci, WRITES).split() == words.split()


@pytest.mark.parametrize("option", ["rnoexec", "rnodev", "rnosuid", "rnoatime", "rnosymfollow"])
def test_recursive_attribute_is_on_every_mount_of_the_tree(bundle, pyoci, tree, option):
    bundle.mount("/mnt", "bind", tree, "rbind", option)
    lines = shown(bundle, pyoci, "grep /mnt /proc/self/mountinfo").splitlines()
    assert len(lines) == 3 and all(option[1:] in line.split()[5].split(",") for line in lines)


def test_recursive_attributes_leave_the_source_as_it_was(bundle, pyoci, tree):
    bundle.mount("/mnt", "bind", tree, "rbind", "rro")
    shown(bundle, pyoci, "true")
    (tree / "below" / "deep" / "file").write_text("still writable")


def test_bind_keeps_to_one_mount_and_rbind_takes_all(bundle, pyoci, tree):
    bundle.mount("/one", "bind", tree, "bind").mount("/all", "bind", tree, "rbind")
    assert shown(bundle, pyoci, "ls /one/below | wc -l; ls /all/below | wc -l").split() == ["0", "1"]


# --- tmpcopyup


def test_tmpcopyup_takes_along_what_was_there(bundle, pyoci):
    folder = bundle.rootfs / "filled"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("content")
    (folder / "file").chmod(0o640)
    os.chown(folder / "file", 5, 6)
    (folder / "sub" / "link").symlink_to("../file")
    os.mkfifo(folder / "fifo")
    (folder / "sub").chmod(0o1777)
    bundle.mount("/filled", "tmpfs", "tmpfs", "tmpcopyup", "size=1m")
    script = "cd /filled; cat file; echo; stat -c '%a %u %g' file; stat -c %a sub; readlink sub/link; test -p fifo; echo new > file"
    assert shown(bundle, pyoci, script) == "content\n640 5 6\n1777\n../file"
    assert (folder / "file").read_text() == "content"


def test_tmpcopyup_into_a_full_tmpfs_is_refused(bundle, pyoci):
    (bundle.rootfs / "filled").mkdir()
    (bundle.rootfs / "filled" / "file").write_bytes(b"x" * 200_000)
    bundle.mount("/filled", "tmpfs", "tmpfs", "tmpcopyup", "size=64k")
    line = pyoci.fails("run", "--bundle", bundle.path, pyoci.new_id())
    assert "mounts[5]: mount tmpfs on /filled" in line and "No space left on device (ENOSPC)" in line


def test_read_only_tmpcopyup_is_filled_first(bundle, pyoci):
    (bundle.rootfs / "filled").mkdir()
    (bundle.rootfs / "filled" / "file").write_text("content")
    bundle.mount("/filled", "tmpfs", "tmpfs", "tmpcopyup", "ro")
    assert shown(bundle, pyoci, "cat /filled/file; touch /filled/x 2>&1 || true").startswith("content")


# --- the root


@pytest.mark.parametrize(
    ("word", "fields"), [(None, ["master"]), ("private", []), ("rslave", ["master"]), ("shared", ["shared"]), ("unbindable", ["unbindable"])]
)
def test_root_has_the_propagation_of_the_config(bundle, pyoci, word, fields):
    if word:
        bundle.linux["rootfsPropagation"] = word
    assert [field.partition(":")[0] for field in mount_of(bundle, pyoci, "/")[1]] == fields


def test_without_pivot_root_the_process_still_sees_its_root_alone(bundle, pyoci):
    (bundle.rootfs / "marker").write_text("inside\n")
    assert shown(bundle, pyoci, "cat /marker; ls -d /proc/1 /work 2>/dev/null; ls /", "--no-pivot").startswith("inside\n/proc/1")


def test_without_any_namespace_the_process_has_its_root(bundle, pyoci):
    (bundle.rootfs / "marker").write_text("inside\n")
    assert shown(bare(bundle), pyoci, "cat /marker; pwd") == "inside\n/"


def test_without_any_namespace_nothing_of_the_host_is_changed(bundle, pyoci):
    before = support.snapshot()
    name = pyoci.start(bare(bundle))
    pid = pyoci.pid(name)
    for kind in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    pyoci.ok("delete", "--force", name)
    support.assert_unchanged(before)


def test_container_without_a_process_can_be_created_started_and_deleted(bundle, pyoci):
    bundle.edit(lambda config: config.pop("process"))
    name = pyoci.create(bundle)
    done = pyoci("start", name)
    assert done.returncode == 0 and "process: it is not set" in done.stderr
    support.wait_until_stopped(pyoci, name)
    pyoci.ok("delete", name)


def test_run_of_a_container_without_a_process_is_refused(bundle, pyoci):
    bundle.edit(lambda config: config.pop("process"))
    line = pyoci.fails("run", "--bundle", bundle.path, pyoci.new_id())
    assert line.endswith("process: must be set for the container to be started (config.md#process)")


# --- user namespaces


@pytest.fixture
def mapped(open_path):
    """A bundle in a new user namespace."""
    return support.Bundle(open_path / "bundle").add_user_namespace()


@pytest.mark.needs("userns")
def test_files_of_the_mapped_root_are_roots_inside(mapped, pyoci):
    assert shown(mapped, pyoci, "touch /made; stat -c '%u %g' /made /tmp /proc/1") == "0 0\n0 0\n0 0"
    assert (mapped.rootfs / "made").stat().st_uid == HOST_ID


@pytest.mark.needs("userns")
def test_what_is_not_mapped_is_nobodys(mapped, pyoci):
    os.chown(mapped.rootfs / "etc/passwd", 0, 0)
    assert shown(mapped, pyoci, "stat -c '%u %g' /etc/passwd") == "65534 65534"


@pytest.mark.needs("userns")
def test_devices_in_a_user_namespace_work(mapped, pyoci):
    before = os.stat("/dev/null")
    script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && stat -c %t:%T /dev/full"
    assert shown(mapped, pyoci, script).split() == ["4", "4", "1:7"]
    after = os.stat("/dev/null")
    assert (before.st_uid, before.st_gid, stat.filemode(before.st_mode)) == (after.st_uid, after.st_gid, stat.filemode(after.st_mode))


@pytest.mark.needs("userns")
def test_sysfs_and_procfs_belong_to_the_containers_namespaces(mapped, pyoci):
    assert shown(mapped, pyoci, "ls /sys/class/net; ls -d /proc/[0-9]* | wc -l").splitlines()[0] == "lo"


@pytest.mark.needs("userns")
def test_root_of_a_user_namespace_has_all_capabilities_only_inside(mapped, pyoci):
    mapped.process["capabilities"] = {name: ["CAP_SYS_ADMIN", "CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}
    assert shown(mapped.write(), pyoci, "chown 5:5 /tmp && echo ok; mount -t tmpfs none /mnt 2>/dev/null; cat /proc/self/uid_map").startswith("ok")
    assert (mapped.rootfs / "tmp").stat().st_uid == HOST_ID + 5


@pytest.mark.needs("userns")
def test_bind_of_a_file_that_the_mapped_root_may_not_read_is_bound_all_the_same(mapped, pyoci, open_path):
    (open_path / "secret").write_text("secret")
    (open_path / "secret").chmod(0o600)
    mapped.mount("/secret", "bind", open_path / "secret", "bind", "ro")
    assert shown(mapped, pyoci, "stat -c %u /secret; cat /secret 2>/dev/null || echo refused") == "65534\nrefused"


@pytest.mark.needs("userns")
@pytest.mark.parametrize("joins", [False, True], ids=["new", "with-a-joined-one"])
def test_source_below_a_folder_that_the_mapped_root_may_not_enter_is_bound_all_the_same(mapped, pyoci, open_path, joins):
    """As podman 5 keeps them.  The kernel's locks stay: what hides a part of the source is not taken away inside."""
    closed = open_path / "closed"
    (closed / "tree" / "hidden").mkdir(parents=True)
    (closed / "hosts").write_text("127.0.0.1 localhost")
    (closed / "tree" / "hidden" / "secret").write_text("secret")
    (open_path / "link").symlink_to(closed / "hosts")
    (closed / "tree").chmod(0o755)
    closed.chmod(0o700)
    if joins:
        mapped.linux["namespaces"] = [*(one for one in mapped.linux["namespaces"] if one["type"] != "uts"), {"type": "uts", "path": "/proc/self/ns/uts"}]
        mapped.config.pop("hostname")
    mapped.mount("/hosts", "bind", closed / "hosts", "bind", "ro").mount("/link", "bind", open_path / "link", "bind").mount("/tree", "bind", closed / "tree", "rbind")
    mapped.process["capabilities"] = {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}
    support.mount("tmpfs", closed / "tree" / "hidden", "tmpfs", 0)
    try:
        words = "cat /hosts; echo; cat /link; echo; ls /tree; umount /tree/hidden 2>/dev/null || echo locked; ls /tree/hidden | wc -l; echo x > /hosts"
        assert shown(mapped.write(), pyoci, f"{words} 2>/dev/null || echo read-only").split("\n") == [
            "127.0.0.1 localhost", "127.0.0.1 localhost", "hidden", "locked", "0", "read-only",
        ]  # fmt: skip
    finally:
        support.umount(closed / "tree" / "hidden")


@pytest.mark.needs("userns")
def test_missing_source_below_a_closed_folder_is_named_as_any_other(mapped, pyoci, open_path):
    (open_path / "closed").mkdir(mode=0o700)
    mapped.mount("/it", "bind", open_path / "closed" / "nothing", "bind")
    line = pyoci.fails("run", "--bundle", mapped.write().path, pyoci.new_id())
    assert f'error mounting "{open_path}/closed/nothing" to rootfs at "/it": config.json:1: mounts[' in line and "No such file or directory (ENOENT)" in line


# --- names, limits and the rest of linux and process


def test_names_are_the_containers_own(bundle, pyoci):
    bundle.config["domainname"] = "example.org"
    ours = os.uname()
    assert shown(bundle, pyoci, "hostname; cat /proc/sys/kernel/domainname") == "test\nexample.org"
    assert os.uname() == ours


def test_sysctls_of_the_namespaces_are_set(bundle, pyoci):
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4242", "net/ipv4/conf/lo/forwarding": "1"}
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/conf/lo/forwarding"
    assert shown(bundle, pyoci, script) == "1\n4242\n1"


@pytest.mark.parametrize("score", [0, 7, 1000])
def test_oom_score_is_set(bundle, pyoci, score):
    bundle.process["oomScoreAdj"] = score
    assert shown(bundle, pyoci, "cat /proc/self/oom_score_adj") == str(score)


@pytest.mark.parametrize(("umask", "shows"), [(None, "0022"), (0, "0000"), (0o77, "0077")])
def test_umask_is_set(bundle, pyoci, umask, shows):
    if umask is not None:
        bundle.process["user"]["umask"] = umask
    assert shown(bundle, pyoci, "umask") == shows


def test_limit_without_an_end_is_unlimited(bundle, pyoci):
    bundle.process["rlimits"] = [{"type": "RLIMIT_CPU", "soft": 2**64 - 1, "hard": 2**64 - 1}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    assert shown(bundle, pyoci, "ulimit -t; ulimit -c") == "unlimited\n0"


def test_hidden_and_protected_paths_are_so(bundle, pyoci):
    (bundle.rootfs / "secret").mkdir()
    (bundle.rootfs / "secret/file").write_text("x")
    (bundle.rootfs / "word").write_text("x")
    bundle.linux.update(maskedPaths=["/secret", "/word", "/not-there", "/proc/kcore"], readonlyPaths=["/tmp", "/proc/sys", "/nor-this"])
    script = "ls /secret | wc -l; wc -c < /word; touch /tmp/x /secret/x 2>/dev/null || echo refused; echo 1 > /proc/sys/kernel/msgmax || echo refused"
    assert shown(bundle, pyoci, script + " 2>/dev/null").split() == ["0", "0", "refused", "refused"]
    assert (bundle.rootfs / "secret/file").read_text() == (bundle.rootfs / "word").read_text() == "x"


@pytest.mark.needs("libseccomp")
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_filter_holds_in_both_orders_and_for_each_user(bundle, pyoci, private, uid):
    bundle.process.update(noNewPrivileges=private, user={"uid": uid, "gid": uid})
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }  # fmt: skip
    script = "mkdir /tmp/x 2>&1; id -u; grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status"
    effective = shown(bundle, pyoci, script).splitlines()
    assert effective[0].endswith("Operation not supported") and effective[1] == str(uid)
    assert f"NoNewPrivs:\t{int(private)}" in effective and "Seccomp:\t2" in effective
    if uid:
        assert f"CapEff:\t{0:016x}" in effective


def test_session_keyring_is_new_and_bears_the_id(bundle, pyoci):
    bundle.linux["maskedPaths"] = []
    name = pyoci.start(bundle.write())
    assert f"_ses.{name}" in inside(pyoci, name, "cat /proc/keys")


def test_session_keyring_stays_the_callers_on_demand(bundle, pyoci):
    name = pyoci.create(bundle, None, "--no-new-keyring")
    assert f"_ses.{name}" not in pathlib.Path("/proc/keys").read_text()


def test_mount_in_the_host_reaches_a_slave_and_no_private_root(bundle, pyoci, tmp_path):
    (bundle.path / "source" / "sub").mkdir(parents=True)
    bundle.mount("/slave", "bind", "source", "rbind", "rslave").mount("/private", "bind", "source", "rbind", "rprivate")
    support.mount("tmpfs", bundle.path / "source", "tmpfs")
    support.mount("none", bundle.path / "source", None, support.MS_SHARED)
    (bundle.path / "source" / "sub").mkdir()
    try:
        name = pyoci.start(bundle)
        support.mount("tmpfs", bundle.path / "source" / "sub", "tmpfs")
        (bundle.path / "source" / "sub" / "late").write_text("x")
        assert inside(pyoci, name, "ls /slave/sub; ls /private/sub") == "late"
        pyoci.ok("delete", "--force", name)
        support.umount(bundle.path / "source" / "sub")
    finally:
        support.umount(bundle.path / "source")


def test_process_that_outlives_the_first_is_ended_though_it_is_frozen(bundle, pyoci):
    """Without a pid namespace of its own; SIGKILL does not act in a frozen v1 cgroup."""
    bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "pid"]
    bundle.process["args"] = ["sh", "-c", "sleep 1000 & exec sleep 1001"]
    name = pyoci.start(bundle.write())
    pid = pyoci.pid(name)
    directories = json.loads((pyoci.root / name / "state.json").read_text())["cgroups"]
    support.until(lambda: len(face.processes(directories)) == 2)
    other = next(one for one in face.processes(directories) if one != pid)
    os.kill(pid, 9)
    support.wait_until_stopped(pyoci, name)
    face.freeze(directories)
    pyoci.ok("delete", name)
    support.wait_for_end(other)
