"""What pyoci costs beside runc and crun: CPU and wall time of whole processes, interleaved, as ratios; memory of a waiting container.

`make bench` writes docs/benchmarks.md.  Run as root.  Everything runs in a mount namespace of its own, where /run is a tmpfs, as on every host
with an init, and every v1 controller is mounted, since crun before 1.9 refuses a host that lacks one of them.

    bench.py [--rounds 40] [--write docs/benchmarks.md] [--python PATH] [NAME...]
"""

import argparse
import copy
import datetime
import functools
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
PYOCI = pathlib.Path(sys.executable).parent / "pyoci"
PEERS = ("runc", "crun")
PROFILE = TREE / "bundles/profiles/docker-size.json"
AIMS = {  # (what, peer): the ratio of CPU that is wanted at most
    ("run", "runc"): 0.60, ("run", "crun"): 1.80, ("run with seccomp", "runc"): 0.40, ("run with seccomp", "crun"): 0.80,
    ("exec", "runc"): 0.65, ("in process", "crun"): 0.65,
}  # fmt: skip
PSS_AIM_KB = 64
KEPT = "## Where the rest goes"  # written by hand: what a new measurement leaves as it is
STATE = "/run/bench"
CROWD = 500
REST_S = 0.3
LOOPS = 200
LOOP = """
import json, resource, subprocess, sys, time
from pyoci.api import Runtime
runtime, bundle, count, crun = Runtime(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
def cost(deed, *whose):
    def cpu(): return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, whose))
    before, start = cpu(), time.perf_counter()
    deed()
    return (cpu() - before) * 1000, (time.perf_counter() - start) * 1000
for turn in range(count + 3):
    ours = cost(lambda: runtime.run(f"loop-{turn}", bundle), resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    theirs = crun and cost(lambda: subprocess.run([*crun, "run", "--bundle", bundle, f"loop-{turn}"], check=True), resource.RUSAGE_CHILDREN)
    if turn > 2: print(json.dumps([ours, theirs]))
"""
CROWD_AIM = 1.2


# --- measuring


