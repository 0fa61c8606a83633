"""cp against a hostile container: what it may bring to the host, and what it must not."""

import gzip
import io
import os
import pathlib
import stat
import subprocess
import tarfile

import pytest

from pyoci.kernel.tree import RESOLVE_BENEATH, open_regular
from pyoci.minidocker.errors import BadRequest, MiniDockerError, NotFound
from pyoci.minidocker.images import pack
from pyoci.minidocker.images.pack import pack_at
from pyoci.minidocker.merge import merge

pytestmark = pytest.mark.needs("root")
# cap_net_raw=ep.  linux/capability.h, struct vfs_cap_data
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def member(name, kind=tarfile.REGTYPE, mode=0o644, **fields):
    """A TarInfo."""
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, mode
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def tar_of(*members):
    """A stream of empty files and what else they are."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for one in members:
            tar.addfile(one)
    data.seek(0)
    return data


@pytest.fixture
def planted(place):
    """The id of a container whose root prepared /tmp/trap for the host's root."""
    container_id = place.create("true")
    place.engine.archive_in(container_id, "/tmp", tar_of(
        member("trap", tarfile.DIRTYPE, 0o7755), member("trap/shell", mode=0o6755, uid=0), member("trap/disk", tarfile.BLKTYPE, 0o666, devmajor=8),
        member("trap/null", tarfile.CHRTYPE, 0o666, devmajor=1, devminor=3), member("trap/theirs", mode=0o4711, uid=1234, gid=2345),
    ))  # fmt: skip
    return container_id


@pytest.mark.parametrize("keep_ids", [False, True], ids=["plain", "archive"])
def test_copy_to_the_host_brings_no_set_id_bits(place, planted, tmp_path, keep_ids):
    os.setxattr(f"{place.get(planted).folder}/upper/tmp/trap/theirs", "security.capability", CAPABILITY)
    place.engine.copy_out(planted, "/tmp/trap", str(tmp_path), keep_ids=keep_ids)
    assert os.listxattr(tmp_path / "trap" / "theirs") == []
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "trap", *(tmp_path / "trap").iterdir())}
    assert modes == {"trap": 0o1755, "shell": 0o755, "theirs": 0o711}
    found = (tmp_path / "trap" / "theirs").stat()
    assert (found.st_uid, found.st_gid) == ((1234, 2345) if keep_ids else (os.geteuid(), os.getegid()))


