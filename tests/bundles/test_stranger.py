"""What people meet at a shell who have read nothing: pipes, here-documents, closed streams, terminals that are not there."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "busybox")


@pytest.fixture
def edited(examples, tmp_path_factory):
    """Copy an example and change its config: edited(name, change)."""
    made = []

    def edit(name, change):
        folder = pathlib.Path(examples).parent / f"edited-{len(made)}"
        shutil.copytree(examples / name, folder, symlinks=True)
        made.append(folder)
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config, indent=4))
        return folder

    yield edit
    for folder in made:
        shutil.rmtree(folder)


def program(*args):
    """A change that makes the process run something else."""
    return lambda config: config["process"].update(args=list(args))


def shell_line(pyoci, text, **more):
    """Run a line of sh in which $pyoci is the runtime; CompletedProcess."""
    words = {**os.environ, "pyoci": " ".join(pyoci.command()), **more}
    return subprocess.run(["sh", "-c", text], env=words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param("echo piped | $pyoci run -b $bundle $id", "piped\n", id="pipe"),
        pytest.param("$pyoci run -b $bundle $id <<end\nhere\nend\n", "here\n", id="here-document"),
        pytest.param("$pyoci run -b $bundle $id </dev/null", "", id="nothing"),
        pytest.param("head -c 3000000 /dev/zero | $pyoci run -b $bundle $id | wc -c", "3000000\n", id="through"),
    ],
)
def test_standard_input_is_the_containers(line, shown, pyoci, edited):
    bundle = edited("hello", program("cat"))
    done = shell_line(pyoci, line, bundle=str(bundle), id=pyoci.new_id())
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, "")


def test_end_of_the_reader_ends_the_writer(pyoci, edited):
    bundle = edited("hello", program("sh", "-c", "yes 2>/dev/null"))
    done = shell_line(pyoci, "$pyoci run -b $bundle $id | head -n 1", bundle=str(bundle), id=pyoci.new_id())
    assert (done.stdout, done.stderr) == ("y\n", "")
    assert json.loads(pyoci.ok("list", "--format", "json") or "null") in (None, [])


def test_exec_with_a_terminal_but_no_devpts_says_what_is_missing(pyoci, edited):
    bundle = edited("service", lambda config: config["mounts"].__delitem__(2))
    name = pyoci.new_id()
    pyoci.ok("run", "--detach", "--bundle", bundle, name)
    said = pyoci.fails("exec", "--tty", name, "sh", status=255)
    assert said == (
        "exec failed: process.terminal: open the terminal: openat2: /dev/pts/ptmx: No such file or directory (ENOENT); "
        "the container has no terminals: mount a devpts on /dev/pts"
    )
    pyoci.ok("delete", "--force", name)


def test_bundle_may_be_reached_through_a_link_and_by_a_relative_path(pyoci, examples, tmp_path):
    """/var/run, below which dockerd keeps its bundles, is a link on most hosts."""
    (tmp_path / "link").symlink_to(examples)
    name = pyoci.new_id()
    pyoci.ok("create", "--bundle", "link/hello", name, cwd=tmp_path)
    assert pyoci.state(name)["bundle"] == str(examples / "hello")
    pyoci.ok("delete", name)


def test_rootfs_that_root_of_the_user_namespace_cannot_reach_says_why(pyoci, edited):
    bundle = edited("userns", lambda config: None)
    bundle.chmod(0o700)
    said = pyoci.fails("run", "--bundle", bundle, pyoci.new_id())
    assert said.endswith(
        f"root.path: open the rootfs {bundle}/rootfs: open: Permission denied (EACCES); "
        "root of the user namespace must be allowed to search every directory above the rootfs"
    )


def test_root_that_cannot_be_made_is_told_in_one_line(pyoci, examples):
    command = [pyoci.command()[0], "--root", "/proc/none/deeper", "run", "--bundle", str(examples / "hello"), pyoci.new_id()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "pyoci run failed: mkdir /proc/none: No such file or directory (ENOENT)\n")


def test_limits_of_another_user_can_be_lowered_without_cap_sys_resource(pyoci, examples):
    """prlimit(2) on a process that has another user already would need it; a runtime in a container lacks it."""
    drop = ["capsh", "--drop=cap_sys_resource", "--", "-c", 'exec "$@"', "sh"] if shutil.which("capsh") else []
    done = subprocess.run([*drop, *pyoci.command("run", "--bundle", examples / "hardened", pyoci.new_id())], capture_output=True, text=True, check=False)
    assert "open files: 64\n" in done.stdout, done.stderr


def as_user(command):
    """Run it as uid 1000, who may read everything: the tree may lie in a folder of root's."""
    drop = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return subprocess.run([*drop, *command], capture_output=True, text=True, check=False)


def test_user_who_is_not_root_is_refused_before_any_effect(pyoci, examples):
    bundle = examples / "hello"
    done = as_user(pyoci.command("run", "--bundle", bundle, pyoci.new_id()))
    assert done.returncode == 1
    assert re.fullmatch(
        r"pyoci run failed: config.json:\d+: linux.namespaces: rootless container requires user namespaces; "
        r"pyoci spec --rootless writes such a config \(config-linux.md#namespaces\)\n", done.stderr,
    )  # fmt: skip
    assert not pyoci.root.exists()


def test_plan_needs_no_privilege(pyoci, edited):
    def map_the_user(config):
        config["linux"].update(dict.fromkeys(("uidMappings", "gidMappings"), [{"containerID": 0, "hostID": 1000, "size": 1}]))
        del config["process"]["user"]["additionalGids"]

    bundle = edited("userns", map_the_user)
    done = as_user(pyoci.command("plan", bundle))
    assert (done.returncode, done.stderr) == (0, "")
    assert "map uids 0 1000 1, gids 0 1000 1" in done.stdout
