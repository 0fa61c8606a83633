"""What the engines really call: docs/engines.md lists the command lines, and a call that it does not list is red here.

A recorder stands before pyoci, under its name.  The values of flags are left out, ids and numbers are ID and N.
"""

import contextlib
import importlib
import os
import pathlib
import re
import tempfile

import engine_daemons
import engine_place
import pytest

from pyoci.cli import options

ENGINES = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines")
PAPER = pathlib.Path(__file__).parents[2] / "docs" / "engines.md"
VALUED = {"--root", "--log", "--bundle", "--pid-file", "--console-socket", "--process", "--resources", "--image-path", "--work-path"}
WORDS = {"json", "-"}
SHIM = "--root VALUE --log VALUE --log-format json"
RECORDER = """#!/bin/sh
line=$(printf '%s\\037' "$@")
echo "$line" >>LOG
exec PYOCI "$@"
"""


def shape(words):
    """A command line without what differs from one container to the next."""
    out, verb, valued = [], None, False
    for word in words:
        if valued:
            out.append(word if word in WORDS else "VALUE")
        elif word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            out.append(name + equals + (value if value in WORDS else "VALUE" if equals else ""))
        elif verb is None and (word not in WORDS):
            verb = word
            out.append(word)
        else:
            out.append(word if word in WORDS else "N" if word.isdigit() else "ID")
        valued = word in VALUED
    return " ".join(out)


def listed():
    """{engine: set of shapes} of the paper's block; a line is `ENGINES: SHAPE`."""
    block = re.search(r"```calls\n(.*?)```", PAPER.read_text(), re.DOTALL)[1]
    found = {}
    for line in block.splitlines():
        engines, _, words = line.partition(": ")
        for engine in engines.split(", "):
            found.setdefault(engine, set()).add(words.replace("SHIM", SHIM))
    return found


@contextlib.contextmanager
def recorded(monkeypatch):
    """Within it daemons get the recorder for pyoci; yields a function that gives the shapes so far."""
    with tempfile.TemporaryDirectory(prefix="pyoci-calls-") as folder:
        os.chmod(folder, 0o755)
        log, recorder = pathlib.Path(folder) / "log", pathlib.Path(folder) / "pyoci"
        recorder.write_text(RECORDER.replace("LOG", str(log)).replace("PYOCI", str(engine_place.PYOCI)))
        recorder.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(engine_place, "PYOCI", recorder)
            yield lambda: {shape([word for word in line.split("\037") if word]) for line in log.read_text().splitlines()}


UP = "$RUN_D bb sleep 1000"
SCRIPTS = {
    "dockerd": ("dockerd", [
        "docker info", "$RUN bb true", 'script -qec "$RUN -it bb tty" /dev/null', "$RUN bb /no/such; true",
        f"{UP}; docker exec $NAME true; docker exec -d $NAME true; script -qec \"docker exec -it $NAME tty\" /dev/null; docker exec $NAME /no/such; docker pause $NAME; "
        "docker unpause $NAME; docker update -m 64m --memory-swap 64m $NAME; docker top $NAME; docker stats --no-stream $NAME; docker kill -s HUP $NAME; docker restart -t 0 $NAME; "
        "docker stop -t 0 $NAME; docker start $NAME; docker rm -f $NAME",
        f"{UP}; docker pause $NAME; docker rm -f $NAME", "mkdir -p b; echo 'FROM bb\nRUN true' >b/Dockerfile; DOCKER_BUILDKIT=0 docker build --no-cache b; DOCKER_BUILDKIT=1 docker build --no-cache b",
    ]),
    "containerd": ("containerd", [
        "$RUN --rm $I $NAME true", 'script -qec "$RUN -t --rm $I $NAME tty" /dev/null',
        "$RUN -d $I $NAME sleep 1000; ctr task exec --exec-id a $NAME true; script -qec \"ctr task exec -t --exec-id b $NAME tty\" /dev/null; ctr task pause $NAME; ctr task resume $NAME; "
        "ctr task ps $NAME; ctr task metrics $NAME; ctr task kill -s KILL -a $NAME; ctr task rm -f $NAME; ctr container rm $NAME",
        "$RUN -d $I $NAME sleep 1000; ctr task rm -f $NAME; ctr container rm $NAME",
    ]),
    "cri": ("cri", ["$CRI execs", "$CRI limits", "$CRI stop", "$CRI shared_pids"]),
    "podman": ("podman", [
        "podman --runtime $RT info", "$RUN --network none $I true", 'script -qec "$RUN --network none -it $I tty" /dev/null',
        "$RUN_D --network none $I sleep 1000; podman exec $NAME true; podman exec -d $NAME true; script -qec \"podman exec -it $NAME tty\" /dev/null; $PODMAN pause $NAME; $PODMAN unpause $NAME; "
        "$PODMAN update -m 64m $NAME; podman top $NAME; podman stats --no-stream $NAME; $PODMAN kill -s HUP $NAME; $PODMAN restart -t 0 $NAME; $PODMAN stop -t 0 $NAME; podman rm -f $NAME",
        "podman --runtime $RT create --network none --cgroup-parent $GROUP --name $NAME $I true; $PODMAN init $NAME; $PODMAN start $NAME; $PODMAN rm -f -t 0 $NAME",
    ]),
    "buildah": ("podman", ["BUILDAH_RUNTIME=$RT; export BUILDAH_RUNTIME; c=$(buildah from --pull-never $I); buildah run --runtime $RT $c true; buildah run -t --runtime $RT $c tty; buildah rm $c"]),
}  # fmt: skip


@ENGINES
@pytest.mark.parametrize("name", SCRIPTS)
def test_engine_calls_nothing_that_the_paper_does_not_list(archive, monkeypatch, needs, name):
    if name == "cri":
        needs("cri")
    daemon, scripts = SCRIPTS[name]
    with recorded(monkeypatch) as shapes:
        with getattr(engine_daemons, daemon)(archive) as engine:
            said = [engine.run(script, "pyoci") for script in scripts]
        seen = shapes()
    known = listed()
    new = seen - known[name] - known.get(f"{name} newer", set())
    assert not new, f"new: {sorted(new)}"
    if not os.environ.get("PYOCI_ENGINES_PATH"):  # those of the system, which the list was made with
        assert not known[name] - seen, (sorted(known[name] - seen), said)


@pytest.mark.parametrize("line", sorted(set().union(*listed().values())))
def test_every_call_of_an_engine_is_understood(line):
    """Flags and the number of arguments; what each does is shown by tests/runtime and by the engines' own tests."""
    settings, words = options.parse(line.split(), options.GLOBAL, in_order=True)
    if not settings.get("version"):
        verb = importlib.import_module(f"pyoci.cli.verbs.{words[0]}")
        values, arguments = options.parse(words[1:], verb.OPTIONS, words[0] in ("exec", "kill", "ps"))
        options.check_count(words[0], len(arguments), *verb.ARGUMENTS)
        assert ("ID" in arguments) == (verb.ARGUMENTS[0] > 0) and not values.get("help")
