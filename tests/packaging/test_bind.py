"""pyoci/native/bind.py: what the Python functions of our C calls take and refuse."""

import re

import pytest

from pyoci.native import _sys, bind, build


def test_wrong_number_of_arguments_is_refused():
    with pytest.raises(TypeError, match="sys_setns: 1 arguments, not 2"):
        _sys.sys_setns(0)


@pytest.mark.parametrize("number", [1 << 31, -(1 << 31) - 1, 1 << 70], ids=["one too many", "one too few", "huge"])
def test_number_that_is_no_c_int_is_refused(number):
    with pytest.raises(OverflowError):
        _sys.sys_setns(number, 0)


def test_nul_in_a_path_is_refused():
    with pytest.raises(ValueError, match="null byte"):
        _sys.sys_unmount(b"/nowhere\0/more")


def test_text_in_place_of_bytes_is_refused():
    with pytest.raises(TypeError):
        _sys.sys_unmount("/nowhere")


def test_constant_bytes_are_refused_where_c_writes():
    with pytest.raises((TypeError, BufferError)):
        _sys.sys_socketpair(bytes(8))


def test_room_of_another_item_size_is_refused():
    with pytest.raises(TypeError, match="item size"):
        _sys.sys_socketpair(bytearray(7))


def test_unknown_kind_of_argument_stops_the_build():
    with pytest.raises(ValueError, match="double wide: no such argument"):
        bind.binding("m", {"m.h": "int f(double wide);\n"})


@pytest.mark.parametrize("header", ["sys.h", "bpf.h"])
def test_every_function_of_the_headers_is_bound(header):
    declared = set(re.findall(r"\b(sys_\w+)\(", (build.NATIVE / header).read_text()))
    assert declared
    assert declared <= set(dir(_sys))
