"""A first image without any network: from the host's static busybox, or from a folder or a tar.

The same input makes the same id: times are SOURCE_DATE_EPOCH's, else 1970.
Source: busybox's own documentation (applets by link), hier(7), passwd(5), reproducible-builds.org (SOURCE_DATE_EPOCH).
"""

import io
import os
import re
import shutil
import stat
import subprocess
import time

from pyoci.minidocker.errors import BadRequest, MiniDockerError
from pyoci.minidocker.images import assemble, reference, tar
from pyoci.minidocker.images.content import Content
from pyoci.minidocker.images.instructions import apply_changes
from pyoci.minidocker.images.pack import Packer, make_entry, packed_tree

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FOLDERS = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sbin": 0o755, "sys": 0o555, "tmp": 0o1777,
    "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755, "var/spool": 0o755, "var/tmp": 0o1777, "var/www": 0o755,
}  # fmt: skip
FILES = {
    "etc/group": "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nwww-data:x:33:\nusers:x:100:\nnobody:x:65534:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\n"
    "mail:x:8:8:mail:/var/spool/mail:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/shadow": "root:*:::::::\n",
    "etc/shells": "/bin/sh\n/bin/ash\n",
}
ELF_INTERPRETER = 3  # PT_INTERP: who has it is not static


def created_text(epoch_s):
    """RFC 3339 of seconds since 1970."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s))


def source_date_epoch():
    """The second that everything made bears."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise BadRequest(f"SOURCE_DATE_EPOCH is no time: {text!r}")
    return int(text)


def make_busybox(store, name="busybox", program=""):
    """An image of a static busybox (`program`, or the one on PATH) with a link for each applet.  Returns the Image; raises MiniDockerError, BadRequest."""
    names = [reference.parse(name)]
    program = program or shutil.which("busybox") or ""
    if not program:
        raise MiniDockerError("no busybox on PATH", "Debian has it in the package busybox-static")
    if not is_static(program):
        raise MiniDockerError(f"{program} needs libraries, which the image would not have", "install a static one (Debian: busybox-static)")
    epoch_s = source_date_epoch()
    buffer = io.BytesIO()
    _write_busybox(Packer(buffer), program, applets(program), epoch_s)
    buffer.seek(0)
    config = _config(epoch_s, f"minidocker image make busybox ({_version(program)})", {"Env": [PATH], "Cmd": ["sh"]})
    return _add(store, buffer, config, names)


def make_image(store, source, name, changes=()):
    """An image of one layer: the tree of a folder, or a tar, packed or not.  `changes` are Dockerfile instructions.  Returns the Image."""
    names = [reference.parse(name)]
    epoch_s = source_date_epoch()
    config = _config(epoch_s, f"minidocker image make {os.path.basename(source.rstrip('/')) or '/'}", apply_changes({"Env": [PATH]}, changes))
    if os.path.isdir(source):
        with packed_tree(source) as stream:
            return _add(store, stream, config, names)
    try:
        with open(source, "rb", buffering=0) as stream:
            return _add(store, stream, config, names)
    except OSError as error:
        raise MiniDockerError(f"open {source}: {os.strerror(error.errno)}") from error


def _add(store, stream, config, names):
    with Content(store.roots).lease() as lease:
        return assemble.add_image(store, lease, config, [assemble.add_layer(store, lease, stream)], names, "import")


def _config(epoch_s, made_by, config):
    created = created_text(epoch_s)
    return {"architecture": assemble.architecture(), "os": "linux", "created": created, "config": config, "history": [{"created": created, "created_by": made_by}]}


# --- busybox


def _write_busybox(packer, program, names, epoch_s):
    mtime_ns = epoch_s * 10**9
    with open(program, "rb") as file:
        data = file.read()
    found = {path: make_entry(path.encode(), tar.FOLDER, mode, mtime_ns=mtime_ns) for path, mode in FOLDERS.items()}
    content = {path: text.encode() for path, text in FILES.items()} | {"bin/busybox": data}
    for path, value in content.items():
        mode = 0o755 if path == "bin/busybox" else 0o600 if path == "etc/shadow" else 0o644
        found[path] = make_entry(path.encode(), tar.FILE, mode, size=len(value), mtime_ns=mtime_ns)
    for name in names:
        found.setdefault(f"bin/{name}", make_entry(f"bin/{name}".encode(), tar.SYMLINK, 0o777, link=b"busybox", mtime_ns=mtime_ns))
    found["usr/bin/env"] = make_entry(b"usr/bin/env", tar.SYMLINK, 0o777, link=b"../../bin/busybox", mtime_ns=mtime_ns)
    packer.add(make_entry(b"./", tar.FOLDER, 0o755, mtime_ns=mtime_ns))
    for path in sorted(found):
        packer.add(found[path], content.get(path, b""))
    packer.close()


def applets(program):
    """The names under which this busybox does something."""
    return sorted(name for name in _ask(program, "--list").split() if re.fullmatch(r"[A-Za-z0-9_.\[-]+", name) and name != "busybox")


def _version(program):
    found = re.match(r"BusyBox (v\S+)", _ask(program))
    return found[1] if found else "unknown version"


def _ask(program, *words):
    try:
        done = subprocess.run([program, *words], executable=program, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MiniDockerError(f"{program}: {error}") from error
    if done.returncode or "applet not found" in done.stderr:
        raise MiniDockerError(f"{program} is no busybox: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
    return done.stdout


def is_static(program):
    """Whether an ELF program asks for no interpreter.  elf(5)"""
    try:
        with open(program, "rb") as file:
            head = file.read(64)
            if head[:4] != b"\x7fELF" or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MiniDockerError(f"{program} is no ELF program")
            wide, order = head[4] == 2, "little" if head[5] == 1 else "big"
            where, size, count = ((32, 8), (54, 2), (56, 2)) if wide else ((28, 4), (42, 2), (44, 2))
            offset, entry, number = (int.from_bytes(head[at : at + length], order) for at, length in (where, size, count))
            file.seek(offset)
            table = file.read(entry * number)
    except OSError as error:
        raise MiniDockerError(f"open {program}: {os.strerror(error.errno)}") from error
    return all(int.from_bytes(table[at : at + 4], order) != ELF_INTERPRETER for at in range(0, len(table), entry or 1))
