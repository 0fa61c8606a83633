"""config.json for a container of root in a user namespace: what the kernel gives only to the host's root is done another way.  Pure.

A sysfs shows a network namespace, a procfs a pid namespace, an mqueue an IPC namespace: of those that are the host's, the host's own mounts are shown.
Source: user_namespaces(7); sysfs(5), proc(5); config-linux.md; docs/decisions/0019, 0025.
"""

_QUIET = ["nosuid", "noexec", "nodev"]


def adapt(config, facts):
    """Change the config; facts: bundle.Facts, whose `confined` is a confined.Confined."""
    confined = facts.confined
    config["mounts"] = [mount for one in config["mounts"] if (mount := _mount(one, facts))]
    linux = config["linux"]
    if confined.cgroups_path:
        linux["cgroupsPath"] = confined.cgroups_path
    else:
        del linux["cgroupsPath"]
    pings = linux.get("sysctl", {}).get("net.ipv4.ping_group_range")
    if pings:
        first, last = pings.split()
        linux["sysctl"] = {**linux["sysctl"], "net.ipv4.ping_group_range": f"{first} {min(int(last), confined.gids - 1)}"}


def _mount(mount, facts):
    kind = mount["type"]
    if kind == "sysfs" and "network" not in facts.namespaces:
        return {**mount, "type": "bind", "source": "/sys", "options": ["rbind", *_QUIET, "ro", "rprivate"]}
    if kind == "proc" and "pid" not in facts.namespaces:
        return {**mount, "type": "bind", "source": "/proc", "options": ["rbind", *_QUIET, "rprivate"]}
    if kind == "mqueue" and facts.shm == "host":
        return {**mount, "type": "bind", "source": "/dev/mqueue", "options": ["rbind", *_QUIET, "rprivate"]} if facts.confined.has_mqueue else None
    if kind == "devpts" and facts.confined.gids <= 5:
        return {**mount, "options": [option for option in mount["options"] if option != "gid=5"]}
    return mount
