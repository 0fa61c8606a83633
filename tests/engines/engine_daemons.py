"""The engines, each started in a place of its own with pyoci and runc side by side: context managers that yield an Engine."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import engine_image
import engine_place

USER = 61234


def new_place():
    """A place in a folder of its own; not pytest's, whose path is too long for the sockets of shims, and closed to other users."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pyoci-engine-"))
    folder.chmod(0o755)
    return engine_place.Place(folder)


def docker_config(place, **more):
    """daemon.json for a dockerd that leaves the host alone."""
    folder = place.folder
    return {
        "runtimes": {"pyoci": {"path": str(engine_place.PYOCI)}, "peer": {"path": engine_place.RUNC}}, "default-runtime": "pyoci",
        "data-root": f"{folder}/data", "exec-root": f"{folder}/exec", "pidfile": f"{folder}/d.pid", "hosts": [f"unix://{folder}/d.sock"],
        "cgroup-parent": f"/{place.group}", "bip": "10.97.0.1/24", "exec-opts": ["native.cgroupdriver=cgroupfs"], "storage-driver": "overlay2", "log-level": "warn", **more,
    }  # fmt: skip


@contextlib.contextmanager
def dockerd(archive, prepare="true", **settings):
    """A dockerd with pyoci and runc as its runtimes, and the image; `prepare` is a shell script that runs before it."""
    place = new_place()
    try:
        place.sh(prepare)
        # The client's plugins (buildx) lie beside it, where it does not look when it is not installed.
        place.sh("docker=$(readlink -f $(command -v docker)); mkdir cfg; ln -s ${docker%/bin/docker}/libexec/docker/cli-plugins cfg/")
        config = docker_config(place, **settings)
        if "oom-score-adjust" in place.sh("dockerd --help").output:
            config["oom-score-adjust"] = 0  # what it wants itself takes CAP_SYS_RESOURCE; newer ones don't know it
        (place.folder / "daemon.json").write_text(json.dumps(config))
        place.environment |= {"DOCKER_HOST": f"unix://{place.folder}/d.sock", "DOCKER_CONFIG": f"{place.folder}/cfg", "DOCKER_BUILDKIT": "0"}
        (place.folder / "bin").mkdir()
        (place.folder / "bin" / "runc").symlink_to(engine_place.PYOCI)  # its BuildKit runs runc from PATH, never the default runtime
        daemon = place.daemon("dockerd", "--config-file", f"{place.folder}/daemon.json", PATH=f"{place.folder}/bin:{engine_place.PATH}")
        loaded = place.sh(f"docker load -q -i {archive}")
        assert loaded.status == 0, loaded
        yield engine_place.Engine(
            place, {"pyoci": "pyoci", "runc": "peer"}, RUN="docker run --rm --runtime $RT", RUN_D="docker run -d --runtime $RT --name $NAME"
        )
        place.sh("docker ps -aq | xargs -r docker rm -f")
        place.stop(daemon)
    finally:
        place.close()


