"""What an engine's user pays for the runtime: wall time of docker, podman and ctr with pyoci and with runc, and what stays in memory.

`make bench-engines` writes docs/benchmarks-engines.md.  Run as root, with the packages of `.ci/packages engines`.  The engines are
those of the tests: private, in namespaces of their own.  The runtimes take turns, and who begins changes from round to round.

    engine_bench.py [--rounds 20] [--write docs/benchmarks-engines.md]
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # what tests share

import engine_daemons
import engine_image
import engine_place

RUNTIMES = ("pyoci", "runc")
REST_S = 0.2
ENGINES_OWN = ("conmon", "containerd-shim-runc-v2", "dockerd", "docker-proxy", "docker-init", "containerd", "podman", "catatonit", "nsenter", "unshare", "cat", "sh", "dash")
PREFACE = """# Benchmarks with engines

`make bench-engines` measures whole commands of an engine's client, wall time, with pyoci and with runc as the runtime in turn: the same daemon, the same
image (a static busybox). A ratio is the median of the ratios of each round, with the middle half of them. Most of the time is the engine's own.

"""


# --- wall time


def calm_ms(place, words):
    """wall_ms after a moment of rest: a daemon has work left when its client is done, and whoever comes next would pay for it."""
    time.sleep(REST_S)
    return wall_ms(place, words)


def wall_ms(place, words):
    """How long a command took in the place; the shell's start is in it, for each alike.  Waited for without a time-out: Python's wait polls then, up to 50 ms apart."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen([*place.enter, "sh", "-c", f"exec {words}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                                   cwd=place.folder, env=place.environment)  # fmt: skip
        alarm = threading.Timer(engine_place.TIMEOUT_S, process.kill)
        alarm.start()
        status = process.wait()
        took = (time.perf_counter() - began) * 1000
        alarm.cancel()
        said.seek(0)
        if status:
            sys.exit(f"{words}: {said.read().decode().strip() or f'status {status}'}")
    return took


def interleave(rounds, place, command):
    """{runtime: [ms]}; `command(runtime, turn)` gives a shell's words.  A round that warms up is not counted."""
    found = {name: [] for name in RUNTIMES}
    for turn in range(rounds + 1):
        for name in RUNTIMES[:: 1 if turn % 2 else -1]:
            took = calm_ms(place, command(name, turn))
            if turn:
                found[name].append(took)
    return found


def row(what, found):
    """A line of the table."""
    ratios = sorted(a / b for a, b in zip(found["pyoci"], found["runc"], strict=True))
    quarter = len(ratios) // 4
    middle = {name: statistics.median(times) for name, times in found.items()}
    best = {name: min(times) for name, times in found.items()}
    return (f"| {what} | {middle['pyoci']:.0f} | {middle['runc']:.0f} | {best['pyoci']:.0f} | {best['runc']:.0f} "
            f"| {statistics.median(ratios):.2f} ({ratios[quarter]:.2f}-{ratios[-quarter - 1]:.2f}) |")  # fmt: skip


def docker_rows(rounds, engine):
    """docker run, and docker exec in a container of each runtime."""
    place, names = engine.place, engine.runtimes
    yield row("`docker run --rm bb true`", interleave(rounds, place, lambda name, turn: f"docker run --rm --runtime {names[name]} bb true"))
    yield row("`docker run --rm --network none bb true`",
              interleave(rounds, place, lambda name, turn: f"docker run --rm --network none --runtime {names[name]} bb true"))  # fmt: skip
    for name in RUNTIMES:
        wall_ms(place, f"docker run -d --runtime {names[name]} --name sleeps-{name} bb sleep 100000")
    yield row("`docker exec C true`", interleave(rounds, place, lambda name, turn: f"docker exec sleeps-{name} true"))
    wall_ms(place, "docker rm -f sleeps-pyoci sleeps-runc")


def podman_rows(rounds, engine):
    run = f"run --rm --network none --cgroup-parent /{engine.place.group} {engine_image.NAME} true"
    yield row("`podman run --rm --network none bb true`", interleave(rounds, engine.place, lambda name, turn: f"podman --runtime {engine.runtimes[name]} {run}"))


def containerd_rows(rounds, engine):
    def command(name, turn):
        return f"ctr run --rm --runc-binary {engine.runtimes[name]} --runc-root {engine.place.folder}/rr/{name} {engine_image.NAME} b-{name}-{turn} true"

    yield row("`ctr run --rm bb true`", interleave(rounds, engine.place, command))


# --- memory


def processes(place):
    """{pid: (exe, PSS in kB)} of the place."""
    found = {}
    ours = os.readlink(f"/proc/{place.enter[2]}/ns/pid")
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (os.readlink(folder / "ns/pid_for_children") == ours or _is_below(folder, place)):
                found[int(folder.name)] = os.readlink(folder / "exe"), _pss_kb(folder)
        except OSError:
            continue  # it has ended
    return found


