"""cp against a hostile container: what it may bring to the host, and what it must not."""

import io
import os
import stat
import tarfile

import pytest

from pyoci.minidocker.errors import BadRequest

pytestmark = pytest.mark.needs("root")


def member(name, kind=tarfile.REGTYPE, mode=0o644, **fields):
    """A TarInfo."""
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, mode
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def tar_of(*members):
    """A stream of empty files and what else they are."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for one in members:
            tar.addfile(one)
    data.seek(0)
    return data


@pytest.fixture
def planted(place):
    """The id of a container whose root prepared /tmp/trap for the host's root."""
    container_id = place.create("true")
    place.engine.archive_in(container_id, "/tmp", tar_of(
        member("trap", tarfile.DIRTYPE, 0o7755), member("trap/shell", mode=0o6755, uid=0), member("trap/disk", tarfile.BLKTYPE, 0o666, devmajor=8),
        member("trap/null", tarfile.CHRTYPE, 0o666, devmajor=1, devminor=3), member("trap/theirs", mode=0o4711, uid=1234, gid=2345),
    ))  # fmt: skip
    return container_id


@pytest.mark.parametrize("keep_ids", [False, True], ids=["plain", "archive"])
def test_copy_to_the_host_brings_no_set_id_bits(place, planted, tmp_path, keep_ids):
    place.engine.copy_out(planted, "/tmp/trap", str(tmp_path), keep_ids=keep_ids)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "trap", *(tmp_path / "trap").iterdir())}
    assert modes == {"trap": 0o1755, "shell": 0o755, "theirs": 0o711}
    found = (tmp_path / "trap" / "theirs").stat()
    assert (found.st_uid, found.st_gid) == ((1234, 2345) if keep_ids else (os.geteuid(), os.getegid()))


def test_copy_to_the_host_makes_no_device_and_says_so(place, planted, tmp_path):
    said = []
    place.engine.warn = said.append
    place.engine.copy_out(planted, "/tmp/trap", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["shell", "theirs"]
    assert said == ["'trap/disk' and 1 more not copied: cp makes no device on the host"]
    with pytest.raises(BadRequest, match="^/tmp/trap/disk is a device, which cp makes none of on the host$"):
        place.engine.copy_out(planted, "/tmp/trap/disk", str(tmp_path / "disk"))
    assert not (tmp_path / "disk").exists()


def test_tar_of_a_copy_keeps_everything(place, planted):
    sink = io.BytesIO()
    place.engine.archive_out(planted, "/tmp/trap", sink)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as tar:
        found = {one.name: (one.type, one.mode) for one in tar}
    assert found["trap/shell"] == (tarfile.REGTYPE, 0o6755)
    assert found["trap/disk"] == (tarfile.BLKTYPE, 0o666)
