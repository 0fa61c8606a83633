"""Wrong command lines, given to runc and to pyoci: same exit status, same words, help in the same place.

Debian's runc 1.1 reads its command line with urfave/cli 1; the rows of OTHERWISE are where pyoci speaks as later runc does, or
better, each with its reason. No row reaches a container: runc refuses all of them, or says that there is none.
"""

import re
import subprocess

import pytest

from pyoci import errors

pytestmark = pytest.mark.needs("runc")

SAME = [
    "",
    "--help",
    "-h",
    "-help",
    "help",
    "h",
    "-h state",
    "create --help",
    "create -h",
    "help create",
    "checkpoint --help",
    "exec -h",
    "--bogus",
    "-bogus",
    "---x",
    "--=x",
    "-root",
    "--log-format xml state a",
    "create",
    "create a b",
    "create --bogus a",
    "create -bogus=1 a",
    "create -bundle",
    "create -b",
    "create --preserve-fds x a",
    "create --preserve-fds= a",
    "create --no-pivot=maybe a",
    "create -x",
    "run",
    "run -dk a",
    "start",
    "start a b",
    "state",
    "state -=x",
    "state ---x a",
    "kill",
    "kill --",
    "kill -a",
    "kill a b c",
    "delete",
    "delete --force=x a",
    "exec",
    "exec -u",
    "exec --tty=2 a",
    "exec --bogus a sh",
    "list extra",
    "ps",
    "pause",
    "resume",
    "resume a b",
    "update",
    "update --pids-limit x a",
    "update --blkio-weight 1.5 a",
    "events",
    "events --interval 5 a",
    "events --interval=x a",
    "events --stats=maybe a",
    "spec extra",
    "spec --bogus",
    "features extra",
    "restore -lsm-mount-context",
    "restore",
    "exec nope sh",
    "exec -- nope sh",
    "exec -t nope sh --tty",
    "state nope",
    "state -- nope",
    "kill nope",
    "kill nope KILL",
    "start nope",
    "delete nope",
    "pause nope",
    "resume nope",
    "ps nope",
    "ps --format=json nope",
    "events nope",
    "update nope",
]

# line -> (runc's status, runc's error, pyoci's status, pyoci's error, why)
OTHERWISE = {
    "create --bundle": (1, "flag needs an argument: -bundle", 1, "flag needs an argument: --bundle", "urfave 3 shows the word as it was written"),
    "--root": (1, "flag needs an argument: -root", 1, "flag needs an argument: --root", "urfave 3 shows the word as it was written"),
    "restore --lsm-mount-context": (1, "flag needs an argument: -lsm-mount-context", 1, "flag needs an argument: --lsm-mount-context", "urfave 3; podman's probe matches both"),
    "bogus": (3, "No help topic for 'bogus'\\n", 3, "No help topic for 'bogus'; pyoci --help lists the commands", "a hint instead of a line end in the record"),
    "state a --bogus": (1, 'runc: "state" requires exactly 1 argument(s)', 1, "flag provided but not defined: -bogus", "urfave 3: flags may follow"),
    "exec -g x nope sh": (1, 'invalid value "x" for flag -g: strconv.ParseInt: parsing "x": invalid syntax', 1, 'invalid value "x" for flag -additional-gids: parse error', "one form for all numbers"),
    "create --preserve-fds 0x1 a": (1, "runc create failed: JSON specification file config.json not found", 1, 'invalid value "0x1" for flag -preserve-fds: parse error', "decimal only, as in urfave 3"),
    "create --preserve-fds -1 a": (1, "runc create failed: JSON specification file config.json not found", 1, 'invalid value "-1" for flag -preserve-fds: parse error', "refused before anything is read"),
    "kill nope BAD": (1, "container does not exist", 1, 'unknown signal "BAD"', "the word is read before the container is looked up"),
    "exec nope": (255, "exec failed: container does not exist", 255, "exec failed: exec args cannot be empty", "arguments first"),
    "exec -u x nope sh": (255, "exec failed: container does not exist", 255, 'exec failed: bad uid: "x" in --user x: a number from 0 to 4294967294 expected', "arguments first"),
    "update --memory x nope": (1, "container does not exist", 1, "invalid value for memory: invalid size: 'x'", "arguments first"),
    "events --interval 0 nope": (1, "container does not exist", 1, "duration interval must be greater than 0", "arguments first"),
    "--rootless maybe state nope": (1, "container does not exist", 1, 'invalid boolean value "maybe" for -rootless: parse error', "runc 1.1 reads the flag late"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_containers(api, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for method in ("state", "kill", "start", "delete", "pause", "resume", "ps", "stats", "events", "update", "exec_process"):
        api.answers[method] = errors.NoSuchContainer("nope")


def _runc(words, tmp_path):
    """(status, whether help was shown, heading, error) of runc."""
    done = subprocess.run(["runc", *words], capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    record = re.search(r'level=error msg="(.*)"$', done.stderr.rstrip("\n"))
    return done.returncode, "NAME:" in done.stdout, _heading(done.stdout), record[1].replace('\\"', '"') if record else done.stderr


def _pyoci(words, pyoci):
    status, out, err = pyoci(*words)
    return status, "NAME:" in out, _heading(out), err.rstrip("\n")


def _heading(out):
    """`Incorrect Usage`, whatever stands behind it: urfave writes a dot or a colon."""
    return out.split("\n")[0][:15] if out.startswith("Incorrect") else ""


@pytest.mark.parametrize("line", SAME)
def test_same_status_words_and_place_of_help(pyoci, tmp_path, line):
    ours = _pyoci(line.split(), pyoci)
    theirs = _runc(line.split(), tmp_path)
    status, has_help, heading, error = theirs
    error = error.replace("runc:", "pyoci:", 1)
    if error.endswith("container does not exist"):
        error += ": nope"
    assert ours == (status, has_help, heading, error)


@pytest.mark.parametrize("line", OTHERWISE)
def test_known_differences_are_still_these(pyoci, tmp_path, line):
    their_status, their_error, our_status, our_error, _ = OTHERWISE[line]
    status, _, _, error = _runc(line.split(), tmp_path)
    assert (status, error) == (their_status, their_error)
    status, _, _, error = _pyoci(line.split(), pyoci)
    assert (status, error) == (our_status, our_error)


def test_tables_of_runc_are_known_flag_by_flag(pyoci, tmp_path):
    """Every flag in runc's own help exists here, takes a value or none alike, and has the same short name."""
    from pyoci.cli.help import verb_module
    from pyoci.cli.main import VERBS
    from pyoci.cli.options import GLOBAL, SWITCH

    differing = []
    for verb in ("", *VERBS):
        if verb in ("plan", "completion"):
            continue
        text = subprocess.run(["runc", *([verb] if verb else []), "--help"], capture_output=True, text=True).stdout
        table = {row[0]: row for row in (verb_module(verb).OPTIONS if verb else GLOBAL)}
        for name, value, short in re.findall(r"^   --([a-z0-9-]+)( value)?(?:, -([a-z]))?", text, re.MULTILINE):
            if name == "help":
                continue
            row = table.get(name)
            if row is None or (row[2] == SWITCH) == bool(value) or row[1] != short:
                differing.append((verb, name, value, short))
    assert differing == []
