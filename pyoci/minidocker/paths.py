"""Where MiniDocker keeps things: the data root survives a reboot, the run root does not.

    DATA/store.db                       records: containers, images, layers, events (store.py)
    DATA/blobs/sha256/HEX               content by digest, as in an OCI image layout (images/content.py)
    DATA/ingest/                        blobs on their way, resumable
    DATA/layers/CHAIN/diff              an unpacked layer, by the hex of its chain id (images/layers.py)
    DATA/namespace                      without root: who is in the user namespace (rootless.py)
    DATA/containers/ID/                 bundle/config.json, rootfs (mount point), upper, work, log.json, hosts, hostname, resolv.conf
    RUN/pyoci/                          the runtime's --root
    RUN/containers/ID/                  lock, attach.sock, console.sock, exit: what the monitor and the commands share
Source: XDG Base Directory Specification for who is not root; hier(7).
"""

import contextlib
import os

from pyoci.minidocker.errors import MiniDockerError
from pyoci.minidocker.trusted import check


def absolute(path):
    """The path from /.  Raises MiniDockerError where the current folder is gone."""
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise MiniDockerError(f"{path}: the current folder: {error.strerror}", hint="it was removed, perhaps; a path that begins with / needs none") from error


class Roots:
    """The two roots, absolute.  `data` and `run` override the defaults; so do MINIDOCKER_ROOT and MINIDOCKER_RUN."""

    def __init__(self, data="", run="", environ=os.environ):
        data, run = data or environ.get("MINIDOCKER_ROOT"), run or environ.get("MINIDOCKER_RUN")
        uid = os.geteuid()
        self.data = absolute(data or (f"{_data_of_user(environ, uid)}/minidocker" if uid else "/var/lib/minidocker"))
        self.run = absolute(run or (_run_of_user(environ, uid) if uid else "/run/minidocker"))

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
        """Make both roots and what is below them, closed to others: there are containers' environments, and set-uid programs.

        Raises MiniDockerError where another user could have put something there.
        """
        for folder, option in ((self.data, "--data-root"), (self.run, "--run-root")):
            check(folder, option)
            if not os.path.isdir(folder):
                _close(folder)
                check(folder, option)  # in /tmp somebody else may have been first
        for folder in (f"{self.data}/blobs", f"{self.data}/containers", self.layers, self.ingest, f"{self.run}/containers", self.runtime):
            _close(folder)


def close_to_others(path, mode):
    """Take from others what they may do with a file of ours.  Raises OSError; MiniDockerError where it is not ours."""
    facts = os.stat(path)
    if facts.st_uid not in (0, os.geteuid()):
        raise MiniDockerError(f"{path} can't be trusted: it belongs to user {facts.st_uid}")
    if facts.st_mode & 0o077:
        os.chmod(path, mode)


def private(path, flags):
    """The opener, as open() takes one, of a file that is its owner's alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _close(folder):
    """Make a folder that others can't enter; older versions made it open."""
    try:
        try:
            close_to_others(folder, 0o700)
        except FileNotFoundError:
            _make_above(folder)
            os.makedirs(folder, 0o700, exist_ok=True)
            close_to_others(folder, 0o700)
    except OSError as error:
        raise MiniDockerError(f"make {folder}: {error.strerror}") from error


def _make_above(folder):
    """The folders above: nobody else's to write to, whatever the umask is."""
    above = os.path.dirname(folder)
    if not os.path.isdir(above):
        _make_above(above)
        with contextlib.suppress(FileExistsError):
            os.mkdir(above, 0o755)


def _data_of_user(environ, uid):
    data, home = environ.get("XDG_DATA_HOME") or "", environ.get("HOME") or ""
    if data.startswith("/"):
        return data
    if not home.startswith("/"):
        import pwd  # dear: a user without an environment

        try:
            home = pwd.getpwuid(uid).pw_dir
        except KeyError:
            raise MiniDockerError("there is no home for images and containers", hint="set HOME, or name a place with --data-root") from None
    return f"{home}/.local/share"


def _run_of_user(environ, uid):
    """XDG_RUNTIME_DIR, or where systemd would have it; a folder in /tmp is the user's alone too (trusted.py looks)."""
    given = environ.get("XDG_RUNTIME_DIR") or ""
    for folder in (given if given.startswith("/") else "", f"/run/user/{uid}"):
        if folder and os.access(folder, os.W_OK):
            return f"{folder}/minidocker"
    return f"/tmp/minidocker-{uid}"
