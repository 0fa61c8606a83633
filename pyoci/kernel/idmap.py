"""Id maps that take privilege: newuidmap and newgidmap write them, where /etc/subuid and /etc/subgid allow it.  Cold.

newuidmap(1), subuid(5)
"""

import posix

from pyoci.errors import SyscallError

MOST_BYTES = 4096


def map_by_tool(tool, pid, lines):
    """Have the tool write the map of process `pid`.  Returns "", or what it said against it; raises SyscallError where it can't be run."""
    reader, writer = posix.pipe2(posix.O_CLOEXEC)
    try:
        actions = [(posix.POSIX_SPAWN_DUP2, writer, 1), (posix.POSIX_SPAWN_DUP2, writer, 2)]
        try:
            child = posix.posix_spawn(tool, [tool, str(pid), *lines.split()], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=actions)
        except OSError as error:
            raise SyscallError("execve", error.errno, tool) from None
        finally:
            posix.close(writer)
        said = _read_all(reader)
        _, status = posix.waitpid(child, 0)
    finally:
        posix.close(reader)
    if not status:
        return ""
    words = " ".join(said.decode("utf-8", "replace").split())
    return words or f"{tool.rpartition('/')[2]} ended with status {posix.waitstatus_to_exitcode(status)}"


def _read_all(fd):
    said = b""
    while piece := posix.read(fd, 4096):
        said = (said + piece)[:MOST_BYTES]
    return said
