"""The init that --init puts into a container, run alone."""

import os
import pathlib
import shutil
import subprocess

import pytest

import pyoci

PROGRAM = pathlib.Path(pyoci.__file__).parent / "native" / "minit" / "minidocker-init"
PATH_MAX = 4096


@pytest.fixture
def deep(tmp_path):
    """(the longest folder that a file of one more name fits into, room left for its name with the NUL)."""
    path = str(tmp_path)
    at = os.open(path, os.O_PATH)
    while len(path) + 201 < PATH_MAX - 20:
        name = "d" * 200
        os.mkdir(name, dir_fd=at)
        at, before = os.open(name, os.O_PATH, dir_fd=at), at
        os.close(before)
        path += f"/{name}"
    yield path, at, PATH_MAX - len(path) - 1
    os.close(at)
    shutil.rmtree(tmp_path / ("d" * 200))


def test_name_that_does_not_fit_is_not_cut_to_one_that_is_there(deep):
    folder, at, room = deep
    length = room - 1
    file = os.open("x" * length, os.O_WRONLY | os.O_CREAT, 0o755, dir_fd=at)
    os.write(file, b"#!/bin/sh\necho ran what was cut\n")
    os.close(file)
    done = subprocess.run([PROGRAM, "--", "x" * (length + 5)], env={"PATH": folder}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (127, "") and "not found" in done.stderr
    done = subprocess.run([PROGRAM, "--", "x" * length], env={"PATH": folder}, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "ran what was cut\n"
