"""Moments as people write them: RFC 3339, a date, seconds since 1970 with a fraction, or a duration ago.  docker-logs(1)"""

import datetime
import time

from pyoci.minidocker.durations import duration_ns
from pyoci.minidocker.errors import BadRequest


def moment_ns(text, what):
    """Nanoseconds since 1970.  Without a zone the local one holds.  Raises BadRequest."""
    seconds, _, fraction = text.partition(".")
    if text.isascii() and seconds.isdigit() and len(seconds) < 11 and (not fraction or fraction.isdigit()):
        return int(seconds) * 10**9 + int((fraction + "0" * 9)[:9])
    try:
        return time.time_ns() - duration_ns(text)
    except BadRequest:
        pass
    try:
        return max(1, round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 10**6) * 1000)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f'invalid {what} "{text}": a time such as 2026-01-31T08:00:00Z, or a duration such as 10m') from error