def measure(command):
    """(CPU ms, wall ms) of a command and all that it waits for.  Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:  # not a pipe: a container that lives on would keep it open
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        said.seek(0)
        words = said.read() if done.returncode else b""
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {words.decode().strip()}")
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000, wall * 1000


def interleave(rounds, commands):
    """{name: [(cpu, wall)]}: each round runs every command once; `commands`: {name: callable(round) -> (cpu, wall)}."""
    found = {name: [] for name in commands}
    for command in commands.values():
        command("warm")
    for turn in range(rounds):
        for name, command in commands.items():
            found[name].append(command(turn))
    return found


def ratio(ours, theirs, index):
    """Median of the pairwise ratios, and the middle half of them."""
    ratios = sorted(a[index] / b[index] for a, b in zip(ours, theirs))
    quarter = len(ratios) // 4
    return statistics.median(ratios), ratios[quarter], ratios[-quarter - 1]


# --- what is measured


class Bench:
    """The bundles, the runtimes, and where they keep their state."""

    def __init__(self, folder, rounds):
        self.folder = pathlib.Path(folder)
        self.rounds = rounds
        self.runtimes = {"pyoci": [str(PYOCI), "--root", f"{STATE}/pyoci"]}
        for peer in PEERS:
            if shutil.which(peer):
                self.runtimes[peer] = [shutil.which(peer), "--root", f"{STATE}/{peer}"]
        self.plain = self._bundle("plain", None)
        self.filtered = self._bundle("filtered", json.loads(PROFILE.read_text()))

    def _bundle(self, name, seccomp):
        bundle = self.folder / name
        (bundle / "rootfs/bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", bundle / "rootfs/bin/busybox")
        for applet in ("true", "sleep", "sh"):
            (bundle / "rootfs/bin" / applet).symlink_to("busybox")
        config = json.loads(subprocess.run([*self.runtimes["pyoci"], "spec"], cwd=bundle, capture_output=True).stdout or "null")
        config = config or json.loads((bundle / "config.json").read_text())
        config["ociVersion"] = "1.0.2"  # the peers of Debian 12 refuse a newer one
        config["process"]["terminal"] = False
        config["process"]["args"] = ["true"]
        config["process"]["capabilities"].pop("ambient", None)
        if seccomp:
            config["linux"]["seccomp"] = seccomp.get("linux", {}).get("seccomp", seccomp)
        (bundle / "config.json").write_text(json.dumps(config))
        waiting = copy.deepcopy(config)
        waiting["process"]["args"] = ["sleep", "100000"]
        (bundle.parent / f"{name}-waiting").mkdir()
        (bundle.parent / f"{name}-waiting/config.json").write_text(json.dumps(waiting))
        (bundle.parent / f"{name}-waiting/rootfs").mkdir()
        subprocess.run(["cp", "-a", f"{bundle}/rootfs/.", f"{bundle.parent}/{name}-waiting/rootfs"], check=True)
        return bundle

    def run(self, bundle, rest_s=0):
        """run --rm of `true`, on a host that has rested before: what waits for the kernel's RCU costs time then, and no CPU."""

        def measured(command, turn):
            time.sleep(rest_s)
            return measure([*command, "run", "--bundle", str(bundle), f"bench-{turn}"])

        return interleave(self.rounds, {name: functools.partial(measured, command) for name, command in self.runtimes.items()})

    def verbs(self):
        """{verb: {runtime: [(cpu, wall)]}} of one life: create, state, start, exec, kill, delete."""
        found = {verb: {name: [] for name in self.runtimes} for verb in ("create", "state", "start", "exec", "kill", "delete")}
        bundle = self.folder / "plain-waiting"
        for turn in range(self.rounds + 1):
            for name, command in self.runtimes.items():
                container = f"life-{turn}"
                steps = {
                    "create": ["create", "--bundle", str(bundle), container], "state": ["state", container], "start": ["start", container],
                    "exec": ["exec", container, "true"], "kill": ["kill", container, "KILL"], "delete": ["delete", container],
                }  # fmt: skip
                for verb, words in steps.items():
                    if verb == "delete":
                        self._wait_stopped(command, container)
                    cost = measure([*command, *words])
                    if turn:
                        found[verb][name].append(cost)
        return found

    def _wait_stopped(self, command, container):
        for _ in range(200):
            done = subprocess.run([*command, "state", container], capture_output=True)
            if b"stopped" in done.stdout:
                return
            time.sleep(0.01)

    def in_process(self):
        """[(CPU, wall)] of runs in a program that has imported the library, and of crun's, one between each two of them."""
        crun = self.runtimes.get("crun", [])
        done = subprocess.run([sys.executable, "-c", LOOP, f"{STATE}/loop", str(self.plain), str(LOOPS), *crun], capture_output=True, text=True, check=True, cwd="/")
        pairs = [json.loads(line) for line in done.stdout.splitlines()]
        return [ours for ours, _ in pairs], [theirs for _, theirs in pairs if theirs]

    def memory_kb(self):
        """{runtime: PSS of what a created, waiting container keeps in memory}."""
        found = {}
        for name, command in self.runtimes.items():
            subprocess.run([*command, "create", "--bundle", str(self.plain), "waiting"], check=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            state = json.loads(subprocess.run([*command, "state", "waiting"], capture_output=True).stdout)
            text = pathlib.Path(f"/proc/{state['pid']}/smaps_rollup").read_text()
            found[name] = int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))
            subprocess.run([*command, "delete", "--force", "waiting"], check=True)
        return found

    def crowd(self):
        """(CPU of create with no other container, with CROWD others, their ratio)."""
        command = self.runtimes["pyoci"]
        bundle = str(self.folder / "plain-waiting")

        def create(name):
            cost = measure([*command, "create", "--bundle", bundle, name])
            return cost[0]

        def lone(turn):
            cost = create(f"lone-{turn}")
            subprocess.run([*command, "delete", "--force", f"lone-{turn}"], check=True)
            return cost

        alone = [lone(turn) for turn in range(self.rounds // 2)]
        names = [f"crowd-{number}" for number in range(CROWD)]
        try:
            for name in names:
                create(name)
            among = [lone(f"x{turn}") for turn in range(self.rounds)]
        finally:
            for name in names:
                subprocess.run([*command, "delete", "--force", name], capture_output=True)
        alone += [lone(f"y{turn}") for turn in range(self.rounds // 2)]
        return statistics.median(alone), statistics.median(among)


# --- telling


def row(what, results, peers):
    """Lines of the table for one thing that was measured against each peer."""
    lines = []
    for peer in peers:
        if peer not in results or not results[peer]:
            continue
        ours, theirs = results["pyoci"], results[peer]
        cpu, wall = ratio(ours, theirs, 0), ratio(ours, theirs, 1)
        aim = AIMS.get((what, peer))
        lines.append(
            f"| {what} | {peer} | {statistics.median(a[0] for a in ours):.1f} | {statistics.median(b[0] for b in theirs):.1f} "
            f"| {cpu[0]:.2f} ({cpu[1]:.2f}-{cpu[2]:.2f}) | {wall[0]:.2f} ({wall[1]:.2f}-{wall[2]:.2f}) | {aim or ''} |"
        )
    return lines


def report(bench, wanted):
    """The text of docs/benchmarks.md."""
    lines = []
    peers = [name for name in bench.runtimes if name != "pyoci"]
    if "run" in wanted:
        lines += row("run", bench.run(bench.plain), peers)
    if "seccomp" in wanted:
        lines += row("run with seccomp", bench.run(bench.filtered), peers)
    if "rest" in wanted:
        lines += row(f"run, after {REST_S} s of rest", bench.run(bench.plain, REST_S), peers)
    if "verbs" in wanted:
        for verb, results in bench.verbs().items():
            lines += row(verb, results, peers)
    text = "| what | peer | pyoci CPU ms | peer CPU ms | CPU ratio (middle half) | wall ratio (middle half) | aim (CPU) |\n|---|---|---|---|---|---|---|\n"
    text += "\n".join(lines) + "\n"
    if "loop" in wanted:
        ours, theirs = bench.in_process()
        cpu, wall = (statistics.median(one[index] for one in ours) for index in (0, 1))
        text += f"\nIn process (api.Runtime, a loop of {LOOPS}): {cpu:.2f} ms of CPU and {wall:.1f} ms a run"
        if theirs:
            middle, low, high = ratio(ours, theirs, 0)
            text += f"; {middle:.2f} ({low:.2f}-{high:.2f}) of crun's CPU for one run (aim: {AIMS['in process', 'crun']})"
        text += ".\n"
    if "memory" in wanted:
        sizes = bench.memory_kb()
        text += "\nPSS of a created container that waits: " + ", ".join(f"{name} {size} kB" for name, size in sizes.items())
        text += f" (aim: {PSS_AIM_KB}).\n"
    if "crowd" in wanted:
        alone, among = bench.crowd()
        text += f"\ncreate costs {alone:.1f} ms of CPU alone and {among:.1f} ms among {CROWD} other containers: {among / alone:.2f} times (aim: {CROWD_AIM}).\n"
    return text


def facts(rounds):
    """What the figures were taken on."""
    versions = [subprocess.run([name, "--version"], capture_output=True, text=True).stdout.split("\n")[0] for name in PEERS if shutil.which(name)]
    cpu = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    return (
        f"Taken on {datetime.date.today().isoformat()}: Linux {platform.release()}, {os.cpu_count()} CPUs ({cpu}), "
        f"Python {platform.python_version()}, {', '.join(versions)}; {rounds} rounds, interleaved; load before: {os.getloadavg()[0]:.1f}."
    )


PREFACE = """# Benchmarks

`make bench` measures whole processes: CPU (user and system, children included) and wall time, pyoci and its peers in turn, the
same bundle (`pyoci spec` with busybox `true`; for seccomp the profile bundles/profiles/docker-size.json). A ratio is the median
of the ratios of each round, with the middle half of them. All keep their state on a tmpfs, as /run is. On a busy machine ratios move less than
milliseconds, but they move.

"""


def private_mounts():
    """A mount namespace with a /run of its own and, on a host with cgroup v1, every v1 controller of this kernel."""
    if os.environ.get("PYOCI_BENCH_INSIDE"):
        return
    script = """
        set -e
        cgroups=$1
        shift
        mount -t tmpfs -o mode=755 tmpfs /run
        if [ -d /sys/fs/cgroup/memory ]; then
            mount --rbind /sys/fs/cgroup "$cgroups"
            mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
            for folder in "$cgroups"/*; do name=$(basename "$folder"); mkdir /sys/fs/cgroup/$name; mount --rbind "$folder" /sys/fs/cgroup/$name; done
            for name in $(awk 'NR > 1 && $4 == 1 { print $1 }' /proc/cgroups); do
                [ -d /sys/fs/cgroup/$name ] || { mkdir /sys/fs/cgroup/$name; mount -t cgroup -o $name cgroup /sys/fs/cgroup/$name || rmdir /sys/fs/cgroup/$name; }
            done
        fi
        exec "$@"
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYOCI_BENCH_INSIDE"] = "1"
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", folder, sys.executable, *sys.argv]
        sys.exit(subprocess.run(command).returncode)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--write", help="write the report there too")
    parser.add_argument("what", nargs="*", default=["run", "seccomp", "rest", "verbs", "loop", "memory", "crowd"])
    options = parser.parse_args()
    private_mounts()
    head = facts(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        text = PREFACE + head + "\n\n" + report(Bench(folder, options.rounds), options.what)
    print(text)
    if options.write:
        paper = pathlib.Path(options.write)
        kept = paper.read_text().partition(KEPT) if paper.exists() else ("", "", "")
        paper.write_text(text + ("\n" + kept[1] + kept[2] if kept[1] else ""))


if __name__ == "__main__":
    main()
