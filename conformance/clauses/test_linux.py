"""config-linux.md: file systems, namespaces, devices, hidden paths, sysctl, seccomp; runtime-linux.md."""
import errno
import os
import subprocess

import pytest
from container import mount_of

clause = pytest.mark.clause

# the spec's word: (the name under /proc/PID/ns, unshare's flag)
KINDS = {"pid": ("pid", "--pid"), "network": ("net", "--net"), "mount": ("mnt", "--mount"), "ipc": ("ipc", "--ipc"), "uts": ("uts", "--uts"),
         "cgroup": ("cgroup", "--cgroup"), "user": ("user", "--user")}


@pytest.fixture
def others():
    """Call it with a kind of namespace for a process that lives in a new one: (its pid, the namespace's path)."""
    processes = []

    def make(kind):
        name, flag = KINDS[kind]
        process = subprocess.Popen(["unshare", flag, "--fork", "--kill-child", "sh", "-c", "echo ready; exec sleep 60"], stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"ready\n"
        return process.pid, f"/proc/{process.pid}/ns/{name}" + ("_for_children" if kind == "pid" else "")

    yield make
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def namespace_of(container, kind):
    return os.readlink(f"/proc/{container.state()['pid']}/ns/{KINDS[kind][0]}")


def our_namespace(kind):
    return os.readlink(f"/proc/self/ns/{KINDS[kind][0]}")


# --- namespaces -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@clause("config-linux.md#namespaces", "If path is not specified, the runtime MUST create a new container namespace of type type")
def test_namespace_without_a_path_is_new(container, kind):
    container.add_user_namespace() if kind == "user" else container.add_namespace(kind)
    assert namespace_of(container.create(), kind) != our_namespace(kind)


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "user", "pid"])
@clause("config-linux.md#namespaces", "If a namespace type is not specified, the container MUST inherit the runtime namespace of that type")
def test_namespace_that_is_not_named_is_inherited(container, kind):
    container.drop_namespace(kind)
    assert namespace_of(container.create(), kind) == our_namespace(kind)


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "mount", "cgroup"])
@clause("config-linux.md#namespaces", "The runtime MUST place the container process in the namespace associated with that path")
def test_namespace_with_a_path_is_joined(container, others, kind):
    _, path = others(kind)
    container.add_namespace(kind, path)
    assert namespace_of(container.create(), kind) == os.readlink(path)


@pytest.mark.parametrize("kind", ["network", "ipc", "uts"])
@clause("runtime.md#delete", "resources associated with the container, but not created by this container, MUST NOT be deleted")
def test_joined_namespace_outlives_the_container(container, others, kind):
    _, path = others(kind)
    before = os.readlink(path)
    container.add_namespace(kind, path)
    container.report()
    container.delete()
    assert os.readlink(path) == before


@pytest.mark.parametrize(("kind", "wrong"), [("cgroup", "ipc"), ("ipc", "mnt"), ("mount", "net"), ("network", "pid"), ("pid", "user"),
                                            ("user", "uts"), ("uts", "cgroup")])
@clause("config-linux.md#namespaces", "MUST generate an error if path is not associated with a namespace of type type")
def test_namespace_path_of_another_kind_is_refused(container, kind, wrong):
    container.add_namespace(kind, f"/proc/self/ns/{wrong}")
    container.refused()


@clause("config-linux.md#namespaces", "MUST generate an error if path is not associated with a namespace of type type")
def test_namespace_path_to_an_ordinary_file_is_refused(container):
    container.add_namespace("network", str(container.probe))
    container.refused()


@clause("config-linux.md#namespaces", "path MUST be an absolute path in the runtime mount namespace")
def test_relative_namespace_path_is_refused(container):
    container.add_namespace("network", "proc/self/ns/net")
    container.refused()


@clause("config-linux.md#namespaces", "If namespaces contains duplicated namespaces with same type, the runtime MUST generate an error")
def test_duplicate_namespaces_are_refused(container):
    container.linux["namespaces"].append({"type": "uts"})
    container.refused()


