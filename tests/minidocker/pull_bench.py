"""Wall time of `minidocker pull` and of a private dockerd's `docker pull`, in turn, of the same image from the same docker-registry on loopback.

    python tests/minidocker/pull_bench.py [ROUNDS] [MEBIBYTES unpacked] [FOLDER]

The image is made of the files of this host's /usr, or of the folder, in four layers, packed by gzip.  Each round pulls an image of its own, whose layers begin with another
file, and nothing is removed meanwhile: ext4 passes over inodes that were freed a moment ago one by one, so that a file's creation costs four times as much after a removal.
The disk is synced outside of the measured time.
"""

import contextlib
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "engines"), str(TESTS / "minidocker")]

import engine_daemons  # noqa: E402
import engine_image  # noqa: E402
import registry_place  # noqa: E402

from pyoci.minidocker.images import documents  # noqa: E402
from pyoci.minidocker.images.content import digest_of  # noqa: E402
from pyoci.minidocker.images.registry import Registry  # noqa: E402

LAYERS = 4
PORT = 5000
NAME = f"{registry_place.HOST}:{PORT}/bench/usr"


def files_of_host(top, limit_bytes):
    """Paths below a folder, until their bytes reach the limit."""
    total = 0
    for where, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = f"{where}/{name}"
            with contextlib.suppress(OSError):
                total += os.lstat(path).st_size
                yield path
            if total > limit_bytes:
                return


def pack(paths, target):
    """A layer of these files."""
    with gzip.open(target, "wb", compresslevel=6) as packed, tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as sink:
        for path in paths:
            with contextlib.suppress(OSError):
                sink.add(path, recursive=False)


def variant(path, number):
    """(blob, diff id) of a layer with one more file, which makes it another one."""
    head = tarfile.TarInfo(f"round{number}").tobuf(tarfile.USTAR_FORMAT)
    with gzip.open(path) as file:
        plain = file.read()
    return gzip.compress(head, mtime=0) + path.read_bytes(), digest_of(head + plain)


def upload(name, tag, layers):
    """Push the layers, [(blob, diff id)], and the documents over them."""
    host, _, repository = name.partition("/")
    registry = Registry(host, repository, actions="pull,push")

    def send(data):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            registry.upload(digest_of(data), lambda: _opened(file), len(data))
        return {"digest": digest_of(data), "size": len(data)}

    config = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]}}
    manifest = {
        "schemaVersion": 2, "mediaType": documents.DOCKER_MANIFEST, "config": {"mediaType": documents.DOCKER_CONFIG, **send(json.dumps(config).encode())},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", **send(blob)} for blob, _ in layers],
    }  # fmt: skip
    registry.put_manifest(tag, json.dumps(manifest).encode(), documents.DOCKER_MANIFEST)
    registry.close()
    return sum(layer["size"] for layer in manifest["layers"])


def _opened(file):
    copy = os.fdopen(os.dup(file.fileno()), "rb")
    copy.seek(0)
    return copy


def fill(folder, size_mib, top, rounds):
    """Make an image a round in a registry's folder.  Returns (its packed bytes, its files)."""
    paths = list(files_of_host(top, size_mib << 20))
    share = -(-len(paths) // LAYERS)
    layers = []
    for number in range(LAYERS):
        target = folder / f"layer{number}"
        pack(paths[number * share : (number + 1) * share], target)
        layers.append(target)
    with registry_place.docker_registry(folder / "registry") as registry:
        for number in range(rounds):
            packed = upload(f"{registry.name}/bench/usr", f"r{number}", [variant(path, number) for path in layers])
    return packed, len(paths)


def timed(place, words):
    """Seconds of a command in the place."""
    subprocess.run(["sync"], check=True)
    began = time.monotonic()
    done = place.sh(words)
    took = time.monotonic() - began
    assert done.status == 0, done
    return took


def rounds_of(place, count):
    """[(ours, docker's)] in seconds."""
    ours = f"MINIDOCKER_CONFIG={place.folder}/none {sys.executable} -m pyoci.minidocker --data-root {place.folder}/ours --run-root {place.folder}/ours-run"
    found = []
    for number in range(count + 1):
        sides = {"ours": ours, "docker": "docker"}
        took = {side: timed(place, f"{sides[side]} pull -q {NAME}:r{number}") for side in sorted(sides, reverse=number % 2 == 0)}
        if number:  # the first one warms up
            found.append((took["ours"], took["docker"]))
            print(f"round {number}: minidocker {took['ours']:.2f} s, docker {took['docker']:.2f} s, ratio {took['ours'] / took['docker']:.2f}", flush=True)
    return found


def main(words):
    count, size_mib, top = (words + ["5", "300", "/usr"][len(words) :])[:3]
    with tempfile.TemporaryDirectory(prefix="pyoci-pull-") as made:
        folder = pathlib.Path(made)
        packed, files = fill(folder, int(size_mib), top, int(count) + 1)
        print(f"{LAYERS} layers, {files} files, {size_mib} MiB, {packed >> 20} MiB packed", flush=True)
        engine_image.make(folder / "image.tar")
        with engine_daemons.dockerd(folder / "image.tar") as engine:
            place = engine.place
            (folder / "registry" / "config.yml").write_text(registry_place.configuration(folder / "registry", PORT, None, ()))
            with open(folder / "registry" / "log", "wb") as log:
                serving = subprocess.Popen([*place.enter, "docker-registry", "serve", str(folder / "registry" / "config.yml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                place.sh(f"until curl -s {registry_place.HOST}:{PORT}/v2/ || wget -qO- {registry_place.HOST}:{PORT}/v2/; do sleep 0.05; done")
                found = rounds_of(place, int(count))
            finally:
                serving.kill()
                serving.wait()
    ratios = [ours / theirs for ours, theirs in found]
    print(f"median: minidocker {statistics.median(one for one, _ in found):.2f} s, docker {statistics.median(one for _, one in found):.2f} s, ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
