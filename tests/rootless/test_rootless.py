"""Containers of a user who is not root, and of root in a user namespace of a user's, as podman has it."""

import json
import subprocess

import pytest
import support
from unprivileged import SUBORDINATE, UID, as_user

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox", "unprivileged_userns")

RANGE = {
    key: [{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": SUBORDINATE, "size": 65536}]
    for key in ("uidMappings", "gidMappings")
}


def printed(done):
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_user_is_root_of_its_container_alone(user):
    bundle = user.bundle("id -u; cat /proc/self/uid_map /proc/self/setgroups; ls /sys/class/net; echo made > /made")
    lines = printed(user.run(bundle)).split()
    assert lines == ["0", "0", str(UID), "1", "deny", "lo"]
    assert (bundle.rootfs / "made").stat().st_uid == UID


def test_its_state_is_kept_in_its_runtime_directory_closed_to_others(user):
    name = user.create(user.bundle("sleep 1000"))
    assert (user.root / name / "state.json").is_file()
    assert user.root.stat().st_mode & 0o777 == 0o700 and user.root.stat().st_uid == UID


def test_devices_are_the_hosts_own_bound(user):
    assert printed(user.run(user.bundle("echo x > /dev/null && stat -c '%t:%T' /dev/null"))) == "1:3\n"


def test_config_of_spec_rootless_runs(user):
    bundle = user.bundle("true")
    (bundle.path / "config.json").unlink()
    user.ok("spec", "--rootless", "--bundle", bundle.path)
    bundle.config = json.loads((bundle.path / "config.json").read_text())
    bundle.process.update(terminal=False)
    bundle.shell("id -u; grep -c ' /sys/[^ ]* rw,' /proc/self/mountinfo; cat /proc/sys/kernel/hostname")
    assert printed(user.run(bundle)).split() == ["0", "0", "pyoci"]


def test_the_life_of_a_detached_container(user):
    name = user.start(user.bundle("trap 'exit 5' TERM; while :; do sleep 0.05; done"))
    assert user.state(name)["status"] == "running"
    pid = user.pid(name)
    assert str(pid) in user.ok("ps", "--format", "json", name)
    assert user.ok("exec", name, "sh", "-c", "id -u; pidof sh >/dev/null && cat /proc/self/uid_map").split() == ["0", "0", str(UID), "1"]
    assert name in user.ok("list", "-q")
    user.ok("kill", name, "KILL")
    support.wait_until_stopped(user, name)
    user.ok("delete", name)
    assert not (user.root / name).exists()


def test_ps_and_kill_all_reach_a_process_of_exec_without_a_cgroup(user):
    name = user.start(user.bundle("sleep 1000; true"))
    user.ok("exec", "--detach", "--pid-file", user.folder / "run" / "pid", name, "sleep", "2000")
    pid = int((user.folder / "run" / "pid").read_text())
    assert pid in json.loads(user.ok("ps", "--format", "json", name))
    user.ok("kill", "--all", name, "KILL")
    support.wait_for_end(pid)
    support.wait_until_stopped(user, name)


@pytest.mark.needs("cgroup1")
@pytest.mark.parametrize("words", [("pause",), ("update", "--memory", "33554432"), ("events", "--stats")], ids=lambda words: words[0])
def test_what_takes_a_cgroup_says_so(user, words):
    name = user.start(user.bundle("sleep 1000"))
    said = user.fails(*words, name)
    assert said == (
        f"container {name} has no cgroup, which {words[0]} needs: it was made by a user who may make none; "
        "systemd delegates cgroups to users on version 2 alone"
    )


@pytest.mark.needs("cgroup1")
def test_a_limit_that_can_not_be_had_is_refused_before_any_effect(user):
    bundle = user.bundle("true")
    bundle.linux["resources"] = {"pids": {"limit": 10}}
    bundle.write()
    said = user.fails("run", "--bundle", bundle.path, user.new_id())
    assert "linux.resources.pids.limit: can't be limited, since this user can't make the cgroup /sys/fs/cgroup/pids" in said
    assert "Permission denied (EACCES)" in said
    assert not list(user.root.glob("*"))


@pytest.mark.needs("cgroup1")
def test_a_cgroup_that_was_named_is_refused_where_it_can_not_be_made(user):
    bundle = user.bundle("true")
    bundle.linux["cgroupsPath"] = "/named"
    bundle.write()
    assert "linux.cgroupsPath: /sys/fs/cgroup/" in user.fails("run", "--bundle", bundle.path, user.new_id())


@pytest.mark.needs("cgroup1")
def test_without_rootless_mode_a_cgroup_is_a_must(user):
    user.flags = ("--rootless=false",)
    said = user.fails("run", "--bundle", user.bundle("true").path, user.new_id())
    assert "make the cgroup" in said and "Permission denied (EACCES)" in said


REFUSALS = {
    "no user namespace": (
        lambda config: config["linux"].update(namespaces=config["linux"]["namespaces"][:-1], uidMappings=[], gidMappings=[]),
        "linux.namespaces: rootless container requires user namespaces; pyoci spec --rootless writes such a config",
    ),
    "groups": (
        lambda config: config["process"]["user"].update(additionalGids=[5]),
        "process.user.additionalGids: cannot set any additional groups in a rootless container; ",
    ),
    "owner of a mount": (
        lambda config: config["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "t", "options": ["uid=5"]}),
        "mounts[5].options: cannot specify uid=5 mount option for rootless container: it has no mapping in the user namespace",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_user_can_not_have_is_refused_before_any_effect(user, name):
    change, wanted = REFUSALS[name]
    bundle = user.bundle("true").edit(change)
    before = support.files_below(bundle.path)
    assert wanted in user.fails("run", "--bundle", bundle.path, user.new_id())
    assert support.files_below(bundle.path) == before
    assert not list(user.root.glob("*"))


def test_the_group_of_terminals_is_left_out_where_it_has_no_mapping(user):
    bundle = user.bundle("mount | grep -c gid=5")
    bundle.config["mounts"][2]["options"].append("gid=5")
    done = user.run(bundle.write())
    assert done.stdout == "0\n"
    assert done.stderr == "warning: mounts[2].options: gid=5 has no mapping in the user namespace, so it is left out\n"


def test_lowering_the_oom_score_is_refused_and_raising_it_is_not(user):
    bundle = user.bundle("cat /proc/self/oom_score_adj")
    bundle.process["oomScoreAdj"] = 500
    assert printed(user.run(bundle.write())) == "500\n"
    bundle.process["oomScoreAdj"] = -500
    said = user.fails("run", "--bundle", bundle.write().path, user.new_id())
    assert said.endswith("(EACCES); lowering it takes CAP_SYS_RESOURCE on the host")


@pytest.mark.needs("newuidmap")
def test_ranges_are_mapped_by_newuidmap_and_newgidmap(user, subordinate_ids):
    bundle = user.bundle("id; cat /proc/self/uid_map", **RANGE)
    bundle.process["user"].update(uid=1000, gid=1000, additionalGids=[7])
    words = printed(user.run(bundle.write())).split()
    assert words[:3] == ["uid=1000(user)", "gid=1000(user)", "groups=7,1000(user)"] or words[2].startswith("groups=")
    assert words[3:] == ["0", str(UID), "1", "1", str(SUBORDINATE), "65536"]


@pytest.mark.needs("newuidmap")
def test_exec_joins_a_container_of_mapped_ranges(user, subordinate_ids):
    bundle = user.bundle("sleep 1000", **RANGE)
    bundle.process["user"].update(uid=1000, gid=1000)
    name = user.start(bundle.write())
    assert user.ok("exec", "--user", "3:4", name, "sh", "-c", "id -u; id -g").split() == ["3", "4"]


@pytest.mark.needs("newuidmap")
def test_ids_that_are_not_the_users_are_refused_and_all_is_undone(user):
    theirs = [{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": 900_000, "size": 9}]
    bundle = user.bundle("true", uidMappings=theirs, gidMappings=theirs)
    before = support.files_below(bundle.path)
    said = user.fails("run", "--bundle", bundle.path, user.new_id())
    assert "linux.uidMappings: map uids 0 61234 1 1 900000 9: newuidmap: " in said
    assert said.endswith("; /etc/subuid says which ids a user may map")
    assert support.files_below(bundle.path) == before


def test_a_container_of_another_user_is_out_of_reach(user, tmp_path):
    other = support.Pyoci(user.folder / "other")
    name = other.start(support.Bundle(tmp_path / "bundle"))
    try:
        for verb in ("state", "kill", "delete", "start", "pause"):
            done = as_user(user, str(support.PYOCI), "--root", str(other.root), verb, name)
            assert done.returncode == 1 and done.stderr.endswith("Permission denied (EACCES)\n"), done
    finally:
        other.clean()


def test_without_a_runtime_directory_it_says_what_is_missing(user):
    del user.environment["XDG_RUNTIME_DIR"]
    said = user.fails("list")
    assert said == f"where to keep the state of containers: XDG_RUNTIME_DIR is not set, and /run/user/{UID} is not there; set it, or give --root"


@pytest.mark.needs("newuidmap")
def test_root_of_a_users_namespace_needs_no_user_namespace_of_the_containers(user, subordinate_ids):
    """As podman calls its runtime."""
    bundle = user.bundle("id -u; cat /proc/self/uid_map; echo x > /dev/null && echo written; ls /sys/fs/cgroup | grep -c .; echo > /sys/fs/cgroup/x; true", **RANGE)
    bundle.linux["namespaces"] = [one for one in bundle.linux["namespaces"] if one["type"] != "user"]
    del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime")
    user.prefix += ["unshare", "--user", "--mount", "--map-auto", "--map-root-user"]
    done = user.run(bundle)
    lines = done.stdout.split("\n")
    assert done.returncode == 0 and lines[0] == "0" and lines[-3] == "written" and int(lines[-2]) > 0, done
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


def test_a_user_keeps_compiled_filters_at_home(user):
    bundle = user.bundle("grep Seccomp: /proc/self/status")
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kcmp"], "action": "SCMP_ACT_ERRNO"}]}
    assert printed(user.run(bundle.write())).split() == ["Seccomp:", "2"]
    folder = user.folder / "home" / ".cache" / "pyoci" / "@seccomp"
    assert folder.stat().st_uid == UID and len(list(folder.iterdir())) == 1
    assert subprocess.run(["stat", "-c", "%a", folder], capture_output=True, text=True, check=True).stdout == "700\n"


def test_a_container_joins_the_namespaces_of_another(user):
    """The user namespace first: it gives the right to join what belongs to it."""
    name = user.start(user.bundle("sleep 1000"))
    holder = f"/proc/{user.pid(name)}/ns"
    bundle = user.bundle("for kind in user net ipc; do readlink /proc/self/ns/$kind; done; id -u", folder="second")
    del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
    for one in bundle.linux["namespaces"]:
        if one["type"] in ("user", "network", "ipc"):
            one["path"] = f"{holder}/{ {'network': 'net'}.get(one['type'], one['type']) }"
    words = printed(user.run(bundle.write())).split()
    assert words == [*(as_user(user, "readlink", f"{holder}/{kind}").stdout.strip() for kind in ("user", "net", "ipc")), "0"]


FAIL_EACH = """
import sys
from pyoci.api import Runtime
from pyoci.errors import PyociError, SyscallError
from pyoci.launch import host
from pyoci.launch.run import Launch
from pyoci.plan import wire
from pyoci.plan.ops import HOST, TABLE
from pyoci.plan.plan import Op

root, bundle = sys.argv[1:]
runtime = Runtime(root)
ops = runtime.plan(bundle, "x", detach=True).create
encode, deed = wire.encode, Launch._deed
for index, op in enumerate(ops):
    if op.name == "gate":
        break
    def sabotaged(launch, at):
        deed(launch, at)
        if at == index and TABLE[op.number][1] == HOST:
            raise PyociError("sabotage")
    def spoiled(plan):
        return encode([Op("propagate", one.origin, "/pyoci-is-not-here", 0) if at == index and TABLE[op.number][1] != HOST else one for at, one in enumerate(plan)])
    Launch._deed, wire.encode = sabotaged, spoiled
    try:
        runtime.create(f"TOKEN-{index}", bundle)
        print("did not fail:", op.name)
    except PyociError as error:
        if "sabotage" not in str(error) and "no such file" not in str(error).lower() or "could not" in str(error):
            print(op.name, error)
    if runtime.list():
        print("is there still:", op.name)
"""


def test_each_operation_that_fails_is_undone(user):
    bundle = user.bundle("true")
    user.ok("list")
    before = support.snapshot(bundle.path)
    script = FAIL_EACH.replace("TOKEN", support.TOKEN)
    done = as_user(user, str(support.PYOCI.parent / "python"), "-c", script, str(user.root), str(bundle.path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    support.assert_unchanged(before)


def test_root_that_asks_for_rootless_keeps_its_devices_limited(user, tmp_path):
    bundle = support.Bundle(tmp_path / "bundle")
    plans = [support.Pyoci(tmp_path / "state", *flags).ok("plan", bundle.path) for flags in ((), ("--rootless=true",))]
    assert plans[0] == plans[1]
    assert "devices" in plans[0] or "device" in plans[0]
