"""A user who is not root: a home, a runtime directory, subordinate ids, and a bundle of its own; in a mount namespace of the module."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
import support

UID = 61234
SUBORDINATE = 700_000


class User(support.Pyoci):
    """pyoci as that user calls it: no --root, only XDG_RUNTIME_DIR and a home."""

    def __init__(self, folder):
        super().__init__(folder / "run" / "pyoci")
        self.folder = folder
        self.environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder / "run"), "HOME": str(folder / "home")}
        self.prefix = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]

    def command(self, *words):
        return [*self.prefix, str(support.PYOCI), *self.flags, *map(str, words)]

    def __call__(self, *words, **more):
        return super().__call__(*words, **{"env": self.environment, **more})

    def bundle(self, script, folder="bundle", **mappings):
        """A bundle that maps the user alone, and whose process is a shell script."""
        made = support.Bundle(self.folder / folder, "sh", "-c", script)
        made.linux["namespaces"] = [*map(dict, made.linux["namespaces"]), {"type": "user"}]
        for key in ("uidMappings", "gidMappings"):
            made.linux[key] = mappings.get(key, [{"containerID": 0, "hostID": UID, "size": 1}])
        support.give(made.path, UID)
        return made.write()


@pytest.fixture(scope="module")
def subordinate_ids(place):
    """The user has a name and subordinate ids, in this module's mount namespace."""
    with tempfile.TemporaryDirectory() as folder:
        for name, line in (("passwd", f"stranger:x:{UID}:{UID}::/:/bin/sh"), ("group", f"stranger:x:{UID}:"),
                           ("subuid", f"stranger:{SUBORDINATE}:65536"), ("subgid", f"stranger:{SUBORDINATE}:65536")):  # fmt: skip
            real = pathlib.Path("/etc", name)
            if not real.exists():
                pytest.skip(f"needs newuidmap: no {real}")
            copy = pathlib.Path(folder, name)
            copy.write_text(f"{real.read_text()}{line}\n")
            support.mount(str(copy), str(real), None, 4096)
        yield
        for name in ("passwd", "group", "subuid", "subgid"):
            support.umount(f"/etc/{name}")


@pytest.fixture
def user():
    """The user; when the test is over nothing of its containers may be left."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{support.TOKEN}-"))
    folder.chmod(0o755)
    for name in ("run", "home"):
        (folder / name).mkdir(mode=0o700)
        os.chown(folder / name, UID, UID)
    found = User(folder)
    before = support.snapshot()
    yield found
    found.clean()
    support.assert_unchanged(before)
    shutil.rmtree(folder)


def as_user(user, *command):
    """Another program as that user."""
    return subprocess.run([*user.prefix, *command], capture_output=True, text=True, env=user.environment, stdin=subprocess.DEVNULL, timeout=60, check=False)
