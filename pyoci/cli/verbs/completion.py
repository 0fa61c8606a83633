"""pyoci completion: print a completion script for a shell, made from the option tables, so that it cannot go stale."""

from pyoci.cli.main import VERBS, write_output
from pyoci.cli.options import GLOBAL, LIST, SWITCH
from pyoci.errors import UsageError

SUMMARY = "print a completion script for bash, zsh or fish"
USAGE = "bash|zsh|fish"
ABOUT = """For bash: put `source <(pyoci completion bash)` into ~/.bashrc. For zsh: write the script to a file `_pyoci` in a directory of
$fpath. For fish: write it to ~/.config/fish/completions/pyoci.fish."""
EXAMPLE = "pyoci completion bash > /etc/bash_completion.d/pyoci"
OPTIONS = ()
ARGUMENTS = (1, 1)

SHELLS = ("bash", "zsh", "fish")


def call(command):
    shell = command.arguments[0]
    if shell not in SHELLS:
        raise UsageError(f'no completion for shell "{shell}": bash, zsh or fish expected')
    write_output(script(shell))


def script(shell):
    """The completion script for one of SHELLS."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def takes_existing_id(verb, module):
    """Whether the verb's first argument is the id of a container that exists."""
    return module.USAGE.startswith("<container-id>") and verb not in ("create", "run", "restore")


def _tables():
    from pyoci.cli.help import shown, verb_module

    return [(verb, verb_module(verb), shown(verb_module(verb).OPTIONS)) for verb in VERBS], shown(GLOBAL)


def _words(rows):
    return [f"--{row[0]}" for row in rows] + [f"-{row[1]}" for row in rows if row[1]]


def _value_words(rows):
    return [word for row in rows if row[2] != SWITCH for word in _words([row])]


def _choices(row):
    """The words of a placeholder such as `table|json`, or []."""
    return row[3].split("|") if row[3].islower() and "|" in row[3] else []


BASH = """# bash completion for pyoci
_pyoci_ids() {{
    local root=() index
    for ((index = 1; index < COMP_CWORD; index++)); do
        [[ ${{COMP_WORDS[index]}} == --root ]] && root=(--root "${{COMP_WORDS[index + 1]}}")
    done
    pyoci "${{root[@]}}" list -q 2>/dev/null
}}

_pyoci() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local verb= flags= valued="{valued}" choices= ids= index
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${{COMP_WORDS[index]}} in
            {global_valued}) index=$((index + 1)) ;;
            -*) ;;
            *) verb=${{COMP_WORDS[index]}}; break ;;
        esac
    done
    case $verb in
        "") flags="{global_flags}" ;;
{cases}
    esac
    case $verb:$previous in
{choices}
    esac
    if [[ -n $choices ]]; then
        COMPREPLY=($(compgen -W "$choices" -- "$current"))
    elif [[ " $valued " == *" $previous "* ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$flags --help" -- "$current"))
    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$current"))
    elif [[ -n $ids ]]; then
        COMPREPLY=($(compgen -W "$(_pyoci_ids)" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}}
complete -o filenames -F _pyoci pyoci
"""


def _bash():
    verbs, global_rows = _tables()
    cases, choices = [], []
    for verb, module, rows in verbs:
        ids = " ids=yes" if takes_existing_id(verb, module) else ""
        cases.append(f'        {verb}) flags="{" ".join(_words(rows))}" valued="{" ".join(_value_words(rows))}"{ids} ;;')
        choices += [_bash_choices(verb, row) for row in rows if _choices(row)]
    choices += [_bash_choices("", row) for row in global_rows if _choices(row)]
    choices.append(f'        completion:completion) choices="{" ".join(SHELLS)}" ;;')
    return BASH.format(
        verbs=" ".join(VERBS),
        valued=" ".join(_value_words(global_rows)),
        global_valued="|".join(_value_words(global_rows)),
        global_flags=" ".join(_words(global_rows)),
        cases="\n".join(cases),
        choices="\n".join(choices),
    )


