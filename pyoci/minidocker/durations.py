"""Durations as Go writes them, and as docker tells them to people.  Source: time.ParseDuration as documented, docker ps."""

from pyoci.minidocker.errors import BadRequest

DURATION_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
LARGEST = (1 << 63) - 1


def duration_ns(text):
    """Nanoseconds: 1h30m, 500ms, 1.5s, 0."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    total = 0
    if rest == "0":
        return 0
    while rest:
        amount = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(amount) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµmsh"))]
        rest = rest[len(unit) :]
        whole, _, fraction = amount.partition(".")
        if unit not in DURATION_UNITS or not (whole + fraction).isdigit() or len(amount) > 30:
            break
        total += int(whole or "0") * DURATION_UNITS[unit] + int(fraction or "0") * DURATION_UNITS[unit] // 10 ** len(fraction)
    else:
        if text[:1] != "-" and text and total <= LARGEST:
            return total
    raise BadRequest(f'invalid duration "{text}": such as 1m30s or 500ms')


def human_duration(seconds):
    """docker's words: Less than a second, 3 seconds, About a minute, 2 hours, 4 weeks."""
    seconds = max(int(seconds), 0)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{seconds} second" + ("s" if seconds > 1 else "")
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, length, word in ((24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 365 * 2, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // length} {word}"
    return f"{hours // (24 * 365)} years"
