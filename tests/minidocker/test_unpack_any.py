"""Whatever entries come in whatever order: they stay in the layer, or the archive is refused in one line; no descriptor is left open."""

import io
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tars import archive, device, fifo, file, folder, hardlink, symlink, tree

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images.unpack import unpack

pytestmark = pytest.mark.needs("root")

PARTS = st.sampled_from(["a", "b", "c", ".", "..", "", ".wh.a", ".wh..wh..opq", ".wh.", "out", "file"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
TARGETS = st.one_of(NAMES, st.sampled_from(["/", "..", "../..", "../out", "../out/file", "/proc/self/root", "/proc/self/cwd", "a/../../out", "../layer/a"]))
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.just(b"x"), mode=st.sampled_from([0o644, 0o4755, 0])),
    st.builds(folder, NAMES, mode=st.sampled_from([0o755, 0o000, 0o2777]), uid=st.sampled_from([0, 7])),
    st.builds(symlink, NAMES, TARGETS),
    st.builds(hardlink, NAMES, TARGETS),
    st.builds(fifo, NAMES),
    st.builds(device, NAMES, st.just(1), st.just(3)),
)


@given(st.lists(MEMBERS, max_size=12))
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
def test_nothing_leaves_the_layer(members):
    where = tempfile.mkdtemp()
    try:
        os.makedirs(f"{where}/out")
        os.makedirs(f"{where}/layer")
        with open(f"{where}/out/file", "w") as kept:
            kept.write("kept")
        before = {path: facts for path, facts in tree(where).items() if not path.startswith(b"layer")}
        before_fds = len(os.listdir("/proc/self/fd"))
        try:
            unpack(io.BytesIO(archive(*members)), f"{where}/layer")
        except ImageProblem as error:
            assert "\n" not in str(error)
        assert len(os.listdir("/proc/self/fd")) == before_fds
        after = {path: facts for path, facts in tree(where).items() if not path.startswith(b"layer")}
        assert after == before
        assert os.stat(f"{where}/out/file").st_nlink == 1
    finally:
        shutil.rmtree(where)
