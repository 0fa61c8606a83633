"""features and spec: what this runtime and this host can do, and a config.json to begin with."""

import posix

from pyoci.cgroup.layout import read_layout
from pyoci.kernel.proc import read_file


def features():
    """The features document.  features.md"""
    from pyoci.seccomp.program import known
    from pyoci.spec.features import features as document

    seccomp = known()
    return document(
        last_capability=int(read_file("/proc/sys/kernel/cap_last_cap")),
        libseccomp=seccomp.get("libseccompVersion", ""),
        seccomp_archs=seccomp.get("archs", ()),
        seccomp_flags=seccomp.get("supportedFlags", ()),
    )


def spec(rootless):
    """The document of `pyoci spec`."""
    from pyoci.spec.defaults import spec as document

    return document(rootless, cgroup2=read_layout().version == 2, euid=posix.geteuid(), egid=posix.getegid())
