#!/usr/bin/env python3
"""Run the OCI's validation suite (opencontainers/runtime-tools) against a runtime and print what each test said.

DIR is a checkout that its user has built as upstream's README says (`make runtimetest validation-executables`, with a
root file system in rootfs-ARCH.tar.gz whose "./" entry is open to other users). Nothing of the suite is kept in this
repository. Tests run one after another, because many share one cgroup name; each has a TMPDIR, a state root and a
time limit of its own. What a test leaves behind is removed: its containers, their cgroups, their processes.

A test fails when its exit status isn't 0, when it prints "not ok", when a plan ("1..N") doesn't match its points,
when it prints no point but a diagnostic "error", or when it prints no TAP at all (two tests are silent when they pass).

Exit status: 0 when nothing failed, 1 when something did, 2 for a wrong command line.
"""
import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SUITE_CGROUPS = ("cgrouptest", "testdir/cgrouptest/container", "testdir/cgrouptest", "testdir")
SILENT_WHEN_RIGHT = {"process_rlimits_fail", "process_capabilities_fail"}
V1_CONTROLLERS = ("hugetlb", "net_cls", "net_prio", "perf_event")
CLONE_NEWNS = 0x00020000
PASS, FAIL, SKIP = "pass", "fail", "skip"


class Outcome:
    """What one executable said: name, verdict (PASS, FAIL or SKIP), why (one line, may be empty) and duration_s."""

    def __init__(self, name: str, verdict: str, why: str = "", duration_s: float = 0.0):
        self.name = name
        self.verdict = verdict
        self.why = why
        self.duration_s = duration_s


# --- judging --------------------------------------------------------------------------------------------------------

def judge(name: str, exit_status: int, output: str, errors: str) -> "tuple[str, str]":
    """(verdict, why) for what a test wrote to its standard output (TAP 13) and error stream."""
    complaint = first_complaint(name, exit_status, output)
    if complaint:
        return FAIL, complaint + last_words(errors) if exit_status else complaint
    points = [point for stream in tap_streams(output) for point in points_of(stream)]
    if points and all(re.search(r"#\s*skip", point, re.IGNORECASE) for point in points):
        return SKIP, points[0].partition("#")[2].strip()
    return PASS, ""


def first_complaint(name: str, exit_status: int, output: str) -> str:
    streams = tap_streams(output)
    if not streams and name not in SILENT_WHEN_RIGHT and exit_status == 0:
        return "printed no TAP: its container's program did not run"
    for stream in streams:
        points = points_of(stream)
        for point in points:
            if point.startswith("not ok") and not re.search(r"#\s*todo", point, re.IGNORECASE):
                return point
        plan = re.search(r"^1\.\.(\d+)", stream, re.MULTILINE)
        if plan is None and exit_status == 0:
            return f"no plan after {len(points)} points"
        if plan is not None and int(plan.group(1)) != len(points):
            return f"plan of {plan.group(1)}, but {len(points)} points"
        error = re.search(r'^\s+"?error"?: *"?(.*?)(?:\\n|"|$)', stream, re.MULTILINE)
        if error is not None and not points:
            return "error: " + one_line(error.group(1))
    if exit_status:
        return f"exit status {exit_status}"
    return ""


def tap_streams(output: str) -> "list[str]":
    """A test may print several TAP documents, one after the other."""
    return re.split(r"^TAP version 13\n", output, flags=re.MULTILINE)[1:]


def points_of(stream: str) -> "list[str]":
    """The test lines. What a container printed is quoted, indented, in a diagnostic, and is no point of the test's."""
    return re.findall(r"^(?:not )?ok\b.*", stream, re.MULTILINE)


def last_words(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip() and not re.match(r"exit status|Refer to:|goroutine|Clean:", line)]
    return f" ({one_line(lines[-1])})" if lines else ""


def one_line(text: str, limit: int = 160) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 3] + "..."


# --- running --------------------------------------------------------------------------------------------------------

class Suite:
    """A built checkout, the runtime it examines, and a working folder (removed at the end)."""

    def __init__(self, checkout: Path, runtime: str, work: Path, timeout_s: float, oci_version: str):
        self.checkout = checkout
        self.runtime = runtime
        self.work = work
        self.timeout_s = timeout_s
        self.oci_version = oci_version

    def run(self, name: str) -> Outcome:
        executable = self.checkout / "validation" / name / (name + ".t")
        if not os.access(executable, os.X_OK):
            return Outcome(name, SKIP, "not built")
        place = Place(self.work / name, self.runtime, self.oci_version)
        started_s = time.monotonic()
        try:
            verdict, why = self.run_executable(name, executable, place)
        finally:
            leftovers = place.clean()
        duration_s = time.monotonic() - started_s
        if leftovers and verdict == PASS:
            why = "left behind: " + ", ".join(leftovers)
        return Outcome(name, verdict, why, duration_s)

    def run_executable(self, name: str, executable: Path, place: "Place") -> "tuple[str, str]":
        with open(place.folder / "stdout", "w+") as output, open(place.folder / "stderr", "w+") as errors:
            process = subprocess.Popen([str(executable)], cwd=self.checkout, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=errors, env=place.environment(), start_new_session=True)
            try:
                exit_status = process.wait(self.timeout_s)
            except subprocess.TimeoutExpired:
                return FAIL, f"still running after {self.timeout_s:g} s"
            finally:
                end_session(process)
            output.seek(0)
            errors.seek(0)
            return judge(name, exit_status, output.read(), errors.read())


