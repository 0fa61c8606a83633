"""Where no criu is: one line that names it, before any effect."""

import os

import pytest
import support

from pyoci.runtime.checkpoint import _is_device

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")
NOWHERE = {"PATH": "/nonexistent"}


def test_checkpoint_names_criu_and_the_container_goes_on(pyoci, bundle, images):
    name = pyoci.start(bundle)
    line = pyoci.fails("checkpoint", "--image-path", images, name, env=NOWHERE)
    assert "criu" in line
    assert not images.exists()
    assert pyoci.api().state(name)["status"] == "running"


def test_restore_names_criu_and_leaves_nothing(pyoci, bundle, images, tmp_path):
    images.mkdir()
    before = support.snapshot(tmp_path)
    assert "criu" in pyoci.fails("restore", "--bundle", bundle.path, "--image-path", images, pyoci.new_id(), env=NOWHERE)
    support.assert_unchanged(before)


@pytest.mark.parametrize(
    ("path", "expected"), [("/dev/null", True), ("/file", False), ("/absolute", False), ("/up", False), ("/through/null", True), ("/nowhere", False)]
)
def test_links_of_a_container_lead_to_its_own_devices(tmp_path, path, expected):
    """Of the host /dev/tty is a device: a container's link there says nothing of what criu will find."""
    (tmp_path / "dev").mkdir()
    os.mknod(tmp_path / "dev" / "null", 0o020666, os.makedev(1, 3))
    (tmp_path / "dev" / "tty").write_text("a file")
    (tmp_path / "file").write_text("")
    (tmp_path / "absolute").symlink_to("/dev/tty")
    (tmp_path / "up").symlink_to("../" * 20 + "dev/tty")
    (tmp_path / "through").symlink_to("/dev")
    (tmp_path / "nowhere").symlink_to("/proc/self/fd/0")
    root_fd = os.open(tmp_path, os.O_PATH)
    try:
        assert _is_device(root_fd, path) is expected
    finally:
        os.close(root_fd)
