"""--no-pivot leaves the host's mounts below the container's root: none of them may serve who is inside."""

import pytest

FRESH_PROCFS = "mkdir -p /mnt; busybox unshare -U -r -p -f -m busybox mount -t proc proc /mnt && echo mounted || echo refused"


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]], ids=["pivot", "move"])
def test_masked_container_can_mount_no_fresh_procfs_in_a_user_namespace(bundle, pyoci, flags):
    """The kernel allows one only where a fully visible one is in sight, and the host's would be."""
    bundle.process["noNewPrivileges"] = False
    bundle.shell(FRESH_PROCFS)
    done = pyoci.ok("run", *flags, "--bundle", bundle.path, pyoci.new_id())
    assert str(getattr(done, "stdout", done)).strip().splitlines()[-1] == "refused"
