"""The words of the command line: options, values, requests, templates, tables, help.  No container is made."""

import json
import sys

import pytest

from pyoci import hot
from pyoci.minidocker.cli import flags, times, values
from pyoci.minidocker.cli.commands.files import split_place
from pyoci.minidocker.cli.listing import listing, table
from pyoci.minidocker.cli.main import COMMANDS, NOUNS, command_of, find, main
from pyoci.minidocker.cli.options import FLAG, LIST, NUMBER, TEXT, Option, Usage, parse
from pyoci.minidocker.cli.template import Fields, Nil, Template
from pyoci.minidocker.durations import duration_ns, human_duration
from pyoci.minidocker.errors import BadRequest, MiniDockerError
from pyoci.minidocker.sizes import human_size

OPTIONS = (Option("all", "a", FLAG, ""), Option("tty", "t", FLAG, ""), Option("env", "e", LIST, ""), Option("name", "n", TEXT, ""), Option("count", "", NUMBER, ""))
EVERY_COMMAND = {**{name: (name, module) for name, module in COMMANDS.items()}, **{f"{noun} {word}": row for noun, words in NOUNS.items() for word, row in words.items()}}


# --- options


@pytest.mark.parametrize(
    ("words", "found", "arguments"),
    [
        pytest.param("-at x", {"all": True, "tty": True}, ["x"], id="letters-together"),
        pytest.param("-aeA=b x", {"all": True, "env": ["A=b"]}, ["x"], id="value-behind-letters"),
        pytest.param("-e A=b --env C=d x", {"env": ["A=b", "C=d"]}, ["x"], id="list"),
        pytest.param("--name=a --all=false x -t", {"name": "a", "all": False, "tty": True}, ["x"], id="equals-and-interspersed"),
        pytest.param("x -- -t", {}, ["x", "-t"], id="double-dash"),
        pytest.param("-n=a -", {"name": "a"}, ["-"], id="letter-equals-and-single-dash"),
        pytest.param("--name a --name b", {"name": "b"}, [], id="last-wins"),
    ],
)
def test_options_are_read_as_docker_reads_them(words, found, arguments):
    given, rest = parse(words.split(), OPTIONS)
    assert (dict(given), rest) == (found, arguments)


def test_options_end_at_the_program_of_a_container():
    given, rest = parse(["-a", "image", "sh", "-t"], OPTIONS, interspersed=False)
    assert (dict(given), rest) == ({"all": True}, ["image", "sh", "-t"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nmae x", "unknown flag: --nmae"),
        ("-az", "unknown shorthand flag: 'z' in -az"),
        ("--name", "flag needs an argument: --name"),
        ("--count x", 'invalid argument "x" for "--count" flag: "x" is not a whole number'),
        ("--all=maybe", 'invalid argument "maybe" for "--all" flag: not true or false'),
    ],
)
def test_wrong_option_is_refused_by_name(words, said):
    with pytest.raises(Usage) as caught:
        parse(words.split(), OPTIONS)
    assert str(caught.value) == said


# --- values


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512m", 512 << 20), ("1.5g", 3 << 29), ("64KiB", 64 << 10), ("2kb", 2048), ("-1", -1), ("10B", 10), ("0.5k", 512)],
)
def test_size_is_read(text, size):
    assert values.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "1x", "1.2.3", "-5", "1 2", "9999999999999p", "١m", "1e3"])
def test_wrong_size_is_refused(text):
    with pytest.raises(BadRequest):
        values.size_bytes(text)


@pytest.mark.parametrize(
    ("text", "ns"), [("0", 0), ("500ms", 500 * 10**6), ("1m30s", 90 * 10**9), ("1.5s", 1_500_000_000), ("1h", 3600 * 10**9), ("2us", 2000), ("7µs", 7000)]
)
def test_duration_is_read(text, ns):
    assert duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1s2", "1d", "1..s", "9999999999999h"])
def test_wrong_duration_is_refused(text):
    with pytest.raises(BadRequest):
        duration_ns(text)


def test_decimal_is_billionths():
    assert [values.decimal(text) for text in ("1.5", ".25", "2")] == [1_500_000_000, 250_000_000, 2_000_000_000]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/dev/fuse", ("/dev/fuse", "/dev/fuse", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:r", ("/dev/a", "/dev/a", "r")),
        ("/dev/a:/dev/b:rw", ("/dev/a", "/dev/b", "rw")),
    ],
)
def test_device_is_read(text, found):
    assert tuple(values.device(text).values()) == found


