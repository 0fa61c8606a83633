"""Where MiniDocker keeps things: the data root survives a reboot, the run root does not.

    DATA/store.db                       records: containers, images, layers, events (store.py)
    DATA/blobs/sha256/HEX               content by digest, as in an OCI image layout (images/content.py)
    DATA/ingest/                        blobs on their way, resumable
    DATA/layers/CHAIN/diff              an unpacked layer, by the hex of its chain id (images/layers.py)
    DATA/containers/ID/                 bundle/config.json, rootfs (mount point), upper, work, log.json, hosts, hostname, resolv.conf
    RUN/pyoci/                          the runtime's --root
    RUN/containers/ID/                  lock, attach.sock, console.sock, exit: what the monitor and the commands share
Source: XDG Base Directory Specification for who is not root; hier(7).
"""

import os

from pyoci.minidocker.errors import MiniDockerError


class Roots:
    """The two roots, absolute.  `data` and `run` override the defaults; so do MINIDOCKER_ROOT and MINIDOCKER_RUN."""

    def __init__(self, data="", run="", environ=os.environ):
        rootful = os.geteuid() == 0
        home = environ.get("HOME") or "/"
        default_data = "/var/lib/minidocker" if rootful else f"{environ.get('XDG_DATA_HOME') or home + '/.local/share'}/minidocker"
        default_run = "/run/minidocker" if rootful else f"{environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.geteuid()}'}/minidocker"
        self.data = os.path.abspath(data or environ.get("MINIDOCKER_ROOT") or default_data)
        self.run = os.path.abspath(run or environ.get("MINIDOCKER_RUN") or default_run)

    @property
    def database(self):
        """The path of the store."""
        return f"{self.data}/store.db"

    @property
    def blobs(self):
        """The folder of content by digest."""
        return f"{self.data}/blobs/sha256"

    @property
    def ingest(self):
        """The folder of unfinished blobs."""
        return f"{self.data}/ingest"

    @property
    def layers(self):
        """The folder of unpacked layers."""
        return f"{self.data}/layers"

    @property
    def runtime(self):
        """The runtime's own --root."""
        return f"{self.run}/pyoci"

    def container(self, container_id):
        """The lasting folder of a container."""
        return f"{self.data}/containers/{container_id}"

    def live(self, container_id):
        """The folder of a container's sockets, lock and exit record; gone after a reboot."""
        return f"{self.run}/containers/{container_id}"

    def make(self):
        """Make both roots, closed to others."""
        for folder in (self.data, self.run):
            try:
                os.makedirs(folder, 0o711, exist_ok=True)
            except OSError as error:
                raise MiniDockerError(f"make {folder}: {error.strerror}", hint="MiniDocker needs root in this release" if os.geteuid() else "") from error
