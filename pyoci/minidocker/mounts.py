"""The one mount that MiniDocker makes beside overlays: the tmpfs of a shareable /dev/shm.  Cold: ctypes only where somebody asks for it.  mount(2)"""

import ctypes
import os

from pyoci.errors import SyscallError

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8


def mount_tmpfs(path, size_bytes):
    """A tmpfs as a /dev/shm should be.  Raises SyscallError."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if libc.mount(b"shm", os.fsencode(path), b"tmpfs", flags, f"mode=1777,size={size_bytes}".encode()) < 0:
        raise SyscallError("mount", ctypes.get_errno(), path)
