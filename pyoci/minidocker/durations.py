"""Durations as Go writes them.  Source: time.ParseDuration as documented."""

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
