"""completion: a script for a shell, which asks `minidocker completion words` for what may come next.  docker-completion(1)"""

import os

from pyoci.errors import PyociError
from pyoci.minidocker.cli.main import COMMANDS as PROGRAMS
from pyoci.minidocker.cli.main import NOUNS, Command, command_of, find, global_options
from pyoci.minidocker.cli.options import FLAG
from pyoci.minidocker.cli.visible import visible
from pyoci.minidocker.errors import BadRequest

SCRIPTS = {
    "bash": """# bash completion for minidocker
_minidocker() {
    local line=${COMP_LINE:0:COMP_POINT} words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[-1]}
    local before=${current%"${current##*[:=]}"}
    mapfile -t COMPREPLY < <(minidocker completion words "${words[@]:1}" 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o default -F _minidocker minidocker
""",
    "zsh": """#compdef minidocker
# zsh completion for minidocker
_minidocker() {
    local -a found
    found=(${(f)"$(minidocker completion words "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
if [ "$funcstack[1]" = _minidocker ]; then _minidocker; else compdef _minidocker minidocker; fi
""",
    "fish": """# fish completion for minidocker
function __minidocker_complete
    set -l found (minidocker completion words (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)
    if test -n "$found"
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c minidocker -f -a '(__minidocker_complete)'
""",
}
# What may stand for a flag's value; of others the shell names files.
CHOICES = {
    "network": ("none", "host"), "net": ("none", "host"), "restart": ("no", "on-failure", "always", "unless-stopped"), "pull": ("always", "missing", "never"),
    "log-driver": ("json-file", "none"), "type": ("container", "image"), "ipc": ("private", "shareable", "host", "none"), "pid": ("host",), "uts": ("host",),
    "userns": ("host",), "cgroupns": ("private", "host"),
}  # fmt: skip
RUNNING = ("exec", "stop", "kill", "attach", "top", "stats", "pause", "unpause", "wait")


def completion(call):
    """Print the script, or, for it, the words that may come next."""
    shell, rest = call.arguments[0], call.arguments[1:]
    if shell == "words":
        print("".join(f"{visible(word)}\n" for word in candidates(call, rest or [""])), end="")
    elif shell not in SCRIPTS or rest:
        raise BadRequest(f"no completion for shell '{' '.join(call.arguments)}': bash, zsh or fish")
    else:
        print(SCRIPTS[shell], end="")


def candidates(call, words):
    """The words that may stand for the last one, of which the others come before; none where a file may."""
    *before, current = words
    options, rest, open_flag = _skip(before, global_options(), False)
    if not rest:
        return _fitting(_flag_words(current, options, open_flag) or [*PROGRAMS, *NOUNS], current)
    if rest[0] in NOUNS and len(rest) == 1:
        return _fitting(["--help"] if current.startswith("-") else NOUNS[rest[0]], current)
    try:
        name, module, rest = find(rest)
    except PyociError:
        return []
    command = command_of(name, module)
    options, arguments, open_flag = _skip(rest, command.options, command.interspersed)
    if not command.interspersed and arguments:
        return []  # a program of the container's, and its words
    return _fitting(_flag_words(current, options, open_flag) or _named(call, name, command.usage, len(arguments)), current)


def _fitting(words, current):
    return sorted(word for word in words if word and word.startswith(current))


def _skip(words, options, interspersed):
    """(the options by how they are written, the arguments among the words, the option that waits for its value or None)."""
    known = {f"--{option.name}": option for option in options} | {f"-{option.letter}": option for option in options if option.letter}
    words, arguments = list(words), []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            arguments.append(word)
            if not interspersed:
                return known, arguments + words, None
        elif "=" not in word and (option := known.get(word) or known.get(f"-{word[-1]}")) and option.kind != FLAG:
            if not words:
                return known, arguments, option
            words.pop(0)
    return known, arguments, None


def _flag_words(current, options, open_flag):
    """Flags, or the values of one; a single empty word where the shell is to name files."""
    if open_flag:
        return CHOICES.get(open_flag.name, [""])
    name, equals, _ = current.partition("=")
    if equals and name in options:
        return [f"{name}={choice}" for choice in CHOICES.get(options[name].name, ())] or [""]
    return [*options, "--help"] if current.startswith("-") else []


def _named(call, name, usage, at):
    """Containers or images, as the command's usage has them at this place."""
    if name == "completion":
        return list(SCRIPTS)
    places = ["CONTAINER:PATH..."] if name == "cp" else [word.strip("[]") for word in usage.split(" ") if word != "[OPTIONS]"]
    place = places[min(at, len(places) - 1)] if places and (at < len(places) or places[-1].endswith("...")) else ""
    if not place or not os.path.isdir(call.roots.data):
        return []
    found = []
    if place.startswith(("CONTAINER", "NAME...")) or (place == "NAME" and name == "inspect"):
        containers = call.engine.list(all=name not in RUNNING)
        found += [one["Names"][0].lstrip("/") + (":" if "PATH" in place else "") for one in containers]
    if place.startswith("IMAGE") or name in ("inspect", "push", "images", "pull"):
        from pyoci.minidocker.images import records, reference

        found += [reference.parse(tag).familiar().removesuffix(":latest") for image in records.all_images(call.engine.store) for tag in image.tags]
    return found


COMMANDS = {
    "completion": Command(
        completion, "bash|zsh|fish", "print a completion script for a shell: 'source <(minidocker completion bash)'", "minidocker completion bash", least=1, most=None,
        interspersed=False),
}  # fmt: skip