@contextlib.contextmanager
def containerd(archive):
    """A containerd without CRI, and the image."""
    place = new_place()
    try:
        folder = place.folder
        (folder / "config.toml").write_text(f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{folder}/c.sock"
[ttrpc]
  address = "{folder}/c.sock.ttrpc"
""")
        place.environment |= {"CONTAINERD_ADDRESS": f"{folder}/c.sock", "CONTAINERD_NAMESPACE": place.group, "I": engine_image.NAME}
        daemon = place.daemon("containerd", "--config", f"{folder}/config.toml", "--log-level", "warn")
        loaded = place.sh(f"ctr images import {archive}")
        assert loaded.status == 0, loaded
        runtimes = {"pyoci": str(engine_place.PYOCI), "runc": engine_place.RUNC}
        yield engine_place.Engine(place, runtimes, RUN=f"ctr run --runc-binary $RT --runc-root {folder}/rr/$RT_NAME")
        place.stop(daemon)
    finally:
        place.close()


CRI_RUNTIMES = """
  [plugins.{plugin}.containerd.runtimes.{name}]
    runtime_type = "io.containerd.runc.v2"
    [plugins.{plugin}.containerd.runtimes.{name}.options]
      BinaryName = "{path}"
"""
CNI = """{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
"ipam": {{"type": "host-local", "dataDir": "{folder}/addresses", "ranges": [[{{"subnet": "10.94.0.0/16"}}]]}}}}]}}"""


def cri_config(place):
    """config.toml of a containerd whose CRI has a handler for each runtime; of version 2 too, which has other names for it."""
    folder = place.folder
    common = f'root = "{folder}/root"\nstate = "{folder}/state"\n[grpc]\n  address = "{folder}/c.sock"\n[ttrpc]\n  address = "{folder}/c.sock.ttrpc"\n'
    newer = " v2." in place.sh("containerd --version").output or " 2." in place.sh("containerd --version").output
    plugin = "'io.containerd.cri.v1.runtime'" if newer else '"io.containerd.grpc.v1.cri"'
    runtimes = "".join(CRI_RUNTIMES.format(plugin=plugin, name=name, path=path) for name, path in (("pyoci", engine_place.PYOCI), ("runc", engine_place.RUNC)))
    # Without CAP_SYS_RESOURCE a sandbox can't have the OOM score that it wants.
    cri = f'[plugins.{plugin}]\n  restrict_oom_score_adj = true\n'
    if newer:
        images = "[plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = \"docker.io/library/bb:pause\"\n"
        return f'version = 3\n{common}{images}{cri}  [plugins.{plugin}.cni]\n    bin_dirs = ["/usr/lib/cni"]\n    conf_dir = "{folder}/cni"\n{runtimes}'
    cri += '  sandbox_image = "docker.io/library/bb:pause"\n'
    return f'version = 2\n{common}{cri}  [plugins.{plugin}.cni]\n    bin_dir = "/usr/lib/cni"\n    conf_dir = "{folder}/cni"\n{runtimes}'


@contextlib.contextmanager
def cri(archive):
    """A containerd with CRI and a bridge for its pods; CRI is the program that plays a scenario with the runtime as handler."""
    place = new_place()
    try:
        folder = place.folder
        (folder / "cni").mkdir()
        (folder / "cni" / "10-pods.conflist").write_text(CNI.format(folder=folder))
        (folder / "config.toml").write_text(cri_config(place))
        place.environment |= {"CONTAINERD_ADDRESS": f"{folder}/c.sock", "CONTAINERD_NAMESPACE": "k8s.io"}
        daemon = place.daemon("containerd", "--config", f"{folder}/config.toml", "--log-level", "warn")
        engine_image.make(folder / "pause.tar", "docker.io/library/bb:pause", ("sleep", "1000000"))
        loaded = place.sh(f"ctr images import {archive} && ctr images import {folder}/pause.tar")
        assert loaded.status == 0, loaded
        program = pathlib.Path(engine_image.__file__).with_name("engine_cri.py")
        yield engine_place.Engine(place, {"pyoci": "pyoci", "runc": "runc"}, CRI=f"/usr/bin/python3 {program} {folder}/c.sock $RT /{place.group} {folder}")
        place.stop(daemon)
    finally:
        place.close()


@contextlib.contextmanager
def podman(archive):
    """Configuration and storage for podman, which has no daemon, and the image."""
    place = new_place()
    try:
        folder = place.folder
        (folder / "containers.conf").write_text(f"""
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[network]
network_config_dir = "{folder}/net"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["crun", "runc", "pyoci"]
tmp_dir = "{folder}/tmp"
""")
        (folder / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n')
        for name in ("net", "tmp", "bin"):
            (folder / name).mkdir()
        place.environment |= {
            "CONTAINERS_CONF": f"{folder}/containers.conf", "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf", "BUILDAH_ISOLATION": "oci",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1", "I": engine_image.NAME,
        }  # fmt: skip
        place.sh("mkdir -p /run/containers")
        loaded = place.sh(f"podman load -q -i {archive}")
        assert loaded.status == 0, loaded
        runtimes = {"pyoci": str(engine_place.PYOCI), "runc": engine_place.RUNC}
        yield engine_place.Engine(place, runtimes, RUN=f"podman --runtime $RT run --rm --cgroup-parent /{place.group}",
                                  RUN_D=f"podman --runtime $RT run -d --name $NAME --cgroup-parent /{place.group}", PODMAN="podman --runtime $RT", GROUP=f"/{place.group}")  # fmt: skip
        place.sh("podman rm -fa -t 0")
    finally:
        place.close()


@contextlib.contextmanager
def podman_of_user(archive):
    """The same of a user who is not root, with subordinate ids; each script runs as that user."""
    place = new_place()
    try:
        folder = place.folder
        for name in ("home", "xdg", "tmp"):
            (folder / name).mkdir(mode=0o700)
            os.chown(folder / name, USER, USER)
        folder.chmod(0o755)
        (folder / "containers.conf").write_text("""
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["crun", "runc", "pyoci"]
""")
        (folder / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
        shutil.copy(archive, folder / "image.tar")
        (folder / "image.tar").chmod(0o644)
        ready = place.sh(f"""
            set -e
            for name in passwd group subuid subgid; do cp /etc/$name my$name; done
            echo stranger:x:{USER}:{USER}::{folder}/home:/bin/sh >>mypasswd
            echo stranger:x:{USER}: >>mygroup
            for name in subuid subgid; do echo stranger:700000:65536 >>my$name; done
            for name in passwd group subuid subgid; do mount --bind my$name /etc/$name; done
        """)
        assert ready.status == 0, ready
        place.enter += ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        place.environment |= {
            "HOME": f"{folder}/home", "XDG_RUNTIME_DIR": f"{folder}/xdg", "TMPDIR": f"{folder}/tmp", "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "CONTAINERS_CONF": f"{folder}/containers.conf", "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf", "I": engine_image.NAME,
        }  # fmt: skip
        loaded = place.sh("podman load -q -i image.tar")
        assert loaded.status == 0, loaded
        runtimes = {"pyoci": str(engine_place.PYOCI), "runc": engine_place.RUNC}
        yield engine_place.Engine(place, runtimes, RUN="podman --runtime $RT run --rm", RUN_D="podman --runtime $RT run -d --name $NAME", PODMAN="podman --runtime $RT")
        place.sh("podman rm -fa -t 0; podman unshare rm -rf home/.local")
    finally:
        place.close()


NODE = """#!/bin/sh
# A node is a network, a mount and a UTS namespace, on a bridge with the others.
set -e
cd {folder}
ip netns add n{number}
ip link add v{number} type veth peer name eth0 netns n{number}
ip link set v{number} master nodes up
ip -n n{number} addr add 10.99.0.1{number}/24 dev eth0
ip -n n{number} link set eth0 up
ip -n n{number} link set lo up
ip -n n{number} route add default via 10.99.0.1
exec nsenter --net=/run/netns/n{number} unshare --mount --uts --propagation private sh -ec '
mkdir groups{number}
mount --rbind /sys/fs/cgroup groups{number}
mount -t sysfs sysfs /sys
mount --move groups{number} /sys/fs/cgroup
mount -t tmpfs tmpfs /run
hostname n{number}
echo 1 >/proc/sys/net/ipv4/ip_forward
exec dockerd --config-file n{number}.json'
"""


@contextlib.contextmanager
def swarm(archive, runtime, nodes=3):
    """Nodes of dockerd whose default runtime is `runtime`, and the image; n1, n2, ... are their clients.  The swarm is still to be made."""
    place = new_place()
    try:
        folder = place.folder
        place.sh("ip link add nodes type bridge && ip addr add 10.99.0.1/24 dev nodes && ip link set nodes up; mkdir cfg")
        old = "oom-score-adjust" in place.sh("dockerd --help").output
        daemons, clients = [], ""
        for number in range(1, nodes + 1):
            paths = {"data-root": f"{folder}/n{number}/data", "exec-root": f"{folder}/n{number}/exec", "pidfile": f"{folder}/n{number}.pid", "hosts": [f"unix://{folder}/n{number}.sock"]}
            config = docker_config(place, **{"default-runtime": runtime, "bip": f"10.97.{number}.1/24", "cgroup-parent": f"/{place.group}/n{number}", **paths})
            (folder / f"n{number}.json").write_text(json.dumps(config | ({"oom-score-adjust": 0} if old else {})))
            (folder / f"n{number}").write_text(NODE.format(number=number, folder=folder))
            (folder / f"n{number}").chmod(0o755)
            (folder / f"n{number}").rename(folder / f"node{number}")
            daemons.append(place.daemon(f"{folder}/node{number}"))
            clients += f'n{number}() {{ docker -H unix://{folder}/n{number}.sock "$@"; }}\n'
            # A registry that refuses at once: a node looks there before it takes the image that it has.
            loaded = place.sh(f"{clients}n{number} load -q -i {archive} && n{number} tag bb 127.0.0.1:1/bb")
            assert loaded.status == 0, loaded
        (folder / "clients").write_text(clients)
        place.environment |= {"DOCKER_CONFIG": f"{folder}/cfg"}
        yield place
        for number in range(1, nodes + 1):
            place.sh(f"{clients}n{number} swarm leave --force; n{number} ps -aq | xargs -r docker -H unix://{folder}/n{number}.sock rm -f")
        for daemon in daemons:
            place.stop(daemon)
    finally:
        place.close()
