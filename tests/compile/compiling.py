"""A small valid config, the facts of invented hosts, and questions about the plan that comes out."""

import copy

from pyoci.cgroup.layout import Layout
from pyoci.compile.container import Facts, compile_container
from pyoci.plan.ops import argument_names

CONTROLLERS = ("cpu", "cpuset", "memory", "devices", "freezer", "pids", "blkio")
V1 = Layout(
    1,
    {name: (f"/sys/fs/cgroup/{name}", "/") for name in CONTROLLERS},
    dict.fromkeys(CONTROLLERS, "/"),
    frozenset(CONTROLLERS),
)
V2 = Layout(2, {"": ("/sys/fs/cgroup", "/")}, {"": "/own.scope"}, frozenset(("cpu", "cpuset", "memory", "pids", "io", "hugetlb")))
HYBRID = Layout(
    1,
    {**V1.mounts, "": ("/sys/fs/cgroup/unified", "/"), "name=systemd": ("/sys/fs/cgroup/systemd", "/")},
    {**V1.own, "": "/", "name=systemd": "/"},
    V1.controllers,
)
LAYOUTS = {"v1": V1, "v2": V2, "hybrid": HYBRID}
FILTER = (0, b"12345678")
MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
CONFIG = {
    "ociVersion": "1.2.0",
    "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network")]},
}


def config(**sections):
    """The small config with sections replaced; `process_` and `linux_` are merged into theirs."""
    made = copy.deepcopy(CONFIG)
    for name, value in sections.items():
        if name in ("process_", "linux_"):
            made[name[:-1]].update(value)
        elif value is None:
            made.pop(name, None)
        else:
            made[name] = value
    return made


def namespaces(*words):
    """linux.namespaces of words: `pid` is new, `pid=/path` is joined."""
    found = []
    for word in words:
        kind, _, path = word.partition("=")
        found.append({"type": kind, "path": path} if path else {"type": kind})
    return found


def in_user_namespace(*words, **linux):
    """The section linux for a new user namespace and those words."""
    return {"namespaces": namespaces("user", *words), "uidMappings": MAPS, "gidMappings": MAPS, **linux}


def facts(layout=V1, kernel=(6, 8), seccomp=None, **call):
    """Facts of a host and a call."""
    found = Facts(layout, kernel, "/bundle/rootfs", call.pop("has_kcore", False), seccomp)
    for name, value in call.items():
        setattr(found, name, value)
    return found


def compiled(document, given=None):
    """The Plan."""
    return compile_container("name", "/bundle", document, given or facts())


def create(document, given=None):
    """Act one of the Plan."""
    return compiled(document, given).create


def names(ops):
    return [op.name for op in ops]


def some(ops, *wanted):
    """Those of the wanted names, as (name, arguments...)."""
    return [(op.name, *op.args) for op in ops if op.name in wanted]


def one(ops, name):
    """The only operation of that name."""
    (found,) = [op for op in ops if op.name == name]
    return found


def argument(ops, name, word):
    """An argument, by its word, of the only operation of that name."""
    op = one(ops, name)
    return dict(zip(argument_names(op.number), op.args))[word]


def place(ops, name, **arguments):
    """The index of the first of that name."""
    for index, op in enumerate(ops):
        if op.name == name and all(op.args[argument_names(op.number).index(key)] == value for key, value in arguments.items()):
            return index
    raise AssertionError(f"no {name} {arguments} in {names(ops)}")


def in_order(ops, *wanted):
    """Whether the first of each name stands before the first of the next."""
    places = [place(ops, name) for name in wanted]
    return places == sorted(places)
