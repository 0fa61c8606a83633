"""The layer between an image and a container: the mount points and files that an engine owes every container.

As dockerd's: what it makes is neither a change of the container nor part of an image that is committed from it.  resolv.conf, hosts and hostname are empty files here, whatever
the image has in their place (a link, perhaps), for the engine mounts its own over them.
Source: dockerd's behaviour, seen in a container of an image without any file; the runtime-spec's default devices.
"""

import os

from pyoci.minidocker.images.cover import adopt

FOLDERS = ("dev/pts", "dev/shm", "proc", "sys")
FILES = (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf")
LINKS = {"etc/mtab": "/proc/mounts"}


def fill(top, lowers):
    """Make the layer in the empty folder `top`, over these (the topmost first)."""
    made = {b"": None}
    for path in (*FOLDERS, *FILES, *LINKS):
        for part in _above(path) + ([path] if path in FOLDERS else []):
            if part.encode() not in made:
                os.mkdir(f"{top}/{part}", 0o755)
                made[part.encode()] = None
    for path in FILES:
        os.close(os.open(f"{top}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
    for path, target in LINKS.items():
        os.symlink(target, f"{top}/{path}")
    for path in made:
        os.chmod(os.fsencode(top) + b"/" + path, 0o755)  # whatever the umask is
    adopt(top, made, lowers)


def _above(path):
    parts = path.split("/")[:-1]
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]
