"""process.json and a running container -> the plan for exec.  One act: join what the container has, become the process."""

from pyoci.compile import process as compile_process
from pyoci.kernel.calls import CLONE_NEWPID, CLONE_NEWUSER
from pyoci.plan.plan import Op

SLOT_FREE = 4


class Joining:
    """What the compiler must know of the container and of the call.

    namespaces      [(CLONE_NEW flag, path)] of those that differ from the runtime's
    directories     {controller: directory} to enter
    pid             the container's first process
    root            path to chroot to where the mount namespace is the runtime's own, or ""
    seccomp         (flags, filter) or None
    keep_groups     setgroups is denied in the user namespace
    unprivileged    the caller has no privilege before it has joined the user namespace
    rootless        nor on the host, where it is not the host's root
    scope           (path of the bus, unit) of a systemd that can place the process where a user can't, or two ""
    keyring         name of a new session keyring, or "" for the caller's
    without         names of the labels whose security module this host does not have
    preserve_fds, console_socket, pidfd_socket
    """

    __slots__ = ("namespaces", "directories", "pid", "root", "seccomp", "keep_groups", "keyring", "preserve_fds", "console_socket",
                 "pidfd_socket", "without", "unprivileged", "rootless", "scope")  # fmt: skip

    def __init__(self, namespaces, directories, pid):
        self.namespaces = namespaces
        self.directories = directories
        self.pid = pid
        self.root = self.keyring = self.console_socket = self.pidfd_socket = ""
        self.seccomp = None
        self.keep_groups = self.unprivileged = self.rootless = False
        self.scope = ("", "")
        self.preserve_fds = 0
        self.without = ()


def compile_exec(process, facts):
    """The operations for one further process."""
    ops = []
    slots = {}
    for flag, path in facts.namespaces:
        slots[flag] = SLOT_FREE + len(slots)
        ops.append(Op("open_namespace", "default", flag, path, slots[flag]))
    labels = compile_process.labels(process, "process", facts.without, lambda: SLOT_FREE + len(slots) + 1)
    ops.extend(labels[:1])
    enter = []
    if any(facts.directories) and not facts.rootless:
        opened, entered = compile_process.cgroup_entry(facts.directories, "default", lambda count: SLOT_FREE + len(slots) + 2)
        ops.append(opened)
        enter.append(entered)
    ops.append(Op("spawn", "default", 0, facts.preserve_fds, 0, None if facts.rootless else facts.directories.get(""), int(facts.rootless)))
    score = process.get("oomScoreAdj")
    if score is not None:
        ops.append(Op("score_oom", "process.oomScoreAdj", score))
    if facts.directories and not enter:
        lines = compile_process.cgroup_lines(facts.directories)
        ops.append(Op("place_in_cgroup", "default", lines, facts.pid, int(facts.rootless), *facts.scope, overlapped=True))
        enter.append(Op("wait_for", "default", len(ops) - 1))
    if facts.root:
        ops.append(Op("open_rootfs", "default", facts.root, 0))
    joins = [Op("join", "default", flag, slot) for flag, slot in slots.items() if flag != CLONE_NEWUSER]
    user = []
    if CLONE_NEWUSER in slots:
        user = [Op("join", "default", CLONE_NEWUSER, slots[CLONE_NEWUSER]), Op("become_root", "default")]
    # Last: until then init is the host's root, who may join any of them; a user gets the right to by joining that one.
    ops.extend(user + joins if facts.unprivileged else joins + user)
    if facts.root:
        ops.append(Op("change_root", "default"))
    # The limits hold before anything of the container's runs.
    ops.extend(enter)
    if CLONE_NEWPID in slots:
        # Only now does it show in the container's /proc: init, sealed, inside, and limited; never this program (CVE-2019-5736).
        ops.append(Op("clone_again", "default"))
    ops.append(Op("new_session", "default"))
    if facts.keyring:
        compile_process.keyring(ops, facts.keyring, labels)
    if process.get("terminal"):
        compile_process.console(ops, process, SLOT_FREE + len(slots), False)
    masks = compile_process.capability_masks(process)
    compile_process.limits(ops, process, "process")
    compile_process.identity(ops, process, "process", masks, facts.seccomp, facts.preserve_fds,
                             keep_groups=facts.keep_groups, labels=labels[1:])  # fmt: skip
    if process.get("terminal"):
        ops.append(Op("send_console", "process.terminal", facts.console_socket, SLOT_FREE + len(slots)))
    if facts.pidfd_socket:
        ops.append(Op("send_pidfd", "default", facts.pidfd_socket, "setns"))
    if facts.seccomp and process.get("noNewPrivileges"):
        ops.append(Op("seccomp", "linux.seccomp", facts.seccomp[0], facts.seccomp[1]))
    ops.append(compile_process.execute(process, "process", 0))
    return ops
