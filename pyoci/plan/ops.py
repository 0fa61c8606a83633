"""The vocabulary of the plan: every operation, who carries it out, its arguments, and what it means.

One row an operation; the row is the single source for the wire format, for init's `ops.h`, for `pyoci plan`
and for the tests.  An argument is `name:kind`, kind being

    i  integer (signed 64 bits)        s  string, or None        l  list of strings
    b  bytes                           f  number of a descriptor slot, -1 for none

HOST operations are carried out by Python in the runtime's namespaces, INIT operations by the static init in the
container's.  Nothing here knows config.json or makes a call.
"""

HOST = 0
INIT = 1

# name, actor, arguments, where its calls are described, one line of meaning
TABLE = (
    # --- act one, the runtime's side
    ("claim", HOST, "id:s bundle:s rootfs:s", "mkdir(2)", "make the state directory and store the config in it"),
    ("listen", HOST, "slot:f", "unix(7)", "make the gate, a listening socket that `start` will connect to"),
    ("make_directory", HOST, "name:s mode:i", "mkdir(2)", "make a directory in the state directory, for the notify socket"),
    ("open_namespace", HOST, "type:i path:s slot:f", "setns(2)", "open the namespace to join and check its type"),
    ("open_procfs", HOST, "slot:f", "proc(5)", "open the runtime's procfs, in which init finds itself when its own root is the container's"),
    ("make_cgroup", HOST, "directories:l", "cgroups(7)", "make the container's cgroups"),
    ("delegate_cgroup", HOST, "uid:i", "cgroups(7)", "give the cgroup to the container's user"),
    ("limit", HOST, "controller:s file:s values:l optional:i", "cgroups(7)", "write a resource limit"),
    ("open_cgroups", HOST, "directories:l paths:l required:i slot:f", "cgroups(7)", "open the cgroups of version 1 that init is to enter, the required ones first"),
    ("spawn", HOST, "flags:i preserve:i raise_capabilities:i cgroup:s open:i", "clone3(2)", "start init in its new namespaces"),
    ("map_ids", HOST, "uid_map:s gid_map:s deny_setgroups:i uid_tool:s gid_tool:s", "user_namespaces(7)", "write the user and group id maps"),
    ("start_scope", HOST, "bus:s unit:s slice:s directories:l properties:l", "systemd.scope(5)",
     "have systemd make a scope, with its cgroups and limits, and init in it"),
    ("place_in_cgroup", HOST, "directories:l beside:i optional:i bus:s unit:s", "cgroups(7)", "place init into the container's cgroups"),
    ("score_oom", HOST, "value:i", "proc(5)", "set the out-of-memory score adjustment"),
    ("open_source", HOST, "source:s target:s slot:f", "openat2(2)", "open, in init's mount namespace, what root of the user namespace can't reach"),
    ("hook", HOST, "kind:s index:i path:s args:l env:l timeout_s:i status:s", "config.md#posix-platform-hooks",
     "run a hook in the runtime's namespaces"),
    ("limit_process", HOST, "resource:i soft:i hard:i name:s", "prlimit(2)", "set a resource limit of the process"),
    ("send_console", HOST, "socket:s slot:f", "unix(7)", "send the master of the terminal to the console socket"),
    ("send_pidfd", HOST, "socket:s payload:s", "pidfd_open(2)", "send a pidfd of the process to the pidfd socket"),
    ("record", HOST, "", "runtime.md#state", "store the container's record"),
    ("write_pid", HOST, "path:s", "rename(2)", "write the pid file"),

    # --- act one of a restore: there is no init
    ("spawn_stand_in", HOST, "", "clone3(2)", "start init with nothing to do: a scope of systemd can't be empty until criu is there"),
    ("change_scope", HOST, "bus:s unit:s properties:l", "systemd.resource-control(5)", "have systemd limit the scope"),
    ("make_mount_points", HOST, "rootfs:s points:l", "mkdir(2)", "make the mount points that are missing in the rootfs"),
    ("restore_namespaces", HOST,
     "images:s work:s rootfs:s switches:l values:l mounts:l inherit:l join:l", "criu(8)",
     "have criu make the namespaces that the images describe"),
    ("raise_loopback", HOST, "", "netdevice(7)", "bring up the loopback device of the new network namespace"),
    ("restore_processes", HOST, "slot:f", "criu(8)", "have criu make the processes, which still stand"),
    ("resume_processes", HOST, "", "criu(8)", "let the restored processes run"),

    # --- act one, init's side
    ("wait_for", INIT, "index:i", "recvmsg(2)", "wait until an overlapped operation of the runtime is done"),
    ("enter_cgroups", INIT, "directories:l required:i slot:f", "cgroups(7)", "enter cgroups that the runtime has opened, the required ones first"),
    ("become_root", INIT, "", "setresuid(2)", "become root of the new user namespace"),
    ("join", INIT, "type:i slot:f", "setns(2)", "join a namespace"),
    ("unshare", INIT, "flags:i", "unshare(2)", "make namespaces that belong to the ones just joined"),
    ("clone_again", INIT, "", "clone(2)", "go on as a child inside the namespaces just joined"),
    ("new_session", INIT, "", "setsid(2)", "lead a new session"),
    ("keyring", INIT, "name:s", "keyctl(2)", "join a new session keyring"),
    ("loopback_up", INIT, "", "netdevice(7)", "bring the loopback device up"),
    ("propagate_root", INIT, "flags:i", "mount_namespaces(7)", "set the propagation of the whole mount tree"),
    ("open_rootfs", INIT, "path:s bind:i", "open_tree(2)", "make the rootfs a mount of its own and hold it open"),
    ("mount", INIT, "fstype:s source:s target:s attr_set:i flags:l data:l copy_up:i mode:i", "fsopen(2)",
     "mount a new file system"),
    ("bind", INIT, "source:s target:s slot:f recursive:i attr_set:i attr_clr:i rattr_set:i rattr_clr:i must_proc:i",
     "open_tree(2)", "bind a tree of the host"),
    ("remount", INIT, "target:s attr_set:i attr_clr:i rattr_set:i rattr_clr:i", "mount_setattr(2)",
     "change the attributes of a mount"),
    ("propagate", INIT, "target:s flags:i", "mount_setattr(2)", "set the propagation of a mount"),
    ("cgroup_view", INIT, "target:s name:s subdirectory:s slot:f attr_set:i", "cgroups(7)", "show the container its own cgroup"),
    ("make_link", INIT, "path:s content:s replace:i", "symlink(2)", "make a symbolic link in the rootfs"),
    ("make_device", INIT, "path:s type:i major:i minor:i mode:i uid:i gid:i strict:i", "mknod(2)",
     "make a device node in the rootfs"),
    ("bind_device", INIT, "path:s type:i major:i minor:i source:s slot:f", "open_tree(2)", "bind a device of the host"),
    ("hook_inside", INIT, "kind:s index:i path:s args:l env:l timeout_s:i head:s tail:s",
     "config.md#posix-platform-hooks", "run a hook in the container's namespaces"),
    ("pivot", INIT, "", "pivot_root(2)", "make the rootfs the root and let go of the host's"),
    ("move_root", INIT, "", "mount(2)", "move the rootfs over the root (--no-pivot)"),
    ("change_root", INIT, "", "chroot(2)", "change the root directory (no mount namespace)"),
    ("make_cwd", INIT, "path:s", "mkdir(2)", "make the working directory where it is missing"),
    ("open_console", INIT, "slot:f width:i height:i mount:i uid:i", "pty(7)", "open the terminal and make it the process's own"),
    ("seal_root", INIT, "", "mount_setattr(2)", "make the root read-only"),
    ("seal_mount", INIT, "target:s", "mount_setattr(2)", "make a mount read-only now that it is filled"),
    ("hostname", INIT, "name:s", "sethostname(2)", "set the host name"),
    ("domainname", INIT, "name:s", "setdomainname(2)", "set the NIS domain name"),
    ("sysctl", INIT, "path:s value:s", "proc(5)", "set a kernel parameter of the namespace"),
    ("protect", INIT, "path:s", "mount_setattr(2)", "make a path read-only"),
    ("hide", INIT, "path:s", "move_mount(2)", "hide a path"),
    ("label", INIT, "file:s instead:s text:s slot:f", "proc_pid_attr(5)", "name the security label that execve gives the process"),
    ("no_new_privileges", INIT, "", "prctl(2)", "forbid gaining privileges by execve"),
    ("personality", INIT, "value:i", "personality(2)", "set the execution domain"),
    ("set_umask", INIT, "mask:i", "umask(2)", "set the file mode creation mask"),
    ("own_stdio", INIT, "uid:i", "chown(2)", "give the standard streams to the user"),
    ("bound_capabilities", INIT, "mask:i", "capabilities(7)", "drop capabilities from the bounding set"),
    ("become_user", INIT, "uid:i gid:i groups:b keep_groups:i", "credentials(7)", "become the user of the process"),
    ("capabilities", INIT, "effective:i permitted:i inheritable:i ambient:i", "capabilities(7)", "set the capability sets"),
    ("change_directory", INIT, "path:s late:i", "chdir(2)", "enter the working directory and check that it is inside"),
    ("home", INIT, "uid:i", "passwd(5)", "find HOME in the container's own passwd file"),
    ("find_program", INIT, "name:s search:s", "execve(2)", "find the program in the container"),
    ("seccomp", INIT, "flags:i filter:b", "seccomp(2)", "install the system call filter"),
    ("close_on_execute", INIT, "preserve:i", "close_range(2)", "let go of every descriptor but the process's own at execve"),
    ("gate", INIT, "slot:f", "accept(2)", "wait for `start`"),
    ("execute", INIT, "args:l env:l listen:i", "execve(2)", "become the process"),

    ("leave", INIT, "", "_exit(2)", "end, since the config has no process to become"),

    # --- act three, the runtime's side
    ("undo", HOST, "", "runtime.md#delete", "undo what create did, newest first"),
)

