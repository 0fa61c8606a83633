"""What happened, and what happens: the rows of the store's events in the Engine API's shape.

New rows are noticed by inotify(7) on the store's folder: every commit writes to its log.  Source: Engine API v1.44 SystemEvents; docker-events(1).
"""

import ctypes
import json
import os
import time

from pyoci.kernel import calls
from pyoci.minidocker.errors import BadRequest, MiniDockerError

IN_MODIFY, IN_CREATE, IN_CLOEXEC = 0x2, 0x100, 0o2000000
LOOKS_MS = (10, 100, 1000)  # after a change, how long until it is looked again
FILTERS = ("container", "event", "image", "label", "type", "daemon", "network", "volume", "scope")


def shape(row):
    """One row as the Engine API has it."""
    time_ns = row["time_ns"]
    attributes = json.loads(row["attributes"])
    found = {}
    if row["type"] in ("container", "image"):
        found = {"status": row["action"], "id": row["actor"]}
    if row["type"] == "container":
        found["from"] = attributes.get("image", "")
    return {
        **found,
        "Type": row["type"], "Action": row["action"], "Actor": {"ID": row["actor"], "Attributes": attributes}, "scope": "local",
        "time": time_ns // 10**9, "timeNano": time_ns,
    }  # fmt: skip


def matches(event, filters):
    """Whether an event passes: of one key's values any does, but of labels all."""
    attributes = event["Actor"]["Attributes"]
    tests = {
        "type": lambda value: event["Type"] == value,
        "event": lambda value: event["Action"] == value or event["Action"].partition(":")[0] == value,
        "container": lambda value: event["Type"] == "container" and (event["Actor"]["ID"].startswith(value) or attributes.get("name") == value),
        "image": lambda value: value in (event["Actor"]["ID"], attributes.get("image"), attributes.get("name")) and event["Type"] in ("image", "container"),
        "scope": lambda value: value == "local",
    }
    for name, values in filters.items():
        if name == "label":
            pairs = [value.partition("=") for value in values]
            if not all(key in attributes and (not sign or attributes[key] == wanted) for key, sign, wanted in pairs):
                return False
        elif not any(tests[name](value) if name in tests else False for value in values):
            return False
    return True


def events(store, since_ns=0, until_ns=0, filters=None, follow=True):
    """Yield events: those of the store since `since_ns` (0: none of the past when following), then new ones until `until_ns` (0: for ever)."""
    filters = filters or {}
    for name in filters:
        if name not in FILTERS:
            raise BadRequest(f"invalid filter '{name}'")
    last, looks = 0, 0
    if follow and not since_ns:
        last = store.db.execute("select coalesce(max(number), 0) from events").fetchone()[0]
    watch = _watch(store) if follow else -1  # afterwards: who sees it watch may count on what comes next
    try:
        while True:
            for row in store.db.execute("select * from events where number > ? and time_ns >= ? order by number", (last, since_ns)).fetchall():
                last = row["number"]
                if until_ns and row["time_ns"] > until_ns:
                    return
                event = shape(row)
                if matches(event, filters):
                    yield event
            if not follow:
                return
            looks = _wait(watch, until_ns, looks)
            if looks is None:
                return
    finally:
        if watch >= 0:
            os.close(watch)


def _watch(store):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(IN_CLOEXEC)
    folder = os.fsencode(os.path.dirname(store.roots.database))
    if fd < 0 or libc.inotify_add_watch(fd, folder, IN_MODIFY | IN_CREATE) < 0:
        raise MiniDockerError(f"events: inotify on {store.roots.data}: {os.strerror(ctypes.get_errno())}")
    return fd


def _wait(watch, until_ns, looks):
    """Wait for a change, or for the time of the next of `looks` further looks.  Returns how many are still to be taken; None when the time is over.

    The log of the database is written before its index, and what is written to the index by mmap(2) tells inotify nothing: who looked in between
    saw the row not yet, and would not be woken again.
    """
    left_ms = -1
    if until_ns:
        left_ms = (until_ns - time.time_ns()) // 1_000_000
        if left_ms <= 0:
            return None
    again_ms = LOOKS_MS[-looks] if looks else -1
    waited_ms = min((one for one in (left_ms, again_ms) if one >= 0), default=-1)
    if calls.poll([(watch, calls.POLLIN)], min(waited_ms, 1 << 30)):
        os.read(watch, 65536)
        return len(LOOKS_MS)
    return max(0, looks - 1)
