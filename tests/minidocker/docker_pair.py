"""docker and minidocker side by side in one place, each with the same image: a script is run with either, and its outputs are compared.

    pair.compare(script, differs)    nothing, or AssertionError with the differences
In a script `d` is the program, and
    t WORDS    runs it and prints its exit status
    f WORDS    the same where it is to fail: docker's 1 (64 for a template) and MiniDocker's 125 are one
    run, create, and both as words of the others, are without a network, which MiniDocker has not and docker is slow to make
What differs from one call to the next (ids, times, digests of layers) is left out; columns of a table that shows a time are told apart by two blanks.
"""

import contextlib
import difflib
import pathlib
import re
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "engines"))

import engine_daemons  # noqa: E402
import engine_image  # noqa: E402

PROGRAM = pathlib.Path(sys.executable).parent / "minidocker"
TIMEOUT_S = 90
IMAGE = "bb"
PRELUDE = r"""
d() {
    case "$*" in
    *--network*) ;;
    run\ * | create\ *) word=$1; shift; set -- $word --network none "$@" ;;
    esac
    p "$@"
}
t() { d "$@"; echo "=> $?"; }
f() { d "$@"; n=$?; case $n in 64 | 125) n=1 ;; esac; echo "=> $n, failed"; }
run() { d run "$@"; }
create() { d create "$@"; }
until_is() { i=0; while [ "$(d inspect -f '{{.State.Status}}' $1 2>&1)" != $2 ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; }
until_has() { i=0; while ! d logs $1 2>&1 | grep -q "$2" && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; }
"""
CLEAN = 'ids=$(p ps -aq); [ -z "$ids" ] || p rm -f $ids >/dev/null 2>&1'
SIDES = {"docker": 'p() { docker "$@"; }', "minidocker": f'p() {{ {PROGRAM} "$@"; }}'}
AGO = r"(?:Less than a second|About an? (?:minute|hour)|\d+ (?:seconds?|minutes?|hours?|days?|weeks?|months?|years?))"
PLAIN = (
    (r"\b[0-9a-f]{64}\b", "ID64"),
    (r"(?<=:\[)40265\d{5}(?=\])", "NUMBER"),
    (r"(?m)^/ / (r[ow],relatime) .*overlay.*$", r"/ / \1 OVERLAY"),
    (r"\b[0-9a-f]{12}\b", "ID12"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| ?[+-]\d\d:?\d\d)?(?: UTC)?", "TIME"),
    (AGO + r"( ago)?(?: (?=\())?", r"SPAN\1"),
)
# Who says it, and through whom it came.
PREFIX = re.compile(r"^(?:docker: |minidocker: |Error: )?(?:Error response from daemon: )?(?:Error: )?"
                    r"(?:failed to create (?:shim task|task for container): )*(?:OCI runtime (?:create|exec) failed: )?(?:runc create failed: |exec failed: )?"
                    r"(unable to start container process: )?(?:process\.args\[0\]: )?")  # fmt: skip
SUFFIX = re.compile(r"(?:: unknown|\. You have to remove \(or rename\) that container to be able to reuse that name)?\.?$")
# How to go on, and what docker repeats.
ADVICE = re.compile(r"^(?:See 'docker |Run 'docker |Usage: |  |\t|(?:Error: )?failed to (?:start containers: |rename container )|time=\"TIME\" level=error msg=\"error waiting)|^$")
MISUSE = re.compile(r"^(?:docker: |minidocker: )?[\"'](?:docker|minidocker) [\w ]*[\"'] (?:requires|accepts no) ")


def plain(text):
    """The text without what no two calls have in common."""
    for pattern, word in PLAIN:
        text = re.sub(pattern, word, text)
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    return re.sub(r"  +", "  ", text) if "SPAN" in text else text


def plain_errors(text):
    """Lines of standard error without who says them, and without the advice that follows."""
    found, is_summary = [], False
    for line in plain(text).splitlines():
        if MISUSE.match(line):
            found.append("called wrongly\n")
        elif ADVICE.match(line):
            is_summary = (is_summary or line.startswith("Usage: ")) and not line.startswith("Run ")
        elif is_summary:
            is_summary = False
        else:
            line = SUFFIX.sub("", PREFIX.sub(r"\1", line))
            found.append(f"{line[:1].lower()}{line[1:]}\n")
    return "".join(found)


class Told:
    """What a script printed, in the two streams."""

    def __init__(self, out, err):
        self.out = out
        self.err = err

    def lines(self):
        return [*(f"1 {line}" for line in self.out.split("\n")), *(f"2 {line}" for line in self.err.splitlines())]


class Pair:
    """The two, in one place."""

    def __init__(self, place):
        self.place = place
        self.count = 0

    def told(self, side, script, folder):
        """Run it with one of them."""
        place = self.place
        folder.mkdir()
        given = {**place.environment, "MINIDOCKER_ROOT": f"{place.folder}/md", "MINIDOCKER_RUN": f"{place.folder}/mr", "TZ": "UTC", "N": f"c{self.count}"}
        text = f"{SIDES[side]}\n{PRELUDE}\ncd {folder}\n{script}\n"
        try:
            with (folder / ".out").open("w+b") as out, (folder / ".err").open("w+b") as err:  # files: who stays behind may hold them
                subprocess.run([*place.enter, "sh", "-c", text], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=given, timeout=TIMEOUT_S, check=False)
            said = [(folder / name).read_bytes().decode(errors="backslashreplace").replace("\r", "").replace(str(folder), "FOLDER") for name in (".out", ".err")]
        finally:
            place.sh(f"{SIDES[side]}\nexport MINIDOCKER_ROOT={place.folder}/md MINIDOCKER_RUN={place.folder}/mr\n{CLEAN}")
        return Told(plain(said[0]), plain_errors(said[1]))

    def compare(self, script, differs=(), words=True):
        """Both print the same on the same streams.  differs: (pattern, replacement, why), applied to docker's lines, `1 OUT` and `2 ERR`; words False: of
        standard error only whether there was any is compared."""
        self.count += 1
        folder = self.place.folder / f"t{self.count}"
        folder.mkdir()
        theirs, ours = (self.told(side, script, folder / side) for side in SIDES)
        if not words:
            theirs.err, ours.err = ("some\n" if told.err else "" for told in (theirs, ours))
        lines = theirs.lines()
        for pattern, replacement, why in differs:
            text, found = re.subn(pattern, replacement, "\n".join(lines), flags=re.MULTILINE)
            assert found or why.startswith("older"), f"docker does not say {pattern!r}:\n" + "\n".join(lines)
            lines = text.split("\n")
        changes = list(difflib.unified_diff(lines, ours.lines(), "docker", "minidocker", n=2, lineterm=""))
        assert not changes, "\n".join(changes)


@contextlib.contextmanager
def pair(folder):
    """The Pair, with dockerd on runc."""
    engine_image.make(folder / "image.tar")
    with engine_daemons.dockerd(folder / "image.tar", **{"default-runtime": "peer"}) as engine:
        place = engine.place
        done = place.sh(f"export MINIDOCKER_ROOT={place.folder}/md MINIDOCKER_RUN={place.folder}/mr; {PROGRAM} load -q -i {folder}/image.tar")
        assert done.status == 0, done
        yield Pair(place)