@pytest.mark.parametrize("text", ["fuse", "/dev/a:/dev/b:x", "/dev/a:/b:rw:more", "/dev/a:rr"])
def test_wrong_device_is_refused(text):
    with pytest.raises(BadRequest):
        values.device(text)


def test_mount_is_read():
    assert values.mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared") == {
        "Type": "bind", "Target": "/b", "Source": "/a", "ReadOnly": True, "BindOptions": {"Propagation": "rshared"},
    }  # fmt: skip
    assert values.mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770")["TmpfsOptions"] == {"SizeBytes": 1 << 20, "Mode": 0o1770}
    assert values.mount('type=bind,"source=/a,b",target=/c')["Source"] == "/a,b"
    assert values.mount("type=BIND,src=/a,dst=/b,bind-nonrecursive,consistency=cached")["BindOptions"] == {"NonRecursive": True}


def test_source_with_a_dot_is_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [values.volume(text) for text in (".:/src:ro", "./a:/b", "../a:/b")] == [f"{tmp_path}:/src:ro", f"{tmp_path}/a:/b", f"{tmp_path.parent}/a:/b"]
    assert [values.volume(text) for text in ("/a:/b", "name:/b", "/b")] == ["/a:/b", "name:/b", "/b"]
    assert values.mount("type=bind,src=./a,dst=/b")["Source"] == f"{tmp_path}/a"


@pytest.mark.parametrize("text", ["type=bind,source=/a", "type=npipe,target=/a", "type=bind,target=/a,wrong=1", "type=tmpfs,target=/t,tmpfs-mode=9"])
def test_wrong_mount_is_refused(text):
    with pytest.raises(BadRequest):
        values.mount(text)


def test_environment_file_comes_before_the_words(tmp_path):
    (tmp_path / "env").write_text("# comment\nA=file\n\nHOME\nMISSING\n")
    assert values.environment(["A=word", "B"], [str(tmp_path / "env")], {"HOME": "/h", "B": "b"}) == ["A=file", "HOME=/h", "A=word", "B=b"]


def test_name_alone_that_is_not_set_takes_the_variable_away():
    assert values.environment(["A", "B=1"], [], {}) == ["A", "B=1"]


def test_missing_environment_file_is_named(tmp_path):
    with pytest.raises(BadRequest, match="no-such: No such file or directory"):
        values.environment([], [str(tmp_path / "no-such")], {})


@pytest.mark.parametrize(("text", "found"), [("nofile=10:20", (10, 20)), ("nproc=5", (5, 5)), ("core=-1", (-1, -1))])
def test_ulimit_is_read(text, found):
    limit = values.ulimit(text)
    assert (limit["Soft"], limit["Hard"]) == found


@pytest.mark.parametrize("text", ["nofile", "=1", "nofile=20:10", "nofile=a"])
def test_wrong_ulimit_is_refused(text):
    with pytest.raises(BadRequest):
        values.ulimit(text)


@pytest.mark.parametrize("text", ["sometimes", "always:3", "on-failure:x", "on-failure:-1"])
def test_wrong_restart_policy_is_refused(text):
    with pytest.raises(BadRequest, match=f'^invalid restart policy "{text}"'):
        values.restart_policy(text)


def test_moment_is_a_time_or_a_duration_ago(monkeypatch):
    monkeypatch.setattr(times.time, "time_ns", lambda: 100 * 10**9)
    assert times.moment_ns("10s", "since") == 90 * 10**9
    assert times.moment_ns("1.5", "since") == 1_500_000_000
    assert times.moment_ns("1970-01-01T00:00:02Z", "since") == 2 * 10**9
    with pytest.raises(BadRequest, match='invalid since "yesterday"'):
        times.moment_ns("yesterday", "since")
    for word in ("9" * 5000, "\u00b2", "1.\u00b2"):
        with pytest.raises(BadRequest, match="^invalid since"):
            times.moment_ns(word, "since")
    assert times.moment_ns("0001-01-01T00:00:00+23:00", "since") == 1  # no event and no log is older


