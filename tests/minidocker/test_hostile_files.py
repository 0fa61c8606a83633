"""Files of an image or a container that are none: what the host reads below a rootfs it opens only if it is a regular file, for to open a device or a FIFO is to use it."""

import ctypes
import io
import os
import socket

import pytest

from pyoci.kernel.tree import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, open_regular
from pyoci.minidocker import users
from pyoci.minidocker.images import pack

IN_OPEN, IN_NONBLOCK = 0x20, 0o4000


class Opened:
    """Which files of a folder were opened since the last question.  inotify(7): a descriptor for a path alone (O_PATH) is no opening."""

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(IN_NONBLOCK)
        assert libc.inotify_add_watch(self.fd, os.fsencode(folder), IN_OPEN) >= 0

    def names(self):
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return []
        found = []
        while data:
            length = int.from_bytes(data[12:16], "little")
            found.append(data[16 : 16 + length].rstrip(b"\0").decode())
            data = data[16 + length :]
        return [name for name in found if name]


@pytest.fixture
def opened(tmp_path):
    (tmp_path / "etc").mkdir()
    watch = Opened(tmp_path / "etc")
    yield watch
    os.close(watch.fd)


def make_fifo(path):
    os.mkfifo(path)


def make_device(path):
    os.mknod(path, 0o020666, os.makedev(1, 3))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


NOT_REGULAR = [
    pytest.param(make_fifo, id="fifo"), pytest.param(make_device, id="device", marks=pytest.mark.needs("root")), pytest.param(make_socket, id="socket"),
    pytest.param(os.mkdir, id="folder"),
]  # fmt: skip


@pytest.mark.parametrize("make", NOT_REGULAR)
def test_passwd_that_is_no_regular_file_is_not_opened(tmp_path, opened, make):
    make(tmp_path / "etc" / "passwd")
    assert users.read_below(tmp_path, "etc/passwd") == ""
    assert opened.names() == []


def test_passwd_is_read_and_only_the_start_of_a_huge_one(tmp_path, opened):
    (tmp_path / "etc" / "real").write_text("a:x:1:2::/:\n")
    (tmp_path / "etc" / "passwd").symlink_to("/etc/real")
    assert users.read_below(tmp_path, "etc/passwd") == "a:x:1:2::/:\n"
    assert opened.names() == ["real"]
    os.truncate(tmp_path / "etc" / "real", 1 << 40)
    assert len(users.read_below(tmp_path, "etc/passwd")) == users.LARGEST_BYTES


@pytest.mark.parametrize("make", NOT_REGULAR)
def test_file_that_became_something_else_is_not_opened_by_pack(tmp_path, opened, make):
    make(tmp_path / "etc" / "odd")
    folder = os.open(tmp_path / "etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert not pack._Tree(pack.Packer(io.BytesIO()), folder)._add_regular(folder, b"odd", b"etc/odd")
    finally:
        os.close(folder)
    assert [name for name in opened.names() if name == "odd"] == []


def test_link_in_a_files_place_is_followed_only_when_asked(tmp_path):
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    folder = os.open(tmp_path, os.O_PATH)
    try:
        assert open_regular(folder, "link", RESOLVE_BENEATH) < 0
        assert open_regular(folder, "link", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, follow=True) < 0
        fd = open_regular(folder, "link", RESOLVE_IN_ROOT, follow=True)
        assert os.read(fd, 9) == b"x"
        os.close(fd)
    finally:
        os.close(folder)
