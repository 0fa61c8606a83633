"""Each verb: the call it makes from its flags, what it prints, and its own refusals."""

import json
import os
import signal

import pytest
from fake_api import STATE
from hypothesis import given
from hypothesis import strategies as st

from pyoci import errors
from pyoci.cli.verbs import events, kill, ps, spec, update
from pyoci.cli.verbs import exec as exec_verb
from pyoci.cli.verbs import list as list_verb
from pyoci.errors import UsageError


CREATION_DEFAULTS = {
    "console_socket": None, "pidfd_socket": None, "pid_file": None, "no_pivot": False, "no_new_keyring": False, "preserve_fds": 0,
}  # fmt: skip
RUN_DEFAULTS = {**CREATION_DEFAULTS, "detach": False, "keep": False, "no_subreaper": False}
EXEC_DEFAULTS = {
    "detach": False, "console_socket": None, "pidfd_socket": None, "pid_file": None, "preserve_fds": 0, "cgroup": None, "ignore_paused": False,
}  # fmt: skip


@pytest.mark.parametrize(
    "words, call",
    [
        pytest.param(["create", "-b", "/b", "a"], ("create", ("a", "/b"), CREATION_DEFAULTS), id="create"),
        pytest.param(
            [
                "create",
                "--bundle",
                "/b",
                "--pid-file",
                "p",
                "--console-socket",
                "c",
                "--pidfd-socket",
                "d",
                "--no-pivot",
                "--no-new-keyring",
                "--preserve-fds",
                "2",
                "a",
            ],
            (
                "create",
                ("a", "/b"),
                {"console_socket": "c", "pidfd_socket": "d", "pid_file": "p", "no_pivot": True, "no_new_keyring": True, "preserve_fds": 2},
            ),
            id="create with every flag",
        ),
        pytest.param(
            ["create", "a", "--bundle=/b", "--pid-file="],
            ("create", ("a", "/b"), CREATION_DEFAULTS),
            id="create, flags after the id, empty value",
        ),
        pytest.param(["run", "-b", "/b", "a"], ("run", ("a", "/b"), RUN_DEFAULTS), id="run"),
        pytest.param(
            ["run", "-b", "/b", "-d", "--keep", "-no-subreaper", "a"],
            ("run", ("a", "/b"), {**RUN_DEFAULTS, "detach": True, "keep": True, "no_subreaper": True}),
            id="run with its flags",
        ),
        pytest.param(["start", "a"], ("start", ("a",), {}), id="start"),
        pytest.param(["state", "a"], ("state", ("a",), {}), id="state"),
        pytest.param(["kill", "a"], ("kill", ("a", 15), {"all_processes": False}), id="kill"),
        pytest.param(["kill", "--all", "a", "9"], ("kill", ("a", 9), {"all_processes": True}), id="kill all"),
        pytest.param(["kill", "a", "0"], ("kill", ("a", 0), {"all_processes": False}), id="kill with signal 0"),
        pytest.param(["delete", "a"], ("delete", ("a",), {"force": False}), id="delete"),
        pytest.param(["delete", "--force", "a"], ("delete", ("a",), {"force": True}), id="delete force"),
        pytest.param(["delete", "a", "-f"], ("delete", ("a",), {"force": True}), id="delete force behind"),
        pytest.param(["pause", "a"], ("pause", ("a",), {}), id="pause"),
        pytest.param(["resume", "a"], ("resume", ("a",), {}), id="resume"),
        pytest.param(["list"], ("list", (), {}), id="list"),
        pytest.param(["ps", "-f", "json", "a"], ("ps", ("a",), {}), id="ps"),
        pytest.param(["update", "--memory", "1g", "a"], ("update", ("a", {"memory": {"limit": 1 << 30}}), {}), id="update"),
        pytest.param(["events", "--stats", "a"], ("stats", ("a",), {}), id="events stats"),
        pytest.param(["events", "a"], ("events", ("a", 5.0), {}), id="events"),
        pytest.param(["events", "--interval=100ms", "a"], ("events", ("a", 0.1), {}), id="events with an interval"),
        pytest.param(["features"], ("features", (), {}), id="features"),
        pytest.param(["plan", "/b"], ("plan", ("/b",), {}), id="plan"),
        pytest.param(["plan", "-b", "/b"], ("plan", ("/b",), {}), id="plan by flag"),
    ],
)
def test_calls(pyoci, api, words, call):
    status, _, err = pyoci(*words)
    assert (status, err) == (0, "")
    method, arguments, options = api.calls[0]
    if method in ("create", "run", "start"):
        assert options.pop("environ") == dict(os.environ)
    assert (method, arguments, options) == call
    assert len(api.calls) == 1


