"""The engines, each started in a place of its own with pyoci and runc side by side: context managers that yield an Engine."""

import contextlib
import json
import pathlib
import tempfile

import engine_image
import engine_place


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
