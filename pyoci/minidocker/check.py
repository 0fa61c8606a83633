"""Whether records, folders, mounts and processes agree, after kills, full disks and reboots; and what makes them agree again.

    a record says it runs, but its process is gone          settle it
    it runs, but its monitor is gone                        kill and settle it
    a record of a --rm container that was being removed     remove it
    a folder without a record, of a killed create or rm     remove it
    a record without its folder                             told; `rm` removes it
    a mount or a runtime's state of what does not run       remove it
    a layer without its folder, blobs and layers of nobody  mended by images/check.py; a lost blob is told: pull its image again
    a changed file of a layer, a changed blob               found by a deep check: unpacked again, pull its image again

Every problem is one line.  Source: docker-system(1); proc_pid_mountinfo(5).
"""

import contextlib
import os
import re
import time

from pyoci.errors import PyociError
from pyoci.kernel.tree import remove_tree
from pyoci.minidocker import containers, prepare
from pyoci.minidocker.runtimes import open_runtime
from pyoci.minidocker.settle import refresh
from pyoci.minidocker.start import runtime_of

ID = re.compile("[0-9a-f]{64}")
YOUNG_S = 5  # a folder younger than this may be of a create at work


def check(store, heal=False, deep=False):
    """[problem], each a line; with `heal` what can be mended is, and the line says so.  deep: read every blob and every file of every layer."""
    problems = _Problems(heal)
    for container in containers.all_containers(store):
        _check_container(store, container, problems)
    _check_folders(store, problems)
    _check_runtime(store, problems)
    _check_images(store, problems, deep)
    found = [row[0] for row in store.db.execute("pragma quick_check") if row[0] != "ok"]
    for line in found:
        problems.tell(f"store: {line}")
    return problems.lines


class _Problems:
    """The lines, and whether to mend."""

    def __init__(self, heal):
        self.lines = []
        self.heal = heal

    def tell(self, text, mend=None):
        """Note a problem; mend it if that is asked for and can be."""
        if self.heal and mend:
            try:
                mend()
                text += " (mended)"
            except (PyociError, OSError) as error:
                text += f" (not mended: {error})"
        self.lines.append(text)


def is_mounted(path):
    """Whether something is mounted at a path, by the mount table: the thing itself may not answer."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return any(line.split(" ")[4] == path for line in lines)


@contextlib.contextmanager
def _at_rest(store, container_id):
    """The container as it is when nobody changes it at the moment; None where somebody does, or it is gone."""
    try:
        with containers.locked(store, container_id, wait=False) as container:
            yield container
    except containers.NotFound:
        yield None


def _check_container(store, container, problems):
    with _at_rest(store, container.id) as now:
        if now is None:
            return
        name = f"container {now.name} ({now.short_id})"
        status = containers.status_of(now)
        if not os.path.isdir(now.folder):
            problems.tell(f"{name}: its folder {now.folder} is gone; remove it")
        _check_errors(now, name, problems)
        if now.status in containers.ALIVE and not now.is_monitor_alive():
            what = "runs without its monitor" if now.is_process_alive() else "is recorded as running, but has ended"
            problems.tell(f"{name}: {what}", lambda: refresh(store, now))
        elif now.status == "restarting" and status == "exited":
            problems.tell(f"{name}: is recorded as restarting, but nothing will restart it", lambda: refresh(store, now))
        elif now.status not in (*containers.ALIVE, "restarting"):
            _check_stopped(store, now, name, problems)


def _check_errors(container, name, problems):
    """What the monitor's deeds had to say and nobody heard."""
    path = f"{container.live}/errors"
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
        if lines:
            problems.tell(f"{name}: what its monitor started failed: {lines[-1]}", lambda: os.unlink(path))


def _check_stopped(store, container, name, problems):
    """Nothing of it may be left on the host."""
    if runtime_of(store, container).has(container.id):
        problems.tell(f"{name}: does not run, but the runtime still has it", lambda: runtime_of(store, container).delete(container.id))
    if is_mounted(container.rootfs):
        problems.tell(f"{name}: does not run, but its file system is mounted", lambda: prepare.undo(store, container))
    if container.is_monitor_alive() and container.status == "exited" and time.time_ns() - container.finished_ns > 30 * 10**9:
        problems.tell(f"{name}: does not run, but its monitor does (pid {container.monitor})", lambda: os.kill(container.monitor, 9))
    if container.status == "removing":
        problems.tell(f"{name}: its removal was cut off", lambda: containers.delete(container))


def _check_folders(store, problems):
    known = {row["id"] for row in store.db.execute("select id from containers")}
    for base in (f"{store.roots.data}/containers", f"{store.roots.run}/containers"):
        for name in _listed(base):
            path = f"{base}/{name}"
            if name in known or not ID.fullmatch(name) or _is_young(path):
                continue
            with contextlib.suppress(PyociError), _at_rest(store, name):
                pass  # the lock's own folder goes with this, if there is nothing else
            if os.path.isdir(path):
                problems.tell(f"{path}: no container has this folder", lambda path=path: _remove_folder(path))


def _listed(folder):
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _is_young(path):
    try:
        return time.time() - os.stat(path).st_mtime < YOUNG_S
    except FileNotFoundError:
        return True


def _remove_folder(path):
    from pyoci.minidocker.images import layers

    for name in ("rootfs", "shm"):
        layers.unmount(f"{path}/{name}")
    remove_tree(path)


def _check_runtime(store, problems):
    """What the runtime has of no container."""
    known = {row["id"] for row in store.db.execute("select id from containers")}
    for name in _listed(store.roots.runtime):
        if ID.fullmatch(name) and name not in known and not _is_young(f"{store.roots.runtime}/{name}"):
            runtime = open_runtime("", store.roots.runtime)
            problems.tell(f"runtime container {name[:12]}: no container of ours", lambda name=name, runtime=runtime: runtime.delete(name))


def _check_images(store, problems, deep):
    """What images/check.py finds, and mends."""
    from pyoci.minidocker.images import check as images

    found = left = images.check(store, deep)
    removed = []
    if found and problems.heal:
        removed = [line.removeprefix(images.REMOVED_BLOB) for line in images.heal(store, deep) if line.startswith(images.REMOVED_BLOB)]
        left = images.check(store, deep)
    for line in found:
        if any(digest in line for digest in removed):
            problems.lines.append(f"{line} (its file is removed, so that a pull fetches it)")
        else:
            problems.lines.append(line if line in left else f"{line} (mended)")
    problems.lines += [line for line in left if line not in found and not any(digest in line for digest in removed)]