@pytest.mark.parametrize(
    ("word", "found"), [("web:/a", ("web", "/a")), ("/a:b", (None, "/a:b")), ("./a:b", (None, "./a:b")), ("-", (None, "-")), ("web:a b", ("web", "a b"))]
)
def test_place_of_a_copy_is_a_container_or_the_host(word, found):
    assert split_place(word) == found


# --- the request


def request_of(line):
    given, words = parse(line.split(), flags.OPTIONS, interspersed=False)
    return flags.request(given, words[0], words[1:], {"HOME": "/h"})


def test_plain_request_says_nothing_but_the_image_and_the_streams():
    assert request_of("busybox true") == {
        "Image": "busybox", "Cmd": ["true"], "HostConfig": {}, "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "StdinOnce": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("-m 1m", "Memory", 1 << 20),
        ("--cpus 0.5", "NanoCpus", 500_000_000),
        ("--pids-limit 5", "PidsLimit", 5),
        ("--oom-score-adj 0", "OomScoreAdj", 0),
        ("--cap-add NET_ADMIN --cap-add SYS_TIME", "CapAdd", ["NET_ADMIN", "SYS_TIME"]),
        ("--tmpfs /t:size=1m --tmpfs /u", "Tmpfs", {"/t": "size=1m", "/u": ""}),
        ("--sysctl net.a=1", "Sysctls", {"net.a": "1"}),
        ("--network none", "NetworkMode", "none"),
        ("--init=false", "Init", False),
        ("--log-opt max-size=1m", "LogConfig", {"Type": "", "Config": {"max-size": "1m"}}),
        ("--restart on-failure:3", "RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
    ],
)
def test_flag_becomes_its_part_of_the_host_config(line, key, value):
    assert request_of(f"{line} busybox")["HostConfig"] == {key: value}


def test_health_flags_become_a_health_check():
    assert request_of("--health-cmd true --health-interval 2s --health-retries 5 busybox")["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"], "Interval": 2 * 10**9, "Retries": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--rm --restart always busybox", "conflicting options: cannot specify both --restart and --rm"),
        ("-d -a stdout busybox", "conflicting options: cannot specify both --attach and --detach"),
        ("--sysctl net.ipv4.ip_forward busybox", "sysctl 'net.ipv4.ip_forward' is not allowed: NAME=VALUE"),
        ("--no-healthcheck --health-cmd true busybox", "--no-healthcheck conflicts with --health-* options"),
        ("-p 80:80 busybox", "--publish: networks and published ports are not in this release"),
        ("--health-retries -1 busybox", "health check: Retries cannot be negative"),
    ],
)
def test_conflicting_flags_are_refused(line, said):
    with pytest.raises(BadRequest) as caught:
        request_of(line)
    assert str(caught.value) == said


# --- templates and tables

DATA = {"State": {"Running": True, "Pid": 5}, "Mounts": [{"Source": "/a"}, {"Source": "/b"}], "Labels": {"x.y": "z"}, "None": None, "Empty": []}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.State.Running}} {{.State.Pid}}", "true 5"),
        ("{{json .State}}", '{"Running":true,"Pid":5}'),
        ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
        ("{{range $i, $m := .Mounts}}{{$i}}{{$m.Source}} {{end}}", "0/a 1/b "),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ('{{index .Labels "x.y"}}', "z"),
        ("{{if .Empty}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
        ("{{with .State}}{{.Pid}}{{end}}", "5"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{.Missing}} {{.Missing.More}} {{.None}}", "<no value> <no value> <nil>"),
        ("{{.Labels}} {{.Mounts}}", "map[x.y:z] [map[Source:/a] map[Source:/b]]"),
        ('{{join (split "a,b" ",") "-"}}', "a-b"),
        ('{{.State.Pid | printf "%d!"}}', "5!"),
        ("{{len .Mounts}}{{/* nothing */}}", "2"),
        ("a {{- .State.Pid -}} b", "a5b"),
        ("{{$x := .State.Pid}}{{$x}}{{eq $x 5}}", "5true"),
        ("{{$.State.Pid}}{{and .State.Running 3}}{{or .Empty 4}}{{not .Empty}}", "534true"),
    ],
)
def test_template_is_filled_in_as_go_does(template, text):
    assert Template(template).render(DATA) == text


