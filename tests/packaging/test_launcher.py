"""bin/pyoci finds its interpreter and its package wherever an installer puts it, and says in one line when it can't."""

import os
import shutil
import subprocess
import sys

import packaging_places as places
import pytest

MINOR = places.MINOR
SYSTEM_PYTHON = f"/usr/bin/python3.{MINOR}"


def test_runs_with_an_empty_environment_from_any_directory(environment):
    said = places.probed(environment / "bin" / "pyoci")
    assert said["package"] == str(environment / "lib" / f"python3.{MINOR}" / "site-packages" / "pyoci" / "__init__.py")
    assert said["shim"].startswith(str(environment))
    assert said["executable"] == str(environment / "bin" / f"python3.{MINOR}")


def test_python_is_isolated_and_reads_bytes_as_utf8(environment):
    said = places.probed(environment / "bin" / "pyoci")
    assert (said["isolated"], said["no_site"], said["utf8"]) == (1, 1, 1)


def test_site_packages_come_after_the_standard_library(environment):
    path = places.probed(environment / "bin" / "pyoci")["path"]
    site = str(environment / "lib" / f"python3.{MINOR}" / "site-packages")
    assert path.index(site) > max(index for index, folder in enumerate(path) if folder.endswith("lib-dynload"))


def test_hostile_environment_is_not_read(environment, tmp_path):
    (tmp_path / "posix.py").write_text("raise SystemExit('hijacked')\n")
    (tmp_path / "pyoci").mkdir()
    (tmp_path / "pyoci" / "__init__.py").write_text("raise SystemExit('hijacked')\n")
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/nowhere", "PATH": str(tmp_path), "LANG": "xx_XX", "LC_ALL": "no"}
    said = places.probed(environment / "bin" / "pyoci", environ=environ, cwd=tmp_path)
    assert said["package"].startswith(str(environment))


def test_arguments_arrive_byte_for_byte(environment):
    words = [b"", b"a b", b"--flag=v", b"-c", b"\xff\xfe", "ü".encode(), b"--", b"\n"]
    assert places.probed(environment / "bin" / "pyoci", *words)["arguments"] == words


def test_many_arguments_arrive(environment):
    words = [b"%d" % number for number in range(20_000)]
    assert places.probed(environment / "bin" / "pyoci", *words)["arguments"] == words


def test_symbolic_links_lead_home(environment, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pyoci").symlink_to(environment / "bin" / "pyoci")
    (tmp_path / "runc").symlink_to("bin/pyoci")
    for program in ("bin/pyoci", "runc"):
        assert places.probed(tmp_path / program)["package"].startswith(str(environment))


def test_name_that_it_is_called_by_does_not_matter(environment):
    assert places.probed(environment / "bin" / "pyoci", argv0="runc")["package"].startswith(str(environment))
    assert places.probed(environment / "bin" / "pyoci", argv0="/elsewhere/bin/pyoci")["package"].startswith(str(environment))


def test_relative_path_works(environment):
    assert places.probed("bin/pyoci", cwd=environment)["package"].startswith(str(environment))


def test_path_with_blanks_quotes_and_umlauts_works(wheel, tmp_path):
    folder = tmp_path / "a b'c\"ü"
    site = places.make_venv(folder)
    program = places.unpack(wheel, site, folder / "bin")
    places.put_probe(site / "pyoci")
    assert places.probed(program)["package"].startswith(str(folder))


def test_editable_installation_runs_the_source_tree(tmp_path):
    tree = places.copy_tree(tmp_path / "tree")
    editable = places.call_backend("build_editable", tree, tmp_path)
    site = places.make_venv(tmp_path / "venv")
    program = places.unpack(editable, site, tmp_path / "venv" / "bin")
    places.put_probe(tree / "pyoci")
    said = places.probed(program)
    assert said["package"] == str(tree / "pyoci" / "__init__.py")
    assert said["shim"] == str(tree / "pyoci" / "native" / "_sys.abi3.so")
    assert said["no_site"] == 1
    assert not (site / "pyoci").exists()

    shutil.rmtree(tree)
    done = places.start(program)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == f"pyoci: the source tree that was installed with pip install -e is gone: {tree}\n".encode()


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(f"lib/python3.{MINOR}/site-packages", id="prefix"),
        pytest.param(f"lib/python3.{MINOR}/dist-packages", id="usr-local-of-debian"),
        pytest.param(f"lib64/python3.{MINOR}/site-packages", id="fedora"),
        pytest.param("lib/python3/dist-packages", id="debian-package"),
        pytest.param(".", id="pip-target"),
    ],
)
@pytest.mark.parametrize("beside", [True, False], ids=["own-python", "system-python"])
def test_every_layout_of_an_installation_is_found(wheel, tmp_path, folder, beside):
    site = (tmp_path / folder).resolve()
    program = places.unpack(wheel, site, tmp_path / "bin")
    places.put_probe(site / "pyoci")
    places.link_dependencies(site)
    if beside:
        for name in ("python3", f"python3.{MINOR}"):
            (tmp_path / "bin" / name).symlink_to(os.path.realpath(sys.executable))
    elif not os.path.exists(SYSTEM_PYTHON):
        pytest.fail(f"this test wants {SYSTEM_PYTHON}")
    said = places.probed(program)
    assert said["package"] == str(site / "pyoci" / "__init__.py")
    assert said["executable"].startswith(str(tmp_path / "bin") if beside else "/usr/bin/python3")
    assert said["no_site"] == 1