def test_the_bundle_is_the_working_directory_by_default(pyoci, api, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for verb in ("create", "run"):
        pyoci(verb, "a")
    pyoci("plan")
    assert [arguments[-1] for _, arguments, _ in api.calls] == [str(tmp_path)] * 3


@pytest.mark.parametrize("verb", ["create", "run", "start", "kill", "delete", "pause", "resume", "update"])
def test_verbs_that_say_nothing_when_all_is_well(pyoci, api, verb):
    assert pyoci(verb, "a") == (0, "", "")


# state


def test_state_is_indented_by_two_and_ends_without_a_newline(pyoci, api):
    status, out, _ = pyoci("state", "web")
    assert status == 0
    assert out == json.dumps(STATE, indent=2, ensure_ascii=False)


def test_a_state_that_is_not_utf8_is_printed_with_replacement_characters(pyoci, api):
    api.answers["state"] = {"bundle": "/\udcff"}
    assert pyoci("state", "web")[1] == '{\n  "bundle": "/\ufffd"\n}'


# kill


@pytest.mark.parametrize(
    "word, number",
    [
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigkill", 9),
        ("Kill", 9),
        ("0", 0),
        ("WINCH", 28),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX", signal.SIGRTMAX),
        ("RTMIN+30", signal.SIGRTMAX),
        ("64", 64),
    ],
)
def test_signals(word, number):
    assert kill.parse_signal(word) == number


@pytest.mark.parametrize(
    "word",
    [
        "BAD",
        "",
        "-9",
        "65",
        "9" * 5000,
        "SIG",
        "_DFL",
        "DFL",
        "_BLOCK",
        "SIG_BLOCK",
        "KILL+1",
        "RTMIN+",
        "RTMIN+31",
        "RTMIN-1",
        "9.0",
        "ſIGKILL",
        "КILL",
        " 9",
    ],
)
def test_what_is_no_signal(word):
    with pytest.raises(UsageError) as caught:
        kill.parse_signal(word)
    assert str(caught.value) == f'unknown signal "{word}"'


def test_every_signal_of_this_machine_has_its_name():
    for known in signal.Signals:
        assert kill.parse_signal(known.name.lower()) == known.value


@given(st.text(max_size=10))
def test_the_signal_parser_is_total(word):
    try:
        assert 0 <= kill.parse_signal(word) <= 64
    except UsageError:
        pass


# exec

OWN = {
    "args": ["sh"], "cwd": "/srv", "env": ["A=1"], "terminal": True, "consoleSize": {"height": 1, "width": 1}, "noNewPrivileges": True,
    "user": {"uid": 7, "gid": 8, "additionalGids": [9]}, "capabilities": {"bounding": ["CAP_KILL"], "inheritable": []},
}  # fmt: skip


@pytest.mark.parametrize(
    "flags, changed",
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(["--cwd", "/x"], {"cwd": "/x"}, id="cwd"),
        pytest.param(["--cwd="], {}, id="empty cwd"),
        pytest.param(["-e", "B=2", "--env", "A=3,4"], {"env": ["A=1", "B=2", "A=3,4"]}, id="env"),
        pytest.param(["--no-new-privs"], {"noNewPrivileges": True}, id="no new privileges"),
        pytest.param(["--no-new-privs=false"], {"noNewPrivileges": False}, id="new privileges"),
        pytest.param(["-u", "1"], {"user": {"uid": 1, "gid": 8, "additionalGids": [9]}}, id="uid keeps the gid"),
        pytest.param(["-u", "1:2"], {"user": {"uid": 1, "gid": 2, "additionalGids": [9]}}, id="uid and gid"),
        pytest.param(["-g", "10", "--additional-gids=0"], {"user": {"uid": 7, "gid": 8, "additionalGids": [9, 10, 0]}}, id="groups"),
        pytest.param(
            ["--cap", "CAP_KILL", "-c", "CAP_CHOWN"],
            {
                "capabilities": {
                    "bounding": ["CAP_KILL", "CAP_CHOWN"],
                    "inheritable": [],
                    "effective": ["CAP_KILL", "CAP_CHOWN"],
                    "permitted": ["CAP_KILL", "CAP_CHOWN"],
                }
            },
            id="capabilities, never inheritable or ambient",
        ),
        pytest.param(["--process-label=", "--apparmor", ""], {}, id="empty labels"),
        pytest.param(["--process-label=a:b:c:d", "--apparmor", "p"], {"selinuxLabel": "a:b:c:d", "apparmorProfile": "p"}, id="labels"),
    ],
)
def test_exec_changes_the_containers_own_process(pyoci, api, flags, changed):
    api.answers["exec_process"] = OWN
    before = json.dumps(OWN)
    assert pyoci("exec", *flags, "web", "ls", "-l", "--", "x")[0] == 0
    method, arguments, options = api.calls[1]
    own = {key: value for key, value in OWN.items() if key != "consoleSize"}
    assert (method, arguments) == ("exec", ("web", {**own, "args": ["ls", "-l", "--", "x"], "terminal": False, **changed}))
    assert options == EXEC_DEFAULTS
    assert json.dumps(OWN) == before