NUMBER = {row[0]: number for number, row in enumerate(TABLE)}
KINDS = tuple(tuple(word[-1] for word in row[2].split()) for row in TABLE)


def argument_names(number):
    """Names of the arguments of an operation, in order."""
    return tuple(word[:-2] for word in TABLE[number][2].split())


# What an INIT operation was doing when it failed; init reports the number, Python owns the word.
STEPS = (
    "", "recvmsg", "sendmsg", "open", "openat2", "mkdirat", "mknodat", "symlinkat", "unlinkat", "fstat", "fsopen", "fsconfig",
    "fsmount", "open_tree", "mount_setattr", "move_mount", "umount2", "pivot_root", "chroot", "chdir", "fchdir", "mount",
    "setns", "unshare", "clone", "setsid", "keyctl", "socket", "ioctl", "sethostname", "setdomainname", "write", "read",
    "prctl", "personality", "fchown", "fchmod", "setgroups", "setresgid", "setresuid", "capset", "getcwd", "seccomp", "accept",
    "execve", "poll", "wait", "mmap", "dup", "verify procfs", "verify device", "verify directory", "verify terminal",
    "verify working directory", "hook exit", "hook signal", "hook time-out", "find program", "readlink", "getdents64", "copy",
    "close_range", "plan", "pipe", "statfs", "rename",
)
