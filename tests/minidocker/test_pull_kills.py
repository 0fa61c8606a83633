"""pull under SIGKILL, beside another pull, and on a full disk: what was fetched is not lost, and nothing is half-made."""

import os
import random
import subprocess
import sys
import threading
import time

import pytest
import registry_place
import support
from registry_place import Liar, an_image

from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images import records
from pyoci.minidocker.images.check import check, heal
from pyoci.minidocker.images.pull import pull
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root")
KILLS = int(os.environ.get("MINIDOCKER_KILLS", "30"))


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """No credentials or settings of this host."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("MINIDOCKER_CONFIG", str(tmp_path / "config.json"))


@pytest.fixture
def liar():
    with Liar() as found:
        found.images["me/app"] = an_image(4, size=600_000)
        yield found


def slowly(handler):
    """The answer in pieces, with a breath between them, so that a kill may come in the middle."""
    breath = threading.Event()
    data, media = handler.found()
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(data) - start))
    handler.send_header("Content-Type", media)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.end_headers()
    for at in range(start, len(data), 60_000):
        handler.wfile.write(data[at : at + 60_000])
        breath.wait(0.01)


def started(roots, name):
    """minidocker pull in another process."""
    words = ["--data-root", roots.data, "--run-root", roots.run, "pull", name]
    return subprocess.Popen([sys.executable, "-m", "pyoci.minidocker", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def own_roots(tmp_path, number):
    return Roots(str(tmp_path / f"data{number}"), str(tmp_path / f"run{number}"), {})


def test_a_killed_pull_is_taken_up_by_the_next(tmp_path, liar):
    liar.always("GET", "/blobs/", slowly)
    name = f"{liar.name}/me/app"
    began = time.monotonic()
    assert started(own_roots(tmp_path, "whole"), name).wait(60) == 0
    longest_s = time.monotonic() - began
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    went_on = cut = 0
    for number in range(KILLS):
        roots = own_roots(tmp_path, number)
        process = started(roots, name)
        try:
            process.wait(chance.uniform(0.1, longest_s))
        except subprocess.TimeoutExpired:
            cut += 1
        process.kill()
        process.wait()
        store = Store(roots)
        try:
            asked = len(liar.log)
            assert [one.id for one in records.all_images(store)] in ([], [liar.images["me/app"].id]), seed
            assert pull(store, name).id == liar.images["me/app"].id, seed
            went_on += any("Range" in headers for _, _, headers in liar.log[asked:])
            heal(store)
            assert check(store, deep=True) == [], seed
            assert [one for one in os.listdir(roots.ingest) if one != "gc.lock"] == [], seed
        finally:
            store.close()
    assert cut and went_on, (cut, went_on)


def test_two_pulls_at_once_fetch_each_blob_once(roots, liar):
    both = threading.Barrier(2)

    def manifest(handler):
        both.wait(registry_place.TIMEOUT_S)
        handler.honest()

    liar.does("GET", "/manifests/", manifest, manifest)
    liar.always("GET", "/blobs/", slowly)
    name = f"{liar.name}/me/app"
    pulls = [started(roots, name) for _ in range(2)]
    assert [one.wait(60) for one in pulls] == [0, 0]
    assert sorted(path for method, path, _ in liar.log if "/blobs/" in path) == sorted(f"/v2/me/app/blobs/{digest}" for digest in liar.images["me/app"].blobs)
    store = Store(roots)
    assert [one.id for one in records.all_images(store)] == [liar.images["me/app"].id]
    assert check(store, deep=True) == []
    store.close()


@pytest.fixture
def own_mounts():
    with support.private_mounts():
        yield


@pytest.mark.parametrize("size, words", [("1m", "write blob sha256:"), ("3600k", "layer: ")], ids=["blob", "layer"])
def test_a_full_disk_is_one_line_and_nothing_is_recorded(own_mounts, roots, liar, size, words):
    liar.images["me/app"] = an_image(1, size=2_500_000)
    os.makedirs(roots.data)
    support.mount("tmpfs", roots.data, "tmpfs", data=f"size={size},mode=700")
    store = Store(roots)
    try:
        with pytest.raises(MiniDockerError) as caught:
            pull(store, f"{liar.name}/me/app")
        text = str(caught.value)
        assert text.startswith(words) and text.endswith("No space left on device (ENOSPC)") and "\n" not in text, text
        assert caught.value.hint == "free some space; --data-root names another folder for images and containers"
        assert records.all_images(store) == []
        assert os.listdir(roots.layers) == [] if os.path.isdir(roots.layers) else True
    finally:
        store.close()
        support.umount(roots.data)
