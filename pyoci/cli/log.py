"""Log records, and the line of a config path: what only a command that failed, or that asked for a log, needs.

A record is what logrus writes for runc: JSON with level, msg, time (sorted), or text `time="..." level=error msg="..."`.
containerd reads the last record whose level is error; podman reads the whole file as one JSON object.
"""

import posix
import time
from _json import encode_basestring  # the C function behind json.dumps of a string; `import json` costs 8 ms



def write_record(settings, level, text):
    """Append one record to --log FILE, or write it to standard error. A log that cannot be written is not an error."""
    data = format_record(settings.get("log-format", "text"), level, text, time.time()).encode()
    try:
        fd = posix.open(settings["log"], posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_SYNC | posix.O_CLOEXEC, 0o644) if "log" in settings else 2
        try:
            # One write a record: several processes may append to one file.
            posix.write(fd, data)
        finally:
            if fd != 2:
                posix.close(fd)
    except OSError:
        pass


def format_record(log_format, level, text, now_s):
    """The record with its newline. now_s: seconds since the epoch; the time is written in UTC, RFC 3339."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    message = encode_basestring(without_surrogates(text))
    if log_format == "json":
        return f'{{"level":"{level}","msg":{message},"time":"{stamp}"}}\n'
    return f'time="{stamp}" level={level} msg={message}\n'


def without_surrogates(text):
    """`text` that UTF-8 can hold: bytes of argv that were not UTF-8 become U+FFFD, as Go writes them."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def line_in_document(command, document, path):
    """The line of config path `path` in the file that the command line named for `document`, 0 if it is not found there."""
    from pyoci.spec.decode import locate, read_document

    file = _file_of(command, document)
    return locate(read_document(file, document=document), path) if file else 0


def _file_of(command, document):
    from pyoci.cli.options import absolute

    values = command.values
    if document == "config.json" and command.verb in ("create", "run", "plan"):
        bundle = command.arguments[0] if command.verb == "plan" and command.arguments else values.get("bundle") or "."
        return f"{absolute(bundle)}/config.json"
    named = {"process.json": values.get("process"), "resources.json": values.get("resources")}.get(document)
    return None if named == "-" else named
