"""The plan for people and for programs, and an operation in words.  Cold."""

from pyoci.plan.ops import INIT, KINDS, TABLE, argument_names

_PROPAGATION = {0x40000: "private", 0x80000: "slave", 0x100000: "shared", 0x20000: "unbindable"}
_ATTRIBUTES = ((0x1, "ro"), (0x2, "nosuid"), (0x4, "nodev"), (0x8, "noexec"), (0x80, "nodiratime"), (0x200000, "nosymfollow"))
_NAMESPACES = ((0x80, "time"), (0x20000, "mount"), (0x2000000, "cgroup"), (0x4000000, "uts"), (0x8000000, "ipc"),
               (0x10000000, "user"), (0x20000000, "pid"), (0x40000000, "network"))  # fmt: skip
_DEVICES = {0o020000: "c", 0o060000: "b", 0o010000: "p"}


def attributes(bits):
    """`ro,nosuid` for mount attribute bits; "" for none."""
    words = [word for bit, word in _ATTRIBUTES if bits & bit]
    atime = bits & 0x70
    if atime:
        words.append("noatime" if atime == 0x10 else "strictatime")
    return ",".join(words)


def namespaces(flags):
    """`mount, pid` for CLONE_NEW flags."""
    return ", ".join(word for flag, word in _NAMESPACES if flags & flag)


def propagation(flags):
    """`rslave` for MS_SLAVE | MS_REC."""
    return ("r" if flags & 0x4000 else "") + next((word for flag, word in _PROPAGATION.items() if flags & flag), "?")


def arguments(op):
    """{name: value} of an operation; bytes are shown by their length."""
    names = argument_names(op.number)
    return {
        name: f"{len(value)} bytes" if kind == "b" else value for name, kind, value in zip(names, KINDS[op.number], op.args)
    }


def describe(op):
    """The operation in a few words, with what it is on: `bind /srv/data on /data`."""
    given = arguments(op)
    teller = _TELLERS.get(op.name)
    return teller(given) if teller else " ".join([op.name.replace("_", " "), *(str(value) for value in _plain(given))])


def _plain(given):
    return [value for name, value in given.items() if name != "slot" and value not in (None, [], "")]


def _with(words, bits):
    text = attributes(bits)
    return f"{words} ({text})" if text else words


def _device(given):
    kind = _DEVICES.get(given["type"], "?")
    return f"{given['path']} {kind} {given['major']}:{given['minor']}"


_TELLERS = {
    "claim": lambda a: f"claim the id {a['id']} for {a['bundle']}",
    "listen": lambda a: "make the gate",
    "make_directory": lambda a: f"make the directory {a['name']} for the notify socket",
    "open_namespace": lambda a: f"open the {namespaces(a['type'])} namespace {a['path']}",
    "open_procfs": lambda a: "open /proc for init",
    "make_cgroup": lambda a: f"make the cgroup {_cgroup(a['directories'])}",
    "delegate_cgroup": lambda a: f"give the cgroup to uid {a['uid']}",
    "limit": lambda a: f"write {', '.join(a['values'])} to {a['file']}",
    "open_cgroups": lambda a: "open the cgroups that init enters",
    "spawn": lambda a: f"start init in new namespaces: {namespaces(a['flags']) or 'none'}" + (f", in {a['cgroup']}" if a["cgroup"] else ""),
    "map_ids": lambda a: f"map uids {' '.join(a['uid_map'].split())}, gids {' '.join(a['gid_map'].split())}" + _by(a),
    "start_scope": lambda a: f"have systemd put init into {a['unit']} in {a['slice']}" + _properties(a["properties"]),
    "place_in_cgroup": lambda a: "place init in its cgroups",
    "score_oom": lambda a: f"set oom_score_adj to {a['value']}",
    "open_source": lambda a: f"open {a['source']} for init",
    "hook": lambda a: f"run {a['kind']} hook #{a['index']} {a['path']}",
    "hook_inside": lambda a: f"run {a['kind']} hook #{a['index']} {a['path']}",
    "limit_process": lambda a: f"limit {a['name']} to {_limit(a['soft'])}, at most {_limit(a['hard'])}",
    "send_console": lambda a: f"send the terminal to {a['socket'] or 'the caller'}",
    "send_pidfd": lambda a: f"send the pidfd to {a['socket']}",
    "record": lambda a: "store the record",
    "write_pid": lambda a: f"write the pid file {a['path']}",
    "spawn_stand_in": lambda a: "start init with nothing to do, until criu is there",
    "change_scope": lambda a: f"have systemd limit {a['unit']}" + _properties(a["properties"]),
    "make_mount_points": lambda a: "make the mount points that are missing",
    "restore_namespaces": lambda a: f"have criu make the namespaces of {a['images']}",
    "raise_loopback": lambda a: "bring lo up",
    "restore_processes": lambda a: "have criu make the processes",
    "resume_processes": lambda a: "let the processes run",
    "wait_for": lambda a: f"wait for operation {a['index']}",
    "enter_cgroups": lambda a: "enter its cgroups",
    "become_root": lambda a: "become root of the user namespace",
    "join": lambda a: f"join the {namespaces(a['type'])} namespace",
    "unshare": lambda a: f"make new namespaces: {namespaces(a['flags'])}",
    "clone_again": lambda a: "go on as a child in the new namespaces",
    "new_session": lambda a: "lead a new session",
    "keyring": lambda a: f"join the session keyring {a['name']}",
    "loopback_up": lambda a: "bring lo up",
    "propagate_root": lambda a: f"make / {propagation(a['flags'])}",
    "open_rootfs": lambda a: f"open the rootfs {a['path']}",
    "mount": lambda a: _with(f"mount {a['fstype']} on {a['target']}" + _data(a), a["attr_set"]),
    "bind": lambda a: _with(f"bind {a['source']} on {a['target']}", a["attr_set"] | a["rattr_set"]),
    "remount": lambda a: _with(f"remount {a['target']}", a["attr_set"] | a["rattr_set"]),
    "propagate": lambda a: f"make {a['target']} {propagation(a['flags'])}",
    "cgroup_view": lambda a: _with(f"show the cgroup on {a['target']}", a["attr_set"]),
    "make_link": lambda a: f"link {a['path']} to {a['content']}",
    "make_device": lambda a: f"make {_device(a)} mode {a['mode']:04o} owner {a['uid']}:{a['gid']}",
    "bind_device": lambda a: f"bind the host's {_device(a)}",
    "pivot": lambda a: "make the rootfs the root",
    "move_root": lambda a: "move the rootfs over the root",
    "change_root": lambda a: "change the root to the rootfs",
    "make_cwd": lambda a: f"make the working directory {a['path']}",
    "open_console": lambda a: "open the terminal",
    "seal_root": lambda a: "make the root read-only",
    "seal_mount": lambda a: f"make {a['target']} read-only",
    "hostname": lambda a: f"set the host name to {a['name']}",
    "domainname": lambda a: f"set the domain name to {a['name']}",
    "sysctl": lambda a: f"write {a['value']} to /proc/{a['path']}",
    "protect": lambda a: f"make {a['path']} read-only",
    "hide": lambda a: f"hide {a['path']}",
    "label": lambda a: f"write {a['text'].strip() or 'nothing'} to /proc/{a['file']}",
    "no_new_privileges": lambda a: "forbid new privileges",
    "set_umask": lambda a: f"set the umask to {a['mask']:04o}",
    "own_stdio": lambda a: f"give the standard streams to uid {a['uid']}",
    "bound_capabilities": lambda a: f"keep in the capability bounding set: {_capabilities(a['mask'])}",
    "become_user": lambda a: f"become uid {a['uid']}, gid {a['gid']}",
    "capabilities": lambda a: f"hold capabilities: {_capabilities(a['permitted'])}",
    "change_directory": lambda a: f"enter {a['path']}" + (", now as the user, if not yet" if a["late"] else ""),
    "home": lambda a: f"find HOME of uid {a['uid']}",
    "find_program": lambda a: f"find {a['name']}" + (f" in {a['search']}" if a["search"] is not None else ""),
    "seccomp": lambda a: f"install a filter of {a['filter']}",
    "close_on_execute": lambda a: f"close descriptors from {3 + a['preserve']} on at execve",
    "gate": lambda a: "wait for start",
    "execute": lambda a: "execute " + " ".join(a["args"]),
    "leave": lambda a: "end: there is no process to become",
    "undo": lambda a: "undo what create did, newest first",
}


