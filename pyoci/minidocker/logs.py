"""The log of a container, as its monitor writes it: read back, followed through its rotation, cut by number and time.

Source: docker-logs(1); docker's json-file driver.
"""

from pyoci.minidocker.errors import BadRequest

NAME = "log.json"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "b": 1}
MAX_FILES = 1000


def log_config(host):
    """(driver, max bytes of a file or 0, number of files) of a HostConfig.  Raises BadRequest in docker's words."""
    given = host.get("LogConfig") or {}
    driver, options = given.get("Type") or "json-file", given.get("Config") or {}
    if driver not in ("json-file", "none", "local"):
        raise BadRequest(f"logger: no log driver named '{driver}' is registered", hint="json-file and none are")
    known = {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}
    for name in options:
        if name not in known:
            raise BadRequest(f"unknown log opt '{name}' for {driver} log driver")
    size = _size(options.get("max-size", "-1"))
    files = options.get("max-file", "1")
    if not files.isascii() or not files.isdigit() or not 1 <= int(files) <= MAX_FILES:
        raise BadRequest(f"max-file: '{files}' is not a number from 1 to {MAX_FILES}")
    if int(files) > 1 and not size:
        raise BadRequest(f"max-file={files} needs a max-size to take effect")
    return driver, size, int(files)


def _size(text):
    """`10m` in bytes; -1 is 0, no limit."""
    if text == "-1":
        return 0
    lowered = text.lower().removesuffix("ib").removesuffix("b") if text[-1:].isalpha() else text
    unit = lowered[-1:] if lowered[-1:].isalpha() else ""
    number = lowered[: len(lowered) - len(unit)]
    if not number.isascii() or not number.isdigit() or unit not in _UNITS or not int(number):
        raise BadRequest(f"invalid value for max-size: '{text}'")
    return int(number) * _UNITS[unit]


def log_words(container):
    """The monitor's words for it."""
    driver, size, files = log_config(container.host)
    if driver == "none":
        return []
    return [f"logs={container.folder}", f"log-max-bytes={size}", f"log-files={files}"]
