"""The fields of a tar header as values: numbers in octal or base 256, pax records, times, extended attributes.

Source: pax (POSIX.1-2008, "pax Extended Header"), the GNU tar manual ("Basic Tar Format": base-256), star(5) (SCHILY.xattr), libarchive's tar(5) (LIBARCHIVE.xattr).
"""

import base64
import binascii
import os
import urllib.parse

from pyoci.minidocker.errors import ImageProblem

# Beyond these no file system keeps a time; what is outside is drawn to the nearer one (2**62 s).
MAX_TIME_NS = (1 << 62) * 1_000_000_000
# The records of one kind of sparse file come many times: they are strung together under the name of the later kind.
SPARSE_MAP = "GNU.sparse.map"
_SPARSE_PAIR = ("GNU.sparse.offset", "GNU.sparse.numbytes")


def shown(name):
    """A path of an archive for a message: one line, whatever bytes it has."""
    text = repr(name)[1:]
    return text if len(text) <= 200 else f"{text[:200]}..."


def number(field, what):
    """A header's number: octal digits, or base 256 with the high bit set.  Raises ImageProblem."""
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if first & 0x40 else value
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise ImageProblem(f"tar: {what} is no number: {shown(field)}")


def parse_pax(data, before):
    """{key: value as bytes} of records `LENGTH KEY=VALUE\\n`, over those of `before`.  Raises ImageProblem."""
    found = dict(before)
    found.pop(SPARSE_MAP, None)
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position : max(space, position)]
        end = position + int(digits) if digits.isdigit() else -1  # no blank, no digits: -1 < -1 is false too
        if not space < end <= len(data) or data[end - 1] != 10:
            raise ImageProblem(f"tar: broken pax record {shown(data[position : position + 40])}")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise ImageProblem(f"tar: a pax record without '=': {shown(data[position:end])}")
        name = os.fsdecode(key)
        if name in _SPARSE_PAIR:
            found[SPARSE_MAP] = found[SPARSE_MAP] + b"," + value if SPARSE_MAP in found else value
        else:
            found[name] = value
        position = end
    return found


def decimal(value, what):
    """A pax record's number.  Raises ImageProblem."""
    if not value.isdigit() or len(value) > 30:
        raise ImageProblem(f"tar: {what} is no number: {shown(value)}")
    return int(value)


def time_ns(value):
    """Nanoseconds of a pax time: decimal seconds, perhaps negative, perhaps with a fraction."""
    text = value.strip()
    negative = text.startswith(b"-")
    whole, _point, fraction = text.lstrip(b"-").partition(b".")
    if not (whole or fraction) or not (whole + fraction).isdigit() or len(whole) > 30:
        raise ImageProblem(f"tar: mtime is no time: {shown(value)}")
    ns = int(whole or b"0") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -ns if negative else ns


def apply_pax(entry, pax):
    """Put the records over the header's fields.  An empty value leaves the field as it is."""
    if value := pax.get("path"):
        entry.name = value
    if value := pax.get("GNU.sparse.name"):
        entry.name = value
    if value := pax.get("linkpath"):
        entry.link = value
    for key in ("size", "uid", "gid"):
        if value := pax.get(key):
            setattr(entry, key, decimal(value, key))
    if value := pax.get("mtime"):
        entry.mtime_ns = time_ns(value)
    if b"\0" in entry.name or b"\0" in entry.link:
        raise ImageProblem(f"tar: {shown(entry.name)}: a NUL byte in a path")
    entry.xattrs = _xattrs(pax)


def _xattrs(pax):
    """{name: value}, or None.  Where both dialects tell one, SCHILY's holds: it is the exact one."""
    found = {}
    for key, value in pax.items():
        if key.startswith("LIBARCHIVE.xattr."):
            found.setdefault(urllib.parse.unquote(key[17:], errors="surrogateescape"), _base64(value))
        elif key.startswith("SCHILY.xattr."):
            found[key[13:]] = value
    found.pop("", None)
    if any("\0" in name for name in found):
        raise ImageProblem("tar: a NUL byte in the name of an extended attribute")
    return found or None


def _base64(value):
    """libarchive leaves the padding out."""
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise ImageProblem(f"tar: an extended attribute is no base64: {shown(value)}") from None
