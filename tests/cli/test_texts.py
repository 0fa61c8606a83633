"""Help, completion and the man page: made from the tables, complete, and true."""

import pathlib
import re
import shutil
import subprocess

import pytest

from pyoci.cli import main as cli
from pyoci.cli.help import SPEC_VERSION, program_help, shown, verb_help, verb_module
from pyoci.cli.manpage import man_page
from pyoci.cli.options import GLOBAL, SWITCH, parse
from pyoci.cli.verbs import completion
from pyoci.spec.features import features

ROOT = pathlib.Path(__file__).parents[2]


def tables():
    return [("", GLOBAL)] + [(verb, verb_module(verb).OPTIONS) for verb in cli.VERBS]


def test_every_verb_has_a_file_and_every_file_is_a_verb():
    files = {path.stem for path in (ROOT / "pyoci/cli/verbs").glob("*.py")} - {"__init__"}
    assert files == set(cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_verb_says_all_that_help_needs(verb):
    module = verb_module(verb)
    assert re.fullmatch(r"[a-z].*[^.]", module.SUMMARY)
    assert module.ABOUT.endswith(".")
    assert callable(module.call)
    least, most = module.ARGUMENTS
    assert least == len(re.findall(r"<[^>]+>|bash\|zsh\|fish", module.USAGE.split("||")[0])) or verb == "exec"
    assert most == {"kill": 2, "exec": None, "ps": None, "plan": 1}.get(verb, least)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_example_of_a_verb_can_be_read_by_its_parser(verb):
    module = verb_module(verb)
    program, name, *words = module.EXAMPLE.split(" > ")[0].split()
    assert (program, name) == ("pyoci", verb)
    _, positionals = parse(words, module.OPTIONS, verb in ("exec", "kill", "ps"))
    cli.check_count(verb, len(positionals), *module.ARGUMENTS)


@pytest.mark.parametrize("verb, table", tables())
def test_no_flag_name_is_taken_twice(verb, table):
    names = [name for row in table for name in row[:2] if name] + ([] if table is GLOBAL else ["help", "h"])
    assert len(names) == len(set(names))


@pytest.mark.parametrize("verb, table", tables())
def test_a_flag_has_a_placeholder_exactly_when_it_takes_a_value(verb, table):
    assert [row[0] for row in table if bool(row[3]) == (row[2] == SWITCH)] == []


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_a_verb_shows_every_flag_but_the_hidden_ones(verb):
    text = verb_help(verb)
    for row in verb_module(verb).OPTIONS:
        assert (f"   --{row[0]}" in text) == bool(row[4])


def test_help_names_every_verb_and_every_global_flag():
    text = program_help()
    assert all(re.search(rf"^   {verb} +{re.escape(verb_module(verb).SUMMARY)}$", text, re.MULTILINE) for verb in cli.VERBS)
    assert all(f"   --{row[0]}" in text for row in shown(GLOBAL))


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_fits_a_screen(verb):
    lines = (verb_help(verb) if verb else program_help()).splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(" ") for line in lines)


def test_the_spec_version_is_the_one_that_features_and_config_say():
    assert SPEC_VERSION == features()["ociVersionMax"]


# The man page


def test_the_man_page_in_docs_is_what_the_tables_say():
    assert (ROOT / "docs/pyoci.1").read_text() == man_page(), "run: python -m pyoci.cli.manpage > docs/pyoci.1"


def test_the_man_page_holds_every_verb_and_flag():
    text = man_page().replace("\\-", "-")
    for verb, table in tables():
        assert f".SS pyoci {verb}" in text
        assert all(f"\\fB--{row[0]}\\fR" in text for row in shown(table))


def test_the_man_page_has_no_line_that_roff_would_read_as_a_request():
    known = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".RS", ".RE", ".nf", ".fi", '.\\"'}
    assert {line.split()[0] for line in man_page().splitlines() if line[:1] in ".'"} <= known


@pytest.mark.needs("groff")
def test_groff_formats_the_man_page_without_a_complaint():
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z", str(ROOT / "docs/pyoci.1")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Completion


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_completion_knows_every_verb_and_flag(pyoci, shell):
    status, script, err = pyoci("completion", shell)
    assert (status, err) == (0, "")
    for verb, table in tables():
        assert verb in script
        for row in shown(table):
            assert (f"-l {row[0]} " if shell == "fish" else f"--{row[0]}") in script


def test_completion_for_another_shell_is_refused(pyoci):
    assert pyoci("completion", "tcsh") == (1, "", 'no completion for shell "tcsh": bash, zsh or fish expected\n')


def _complete(tmp_path, line):
    """What bash offers at the end of `line`, with a pyoci that lists two containers."""
    program = tmp_path / "pyoci"
    program.write_text(
        '#!/bin/sh\necho "$*" >> "$0.calls"\n[ "$*" = "list -q" ] && printf "web\\ndb\\n"\n[ "$*" = "--root /r list -q" ] && echo other\n'
    )
    program.chmod(0o755)
    (tmp_path / "script").write_text(completion.script("bash"))
    words = " ".join(f"'{word}'" for word in line.split(" "))
    ask = f'PATH={tmp_path}:$PATH; source {tmp_path}/script; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _pyoci; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "--norc", "-u", "-c", ask], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    "line, offered",
    [
        pytest.param("pyoci st", ["start", "state"], id="verb"),
        pytest.param("pyoci --root /r --debug pa", ["pause"], id="verb behind global flags"),
        pytest.param("pyoci --sys", ["--systemd-cgroup"], id="global flag"),
        pytest.param("pyoci --log-format ", ["text", "json"], id="choice of a global flag"),
        pytest.param("pyoci state ", ["web", "db"], id="id"),
        pytest.param("pyoci --root /r state ", ["other"], id="id under another root"),
        pytest.param("pyoci create --no", ["--no-pivot", "--no-new-keyring"], id="flag"),
        pytest.param("pyoci list --format ", ["table", "json"], id="choice"),
        pytest.param("pyoci list -f j", ["json"], id="choice of a short flag"),
        pytest.param("pyoci exec --process ", ["pyoci", "script"], id="file"),
        pytest.param("pyoci completion ", ["bash", "zsh", "fish"], id="shell"),
        pytest.param("pyoci plan s", ["script"], id="bundle"),
    ],
)
def test_bash_completes(tmp_path, line, offered):
    assert _complete(tmp_path, line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_read_their_script(needs, tmp_path, shell):
    if shell != "bash":
        needs(shell)
    script = tmp_path / "script"
    script.write_text(completion.script(shell))
    assert shutil.which(shell)
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
