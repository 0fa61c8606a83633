"""logs, top, diff, events: what a container says and does.  docker-logs(1), docker-top(1), docker-diff(1), docker-events(1)"""

import sys
import time

from pyoci.minidocker.cli.listing import table
from pyoci.minidocker.cli.main import Command
from pyoci.minidocker.cli.options import FLAG, LIST, TEXT, Option
from pyoci.minidocker.cli.template import Fields, Template, as_json
from pyoci.minidocker.cli.times import moment_ns
from pyoci.minidocker.cli.values import number
from pyoci.minidocker.cli.visible import visible
from pyoci.minidocker.errors import BadRequest


def logs(call):
    """Print what a container wrote, each stream to its own."""
    values = call.values
    tail = values["tail"] if values["tail"] not in (None, "all") else "-1"
    since = moment_ns(values["since"], "since") if values["since"] else 0
    until = moment_ns(values["until"], "until") if values["until"] else 0
    outputs = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    found = call.engine.logs(call.arguments[0], follow=bool(values["follow"]), tail=number(tail), since_ns=since, until_ns=until)
    last = sys.stdout.buffer
    for stream, moment, text in found:
        output = outputs[stream]
        if output is not last:  # both may be one file or terminal, where they keep their order
            last.flush()
            last = output
        output.write(moment.encode() + b" " + text if values["timestamps"] else text)
        if values["follow"]:
            output.flush()
    for output in outputs.values():
        output.flush()


def top(call):
    """Print the processes of a container."""
    found = call.engine.top(call.arguments[0], call.arguments[1:])
    print("\n".join(line.rstrip() for line in table(found["Titles"], found["Processes"])))


def diff(call):
    """Print what changed in a container's file system."""
    for kind, path in call.engine.changes(call.arguments[0]):
        print(f"{kind} {visible(path)}")


def events(call):
    """Print what happens, and what happened."""
    values = call.values
    filters = {}
    for word in values["filter"]:
        key, equals, value = word.partition("=")
        if not equals:
            raise BadRequest(f'bad format of filter "{word}": KEY=VALUE')
        filters.setdefault(key, []).append(value)
    since = moment_ns(values["since"], "since") if values["since"] else 0
    until = moment_ns(values["until"], "until") if values["until"] else 0
    form = values["format"] or ""
    template = Template(form) if form not in ("", "json") else None
    for event in call.engine.events(since, until, filters, follow=not until or until > time.time_ns()):
        print(template.render(_fields(event)) if template else as_json(event) if form else event_line(event), flush=True)


def _fields(event):
    """An event for a template, which may call its fields by their names in Go too."""
    made = Fields({**event, "Actor": Fields(event["Actor"])})
    made.unsaid = {"Status": event.get("status", ""), "ID": event.get("id", ""), "From": event.get("from", ""), "Scope": event["scope"],
                   "Time": event["time"], "TimeNano": event["timeNano"]}  # fmt: skip
    return made


def event_line(event):
    """docker's line: time, type, action, id, attributes."""
    attributes = event["Actor"]["Attributes"]
    seconds, nano = divmod(event["timeNano"], 10**9)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds)) + f".{nano:09d}" + _zone(seconds)
    shown = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
    return visible(f"{moment} {event['Type']} {event['Action']} {event['Actor']['ID']}" + (f" ({shown})" if shown else ""))


def _zone(seconds):
    zone = time.strftime("%z", time.localtime(seconds))
    return f"{zone[:3]}:{zone[3:]}"


COMMANDS = {
    "logs": Command(logs, "[OPTIONS] CONTAINER", "print what a container wrote", "minidocker logs -f --tail 20 web", least=1, most=1, options=(
        Option("follow", "f", FLAG, "go on with what it writes"),
        Option("tail", "n", TEXT, "number of lines from the end, or all (default)"),
        Option("since", "", TEXT, "from this time on: 2026-01-31T08:00:00Z, or 10m ago as 10m"),
        Option("until", "", TEXT, "up to this time"),
        Option("timestamps", "t", FLAG, "show the time of each line"),
        Option("details", "", FLAG, "accepted; json-file has no further details"),
    )),
    "top": Command(top, "CONTAINER [ps OPTIONS]", "show the processes of a container", "minidocker top web -o pid,args", least=1, most=None, interspersed=False),
    "diff": Command(diff, "CONTAINER", "show what changed in a container's file system: A added, C changed, D deleted", "minidocker diff web", least=1, most=1),
    "events": Command(events, "[OPTIONS]", "show what happens to containers and images", "minidocker events --since 1h --filter event=die", options=(
        Option("since", "", TEXT, "from this time on"),
        Option("until", "", TEXT, "up to this time"),
        Option("filter", "f", LIST, "show those that match: container, event, image, label, type"),
        Option("format", "", TEXT, "json or a template"),
    )),
}  # fmt: skip