def test_exec_adds_an_ambient_capability_only_where_something_is_inheritable(pyoci, api):
    api.answers["exec_process"] = {"args": ["sh"], "capabilities": {"inheritable": ["CAP_KILL"]}}
    pyoci("exec", "-c", "CAP_CHOWN", "web", "ls")
    sets = api.calls[1][1][1]["capabilities"]
    assert sets["ambient"] == ["CAP_CHOWN"]
    assert sets["inheritable"] == ["CAP_KILL"]


def test_exec_with_a_terminal_keeps_its_size(pyoci, api):
    api.answers["exec_process"] = OWN
    pyoci("exec", "-t", "web", "sh")
    process = api.calls[1][1][1]
    assert (process["terminal"], process["consoleSize"]) == (True, {"height": 1, "width": 1})


def test_exec_passes_what_is_not_of_the_process(pyoci, api):
    words = [
        "-d",
        "--console-socket",
        "c",
        "--pidfd-socket",
        "d",
        "--pid-file",
        "p",
        "--preserve-fds=1",
        "--cgroup",
        "cpu,memory:/x",
        "--cgroup",
        "pids:/y",
        "--ignore-paused",
    ]
    pyoci("exec", *words, "web", "sh")
    assert api.calls[1][2] == {
        "detach": True, "console_socket": "c", "pidfd_socket": "d", "pid_file": "p", "preserve_fds": 1,
        "cgroup": {"cpu": "/x", "memory": "/x", "pids": "/y"}, "ignore_paused": True,
    }  # fmt: skip


def test_exec_with_a_process_file_takes_it_as_it_is(pyoci, api, tmp_path):
    process = {"args": ["a"], "cwd": "/", "user": {"uid": 1, "gid": 1}}
    (tmp_path / "p").write_text(json.dumps(process))
    assert pyoci("exec", "--process", f"{tmp_path}/p", "--user", "junk", "--detach", "web")[0] == 0
    assert [call[:2] for call in api.calls] == [("exec", ("web", process))]


def test_exec_passes_the_status_of_the_process_on(pyoci, api):
    api.answers["exec"] = 3
    assert pyoci("exec", "web", "sh")[0] == 3


