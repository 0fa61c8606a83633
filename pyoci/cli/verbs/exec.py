"""pyoci exec: run another process in a running container.

The process is process.json as it is (--process), or the container's own process object with what the flags change.
Source: runc-exec(8). Rejected: crun's reading of `--user 1` as 0:0 (CVE-2026-30892); a user that cannot be read is refused.
"""

from pyoci.cli.options import CONSOLE_SOCKET, DETACH, LIST, PID_FILE, PIDFD_SOCKET, PRESERVE_FDS, SWITCH, TEXT, BadUsage, number
from pyoci.errors import UsageError

SUMMARY = "run another process in a running container"
USAGE = "<container-id> <command> [args...]  ||  -p process.json <container-id>"
ABOUT = """Without --process, the new process is like the container's own one (user, environment, capabilities, working
directory), except for the command, what the flags change, and the terminal: only --tty gives it one. Flags come before the
id. Exits with the status of the process, or with 255 if it could not be run. Without --tty the process gets the caller's
standard input, output and error themselves, as runc gives them with --detach: whatever it leaves behind in the container can
read that terminal or write to that file later. Where the container is not trusted, give it pipes or /dev/null."""
EXAMPLE = "pyoci exec --tty --user 1000:1000 --env LANG=C web sh"
OPTIONS = (
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    ("cwd", "", TEXT, "DIR", "working directory in the container"),
    ("env", "e", LIST, "NAME=VALUE", "set an environment variable"),
    ("tty", "t", SWITCH, "", "give the process a terminal"),
    ("user", "u", TEXT, "UID[:GID]", "user and group; without GID the container's own group"),
    ("additional-gids", "g", LIST, "GID", "add a supplementary group"),
    ("process", "p", TEXT, "FILE", "read the process from a JSON file (the flags that would change it are then ignored)"),
    DETACH,
    PID_FILE,
    ("process-label", "", TEXT, "LABEL", "SELinux label of the process; the container's own without"),
    ("apparmor", "", TEXT, "PROFILE", "AppArmor profile of the process; the container's own without"),
    ("no-new-privs", "", SWITCH, "", "no privileges can be gained by executing programs"),
    ("cap", "c", LIST, "CAP_NAME", "add a capability to the bounding, effective and permitted set"),
    PRESERVE_FDS,
    ("cgroup", "", LIST, "[CTRL:]PATH", "run in a cgroup below the container's one"),
    ("ignore-paused", "", SWITCH, "", "allow it in a paused container; the process runs once it is resumed"),
)
ARGUMENTS = (1, None)

HIGHEST_ID = 2**32 - 2  # -1 means "no change" to the kernel


def call(command):
    values = command.values
    container_id, *words = command.arguments
    changes = changes_of(values, words)
    cgroup = parse_cgroups(values.get("cgroup", ()))
    runtime = command.runtime()
    process = read_process(values["process"]) if values.get("process") else changed(runtime.exec_process(container_id), changes)
    return runtime.exec(
        container_id,
        process,
        detach=values.get("detach", False),
        console_socket=values.get("console-socket") or None,
        pidfd_socket=values.get("pidfd-socket") or None,
        pid_file=values.get("pid-file") or None,
        preserve_fds=values.get("preserve-fds", 0),
        cgroup=cgroup,
        ignore_paused=values.get("ignore-paused", False),
    )


def changes_of(values, words):
    """The flags and the command as changes to a process object; everything that can be refused is refused here."""
    if values.get("process"):
        return {}
    if not words:
        raise UsageError("exec args cannot be empty")
    changes = {"args": words, "terminal": values.get("tty", False)}
    if values.get("cwd"):
        changes["cwd"] = values["cwd"]
    for flag, name in (("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if values.get(flag):
            changes[name] = values[flag]
    if "no-new-privs" in values:
        changes["noNewPrivileges"] = values["no-new-privs"]
    changes["env"] = [_variable(word) for word in values.get("env", ())]
    changes["user"] = parse_user(values.get("user", ""))
    changes["groups"] = [parse_group(word) for word in values.get("additional-gids", ())]
    changes["capabilities"] = values.get("cap", [])
    return changes


def changed(process, changes):
    """A new process object: the container's own `process` with `changes`. The old one is left as it is."""
    new = dict(process)
    for key in ("args", "terminal", "cwd", "noNewPrivileges", "selinuxLabel", "apparmorProfile"):
        if key in changes:
            new[key] = changes[key]
    new["env"] = list(process.get("env") or ()) + changes["env"]
    user = dict(process.get("user") or {})
    user.update(changes["user"])
    if changes["groups"]:
        user["additionalGids"] = list(user.get("additionalGids") or ()) + changes["groups"]
    new["user"] = user
    if changes["capabilities"]:
        new["capabilities"] = _with_capabilities(process.get("capabilities") or {}, changes["capabilities"])
    if not new["terminal"]:
        new.pop("consoleSize", None)
    return new


def _with_capabilities(sets, added):
    """Never into the inheritable set (CVE-2022-29162); into the ambient one only where something was inheritable before."""
    names = ["bounding", "effective", "permitted"] + (["ambient"] if sets.get("inheritable") else [])
    new = dict(sets)
    for name in names:
        old = list(new.get(name) or ())
        new[name] = old + [word for word in added if word not in old]
    return new


def parse_user(text):
    """{} for "", {"uid": 1} for "1", {"uid": 1, "gid": 2} for "1:2". Raises UsageError for anything else."""
    if not text:
        return {}
    uid, colon, gid = text.partition(":")
    user = {"uid": _id(uid, "uid", text)}
    if colon:
        user["gid"] = _id(gid, "gid", text)
    return user


def _id(word, kind, text):
    try:
        if not word[:1].isdigit():  # "+5" is no id
            raise ValueError
        return number(word, 0, HIGHEST_ID)
    except ValueError:
        raise UsageError(f'bad {kind}: "{word}" in --user {text}: a number from 0 to {HIGHEST_ID} expected') from None


def parse_group(word):
    """One --additional-gids. Raises BadUsage for what is no number, UsageError for one out of range."""
    try:
        group = number(word)
    except ValueError:
        raise BadUsage(f'invalid value "{word}" for flag -additional-gids: parse error') from None
    if not 0 <= group <= HIGHEST_ID:
        raise UsageError(f"additional-gids must be a positive number {word}")
    return group


def _variable(word):
    if word.startswith("=") or not word:
        raise UsageError(f'--env "{word}": the name of the variable is empty')
    return word


def parse_cgroups(words):
    """None, or {controller: path}; the key "" means every controller (cgroup v2). Raises UsageError."""
    paths = {}
    for word in words:
        controllers, colon, path = word.partition(":")
        if not colon:
            if len(words) > 1:
                raise UsageError(f"invalid --cgroup argument: {word} (missing <controller>: prefix)")
            return {"": word}
        for controller in controllers.split(","):
            if not controller:
                raise UsageError(f"invalid --cgroup argument: {word} (empty <controller> prefix)")
            if controller in paths:
                raise UsageError(f"invalid --cgroup argument(s): controller {controller} specified multiple times")
            paths[controller] = path
    return paths or None


def read_process(path):
    """The process object in a JSON file. Raises ConfigError, SyscallError."""
    from pyoci.spec.decode import decode, read_document

    return decode(read_document(path, document="process.json"), "process.json")