@clause("config-linux.md#namespaces", "pid: processes inside will only be able to see other processes inside")
def test_first_process_of_a_pid_namespace_is_pid_1(container):
    assert container.report()["pid"] == 1


@clause("config-linux.md#namespaces", "network: the container will have its own network stack")
def test_new_network_namespace_has_loopback_alone(container):
    path = "/sys/class/net"
    assert container.report(path)["paths"][path]["entries"] == 1


@clause("config.md#hostname", "hostname specifies the container's hostname as seen by processes running inside it")
def test_hostname_is_set(container):
    container.config["hostname"] = "clause-host"
    assert container.report()["hostname"] == "clause-host"


@clause("config.md#domainname", "domainname specifies the container's domainname as seen by processes running inside it")
def test_domainname_is_set(container):
    container.config["domainname"] = "clause.example"
    assert container.report()["domainname"] == "clause.example"


# --- user namespaces ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("which", "host"), [("uid", 100000), ("gid", 200000)])
@clause("config-linux.md#user-namespace-mappings", "uidMappings and gidMappings describe the mappings from the host to the container")
def test_mappings_are_the_configured_ones(container, which, host):
    container.add_user_namespace()
    assert container.report()[f"{which}_map"].split() == ["0", str(host), "1000"]


@clause("config-linux.md#user-namespace-mappings", "user: the container will be able to remap user and group IDs")
def test_root_of_a_user_namespace_is_the_mapped_user_outside(container):
    container.add_user_namespace()
    container.run_probe("wait")
    pid = container.create().start().state()["pid"]
    assert (os.stat(f"/proc/{pid}").st_uid, os.stat(f"/proc/{pid}").st_gid) == (100000, 200000)


@clause("config-linux.md#user-namespace-mappings", "The runtime SHOULD NOT modify the ownership of referenced filesystems")
def test_root_file_system_keeps_its_owner(container):
    container.add_user_namespace()
    container.report()
    assert {path.stat().st_uid for path in (container.rootfs, container.rootfs / "probe")} == {0}


@clause("config-linux.md#user-namespace-mappings", "The runtime SHOULD NOT modify the ownership of referenced filesystems")
def test_device_given_as_a_standard_stream_keeps_its_owner(container):
    before = os.stat("/dev/null").st_uid
    container.add_user_namespace()
    container.report()
    assert os.stat("/dev/null").st_uid == before


# --- default file systems, devices and links ------------------------------------------------------------------------

