"""Containers as records: found by name or id, made, changed, and their status derived from facts.

A row says `running` with a pid, its start time and the boot; `status_of` believes it only while that very process is there.  Locks are files in the
run root: one a container, held for every change of its life.  Source: Engine API v1.44, ContainerCreate and ContainerState; flock(2).
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import time

from pyoci.kernel.proc import is_alive, start_time
from pyoci.kernel.tree import remove_tree
from pyoci.minidocker.errors import BadRequest, Conflict, MiniDockerError, NotFound, nearest

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
ALIVE = ("running", "paused")
REMOVE_ATTEMPTS = 20  # of a folder that others put something into
_LEFT = """able agile amber bold brave bright brisk calm clear clever cosy crisp curious daring deft eager early fair fancy fine fleet fond frank
free fresh gentle glad golden grand green happy hardy honest humble jolly keen kind lively loyal lucky mellow merry mighty modest neat noble patient
plain polite proud quick quiet rapid ready royal serene sharp silent simple sleek smart snug solid spry steady stout sunny swift tidy tough true vivid
warm wise witty young zealous""".split()  # noqa: SIM905
# Rivers, which nobody owns.
_RIGHT = """aare adige adour aire allier amazon amur avon bann bosna cher clyde colne congo danube dee don douro drava drina dvina ebro eider elbe ems
erne exe forth ganges garonne gauja gota havel hebrus inn isar isere jordan kama kemi lagan lech lena liffey limmat loire lot main marne mersey meuse
minho moselle mures neckar neisse neva niger nile oder oka ouse po prut rhine rhone ruhr saale saar sava sazava seine severn shannon somme spey spree
struma tagus tay tees thames tiber tisza torne trent tyne ural vaal vardar volga warta weser wye yukon""".split()  # noqa: SIM905


def boot_id():
    """The name of this boot: a pid of another boot is nobody."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def new_id():
    """64 hex digits."""
    return os.urandom(32).hex()


