"""process -> operations: user, capabilities, limits, directory, program.  Used for create and, by joining.py, for exec.

config.md#process, config.md#linux-process
"""

from _struct import pack

from pyoci.cgroup.layout import SYSTEMD
from pyoci.errors import ConfigError
from pyoci.plan.plan import Op
from pyoci.spec.names import CAPABILITIES, RLIMITS

DEFAULT_UMASK = 0o022  # what every runtime sets where the spec says "unchanged"; images rely on it
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def environment(process, extra=()):
    """The environment as a list, the last of two equal names winning in the first one's place; and its HOME and PATH."""
    values = {}
    for word in process.get("env") or ():
        name, _, value = word.partition("=")
        values[name] = value
    for name, value in extra:
        values[name] = value
    if not values.get("HOME"):
        values.pop("HOME", None)
    return [f"{name}={value}" for name, value in values.items()], values.get("HOME"), values.get("PATH")


def capability_masks(process):
    """{set: mask}; what is not named is not held.  Unknown names are left out."""
    sets = process.get("capabilities") or {}
    masks = {}
    for name in SETS:
        mask = 0
        for word in sets.get(name) or ():
            mask |= 1 << CAPABILITIES[word] if word in CAPABILITIES else 0  # validate.py told of unknown ones
        masks[name] = mask
    # The kernel raises nothing that is not permitted and inheritable too; old default configs ask for it all the same.
    masks["ambient"] &= masks["permitted"] & masks["inheritable"]
    return masks


def labels(process, origin, without, take_slot):
    """The operations that name the labels of `process`, but for the members in `without`: the first opens the procfs for the rest."""
    wanted = [(name, files, text) for name, files, text in (
        ("apparmorProfile", ("self/attr/apparmor/exec", "self/attr/exec"), "exec {}"),  # the second up to Linux 5.7
        ("selinuxLabel", ("self/attr/exec", None), "{}"),
    ) if process.get(name) and name not in without]  # fmt: skip
    if not wanted:
        return []
    slot = take_slot()
    return [Op("open_procfs", f"{origin}.{wanted[0][0]}", slot)] + [
        Op("label", f"{origin}.{name}", *files, text.format(process[name]), slot) for name, files, text in wanted
    ]


def cgroup_lines(directories):
    """The cgroups as an argument of an operation; `any(directories)`: there are some of version 1."""
    return [f"{name}\t{path}" for name, path in directories.items()]


def cgroup_entry(directories, origin, take_slots):
    """(HOST's operation, INIT's): init goes into the cgroups of version 1 by itself, for whoever moves another waits for the kernel's RCU.

    That of version 2 is not among them: clone3 makes a process in one.  `take_slots`: callable(how many) -> the first.
    """
    names = {path: name for name, path in directories.items() if name}
    paths = sorted(names, key=lambda path: names[path] == SYSTEMD)  # which alone may fail
    required = len(paths) - (SYSTEMD in names.values())
    slot = take_slots(len(paths))
    return Op("open_cgroups", origin, cgroup_lines(directories), paths, required, slot), Op("enter_cgroups", origin, paths, required, slot)


def keyring(ops, name, labels):
    """A session keyring that the process may use once it has its SELinux label: made with that label, which is then forgotten."""
    named = [op for op in labels if op.name == "label" and op.origin.endswith(".selinuxLabel")]
    for op in named:
        ops.append(Op("label", op.origin, "self/attr/keycreate", None, op.args[2], op.args[3]))
    ops.append(Op("keyring", "default", name))
    for op in named:
        ops.append(Op("label", op.origin, "self/attr/keycreate", None, "\n", op.args[3]))


