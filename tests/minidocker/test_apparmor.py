"""Which AppArmor profile a container gets, and how the default is loaded.  tests/vm/minidocker.sh sees it hold."""

import concurrent.futures
import os
import re
import stat
import subprocess

import pytest

from pyoci.kernel.proc import has_apparmor
from pyoci.minidocker import apparmor, bundle, execute, show
from pyoci.minidocker.errors import BadRequest, MiniDockerError
from pyoci.minidocker.judge import judge
from pyoci.minidocker.paths import Roots

NAMED = {"SecurityOpt": ["apparmor=mine"]}
FREE = {"SecurityOpt": ["apparmor=unconfined"]}


@pytest.fixture
def enabled(monkeypatch):
    """A host that has AppArmor."""
    monkeypatch.setattr(apparmor, "has_apparmor", lambda: True)
    monkeypatch.setattr(apparmor, "in_user_namespace", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


class Kernel:
    """A list of loaded profiles, and a parser that adds to it."""

    def __init__(self, folder, monkeypatch):
        self.loaded, self.given, self.parser = folder / "profiles", folder / "given", folder / "apparmor_parser"
        self.roots = Roots(folder / "data", folder / "run", environ={})
        self.roots.make()
        self.loaded.write_text("mine (enforce)\nthe other one (complain)\n")
        self.answer(f"cat >> {self.given}; echo 'minidocker-default (enforce)' >> {self.loaded}")
        monkeypatch.setattr(apparmor, "LOADED", str(self.loaded))
        monkeypatch.setattr(apparmor, "PARSER", ("/nowhere", str(self.parser)))

    def answer(self, script):
        self.parser.write_text(f"#!/bin/sh\n{script}\n")
        self.parser.chmod(stat.S_IRWXU)


@pytest.fixture
def kernel(tmp_path, monkeypatch, enabled):
    return Kernel(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param({}, "minidocker-default", id="default"),
        pytest.param(FREE, "unconfined", id="unconfined"),
        pytest.param(NAMED, "mine", id="named"),
        pytest.param({"Privileged": True}, "unconfined", id="privileged"),
        pytest.param({"Privileged": True, **NAMED}, "mine", id="privileged and named"),
    ],
)
def test_profile_of_a_request(enabled, host, name):
    assert apparmor.profile_of(host) == name


@pytest.mark.parametrize("function", ["in_user_namespace", "geteuid"])
def test_who_can_not_load_a_profile_has_no_default(enabled, monkeypatch, function):
    monkeypatch.setattr(os if function == "geteuid" else apparmor, function, lambda: 1)
    assert apparmor.profile_of({}) == ""
    assert apparmor.profile_of(NAMED) == "mine"


@pytest.mark.parametrize("host", [{}, FREE, {"Privileged": True}])
def test_without_apparmor_there_is_no_profile(monkeypatch, host):
    monkeypatch.setattr(apparmor, "has_apparmor", lambda: False)
    assert apparmor.profile_of(host) == ""


def test_without_apparmor_a_named_profile_is_refused(monkeypatch):
    monkeypatch.setattr(apparmor, "has_apparmor", lambda: False)
    with pytest.raises(BadRequest, match=r"^AppArmor profile mine: AppArmor is not enabled on this host$"):
        judge({"HostConfig": {"NetworkMode": "none", **NAMED}})


@pytest.mark.skipif(has_apparmor(), reason="this host has a security module")
def test_refused_profile_leaves_no_container(place):
    done = place.run("true", **NAMED)
    assert (done.returncode, done.stderr) == (125, "AppArmor profile mine: AppArmor is not enabled on this host\n")
    assert not os.listdir(f"{place.roots.data}/containers")


def test_default_is_loaded_once(kernel):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        names = list(pool.map(lambda _: apparmor.make_ready("minidocker-default", kernel.roots), range(8)))
    assert names == ["minidocker-default"] * 8
    assert kernel.given.read_text() == apparmor.text()


def test_loaded_profile_is_taken_as_it_is(kernel):
    assert [apparmor.make_ready(name, kernel.roots) for name in ("mine", "the other one", "unconfined", "")] == ["mine", "the other one", "unconfined", ""]
    assert not kernel.given.exists()


