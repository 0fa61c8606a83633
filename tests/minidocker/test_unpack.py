"""A layer's tar into a folder: the tree that comes of it, whiteouts, entries in odd order, and what is refused."""

import io
import os
import stat

import pytest
from tars import archive, device, fifo, file, folder, hardlink, symlink, tree

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images.rootless import is_opaque
from pyoci.minidocker.images.unpack import Limits, unpack

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "layer"
    path.mkdir()
    return path


def put(top, *members, limits=None):
    """Unpack an archive of these members."""
    return unpack(io.BytesIO(archive(*members)), top, limits)


def is_whiteout(path):
    found = os.lstat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


# --- what comes of it


def test_entries_become_files_with_owner_mode_and_time(top):
    put(top, folder("d", mode=0o2750, uid=5, gid=6, mtime=7), file("d/f", b"data", mode=0o4755, uid=1, gid=2, mtime=3))
    assert tree(top)[b"d"] == ("0o42750", 5, 6, 7_000_000_000, 0)
    assert tree(top)[b"d/f"] == ("0o104755", 1, 2, 3_000_000_000, b"data")


def test_set_group_id_of_a_folder_is_not_inherited(top):
    put(top, folder("d", mode=0o2777, gid=6), file("d/f"), folder("d/e"))
    assert os.stat(top / "d/f").st_gid == 0
    assert stat.S_IMODE(os.stat(top / "d/e").st_mode) == 0o755


def test_umask_does_not_show(top):
    old = os.umask(0o077)
    try:
        put(top, folder("d", mode=0o777), file("d/f", mode=0o666), fifo("d/p", mode=0o666))
    finally:
        os.umask(old)
    assert [stat.S_IMODE(os.stat(top / name).st_mode) for name in ("d", "d/f", "d/p")] == [0o777, 0o666, 0o666]


@pytest.mark.parametrize("mtime", [-1.5, -(1 << 31), 0, 1.123456789, 1 << 33])
def test_times_are_kept_to_the_nanosecond(top, mtime):
    put(top, file("f", mtime=0, pax_headers={"mtime": str(mtime)}))
    assert os.stat(top / "f").st_mtime_ns == int(mtime * 10**9) if mtime != 1.123456789 else 1_123_456_789


def test_a_time_that_no_file_system_has_is_drawn_to_the_nearest(top):
    put(top, file("f", mtime=0, pax_headers={"mtime": "9" * 25}), symlink("l", "f", mtime=0, pax_headers={"mtime": "-" + "9" * 25}))
    assert os.stat(top / "f").st_mtime_ns > 0 > os.lstat(top / "l").st_mtime_ns


def test_links_devices_and_fifos(top):
    put(top, file("a", b"x"), hardlink("b", "a"), symlink("c", "/etc/a", uid=4), device("n", 1, 3, mode=0o666, gid=5), fifo("p"))
    assert os.stat(top / "a").st_ino == os.stat(top / "b").st_ino
    assert (os.readlink(top / "c"), os.lstat(top / "c").st_uid) == ("/etc/a", 4)
    assert (os.stat(top / "n").st_rdev, os.stat(top / "n").st_gid, stat.S_IMODE(os.stat(top / "n").st_mode)) == (os.makedev(1, 3), 5, 0o666)
    assert stat.S_ISFIFO(os.stat(top / "p").st_mode)


def test_extended_attributes_are_set_but_those_of_overlayfs(top):
    put(
        top,
        file("f", pax_headers={"SCHILY.xattr.user.a": "1", "LIBARCHIVE.xattr.user.%62": "Mg", "SCHILY.xattr.trusted.overlay.redirect": "/x"}),
        folder("d", pax_headers={"SCHILY.xattr.user.c": "3", "SCHILY.xattr.trusted.overlay.opaque": "y"}),
    )
    assert {name: os.getxattr(top / "f", name) for name in os.listxattr(top / "f")} == {"user.a": b"1", "user.b": b"2"}
    assert {name: os.getxattr(top / "d", name) for name in os.listxattr(top / "d")} == {"user.c": b"3"}


