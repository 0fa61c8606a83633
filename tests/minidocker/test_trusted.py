"""Roots that somebody else could have filled are refused before anything in them is believed."""

import os
import pathlib
import re
import stat
import tempfile

import pytest

from pyoci.minidocker.cli import values
from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store
from pyoci.minidocker.trusted import check

pytestmark = pytest.mark.needs("root")

USER = 12345


@pytest.fixture
def folder():
    """A folder of root's in one that all may write to."""
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(os.path.realpath(name))


def made(path, uid=0, gid=0, mode=0o700):
    """A folder with that owner and mode."""
    path.mkdir(parents=True)
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


REFUSED = {
    "another's": (lambda at: made(at / "x", uid=USER), "{at}/x belongs to user 12345"),
    "others write": (lambda at: made(at / "x", mode=0o777), "others may write to {at}/x"),
    "others write, sticky": (lambda at: made(at / "x", mode=0o1777), "others may write to {at}/x"),
    "group writes": (lambda at: made(at / "x", gid=0, mode=0o770), "group 0 may write to {at}/x"),
    "in another's": (lambda at: made(made(at / "home", uid=USER, mode=0o755) / "x"), "{at}/home belongs to user 12345"),
    "not there, in another's": (lambda at: made(at / "home", uid=USER, mode=0o755) / "x", "{at}/home belongs to user 12345"),
    "in one where others write": (lambda at: made(made(at / "all", mode=0o777) / "x"), "others may write to {at}/all"),
    "in one where a group writes": (lambda at: made(made(at / "some", gid=USER, mode=0o775) / "x"), f"group {USER} may write to {{at}}/some"),
    "through a link of another's": (lambda at: linked(at / "link", made(at / "x"), uid=USER), "{at}/link belongs to user 12345"),
    "through a link into another's": (lambda at: linked(at / "link", made(made(at / "home", uid=USER) / "x")), "{at}/home belongs to user 12345"),
    "through two links": (lambda at: linked(at / "link", linked(made(at / "home", uid=USER) / "link", made(at / "x"))), "{at}/home belongs to user 12345"),
}
ALLOWED = {
    "own": lambda at: made(at / "x"),
    "that all may enter": lambda at: made(at / "x", mode=0o755),
    "not there": lambda at: at / "x" / "y",
    "in a sticky folder": lambda at: made(made(at / "all", mode=0o1777) / "x"),
    "through an own link": lambda at: linked(at / "link", made(at / "x")),
    "through an own relative link": lambda at: linked(at / "link", pathlib.Path("..") / at.name / made(at / "x").name),
}


def linked(path, target, uid=0):
    """A symbolic link."""
    path.symlink_to(target)
    os.lchown(path, uid, uid)
    return path


@pytest.mark.parametrize("kind", ["data", "run"])
@pytest.mark.parametrize("case", REFUSED)
def test_root_that_others_could_have_filled_is_refused(folder, case, kind):
    make, problem = REFUSED[case]
    path = make(folder)
    before = sorted(folder.rglob("*"))
    places = {"data": folder / "good", "run": folder / "good-run", kind: path}
    with pytest.raises(MiniDockerError, match=f"^{re.escape(f'{path} can{chr(39)}t be trusted: {problem.format(at=folder)}')}$") as caught:
        Store(Roots(places["data"], places["run"], {}))
    assert f"--{kind}-root" in caught.value.hint and "\n" not in str(caught.value)
    if kind == "data":
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("case", ALLOWED)
def test_root_of_one_s_own_is_taken(folder, case):
    path = ALLOWED[case](folder)
    Store(Roots(path, folder / "run", {})).close()
    assert (path / "store.db").exists()


@pytest.mark.parametrize("name", ["store.db", "containers", "blobs"])
def test_what_another_left_in_a_root_is_refused(folder, name):
    path = made(folder / "data")
    if name == "store.db":
        (path / name).touch()
        os.chown(path / name, USER, USER)
    else:
        made(path / name, uid=USER)
    with pytest.raises(MiniDockerError, match=f"^{path}/{name} can't be trusted: it belongs to user 12345$"):
        Store(Roots(path, folder / "run", {}))


def test_links_without_end_are_one_line(folder):
    linked(folder / "a", folder / "b")
    linked(folder / "b", folder / "a")
    with pytest.raises(MiniDockerError, match="Too many levels of symbolic links"):
        check(f"{folder}/a", "--data-root")


def test_file_in_the_place_of_a_root_is_one_line(folder):
    (folder / "x").touch()
    with pytest.raises(MiniDockerError, match="File exists|Not a directory"):
        Store(Roots(folder / "x", folder / "run", {}))
    assert stat.S_ISREG((folder / "x").stat().st_mode)


def test_relative_root_in_a_folder_that_is_gone_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for call, word in ((lambda: Roots("data", "/run", {}), "data"), (lambda: values.volume(".:/x"), ".")):
        with pytest.raises(MiniDockerError, match=f"^{re.escape(word)}: the current folder: No such file or directory$"):
            call()


def test_folders_above_a_new_root_are_nobody_else_s_to_write_to(tmp_path):
    before = os.umask(0)
    try:
        Roots(str(tmp_path / "a" / "b" / "data"), str(tmp_path / "run"), {}).make()
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b", "a/b/data")] == [0o755, 0o755, 0o700]
