"""Bundles that together have every kind of operation in their plans: what the failure loops fail, one operation after the other."""

import contextlib
import os
import pathlib
import socket
import subprocess
from unittest import mock

import support
from fake_systemd import FakeSystemd

from pyoci.api import Runtime
from pyoci.cgroup.layout import read_layout
from pyoci.compile import process as compile_process
from pyoci.plan.plan import Op

HOST_ID = 100_000
HOOK_KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}


class Case:
    """A bundle, how it is created, and what must be tidied after each try.

    options   keyword arguments of api.Runtime.create
    listeners sockets that a create connects to
    """

    def __init__(self, folder):
        self.folder = folder
        self.bundle = support.Bundle(folder / "bundle", "sleep", "1000")
        self.root = folder / "state"
        self.root.mkdir()
        self.options = {}
        self.systemd_cgroup = False
        self.settle = lambda: None
        self.listeners = []
        self.held = contextlib.ExitStack()
        self.warnings = []

    def runtime(self):
        """The library on this case's root."""
        return Runtime(str(self.root), warn=self.warnings.append, systemd_cgroup=self.systemd_cgroup)

    def plan(self):
        """The operations of act one, as create will carry them out."""
        return self.runtime().plan(str(self.bundle.path), "x", detach=True, **self.options).create

    def listener(self, name):
        """A stream socket that accepts what is sent to it, and drops it at tidy()."""
        path = self.folder / name
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.bind(str(path))
        one.listen(16)
        one.setblocking(False)
        self.listeners.append(one)
        self.held.callback(one.close)
        return str(path)

    def tidy(self):
        """Take what was sent to the sockets, and see that callers have gone."""
        self.settle()
        for one in self.listeners:
            with contextlib.suppress(BlockingIOError):
                while True:
                    one.accept()[0].close()

    def close(self):
        """Let go of what the case holds."""
        self.tidy()
        self.held.close()


def rich(folder):
    """Everything that one container can have at once, as another user than root."""
    case = Case(folder)
    (folder / "pids").mkdir()
    case.options = {
        "console_socket": case.listener("console"), "pidfd_socket": case.listener("pidfd"), "pid_file": str(folder / "pids" / "pid"),
    }  # fmt: skip
    case.options["environ"] = {"NOTIFY_SOCKET": str(folder / "nobody-listens")}
    case.bundle.edit(_enrich)
    (case.bundle.path / "data").mkdir()
    (case.bundle.rootfs / "filled").mkdir()
    (case.bundle.rootfs / "filled" / "file").write_text("content")
    return case


def _enrich(config):
    config["domainname"] = "domain"
    config["annotations"] = {"org.example.key": "value"}
    config["root"]["readonly"] = True
    config["process"].update(
        terminal=True,
        consoleSize={"height": 25, "width": 80},
        user={"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [5, 6]},
        cwd="/made/for/it",
        capabilities={name: ["CAP_KILL", "CAP_NET_BIND_SERVICE"] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        oomScoreAdj=100,
    )
    config["mounts"] += [
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/a/new/place", "type": "bind", "source": "data", "options": ["rbind", "rro", "rslave"]},
        {"destination": "/a/new/file", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]},
        {"destination": "/proc/uptime", "type": "bind", "source": "/etc/hostname", "options": ["bind"]},
        {"destination": "/filled", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]},
        {"destination": "/filled", "options": ["remount", "ro", "nosuid"]},
    ]
    config["hooks"] = {kind: [{"path": "/bin/true", "args": ["true"], "timeout": 10}] for kind in HOOK_KINDS}
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["linux"].update(
        devices=[{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 1, "gid": 2},
                 {"path": "/made/fifo", "type": "p"}],
        sysctl={"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"},
        seccomp=SECCOMP,
        rootfsPropagation="rslave",
        personality={"domain": "LINUX"},
        resources={
            "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "access": "rwm"}],
            "memory": {"limit": 64 << 20}, "pids": {"limit": 50}, "cpu": {"shares": 512, "cpus": "0"},
        },
    )  # fmt: skip


