"""Words of the command line as values: sizes, durations, lists of pairs, mounts.  Total: anything else is a BadRequest that quotes it.

Source: docker-run(1); Go's time.ParseDuration and strconv as documented.
"""

from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.paths import absolute

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
TRUE, FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
LARGEST = (1 << 63) - 1


def switch(text, shown):
    """A boolean as Go reads it."""
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise BadRequest(f'invalid argument "{text}" for "{shown}" flag: not true or false')


def number(text):
    """A whole number of 64 bits."""
    digits = text[1:] if text[:1] in "+-" else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19 or abs(int(text)) > LARGEST:
        raise BadRequest(f'"{text}" is not a whole number')
    return int(text)


def decimal(text):
    """A number with or without a fraction, as billionths (NanoCpus)."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit() or len(whole) > 9 or len(fraction) > 9:
        raise BadRequest(f'"{text}" is not a number such as 1.5, with at most nine decimals')
    return int(whole or "0") * 10**9 + int(fraction.ljust(9, "0") or "0")


def size_bytes(text):
    """Bytes: 512m, 1.5g, 64KiB, -1."""
    word = text.strip().lower()
    if word == "-1":
        return -1
    amount = word.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = word[len(amount) :].strip()
    if len(unit) > 1:
        unit = unit.removesuffix("ib" if unit.endswith("ib") else "b")
    whole, _, fraction = amount.partition(".")
    if unit not in UNITS or not (whole + fraction).isascii() or not (whole + fraction).isdigit() or len(amount) > 30:
        raise BadRequest(f'invalid size: "{text}"')
    found = int(whole or "0") * UNITS[unit] + int(fraction or "0") * UNITS[unit] // 10 ** len(fraction)
    if found > LARGEST:
        raise BadRequest(f'invalid size: "{text}"')
    return found


def pair(text):
    """(key, value) of KEY=VALUE; the value of KEY alone is ""."""
    key, _, value = text.partition("=")
    if not key:
        raise BadRequest(f'invalid pair "{text}": KEY=VALUE')
    return key, value


def pairs(texts):
    """A dict of KEY=VALUE words."""
    return dict(pair(text) for text in texts)


def lines_of(path, what):
    """The lines of a file that are neither empty nor comments.  Raises BadRequest."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except OSError as error:
        raise BadRequest(f"{what} {path}: {error.strerror}") from error
    return [line for line in lines if line and not line.startswith("#")]


def environment(words, files, environ):
    """["A=b"]: files first, then words; a bare name takes the value of `environ`.

    Without one it is left out of a file, and stays bare where it was asked for: the variable is to be taken away.  docker-run(1), --env
    """
    lines = [line for path in files for line in lines_of(path, "env file")]
    named = []
    for at, text in enumerate([*lines, *words]):
        key, equals, _ = text.partition("=")
        if not key or " " in key or "\t" in key:
            raise BadRequest(f'invalid environment variable: "{text}"')
        if equals:
            named.append(text)
        elif key in environ:
            named.append(f"{key}={environ[key]}")
        elif at >= len(lines):
            named.append(key)
    return named


def labels(words, files):
    """A dict of labels: files first, then words."""
    return pairs([line for path in files for line in lines_of(path, "label file")] + list(words))


def ulimit(text):
    """{"Name", "Soft", "Hard"} of nofile=1024:2048."""
    name, equals, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    if not equals or not name or not soft:
        raise BadRequest(f'invalid ulimit argument: "{text}"; such as nofile=1024:2048')
    low, high = number(soft), number(hard or soft)
    if high != -1 and (low == -1 or low > high):
        raise BadRequest(f'ulimit "{text}": the soft limit must be at most the hard limit')
    return {"Name": name, "Soft": low, "Hard": high}


def device(text):
    """{"PathOnHost", "PathInContainer", "CgroupPermissions"} of /dev/x[:/dev/y][:rwm]."""
    parts = text.split(":")
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) == 2:
        target, access = (parts[0], parts[1]) if _is_access(parts[1]) else (parts[1], "rwm")
    elif len(parts) == 3:
        target, access = parts[1], parts[2]
    if len(parts) > 3 or not source.startswith("/") or not target.startswith("/") or not _is_access(access):
        raise BadRequest(f'invalid device: "{text}"; such as /dev/fuse or /dev/sda:/dev/xvda:rw')
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def _is_access(text):
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def weight_device(text):
    """{"Path", "Weight"} of /dev/sda:500."""
    path, colon, weight = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise BadRequest(f'bad format: "{text}"; such as /dev/sda:500')
    return {"Path": path, "Weight": number(weight)}


