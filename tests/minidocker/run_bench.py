"""What a user waits for: run, ps and exec of minidocker beside a private dockerd and podman, taking turns; and the memory of idle containers.

    run_bench.py [--rounds 20] [--idle 20]      prints a table
Whole commands, wall time; minidocker runs in the same namespaces as dockerd.  A ratio is the median of each round's ratio, with
the middle half.  Memory is the PSS of all processes but the containers' own.  Run as root, with `.ci/packages engines`.
"""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # what tests share
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "engines"))

import engine_bench
import engine_daemons
import engine_image
import engine_place

PROGRAM = pathlib.Path(sys.executable).parent / "minidocker"
IMAGE = engine_image.NAME
PODMAN = f"podman --runtime {engine_place.RUNC}"
RUNC_OF_DOCKER = "--runtime peer"  # as engine_daemons names it


def interleave(rounds, commands):
    """{program: [ms]} of {program: (place, words)}.  A first round warms up."""
    found = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name in list(commands)[:: 1 if turn % 2 else -1]:
            took = engine_bench.calm_ms(*commands[name])
            if turn:
                found[name].append(took)
    return found


def rows(what, found, aims):
    """A line for each peer; `aims`: {peer: ratio}."""
    for peer in [name for name in found if name != "minidocker"]:
        ratios = sorted(a / b for a, b in zip(found["minidocker"], found[peer], strict=True))
        quarter = len(ratios) // 4
        ours, theirs = statistics.median(found["minidocker"]), statistics.median(found[peer])
        yield (f"| `{what}` | {peer} | {ours:.0f} | {theirs:.0f} | {statistics.median(ratios):.2f} ({ratios[quarter]:.2f}-{ratios[-quarter - 1]:.2f}) "
               f"| {aims.get(peer, '')} |")  # fmt: skip


def pss_kb(place):
    """All processes of a place but the containers' (busybox)."""
    return sum(size for program, size in engine_bench.processes(place).values() if os.path.basename(program) not in ("busybox", "cat", "nsenter", "unshare"))


def idle_kb(place, run, names, remove):
    """What these containers add to a place, with the daemons that were there before."""
    for name in names:
        engine_bench.wall_ms(place, f"{run} --name {name} {IMAGE} sleep 100000")
    found = pss_kb(place)
    engine_bench.wall_ms(place, f"{remove} {' '.join(names)}")
    return found


def commands(docker, podman, words, more=""):
    """{program: (place, command line)}; more: what podman alone needs after the verb.  docker and podman call runc."""
    verb, _, rest = words.partition(" ")
    return {"minidocker": (docker, f"{PROGRAM} {words}"), "docker": (docker, f"docker {verb} {RUNC_OF_DOCKER if verb == 'run' else ''} {rest}"),
            "podman": (podman, f"{PODMAN} {verb} {more} {rest}")}  # fmt: skip


def measure(rounds, idle, docker, podman):
    """The table's lines."""
    group = f"--cgroup-parent /{podman.group}"
    yield from rows("run --rm --network none IMAGE true",
                    interleave(rounds, commands(docker, podman, f"run --rm --network none {IMAGE} true", group)), {"docker": 0.35, "podman": 0.5})  # fmt: skip
    for place, words in commands(docker, podman, f"run -d --network none --name one {IMAGE} sleep 100000", group).values():
        engine_bench.wall_ms(place, words)
    yield from rows("ps", interleave(rounds, commands(docker, podman, "ps")), {"docker": 2})
    yield from rows("exec C true", interleave(rounds, commands(docker, podman, "exec one true")), {"docker": 0.6})
    for place, words in commands(docker, podman, "rm -f one").values():
        engine_bench.wall_ms(place, words)
    names = [f"idle-{number}" for number in range(idle)]
    daemons = pss_kb(docker)
    ours = idle_kb(docker, f"{PROGRAM} run -d --network none", names, f"{PROGRAM} rm -f") - daemons
    theirs = idle_kb(docker, f"docker run {RUNC_OF_DOCKER} -d --network none", names, "docker rm -f")
    yield f"| memory of {idle} idle containers, kB | docker | {ours} | {theirs} | {ours / theirs:.3f} | 0.15 |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--idle", type=int, default=20)
    options = parser.parse_args()
    print(f"Taken on {datetime.date.today().isoformat()}: Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
          f"{options.rounds} rounds, interleaved; load before: {os.getloadavg()[0]:.1f}.\n")  # fmt: skip
    print("| command | beside | minidocker, median ms | it, median ms | ratio (middle half) | aim |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder) / "image.tar"
        engine_image.make(archive)
        with engine_daemons.dockerd(archive) as docker, engine_daemons.podman(archive) as podman:
            docker.place.environment |= {"MINIDOCKER_ROOT": f"{docker.place.folder}/mini", "MINIDOCKER_RUN": f"{docker.place.folder}/minirun"}
            engine_bench.wall_ms(docker.place, f"{PROGRAM} load -i {archive}")
            for line in measure(options.rounds, options.idle, docker.place, podman.place):
                print(line, flush=True)


if __name__ == "__main__":
    main()
