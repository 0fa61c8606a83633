"""native/interpreter: when the launcher's start is by it, what holds in it before its second phase, and that the second is as the ordinary interpreter's."""

import os
import shutil
import subprocess
import sys

import packaging_places as places
import pytest

MINOR = places.MINOR
# Stands in for pyoci.cli.main: does what its first argument says, and tells which program it runs in and whether that had its second phase.
DOER = r'''
import posix
import sys


def entry(finder=None):
    deed = sys.argv[1]
    if deed == "codec":
        said = b"\xff".decode("utf-8", "backslashreplace")
    elif deed == "open":
        with open("/proc/self/comm") as file:
            said = file.read().strip()
    elif deed == "frozen":
        import os, codecs, abc
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): pass
        said = os.path.join(os.fspath("a"), os.fsdecode(b"b")) + codecs.BOM_UTF8.hex() + str(len(Shape.__abstractmethods__))
    elif deed == "fail":
        raise ValueError("a fault of ours")
    elif deed == "interrupt":
        try:
            posix.kill(posix.getpid(), 2)
            said = "alive"
        except KeyboardInterrupt:
            said = "interrupted"
    elif deed == "pipe":
        read, write = posix.pipe()
        posix.close(read)
        try:
            posix.write(write, b"x")
        except BrokenPipeError:
            said = "broken"
    elif deed == "huge":
        fd, text = posix.open("/proc/self/smaps", posix.O_RDONLY), b""
        while more := posix.read(fd, 1 << 20):
            text += more
        said = str(b" hg" in text)
    else:
        said = ""
    early = "io" in sys.modules
    import json
    print(posix.readlink("/proc/self/exe"), early, said, json.__file__)
    sys.stdout.flush()
    posix._exit(0)
'''

pytestmark = pytest.mark.needs("libpython")


def install(wheel, folder, main):
    """A virtual environment whose command line is `main`, with its file of all code. Returns the program."""
    site = places.make_venv(folder)
    program = places.unpack(wheel, site, folder / "bin")
    (site / "pyoci/cli/main.py").write_text(main)
    os.chmod(site / f"pyoci/native/interpreter/python3.{MINOR}", 0o755)  # as installers do
    write_code_file(folder)
    return program


def write_code_file(folder):
    script = "import sys; sys.path[:0] = sys.argv[1:]; from pyoci import hotfile; hotfile.renew()"
    subprocess.run([folder / "bin/python3", "-IS", "-Xutf8", "-c", script, site_of(folder)], check=True, cwd="/")


def site_of(folder):
    return folder / f"lib/python3.{MINOR}/site-packages"


def own_of(folder):
    return str(site_of(folder) / f"pyoci/native/interpreter/python3.{MINOR}")


@pytest.fixture(scope="module")
def folder(wheel, tmp_path_factory):
    """A virtual environment of DOER."""
    folder = tmp_path_factory.mktemp("interpreter") / "venv"
    install(wheel, folder, DOER)
    return folder


def do(folder, deed):
    """[program, whether its second phase came first, what was said, where json is from]."""
    done = places.start(folder / "bin/pyoci", deed)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().rstrip("\n").split(" ")


def test_start_is_by_our_interpreter_and_half(folder):
    assert do(folder, "nothing")[:2] == [own_of(folder), "False"]


def test_second_phase_finds_the_standard_library(folder):
    assert do(folder, "nothing")[3].startswith(os.path.dirname(os.__file__))


@pytest.mark.parametrize(("deed", "said"), [("codec", r"\xff"), ("frozen", "a/befbbbf1"), ("open", f"python3.{MINOR}"), ("interrupt", "interrupted"), ("pipe", "broken")])
def test_what_the_second_phase_would_bring_is_there(folder, deed, said):
    assert do(folder, deed)[2] == said


def test_small_objects_are_in_huge_pages_where_the_kernel_has_some(folder):
    assert do(folder, "huge")[1:3] == ["False", str(os.path.isdir("/sys/kernel/mm/transparent_hugepage"))]


def test_fault_of_ours_is_a_traceback(folder):
    done = places.start(folder / "bin/pyoci", "fail")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.splitlines()[-1] == b"ValueError: a fault of ours"


def test_all_that_a_program_sees_is_as_in_the_ordinary_interpreter(wheel, tmp_path):
    program = install(wheel, tmp_path / "venv", places.PROBE)
    words = [b"", b"a b", b"\xff\xfe", "ü".encode()]
    ours = places.probed(program, *words)
    os.unlink(own_of(tmp_path / "venv"))
    assert ours == places.probed(program, *words)
    assert ours["arguments"] == words


def test_another_python_is_not_stood_for(wheel, tmp_path):
    folder = tmp_path / "venv"
    install(wheel, folder, DOER)
    python = folder / f"bin/python3.{MINOR}"
    python.unlink()
    shutil.copyfile(os.path.realpath(sys.executable), python)
    python.chmod(0o755)
    assert do(folder, "nothing")[0] == str(python)


@pytest.mark.parametrize("name", ["hot.py", "cli/main.py"])
def test_edited_source_is_for_the_ordinary_interpreter(wheel, tmp_path, name):
    folder = tmp_path / "venv"
    install(wheel, folder, DOER)
    with open(site_of(folder) / "pyoci" / name, "a") as file:
        file.write("\n")
    assert do(folder, "nothing")[0] == os.path.realpath(sys.executable)
    write_code_file(folder)
    assert do(folder, "nothing")[0] == own_of(folder)


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_code_file_that_others_may_write_is_not_run(folder, mode):
    file = next((site_of(folder) / "pyoci/__pycache__").glob("hot.*[0-9]"))
    file.chmod(mode)
    try:
        assert do(folder, "nothing")[0] == os.path.realpath(sys.executable)
    finally:
        file.chmod(0o644)


@pytest.mark.parametrize("spoil", [lambda data: data[:100], lambda data: b"", lambda data: data[:20] + bytes(40) + data[60:], lambda data: data[:-100]],
                         ids=["cut", "empty", "overwritten", "without-an-end"])  # fmt: skip
def test_torn_code_file_is_for_the_ordinary_interpreter(wheel, tmp_path, spoil):
    folder = tmp_path / "venv"
    install(wheel, folder, DOER)
    file = next((site_of(folder) / "pyoci/__pycache__").glob("hot.*[0-9]"))
    file.write_bytes(spoil(file.read_bytes()))
    assert do(folder, "nothing")[0] == os.path.realpath(sys.executable)


def test_library_of_another_python_is_refused(tmp_path, monkeypatch):
    from pyoci.native import build

    monkeypatch.setattr(build.sys, "version", "3.11.99 (another)")
    with pytest.raises(build.BuildError, match="is not the library of"):
        build.build_interpreter(tmp_path)
    assert list(tmp_path.rglob("python3*")) == []


def test_library_that_cannot_be_linked_is_a_note(tmp_path, monkeypatch, capfd):
    from pyoci.native import build

    monkeypatch.setattr(build, "INTERPRETER_FLAGS", ["-lno-such-library"])
    assert "interpreter" not in build.build_all(tmp_path)
    assert capfd.readouterr().err.endswith("note: built without an interpreter of its own\n")