def rate_device(text, read=size_bytes):
    """{"Path", "Rate"} of /dev/sda:1mb."""
    path, colon, rate = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise BadRequest(f'bad format: "{text}"; such as /dev/sda:1mb')
    return {"Path": path, "Rate": read(rate)}


def restart_policy(text):
    """{"Name", "MaximumRetryCount"} of no, always, unless-stopped, on-failure[:N]."""
    name, colon, count = text.partition(":")
    if name not in ("", "no", "always", "unless-stopped", "on-failure") or (colon and name != "on-failure"):
        raise BadRequest(f'invalid restart policy "{text}"; no, always, unless-stopped, on-failure or on-failure:N')
    try:
        retries = number(count) if colon else 0
    except BadRequest as error:
        raise BadRequest(f'invalid restart policy "{text}": {error}') from error
    if retries < 0:
        raise BadRequest(f'invalid restart policy "{text}": the count cannot be negative')
    return {"Name": name or "no", "MaximumRetryCount": retries}


def volume(text):
    """A word of Binds: /a:/b:ro, whose source may be written from here, `.:/src`."""
    source, colon, rest = text.partition(":")
    return f"{_from_here(source)}:{rest}" if colon else text


def _from_here(source):
    """docker takes ./a, ../a and `.` for folders; a plain name is a volume's."""
    return absolute(source) if source.startswith(".") else source


def mount(text):
    """A Mount of the Engine API of type=bind,source=/a,target=/b,readonly."""
    fields = {}
    for word in _comma_separated(text):
        key, equals, value = word.partition("=")
        key = key.strip().lower()
        fields[MOUNT_ALIASES.get(key, key)] = value if equals else "true"
    made = {"Type": fields.pop("type", "volume").lower(), "Target": fields.pop("target", "")}
    if "source" in fields:
        made["Source"] = _from_here(fields.pop("source"))
    fields.pop("consistency", "")  # of Docker Desktop
    if "readonly" in fields:
        made["ReadOnly"] = switch(fields.pop("readonly"), "readonly")
    if made["Type"] not in ("bind", "volume", "tmpfs"):
        raise BadRequest(f'invalid mount "{text}": unknown type {made["Type"]}; bind, volume or tmpfs')
    if not made["Target"]:
        raise BadRequest(f'invalid mount "{text}": target is required')
    _add_mount_options(made, fields, text)
    if fields:
        raise BadRequest(f'invalid mount "{text}": unexpected key "{next(iter(fields))}"')
    return made


MOUNT_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def _add_mount_options(made, fields, text):
    if made["Type"] == "bind":
        options = {"Propagation": fields.pop("bind-propagation", "")}
        if "bind-nonrecursive" in fields:
            options["NonRecursive"] = switch(fields.pop("bind-nonrecursive"), "bind-nonrecursive")
        if "bind-recursive" in fields:
            options["NonRecursive"] = fields.pop("bind-recursive") == "disabled"
        if "bind-create-src" in fields:
            options["CreateMountpoint"] = switch(fields.pop("bind-create-src"), "bind-create-src")
        made["BindOptions"] = {key: value for key, value in options.items() if value}
    elif made["Type"] == "tmpfs":
        options = {}
        if "tmpfs-size" in fields:
            options["SizeBytes"] = size_bytes(fields.pop("tmpfs-size"))
        if "tmpfs-mode" in fields:
            options["Mode"] = _octal(fields.pop("tmpfs-mode"), text)
        made["TmpfsOptions"] = options


def _octal(word, text):
    try:
        return int(word, 8)
    except ValueError as error:
        raise BadRequest(f'invalid mount "{text}": tmpfs-mode {word} is not octal') from error


def _comma_separated(text):
    """The fields of one CSV line: quotes may hold commas."""
    if '"' not in text:
        return text.split(",")
    import csv  # cold: a quote in --mount

    return next(csv.reader([text]), [])


