"""Real engines, each started for its module in a place of its own, with pyoci and runc side by side."""

import ctypes
import platform

import engine_daemons
import engine_image
import pytest

RT_SIGACTION = {"x86_64": 13, "aarch64": 134}
SIGNALS_OF_LIBC = (32, 33)


@pytest.fixture(scope="session", autouse=True)
def signals_of_libc():
    """Begin with the default action for the two signals that the C library keeps for itself: some build machines ignore them, runc hands that
    on, and pyoci does not.  By the kernel's own call, since the C library refuses them.  rt_sigaction(2)"""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in SIGNALS_OF_LIBC:
        libc.syscall(RT_SIGACTION[platform.machine()], number, ctypes.create_string_buffer(32), None, 8)


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The image, as a file."""
    path = tmp_path_factory.mktemp("engines") / "image.tar"
    engine_image.make(path)
    return path


@pytest.fixture(scope="module")
def docker(archive):
    """run(script, runtime) with dockerd's client on PATH; the script finds RT, and NAME, which no other script has."""
    with engine_daemons.dockerd(archive) as engine:
        yield engine


@pytest.fixture(scope="module")
def docker_remapped(archive):
    """A dockerd whose containers have a user namespace: userns-remap."""
    owners = "for id in u g; do printf 'nobody:200000:65536\\nnogroup:200000:65536\\n' >sub$id; mount --bind sub$id /etc/sub${id}id; done"
    with engine_daemons.dockerd(archive, owners, **{"userns-remap": "nobody:nogroup"}) as engine:
        yield engine


@pytest.fixture(scope="module")
def containerd(archive):
    """run(script, runtime) with ctr; the script finds RUN, a `ctr run` with the runtime, and I, the image."""
    with engine_daemons.containerd(archive) as engine:
        yield engine


@pytest.fixture(scope="module")
def cri(archive):
    """run(script, runtime) with CRI, which plays a scenario of engine_cri.py."""
    with engine_daemons.cri(archive) as engine:
        yield engine


@pytest.fixture(scope="module")
def podman(archive):
    """run(script, runtime) with podman on PATH, which knows its runtime."""
    with engine_daemons.podman(archive) as engine:
        yield engine


@pytest.fixture(scope="module")
def podman_of_user(archive):
    """The same of a user who is not root."""
    with engine_daemons.podman_of_user(archive) as engine:
        yield engine