def _bash_choices(verb, row):
    patterns = "|".join(f"{verb}:{word}" for word in _words([row]))
    return f'        {patterns}) choices="{" ".join(_choices(row))}" ;;'


ZSH = """#compdef pyoci
# zsh completion for pyoci

_pyoci_ids() {{
    local -a ids
    ids=(${{(f)"$(pyoci ${{opt_args[--root]:+--root}} ${{opt_args[--root]}} list -q 2>/dev/null)"}})
    compadd -a ids
}}

_pyoci() {{
    local curcontext=$curcontext state line
    local -A opt_args
    local -a commands
    commands=(
{commands}
    )
    _arguments -C \\
{global_arguments}
        '1:command:->command' \\
        '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument)
            case $words[1] in
{cases}
            esac ;;
    esac
}}

_pyoci "$@"
"""


def _zsh():
    verbs, global_rows = _tables()
    commands = [f"        '{verb}:{_quoted(module.SUMMARY)}'" for verb, module, _ in verbs]
    cases = []
    for verb, module, rows in verbs:
        positional = "'1:container:_pyoci_ids'" if takes_existing_id(verb, module) else "'*:file:_files'"
        if verb == "completion":
            positional = f"'1:shell:({' '.join(SHELLS)})'"
        arguments = [argument for row in rows for argument in _zsh_arguments(row)] + [positional]
        body = " \\\n".join(f"                    {argument}" for argument in arguments)
        cases.append(f"                {verb}) _arguments \\\n{body} ;;")
    global_arguments = [f"        {argument} \\" for row in global_rows for argument in _zsh_arguments(row)]
    return ZSH.format(commands="\n".join(commands), global_arguments="\n".join(global_arguments), cases="\n".join(cases))


def _zsh_arguments(row):
    text = _quoted(row[4]).replace("[", "\\[").replace("]", "\\]")
    many = "*" if row[2] == LIST else ""
    value = "" if row[2] == SWITCH else f":value:{_zsh_value(row)}"
    return [f"'{many}{word}[{text}]{value}'" for word in _words([row])]


def _zsh_value(row):
    if _choices(row):
        return f"({' '.join(_choices(row))})"
    return "_files -/" if row[3] == "DIR" else "_files" if row[3].startswith(("FILE", "SOCKET")) else " "


def _quoted(text):
    return text.replace("'", "'\\''").replace(":", "\\:")


def _fish():
    verbs, global_rows = _tables()
    lines = ["# fish completion for pyoci", "complete -c pyoci -f"]
    outside = "__fish_use_subcommand"
    lines += [_fish_flag(row, outside) for row in global_rows]
    lines += [f"complete -c pyoci -n {outside} -a {verb} -d '{_fish_quoted(module.SUMMARY)}'" for verb, module, _ in verbs]
    for verb, module, rows in verbs:
        inside = f"'__fish_seen_subcommand_from {verb}'"
        lines += [_fish_flag(row, inside) for row in rows]
        if takes_existing_id(verb, module):
            lines.append(f"complete -c pyoci -n {inside} -a '(pyoci list -q 2>/dev/null)'")
        if verb == "completion":
            lines.append(f"complete -c pyoci -n {inside} -a '{' '.join(SHELLS)}'")
    return "\n".join(lines) + "\n"


def _fish_flag(row, condition):
    short = f" -s {row[1]}" if row[1] else ""
    value = ""
    if row[2] != SWITCH:
        value = (
            f" -x -a '{' '.join(_choices(row))}'" if _choices(row) else " -r -F" if row[3].startswith(("FILE", "DIR", "SOCKET")) else " -x"
        )
    return f"complete -c pyoci -n {condition} -l {row[0]}{short}{value} -d '{_fish_quoted(row[4])}'"


def _fish_quoted(text):
    return text.replace("\\", "\\\\").replace("'", "\\'")
