"""Images in a user namespace, as who is not root has one: layers, overlay, changes; and what can't be had there says so."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = f"""
import io, json, os, subprocess, sys
sys.path[:0] = [{str(TREE)!r}, {str(TREE / "tests/minidocker")!r}]
from tars import archive, device, file, folder
from pyoci.minidocker import merge
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.images import assemble, commit, layers, overlay
from pyoci.minidocker.images.check import check
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

where = sys.argv[1]
store = Store(Roots(where + "/data", where + "/run", {{}}))
capability = (b"\\x01\\0\\0\\x02\\0\\x20" + bytes(14)).decode()
with Content(store.roots).lease() as lease:
    found = [assemble.add_layer(store, lease, io.BytesIO(archive(folder("d", uid=5), file("d/a", b"1"), file("d/b", b"2"), folder("o"), file("o/x"))))]
    found.append(assemble.add_layer(store, lease, io.BytesIO(archive(
        device("null", 1, 3), file("d/.wh.a"), file("o/.wh..wh..opq"), file("o/y", uid=1000, gid=1000),
        file("cap", pax_headers={{"SCHILY.xattr.security.capability": capability}}),
    )), found[-1].chain))
    image = assemble.add_image(store, lease, {{"architecture": "amd64", "os": "linux"}}, found)
told = {{"lost": layers.facts(store.roots, image.chain)["lost"]}}
rootfs = where + "/c/rootfs"
for string in (False, True):
    if string:
        lowers = layers.lowers_of(store, image.chain)
        for part in ("upper", "work", "rootfs"):
            os.makedirs(f"{{where}}/s/{{part}}")
        overlay.mount_overlay(lowers, where + "/s/rootfs", where + "/s/upper", where + "/s/work", string=True)
        told["string"] = sorted(os.listdir(where + "/s/rootfs/d")) + os.listdir(where + "/s/rootfs/o")
    else:
        layers.mount(store, image.chain, where + "/c", rootfs)
        told["calls"] = sorted(os.listdir(rootfs + "/d")) + os.listdir(rootfs + "/o")
told["owner"] = os.stat(rootfs + "/o/y").st_uid, os.stat(rootfs + "/d").st_uid
told["capability"] = len(os.getxattr(rootfs + "/cap", "security.capability"))
subprocess.run("rm -r o; mkdir o; touch o/z; rm d/b; chown 7 cap", shell=True, cwd=rootfs, check=True)
told["diff"] = commit.diff(store, image.chain, where + "/c/upper")
made = commit.commit(store, image, image.chain, where + "/c/upper", {{}})
layers.mount(store, made.chain, where + "/n", where + "/n/rootfs")
told["committed"] = sorted(os.listdir(where + "/n/rootfs/o") + os.listdir(where + "/n/rootfs/d"))
told["check"] = check(store, deep=True)
try:
    layers.extract(store.roots, io.BytesIO(archive(file("x", uid=3000000))))
except MiniDockerError as error:
    told["unmapped"] = str(error), error.hint
os.mkdir(where + "/into")
into = os.open(where + "/into", os.O_PATH)
merge.merge(io.BytesIO(archive(device("null", 1, 3), file("x", uid=5))), into, "copy")
told["merged"] = os.listdir(where + "/into"), os.stat(where + "/into/x").st_uid
try:
    merge.merge(io.BytesIO(archive(file("y", uid=3000000))), into, "copy")
except MiniDockerError as error:
    told["unmapped copy"] = str(error), error.hint
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the script says, run in user and mount namespaces whose ids from 1 on are others outside."""
    where = tmp_path_factory.mktemp("rootless")
    inner = 'echo ready; read go; exec "$@"'
    child = subprocess.Popen(
        ["unshare", "--user", "--mount", "sh", "-c", inner, "sh", sys.executable, "-I", "-c", SCRIPT, str(where)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    for name in ("uid_map", "gid_map"):
        pathlib.Path(f"/proc/{child.pid}/{name}").write_text("0 0 1\n1 100000 65535\n")
    out, err = child.communicate("go\n", timeout=120)
    assert child.returncode == 0, err
    yield json.loads(out)
    assert not [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if os.fspath(where) in line]


pytestmark = pytest.mark.needs("root")


def test_layers_lie_over_each_other_in_both_ways(told):
    assert told["calls"] == told["string"] == ["b", "y"]


def test_owners_are_those_of_the_namespace(told):
    assert told["owner"] == [1000, 5]


def test_capabilities_of_files_are_kept(told):
    assert told["capability"] in (20, 24)


def test_device_nodes_can_not_be_had_and_are_told(told):
    assert told["lost"] == [["null", "device"]]


def test_changes_and_commits_know_the_namespaces_marks(told):
    assert [f"{kind} {path}" for kind, path in told["diff"]] == ["C /cap", "C /d", "D /d/b", "C /o", "D /o/y", "A /o/z"]
    assert told["committed"] == ["z"]
    assert told["check"] == []


def test_an_owner_without_a_mapping_is_named(told):
    assert told["unmapped"] == ["layer: 'x': Invalid argument (EINVAL)", "no user id of this user namespace stands for its owner: see /etc/subuid"]


def test_copied_device_is_left_out_and_an_owner_without_a_mapping_told(told):
    assert told["merged"] == [["x"], 5]
    line, hint = told["unmapped copy"]
    assert line == "copy: 'y': Invalid argument (EINVAL)"
    assert "/etc/subuid" in hint