class Place:
    """One test's folder: TMPDIR, the runtime's state root, and the wrapper that the test calls as its RUNTIME."""

    def __init__(self, folder: Path, runtime: str, oci_version: str):
        self.folder = folder
        self.tmp = folder / "tmp"
        self.root = folder / "root"
        self.log = folder / "calls"
        self.wrapper = folder / "runtime"
        for path in (folder, self.tmp, self.root):
            path.mkdir()
            path.chmod(0o711)  # a container's root may be another user of the host
        self.log.touch()
        self.wrapper.write_text(wrapper_script(runtime, self.root, self.log, oci_version))
        self.wrapper.chmod(0o755)
        self.before = set(suite_cgroups())
        self.owners = device_owners()

    def environment(self) -> "dict[str, str]":
        return {**os.environ, "RUNTIME": str(self.wrapper), "TMPDIR": str(self.tmp)}

    def clean(self) -> "list[str]":
        """Remove what the test left, and name it. A container that the test forgot is common, and no fault."""
        ids = self.container_ids()
        left = []
        for container in sorted(ids & set(os.listdir(self.root))):
            subprocess.run([str(self.wrapper), "delete", "--force", container], capture_output=True, timeout=60, check=False)
        for group in leftover_cgroups(ids, self.before):
            empty_cgroup(group)
            if group.exists():
                left.append(f"cgroup {group}")
        left += [f"state of {name}" for name in ids & set(os.listdir(self.root))]
        mounts = mounts_below(self.folder)
        left += [f"{len(mounts)} mounts"] if mounts else []
        for mount in mounts:
            subprocess.run(["umount", "-l", mount], check=False)
        for device, (uid, gid) in self.owners.items():
            if device_owners()[device] != (uid, gid):
                left.append(f"another owner of {device}")
                os.chown(device, uid, gid)
        shutil.rmtree(self.folder, ignore_errors=True)
        return left

    def container_ids(self) -> "set[str]":
        """Every word of every call that looks like one of the suite's ids (they are UUIDs)."""
        return set(re.findall(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", self.log.read_text()))


def wrapper_script(runtime: str, root: Path, log: Path, oci_version: str) -> str:
    """The tests call `RUNTIME args`, so that options before the verb need a script; an old runtime, an old version."""
    rewrite = f"""
case "$1" in create)
  for word do
    if [ -f "$word/config.json" ]; then sed -i 's/"ociVersion": *"1[0-9.]*"/"ociVersion":"{oci_version}"/' "$word/config.json"; fi
  done;;
esac""" if oci_version else ""
    return f"""#!/bin/sh
echo "$@" >> '{log}'{rewrite}
exec '{runtime}' --root '{root}' "$@"
"""


def end_session(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a test's own session (a container's processes are in others)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


# --- cleaning -------------------------------------------------------------------------------------------------------

def hierarchies() -> "list[Path]":
    return [path for path in CGROUP.iterdir() if path.is_dir() and not path.is_symlink()] if CGROUP.is_dir() else []


def suite_cgroups() -> "list[Path]":
    """The suite's fixed names, at the top and (what a relative path means to some runtimes) below our own cgroup."""
    own = {line.split(":", 2)[2].strip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()} | {""}
    return [path for top in hierarchies() for part in own for name in SUITE_CGROUPS if (path := top / part / name).is_dir()]


def leftover_cgroups(ids: "set[str]", before: "set[Path]") -> "list[Path]":
    """Cgroups named after the test's containers (and what is below), or by the suite's fixed names unless they were there
    before; deepest first."""
    found = [path for path in suite_cgroups() if path not in before]
    for top in hierarchies():
        for folder, names, _ in os.walk(top):
            found += [Path(folder, name) for name in names if any(each in f"{folder}/{name}" for each in ids)]
    return sorted(set(found), key=lambda path: -len(path.parts))


def empty_cgroup(group: Path) -> None:
    """Kill what is in it and remove it (waits up to 5 s for the kernel to let go of the dead)."""
    deadline_s = time.monotonic() + 5
    while group.exists() and time.monotonic() < deadline_s:
        try:
            for thawed, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if (group / thawed).exists():
                    (group / thawed).write_text(word)
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
        except OSError:  # a member that is dying, or gone since it was read
            time.sleep(0.02)


def device_owners() -> "dict[str, tuple[int, int]]":
    """A runtime that gives a container's user its standard streams may give away the host's own /dev/null."""
    found = {device: os.stat(device) for device in ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty")}
    return {device: (status.st_uid, status.st_gid) for device, status in found.items()}


def mounts_below(folder: Path) -> "list[str]":
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [each[4] for each in reversed(fields) if each[4].startswith(f"{folder}/")]


# --- the host's cgroups ---------------------------------------------------------------------------------------------

def leave_mount_namespace() -> None:
    """One test makes a container without a mount namespace: its mounts would be the host's. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("--make-rslave", "/")


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def mount_missing_controllers() -> "list[str]":
    """In our own mount namespace, mount the v1 controllers that the kernel has and the host did not mount.

    Several tests read /sys/fs/cgroup/hugetlb, net_cls and net_prio and fail wherever they aren't mounted. While such a
    controller is mounted as v1 the host's cgroup2 tree is without it; it goes back when the namespace ends. Returns
    the controllers that were mounted. Raises CalledProcessError."""
    new = Path(tempfile.mkdtemp())
    mount("-t", "tmpfs", "-o", "mode=755", "cgroup_root", str(new))
    for path in sorted(CGROUP.iterdir()):
        if path.is_symlink():
            (new / path.name).symlink_to(os.readlink(path))
        elif path.is_mount():
            (new / path.name).mkdir()
            mount("--move", str(path), str(new / path.name))
    mounted = []
    for name in V1_CONTROLLERS:
        if not (new / name).exists() and mount_controller(name, new / name):
            mounted.append(name)
    subprocess.run(["umount", str(CGROUP)], check=True)
    mount("--move", str(new), str(CGROUP))
    new.rmdir()
    return mounted


def mount_controller(name: str, target: Path) -> bool:
    """A controller that cgroup2 is using, or that the kernel doesn't have, can't be mounted."""
    target.mkdir()
    done = subprocess.run(["mount", "-t", "cgroup", "-o", name, "cgroup", str(target)], capture_output=True, check=False)
    if done.returncode:
        target.rmdir()
    return done.returncode == 0


# --- the command ----------------------------------------------------------------------------------------------------

def options(arguments: "list[str]") -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a built checkout of opencontainers/runtime-tools against a runtime.")
    parser.add_argument("dir", metavar="DIR", type=Path, help="the checkout")
    parser.add_argument("--runtime", default="pyoci", help="the runtime to examine (default: pyoci, of PATH)")
    parser.add_argument("--only", metavar="NAMES", help="comma-separated names of tests")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=120, help="time limit for one test (default: 120)")
    parser.add_argument("--mount-controllers", action="store_true",
                        help="mount the v1 cgroup controllers that the host has not mounted, for this run only")
    parser.add_argument("--oci-version", metavar="VERSION", default="", help="rewrite ociVersion for an older runtime (crun 1.8: 1.0.2)")
    return parser.parse_args(arguments)


def names_of(chosen: argparse.Namespace) -> "list[str]":
    folders = sorted((chosen.dir / "validation").glob("*/"))
    known = [path.name for path in folders if (path / (path.name + ".go")).exists()]
    if not chosen.only:
        return known
    wanted = chosen.only.split(",")
    for name in wanted:
        if name not in known:
            raise LookupError(f"no test {name!r} in {chosen.dir}/validation")
    return wanted


def main(arguments: "list[str]") -> int:
    chosen = options(arguments)
    runtime = shutil.which(chosen.runtime)
    if runtime is None:
        print(f"runtime_tools: no runtime {chosen.runtime!r}", file=sys.stderr)
        return 2
    try:
        names = names_of(chosen)
    except LookupError as error:
        print(f"runtime_tools: {error}", file=sys.stderr)
        return 2
    if not names:
        print(f"runtime_tools: no tests in {chosen.dir}/validation", file=sys.stderr)
        return 2
    leave_mount_namespace()
    if chosen.mount_controllers:
        print("mounted: " + (", ".join(mount_missing_controllers()) or "nothing"), flush=True)
    with tempfile.TemporaryDirectory(prefix="runtime-tools-") as work:
        os.chmod(work, 0o711)
        suite = Suite(chosen.dir.resolve(), os.path.abspath(runtime), Path(work), chosen.timeout, chosen.oci_version)
        outcomes = [show(suite.run(name)) for name in names]
    totals = {verdict: sum(each.verdict == verdict for each in outcomes) for verdict in (PASS, FAIL, SKIP)}
    print(f"{totals[PASS]} passed, {totals[FAIL]} failed, {totals[SKIP]} skipped of {len(outcomes)}"
          f" in {sum(each.duration_s for each in outcomes):.0f} s")
    return 1 if totals[FAIL] else 0


def show(outcome: Outcome) -> Outcome:
    print(f"{outcome.name:<32} {outcome.verdict:<5} {outcome.duration_s:5.1f} s  {outcome.why}".rstrip(), flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