@pytest.mark.parametrize(
    "words, text",
    [
        (["web"], "exec args cannot be empty"),
        (["-u", "x", "web", "sh"], 'bad uid: "x" in --user x: a number from 0 to 4294967294 expected'),
        (["-u", ":5", "web", "sh"], 'bad uid: "" in --user :5: a number from 0 to 4294967294 expected'),
        (["-u", "1:", "web", "sh"], 'bad gid: "" in --user 1:: a number from 0 to 4294967294 expected'),
        (["-u", "1:2:3", "web", "sh"], 'bad gid: "2:3" in --user 1:2:3: a number from 0 to 4294967294 expected'),
        (["-u", "-1", "web", "sh"], 'bad uid: "-1" in --user -1: a number from 0 to 4294967294 expected'),
        (["-u", "+1", "web", "sh"], 'bad uid: "+1" in --user +1: a number from 0 to 4294967294 expected'),
        (["-u", "4294967295", "web", "sh"], 'bad uid: "4294967295" in --user 4294967295: a number from 0 to 4294967294 expected'),
        (["-u", "4294967296", "web", "sh"], 'bad uid: "4294967296" in --user 4294967296: a number from 0 to 4294967294 expected'),
        (["-g", "-1", "web", "sh"], "additional-gids must be a positive number -1"),
        (["-e", "=x", "web", "sh"], '--env "=x": the name of the variable is empty'),
        (["-e", "", "web", "sh"], '--env "": the name of the variable is empty'),
        (["--cgroup", ":/x", "web", "sh"], "invalid --cgroup argument: :/x (empty <controller> prefix)"),
        (["--cgroup", "cpu:/x", "--cgroup", "y", "web", "sh"], "invalid --cgroup argument: y (missing <controller>: prefix)"),
        (
            ["--cgroup", "cpu:/x", "--cgroup", "cpu:/y", "web", "sh"],
            "invalid --cgroup argument(s): controller cpu specified multiple times",
        ),
        (["-p", "/nowhere", "web"], "process.json: open /nowhere: No such file or directory (ENOENT)"),
        (["-p", "/dev/null", "web"], "process.json: broken JSON: the document is empty"),
    ],
)
def test_exec_refusals_exit_255_before_anything_is_run(pyoci, api, words, text):
    assert pyoci("exec", *words) == (255, "", f"exec failed: {text}\n")
    assert "exec" not in [call[0] for call in api.calls]


def test_exec_with_a_group_that_is_no_number_is_wrong_usage(pyoci, api):
    status, out, err = pyoci("exec", "-g", "x", "web", "sh")
    text = 'invalid value "x" for flag -additional-gids: parse error'
    assert (status, err) == (1, f"{text}\n")
    assert out.startswith(f"Incorrect Usage: {text}\n\nNAME:\n   pyoci exec")


@pytest.mark.parametrize("words, paths", [([], None), (["/x"], {"": "/x"}), (["cpu:x"], {"cpu": "x"})])
def test_cgroup_arguments(words, paths):
    assert exec_verb.parse_cgroups(words) == paths


@given(st.text(max_size=24))
def test_the_user_parser_is_total(text):
    try:
        user = exec_verb.parse_user(text)
    except UsageError:
        return
    assert set(user) <= {"uid", "gid"}
    assert all(0 <= value < 2**32 - 1 for value in user.values())


# list


def test_list_as_a_table(pyoci, api):
    api.answers["list"] = [STATE, {**STATE, "id": "a-much-longer-name", "pid": 0, "status": "stopped", "owner": "root"}]
    status, out, _ = pyoci("list")
    assert status == 0
    assert out == (
        "ID                   PID         STATUS      BUNDLE      CREATED                          OWNER\n"
        "web                  42          running     /b          2026-11-25T01:02:03.000000004Z   \n"
        "a-much-longer-name   0           stopped     /b          2026-11-25T01:02:03.000000004Z   root\n"
    )


