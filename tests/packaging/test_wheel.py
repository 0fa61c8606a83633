"""What the wheel and the source archive hold, and that pip alone makes a working pyoci of them."""

import os
import shutil
import struct
import subprocess
import sys
import zipfile

import packaging_places as places
import pytest

ELF_MACHINES = {62: "x86-64", 183: "aarch64"}
PT_INTERP = 3
PT_LOAD = 1
PF_X, PF_W = 1, 2


def read_elf(data):
    """(machine, [(type, flags) of each program header]) of a 64-bit little-endian ELF file."""
    assert data[:6] == b"\x7fELF\x02\x01"
    machine = struct.unpack_from("<H", data, 18)[0]
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    return ELF_MACHINES[machine], [struct.unpack_from("<II", data, offset + index * size) for index in range(count)]


@pytest.fixture(scope="session")
def files(wheel):
    """{name: bytes} of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_serves_every_python_from_3_11(wheel):
    assert wheel.name.split("-")[2:4] == ["cp311", "abi3"]
    assert wheel.name.endswith(f"linux_{os.uname().machine}.whl")


def test_wheel_has_every_module_of_the_tree(files):
    expected = {str(path.relative_to(places.TREE)) for path in (places.TREE / "pyoci").rglob("*.py")}
    assert expected <= set(files)


def test_wheel_has_the_shim_and_no_sources_of_it(files):
    assert "pyoci/native/_sys.abi3.so" in files
    assert [name for name in files if name.endswith((".c", ".h", ".o"))] == []


def test_wheel_has_every_schema(files):
    expected = {f"pyoci/{path.relative_to(places.TREE)}" for path in (places.TREE / "schemas").rglob("*.json")}
    assert expected
    assert expected <= set(files)


@pytest.mark.parametrize("name", ["pyoci/native/init/pyoci-init", "pyoci-{version}.data/scripts/pyoci"], ids=["init", "launcher"])
def test_program_in_the_wheel_is_static_and_small(files, name, wheel):
    data = files[name.format(version=wheel.name.split("-")[1])]
    machine, headers = read_elf(data)
    assert machine == os.uname().machine.replace("_", "-")
    assert PT_INTERP not in [kind for kind, _flags in headers]
    assert len(data) < 64 * 1024


def test_launcher_is_executable_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [entry for entry in archive.infolist() if entry.filename.endswith("scripts/pyoci")]
    assert entry.external_attr >> 16 & 0o111 == 0o111


def test_wheel_has_nothing_of_the_build_machine(files):
    tree = str(places.TREE).encode()
    assert [name for name, data in files.items() if tree in data] == []


def test_source_archive_builds_the_same_wheel(files, tmp_path):
    archive = places.call_backend("build_sdist", places.copy_tree(tmp_path / "tree"), tmp_path)
    shutil.unpack_archive(archive, tmp_path)
    rebuilt = places.call_backend("build_wheel", tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path)
    with zipfile.ZipFile(rebuilt) as wheel:
        assert set(wheel.namelist()) == set(files)


@pytest.mark.needs("pypi")
def test_pip_install_alone_makes_a_working_program(tmp_path):
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    tree = places.copy_tree(tmp_path / "tree")
    places.make_venv(tmp_path / "venv", dependencies=False)
    pip = [sys.executable, "-m", "pip", "--python", tmp_path / "venv" / "bin" / "python", "install", "--quiet", tree]
    subprocess.run(pip, check=True, env=environ)
    done = places.start(tmp_path / "venv" / "bin" / "pyoci", "--version")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0].startswith(b"pyoci version ")