def test_profile_that_is_not_loaded_is_refused(kernel):
    with pytest.raises(MiniDockerError, match=r"^AppArmor profile absent is not loaded into the kernel$"):
        apparmor.make_ready("absent", kernel.roots)


def test_default_that_is_refused_is_an_error_of_one_line(kernel):
    kernel.answer("echo 'syntax error' >&2; echo 'line 3' >&2; exit 1")
    with pytest.raises(MiniDockerError, match=r"^AppArmor profile minidocker-default can't be loaded: syntax error line 3$") as caught:
        apparmor.make_ready("minidocker-default", kernel.roots)
    assert caught.value.hint == "--security-opt apparmor=unconfined runs it without"


def test_host_without_a_parser_is_told(kernel):
    told = []
    kernel.parser.unlink()
    assert apparmor.make_ready("minidocker-default", kernel.roots, told.append) == ""
    assert told == ["AppArmor is enabled, but there is no apparmor_parser: the container runs without the profile minidocker-default"]


def test_host_without_securityfs_is_told(kernel):
    told = []
    kernel.loaded.unlink()
    assert apparmor.make_ready("minidocker-default", kernel.roots, told.append) == ""
    assert told == ["AppArmor is enabled, but securityfs is not mounted: the container runs without the profile minidocker-default"]


def test_exec_inspect_and_config_have_the_profile(place, kernel, monkeypatch):
    container_id = place.create("true")
    with monkeypatch.context() as patch:
        patch.setattr(show, "has_apparmor", lambda: True)
        assert place.engine.inspect(container_id)["AppArmorProfile"] == ""
        folder = f"{place.get(container_id).folder}/bundle"
        os.makedirs(folder)
        from pyoci.minidocker import prepare

        container = place.get(container_id)
        patch.setattr(prepare.users, "resolve", lambda *_: {"uid": 0, "gid": 0})
        config = bundle.make(container.body, prepare.gather(place.store, container))
        prepare._write(f"{folder}/config.json", __import__("json").dumps(config))
        assert config["process"]["apparmorProfile"] == "minidocker-default"
        assert place.engine.inspect(container_id)["AppArmorProfile"] == "minidocker-default"
    assert execute.process_of(container, {"Cmd": ["true"]})["apparmorProfile"] == "minidocker-default"
    assert execute.process_of(container, {"Cmd": ["true"], "Privileged": True})["apparmorProfile"] == "unconfined"


def _denied(path):
    """Whether a deny rule of the profile is for writing the path.  apparmor.d(5), globbing"""
    for glob, modes in re.findall(r"^  deny (/\S+) (\w+),$", apparmor.text(), re.MULTILINE):
        if "w" in modes and re.fullmatch(glob.replace(".", r"\.").replace("**", ".*"), path):
            return True
    return False


@pytest.mark.parametrize(
    "path", ["/proc/sysrq-trigger", "/proc/kcore", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/sysrq", "/proc/sys/kernel/sem", "/proc/sys/keys/x",
             "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/file-max", "/proc/bus/pci", "/proc/irq/1/smp_affinity", "/proc/scsi/scsi",
             "/proc/sysvipc/shm", "/proc/mtrr", "/sys/kernel/uevent_helper", "/sys/firmware/efi/vars", "/sys/fs/bpf/x", "/sys/fs/ext4/x", "/sys/fs/cgroup2",
             "/sys/devices/virtual/powercap/x", "/sys/class/net/eth0/mtu", "/sys/module/x/parameters/y"],
)  # fmt: skip
def test_what_belongs_to_the_host_is_denied(path):
    assert _denied(path)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/1/oom_score_adj", "/proc/45/task/46/comm", "/proc/sys/kernel/shmmax", "/sys/fs/cgroup/x/cgroup.procs", "/process", "/system/x"]
)
def test_what_is_the_containers_own_is_not(path):
    assert not _denied(path)


def test_families_that_a_filter_can_not_see_in_socketcall_are_denied():
    assert {"  deny network alg,", "  deny network vsock,"} < set(apparmor.text().splitlines())


@pytest.mark.needs("apparmor_parser")
def test_parser_takes_the_profile(tmp_path):
    done = subprocess.run(["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--stdout"], input=apparmor.text().encode(), capture_output=True, check=False)
    assert (done.returncode, b"minidocker-default" in done.stdout) == (0, True), done.stderr