def test_an_empty_list_is_the_header_alone():
    assert list_verb.table([]) == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"


@pytest.mark.parametrize("words", [["-q"], ["--quiet", "-f", "json"]])
def test_list_of_ids(pyoci, api, words):
    assert pyoci("list", *words) == (0, "web\n", "")


def test_list_as_json_is_one_line(pyoci, api):
    assert pyoci("list", "--format=json")[1] == json.dumps([STATE], separators=(",", ":"), ensure_ascii=False) + "\n"


def test_an_empty_list_as_json_is_null(pyoci, api):
    api.answers["list"] = []
    assert pyoci("list", "-f", "json") == (0, "null\n", "")


@pytest.mark.parametrize("words", [["list", "-f", "xml"], ["ps", "-f", "xml", "web"]])
def test_an_unknown_format_is_refused(pyoci, api, words):
    assert pyoci(*words) == (1, "", "invalid format option\n")


def test_a_named_state_directory_that_is_missing_is_an_error(pyoci, api):
    assert pyoci("--root", "/nowhere/x", "list") == (1, "", "open /nowhere/x: No such file or directory (ENOENT)\n")


# ps


def test_ps_as_json(pyoci, api):
    assert pyoci("ps", "--format", "json", "web") == (0, "[1,42]\n", "")


def test_ps_without_processes_is_an_empty_array(pyoci, api):
    api.answers["ps"] = []
    assert pyoci("ps", "--format", "json", "web")[1] == "[]\n"


def test_ps_keeps_the_header_and_the_rows_of_the_container():
    output = "UID  PID CMD\nroot   1 init 42\nroot  42 sh 1\nroot 420 x\n\nshort\n"
    assert ps.rows_of(output, [42]) == "UID  PID CMD\nroot  42 sh 1\n"


def test_ps_without_a_pid_column_is_an_error():
    with pytest.raises(errors.PyociError) as caught:
        ps.rows_of("UID CMD\n", [1])
    assert str(caught.value) == "couldn't find PID field in ps output"


def _host_ps(tmp_path, monkeypatch, script):
    program = tmp_path / "ps"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize("words, seen", [([], "-ef"), (["-o", "pid,cmd"], "-o pid,cmd"), (["aux"], "aux")])
def test_ps_gives_its_words_to_the_hosts_ps(pyoci, api, tmp_path, monkeypatch, words, seen):
    _host_ps(tmp_path, monkeypatch, 'echo "PID $*"; echo 42 sh; echo 43 no')
    assert pyoci("ps", "web", *words) == (0, f"PID {seen}\n42 sh\n", "")


def test_a_failing_ps_is_quoted(pyoci, api, tmp_path, monkeypatch):
    _host_ps(tmp_path, monkeypatch, "echo bad option >&2; exit 3")
    assert pyoci("ps", "web", "--junk") == (1, "", "ps --junk: exit status 3: bad option\n")


