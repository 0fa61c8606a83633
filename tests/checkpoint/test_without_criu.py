"""Where no criu is: one line that names it, before any effect."""

import pytest
import support

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