def test_newest_python_of_a_prefix_is_taken(wheel, tmp_path):
    for minor in (MINOR, MINOR - 2):
        program = places.unpack(wheel, tmp_path / "lib" / f"python3.{minor}" / "site-packages", tmp_path / "bin")
        places.put_probe(tmp_path / "lib" / f"python3.{minor}" / "site-packages" / "pyoci")
    assert f"python3.{MINOR}/" in places.probed(program)["package"]


def test_site_is_asked_where_dependencies_live_elsewhere(wheel, tmp_path):
    site = places.make_venv(tmp_path / "venv", dependencies=False)
    (site / "elsewhere.pth").write_text(f"{places.SITE}\n")
    program = places.unpack(wheel, site, tmp_path / "venv" / "bin")
    places.put_probe(site / "pyoci")
    said = places.probed(program)
    assert said["no_site"] == 0
    assert said["shim"].endswith("_sys.abi3.so")


def test_copied_program_says_to_link_instead(environment, tmp_path):
    (tmp_path / "bin").mkdir()
    shutil.copy(environment / "bin" / "pyoci", tmp_path / "bin" / "pyoci")
    done = places.start(tmp_path / "bin" / "pyoci")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == f"pyoci: the package pyoci is not installed in {tmp_path}; link to the installed program instead of copying it\n".encode()


def test_program_at_the_root_says_where_it_looked(environment, tmp_path, needs):
    needs("root")
    shutil.copy(environment / "bin" / "pyoci", tmp_path / "pyoci")
    (tmp_path / "proc").mkdir()
    script = 'mount --bind /proc "$1/proc" && exec chroot "$1" /pyoci'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "pyoci: unexpected place: \n")


def test_missing_interpreter_is_one_line(wheel, tmp_path):
    site = tmp_path / "lib" / f"python3.{MINOR + 20}" / "site-packages"
    program = places.unpack(wheel, site, tmp_path / "bin")
    done = places.start(program)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == f"pyoci: no python3 found for {site}/pyoci/__main__.py\n".encode()


@pytest.mark.needs("root")
def test_missing_proc_is_one_line(environment):
    script = 'mount -t tmpfs tmpfs /proc && exec "$1"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", environment / "bin" / "pyoci"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "pyoci: cannot read /proc/self/exe; is /proc mounted?\n")


def test_path_that_is_too_long_is_refused(wheel, tmp_path):
    folder = tmp_path
    deep = []
    while sum(map(len, deep)) + len(deep) < 4050:
        deep.append("d" * 200)
    script = """
import os, shutil, sys
os.chdir(sys.argv[1])
for name in sys.argv[3:]:
    os.mkdir(name); os.chdir(name)
os.mkdir("bin")
shutil.copy(sys.argv[2], "bin/pyoci"); os.chmod("bin/pyoci", 0o755)
os.execve("bin/pyoci", ["pyoci"], {})
"""
    program = places.unpack(wheel, tmp_path / "site", tmp_path / "programs")
    try:
        done = subprocess.run([sys.executable, "-c", script, folder, program, *deep], capture_output=True)
    finally:
        subprocess.run(["rm", "-rf", folder / deep[0]], check=True)
    assert done.returncode == 1
    assert done.stderr.startswith(b"pyoci: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.needs("strace")
def test_search_costs_few_calls(environment, tmp_path):
    trace = tmp_path / "trace"
    subprocess.run(["strace", "-o", trace, environment / "bin" / "pyoci"], env={"PATH": os.environ["PATH"]}, capture_output=True)
    calls = trace.read_text().splitlines()
    ends = [index for index, line in enumerate(calls) if line.startswith("execve")]
    assert ends[1] - ends[0] <= 40