def test_a_missing_ps_is_named(pyoci, api, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pyoci("ps", "web") == (1, "", f'exec: "ps": executable file not found in $PATH ({tmp_path})\n')


# update


@pytest.mark.parametrize(
    "word, size",
    [
        ("0", 0),
        ("1", 1),
        ("512m", 512 << 20),
        ("1g", 1 << 30),
        ("1G", 1 << 30),
        ("1GiB", 1 << 30),
        ("1gb", 1 << 30),
        ("2 k", 2048),
        ("3b", 3),
        ("1.5k", 1536),
        ("0.5b", 0),
        ("1t", 1 << 40),
        ("1p", 1 << 50),
        ("-1", -1),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes(word, size):
    assert update.parse_size(word, "memory") == size


@pytest.mark.parametrize(
    "word",
    [
        "x",
        "",
        "m",
        "1x",
        "-2",
        "-1m",
        "1mm",
        "1bk",
        "1ki b",
        "1.",
        ".5",
        "1.2.3",
        "1e3",
        "0x10",
        "٣",
        "1  k",
        "1k ",
        "+1",
        "1_0",
        "9" * 5000,
    ],
)
def test_what_is_no_size(word):
    with pytest.raises(UsageError) as caught:
        update.parse_size(word, "memory")
    assert str(caught.value) == f"invalid value for memory: invalid size: '{word}'"


def test_a_size_beyond_63_bits_is_refused():
    with pytest.raises(UsageError) as caught:
        update.parse_size("8192p", "memory-swap")
    assert str(caught.value) == "invalid value for memory-swap: size is too large: '8192p'"


@given(st.text("0123456789.kKmMgGtTpPiIbB -", max_size=12))
def test_the_size_parser_is_total(word):
    try:
        assert -1 <= update.parse_size(word, "memory") < 2**63
    except UsageError:
        pass


@pytest.mark.parametrize(
    "flags, resources",
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(
            [
                "--cpu-period=100000",
                "--cpu-quota=-1",
                "--cpu-burst=1",
                "--cpu-share=512",
                "--cpu-rt-period=2",
                "--cpu-rt-runtime=3",
                "--cpu-idle=1",
                "--cpuset-cpus=0-1",
                "--cpuset-mems=0",
            ],
            {
                "cpu": {
                    "period": 100000,
                    "quota": -1,
                    "burst": 1,
                    "shares": 512,
                    "realtimePeriod": 2,
                    "realtimeRuntime": 3,
                    "idle": 1,
                    "cpus": "0-1",
                    "mems": "0",
                }
            },
            id="cpu",
        ),
        pytest.param(
            ["--memory=1k", "--memory-reservation=2k", "--memory-swap=-1", "--kernel-memory=3k", "--kernel-memory-tcp=4k"],
            {"memory": {"limit": 1024, "reservation": 2048, "swap": -1, "kernel": 3072, "kernelTCP": 4096}},
            id="memory",
        ),
        pytest.param(["--pids-limit=0"], {"pids": {"limit": 0}}, id="pids, zero is a limit"),
        pytest.param(["--pids-limit", "-1"], {"pids": {"limit": -1}}, id="pids, no limit"),
        pytest.param(["--blkio-weight=500"], {"blockIO": {"weight": 500}}, id="block io"),
        pytest.param(["--blkio-weight=0", "--memory=", "--cpuset-cpus="], {}, id="empty values"),
    ],
)
def test_update_asks_for_what_was_named_alone(pyoci, api, flags, resources):
    assert pyoci("update", *flags, "a")[0] == 0
    assert api.calls == [("update", ("a", resources), {})]


def test_update_reads_a_document_and_ignores_the_flags(pyoci, api, tmp_path):
    (tmp_path / "r.json").write_text('{"pids": {"limit": 5}}')
    pyoci("update", "--resources", f"{tmp_path}/r.json", "--memory", "junk", "a")
    assert api.calls == [("update", ("a", {"pids": {"limit": 5}}), {})]


def test_update_reads_standard_input(pyoci, api, tmp_path):
    (tmp_path / "r.json").write_text('{"pids": {"limit": 5}}')
    saved = os.dup(0)
    with open(tmp_path / "r.json") as document:
        os.dup2(document.fileno(), 0)
    try:
        assert pyoci("update", "--resources=-", "a")[0] == 0
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert api.calls == [("update", ("a", {"pids": {"limit": 5}}), {})]


@pytest.mark.parametrize(
    "flags, text",
    [
        (["--cpu-period=-1"], 'invalid value for cpu-period: "-1" is out of range'),
        (["--cpu-quota=x"], 'invalid value for cpu-quota: "x" is not a number'),
        (["--cpu-idle=2"], 'invalid value for cpu-idle: "2" is out of range'),
        (["--memory=1q"], "invalid value for memory: invalid size: '1q'"),
        (["--l3-cache-schema=L3:0=f"], "--l3-cache-schema is not supported by this release of pyoci"),
        (["--mem-bw-schema=MB:0=20"], "--mem-bw-schema is not supported by this release of pyoci"),
        (["--resources=/nowhere"], "resources.json: open /nowhere: No such file or directory (ENOENT)"),
    ],
)
def test_update_refusals(pyoci, api, flags, text):
    assert pyoci("update", *flags, "a") == (1, "", f"{text}\n")
    assert api.calls == []


U64, S64 = (0, 2**64 - 1), (-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    "flag, limits",
    [
        ("cpu-period", U64),
        ("cpu-burst", U64),
        ("cpu-share", U64),
        ("cpu-rt-period", U64),
        ("cpu-quota", S64),
        ("cpu-rt-runtime", S64),
        ("cpu-idle", (0, 1)),
    ],
)
def test_limits_of_the_cpus_numbers(flag, limits):
    for value in limits:
        assert list(update.resources_of({flag: str(value)})["cpu"].values()) == [value]
    for value in (limits[0] - 1, limits[1] + 1):
        with pytest.raises(UsageError):
            update.resources_of({flag: str(value)})


def test_the_highest_id_can_be_a_user_and_a_group():
    assert exec_verb.parse_user("4294967294:4294967294") == {"uid": 2**32 - 2, "gid": 2**32 - 2}
    assert exec_verb.parse_group("4294967294") == 2**32 - 2
    with pytest.raises(UsageError):
        exec_verb.parse_group("4294967295")


# events


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("5s", 5),
        ("100ms", 0.1),
        ("1m30s", 90),
        ("1h", 3600),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("5.s", 5),
        ("0", 0),
        ("-1s", -1),
        ("+2s", 2),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("7ns", 7e-9),
        ("2h45m0.5s", 9900.5),
    ],
)
def test_durations(text, seconds):
    assert events.duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "x", "5x", "5 s", "1.2.3s", ".s", "-", "--1s", "5S", "1e3s", "٣s", "9" * 40 + "s", "300000000h", "1s5"]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError):
        events.duration(text)