@pytest.mark.parametrize(("target", "kind"), [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")])
@clause("config-linux.md#default-filesystems", "SHOULD be made available in each container's filesystem")
def test_default_file_system_is_there(container, target, kind):
    assert mount_of(container.report(), target)["type"] == kind


@pytest.mark.parametrize(("path", "numbers"), [("/dev/null", (1, 3)), ("/dev/zero", (1, 5)), ("/dev/full", (1, 7)), ("/dev/random", (1, 8)),
                                              ("/dev/urandom", (1, 9)), ("/dev/tty", (5, 0)), ("/dev/ptmx", (5, 2))])
@clause("config-linux.md#default-devices", "the runtime MUST also supply")
def test_default_device_is_there(container, path, numbers):
    seen = container.report(path)["paths"][path]
    assert (seen["kind"], seen["major"], seen["minor"]) == ("c", *numbers)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"])
@clause("config-linux.md#default-devices", "the runtime MUST also supply")
def test_default_device_can_be_opened_whatever_the_cgroup_denies(container, path):
    container.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    assert container.report(path)["paths"][path]["writable"] == 1


@clause("config-linux.md#default-devices", "/dev/ptmx: a bind-mount or symlink of the container's /dev/pts/ptmx")
def test_ptmx_is_that_of_the_containers_devpts(container):
    report = container.report("/dev/ptmx", "/dev/pts/ptmx")
    assert report["paths"]["/dev/ptmx"]["device"] == report["paths"]["/dev/pts/ptmx"]["device"]


@pytest.mark.parametrize(("path", "target"), [("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"),
                                             ("/dev/stderr", "/proc/self/fd/2")])
@clause("runtime-linux.md#dev-symbolic-links", "runtimes MUST create the following symlinks if the source file exists after processing mounts")
def test_default_link_is_there(container, path, target):
    assert container.report(path)["paths"][path]["link"] == target


# --- devices --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "expected"), [("c", "c"), ("u", "c"), ("b", "b"), ("p", "p")])
@clause("config-linux.md#devices", "devices lists devices that MUST be available in the container")
def test_listed_device_is_there(container, kind, expected):
    device = {"path": "/dev/listed", "type": kind, "fileMode": 0o640, "uid": 11, "gid": 12}
    container.linux["devices"] = [device if kind == "p" else device | {"major": 10, "minor": 666}]
    seen = container.report("/dev/listed")["paths"]["/dev/listed"]
    numbers = (0, 0) if kind == "p" else (10, 666)
    assert (seen["kind"], seen["mode"], seen["uid"], seen["gid"], (seen["major"], seen["minor"])) == (expected, 0o640, 11, 12, numbers)


@clause("config-linux.md#devices", "The path MAY be anywhere in the container filesystem, notably outside of /dev")
def test_device_may_lie_outside_dev(container):
    container.linux["devices"] = [{"path": "/some/where", "type": "c", "major": 1, "minor": 3}]
    assert container.report("/some/where")["paths"]["/some/where"]["kind"] == "c"


@clause("config-linux.md#devices", "If a file already exists at path that does not match the requested device, the runtime MUST generate an error")
def test_device_on_a_file_that_does_not_match_is_refused(container):
    (container.rootfs / "taken").write_text("a file")
    container.linux["devices"] = [{"path": "/taken", "type": "c", "major": 1, "minor": 3}]
    container.refused()
    assert (container.rootfs / "taken").read_text() == "a file"


# --- hidden and read-only paths -------------------------------------------------------------------------------------

@pytest.fixture
def secrets(container):
    """Folders and files in the root file system, each with something to read."""
    folder = container.rootfs / "secret"
    (folder / "inner").mkdir(parents=True)
    for path in (folder / "file", folder / "inner" / "file", container.rootfs / "file"):
        path.write_text("secret")
    return folder


@clause("config-linux.md#masked-paths", "maskedPaths will mask over the provided paths inside the container so that they cannot be read")
def test_masked_file_cannot_be_read(container, secrets):
    container.linux["maskedPaths"] = ["/file"]
    assert container.report("/file")["paths"]["/file"]["readable"] == 0


@clause("config-linux.md#masked-paths", "maskedPaths will mask over the provided paths inside the container so that they cannot be read")
def test_masked_folder_is_empty_and_cannot_be_written(container, secrets):
    container.linux["maskedPaths"] = ["/secret"]
    seen = container.report("/secret")["paths"]["/secret"]
    assert (seen["entries"], seen["writable"]) == (0, 0)


@clause("config-linux.md#masked-paths", "maskedPaths will mask over the provided paths inside the container so that they cannot be read")
def test_paths_below_a_masked_folder_may_be_masked_too(container, secrets):
    container.linux["maskedPaths"] = ["/secret", "/secret/inner", "/secret/inner/file", "/secret/file"]
    assert container.report("/secret")["paths"]["/secret"]["entries"] == 0


@pytest.mark.parametrize("kind", ["c", "b", "p"])
@clause("config-linux.md#masked-paths", "maskedPaths will mask over the provided paths inside the container so that they cannot be read")
def test_masked_special_file_cannot_be_read(container, kind):
    subprocess.run(["mknod", str(container.rootfs / "node"), kind, *([] if kind == "p" else ["1", "5"])], check=True)
    container.linux["maskedPaths"] = ["/node"]
    seen = container.report("/node")["paths"]["/node"]
    assert not seen.get("readable")
    assert (seen["kind"], seen["major"], seen["minor"]) != (kind, *((0, 0) if kind == "p" else (1, 5)))


@clause("config-linux.md#masked-paths", "maskedPaths: of paths that exist")
def test_masked_path_that_does_not_exist_is_ignored(container):
    container.linux["maskedPaths"] = ["/not/there"]
    assert "errno" in container.report("/not")["paths"]["/not"]


@clause("config-linux.md#readonly-paths", "readonlyPaths will set the provided paths as readonly inside the container")
def test_read_only_file_can_be_read_but_not_written(container, secrets):
    container.linux["readonlyPaths"] = ["/file"]
    seen = container.report("/file")["paths"]["/file"]
    assert (seen["text"], seen["writable"]) == ("secret", 0)


@clause("config-linux.md#readonly-paths", "readonlyPaths will set the provided paths as readonly inside the container")
def test_read_only_folder_can_be_read_but_not_written(container, secrets):
    container.linux["readonlyPaths"] = ["/secret", "/secret/inner"]
    seen = container.report("/secret", "/secret/inner")["paths"]
    assert [(each["entries"], each["writable"]) for each in seen.values()] == [(2, 0), (1, 0)]


@clause("config-linux.md#readonly-paths", "readonlyPaths: of paths that exist")
def test_read_only_path_that_does_not_exist_is_ignored(container):
    container.linux["readonlyPaths"] = ["/not/there"]
    assert "errno" in container.report("/not")["paths"]["/not"]


@pytest.mark.parametrize("which", ["maskedPaths", "readonlyPaths"])
@clause("config-linux.md#masked-paths, #readonly-paths", "The values MUST be absolute paths in the container namespace")
def test_relative_hidden_path_is_refused(container, secrets, which):
    container.linux[which] = ["file"]
    container.refused()


# --- sysctl, propagation, labels, seccomp ---------------------------------------------------------------------------

@pytest.mark.parametrize(("key", "value", "path"), [("net.ipv4.ip_forward", "1", "/proc/sys/net/ipv4/ip_forward"),
                                                   ("kernel.msgmax", "4096", "/proc/sys/kernel/msgmax")])
@clause("config-linux.md#sysctl", "sysctl allows kernel parameters to be modified at runtime for the container")
def test_sysctl_is_set(container, key, value, path):
    container.linux["sysctl"] = {key: value}
    assert container.report(path)["paths"][path]["text"] == value + "\n"


@pytest.mark.parametrize(("word", "kinds"), [("shared", {"shared"}), ("slave", set()), ("private", set()), ("unbindable", {"unbindable"})])
@clause("config-linux.md#rootfs-mount-propagation", "rootfsPropagation sets the rootfs's mount propagation")
def test_root_has_the_configured_propagation(container, word, kinds):
    container.linux["rootfsPropagation"] = word
    seen = {each.partition(":")[0] for each in mount_of(container.report(), "/")["propagation"]}
    assert seen - {"master", "propagate_from"} == kinds


@clause("config-linux.md#rootfs-mount-propagation", "Its value is either shared, slave, private or unbindable")
def test_unknown_propagation_of_the_root_is_refused(container):
    container.linux["rootfsPropagation"] = "sometimes"
    container.refused()


@clause("config-linux.md#mount-label", "mountLabel will set the Selinux context for the mounts in the container")
def test_mount_label_without_selinux_changes_nothing(container):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this host has SELinux")
    container.linux["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"
    assert not [each for each in mount_of(container.report(), "/dev")["super"] if "context" in each]


@clause("config-linux.md#seccomp", "action of a rule, with errnoRet")
def test_denied_system_call_gives_the_configured_errno(container):
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW",
                                  "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOTNAM}]}
    assert container.report()["getcwd_errno"] == errno.ENOTNAM


@clause("config-linux.md#seccomp", "errnoRet: if not specified, its default value is EPERM")
def test_denied_system_call_gives_eperm_by_default(container):
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]}
    assert container.report()["getcwd_errno"] == errno.EPERM


@clause("config-linux.md#seccomp", "defaultAction is the default action for seccomp")
def test_program_without_seccomp_has_no_filter(container):
    assert container.report()["seccomp"] == 0


@clause("config-linux.md#seccomp", "When the action doesn't support an errno, the runtime MUST print and error and fail")
def test_errno_of_an_action_that_has_none_is_refused(container):
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW",
                                  "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]}
    container.refused()


@clause("config-linux.md#seccomp", "names MUST contain at least one entry")
def test_seccomp_rule_without_names_is_refused(container):
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}
    container.refused()
