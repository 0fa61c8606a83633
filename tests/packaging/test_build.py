"""pyoci/native/build.py: what it builds, when, and what it says when it can't; arm64 by cross compiler and emulator."""

import os
import pathlib
import shutil
import subprocess
import sys

import packaging_places as places
import pytest
from test_wheel import read_elf

from pyoci.native import build

ARM_COMPILER = "aarch64-linux-gnu-gcc"


def run_build(folder, *arguments, **environ):
    """Run the build as a program, by path; returns (exit status, stdout, stderr)."""
    command = [sys.executable, build.__file__, "--into", folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, cwd="/")
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="session")
def arm(tmp_path_factory):
    """init and launcher, built for arm64."""
    folder = tmp_path_factory.mktemp("arm")
    status, _output, said = run_build(folder, "--only-freestanding", CC=ARM_COMPILER)
    assert (status, said) == (0, "")
    return folder


def test_build_makes_everything_and_then_nothing(tmp_path):
    assert run_build(tmp_path)[0] == 0
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    programs = ["init/pyoci-init", f"interpreter/python3.{places.MINOR}", "launcher/minidocker", "launcher/pyoci", "minit/minidocker-init", "monitor/minidocker-monitor"]
    assert made == ["_libseccomp.abi3.so", "_sys.abi3.so", *programs]
    assert run_build(tmp_path)[1] == "nothing to build\n"


def test_what_a_package_replaced_is_built_for_anew(tmp_path):
    target, installed = tmp_path / "target", tmp_path / "python"
    target.touch()
    installed.touch()
    os.utime(installed, ns=(0, 0))
    assert build.is_fresh(target, [installed])
    assert not build.is_fresh(target, [], [installed])


def test_missing_compiler_is_one_line(tmp_path):
    status, _output, said = run_build(tmp_path, "--only-freestanding", CC="no-such-gcc")
    assert status == 1
    assert set(said.splitlines()) == {"build: no-such-gcc: not found; install a C compiler (Debian: gcc libc6-dev python3-dev)"}


def test_make_refuses_an_old_python_in_one_line(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10, 9); $2"\n')
    python.chmod(0o755)
    command = ["make", "-o", "packages-build", f"PYTHON={python}", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/bin/python"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=places.TREE)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "pyoci needs Python 3.11 or newer; make PYTHON=... names one"


def test_missing_libseccomp_is_a_note(tmp_path):
    (tmp_path / "cc").write_text('#!/bin/sh\ncase " $* " in *" -E "*) exit 1;; esac\nexec gcc "$@"\n')
    (tmp_path / "cc").chmod(0o755)
    status, _output, said = run_build(tmp_path / "out", CC=str(tmp_path / "cc"))
    assert status == 0
    assert said == "note: no <seccomp.h>: built without libseccomp, so linux.seccomp will be refused (Debian: libseccomp-dev)\n"
    assert not (tmp_path / "out" / "_libseccomp.abi3.so").exists()
    assert (tmp_path / "out" / "_sys.abi3.so").exists()


def test_warning_in_our_c_stops_the_build(tmp_path):
    (tmp_path / "a.c").write_text("int unused_argument(int a); int unused_argument(int a) { return 0; }\n")
    with pytest.raises(build.BuildError, match="unused parameter"):
        build.build_freestanding(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_newer_source_is_built_again(tmp_path):
    source = tmp_path / "a.c"
    source.write_text("void _start(void); void _start(void) { for (;;) ; }\n")
    assert build.build_freestanding(tmp_path, tmp_path / "out")
    assert not build.build_freestanding(tmp_path, tmp_path / "out")
    later_ns = (tmp_path / "out").stat().st_mtime_ns + 1
    os.utime(source, ns=(later_ns, later_ns))
    assert build.build_freestanding(tmp_path, tmp_path / "out")


def test_running_program_is_replaced_not_rewritten(tmp_path):
    (tmp_path / "a.c").write_text("void _start(void); void _start(void) { for (;;) ; }\n")
    target = tmp_path / "out"
    build.build_freestanding(tmp_path, target)
    with subprocess.Popen([target]) as running:
        os.utime(tmp_path / "a.c", ns=(target.stat().st_mtime_ns + 1,) * 2)
        assert build.build_freestanding(tmp_path, target)
        running.kill()


@pytest.mark.needs("aarch64-gcc")
@pytest.mark.parametrize("name", ["init/pyoci-init", "launcher/pyoci"])
def test_program_cross_compiles_for_arm64(arm, name):
    machine, _headers = read_elf((arm / name).read_bytes())
    assert machine == "aarch64"


@pytest.mark.needs("aarch64-gcc", "qemu-aarch64")
def test_arm64_launcher_finds_the_package(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", ARM_COMPILER)
    site = places.make_venv(tmp_path / "venv")
    program = places.unpack(wheel, site, tmp_path / "venv" / "bin")
    places.put_probe(site / "pyoci")
    program.unlink()
    build.build_launcher(program)
    # The emulated execve starts the host's interpreter.
    said = places.probed(shutil.which("qemu-aarch64-static"), program, b"one", b"")
    assert said["package"] == str(site / "pyoci" / "__init__.py")
    assert said["arguments"] == [b"one", b""]


@pytest.mark.needs("aarch64-gcc", "qemu-aarch64")
def test_arm64_launcher_refuses_a_copy(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", ARM_COMPILER)
    (tmp_path / "bin").mkdir()
    build.build_launcher(tmp_path / "bin" / "pyoci")
    done = places.start(shutil.which("qemu-aarch64-static"), tmp_path / "bin" / "pyoci")
    assert done.returncode == 1
    assert done.stderr.endswith(b"; link to the installed program instead of copying it\n")


def test_init_asks_for_no_executable_stack():
    target = pathlib.Path(build.NATIVE) / "init" / "pyoci-init"
    build.build_init()
    flags = dict(read_elf(target.read_bytes())[1])
    assert not flags.get(0x6474E551, 0) & 1
