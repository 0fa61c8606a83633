"""What dockerd relies on, without dockerd: its command lines, the words it looks for, and a state root that is empty afterwards."""

import os

import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox")


def exit_status_of(message):
    """The exit status that dockerd 20.10 makes of a failed create or start (daemon/start.go, daemon/errors.go)."""
    message = message.lower()
    status = 128
    for words in ("executable file not found", "no such file or directory", "system cannot find the file specified"):
        if words in message:
            status = 127
    if "permission denied" in message:
        status = 126
    if "not a directory" in message:
        status = 127
    return status


@pytest.mark.parametrize(
    ("program", "status"),
    [("/etc", 126), ("/bin", 126), ("/etc/passwd", 126), ("/no/such", 127), ("nosuch", 127), ("/etc/passwd/x", 127), ("./etc", 126)],
)
def test_dockerd_makes_the_usual_exit_status_of_a_program_that_cannot_run(bundle, pyoci, program, status):
    bundle.process["args"] = [program]
    said = pyoci.fails("create", "--bundle", bundle.write().path, pyoci.new_id())
    assert exit_status_of(said) == status, said


@pytest.mark.parametrize(("program", "status"), [("/etc", 126), ("/no/such", 127), ("nosuch", 127)])
def test_dockerd_makes_the_same_exit_status_of_an_exec(bundle, pyoci, program, status):
    name = pyoci.start(bundle)
    said = pyoci.fails("exec", name, program, status=255)
    assert exit_status_of(said) == status, said


def test_state_root_is_empty_when_its_containers_are_deleted(bundle, pyoci):
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}
    name = pyoci.start(bundle.write())
    pyoci.ok("exec", name, "true")
    pyoci.ok("delete", "--force", name)
    assert os.listdir(pyoci.root) == []
