"""What each wish of a create request does in the container, and what is refused."""

import json
import os
import pathlib

import pytest
import support

from pyoci.minidocker import bundle_mounts, bundle_security, containers, seccomp_file
from pyoci.minidocker.create import merge
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError
from pyoci.minidocker.judge import judge

pytestmark = pytest.mark.needs("root")

MEMORY = "/sys/fs/cgroup/memory"
SHOWN = [
    pytest.param({"Env": ["A=1", "PATH=/bin"]}, "echo $A $PATH $HOSTNAME", r"1 /bin [0-9a-f]{12}", id="env"),
    pytest.param({"Hostname": "here"}, "hostname; grep here /etc/hostname", "here\nhere", id="hostname"),
    pytest.param({"WorkingDir": "/made/here"}, "pwd", "/made/here", id="workdir"),
    pytest.param({"User": "user"}, "id -u; id -g; id -G", "1000\n1000\n1000", id="user"),
    pytest.param({"User": "7:8", "GroupAdd": ["9"]}, "id -u; id -g; id -G", "7\n8\n8 9", id="numbers"),
    pytest.param({"ReadonlyRootfs": True}, "touch /x 2>/dev/null || echo no; touch /dev/shm/x && echo yes", "no\nyes", id="read-only"),
    pytest.param({"Tmpfs": {"/t": "size=64k,mode=700"}}, "grep ' /t ' /proc/mounts | cut -d' ' -f3,4", ".*noexec.*size=64k.*mode=700.*", id="tmpfs"),
    pytest.param({"ShmSize": 1 << 20}, "grep ' /dev/shm ' /proc/mounts | cut -d' ' -f4", ".*size=1024k.*", id="shm-size"),
    pytest.param({"CapDrop": ["ALL"]}, "grep CapEff /proc/self/status", r"CapEff:\s+0+", id="cap-drop-all"),
    pytest.param({"CapAdd": ["NET_ADMIN"]}, "grep CapEff /proc/self/status", r"CapEff:\s+00000000a80435fb", id="cap-add"),
    pytest.param({}, "grep CapEff /proc/self/status", r"CapEff:\s+00000000a80425fb", id="the-fourteen"),
    pytest.param({"SecurityOpt": ["no-new-privileges"]}, "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\s+1", id="no-new-privileges"),
    pytest.param({}, "grep Seccomp: /proc/self/status", r"Seccomp:\s+2", id="filtered"),
    pytest.param({"SecurityOpt": ["seccomp=unconfined"]}, "grep Seccomp: /proc/self/status", r"Seccomp:\s+0", id="unconfined"),
    pytest.param({"Privileged": True}, "grep Seccomp: /proc/self/status; test -w /proc/sys/kernel/hostname && echo w; test -e /dev/mem -o -e /dev/kmsg && echo d",
                 r"Seccomp:\s+0\nw\nd", id="privileged"),
    pytest.param({"Ulimits": [{"Name": "sigpending", "Soft": 100, "Hard": 200}]}, "grep 'pending signals' /proc/self/limits", r"Max pending signals\s+100\s+200.*", id="ulimit"),
    pytest.param({"Sysctls": {"net.ipv4.ip_forward": "1"}}, "cat /proc/sys/net/ipv4/ip_forward", "1", id="sysctl"),
    pytest.param({"OomScoreAdj": 500}, "cat /proc/self/oom_score_adj", "500", id="oom-score-adj"),
    pytest.param({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm"}]},
                 "echo x > /dev/mine; stat -c %t:%T /dev/mine", "1:3", id="device"),
    pytest.param({"NetworkMode": "none"}, "cat /proc/net/dev | grep -c :", "1", id="no-network"),
    pytest.param({"ExtraHosts": ["db:10.0.0.1"]}, "grep db /etc/hosts", "10.0.0.1\tdb", id="add-host"),
    pytest.param({"Dns": ["10.1.1.1"], "DnsSearch": ["example.org"]}, "cat /etc/resolv.conf", "nameserver 10.1.1.1\nsearch example.org", id="dns"),
    pytest.param({"Init": True}, "cat /proc/1/cmdline | tr '\\0' ' ' | cut -c1-20", "/sbin/docker-init --", id="init"),
    pytest.param({"UTSMode": "host"}, "hostname", os.uname().nodename, id="uts-host"),
    pytest.param({"Entrypoint": ["sh", "-c", "echo entry $0"]}, "word", "entry sh", id="entrypoint"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "script", "expected"), SHOWN)
def test_wish_is_granted(place, given, script, expected):
    import re

    done = place.run("sh", "-c", script, **given)
    assert re.fullmatch(expected, done.stdout.strip(), re.DOTALL), (done.stdout, done.stderr)


@pytest.mark.needs("cgroup1")
def test_limits_reach_the_cgroup(place):
    container_id = place.up("sleep", "1000", Memory=64 << 20, MemorySwap=128 << 20, NanoCpus=500_000_000, PidsLimit=77, CpusetCpus="0", CpuShares=512)
    found = {
        "memory/{}/memory.limit_in_bytes": str(64 << 20), "memory/{}/memory.memsw.limit_in_bytes": str(128 << 20), "cpu/{}/cpu.cfs_quota_us": "50000",
        "cpu/{}/cpu.shares": "512", "pids/{}/pids.max": "77", "cpuset/{}/cpuset.cpus": "0",
    }  # fmt: skip
    for path, expected in found.items():
        file = pathlib.Path("/sys/fs/cgroup", path.format(f"minidocker/{container_id}"))
        if file.exists():
            assert file.read_text().strip() == expected, path


@pytest.mark.needs("cgroup1")
def test_container_killed_for_memory_says_so(place):
    done = place.run("sh", "-c", "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo $x | wc -c", name="web", Memory=8 << 20, MemorySwap=8 << 20)
    assert done.returncode != 0
    assert place.engine.inspect("web")["State"]["OOMKilled"] is True
    assert "oom" in place.actions(place.get("web").id)


def test_bind_mount_is_seen_on_both_sides(place, tmp_path):
    source = tmp_path / "made" / "by-v"
    done = place.run("sh", "-c", "echo x > /data/file; mkdir /ro/x 2>/dev/null || echo no", Binds=[f"{source}:/data", f"{tmp_path}:/ro:ro"])
    assert done.stdout == "no\n"
    assert (source / "file").read_text() == "x\n"


def test_mount_of_a_missing_source_is_refused(place, tmp_path):
    with pytest.raises(BadRequest, match=f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/no'):
        place.create("true", Mounts=[{"Type": "bind", "Source": f"{tmp_path}/no", "Target": "/x"}])
    assert not (tmp_path / "no").exists()


def test_namespaces_of_another_container_are_joined(place):
    place.up("sleep", "1000", name="first", IpcMode="shareable")
    script = "ls -d /proc/[0-9]* | wc -l; for n in net ipc; do readlink /proc/self/ns/$n; done; echo x > /dev/shm/seen"
    done = place.run("sh", "-c", script, NetworkMode="container:first", PidMode="container:first", IpcMode="container:first")
    lines = done.stdout.split()
    pid = place.get("first").pid
    assert lines[1:] == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "ipc")], done.stderr
    assert int(lines[0]) >= 2
    assert place.command("    status = engine.exec('first', {'Cmd': ['cat', '/dev/shm/seen']})\n").stdout == "x\n"
    place.up("sleep", "1000", name="second")
    with pytest.raises(Conflict, match="cannot join IPC of a non-shareable container"):
        place.engine.start(place.create("true", IpcMode="container:second"))
    place.engine.stop("first", 0)
    with pytest.raises(Conflict, match="cannot join network of a non running container"):
        place.engine.start(place.create("true", NetworkMode="container:first"))


