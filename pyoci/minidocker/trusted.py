"""Whether nobody but root and this user can have put there what is at a path: MiniDocker believes its records, and executes what they name.

Every folder and symbolic link on the way counts, for who may write to a folder may put another in the place of what it holds, unless its sticky bit keeps him
from it.  Makes and changes nothing.  Source: path_resolution(7), inode(7), symlink(7), user_namespaces(7).
"""

import errno
import os
import stat

from pyoci.kernel.proc import in_user_namespace
from pyoci.minidocker.errors import MiniDockerError

MOST_LINKS = 40
_OVERFLOW = 65534


def check(path, option):
    """Raise MiniDockerError where somebody else could have made the folder at path.  A part that is not there yet is nobody's.  option: what names another."""
    for part, facts, is_end in _way(path):
        problem = _problem(part, facts, is_end)
        if problem:
            raise MiniDockerError(f"{path} can't be trusted: {problem}", f"chmod go-w {part} if it is yours, or name another place with {option}")


def _way(path):
    """(path, lstat, whether it is the end) of everything on the way, from / on."""
    at, left, links = "/", [word for word in path.split("/") if word][::-1], 0
    yield "/", os.lstat("/"), not left
    while left:
        word = left.pop()
        if word == "..":
            at = os.path.dirname(at)
            continue
        part = os.path.join(at, word)
        try:
            facts = os.lstat(part)
        except (FileNotFoundError, NotADirectoryError):  # who makes it says what stands in its way
            return
        except OSError as error:
            raise MiniDockerError(f"{path}: {part}: {error.strerror}") from error
        if not stat.S_ISLNK(facts.st_mode):
            at = part
            yield part, facts, not left
            continue
        yield part, facts, False
        links += 1
        if links > MOST_LINKS:
            raise MiniDockerError(f"{path}: {part}: {os.strerror(errno.ELOOP)}")
        target = os.readlink(part)
        at = "/" if target.startswith("/") else at
        left += [word for word in target.split("/") if word not in ("", ".")][::-1]


def _problem(part, facts, is_end):
    """What is wrong with one of them, "" if nothing is."""
    own = os.geteuid()
    if facts.st_uid != own and (is_end or (facts.st_uid and not _is_judged(facts.st_uid, is_end))):
        return f"{part} belongs to user {facts.st_uid}"
    if stat.S_ISLNK(facts.st_mode) or (facts.st_mode & stat.S_ISVTX and not is_end):
        return ""
    if facts.st_mode & 0o002:
        return f"others may write to {part}"
    # A user's own group is himself on many hosts, and root's is root; but what we made for one alone stays so.
    if facts.st_mode & 0o020 and (is_end or facts.st_gid not in (0, os.getegid())) and not _is_judged(facts.st_gid, is_end):
        return f"group {facts.st_gid} may write to {part}"
    return ""


def _is_judged(number, is_end):
    """Whether the id is of somebody without a name here, in a user namespace: the host's folders were judged before it was entered."""
    return number == _OVERFLOW and not is_end and in_user_namespace()
