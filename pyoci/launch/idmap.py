"""Id maps that take privilege, for the operation map_ids.  Cold.

newuidmap(1), subuid(5)
"""

from pyoci.errors import OperationFailed
from pyoci.kernel import idmap


def map_by_tool(tool, pid, lines):
    """Have the tool write the map of process `pid`.  Raises OperationFailed with what it said, SyscallError where it can't be run."""
    said = idmap.map_by_tool(tool, pid, lines)
    if said:
        kind, file = ("uid", "/etc/subuid") if tool.rpartition("/")[2] == "newuidmap" else ("gid", "/etc/subgid")
        what = f"map {kind}s {' '.join(lines.split())}"
        raise OperationFailed(f"linux.{kind}Mappings", what, detail=said, hint=f"{file} says which ids a user may map")
