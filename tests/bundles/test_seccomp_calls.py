"""docs/seccomp.md says which calls init makes under the filter: a killing profile with exactly these must do, and with one less must not."""

import json
import pathlib
import re
import shutil
import signal

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox")

TREE = pathlib.Path(__file__).resolve().parents[2]
# The process: init itself without arguments, which calls these and ends with status 2. Any libc would call dozens.
PROGRAM_CALLS = ["prctl", "umask", "exit_group"]
PROGRAM_STATUS = 2


def documented(column):
    """The calls of the first table with `yes` in a column, with: 1, without: 2."""
    rows = [line.split("|")[1:-1] for line in (TREE / "docs" / "seccomp.md").read_text().splitlines() if line.startswith("| `")]
    first_table = [cells for cells in rows if len(cells) == 4]
    return [call for cells in first_table if cells[column].strip() == "yes" for call in re.findall(r"`(\w+)`", cells[0])]


WITH, WITHOUT = documented(1), documented(2)


@pytest.fixture
def confined(pyoci, examples):
    """Run init as the program of a container under a profile that kills on every other call; CompletedProcess."""
    folder = examples.parent / "confined"
    shutil.copytree(examples / "hello", folder, symlinks=True)
    shutil.copy(TREE / "pyoci" / "native" / "init" / "pyoci-init", folder / "rootfs" / "program")
    (folder / "rootfs" / "program").chmod(0o755)

    def run(calls, no_new_privileges, variables=0):
        config = json.loads((folder / "config.json").read_text())
        config["process"] |= {"args": ["/program"], "env": [f"V{number}=" for number in range(variables)], "noNewPrivileges": no_new_privileges}
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_KILL_PROCESS",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [{"names": [*calls, *PROGRAM_CALLS], "action": "SCMP_ACT_ALLOW"}],
        }
        (folder / "config.json").write_text(json.dumps(config))
        return pyoci("run", "--bundle", folder, pyoci.new_id())

    yield run
    shutil.rmtree(folder)


def test_the_page_has_both_lists():
    assert WITH == ["execve"]
    assert set(WITH) < set(WITHOUT)


@pytest.mark.parametrize(("calls", "no_new_privileges"), [pytest.param(WITH, True, id="with"), pytest.param(WITHOUT, False, id="without")])
def test_the_documented_calls_are_enough(calls, no_new_privileges, confined):
    done = confined(calls, no_new_privileges)
    assert (done.returncode, done.stderr) == (PROGRAM_STATUS, "")


def test_many_variables_take_mmap(confined):
    assert confined(WITH, True, variables=20_000).returncode == 128 + signal.SIGSYS
    assert confined([*WITH, "mmap"], True, variables=20_000).returncode == PROGRAM_STATUS


@pytest.mark.parametrize("call", [call for call in WITHOUT if call not in PROGRAM_CALLS])
def test_each_documented_call_is_needed_without_no_new_privileges(call, confined):
    done = confined([one for one in WITHOUT if one != call], False)
    assert done.returncode != PROGRAM_STATUS


def test_filter_that_kills_init_in_create_is_named(confined):
    done = confined([one for one in WITHOUT if one != "capset"], False)
    assert done.returncode == 1
    assert done.stderr.startswith("pyoci run failed: config.json:")
    assert done.stderr.endswith(
        ": process.capabilities: hold capabilities: none: init was killed by signal 31 (SIGSYS): "
        "linux.seccomp forbids a call that init still has to make, see docs/seccomp.md\n"
    )


@pytest.mark.parametrize("call", WITH)
def test_each_documented_call_is_needed_with_no_new_privileges(call, confined):
    done = confined([one for one in WITH if one != call], True)
    assert done.returncode == 128 + signal.SIGSYS