@pytest.mark.parametrize(
    "template",
    ["{{", "{{.A", "{{if .A}}", "{{end}}", "{{nosuch .A}}", "{{.A ]}}", "{{range .State.Pid}}{{end}}", "{{index .Mounts 9}}", "{{$no}}", "{{.State.Pid.More}}", "{{(.A}}", "{{}}"],
)
def test_wrong_template_is_one_refusal(template):
    with pytest.raises(BadRequest):
        Template(template).render(DATA)


def test_column_that_a_list_does_not_have_is_refused_by_name():
    with pytest.raises(BadRequest, match="can't evaluate field Nmae; known: ID, Name"):
        Template("{{.Nmae}}", strict=True).render({"ID": 1, "Name": 2})


COLUMNS = {"ID": "CONTAINER ID", "Name": "NAME"}
ROWS = [{"ID": "1", "Name": "web"}, {"ID": "2", "Name": lambda: "db"}]


def test_table_has_columns_as_wide_as_their_widest_word():
    assert table(["A", "B"], [["x" * 12, "y"]]) == ["A              B", "x" * 12 + "   y"]


@pytest.mark.parametrize(
    ("form", "quiet", "text"),
    [
        ("", None, "CONTAINER ID   NAME\n1              web\n2              db\n"),
        ("", "ID", "1\n2\n"),
        ("{{.Name}}", None, "web\ndb\n"),
        ("{{.ID}}\\t{{.Name}}", None, "1\tweb\n2\tdb\n"),
        ("table {{.Name}}\\t{{.ID}}", None, "NAME      CONTAINER ID\nweb       1\ndb        2\n"),
        ("json", None, '{"ID":"1","Name":"web"}\n{"ID":"2","Name":"db"}\n'),
    ],
)
def test_list_is_printed_in_the_form_that_was_asked(form, quiet, text):
    assert listing(COLUMNS, ROWS, form, quiet, ("ID", "Name")) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (999, "999B"), (1240000, "1.24MB"), (4_270_000_000, "4.27GB"), (1000, "1kB")])
def test_size_is_shown_in_decimal_units(count, text):
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (3599, "59 minutes"), (3600, "About an hour"), (86400 * 3, "3 days"), (86400 * 20, "2 weeks")],
)
def test_duration_is_shown_in_words(seconds, text):
    assert human_duration(seconds) == text


# --- help


@pytest.mark.parametrize("words", sorted(EVERY_COMMAND))
def test_every_command_has_help_with_an_example(words, capsys):
    assert main([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    name, module = EVERY_COMMAND[words]
    assert shown.startswith(f"Usage: minidocker {words}")
    assert "\nExample:\n  minidocker " in shown
    for option in command_of(name, module).options:
        assert f"--{option.name}" in shown


def test_program_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []


def test_example_of_every_command_can_be_read():
    for name, module in EVERY_COMMAND.values():
        command = command_of(name, module)
        for line in command.example.splitlines():
            words = values_of(line)
            found, found_module, rest = find(words[1:])
            assert (found, found_module) == (name, module)
            parse(rest, command.options, command.interspersed)


def values_of(line):
    import shlex

    return shlex.split(line)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("foo", "minidocker: 'foo' is not a minidocker command\n  'minidocker --help' lists the commands\n"),
        ("rnu", "minidocker: 'rnu' is not a minidocker command\n  did you mean 'minidocker run'?\n"),
        ("image puhs", "minidocker: 'image puhs' is not a minidocker command\n  did you mean 'minidocker image push'?\n"),
        ("rm", "minidocker: 'minidocker rm' requires at least 1 argument, not 0\n  'minidocker rm --help' shows how it is called\n"),
        ("rename a", "minidocker: 'minidocker rename' requires 2 arguments, not 1\n  'minidocker rename --help' shows how it is called\n"),
        ("ps x", "minidocker: 'minidocker ps' accepts no arguments, not 1\n  'minidocker ps --help' shows how it is called\n"),
        ("run --nmae x", "minidocker: unknown flag: --nmae\n  did you mean '--name'?\n"),
        ("ps --wrong", "minidocker: unknown flag: --wrong\n  'minidocker ps --help' shows how it is called\n"),
        ("run --gpus all x", "minidocker: unknown flag: --gpus\n  docker has it; it is not in this release\n"),
        ("volume ls", "minidocker: 'volume' is a command of docker's that is not in this release\n"
         "  a directory of the host can be bound: 'minidocker run -v /host/path:/path'\n"),
        ("image build .", "minidocker: 'image build' is a command of docker's that is not in this release\n"
         "  'minidocker commit' makes an image of a container, 'minidocker load' reads one that another tool has built\n"),
    ],
)
def test_wrong_command_line_is_said_with_a_hint(words, said, capsys):
    assert main(words.split()) == 125
    assert capsys.readouterr().err == said