def _cgroup(lines):
    """The directory, or what the directories of several hierarchies end with: `.../web of cpu memory`; --json has them all."""
    named = [line.partition("\t")[::2] for line in lines]
    if len(named) == 1:
        return named[0][1]
    tail = []
    for parts in zip(*(reversed(path.split("/")) for _, path in named)):
        if len(set(parts)) > 1:
            break
        tail.insert(0, parts[0])
    return f"{'/'.join(['...', *tail])} of {' '.join(name or 'unified' for name, _ in named)}"


def _properties(lines):
    return f" with {' '.join(line.replace('=uint64 18446744073709551615', '=infinity') for line in lines)}" if lines else ""


def _by(given):
    tools = [given[name] for name in ("uid_tool", "gid_tool") if given[name]]
    return f", by {' and '.join(tools)}" if tools else ""


def _limit(value):
    return "unlimited" if value == 2**64 - 1 else str(value)  # RLIM_INFINITY


def _data(given):
    words = given["flags"] + given["data"]
    return f" with {','.join(words)}" if words else ""


def _capabilities(mask):
    from pyoci.kernel.capabilities import NAMES

    return " ".join(name[4:].lower() for number, name in enumerate(NAMES) if mask >> number & 1) or "none"


def text(plan):
    """The three acts, one line an operation: number, actor, words, origin."""
    lines = []
    for act, ops in (("create", plan.create), ("start", plan.start), ("delete", plan.delete)):
        lines.append(f"{act}:")
        for index, op in enumerate(ops):
            actor = "init" if op.actor == INIT else "host"
            mark = "|" if op.overlapped else " "
            origin = "" if op.origin == "default" else f"    # {op.origin}"
            lines.append(f"  {index:3} {actor}{mark} {describe(op)}{origin}")
    return "\n".join(lines + [f"warning: {warning}" for warning in plan.warnings]) + "\n"


def document(plan):
    """The same as a JSON document (schemas/plan.schema.json)."""
    acts = {"create": plan.create, "start": plan.start, "delete": plan.delete}
    return {
        "version": 1,
        "acts": {act: [_record(index, op) for index, op in enumerate(ops)] for act, ops in acts.items()},
        "warnings": plan.warnings,
    }


def _record(index, op):
    return {
        "index": index,
        "operation": op.name,
        "actor": "init" if op.actor == INIT else "host",
        "overlapped": op.overlapped,
        "origin": op.origin,
        "description": describe(op),
        "arguments": arguments(op),
        "source": TABLE[op.number][3],
        "meaning": TABLE[op.number][4],
    }
