"""main: global flags, exit statuses, the one line on standard error, log records, the state directory, output that fails."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyoci import errors
from pyoci.cli import main as cli
from pyoci.kernel import proc
from pyoci.spec import decode

PYOCI = [sys.executable, "-m", "pyoci"]


def test_without_words_help_is_shown_and_the_status_is_0(pyoci):
    status, out, err = pyoci()
    assert (status, err) == (0, "")
    assert out.startswith("NAME:\n   pyoci - run OCI containers\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-help"], ["help"], ["h"], ["-h", "state"]])
def test_ways_to_ask_for_help(pyoci, words):
    status, out, _ = pyoci(*words)
    assert status == 0
    assert "COMMANDS:" in out


@pytest.mark.parametrize("words", [["create", "--help"], ["create", "-h", "x"], ["help", "create"], ["create", "x", "-help"]])
def test_ways_to_ask_for_the_help_of_a_verb(pyoci, words):
    status, out, _ = pyoci(*words)
    assert status == 0
    assert out.startswith("NAME:\n   pyoci create - create a container from a bundle\n")


@pytest.mark.parametrize("word", ["--version", "-v"])
def test_version_has_the_lines_that_callers_read(pyoci, word):
    status, out, _ = pyoci(word)
    assert status == 0
    assert re.fullmatch(r"pyoci version \d\S*\ncommit: \S+\nspec: 1\.3\.0\nlibseccomp: \S+\n", out)


@pytest.mark.parametrize("words", [["bogus"], ["help", "bogus"], ["--debug=false", "bogus"]])
def test_an_unknown_verb_exits_3_as_with_runc(pyoci, words):
    assert pyoci(*words) == (3, "", "No help topic for 'bogus'; pyoci --help lists the commands\n")


@pytest.mark.parametrize(
    "words, heading, text",
    [
        (["--bogus"], "Incorrect Usage: flag provided but not defined: -bogus", "flag provided but not defined: -bogus"),
        (["--root"], "Incorrect Usage: flag needs an argument: --root", "flag needs an argument: --root"),
        (["create", "--bogus", "a"], "Incorrect Usage: flag provided but not defined: -bogus", "flag provided but not defined: -bogus"),
        (["create", "-bundle"], "Incorrect Usage: flag needs an argument: -bundle", "flag needs an argument: -bundle"),
        (["create"], "Incorrect Usage.", 'pyoci: "create" requires exactly 1 argument(s)'),
        (["exec"], "Incorrect Usage.", 'pyoci: "exec" requires a minimum of 1 argument(s)'),
        (["exec", "--bogus", "a"], "Incorrect Usage: flag provided but not defined: -bogus", "flag provided but not defined: -bogus"),
        (["kill", "a", "9", "9"], "Incorrect Usage.", 'pyoci: "kill" requires a maximum of 2 argument(s)'),
        (["list", "a"], "Incorrect Usage.", 'pyoci: "list" requires exactly 0 argument(s)'),
        (
            ["--rootless=maybe", "list"],
            'Incorrect Usage: invalid boolean value "maybe" for -rootless: parse error',
            'invalid boolean value "maybe" for -rootless: parse error',
        ),
    ],
)
def test_wrong_usage_shows_help_on_standard_output_and_exits_1(pyoci, words, heading, text):
    status, out, err = pyoci(*words)
    assert (status, err) == (1, f"{text}\n")
    assert out.startswith(f"{heading}\n\nNAME:\n   pyoci")


@pytest.mark.parametrize(
    "words, text",
    [
        (["--log-format", "xml", "state", "a"], "invalid log-format: xml"),
        (["--root", "/", "state", "a"], "Option --root argument should not be set to /"),
        (["--root", "///.", "state", "a"], "Option --root argument should not be set to /"),
        (["--log", "/nowhere/log", "state", "a"], "open /nowhere/log: No such file or directory (ENOENT)"),
    ],
)
def test_refused_settings(pyoci, api, words, text):
    assert pyoci(*words) == (1, "", f"{text}\n")
    assert api.calls == []


def test_podmans_probe_for_restore_finds_the_words_it_looks_for(pyoci):
    status, _, err = pyoci("restore", "--lsm-mount-context")
    assert (status, err) == (1, "flag needs an argument: --lsm-mount-context\n")


def test_podmans_probe_for_checkpoint_succeeds(pyoci):
    status, out, err = pyoci("checkpoint", "--help")
    assert (status, err) == (0, "")
    assert "--leave-running" in out


# The runtime that the global flags make


def test_the_runtime_gets_the_defaults(pyoci, api, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert pyoci("start", "a")[0] == 0
    made = api.made[0]
    assert (made["root"], made["systemd_cgroup"], made["rootless"]) == ("/run/pyoci", False, None)


@pytest.mark.parametrize("word, value", [("true", True), ("false", False), ("auto", None), ("", None), ("1", True)])
def test_the_runtime_gets_the_flags(pyoci, api, tmp_path, monkeypatch, word, value):
    monkeypatch.chdir(tmp_path)
    assert pyoci("--root", "state", "--systemd-cgroup", f"--rootless={word}", "--criu=/x", "create", "a")[0] == 0
    made = api.made[0]
    assert (made["root"], made["systemd_cgroup"], made["rootless"]) == (f"{tmp_path}/state", True, value)


@pytest.mark.parametrize("words", [["start", "a"], ["delete", "--force", "a"], ["kill", "a"], ["state", "a"], ["exec", "a", "sh"]])
def test_verbs_that_make_no_cgroup_ignore_who_would_make_it(pyoci, api, words):
    assert pyoci("--systemd-cgroup", *words)[0] == 0
    assert api.made[0]["systemd_cgroup"] is False


def test_users_other_than_root_keep_state_in_their_runtime_directory(monkeypatch, tmp_path):
    monkeypatch.setattr(cli.posix, "geteuid", lambda: 1000)
    monkeypatch.setitem(cli.posix.environ, b"XDG_RUNTIME_DIR", str(tmp_path).encode())
    assert cli.root_directory({}) == f"{tmp_path}/pyoci"
    assert not (tmp_path / "pyoci").exists()
    assert cli.root_directory({}, make=True) == f"{tmp_path}/pyoci"
    assert (tmp_path / "pyoci").stat().st_mode & 0o7777 == 0o1700
    assert cli.root_directory({}, make=True) == f"{tmp_path}/pyoci"


@pytest.mark.parametrize(
    "user, in_user_namespace, root",
    [(b"root", True, "/run/pyoci"), (b"u", True, "/x/pyoci"), (b"u", False, "/run/pyoci")],
)
def test_uid_0_keeps_state_in_run_unless_it_is_another_users_namespace(monkeypatch, user, in_user_namespace, root):
    monkeypatch.setattr(cli.posix, "geteuid", lambda: 0)
    monkeypatch.setitem(cli.posix.environ, b"XDG_RUNTIME_DIR", b"/x")
    monkeypatch.setitem(cli.posix.environ, b"USER", user)
    map_text = b"0 1000 1\n" if in_user_namespace else b"         0          0 4294967295\n"
    monkeypatch.setattr(proc, "read_file", lambda path: map_text)
    assert cli.root_directory({}) == root


def test_uid_0_without_proc_counts_as_the_hosts_root(monkeypatch):
    def refuse(path):
        raise errors.SyscallError("open", 2, path)

    monkeypatch.setattr(cli.posix, "geteuid", lambda: 0)
    monkeypatch.setitem(cli.posix.environ, b"XDG_RUNTIME_DIR", b"/x")
    monkeypatch.setitem(cli.posix.environ, b"USER", b"u")
    monkeypatch.setattr(proc, "read_file", refuse)
    assert cli.root_directory({}) == "/run/pyoci"


@pytest.mark.parametrize("verb, makes", [("create", True), ("run", True), ("state", False), ("delete", False)])
def test_only_verbs_that_make_a_container_make_the_state_directory(pyoci, api, monkeypatch, tmp_path, verb, makes):
    monkeypatch.setattr(cli.posix, "geteuid", lambda: 1000)
    monkeypatch.setitem(cli.posix.environ, b"XDG_RUNTIME_DIR", str(tmp_path).encode())
    pyoci(verb, "a")
    assert (tmp_path / "pyoci").exists() == makes
    assert api.made[0]["root"] == f"{tmp_path}/pyoci"


def test_a_runtime_directory_that_is_missing_is_an_error(pyoci, api, monkeypatch):
    monkeypatch.setattr(cli.posix, "geteuid", lambda: 1000)
    monkeypatch.setitem(cli.posix.environ, b"XDG_RUNTIME_DIR", b"/nowhere")
    assert pyoci("run", "a")[2] == "pyoci run failed: mkdir /nowhere/pyoci: No such file or directory (ENOENT)\n"


# Failures


@pytest.mark.parametrize(
    "words, prefix, status",
    [
        (["create", "a"], "pyoci create failed: ", 1),
        (["run", "a"], "pyoci run failed: ", 1),
        (["exec", "a", "sh"], "exec failed: ", 255),
        (["start", "a"], "", 1),
        (["kill", "a"], "", 1),
        (["delete", "a"], "", 1),
        (["state", "a"], "", 1),
    ],
)
def test_failures_by_verb(pyoci, api, words, prefix, status):
    api.answers[words[0]] = errors.NoSuchContainer("a")
    assert pyoci(*words) == (status, "", f"{prefix}container does not exist: a\n")


def test_the_containers_own_status_is_passed_on(pyoci, api):
    api.answers["run"] = 137
    assert pyoci("run", "a") == (137, "", "")


def test_an_unexpected_exception_is_one_line_that_admits_the_bug(pyoci, api):
    api.answers["state"] = ZeroDivisionError("division by zero")
    text = "internal error: ZeroDivisionError: division by zero (this is a bug of pyoci; run with --debug for the traceback)\n"
    assert pyoci("state", "a") == (1, "", text)


def test_an_unexpected_oserror_names_its_errno_and_file(pyoci, api):
    api.answers["state"] = FileNotFoundError(2, "x", "/f")
    assert pyoci("state", "a")[2].startswith("internal error: FileNotFoundError: No such file or directory (ENOENT) /f (this is a bug")


def test_debug_shows_the_traceback_before_the_one_line(pyoci, api):
    api.answers["state"] = ZeroDivisionError("division by zero")
    status, _, err = pyoci("--debug", "state", "a")
    assert status == 1
    assert "Traceback (most recent call last):" in err
    assert err.endswith("\ninternal error: ZeroDivisionError: division by zero (this is a bug of pyoci)\n")


def test_an_interrupt_from_the_keyboard_exits_130(pyoci, api):
    api.answers["run"] = KeyboardInterrupt()
    assert pyoci("run", "a") == (130, "", "interrupted\n")


def test_running_out_of_memory_is_said_in_words(pyoci, api):
    api.answers["state"] = MemoryError()
    assert pyoci("state", "a") == (1, "", "out of memory\n")


def test_an_error_cannot_obey_the_terminal_or_take_two_lines(pyoci, api):
    api.answers["state"] = errors.StateError("a\nb\x1b[2Jc\udcff\u2028\U000e0001é")
    assert pyoci("state", "a")[2] == "a\\nb\\x1b[2Jc\\xff\\u2028\\U000e0001é\n"


def test_an_endless_error_is_cut(pyoci, api):
    api.answers["state"] = errors.StateError("x" * 10**6)
    assert pyoci("state", "a")[2] == "x" * 16384 + "...\n"


def test_a_refused_config_is_shown_with_its_line(pyoci, api, tmp_path):
    (tmp_path / "config.json").write_text('{\n  "ociVersion": "1.3.0",\n  "mounts": [\n    {"type": 5}\n  ]\n}\n')
    api.answers["create"] = errors.ConfigError("mounts[0].type", "expected a string, got 5", "config.md#mounts")
    _, _, err = pyoci("create", "--bundle", str(tmp_path), "a")
    assert err == "pyoci create failed: config.json:4: mounts[0].type: expected a string, got 5 (config.md#mounts)\n"


def test_a_failed_operation_is_shown_with_the_line_of_its_origin(pyoci, api, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{\n"hostname": "x"\n}\n')
    monkeypatch.chdir(tmp_path)
    api.answers["run"] = errors.OperationFailed("hostname", "set the host name", "sethostname", 1)
    _, _, err = pyoci("run", "a")
    assert err == "pyoci run failed: config.json:2: hostname: set the host name: sethostname: Operation not permitted (EPERM)\n"


def test_a_refused_process_file_is_shown_with_its_line(pyoci, api, tmp_path):
    (tmp_path / "p.json").write_text('{\n"args": ["a"],\n"cwd": 5}\n')
    api.answers["exec"] = errors.ConfigError("cwd", "expected a string, got 5", document="process.json")
    assert pyoci("exec", "-p", f"{tmp_path}/p.json", "a")[2] == "exec failed: process.json:3: cwd: expected a string, got 5\n"


def test_a_process_that_came_through_a_pipe_is_not_read_twice(pyoci, api, monkeypatch):
    """Whoever holds the pipe open would make the second reading wait for ever."""
    read = []
    monkeypatch.setattr(decode, "read_document", lambda source, **options: read.append(source) or b'{"cwd": 5}')
    reading, writing = os.pipe()
    api.answers["exec"] = errors.ConfigError("cwd", "expected a string, got 5", document="process.json")
    fifo = f"/proc/self/fd/{reading}"
    assert pyoci("exec", "-p", fifo, "a")[2] == "exec failed: process.json: cwd: expected a string, got 5\n"
    os.close(reading)
    os.close(writing)
    assert read == [fifo]


def test_a_config_that_cannot_be_read_again_costs_only_the_line(pyoci, api, tmp_path):
    api.answers["create"] = errors.ConfigError("mounts", "expected an array")
    assert pyoci("create", "--bundle", str(tmp_path), "a")[2] == "pyoci create failed: config.json: mounts: expected an array\n"


# The log


def test_json_log_holds_exactly_the_error_as_one_record(pyoci, api, tmp_path):
    api.answers["create"] = errors.NoSuchContainer('a "b" \udcff')
    api.warnings = ["careful"]
    log = tmp_path / "log.json"
    status, _, err = pyoci("--log", str(log), "--log-format", "json", "create", "a")
    text = 'pyoci create failed: container does not exist: a "b" \\xff'
    assert (status, err) == (1, f"warning: careful\n{text}\n")
    record = json.loads(log.read_text())
    assert list(record) == ["level", "msg", "time"]
    assert (record["level"], record["msg"]) == ("error", text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["time"])


def test_text_log_is_a_logrus_line(pyoci, api, tmp_path):
    api.answers["state"] = errors.StateError('a "b"')
    log = tmp_path / "log"
    log.write_text("old\n")
    assert pyoci("--log", str(log), "state", "a")[2] == 'a "b"\n'
    assert re.fullmatch(r'old\ntime="\S+Z" level=error msg="a \\"b\\""\n', log.read_text())


def test_the_log_is_made_even_if_nothing_is_written(pyoci, api, tmp_path):
    log = tmp_path / "log"
    assert pyoci("--log", str(log), "start", "a")[0] == 0
    assert log.read_bytes() == b""
    assert log.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_wrong_usage_is_logged_too(pyoci, tmp_path):
    log = tmp_path / "log"
    pyoci("--log", str(log), "--log-format=json", "create")
    assert json.loads(log.read_text())["msg"] == 'pyoci: "create" requires exactly 1 argument(s)'


def test_json_without_a_log_file_is_one_record_on_standard_error(pyoci, api):
    api.answers["state"] = errors.StateError("no")
    _, _, err = pyoci("--log-format", "json", "state", "a")
    assert json.loads(err)["msg"] == "no"


def test_warnings_go_to_standard_error(pyoci, api):
    api.warnings = ["careful\nnow"]
    assert pyoci("start", "a") == (0, "", "warning: careful\\nnow\n")


def test_warnings_without_a_log_file_are_records_if_json_is_asked_for(pyoci, api):
    api.warnings = ["careful"]
    _, _, err = pyoci("--log-format", "json", "start", "a")
    assert json.loads(err)["level"] == "warning"


def test_with_debug_warnings_are_records_of_a_text_log(pyoci, api, tmp_path):
    api.warnings = ["careful"]
    assert pyoci("--debug", "--log", f"{tmp_path}/log", "start", "a")[2] == ""
    assert 'level=warning msg="careful"' in (tmp_path / "log").read_text()


def test_with_a_log_warnings_of_a_success_go_there_and_not_into_the_containers_error_stream(pyoci, api, tmp_path):
    api.warnings = ["careful"]
    log = tmp_path / "log"
    assert pyoci("--log", str(log), "--log-format", "json", "start", "a") == (0, "", "")
    assert [json.loads(line)["level"] for line in log.read_text().splitlines()] == ["warning"]


def test_with_debug_warnings_are_logged_at_once_and_the_error_is_the_last_record(pyoci, api, tmp_path):
    api.warnings = ["careful"]
    api.answers["start"] = errors.StateError("no")
    log = tmp_path / "log"
    pyoci("--debug", "--log", str(log), "--log-format", "json", "start", "a")
    assert [json.loads(line)["level"] for line in log.read_text().splitlines()] == ["debug", "warning", "error"]


@pytest.mark.parametrize("verb", ["state", "ps"])
def test_verbs_whose_caller_reads_both_streams_together_never_warn(pyoci, api, verb):
    api.warnings = ["careful"]
    api.answers["ps"] = []
    assert pyoci(*([verb, "a"] if verb == "state" else [verb, "--format", "json", "a"]))[2] == ""


# Standard descriptors


def _run(words, **options):
    return subprocess.run(PYOCI + words, stderr=subprocess.PIPE, text=True, **options)


def test_a_full_standard_output_is_an_error():
    with open("/dev/full", "w") as full:
        done = _run(["--help"], stdout=full)
    assert (done.returncode, done.stderr) == (1, "write standard output: No space left on device (ENOSPC)\n")


def test_a_closed_standard_output_is_an_error():
    done = _run(["--help"], preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (1, "write standard output: Bad file descriptor (EBADF)\n")


def test_a_broken_pipe_is_quiet_and_not_a_success():
    reading, writing = os.pipe()
    os.close(reading)
    done = _run(["--help"], stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_standard_error_changes_nothing():
    done = subprocess.run(PYOCI + ["bogus"], stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_closed_standard_descriptors_are_occupied_inherited_and_still_fail(closed):
    """Else a file of ours, or of the container, would become its standard output."""
    script = f"""
