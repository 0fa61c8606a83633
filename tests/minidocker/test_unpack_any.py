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
# Mostly few names, so that entries meet: a link, and then something below it.
NAMES = st.one_of(*[st.sampled_from(["a", "b", "a/x", "b/x", "a/b", "a/b/x"])] * 3, st.lists(PARTS, min_size=1, max_size=4).map("/".join))
TARGETS = st.one_of(NAMES, st.sampled_from(["../out", "../out/file", "/"]), st.sampled_from(["/", "..", "../..", "../out", "../out/file", "/proc/self/root", "/proc/self/cwd", "a/../../out", "../layer/a"]))
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.just(b"x"), mode=st.sampled_from([0o644, 0o4755, 0])),
    st.builds(folder, NAMES, mode=st.sampled_from([0o755, 0o000, 0o2777]), uid=st.sampled_from([0, 7])),
    st.builds(symlink, NAMES, TARGETS),
    st.builds(hardlink, NAMES, TARGETS),
    st.builds(fifo, NAMES),
    st.builds(device, NAMES, st.just(1), st.just(3)),
)


@st.composite
def attacks(draw):
    """Some entries, a link, some more, and something through the link."""
    few = st.lists(MEMBERS, max_size=2)
    name = draw(st.sampled_from(["a", "b", "a/b"]))
    target = draw(st.sampled_from(["../out", "../../out", "..", "../..", "/", "/proc/self/root", "b", "a", "../layer/../out"]))
    below = draw(st.sampled_from(["x", "file", "out/file", "x/y", "../out/file", ".wh.file", ".wh..wh..opq"]))
    through = draw(st.sampled_from([file(f"{name}/{below}", b"y"), folder(f"{name}/{below}"), hardlink("c", f"{name}/{below}"), symlink(f"{name}/{below}", "z"), fifo(f"{name}/{below}")]))
    return [*draw(few), symlink(name, target), *draw(few), through, *draw(few)]


@given(st.one_of(st.lists(MEMBERS, max_size=8), attacks()))
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
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
