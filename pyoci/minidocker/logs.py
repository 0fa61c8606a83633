"""The log of a container, as its monitor writes it: read back, followed through its rotation, cut by number and time.

Source: docker-logs(1); docker's json-file driver.
"""

import json
import os
import re
import time

from pyoci.kernel import calls
from pyoci.minidocker import containers, monitor
from pyoci.minidocker.errors import BadRequest

CHUNK_BYTES = 1 << 20
NAME = "log.json"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "b": 1}
MAX_FILES = 1000


def log_config(host):
    """(driver, max bytes of a file or 0, number of files) of a HostConfig.  Raises BadRequest in docker's words."""
    given = host.get("LogConfig") or {}
    driver, options = given.get("Type") or "json-file", given.get("Config") or {}
    if driver not in ("json-file", "none", "local"):
        raise BadRequest(f"logger: no log driver named '{driver}' is registered", hint="json-file and none are")
    known = {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}
    for name in options:
        if name not in known:
            raise BadRequest(f"unknown log opt '{name}' for {driver} log driver")
    size = _size(options.get("max-size", "-1"))
    files = options.get("max-file", "1")
    if not files.isascii() or not files.isdigit() or len(files) > 9 or not 1 <= int(files) <= MAX_FILES:
        raise BadRequest(f"max-file: '{files}' is not a number from 1 to {MAX_FILES}")
    if int(files) > 1 and not size:
        raise BadRequest(f"max-file={files} needs a max-size to take effect")
    return driver, size, int(files)


def _size(text):
    """`10m` in bytes; -1 is 0, no limit."""
    if text == "-1":
        return 0
    lowered = text.lower().removesuffix("ib").removesuffix("b") if text[-1:].isalpha() else text
    unit = lowered[-1:] if lowered[-1:].isalpha() else ""
    number = lowered[: len(lowered) - len(unit)]
    if not number.isascii() or not number.isdigit() or len(number) > 15 or unit not in _UNITS or not int(number):
        raise BadRequest(f"invalid value for max-size: '{text}'")
    return int(number) * _UNITS[unit]


def log_words(container):
    """The monitor's words for it."""
    driver, size, files = log_config(container.host)
    if driver == "none":
        return []
    return [f"logs={container.folder}", f"log-max-bytes={size}", f"log-files={files}"]


# --- reading


class Record:
    """One record of the log: `stream`, `time` as written, `data` (bytes)."""

    __slots__ = ("data", "stream", "time")

    def __init__(self, line):
        found = json.loads(line)
        self.stream = found["stream"]
        self.time = found["time"]
        self.data = found["log"].encode("utf-8", "surrogatepass")

    @property
    def time_ns(self):
        """Nanoseconds since 1970."""
        import calendar  # dear: only cuts by time need it

        whole, _, fraction = self.time.rstrip("Z").partition(".")
        return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int((fraction or "0").ljust(9, "0")[:9])


def _records(lines):
    """The whole records among lines; what a crash of the host tore is left out."""
    for line in lines:
        if line.endswith(b"\n"):
            try:
                yield Record(line)
            except (ValueError, KeyError, TypeError):
                continue


def _files(folder):
    """The log's files, oldest first; none of a container that was removed meanwhile."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    numbers = [int(name[len(NAME) + 1 :]) for name in names if re.fullmatch(rf"{NAME}\.\d{{1,4}}", name)]
    return [f"{folder}/{NAME}.{number}" for number in sorted(numbers, reverse=True)] + [f"{folder}/{NAME}"]


def _open_all(folder):
    """Every file, open, oldest first: a rotation meanwhile renames them, and these stay what they are.  None is open twice."""
    opened = {}
    for path in _files(folder):
        try:
            file = open(path, "rb")  # noqa: SIM115 - the reader closes them one by one
        except FileNotFoundError:
            continue
        opened.setdefault(os.fstat(file.fileno()).st_ino, file)
    return list(opened.values())


def _from_tail(files, count):
    """Position the files so that `count` lines are left in all; those before are closed.  Returns the files."""
    if count < 0:
        return files
    left = count
    for index in range(len(files) - 1, -1, -1):
        left -= _seek_lines(files[index], left)
        if left <= 0:
            for file in files[:index]:
                file.close()
            return files[index:]
    return files


def _seek_lines(file, count, block=65536):
    """Position a file at its last `count` lines.  Returns how many there are, at most count."""
    at = file.seek(0, os.SEEK_END)
    if count <= 0:
        return 0
    found = 0
    while at > 0:
        size = min(block, at)
        at -= size
        file.seek(at)
        data = file.read(size)
        end = len(data)
        while (end := data.rfind(b"\n", 0, end)) >= 0:
            found += 1
            if found == count + 1:
                file.seek(at + end + 1)
                return count
    file.seek(0)
    return found


def logs(store, ref, *, follow=False, tail=-1, since_ns=0, until_ns=0):
    """Yield (stream, time, bytes) of each record.  Raises BadRequest where there is no log to read.  Follows until the container stops."""
    container = containers.find(store, ref)
    if log_config(container.host)[0] == "none":
        raise BadRequest("configured logging driver does not support reading")
    link = monitor.connect(container.live) if follow and containers.status_of(container) in containers.ALIVE else None
    if link:
        link.attach(monitor.WANTS_LOGGED)
    try:
        for record in _all_records(container, tail, link):
            moment = record.time_ns if since_ns or until_ns else 0
            if until_ns and moment > until_ns:
                return
            if moment >= since_ns:
                yield record.stream, record.time, record.data
    finally:
        if link:
            link.close()


def _all_records(container, tail, link):
    files = _from_tail(_open_all(container.folder), tail)
    current = None
    for current in files:
        if current is not files[-1]:
            yield from _records(current)
            current.close()
    if current is None:
        if link is None:
            return
        current = _wait_file(container, link)
        if current is None:
            return
    held = bytearray()
    while True:
        ended = link is None
        if not ended:
            yield from _read_on(current, held)
            ended = not _wait_more(link)
        yield from _read_on(current, held)
        for newer in _newer(container.folder, current):
            yield from _read_on(current, held)  # what came between our last look and its end
            current.close()
            current = newer
            held.clear()
            yield from _read_on(current, held)
        if ended:
            current.close()
            return


def _read_on(file, held):
    """Yield the records that have come since, piece by piece: a log may be larger than memory.  held: a bytearray, the beginning of a record that is not whole yet."""
    while data := file.read(CHUNK_BYTES):
        held += data
        *whole, rest = bytes(held).split(b"\n")
        held[:] = rest
        yield from _records(line + b"\n" for line in whole)


def _newer(folder, file):
    """The files that rotation has begun after this one, oldest first."""
    inode = os.fstat(file.fileno()).st_ino
    opened = _open_all(folder)
    inodes = [os.fstat(one.fileno()).st_ino for one in opened]
    first = inodes.index(inode) + 1 if inode in inodes else 0
    for one in opened[:first]:
        one.close()
    return opened[first:]


def _wait_more(link):
    """Wait until the log has grown: True; the container has ended: False."""
    while True:
        kind, _ = link.receive()
        if kind == monitor.LOGGED:
            while calls.poll([(link.fileno(), calls.POLLIN)], 0):  # the rest of what was told meanwhile
                kind, _ = link.receive()
                if kind != monitor.LOGGED:
                    return False
            return True
        return False


def _wait_file(container, link):
    while True:
        try:
            return open(f"{container.folder}/{NAME}", "rb")  # noqa: SIM115
        except FileNotFoundError:
            if not _wait_more(link):
                return None
