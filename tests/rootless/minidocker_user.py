"""A user who is not root, and minidocker as that user calls it: a home with images and containers, a runtime directory."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest
import support
from unprivileged import UID

from pyoci.kernel.proc import is_alive

PROGRAM = pathlib.Path(sys.executable).parent / "minidocker"
TIMEOUT_S = 60


class Mini:
    """minidocker of a user; `said` is what the last call printed on standard error."""

    def __init__(self, folder, *flags):
        self.folder = pathlib.Path(folder)
        self.flags = flags
        self.run_root = self.folder / "run" / "minidocker"
        self.data_root = self.folder / "home" / ".local" / "share" / "minidocker"
        self.environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(self.folder / "run"), "HOME": str(self.folder / "home"), "TZ": "UTC"}
        self.prefix = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        self.said = ""
        for name in ("run", "home"):
            (self.folder / name).mkdir(mode=0o700)
            os.chown(self.folder / name, UID, UID)

    def command(self, *words):
        """The command line as a list."""
        return [*self.prefix, PROGRAM, *self.flags, *words]

    def __call__(self, *words, stdin=subprocess.DEVNULL, **more):
        """(status, standard output, standard error); files, for a container may inherit them."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            given = {"cwd": self.folder / "home", "env": self.environment, **more}
            status = subprocess.run(self.command(*words), stdin=stdin, stdout=out, stderr=err, timeout=TIMEOUT_S, check=False, **given).returncode
            texts = [(file.seek(0), file.read())[1] for file in (out, err)]
        self.said = texts[1]
        return status, *texts

    def start(self, *words, **more):
        """A call that goes on: Popen, whose pid is minidocker's."""
        null = subprocess.DEVNULL
        return subprocess.Popen(self.command(*words), **{"stdin": null, "stdout": null, "stderr": null, "cwd": self.folder / "home", "env": self.environment, **more})

    def prints(self, *words, **more):
        """What a call that goes well prints, without the last line's end; it warns of nothing."""
        status, out, err = self(*words, **more)
        assert (status, err) == (0, ""), (words, status, out, err)
        return out.rstrip("\n")

    def refuses(self, *words, **more):
        """The lines that a call which fails with 125 says."""
        status, out, err = self(*words, **more)
        assert (status, out) == (125, ""), (words, status, out, err)
        assert "Traceback" not in err
        return err.removeprefix("minidocker: ").rstrip("\n")

    def run(self, *words, **more):
        """What a `run --rm --network none` prints."""
        return self.prints("run", "--rm", "--network", "none", *words, **more)

    def up(self, name, *words):
        """A container that runs in the background.  Returns its id."""
        return self.prints("run", "-d", "--network", "none", "--name", name, *words)

    def members(self, kind="mounts"):
        """{pid: command line} of the listed processes of the user namespace that live; kind `ids`: containers' first."""
        found = {}
        for line in (self.data_root / "namespace").read_text().splitlines():
            pid, started, what, _ = line.split()
            if what == kind and is_alive(int(pid), int(started)):
                found[int(pid)] = pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return found

    def clean(self):
        """Remove every container."""
        for name in self.prints("ps", "-aq").split():
            self("rm", "-f", name)
        support.reap()


def made(*flags):
    """A Mini with a busybox image, in a folder of its own; afterwards nothing of it may be left."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{support.TOKEN}-"))
    folder.chmod(0o755)
    before = support.snapshot()
    mini = Mini(folder, *flags)
    mini.prints("image", "make", "busybox")
    yield mini
    mini.clean()
    assert mini.prints("system", "check") == "nothing wrong"
    support.assert_unchanged(before)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def mini(subordinate_ids):
    """minidocker of a user with subordinate ids, for a module."""
    yield from made()


@pytest.fixture
def alone(place):
    """minidocker of a user without any."""
    yield from made()