def test_copy_to_the_host_makes_no_device_and_says_so(place, planted, tmp_path):
    said = []
    place.engine.warn = said.append
    place.engine.copy_out(planted, "/tmp/trap", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["shell", "theirs"]
    assert said == ["'trap/disk' and 1 more not copied: cp makes no device on the host"]
    with pytest.raises(BadRequest, match="^/tmp/trap/disk is a device, which cp makes none of on the host$"):
        place.engine.copy_out(planted, "/tmp/trap/disk", str(tmp_path / "disk"))
    assert not (tmp_path / "disk").exists()


def test_tar_of_a_copy_keeps_everything(place, planted):
    sink = io.BytesIO()
    place.engine.archive_out(planted, "/tmp/trap", sink)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        found = {one.name: (one.type, one.mode) for one in tar}
    assert found["trap/shell"] == (tarfile.REGTYPE, 0o6755)
    assert found["trap/disk"] == (tarfile.BLKTYPE, 0o666)


def test_new_folder_is_made_like_the_one_that_is_copied(place, planted, tmp_path):
    place.engine.copy_out(planted, "/tmp/trap", str(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o1755
    place.engine.copy_in(planted, str(tmp_path / "new"), "/root/new")
    assert stat.S_IMODE(os.stat(f"{place.get(planted).folder}/upper/root/new").st_mode) == 0o1755


@pytest.mark.parametrize("make", [lambda path: os.mknod(path, 0o020666, os.makedev(1, 3)), os.mkfifo], ids=["device", "fifo"])
def test_copy_replaces_no_device_or_fifo(place, tmp_path, make):
    container_id = place.create("true")
    make(tmp_path / "odd")
    (tmp_path / "link").symlink_to("odd")
    kind = stat.S_IFMT((tmp_path / "odd").stat().st_mode)
    for target in ("odd", "link"):
        with pytest.raises(BadRequest, match="/odd: neither a folder nor a regular file$"):
            place.engine.copy_out(container_id, "/bin/busybox", str(tmp_path / target))
    assert stat.S_IFMT((tmp_path / "odd").stat().st_mode) == kind
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadRequest, match="^/dev/odd: neither a folder nor a regular file$"):
        place.engine.archive_in(container_id, "/dev", tar_of(member("odd", tarfile.CHRTYPE, devmajor=1, devminor=3)))
        place.engine.copy_in(container_id, str(tmp_path / "file"), "/dev/odd")


def test_link_on_the_host_is_followed_to_the_file_that_is_replaced(place, tmp_path):
    container_id = place.create("true")
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    place.engine.archive_in(container_id, "/tmp", tar_of(member("empty")))
    place.engine.copy_out(container_id, "/tmp/empty", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == ""


def test_a_thousand_folders_in_each_other_are_copied_both_ways(place, tmp_path):
    container_id = place.create("true")
    deep = "/".join(["d"] * 1300)
    place.engine.archive_in(container_id, "/tmp", tar_of(member(f"{deep}/file")))
    place.engine.copy_out(container_id, "/tmp/d", str(tmp_path))
    place.engine.copy_in(container_id, str(tmp_path / "d"), "/root")
    sink = io.BytesIO()
    place.engine.archive_out(container_id, "/root/d", sink)
    assert f"{deep}/file".encode() in sink.getvalue()
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own would recurse too deep


def test_path_longer_than_the_kernel_takes_is_one_line(place, tmp_path):
    container_id = place.create("true")
    place.engine.archive_in(container_id, "/tmp", tar_of(member("file")))
    folder = os.open(f"{place.get(container_id).folder}/upper/tmp", os.O_PATH)
    for _ in range(30):
        os.mkdir("y" * 200, dir_fd=folder)
        inner = os.open("y" * 200, os.O_PATH, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(MiniDockerError, match=r"^copy /tmp: .*: File name too long \(ENAMETOOLONG\)$"):
        place.engine.copy_out(container_id, "/tmp", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("time_ns", [(1 << 33) * 10**9, -(1 << 31) * 10**9, 10**18], ids=["late", "early", "now"])
def test_copied_time_may_be_any(place, tmp_path, time_ns):
    container_id = place.create("true")
    (tmp_path / "file").write_text("x")
    os.utime(tmp_path / "file", ns=(time_ns, time_ns))
    as_kept = (tmp_path / "file").stat().st_mtime_ns
    place.engine.copy_in(container_id, str(tmp_path / "file"), "/tmp")
    place.engine.path_stat(container_id, "/tmp/file")
    place.engine.copy_out(container_id, "/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").stat().st_mtime_ns == as_kept


class Changing(io.BytesIO):
    """A sink that does something once it has seen a word."""

    def __init__(self, word, change):
        super().__init__()
        self.word = word
        self.change = change

    def write(self, data):
        if self.word in data:
            self.change()
        return super().write(data)


@pytest.mark.parametrize(("size", "expected"), [(3, b"abc" + bytes(7)), (20, b"abcdefghij")], ids=["shrinks", "grows"])
def test_file_whose_size_changes_is_copied_as_long_as_it_was(tmp_path, size, expected):
    (tmp_path / "file").write_bytes(b"abcdefghij")
    (tmp_path / "next").write_bytes(b"next")
    folder = os.open(tmp_path, os.O_PATH)
    sink = Changing(b"x/file", lambda: os.truncate(tmp_path / "file", size))
    try:
        pack_at(sink, folder, b".", b"x", "copy")
    finally:
        os.close(folder)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        assert {one.name: tar.extractfile(one).read() for one in tar if one.isreg()} == {"x/file": expected, "x/next": b"next"}


# --- tars that nobody should trust


def raw(name=b"new", kind=b"0", mode=b"0000644\0", uid=b"0000000\0", gid=b"0000000\0", size=b"00000000000\0", mtime=b"00000000000\0", link=b"", device=(b"", b""), data=b""):
    """A header as it stands, and its data in whole blocks."""
    block = name.ljust(100, b"\0") + mode + uid + gid + size + mtime + b" " * 8 + kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64)
    block = (block + device[0].ljust(8, b"\0") + device[1].ljust(8, b"\0")).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + data + bytes(-len(data) % 512)


def pax(**records):
    """A pax header of these records, as bytes or text."""
    text = b""
    for key, value in records.items():
        body = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
        length = next(number for number in range(len(body), len(body) + 9) if number == len(b"%d" % number) + len(body))
        text += b"%d" % length + body
    return raw(b"pax", b"x", size=b"%011o\0" % len(text), data=text)


FIRST = raw(b"first")
BROKEN = {
    "no tar": (b"hello " * 200, "tar: checksum is no number: "),
    "cut": (raw(size=b"00000010000\0"), "tar: cut off after byte "),
    "negative size": (raw(size=b"\xff" * 12), "tar: b?'new': a size of -1 bytes"),
    "mtime inf": (pax(mtime="inf") + raw(), "tar: mtime is no time: 'inf'"),
    "mtime nan": (pax(mtime="nan") + raw(), "tar: mtime is no time: 'nan'"),
    "mtime 1e300": (pax(mtime="1e300") + raw(), "tar: mtime is no time: '1e300'"),
    "mtime of 5000 digits": (pax(mtime="9" * 5000) + raw(), "tar: mtime is no time: '999"),
    "uid of 5000 digits": (pax(uid="9" * 5000) + raw(), "tar: uid is no number: '999"),
    "uid too large": (pax(uid="4294967295") + raw(), "'new': no owner can be 4294967295:0"),
    "uid in base 256": (raw(uid=b"\x80" + b"\xff" * 7), "'new': no owner can be "),
    "negative uid": (raw(uid=b"\xff" * 8), "'new': no owner can be -1:0"),
    "superscript uid": (pax(uid="\u00b2") + raw(), "tar: uid is no number: "),
    "NUL in a name": (pax(path=b"a\0b") + raw(), r"tar: .*: a NUL byte in a path"),
    "NUL in a link": (pax(linkpath=b"a\0b") + raw(kind=b"2"), r"tar: .*: a NUL byte in a path"),
    "size in pax": (pax(size="18446744073709551616") + raw(), "a size of 18446744073709551616 bytes"),
    "record too long": (raw(b"pax", b"x", size=b"00000000012\0", data=b"99999 a=b\n"), "tar: broken pax record"),
    "record of no length": (raw(b"pax", b"x", size=b"00000000012\0", data=b"0 a=bcdef\n"), "tar: broken pax record"),
    "header alone": (pax(path="x"), "tar: ends after a header that describes the next one"),
    "device number": (raw(kind=b"3", device=(b"7777777\0", b"0000000\0")), "'new': no device has the number 2097151:0"),
    "name too long": (pax(path="a/" * 3000) + raw(), "longer than 4095 bytes"),
    "unknown type": (raw(kind=b"Z"), "tar: 'new': unknown type 'Z'"),
    "link to nothing": (raw(kind=b"2"), "'new': a symbolic link to nothing"),
    "hard link to itself as a folder": (raw(kind=b"1", link=b"."), "'new': a hard link to a folder"),
    "leads out": (raw(b"a/../../b"), "'..' may not lead out"),
    "bomb of a sparse map": (pax(**{"GNU.sparse.map": "0,-5", "GNU.sparse.size": "5"}) + raw(), "GNU.sparse.map is no number"),
    "damaged gzip": (b"\x1f\x8b\x08" + bytes(600), "gzip: "),
}


@pytest.mark.parametrize(("data", "error"), BROKEN.values(), ids=BROKEN)
def test_broken_tar_is_one_line_and_changes_nothing(place, data, error):
    container_id = place.create("true")
    packed = io.BytesIO((b"" if data[:1] in (b"\x1f", b"h") else FIRST) + data)
    with pytest.raises(BadRequest, match=f"^copy to /tmp: .*{error}") as found:
        place.engine.archive_in(container_id, "/tmp", packed)
    assert "\n" not in str(found.value)
    with pytest.raises(NotFound):
        place.engine.path_stat(container_id, "/tmp/first")


HANDLED = {
    "mtime before all": pax(mtime="-9223372036854775808"),
    "mtime after all": pax(mtime="9" * 29),
    "mtime with a fraction": pax(mtime="1.99999999999999999999"),
    "attribute of overlayfs": pax(**{"SCHILY.xattr.trusted.overlay.opaque": "y"}),
    "unknown record": pax(comment="x", hello="y"),
}


@pytest.mark.parametrize("before", HANDLED.values(), ids=HANDLED)
def test_odd_tar_is_unpacked(place, before):
    container_id = place.create("true")
    place.engine.archive_in(container_id, "/tmp", io.BytesIO(before + raw(kind=b"5")))
    assert place.engine.path_stat(container_id, "/tmp/new")["name"] == "new"
    assert "trusted.overlay.opaque" not in os.listxattr(f"{place.get(container_id).folder}/upper/tmp/new")


def test_packed_tar_is_unpacked(place):
    container_id = place.create("true")
    place.engine.archive_in(container_id, "/tmp", io.BytesIO(gzip.compress(raw() + bytes(1024))))
    assert place.engine.path_stat(container_id, "/tmp/new")["size"] == 0


# --- a container that exchanges what is being made


class Exchanging(io.BytesIO):
    """A tar that does something when what follows its first header is read."""

    def __init__(self, data, change):
        super().__init__(data)
        self.change = change

    def read(self, count=-1):
        if self.tell() == 512:
            self.change()
        return super().read(min(count, 512))


@pytest.mark.parametrize("kind", [b"0", b"5"], ids=["file", "folder"])
def test_what_is_put_in_the_place_of_a_new_file_is_given_nothing(tmp_path, kind):
    (tmp_path / "victim").mkdir(0o700) if kind == b"5" else (tmp_path / "victim").touch(0o600)
    (tmp_path / "into").mkdir()

    def exchange():
        if (tmp_path / "into" / "new").exists() and (tmp_path / "victim").exists():
            (tmp_path / "into" / "new").rename(tmp_path / "into" / "away")
            (tmp_path / "victim").rename(tmp_path / "into" / "new")

    header = raw(kind=kind, mode=b"0006777\0", uid=b"0000100\0", size=b"00000001000\0" if kind == b"0" else bytes(12))
    folder = os.open(tmp_path / "into", os.O_PATH)
    try:
        merge(Exchanging(header + (bytes(512) if kind == b"0" else b"") + raw(b"then"), exchange), folder, "copy")
    finally:
        os.close(folder)
    found = (tmp_path / "into" / "new").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700 if kind == b"5" else 0o600, 0)


# --- a stopped container's bind mounts


def test_copy_sees_the_bind_mounts_of_a_stopped_container(place, tmp_path):
    source = tmp_path / "volume"
    source.mkdir()
    (source / "there").write_text("1")
    container_id = place.create("true", Binds=[f"{source}:/data/deep", f"{source / 'there'}:/file"])
    place.engine.copy_out(container_id, "/data/deep/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "1"
    (tmp_path / "new").write_text("2")
    place.engine.copy_in(container_id, str(tmp_path / "new"), "/data/deep/new")
    assert (source / "new").read_text() == "2"
    assert str(place.get(container_id).rootfs) not in pathlib.Path("/proc/self/mountinfo").read_text()


def test_copy_into_a_read_only_bind_mount_is_refused(place, tmp_path):
    source = tmp_path / "volume"
    source.mkdir()
    (tmp_path / "new").write_text("2")
    container_id = place.create("true", Binds=[f"{source}:/data:ro"])
    with pytest.raises(MiniDockerError, match="Read-only file system"):
        place.engine.copy_in(container_id, str(tmp_path / "new"), "/data/new")
    assert list(source.iterdir()) == []


def test_link_below_a_bind_mount_leads_into_the_container(place, tmp_path):
    source = tmp_path / "volume"
    source.mkdir()
    (source / "link").symlink_to("/etc/hostname")
    (tmp_path / "secret").write_text("host's")
    (source / "out").symlink_to(tmp_path / "secret")
    container_id = place.create("true", Binds=[f"{source}:/data"], Hostname="inside")
    with pytest.raises(NotFound):
        place.engine.copy_out(container_id, "/data/out", str(tmp_path / "x"), follow_links=True)


def test_what_copy_does_not_find_is_told_with_its_container(place, tmp_path):
    container_id = place.create("true", name="web")
    with pytest.raises(NotFound, match="^Could not find the file /nosuch in container web$"):
        place.engine.copy_out("web", "/nosuch", str(tmp_path))
    with pytest.raises(BadRequest, match="the path in the container is empty"):
        place.engine.copy_out(container_id, "", str(tmp_path))


def test_slash_behind_a_file_of_the_host_is_refused(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="ENOTDIR"):
        place.engine.copy_in(place.create("true"), f"{tmp_path}/file/", "/x")


def test_file_that_tells_no_size_is_copied_whole(place, tmp_path):
    container_id = place.up("sh", "-c", "echo ready; exec sleep 1000")
    place.until(lambda: place.log(container_id))  # runc's start does not wait for the program
    place.engine.copy_out(container_id, "/proc/1/environ", str(tmp_path / "environ"))
    assert b"PATH=/bin\0" in (tmp_path / "environ").read_bytes()


def test_link_of_procfs_that_leads_nowhere_is_one_line(place, tmp_path):
    container_id = place.up("sleep", "1000")
    with pytest.raises(MiniDockerError, match=r"^/proc/self: No such file or directory \(ENOENT\)$"):
        place.engine.copy_out(container_id, "/proc/self", str(tmp_path / "self"))


def test_file_that_waits_for_more_is_copied_as_it_is_now():
    """/proc/kmsg is one; here a pipe stands for it."""
    folder = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    opened = open_regular(folder, "stat", RESOLVE_BENEATH)
    reader, writer = os.pipe()
    try:
        assert not os.get_blocking(opened)
        os.set_blocking(reader, os.get_blocking(opened))
        os.write(writer, b"now")
        assert pack._read(reader) == b"now"
    finally:
        for fd in (folder, opened, reader, writer):
            os.close(fd)
