"""Log records. Cold: loaded only to write one.

A record is what logrus writes for runc: JSON with level, msg, time (sorted), or text `time="..." level=error msg="..."`.
containerd reads the last record whose level is error; podman reads the whole file as one JSON object.
"""

import posix
import time

from pyoci.spec.decode import encode


def write_record(settings, level, text):
    """Append one record to --log FILE, or write it to standard error. A log that cannot be written is not an error."""
    data = format_record(settings.get("log-format", "text"), level, text, time.time()).encode()
    try:
        fd = (
            posix.open(settings["log"], posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_SYNC | posix.O_CLOEXEC, 0o644)
            if "log" in settings
            else 2
        )
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
    message = encode(without_surrogates(text))
    if log_format == "json":
        return f'{{"level":"{level}","msg":{message},"time":"{stamp}"}}\n'
    return f'time="{stamp}" level={level} msg={message}\n'


def without_surrogates(text):
    """`text` that UTF-8 can hold: bytes of argv that were not UTF-8 become U+FFFD, as Go writes them."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