def test_host_namespaces_are_the_hosts(place):
    done = place.run("sh", "-c", "for n in net pid ipc; do readlink /proc/self/ns/$n; done", NetworkMode="host", PidMode="host", IpcMode="host")
    assert done.stdout.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid", "ipc")]


def test_failed_start_leaves_nothing(place):
    before = support.snapshot()
    container_id = place.create("true", User="nobody-here")
    with pytest.raises(BadRequest, match="unable to find user nobody-here: no matching entries in passwd file"):
        place.engine.start(container_id)
    support.assert_unchanged(before)
    assert place.get(container_id).status == "created"
    assert "unable to find user" in place.get(container_id).error


REFUSED = [
    pytest.param({"Memory": 1 << 20}, "Minimum memory limit allowed is 6MB", id="memory"),
    pytest.param({"Memory": 64 << 20, "MemorySwap": 32 << 20}, "Minimum memoryswap limit should be larger than memory limit", id="swap"),
    pytest.param({"NanoCpus": 10**12}, "range of CPUs is from 0.01", id="cpus"),
    pytest.param({"CpusetCpus": "0-99999"}, "Requested CPUs are not available", id="cpuset"),
    pytest.param({"NetworkMode": "web"}, "network web: networks come with a later release", id="network"),
    pytest.param({"Binds": ["data:/data"]}, "volume data: named volumes come with a later release", id="named-volume"),
    pytest.param({"Binds": ["/a:/b", "/c:/b"]}, "Duplicate mount point: /b", id="duplicate"),
    pytest.param({"Binds": ["/a:b"]}, "invalid mount path: 'b' mount path must be absolute", id="relative"),
    pytest.param({"Binds": ["/a:/b:nope"]}, "invalid mode: nope", id="mode"),
    pytest.param({"Binds": ["/a:/"]}, "destination can't be '/'", id="root"),
    pytest.param({"CapAdd": ["NOPE"]}, 'invalid capability: "NOPE"', id="capability"),
    pytest.param({"SecurityOpt": ["what"]}, 'invalid --security-opt: "what"', id="security-opt"),
    pytest.param({"SecurityOpt": ["seccomp=/nosuch"]}, "opening seccomp profile (/nosuch) failed", id="seccomp"),
    pytest.param({"Ulimits": [{"Name": "nope", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: nope", id="ulimit"),
    pytest.param({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "can't create 'AutoRemove' container with restart policy", id="rm-and-restart"),
    pytest.param({"Dns": ["1.1.1.1", "foo"]}, "foo is not an ip address", id="dns"),
    pytest.param({"NetworkMode": "container:x", "Dns": ["::1"]}, "conflicting options: dns and the network mode", id="dns-of-another"),
    pytest.param({"NetworkMode": "container:x", "ExtraHosts": ["a:1.1.1.1"]}, "conflicting options: custom host-to-IP mapping and the network mode", id="hosts-of-another"),
    pytest.param({"LogConfig": {"Type": "syslog"}}, "no log driver named 'syslog' is registered", id="log-driver"),
    pytest.param({"LogConfig": {"Config": {"max-size": "x"}}}, "invalid value for max-size: 'x'", id="log-size"),
    pytest.param({"PidMode": "nope"}, "invalid PID mode: nope", id="pid"),
    pytest.param({"PortBindings": {"80/tcp": [{}]}}, "PortBindings: published ports come with a later release", id="ports"),
    pytest.param({"DeviceCgroupRules": ["x 1:3 rwm"]}, "invalid device cgroup rule format: 'x 1:3 rwm'", id="device-rule"),
    pytest.param({"OomScoreAdj": 5000}, "range for oom score adj is [-1000, 1000]", id="oom-score"),
    pytest.param({"CgroupParent": "/a/../b"}, "invalid cgroup parent", id="cgroup-parent"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "said"), REFUSED)
def test_refusal_comes_before_any_effect(host, said):
    with pytest.raises(MiniDockerError) as caught:
        judge({"Image": "x", "HostConfig": {"NetworkMode": "none", **host}})
    assert said in str(caught.value)


@pytest.mark.parametrize(("host", "mode"), [({"NetworkMode": "container:x"}, "network"), ({"NetworkMode": "none", "UTSMode": "host"}, "UTS")])
def test_host_name_of_another_is_not_changed(host, mode):
    with pytest.raises(MiniDockerError, match=f"^conflicting options: hostname and the {mode} mode$"):
        judge({"Image": "x", "Hostname": "mine", "HostConfig": host})


def test_image_defaults_are_merged_as_docker_does():
    image = {"Env": ["A=image", "B=image"], "Entrypoint": ["/entry"], "Cmd": ["serve"], "Labels": {"a": "image", "b": "image"}, "User": "web",
             "WorkingDir": "/srv", "StopSignal": "SIGQUIT", "Healthcheck": {"Test": ["CMD", "x"], "Retries": 5}}  # fmt: skip
    made = merge({"Env": ["A=mine"], "Cmd": ["other"], "Labels": {"a": "mine"}, "Healthcheck": {"Retries": 7}}, image)
    assert made["Env"] == ["A=mine", "B=image"]
    assert (made["Entrypoint"], made["Cmd"]) == (["/entry"], ["other"])
    assert made["Labels"] == {"a": "mine", "b": "image"}
    assert (made["User"], made["WorkingDir"], made["StopSignal"]) == ("web", "/srv", "SIGQUIT")
    assert made["Healthcheck"] == {"Test": ["CMD", "x"], "Retries": 7}
    assert merge({"Entrypoint": ["/mine"]}, image)["Cmd"] is None
    assert merge({"Entrypoint": [""], "Cmd": ["x"]}, image)["Entrypoint"] is None


def test_capabilities_follow_dockers_rules():
    names = lambda **host: bundle_security.capabilities(host, {"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"})  # noqa: E731
    assert names(CapDrop=["ALL"], CapAdd=["CHOWN"]) == ["CAP_CHOWN"]
    assert names(CapAdd=["ALL"], CapDrop=["SYS_ADMIN"]) == ["CAP_CHOWN", "CAP_NET_ADMIN"]
    assert "CAP_CHOWN" not in names(CapDrop=["cap_chown"])
    assert names(Privileged=True) == ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]


def test_mounts_come_in_an_order_in_which_none_hides_another():
    class Facts:
        binds = [{"destination": "/a/b"}, {"destination": "/a"}]
        files = {"/etc/hosts": "/x"}
        init, shm = "", "tmpfs"

    targets = [mount["destination"] for mount in bundle_mounts.mounts({}, Facts)]
    assert targets.index("/a") < targets.index("/a/b")
    assert targets[0] == "/proc"


def test_dockers_form_of_a_seccomp_profile_is_read():
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_AARCH64"}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"name": "mount", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["old"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
        ],
    }  # fmt: skip
    assert [rule["names"] for rule in seccomp_file.convert(profile, {})["syscalls"]] == [["read"], ["clone"], ["ptrace"]]
    assert [rule["names"] for rule in seccomp_file.convert(profile, {"CapAdd": ["SYS_ADMIN"]})["syscalls"]] == [["read"], ["mount"], ["ptrace"]]
    json.dumps(seccomp_file.convert(profile, {}))


def test_profile_of_a_file_is_kept_as_it_was_at_create(place, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}))
    container_id = place.create("sh", "-c", "mkdir /x 2>/dev/null || exit 9", SecurityOpt=[f"seccomp={profile}"])
    profile.unlink()
    place.engine.start(container_id)
    assert place.engine.wait(container_id) == 9
    assert containers.status_of(place.get(container_id)) == "exited"
