"""What unpacking costs, without a clock: system calls a file."""

import collections
import pathlib
import re
import subprocess
import sys

import pytest
from tars import archive, file, folder

TREE = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = f"""
import os, sys
sys.path.insert(0, {str(TREE)!r})
from pyoci.minidocker.images.unpack import unpack
with open(sys.argv[1], "rb", buffering=0) as stream:
    os.write(1, b"begin")
    unpack(stream, sys.argv[2])
    os.write(1, b"end")
"""


@pytest.mark.needs("root", "strace")
def test_a_file_costs_four_calls_and_a_folder_less_than_ten(tmp_path):
    files, folders = 1000, 20
    members = [folder(f"d{number}") for number in range(folders)] + [file(f"d{number % folders}/f{number}", b"x" * 100) for number in range(files)]
    (tmp_path / "layer.tar").write_bytes(archive(*members))
    (tmp_path / "layer").mkdir()
    log = tmp_path / "log"
    subprocess.run(["strace", "-o", log, sys.executable, "-I", "-c", SCRIPT, tmp_path / "layer.tar", tmp_path / "layer"], check=True, capture_output=True, timeout=120)
    inside = log.read_text().split('"begin"')[1].split('"end"')[0]
    calls = collections.Counter(re.findall(r"^(\w+)\(", inside, re.MULTILINE))
    for noise in ("brk", "mmap", "munmap", "mremap", "madvise"):
        calls.pop(noise, None)
    assert calls["openat"] < files + 20
    assert sum(calls.values()) <= 4 * files + 9 * folders + 60, calls