def test_what_an_attribute_is_lost_to_is_told(top):
    facts = put(top, symlink("l", "x", pax_headers={"SCHILY.xattr.user.a": "1"}))
    assert facts.lost == [(b"l", "user.a")]


def test_absolute_names_count_from_the_layer(top):
    put(top, file("/etc/a", b"1"), file("./b", b"2"), hardlink("c", "/etc/a"))
    assert sorted(tree(top)) == [b".", b"b", b"c", b"etc", b"etc/a"]


def test_global_headers_hold_for_all_entries(top):
    plain = archive(file("f"), file("g", pax_headers={"mtime": "9.0"}), pax_headers={"mtime": "8"})
    unpack(io.BytesIO(plain), top)
    assert [os.stat(top / name).st_mtime for name in "fg"] == [8, 9]


def test_names_may_be_any_bytes(top):
    name = b"\xff\xfe \n" + b"n" * 200
    put(top, file(os.fsdecode(name), b"1"))
    assert (os.fsencode(top) + b"/" + name) and os.listdir(os.fsencode(top)) == [name]


def test_long_paths_of_short_names(top):
    path = "/".join(["d" * 200] * 19)
    put(top, file(path + "/f", b"1"))
    assert len(path) > 3800


# --- odd order


def test_child_before_its_parent(top):
    facts = put(top, file("d/e/f", b"1"), folder("d", mode=0o700, uid=3, mtime=4))
    assert tree(top)[b"d"][:4] == ("0o40700", 3, 0, 4_000_000_000)
    assert facts.implied == [b"", b"d/e"]


def test_the_last_of_two_entries_wins(top):
    facts = put(top, file("f", b"first", mtime=1), file("f", b"2", mtime=2), folder("x", mtime=1), folder("x", mtime=2, mode=0o700))
    assert (tree(top)[b"f"][3:], tree(top)[b"x"][3], facts.size) == ((2_000_000_000, b"2"), 2_000_000_000, 1)


@pytest.mark.parametrize("other", [file("x", b"1"), symlink("x", "/y"), fifo("x"), device("x", 1, 3), hardlink("x", "z")], ids=lambda one: one[0].type.decode())
def test_a_folder_replaced_and_back(top, other):
    facts = put(top, file("z"), folder("x"), file("x/a", b"123"), folder("x/sub", uid=9), other, folder("x", mode=0o711), file("x/b", b"4"))
    assert sorted(tree(top)) == [b".", b"x", b"x/b", b"z"]
    assert tree(top)[b"x"][0] == "0o40711"
    assert facts.size == 1


def test_a_folder_again_keeps_what_is_in_it(top):
    put(top, folder("x"), file("x/a"), folder("x", mode=0o700))
    assert sorted(tree(top)) == [b".", b"x", b"x/a"]


def test_a_file_below_a_link_within_the_layer_goes_where_it_leads(top):
    put(top, folder("usr/lib"), symlink("lib", "usr/lib"), file("lib/a", b"1"), symlink("abs", "/usr"), file("abs/lib/b", b"2"))
    assert {b"usr/lib/a", b"usr/lib/b"} <= set(tree(top))


# --- whiteouts


def test_whiteout_becomes_a_device(top):
    put(top, file("d/.wh.gone"))
    assert is_whiteout(top / "d/gone")


@pytest.mark.parametrize("whiteout_first", [True, False])
def test_what_stands_beside_its_own_whiteout_stays(top, whiteout_first):
    members = [file(".wh.f"), file("f", b"1")]
    put(top, *(members if whiteout_first else reversed(members)))
    assert (top / "f").read_bytes() == b"1"


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_a_folder_beside_its_own_whiteout_hides_the_one_below(top, order):
    members = [file(".wh.d"), folder("d"), file("d/f")]
    put(top, *(members[number] for number in order))
    assert is_opaque(top / "d")
    assert (top / "d/f").exists()