@given(st.text("0123456789.nuµsmh+- ", max_size=12))
def test_the_duration_parser_is_total(text):
    try:
        assert isinstance(events.duration(text), float)
    except ValueError:
        pass


def test_an_interval_without_a_unit_is_wrong_usage(pyoci, api):
    status, out, err = pyoci("events", "--interval", "5", "a")
    assert (status, err) == (1, 'invalid value "5" for flag -interval: parse error\n')
    assert out.startswith("Incorrect Usage: ")


@pytest.mark.parametrize("interval", ["0", "0s", "-1s"])
def test_an_interval_must_be_positive(pyoci, api, interval):
    assert pyoci("events", "--interval", interval, "a") == (1, "", "duration interval must be greater than 0\n")
    assert api.calls == []


def test_events_are_one_line_each(pyoci, api):
    api.answers["events"] = [{"type": "stats", "id": "web", "data": {"x": 1}}, {"type": "oom", "id": "web"}]
    assert pyoci("events", "web")[1] == '{"type":"stats","id":"web","data":{"x":1}}\n{"type":"oom","id":"web"}\n'


def test_stats_are_wrapped_in_an_event(pyoci, api):
    assert pyoci("events", "--stats", "web")[1] == '{"type":"stats","id":"web","data":{"pids":{"current":1}}}\n'


# spec, features, plan, checkpoint, restore


def test_spec_writes_config_json_with_tabs(pyoci, api, tmp_path):
    assert pyoci("spec", "-b", str(tmp_path)) == (0, "", "")
    assert (tmp_path / "config.json").read_text() == '{\n\t"ociVersion": "1.3.0",\n\t"root": {\n\t\t"path": "rootfs"\n\t}\n}\n'
    assert api.calls == [("spec", (), {"rootless": False})]


@pytest.mark.parametrize("mask", [0o022, 0o000, 0o077])
def test_config_json_has_the_mode_that_the_umask_leaves(tmp_path, mask):
    old = os.umask(mask)
    try:
        spec.write_new_file(f"{tmp_path}/config.json", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "config.json").stat().st_mode & 0o7777 == 0o666 & ~mask


