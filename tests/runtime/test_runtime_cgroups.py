"""Where the container's processes are in the cgroups."""

import json
import os
import pathlib

import pytest
import support
from watching import inside

UNIFIED = "/sys/fs/cgroup/unified"


def where(pid):
    """{controllers of a hierarchy: path} of a process."""
    return {names: path for _, names, path in (line.split(":", 2) for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines())}


@pytest.mark.parametrize("kind", ["plain", "user-namespace", "user-namespace-and-a-joined-one"])
def test_created_container_is_in_its_cgroup_of_every_hierarchy(open_path, pyoci, kind):
    bundle = support.Bundle(open_path / "bundle")
    if kind != "plain":
        bundle.add_user_namespace()
    if kind.endswith("joined-one"):  # then init makes its own by itself, and goes on as a child
        own = [one for one in bundle.linux["namespaces"] if one["type"] != "network"]
        bundle.linux["namespaces"] = [*own, {"type": "network", "path": "/proc/self/ns/net"}]
        bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "sysfs"]
    name = pyoci.create(bundle.write())
    cgroups = json.loads((pyoci.root / name / "state.json").read_text())["cgroups"]
    found = where(pyoci.pid(name))
    assert cgroups and {controller for names in found for controller in names.split(",")} >= set(cgroups) - {"name=systemd"}
    for controller, directory in cgroups.items():
        path = next(path for names, path in found.items() if controller in names.split(","))
        assert directory.endswith(path) and path.endswith(name), controller


@pytest.mark.needs("cgroup1", "cgroup2-mount")
def test_cgroup2_of_a_hybrid_host_that_takes_no_process_is_done_without(bundle, pyoci):
    """Below a threaded cgroup: clone3 refuses."""
    parent = pyoci.new_id("threaded")
    folders = [f"{UNIFIED}/{parent}", f"{UNIFIED}/{parent}/threads", f"{UNIFIED}/{parent}/container"]
    for folder in folders:
        os.mkdir(folder)
    try:
        pathlib.Path(folders[1], "cgroup.type").write_text("threaded")
        bundle.linux["cgroupsPath"] = f"/{parent}/container"
        name = pyoci.start(bundle.write())
        found = where(pyoci.pid(name))
        assert found["pids"] == f"/{parent}/container" != found[""]
        assert f":pids:/{parent}/container\n" in inside(pyoci, name, "cat /proc/self/cgroup") + "\n"
        pyoci.ok("delete", "--force", name)
    finally:
        for folder in reversed(folders):
            os.rmdir(folder)
