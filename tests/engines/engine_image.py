"""An image of a static busybox, as an archive that docker, podman and ctr load; in it `portrait`, which tells all that a process sees.

Two containers that were asked for in the same way must have the same portrait, whichever runtime made them.
One thing nobody may ask: nofile with a soft limit below the hard one. runc is written in Go, whose start raises the soft one, and the two race: now and then
it stays raised. sigpending tells two limits as well.
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile

import support

NAME = "docker.io/library/bb:latest"
PORTRAIT = r"""#!/bin/sh
echo "id $(id)"
echo "where $(pwd) $(hostname) umask $(umask)"
echo "process $(cut -d' ' -f5,6 /proc/self/stat | awk '{print ($1 == $2)}') oom $(cat /proc/self/oom_score_adj)"
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn|Umask)' /proc/self/status
cat /proc/self/limits
env | sort
echo; echo mounts
# How a path is masked, whether a file system is read-only in its superblock too, and the order of equals is up to a runtime.
while read -r id parent device root target options rest; do
    case $root in /proc/*) root=$root ;; /) ;; *) root=below ;; esac
    case "$target $rest" in
    /proc/*tmpfs* | /sys/*tmpfs*) echo "$target masked" ;;
    *tmpfs*) echo "$root $target mode $(stat -c %a $target) $options $(echo "$rest" | sed -E 's/ (rw|ro)(,|$)/ \2/; s/,mode=[0-7]+//')" ;;
    *) echo "$root $target $options $(echo "$rest" | sed -E 's/ (rw|ro)(,|$)/ \2/; s/shared:[0-9]+/shared/; s/master:[0-9]+/master/; s/cgroup systemd/cgroup cgroup/')" ;;
    esac
done </proc/self/mountinfo | sort
echo; echo devices
# Whose the queues are in a user namespace depends on the order of clone and setuid.
ls -l /dev | grep -v mqueue | awk '{print $1, $3, $4, $5, $6, $10, $11, $12, $13}'
ls -l /dev/pts /dev/shm 2>/dev/null | awk '{print $1, $3, $4}'
echo; echo descriptors
for fd in /proc/self/fd/*; do
    case $(readlink $fd) in pipe:*) echo "${fd##*/} pipe" ;; '') ;; *) echo "${fd##*/} $(readlink $fd)" ;; esac
done
echo; echo namespaces
ls -l /proc/self/ns | awk '{print $9, $10, $11}'
echo; echo cgroups
cat /proc/self/cgroup
for file in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes memory/memory.swappiness \
    memory/memory.oom_control cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems \
    pids/pids.max devices/devices.list memory.max memory.low memory.swap.max cpu.max cpu.weight cpuset.cpus pids.max; do
    [ -r /sys/fs/cgroup/$file ] && { echo "$file:"; grep -v '^oom_kill ' /sys/fs/cgroup/$file | sort; }
done
echo; echo settings
for file in kernel/msgmax kernel/shmmax net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range; do
    echo "$file $(cat /proc/sys/$file 2>&1)"
done
echo; echo hidden
for path in /proc/kcore /proc/keys /proc/timer_list /proc/acpi /proc/scsi /sys/firmware; do
    [ -e $path ] && echo "$path $(stat -c '%F %s %a' $path) $(ls $path 2>&1 | wc -l)"
done
for path in /proc/sys /proc/irq /proc/bus /proc/sysrq-trigger /sys /sys/fs/cgroup; do
    [ -w $path ] && echo "$path can be written to"
done
(: >/proc/sysrq-trigger) 2>&1 | sed 's/.*: //'
(: >/made) 2>&1 | sed 's/.*: //'
echo; echo network
ls /sys/class/net
exit 0
"""


def make(path, name=NAME, command=("/bin/sh",)):
    """Write the archive, docker's format 1.2 (manifest.json, a config, one layer)."""
    layer = _layer()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin:/sbin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "tests"}],
    }).encode()  # fmt: skip
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, data in (("layer.tar", layer), ("config.json", config), ("manifest.json", manifest)):
            _add(archive, name, data)


def _layer():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as layer:
        for name in ("bin", "etc", "dev", "proc", "sys", "tmp", "root", "home", "run", "www"):
            _directory(layer, name, 0o1777 if name == "tmp" else 0o755)
        with open(support.busybox(), "rb") as program:
            _add(layer, "bin/busybox", program.read(), 0o755)
        for applet in subprocess.run([support.busybox(), "--list"], capture_output=True, text=True, check=True).stdout.split():
            if applet != "busybox":
                _link(layer, f"bin/{applet}", "/bin/busybox")
        _add(layer, "bin/portrait", PORTRAIT.encode(), 0o755)
        _add(layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n")
        _add(layer, "etc/group", b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
        _add(layer, "www/index.html", b"hello from busybox\n")
    return target.getvalue()


def _add(archive, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _directory(archive, name, mode):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _link(archive, name, target):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)
