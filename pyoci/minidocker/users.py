"""Who the container's process is: the image's own passwd and group, read below its root by descriptor, so that no link leads out.

Source: docker-run(1), --user; passwd(5), group(5); openat2(2), RESOLVE_IN_ROOT.
"""

import os

from pyoci.kernel.tree import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, open_regular
from pyoci.minidocker.errors import BadRequest

LARGEST_BYTES = 4 << 20
LARGEST_ID = (1 << 31) - 1


def read_below(root, path):
    """The text of a regular file below a root, the first 4 MiB of it; "" where there is none."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_regular(root_fd, path, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, follow=True)
    finally:
        os.close(root_fd)
    if fd < 0:
        return ""
    with open(fd, "rb") as file:
        return file.read(LARGEST_BYTES).decode("utf-8", "surrogateescape")


def resolve(root, text, more=()):
    """`name|uid[:group|gid]` and further groups as config.md#user.  Raises BadRequest in docker's words."""
    user, _, group = text.partition(":")
    passwd = _rows(read_below(root, "etc/passwd"), 7)
    groups = _rows(read_below(root, "etc/group"), 4)
    uid, gid, name = _user(passwd, user or "0")
    if group:
        gid, extra = _group(groups, group), []
    else:
        extra = [number for row in groups if name and name in row[3].split(",") and (number := _id(row[2])) is not None and number != gid]
    extra += [_group(groups, word) for word in more or ()]
    # The primary group is among the others too, so that no set-gid program can shed it (CVE-2022-36109).
    return {"uid": uid, "gid": gid, "additionalGids": [gid, *sorted(set(extra) - {gid})]}


def _rows(text, columns):
    """The lines as lists of that many fields; a line with fewer than three is none."""
    rows = [line.split(":") for line in text.split("\n")]
    return [row + [""] * (columns - len(row)) for row in rows if len(row) >= 3]


def _number(text):
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None


def _id(text):
    """The id that a row of a file says, None if it can be none."""
    number = _number(text)
    return number if number is not None and number <= LARGEST_ID else None


def _user(passwd, word):
    number = _number(word)
    for row in passwd:
        uid = _id(row[2])
        if uid is not None and (row[0] == word or (number is not None and uid == number)):
            return uid, _id(row[3]) or 0, row[0]
    if number is None:
        raise BadRequest(f"unable to find user {word}: no matching entries in passwd file")
    if number > LARGEST_ID:
        raise BadRequest(f"uids and gids must be in range 0-{LARGEST_ID}")
    return number, 0, ""


def _group(groups, word):
    number = _number(word)
    for row in groups:
        gid = _id(row[2])
        if gid is not None and (row[0] == word or (number is not None and gid == number)):
            return gid
    if number is None:
        raise BadRequest(f"unable to find group {word}: no matching entries in group file")
    if number > LARGEST_ID:
        raise BadRequest(f"uids and gids must be in range 0-{LARGEST_ID}")
    return number