class Container:
    """A row of the store.  `body` is the create request, image defaults merged in; every column is an attribute.

    folder, live   its lasting folder, and that of its sockets, lock and exit record
    """

    __slots__ = ("body", "folder", "live", "row", "store")

    def __init__(self, store, row):
        self.store = store
        self.row = dict(row)
        self.body = json.loads(row["body"])
        self.folder = store.roots.container(row["id"])
        self.live = store.roots.live(row["id"])

    def __getattr__(self, name):
        try:
            return self.row[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def host(self):
        """The HostConfig."""
        return self.body.get("HostConfig") or {}

    @property
    def short_id(self):
        """Twelve digits."""
        return self.row["id"][:12]

    @property
    def rootfs(self):
        """Where the container's file system is mounted while it runs."""
        return f"{self.folder}/rootfs"

    def is_process_alive(self):
        """Whether the process of the record is there."""
        return self.pid > 0 and self.boot == boot_id() and is_alive(self.pid, self.pid_started)

    def is_monitor_alive(self):
        """Whether its monitor is."""
        return self.monitor > 0 and self.boot == boot_id() and is_alive(self.monitor, self.monitor_started)

    def update(self, db, **columns):
        """Change columns, in the transaction at hand."""
        words = ", ".join(f"{name} = ?" for name in columns)
        db.execute(f"update containers set {words} where id = ?", (*columns.values(), self.id))
        self.row.update(columns)

    def event(self, action, **attributes):
        """Note an event with what docker tells of every container: image, name, labels."""
        told = {"image": self.image, "name": self.name, **(self.body.get("Labels") or {}), **attributes}
        self.store.add_event("container", action, self.id, told)


    def event_alone(self, action):
        """The same in a transaction of its own."""
        with self.store.change():
            self.event(action)


def status_of(container):
    """The status as it is now: what the record says, unless its process is gone (`exited`) or its boot over."""
    if container.status in ALIVE and not container.is_process_alive():
        return "restarting" if _is_restarted(container) else "exited"
    if container.status == "restarting" and not container.is_monitor_alive():
        return "exited"
    return container.status


def _is_restarted(container):
    """Whether one that has just ended, and is not settled yet, will be restarted by its policy; of one whose exit nobody has noted yet: whether it may be."""
    if (container.host.get("RestartPolicy") or {}).get("Name", "no") in ("", "no") or container.stopped_by_user or not container.is_monitor_alive():
        return False
    from pyoci.minidocker.settle import read_exit, wants_restart

    noted = read_exit(container)
    return noted is None or wants_restart(container, noted[0])


def find(store, ref):
    """The Container of a full id, a name or a unique prefix.  Raises NotFound, BadRequest."""
    word = ref.removeprefix("/")
    row = store.db.execute("select * from containers where id = ? or name = ?", (word, word)).fetchone()
    if row is None and re.fullmatch("[0-9a-f]{1,63}", word):
        rows = store.db.execute("select * from containers where id glob ? limit 2", (f"{word}*",)).fetchall()
        if len(rows) > 1:
            raise BadRequest(f"multiple IDs found with provided prefix: {word}")
        row = rows[0] if rows else None
    if row is None:
        raise NotFound(f"No such container: {ref}", hint=nearest(ref, (row["name"] for row in store.db.execute("select name from containers"))))
    return Container(store, row)


def get(store, container_id):
    """The Container of a full id, as it is recorded now.  Raises NotFound: it may have been removed meanwhile."""
    row = store.db.execute("select * from containers where id = ?", (container_id,)).fetchone()
    if row is None:
        raise NotFound(f"No such container: {container_id}")
    return Container(store, row)


def all_containers(store):
    """Every Container, the newest first."""
    return [Container(store, row) for row in store.db.execute("select * from containers order by created_ns desc, id")]


def check_name(name):
    """The name without docker's slash.  Raises BadRequest."""
    word = name.removeprefix("/")
    if not NAME.fullmatch(word):
        raise BadRequest(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return word


def refuse_taken_name(db, name):
    """Raise Conflict where another container has the name."""
    row = db.execute("select id from containers where name = ?", (name,)).fetchone()
    if row:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{row["id"]}"',
            hint="remove or rename that container, or choose another name",
        )


def free_name(db):
    """A name that no container has."""
    while True:
        left, right, digit = os.urandom(2), os.urandom(2), os.urandom(1)[0] % 10
        name = f"{_LEFT[int.from_bytes(left) % len(_LEFT)]}_{_RIGHT[int.from_bytes(right) % len(_RIGHT)]}"
        for word in (name, f"{name}{digit}"):
            if db.execute("select 1 from containers where name = ?", (word,)).fetchone() is None:
                return word


def insert(store, container_id, name, image, image_id, chain, body):
    """Add the row of a new container, with its event.  Returns the Container.  Raises Conflict, and NotFound for an image that went meanwhile."""
    with store.change() as db:
        if name:
            refuse_taken_name(db, name)
        if image_id and not db.execute("select 1 from images where id = ?", (image_id,)).fetchone():
            raise NotFound(f"No such image: {image}")
        row = (container_id, name or free_name(db), time.time_ns(), image, image_id, json.dumps(body), chain, "created")
        db.execute("insert into containers (id, name, created_ns, image, image_id, body, chain, status) values (?, ?, ?, ?, ?, ?, ?, ?)", row)
        container = get(store, container_id)
        container.event("create")
    return container


def delete(container):
    """Remove the row and the folders, in this order: a folder without a row is garbage that check finds."""
    with container.store.change() as db:
        db.execute("delete from containers where id = ?", (container.id,))
        container.event("destroy")
    remove_folders(container.store.roots, container.id)


def remove_folders(roots, container_id):
    """Remove both folders of a container, as far as they exist.  Raises MiniDockerError for what can't be removed."""
    for folder in (roots.container(container_id), roots.live(container_id)):
        try:
            _remove_folder(folder)
        except OSError as error:
            raise MiniDockerError(f"remove {folder}: {error.strerror}") from error


def _remove_folder(folder):
    """Whoever comes for the lock while the folder goes puts a new one in; each of them finds the container gone."""
    for _ in range(REMOVE_ATTEMPTS - 1):
        try:
            return remove_tree(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    remove_tree(folder)


@contextlib.contextmanager
def locked(store, container_id, *, wait=True):
    """Hold the container's lock; yields the Container as it is recorded then.  Without `wait`, None where somebody else holds it.

    Raises NotFound where it is gone.  The file may be removed with its folder while one waits: then the lock was of nothing.
    """
    live = store.roots.live(container_id)
    fd = _lock(live, wait)
    if fd < 0:
        yield None
        return
    try:
        yield get(store, container_id)
    except NotFound:
        with contextlib.suppress(OSError):
            if store.db.execute("select 1 from containers where id = ?", (container_id,)).fetchone() is None:
                remove_tree(live)  # made only for the lock of a container that is gone
        raise
    finally:
        os.close(fd)


def _lock(live, wait):
    path = f"{live}/lock"
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            os.makedirs(live, 0o700, exist_ok=True)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(fd).st_ino == os.stat(path).st_ino:
                return fd
        except BlockingIOError:
            os.close(fd)
            return -1
        except FileNotFoundError:
            pass
        os.close(fd)


def hold_start(roots, container_id):
    """A descriptor that says, as long as it is open, that its creator is about to start it: nobody prunes it meanwhile."""
    live = roots.live(container_id)
    os.makedirs(live, 0o700, exist_ok=True)
    fd = os.open(f"{live}/starting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def is_about_to_start(container):
    """Whether somebody holds it so."""
    try:
        fd = os.open(f"{container.live}/starting", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def identity(pid):
    """(start time, boot) that make a pid unmistakable."""
    return start_time(pid), boot_id()
