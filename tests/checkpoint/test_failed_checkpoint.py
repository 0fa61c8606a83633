"""Each operation of a restore made to fail, before its deed and after it: nothing is left; and a dump that fails, which leaves the container as it was."""

import errno
import itertools

import pytest
import support
from talking import Talk, checkpointed, started

from pyoci.errors import PyociError, SyscallError
from pyoci.launch.run import Launch

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim", "criu")


class Sabotage:
    """Launch._deed, which fails at one index and counts how many there are."""

    def __init__(self, monkeypatch, done):
        self.index, self.last, self.done = -1, -1, done
        self.real = Launch._deed
        monkeypatch.setattr(Launch, "_deed", lambda launch, at: self.deed(launch, at))

    def deed(self, launch, at):
        self.last = max(self.last, at)
        if at != self.index:
            self.real(launch, at)
            return
        if self.done:
            self.real(launch, at)
        raise SyscallError("sabotage", errno.EIO, "this")


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_restore_that_fails_at_any_operation_leaves_nothing(bundle, pyoci, images, tmp_path, monkeypatch, done):
    bundle.mount("/new/place", "bind", tmp_path, "bind")
    bundle.linux["resources"] = {"pids": {"limit": 100}}
    bundle.edit(lambda config: config.update(hooks={"createRuntime": [{"path": "/bin/true"}]}))
    checkpointed(pyoci, bundle, images)
    (bundle.rootfs / "new" / "place").rmdir()
    (bundle.rootfs / "new").rmdir()
    (images / "restore.log").touch()
    (images / "stats-restore").touch()
    sabotage = Sabotage(monkeypatch, done)
    for sabotage.index in itertools.count():
        before = support.snapshot(bundle.path)
        try:
            pyoci.api().restore(pyoci.new_id(), str(bundle.path), str(images), detach=True, environ=pyoci.environment)
        except PyociError as error:
            assert "sabotage this: Input/output error (EIO)" in str(error)
        else:
            break
        support.reap()
        support.assert_unchanged(before)
    assert sabotage.index == sabotage.last + 1 > 8


def test_checkpoint_that_fails_leaves_the_container_running(bundle, pyoci, tmp_path):
    """Its images directory is a file."""
    (tmp_path / "file").touch()
    with Talk() as talk:
        name = started(pyoci, bundle, talk)
        assert "Not a directory (ENOTDIR)" in pyoci.fails("checkpoint", "--image-path", tmp_path / "file" / "images", name)
        assert talk.ask("two") == "2 two"


def test_restore_of_broken_images_says_criu_s_last_words_and_where_its_log_is(bundle, pyoci, images):
    checkpointed(pyoci, bundle, images)
    (images / "inventory.img").write_bytes(b"broken")
    before = support.snapshot(bundle.path)
    line = pyoci.fails("restore", "--detach", "--bundle", bundle.path, "--image-path", images, pyoci.new_id())
    assert f"criu's log is {images}/restore.log" in line
    support.assert_unchanged(before)
