"""What other users of the host can see of MiniDocker's: nothing that is anybody's secret."""

import contextlib
import os
import pathlib
import sqlite3
import stat
import subprocess
import sys
import tempfile

import pytest
from minidocker_place import TIMEOUT_S, used_place

from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root")

NOBODY = 65534


@pytest.fixture
def open_folder():
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def below(*folders):
    """Every path below, and the folders."""
    return [path for folder in folders for path in [folder, *(f"{top}/{name}" for top, dirs, files in os.walk(folder) for name in dirs + files)]]


def open_to_others(paths):
    """Those that somebody who owns nothing can read, list, enter, write or connect to, but the folders above that he may only pass through."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        found = [path for path in paths if any(os.access(path, how, effective_ids=True) for how in (os.R_OK, os.W_OK, os.X_OK))]
        with os.fdopen(writer, "w") as file:
            file.write("\n".join(found))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        found = file.read().split("\n")
    os.waitpid(child, 0)
    return [path for path in found if path]


def use(place):
    """What people do, with a secret in each place where there may be one."""
    check = {"Test": ["CMD", "true"], "Interval": 100_000_000}
    place.up("sh", "-c", "echo secret; echo secret >/file; exec sleep 1000", name="web", Env=["SECRET=1"], Healthcheck=check, IpcMode="shareable")
    place.up("sh", name="term", Tty=True, OpenStdin=True)
    place.create("true", name="made", Env=["SECRET=1"])
    code = "    status = engine.exec('web', {'Cmd': ['sleep', '900'], 'Env': ['SECRET=1']}, detach=True)\n    engine.commit('web', 'committed', pause=False)\n"
    done = place.command(code)
    assert done.returncode == 0, done.stderr
    place.until(lambda: place.engine.inspect("web")["State"]["Health"]["Log"])


def test_other_users_see_nothing(own_mounts, open_folder):
    with used_place(open_folder) as place:
        use(place)
        paths = below(place.roots.data, place.roots.run)
        assert len(paths) > 50 and any(stat.S_ISSOCK(os.lstat(path).st_mode) for path in paths)
        assert open_to_others(paths) == []


def test_other_users_see_nothing_below_open_roots(own_mounts, open_folder):
    for name in ("data", "run"):
        (open_folder / name).mkdir(mode=0o755)
    with used_place(open_folder) as place:
        use(place)
        assert open_to_others(below(place.roots.data, place.roots.run)) == [place.roots.data, place.roots.run]


def test_what_was_made_open_is_closed(open_folder):
    roots = Roots(open_folder / "data", open_folder / "run", {})
    first = Store(roots)
    first.add_event("container", "create", "x")
    for path in set(below(roots.data, roots.run)) - {f"{roots.data}/spare"}:  # of zeros, and never open in any version
        os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)
    assert len(open_to_others(below(roots.data, roots.run))) > 8
    Store(roots).close()
    assert open_to_others(below(roots.data, roots.run)) == [roots.data, roots.run]
    first.close()


@pytest.mark.parametrize("mask", [0, 0o22, 0o777])
def test_database_is_its_owner_s_from_the_first_moment(open_folder, mask):
    made = []
    roots = Roots(open_folder / "data", open_folder / "run", {})
    sys.addaudithook(lambda event, words: made.append(os.stat(roots.database).st_mode) if event == "sqlite3.connect" and roots.database in map(str, words) else None)
    before = os.umask(mask)
    try:
        store = Store(roots)
        store.add_event("container", "create", "x")
        modes = {name: stat.S_IMODE(os.stat(f"{roots.data}/{name}").st_mode) for name in os.listdir(roots.data) if name.startswith("store.db")}
        store.close()
    finally:
        os.umask(before)
    assert [stat.S_IMODE(mode) & 0o77 for mode in made] == [0]
    assert sorted(modes) == ["store.db", "store.db-shm", "store.db-wal"] and not any(mode & 0o77 for mode in modes.values())


def test_opening_a_store_again_lets_go_of_no_lock(open_folder):
    roots = Roots(open_folder / "data", open_folder / "run", {})
    store = Store(roots)
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('begin immediate')"
    with store.change() as db:
        db.execute("delete from events")
        os.chmod(roots.database, 0o644)
        Store(roots).close()
        done = subprocess.run([sys.executable, "-c", code, roots.database], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    store.close()
    assert "database is locked" in done.stderr
    with contextlib.closing(sqlite3.connect(roots.database)) as found:
        assert found.execute("pragma integrity_check").fetchone() == ("ok",)


def test_saved_image_is_its_owner_s(own_mounts, open_folder):
    with used_place(open_folder) as place:
        environ = {"PATH": "/bin", "MINIDOCKER_ROOT": place.roots.data, "MINIDOCKER_RUN": place.roots.run}
        subprocess.run([sys.executable, "-m", "pyoci.minidocker", "save", "-o", open_folder / "saved", "busybox"], env=environ, timeout=TIMEOUT_S, check=True)
        assert stat.S_IMODE((open_folder / "saved").stat().st_mode) == 0o600