def _is_below(folder, place):
    """Whether a process in a pid namespace of its own descends from the place's first process."""
    while folder.name not in ("0", "1"):
        if folder.name == place.enter[2]:
            return True
        folder = folder.parent / (folder / "stat").read_text().rpartition(")")[2].split()[1]
    return False


def _pss_kb(folder):
    return int(next(line.split()[1] for line in (folder / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:")))


def kinds(before, after):
    """{"runtime" | "engine" | "container": (number of processes, kB)} of those that came."""
    found = dict.fromkeys(("runtime", "engine", "container"), (0, 0))
    for pid in set(after) - set(before):
        program, size = after[pid]
        name = os.path.basename(program.removesuffix(" (deleted)"))
        kind = "container" if name == "busybox" else "engine" if name in ENGINES_OWN else "runtime"
        found[kind] = found[kind][0] + 1, found[kind][1] + size
    return found


def memory_rows(engine):
    """Processes that a created and then a running container adds: podman init, podman start.  conmon is the engine's."""
    place = engine.place
    for name in RUNTIMES:
        podman = f"podman --runtime {engine.runtimes[name]}"
        before = processes(place)
        wall_ms(place, f"{podman} create --name m-{name} --network none --cgroup-parent /{place.group} {engine_image.NAME} sleep 100000")
        for state in ("init", "start"):
            wall_ms(place, f"{podman} {state} m-{name}")
            came = kinds(before, processes(place))
            cells = " | ".join(f"{number}, {size} kB" if number else "none" for number, size in came.values())
            yield f"| {name} | {'created' if state == 'init' else 'running'} | {cells} |"
        wall_ms(place, f"podman rm -f -t 0 m-{name}")


def peak_rows(engine):
    """The largest resident set of each command that podman and conmon give to the runtime.  busybox `time`, whose %M is four times too much, stands before it."""
    place = engine.place
    for name in RUNTIMES:
        wrapper, log = place.folder / f"measured-{name}", place.folder / f"peak-{name}"
        wrapper.write_text(f'#!/bin/sh\nexec busybox time -a -o {log} -f "%M $*" {engine.runtimes[name]} "$@"\n')
        wrapper.chmod(0o755)
        for words in (f"run -d --name p-{name} --network none --cgroup-parent /{place.group} {engine_image.NAME} sleep 100000", f"exec p-{name} true", f"rm -f -t 0 p-{name}"):
            wall_ms(place, f"podman --runtime {wrapper} {words}")
        peaks = {}
        for line in log.read_text().splitlines():
            if found := re.match(r"(\d+) .*?\b(create|start|exec|kill|delete)\b", line):
                peaks[found[2]] = max(peaks.get(found[2], 0), int(found[1]))
        yield f"| {name} | " + " | ".join(f"{peaks[verb] / 4 / 1024:.1f}" if verb in peaks else "" for verb in ("create", "start", "exec", "kill", "delete")) + " |"


# --- telling


def facts(rounds):
    """What the figures were taken on."""
    lines = [subprocess.run([*words.split()], capture_output=True, text=True, env={"PATH": engine_place.PATH}).stdout.split("\n")[0]
             for words in ("runc --version", "dockerd --version", "containerd --version", "podman --version")]  # fmt: skip
    cpu = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    return (f"Taken on {datetime.date.today().isoformat()}: Linux {platform.release()}, {os.cpu_count()} CPUs ({cpu}), Python {platform.python_version()}, "
            f"{'; '.join(lines)}. {rounds} rounds; load before: {os.getloadavg()[0]:.1f}.\n")  # fmt: skip


def report(rounds, archive):
    """The paper's text below its facts."""
    lines = ["| command | pyoci, median ms | runc, median ms | pyoci, best | runc, best | ratio (middle half) |", "|---|---|---|---|---|---|"]
    with engine_daemons.dockerd(archive) as engine:
        lines += docker_rows(rounds, engine)
    with engine_daemons.containerd(archive) as engine:
        lines += containerd_rows(rounds, engine)
    with engine_daemons.podman(archive) as engine:
        lines += podman_rows(rounds, engine)
        lines += ["", "What one container adds, by whose process it is (number, PSS); a created one waits in the runtime's init, a running one is the user's program:", ""]
        lines += ["| runtime | container | of the runtime | of the engine (conmon) | of the container |", "|---|---|---|---|---|"]
        lines += memory_rows(engine)
        lines += ["", "Largest resident set of the runtime's commands under podman, in MB (a command is over within milliseconds):", ""]
        lines += ["| runtime | create | start | exec | kill | delete |", "|---|---|---|---|---|---|", *peak_rows(engine)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", help="write the report there too")
    options = parser.parse_args()
    head = facts(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder) / "image.tar"
        engine_image.make(archive)
        text = PREFACE + head + "\n" + report(options.rounds, archive)
    print(text)
    if options.write:
        pathlib.Path(options.write).write_text(text)


if __name__ == "__main__":
    main()