def test_spec_rootless(pyoci, api, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pyoci("spec", "--rootless")
    assert api.calls == [("spec", (), {"rootless": True})]
    assert (tmp_path / "config.json").exists()


def test_spec_never_overwrites(pyoci, api, tmp_path):
    (tmp_path / "config.json").write_text("mine")
    text = f"File config.json exists. Remove it first: {tmp_path}/config.json\n"
    assert pyoci("spec", "-b", str(tmp_path)) == (1, "", text)
    assert (tmp_path / "config.json").read_text() == "mine"


def test_spec_into_a_missing_directory_is_an_error(pyoci, api):
    assert pyoci("spec", "-b", "/nowhere") == (1, "", "open /nowhere/config.json: No such file or directory (ENOENT)\n")


def test_a_config_that_could_not_be_written_is_removed(tmp_path, monkeypatch):
    def full(fd, data):
        raise OSError(28, "full")

    monkeypatch.setattr(spec, "_write_all", full)
    with pytest.raises(errors.SyscallError) as caught:
        spec.write_new_file(f"{tmp_path}/config.json", "x")
    assert str(caught.value) == f"write {tmp_path}/config.json: No space left on device (ENOSPC)"
    assert list(tmp_path.iterdir()) == []


def test_features_are_indented_json(pyoci, api):
    assert pyoci("features")[1] == '{\n    "ociVersionMin": "1.0.0"\n}\n'


def test_plan_as_text(pyoci, api):
    assert pyoci("plan", "/b")[1] == "1 bind /proc\n"


def test_plan_as_json(pyoci, api):
    assert pyoci("plan", "--json", "/b")[1] == '{\n  "operations": []\n}\n'


def test_a_refused_plan_names_the_line(pyoci, api, tmp_path):
    (tmp_path / "config.json").write_text('{\n"mounts": 5}\n')
    api.answers["plan"] = errors.ConfigError("mounts", "expected an array")
    assert pyoci("plan", str(tmp_path))[2] == "config.json:2: mounts: expected an array\n"


# What engines really run


@pytest.mark.parametrize(
    "line",
    [
        "--root {0} --log {0}/log --log-format json create --bundle /b --pid-file /p --console-socket /s a",
        "--root {0} --log {0}/log --log-format json --systemd-cgroup --rootless=true create --bundle /b a",
        "--root {0} --log {0}/log --log-format json start a",
        "--root {0} --log {0}/log --log-format json delete --force a",
        "--root {0} --log {0}/log --log-format json kill --all a 9",
        "--root {0} --log {0}/log --log-format json ps --format json a",
        "--root {0} --log {0}/log --log-format json exec --process {0}/p --detach --pid-file /p a",
        "--root {0} --log {0}/log --log-format json update --resources={0}/p a",
        "--root {0} --log {0}/log --log-format json events --interval=5s a",
        "--systemd-cgroup create --bundle /b --pid-file /p --no-pivot a",
        "exec --pid-file /p --process {0}/p --detach a",
        "kill a 15",
        "run --bundle /b --keep a",
        "list --format=json",
        "state a",
        "pause a",
        "resume a",
    ],
)
def test_command_lines_of_engines_are_understood(pyoci, api, tmp_path, line):
    (tmp_path / "p").write_text('{"args": ["sh"], "cwd": "/"}')
    status, _, err = pyoci(*line.format(tmp_path).split())
    assert (status, err) == (0, "")
    assert len(api.calls) == 1


def test_a_detach_flag_for_create_is_known(pyoci, api):
    """go-runc's CreateOpts has Detach, which it renders for create as well as for run."""
    assert pyoci("create", "--bundle", "/b", "--detach", "a") == (0, "", "")


def test_restores_single_dash_flag_is_known(pyoci):
    words = ["restore", "--image-path", "i", "--work-path", "w", "--detach", "--pid-file", "p", "-no-subreaper", "--bundle", "/b", "a"]
    assert pyoci(*words)[2] == "config.json: JSON specification file config.json not found in /b\n"