def in_user_namespace(folder):
    """A new user namespace, everything else new in it; devices are bound, the filter goes in before the user is left, and one source is the host's to reach."""
    case = Case(folder)
    case.bundle.add_user_namespace()
    (folder / "closed").mkdir(mode=0o700)
    (folder / "closed" / "file").touch()

    def change(config):
        config["process"]["noNewPrivileges"] = False
        config["process"]["user"] = {"uid": 1, "gid": 1}
        config["linux"]["seccomp"] = SECCOMP
        config["linux"]["devices"] = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}]
        config["linux"]["rootfsPropagation"] = "shared"
        config["mounts"].append({"destination": "/file", "type": "bind", "source": str(folder / "closed" / "file"), "options": ["bind"]})

    case.bundle.edit(change)
    return case


def joining(folder):
    """The network, IPC and pid namespaces of another process, a new user namespace after them: the long road into a container."""
    case = Case(folder)
    holder = _holder(case, "--net", "--ipc", "--pid", "--fork")
    paths = {"network": f"/proc/{holder}/ns/net", "ipc": f"/proc/{holder}/ns/ipc", "pid": f"/proc/{holder}/ns/pid_for_children"}
    case.bundle.edit(lambda config: _join(config, paths))
    return case


def joining_user(folder):
    """The user namespace of another process, and new ones that belong to it: init must clone itself once more."""
    case = Case(folder)
    holder = _holder(case, "--user")
    for name in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{holder}/{name}").write_text(f"0 {HOST_ID} 65536")
    support.give(case.bundle.rootfs, HOST_ID)
    case.bundle.linux["namespaces"].append({"type": "user"})
    case.bundle.edit(lambda config: _join(config, {"user": f"/proc/{holder}/ns/user"}))
    return case


def _join(config, paths):
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] in paths:
            namespace["path"] = paths[namespace["type"]]


def _holder(case, *flags):
    """The pid of a process that unshared; it ends with the case."""
    holder = subprocess.Popen(["unshare", *flags, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    case.held.callback(holder.communicate)
    holder.stdin.write(b"\n")  # which comes back from who it will be from now on
    holder.stdin.flush()
    holder.stdout.readline()
    return holder.pid


def without_pivot(folder):
    """--no-pivot, and a rootfs that is shared afterwards is not possible: move_root."""
    case = Case(folder)
    case.options = {"no_pivot": True}
    return case


def without_mounts(folder):
    """No mount namespace: change_root, and mounts that would be the host's are left out of the config."""
    case = Case(folder)

    def change(config):
        config["mounts"] = []
        config["linux"]["namespaces"] = [{"type": "pid"}]
        del config["hostname"], config["linux"]["maskedPaths"], config["linux"]["readonlyPaths"]

    case.bundle.edit(change)
    return case


def without_process(folder):
    """Nothing to execute: start ends it."""
    case = Case(folder)
    case.bundle.edit(lambda config: config.pop("process"))
    return case


def labelled(folder):
    """A label of the process, for which a file stands in that needs no security module."""
    case = Case(folder)

    def labels(process, origin, without, take_slot):
        slot = take_slot()
        return [Op("open_procfs", origin, slot), Op("label", origin, "self/timerslack_ns", None, "56789", slot)]

    case.held.enter_context(mock.patch.object(compile_process, "labels", labels))
    return case


def in_scope(folder):
    """Cgroups by a systemd, which a stand-in plays."""
    case = Case(folder)
    layout = read_layout()
    systemd = FakeSystemd(folder / "bus", {name: layout.mounts[name][0] for name in ("name=systemd", "memory", "devices")})
    case.held.callback(systemd.close)
    case.settle = systemd.settle
    case.systemd_cgroup = True
    case.options = {"environ": {"DBUS_SYSTEM_BUS_ADDRESS": systemd.address}}
    case.bundle.edit(lambda config: config["linux"].update(resources={"memory": {"limit": 64 << 20}}))
    return case


MAKERS = (rich, in_user_namespace, joining, joining_user, without_pivot, without_mounts, without_process, labelled, in_scope)
CASES = {make.__name__: make for make in MAKERS}


def mount_points(case):
    """Make the mount points once and for all: delete leaves those of a container that was created in full."""
    runtime = case.runtime()
    name = f"{support.TOKEN}-mount-points"
    before = support.snapshot()
    runtime.create(name, str(case.bundle.path), **case.options)
    runtime.delete(name, force=True)
    case.tidy()
    support.assert_unchanged(before)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(case.options.get("pid_file", ""))
