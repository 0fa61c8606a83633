"""The one truth: records of containers, images, layers and events, in SQLite (WAL).

Content and layers are files beside it (paths.py): a file without a record is garbage, a record without its file is damage; `system check` looks for both.
Every change is one transaction (`change`), so that a kill at any moment leaves the state before or after.  Names of statuses and of
events are docker's.  Source: sqlite.org/wal.html, sqlite.org/lang_transaction.html.
"""

import contextlib
import fcntl
import json
import os
import _sqlite3 as sqlite3  # without dbapi2, whose dates and adapters cost 2 ms and serve nothing here
import time

from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.paths import close_to_others

VERSION = 1
BUSY_S = 60

# Times are nanoseconds since 1970; JSON columns hold the Engine API's shapes.
SCHEMA = """
create table containers (
    id text primary key,                      -- 64 hex digits
    name text not null unique,                -- without docker's leading slash
    created_ns integer not null,
    image text not null,                      -- as the user asked for it
    image_id text not null,                   -- sha256:HEX of the image's config, "" without an image
    body text not null,                       -- the create request, image defaults merged in (Engine API ContainerCreate)
    chain text not null,                      -- the chain id of the topmost layer, "" without layers
    status text not null,                     -- created running paused restarting exited removing dead
    pid integer not null default 0,
    pid_started integer not null default 0,   -- field 22 of /proc/PID/stat: the pid is ours only with it
    boot text not null default '',            -- /proc/sys/kernel/random/boot_id of that pid
    monitor integer not null default 0,
    monitor_started integer not null default 0,
    exit_code integer not null default 0,
    error text not null default '',
    oom_killed integer not null default 0,
    started_ns integer not null default 0,
    finished_ns integer not null default 0,
    restarts integer not null default 0,
    stopped_by_user integer not null default 0,
    health text not null default ''           -- JSON of State.Health, or ""
) strict;
create table images (
    id text primary key,                      -- sha256:HEX of the config blob
    manifest text not null,                   -- digest of the manifest blob
    created_ns integer not null,              -- when this host got it
    size integer not null,                    -- bytes of the unpacked layers
    config text not null                      -- the image config, JSON
) strict;
create table tags (
    reference text primary key,               -- normalized: docker.io/library/busybox:latest, or with @sha256:HEX
    image_id text not null references images (id)
) strict;
create table layers (
    chain text primary key,                   -- sha256:HEX chain id
    parent text not null,                     -- chain id below, or ""
    diff text not null,                       -- sha256:HEX of the uncompressed tar
    size integer not null                     -- bytes unpacked
) strict;
create table image_layers (
    image_id text not null references images (id),
    position integer not null,                -- 0 is the lowest
    chain text not null references layers (chain),
    blob text not null,                       -- digest of the (compressed) layer blob
    primary key (image_id, position)
) strict;
create table events (
    number integer primary key autoincrement,
    time_ns integer not null,
    type text not null,                       -- container image
    action text not null,                     -- create start die ... as docker's
    actor text not null,                      -- id
    attributes text not null                  -- JSON object of strings
) strict;
create index events_time on events (time_ns);
"""


class _Connection(sqlite3.Connection):
    """SQLite's text is UTF-8, and what users and images say need not be: what can't be written as such is spelled out, and so is found by nothing."""

    def execute(self, sql, parameters=()):
        """As sqlite3's."""
        try:
            return super().execute(sql, parameters)
        except UnicodeEncodeError:
            return super().execute(sql, [_as_utf8(value) for value in parameters])


def _as_utf8(value):
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


class Store:
    """An open store.  One a thread: sqlite3 connections are not shared."""

    def __init__(self, roots):
        self.roots = roots
        roots.make()
        _close_files(roots.database)
        try:
            self.db = sqlite3.connect(roots.database, timeout=BUSY_S, isolation_level=None, factory=_Connection)
            self.db.row_factory = sqlite3.Row
            self._prepare()
        except sqlite3.Error as error:
            raise MiniDockerError(f"store {roots.database}: {error}") from error

    def _prepare(self):
        self.db.execute("pragma foreign_keys = on")
        self.db.execute("pragma synchronous = normal")  # with WAL no crash of a process loses or tears anything; a power cut may lose the last changes
        version = self.db.execute("pragma user_version").fetchone()[0]
        if version == VERSION:
            return
        if version > VERSION:
            raise MiniDockerError(f"store {self.roots.database}: written by a newer MiniDocker (version {version}, known: {VERSION})")
        with alone(self.roots.data):  # SQLite waits for nobody when it turns to WAL
            self.db.execute("pragma journal_mode = wal")
            with self.change() as db:
                if db.execute("pragma user_version").fetchone()[0] == 0:
                    for statement in SCHEMA.split(";\n"):
                        db.execute(statement)
                    db.execute(f"pragma user_version = {VERSION}")
        from pyoci.minidocker.spare import make  # once a root

        make(self.roots)

    @contextlib.contextmanager
    def change(self):
        """One transaction that writes.  Yields the connection; rolled back on an exception.  Nests as one."""
        if self.db.in_transaction:
            yield self.db
            return
        try:
            self.db.execute("begin immediate")
            try:
                yield self.db
            except BaseException:
                self.db.execute("rollback")
                raise
            self.db.execute("commit")
        except sqlite3.Error as error:
            raise MiniDockerError(f"store {self.roots.database}: {error}") from error

    def add_event(self, kind, action, actor, attributes=None, time_ns=0):
        """Note what happened, in the transaction at hand.  kind: `container`, `image`; attributes: strings by name."""
        with self.change() as db:
            row = (time_ns or time.time_ns(), kind, action, actor, json.dumps(attributes or {}))
            db.execute("insert into events (time_ns, type, action, actor, attributes) values (?, ?, ?, ?, ?)", row)

    def close(self):
        """Close the connection."""
        self.db.close()


def _close_files(database):
    """See that the database and its files are the owner's alone, from before there is anything in them.

    SQLite makes its further files as the first is.  None is opened here that somebody may have open: closing it would let go of all his locks (fcntl(2)).
    """
    try:
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        for path in (f"{database}-shm", f"{database}-wal", database):
            with contextlib.suppress(FileNotFoundError):
                close_to_others(path, 0o600)
    except OSError as error:
        raise MiniDockerError(f"store {database}: {error.strerror}") from error


@contextlib.contextmanager
def alone(folder):
    """One at a time among all who come with the same folder, in a with block.  flock(2)"""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def open_store(roots=None):
    """The store of these roots (paths.Roots), made if it is not there yet.  Raises MiniDockerError."""
    from pyoci.minidocker.paths import Roots

    return Store(roots or Roots())


