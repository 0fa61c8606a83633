"""What the caller's own state must not do to a container, and what other users of the host must not reach."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys
import sysconfig

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.needs("root", "busybox")

SIGNALS_IGNORED = ("grep", "SigIgn", "/proc/self/status")  # no shell, which has its own mind


def hexadecimal(text):
    return int(text.split()[1], 16)


def test_process_begins_with_no_signal_ignored(pyoci, bundle):
    bundle.process["args"] = SIGNALS_IGNORED
    done = pyoci.run(bundle.write())
    assert hexadecimal(done.stdout) == 0, done.stderr


def test_exec_begins_with_no_signal_ignored(pyoci, bundle):
    container_id = pyoci.start(bundle)
    assert hexadecimal(pyoci.ok("exec", container_id, *SIGNALS_IGNORED)) == 0


@pytest.mark.parametrize("umask", [0o022, 0])
def test_gate_is_closed_to_other_users_whatever_the_umask(pyoci, bundle, umask):
    container_id = pyoci.create(bundle, umask=umask)
    gate = os.stat(pyoci.root / container_id / "gate")
    assert stat.S_ISSOCK(gate.st_mode) and not gate.st_mode & 0o077


@pytest.fixture
def installed(tmp_path):
    """pyoci in a folder of its own, without the file of all code, as a command line."""
    shutil.copytree(TREE / "pyoci", tmp_path / "tree" / "pyoci", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-IS", "-X", f"pyoci_site={sysconfig.get_path('purelib')}", tmp_path / "tree" / "pyoci" / "__main__.py"]

    def run(**more):
        done = subprocess.run([*command, "--root", tmp_path / "none", "state", "x"], capture_output=True, text=True, check=False, **more)
        assert done.stderr == "container does not exist: x\n"
        return next((tmp_path / "tree" / "pyoci" / "__pycache__").glob("hot.*[0-9]"))

    return run


def test_file_of_all_code_is_nobody_elses_to_write_whatever_the_umask(installed):
    file = installed(umask=0)
    assert not file.stat().st_mode & 0o022


@pytest.mark.parametrize("spoil", [lambda file: file.chmod(0o666), lambda file: os.chown(file, 65534, 0)], ids=["mode", "owner"])
def test_file_of_all_code_of_another_user_is_not_used_but_made_anew(installed, spoil):
    file = installed()
    spoil(file)
    before = file.stat().st_ino
    made = installed().stat()
    assert made.st_ino != before and made.st_uid == 0 and not made.st_mode & 0o022


def test_create_that_cannot_undo_all_says_so_after_its_error(pyoci, bundle):
    """The hook fails, and has made the state directory one that can't be removed."""
    container_id = pyoci.new_id()
    folder = pyoci.root / container_id
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"mount --bind {folder}/journal {folder}/journal; exit 3"]}]}
    try:
        said = pyoci.fails("create", "--bundle", bundle.write().path, container_id)
    finally:
        subprocess.run(["umount", folder / "journal"], check=True)
    assert "createRuntime hook #0" in said and said.endswith(f"; unlink {folder}/journal: Device or resource busy (EBUSY)")