import os
from pyoci.cli.main import keep_standard_descriptors
os.open("/dev/zero", os.O_RDWR)  # descriptor 3 or above is none of its business
for fd in {closed}:
    os.close(fd)
keep_standard_descriptors()
def fails(fd):
    try:
        os.write(fd, b"x") if fd else os.read(fd, 1)
    except OSError as error:
        return error.errno == 9
null = os.stat("/dev/null").st_rdev
os._exit(sum(os.get_inheritable(fd) and os.fstat(fd).st_rdev == null and fails(fd) for fd in {closed}))
"""
    done = subprocess.run([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert done.returncode == len(closed)


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1, 2)])
def test_the_file_of_the_code_takes_no_standard_descriptor(closed):
    script = f"""
import os
from pyoci import hot
for fd in {closed}:
    os.close(fd)
found = hot._open({__file__!r})
def is_closed(fd):
    try:
        os.fstat(fd)
    except OSError:
        return True
os._exit(sum(is_closed(fd) for fd in {closed}) if found > 2 else 100)
"""
    done = subprocess.run([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    assert done.returncode == len(closed)


def test_a_verb_works_without_any_environment(tmp_path):
    done = subprocess.run([*PYOCI, "completion", "bash"], env={}, cwd=os.getcwd(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# bash completion for pyoci\n")


# Anything at all


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_characters="\0"), max_size=6),
            st.sampled_from(
                [*cli.VERBS, "--bundle", "--root=r", "--debug", "--", "-h", "id", "-u", "-p", "--memory", "--cgroup", "a:b", "table", "-f"]
            ),
        ),
        max_size=6,
    ).filter(lambda words: not any(word.lstrip("-").startswith("log") for word in words))
)
def test_no_command_line_ends_in_a_bug(api, monkeypatch, tmp_path_factory, capfd, words):
    monkeypatch.chdir(tmp_path_factory.getbasetemp())
    (tmp_path_factory.getbasetemp() / "config.json").unlink(missing_ok=True)
    status = cli.main(["pyoci", *words])
    out, err = capfd.readouterr()
    assert status in (0, 1, 3, 255)
    assert "internal error" not in err
    if status:
        assert err.strip()
