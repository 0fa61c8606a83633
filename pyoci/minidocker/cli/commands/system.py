"""prune, system check, system start.  docker-system-prune(1)"""

import sys

from pyoci.minidocker.cli.commands.ps import filters
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, Option
from pyoci.minidocker.cli.times import moment_ns
from pyoci.minidocker.cli.visible import visible
from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.sizes import human_size


def _agreed(call, text):
    """Whether to go on: --force, or a y from a person."""
    if call.values["force"]:
        return True
    print(f"WARNING! This will remove {text}.\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    answer = sys.stdin.readline()
    if not answer and not sys.stdin.isatty():
        raise BadRequest("nobody answered; nothing was removed", hint="--force goes on without asking")
    return answer.strip().lower() in ("y", "yes")


def _until(call):
    """(nanoseconds or 0, the other filters) of --filter."""
    wanted = filters(call.values["filter"], ("until", "label", "label!"))
    return (moment_ns(wanted["until"][-1], "until") if "until" in wanted else 0), wanted


def _prune_containers(call):
    until_ns, wanted = _until(call)
    ids, freed = call.engine.prune_containers({"until_ns": until_ns, **{key: wanted[key] for key in ("label", "label!") if key in wanted}})
    if ids:
        print("Deleted Containers:\n" + "\n".join(ids) + "\n")
    return freed


def _prune_images(call):
    from pyoci.minidocker.images import records

    until_ns, wanted = _until(call)
    done, freed = records.prune(call.engine.store, bool(call.values["all"]), until_ns, lambda image: _is_spared(image, wanted))
    if done:
        print("Deleted Images:\n" + "\n".join(f"{word.lower()}: {what}" for word, what in done) + "\n")
    return freed


def _is_spared(image, wanted):
    labels = (image.config.get("config") or {}).get("Labels") or {}

    def bears(word):
        key, equals, value = word.partition("=")
        return key in labels and (not equals or labels[key] == value)

    return any(not bears(word) for word in wanted.get("label", ())) or any(bears(word) for word in wanted.get("label!", ()))


def _tell(freed):
    print(f"Total reclaimed space: {human_size(freed, 4)}")


def container_prune(call):
    """Remove every stopped container."""
    if _agreed(call, "all stopped containers"):
        _tell(_prune_containers(call))


def image_prune(call):
    """Remove images that nothing needs."""
    if _agreed(call, "all images without a container" if call.values["all"] else "all images without a name"):
        _tell(_prune_images(call))


def system_prune(call):
    """Both."""
    if _agreed(call, "all stopped containers, and all images without a " + ("container" if call.values["all"] else "name")):
        _tell(_prune_containers(call) + _prune_images(call))


def check(call):
    """Look for damage and leftovers; with --heal put right what can be."""
    problems = call.engine.check(heal=bool(call.values["heal"]), deep=bool(call.values["deep"]))
    for problem in problems:
        print(visible(problem))
    if not problems:
        print("nothing wrong")
    return 1 if any(not problem.endswith(" (mended)") for problem in problems) else 0


def start(call):
    """Start what its restart policy wants running, after a reboot."""
    for name in call.engine.system_start():
        print(name)


FORCE = Option("force", "f", FLAG, "don't ask")
ALL = Option("all", "a", FLAG, "all images that no container uses, not only those without a name")
FILTER = Option("filter", "", LIST, "only those that match: until=24h, label=KEY")
COMMANDS = {
    "container prune": Command(container_prune, "[OPTIONS]", "remove all stopped containers", "minidocker container prune -f", options=(FORCE, FILTER), frees=True),
    "image prune": Command(image_prune, "[OPTIONS]", "remove images that nothing needs", "minidocker image prune -a", options=(FORCE, ALL, FILTER), frees=True),
    "system prune": Command(system_prune, "[OPTIONS]", "remove stopped containers and unneeded images", "minidocker system prune -f", options=(FORCE, ALL, FILTER), frees=True),
    "system check": Command(check, "[OPTIONS]", "look for damage and leftovers", "minidocker system check --heal", options=(
        Option("heal", "", FLAG, "put right what can be"), Option("deep", "", FLAG, "read every blob and every file of every layer, too")), frees=True),
    "system start": Command(start, "", "start what should run after a reboot", "minidocker system start"),
}  # fmt: skip