@pytest.mark.parametrize("opaque_first", [True, False])
def test_opaque_marks_the_folder_and_keeps_this_layers_files(top, opaque_first):
    members = [file("d/.wh..wh..opq"), file("d/f")]
    put(top, *(members if opaque_first else reversed(members)))
    assert is_opaque(top / "d")
    assert sorted(tree(top)) == [b".", b"d", b"d/f"]


def test_what_aufs_kept_for_itself_is_passed_over(top):
    put(top, folder(".wh..wh.orph"), file(".wh..wh.plnk/1.2", b"x"), file(".wh..wh.aufs"))
    assert sorted(tree(top)) == [b"."]


# --- refused

ESCAPES = {
    "dots": [file("../x")],
    "dots inside": [file("a/../../x")],
    "hard link out": [hardlink("x", "../../etc/passwd")],
    "hard link to what is below": [hardlink("x", "etc/passwd")],
    "hard link through a link": [symlink("d", "/etc"), hardlink("x", "d/passwd")],
    "hard link to a whiteout": [file(".wh.a"), hardlink("x", "a")],
    "hard link to a whiteout's name": [hardlink("x", ".wh.a")],
    "hard link to a folder": [folder("d"), hardlink("x", "d")],
    "absolute link": [symlink("d", "/etc"), file("d/x")],
    "relative link": [symlink("d", "../../etc"), file("d/x")],
    "link that climbs, then the root": [symlink("d", "../.."), file("d/x")],
    "link over a folder": [folder("d"), file("d/a"), symlink("d", "/tmp"), file("d/x")],
    "link to a link": [symlink("a", "/tmp"), symlink("b", "a"), file("b/x")],
    "link to itself": [symlink("a", "a"), file("a/x")],
    "link below proc": [symlink("a", "/proc/self/root"), file("a/x")],
    "file as folder": [file("a"), file("a/x")],
    "below a whiteout": [file(".wh.a/x")],
    "whiteout of dots": [file("d/.wh...")],
    "whiteout of nothing": [file("d/.wh.")],
    "whiteout of a whiteout": [file("d/.wh..wh.x")],
    "root as a file": [file("./")],
    "empty link": [symlink("a", "")],
    "broken capability": [file("a", pax_headers={"SCHILY.xattr.security.capability": "x"})],
    "long name": [file("a" * 256)],
    "long path": [file("/".join(["a" * 250] * 17))],
    "device number": [device("n", 1 << 12, 0)],
}


@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES.keys())
def test_hostile_entries_are_refused_and_write_nothing_outside(tmp_path, top, members):
    with pytest.raises(ImageProblem) as caught:
        put(top, *members)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["layer"]


def test_too_many_entries_are_refused(top):
    with pytest.raises(ImageProblem, match="more than 2 entries"):
        put(top, file("a"), file("b"), file("c"), limits=Limits(max_entries=2))


def test_too_many_bytes_are_refused_before_they_are_written(top):
    with pytest.raises(ImageProblem, match="more than 1000 bytes"):
        put(top, file("a", bytes(1001)), limits=Limits(max_bytes=1000))
    assert os.listdir(top) == []


def test_files_that_are_mostly_holes_are_limited_too(top):
    hole = {"pax_headers": {"GNU.sparse.size": str(1 << 20), "GNU.sparse.map": ""}}
    put(top, file("a", **hole), file("b", **hole))
    with pytest.raises(ImageProblem, match="^layer: its files have more than 2097151 bytes$"):
        put(top, file("c", **hole), file("d", **hole), limits=Limits(max_size=(2 << 20) - 1))


def test_size_counts_files_and_links_that_are_left(top):
    facts = put(top, folder("d"), file("d/a", b"12345"), symlink("d/l", "/"), hardlink("d/b", "d/a"), file("d"), file("e", b"123"), symlink("m", "e"), file("e", b"1"))
    assert facts.size == 2