def test_every_error_of_the_platform_leaves_with_125():
    assert MiniDockerError("x").exit_status == 125


def test_printf_prints_numbers_and_quotes():
    assert Template('{{printf "%03d|%-4s|%q|%d%%" 7 "a" "b" 50}}').render({}) == '007|a   |"b"|50%'


def test_list_or_map_that_was_never_made_prints_as_an_empty_one():
    data = {"List": Nil("[]"), "Map": Nil("map[]"), "Words": ["a", "b c"]}
    shown = "{{.List}} {{.Map}} {{json .List}} {{json .}} {{len .Map}}{{range .List}}x{{else}}-{{end}}{{if .Map}}x{{end}}{{join .List \",\"}} {{.Map.a}}"
    assert Template(shown).render(data) == '[] map[] null {"List":null,"Map":null,"Words":["a","b c"]} 0- <no value>'
    assert Template('{{printf "%q %q" .Words .List}} {{index .Map "a"}}.').render(data) == '["a" "b c"] [] .'


def test_known_fields_are_strict_and_maps_are_not():
    known = Fields({"State": Fields({"Running": True}), "Labels": {"a": "b"}})
    known.unsaid = {"Health": None}
    assert Template("{{.State.Running}} {{.Labels.a}} {{.Labels.c}} {{.Health}}").render(known) == "true b <no value> <nil>"
    for wrong in ("{{.Nope}}", "{{.State.Nope}}"):
        with pytest.raises(BadRequest, match="can't evaluate field Nope"):
            Template(wrong).render(known)


def test_rows_as_json_have_their_keys_sorted():
    columns = {"Name": "NAME", "ID": "ID"}
    for form in ("json", "{{json .}}"):
        assert listing(columns, [{"Name": "a", "ID": "1"}], form) == '{"ID":"1","Name":"a"}\n'


def test_error_names_the_command_as_it_was_called(capsys):
    assert main(["container", "rm"]) == 125
    assert capsys.readouterr().err == "minidocker: 'minidocker container rm' requires at least 1 argument, not 0\n  'minidocker container rm --help' shows how it is called\n"


def test_template_json_is_json():
    assert json.loads(Template("{{json .}}").render(DATA)) == DATA


def test_roots_that_cannot_be_made_are_one_line_with_a_hint(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["--data-root", str(tmp_path / "file" / "data"), "--run-root", str(tmp_path / "run"), "ps"]) == 125
    assert capsys.readouterr().err == f"minidocker: make {tmp_path}/file/data: Not a directory\n"


def test_both_times_of_a_container_are_told_in_the_same_words():
    """STATUS is the engine's text, CREATED the command line's."""
    from types import SimpleNamespace

    from pyoci.minidocker import show

    started_s = show.time.time() - 5400.5
    container = SimpleNamespace(finished_ns=0, started_ns=int(started_s * 10**9), health="")
    assert show.status_line(container, "running") == f"Up {human_duration(5400)}" == "Up 2 hours"


def test_short_debug_has_code_with_lines_as_the_long_one(monkeypatch):
    for word, debugged in (("-D", True), ("--debug", True), ("ps", False)):
        monkeypatch.setattr(sys, "argv", ["minidocker", word, "logs"])
        assert hot.is_debugged() is debugged


def test_debug_shows_where_an_error_came_from(capsys):
    assert main(["--debug", "foo"]) == 125
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback") and shown.endswith("'minidocker --help' lists the commands\n")


def test_what_only_the_monitor_does_is_no_command(capsys):
    assert main(["monitor-exited"]) == 125
    assert capsys.readouterr().err.startswith("minidocker: 'monitor-exited' is not a minidocker command\n")