def identity(ops, process, origin, masks, seccomp, preserve, *, keep_groups=False, labels=()):
    """From the privileged init to the user of the process; the seccomp filter where it needs privilege.

    `seccomp`: (flags, filter) or None.  `preserve`: how many descriptors from 3 on the process keeps.  `labels`: of labels(), the
    operations of init's side: before the user and the filter, which could both forbid them.
    """
    user = process.get("user") or {}
    uid, gid = user.get("uid") or 0, user.get("gid") or 0
    groups = user.get("additionalGids") or ()
    cwd = process["cwd"]
    private = bool(process.get("noNewPrivileges"))
    ops.extend(labels)
    if private:
        ops.append(Op("no_new_privileges", f"{origin}.noNewPrivileges"))
    ops.append(Op("close_on_execute", "default", preserve))
    if uid and not process.get("terminal"):
        ops.append(Op("own_stdio", f"{origin}.user", uid))
    ops.append(Op("change_directory", f"{origin}.cwd", cwd, 0))
    sets = process.get("capabilities")
    bounding = "default" if sets is None else f"{origin}.capabilities" + ".bounding" * ("bounding" in sets)
    named = "default" if sets is None else f"{origin}.capabilities"
    ops.append(Op("bound_capabilities", bounding, masks["bounding"]))
    ops.append(Op("become_user", f"{origin}.user", uid, gid, pack(f"<{len(groups)}I", *groups), int(keep_groups)))
    umask = user.get("umask")
    ops.append(Op("set_umask", f"{origin}.user.umask" if umask is not None else "default", DEFAULT_UMASK if umask is None else umask))
    if seccomp and not private:
        # From here on init makes only calls that docs/seccomp.md lists.
        _program(ops, process, origin, cwd)
        ops.append(Op("seccomp", "linux.seccomp", seccomp[0], seccomp[1]))
        _capabilities(ops, named, masks)
    else:
        _capabilities(ops, named, masks)
        _program(ops, process, origin, cwd)


def _capabilities(ops, origin, masks):
    ops.append(Op("capabilities", origin, masks["effective"], masks["permitted"], masks["inheritable"], masks["ambient"]))


def _program(ops, process, origin, cwd):
    args = process.get("args") or ()
    if not args:
        raise ConfigError(f"{origin}.args", "args must not be empty", "config.md#process")
    ops.append(Op("change_directory", f"{origin}.cwd", cwd, 1))
    _, home, path = environment(process)
    if not home:
        ops.append(Op("home", "default", (process.get("user") or {}).get("uid") or 0))
    search = None if "/" in args[0] else (path if path is not None else DEFAULT_PATH)
    ops.append(Op("find_program", f"{origin}.args[0]", args[0], search))


def console(ops, process, slot, has_mounts):
    """The terminal, whose master goes up in that slot; /dev/console is covered where the container has mounts of its own."""
    size = process.get("consoleSize") or {}
    width, height = (min(size.get(name) or 0, 65535) for name in ("width", "height"))
    uid = (process.get("user") or {}).get("uid") or 0
    ops.append(Op("open_console", "process.terminal", slot, width, height, int(has_mounts), uid))


def limits(ops, process, origin):
    """rlimits, set by HOST: init may lack the privilege in its user namespace.

    Before init becomes the user: prlimit(2) on a process of another user takes CAP_SYS_RESOURCE, which nested runtimes lack.
    """
    for index, limit in enumerate(process.get("rlimits") or ()):
        name = limit["type"]
        ops.append(Op("limit_process", f"{origin}.rlimits[{index}]", RLIMITS[name], limit["soft"], limit["hard"], name))


def execute(process, origin, listen_fds, notify=False):
    """The last operation.  `listen_fds`: of socket activation, sd_listen_fds(3); `notify`: readiness is waited for, sd_notify(3)."""
    extra = [("LISTEN_FDS", str(listen_fds))] if listen_fds else []
    if notify:
        extra.append(("NOTIFY_SOCKET", "/run/notify/notify.sock"))
    env, _, _ = environment(process, extra)
    return Op("execute", f"{origin}.args", list(process["args"]), env, int(bool(listen_fds)))
