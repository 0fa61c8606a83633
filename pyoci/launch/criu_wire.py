"""criu's messages as bytes and back: the protocol buffers of its rpc.proto, those that we send and read.  Cold: checkpoint, restore.

A message is a dict; a field that is absent or None is not sent, a repeated one is a list.  What a newer criu says beyond this table is
left out.  Pure.  Sources: criu's images/rpc.proto (names and numbers); protobuf.dev, "Encoding" (the wire format).
"""

DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5, "": 6}

# message -> field -> (number, kind, whether it repeats); a kind is `int`, `bool`, `text` or another message
MESSAGES = {
    "request": {
        "type": (1, "int", False),
        "opts": (2, "options", False),
        "notify_success": (3, "bool", False),
        "features": (5, "features", False),
    },
    "options": {
        "images_dir_fd": (1, "int", False),
        "pid": (2, "int", False),
        "leave_running": (3, "bool", False),
        "ext_unix_sk": (4, "bool", False),
        "tcp_established": (5, "bool", False),
        "evasive_devices": (6, "bool", False),
        "shell_job": (7, "bool", False),
        "file_locks": (8, "bool", False),
        "log_level": (9, "int", False),
        "log_file": (10, "text", False),
        "ps": (11, "page_server", False),
        "notify_scripts": (12, "bool", False),
        "root": (13, "text", False),
        "parent_img": (14, "text", False),
        "track_mem": (15, "bool", False),
        "auto_dedup": (16, "bool", False),
        "work_dir_fd": (17, "int", False),
        "link_remap": (18, "bool", False),
        "ext_mnt": (23, "mount", True),
        "manage_cgroups": (24, "bool", False),
        "cg_root": (25, "cgroup_root", True),
        "rst_sibling": (26, "bool", False),
        "inherit_fd": (27, "inherit", True),
        "manage_cgroups_mode": (34, "int", False),
        "external": (37, "text", True),
        "empty_ns": (38, "int", False),
        "join_ns": (39, "join", True),
        "freeze_cgroup": (44, "text", False),
        "tcp_skip_in_flight": (46, "bool", False),
        "lazy_pages": (48, "bool", False),
        "orphan_pts_master": (50, "bool", False),
        "config_file": (51, "text", False),
        "lsm_profile": (53, "text", False),
        "lsm_mount_context": (63, "text", False),
        "mntns_compat_mode": (65, "bool", False),
    },
    "page_server": {"address": (1, "text", False), "port": (2, "int", False)},
    "mount": {"key": (1, "text", False), "val": (2, "text", False)},
    "cgroup_root": {"ctrl": (1, "text", False), "path": (2, "text", False)},
    "inherit": {"key": (1, "text", False), "fd": (2, "int", False)},
    "join": {"ns": (1, "text", False), "ns_file": (2, "text", False)},
    "features": {"mem_track": (1, "bool", False), "lazy_pages": (2, "bool", False)},
    "response": {
        "type": (1, "int", False),
        "success": (2, "bool", False),
        "restore": (4, "restored", False),
        "notify": (5, "notify", False),
        "cr_errno": (7, "int", False),
        "features": (8, "features", False),
        "cr_errmsg": (9, "text", False),
        "version": (10, "version", False),
    },
    "restored": {"pid": (1, "int", False)},
    "notify": {"script": (1, "text", False), "pid": (2, "int", False)},
    "version": {"major": (1, "int", False), "minor": (2, "int", False), "sublevel": (4, "int", False)},
}
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_WORD = 2**64 - 1


def encode(message, values):
    """The bytes of a message.  Raises KeyError for a field that it does not have."""
    fields = MESSAGES[message]
    pieces = []
    for name, value in values.items():
        number, kind, repeats = fields[name]
        if value is not None:
            pieces += [_field(number, kind, one) for one in (value if repeats else (value,))]
    return b"".join(pieces)


def _field(number, kind, value):
    if kind in ("int", "bool"):
        return _varint(number << 3 | _VARINT) + _varint(int(value) & _WORD)
    data = value.encode("utf-8", "surrogateescape") if kind == "text" else encode(kind, value)
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(value):
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def decode(message, data):
    """The fields of a message that this table knows.  Raises ValueError for bytes that are none."""
    known = {number: (name, kind, repeats) for name, (number, kind, repeats) in MESSAGES[message].items()}
    values = {}
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        value, at = _read(data, at, tag & 7)
        name, kind, repeats = known.get(tag >> 3, ("", "", False))
        if not name or (kind in ("int", "bool")) != isinstance(value, int):
            continue
        value = _value(kind, value)
        if repeats:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    return values


def _value(kind, value):
    if kind == "bool":
        return bool(value)
    if kind == "int":
        return value - 2**64 if value >> 63 else value
    return value.decode("utf-8", "replace") if kind == "text" else decode(kind, value)


def _read(data, at, wire):
    if wire == _VARINT:
        return _read_varint(data, at)
    if wire == _BYTES:
        length, at = _read_varint(data, at)
    elif wire in (_FIXED_64, _FIXED_32):
        length = 8 if wire == _FIXED_64 else 4
    else:
        raise ValueError(f"no message: wire type {wire}")
    if at + length > len(data):
        raise ValueError("no message: it ends too early")
    return data[at : at + length], at + length


def _read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("no message: a number without an end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & _WORD, at
