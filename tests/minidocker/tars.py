"""Tar archives for the tests, made by the standard library's tarfile, and what a folder holds.

    archive(folder("etc", mode=0o750), file("etc/a", b"1"), link("b", "etc/a"))  -> bytes
    tree(path)  -> {path: facts} for comparisons
"""

import io
import os
import stat
import tarfile


def member(name, kind, data=b"", **fields):
    """A (TarInfo, content) pair; fields: mode, uid, gid, mtime, linkname, devmajor, devminor, pax_headers."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def file(name, data=b"", **fields):
    return member(name, tarfile.REGTYPE, data, **fields)


def folder(name, **fields):
    return member(name, tarfile.DIRTYPE, **fields)


def symlink(name, target, **fields):
    return member(name, tarfile.SYMTYPE, linkname=target, **fields)


def hardlink(name, target, **fields):
    return member(name, tarfile.LNKTYPE, linkname=target, **fields)


def device(name, major, minor, kind=tarfile.CHRTYPE, **fields):
    return member(name, kind, devmajor=major, devminor=minor, **fields)


def fifo(name, **fields):
    return member(name, tarfile.FIFOTYPE, **fields)


def archive(*members, form=tarfile.PAX_FORMAT, **options):
    """The bytes of a tar with these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape", **options) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def facts_of(path):
    """What a test compares of one file: kind and mode, owner, mtime, and the content or what stands for it."""
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        with open(path, "rb") as opened:
            content = opened.read()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    else:
        content = found.st_rdev
    return oct(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, content


def tree(top):
    """{path from top, as bytes: facts} of everything below a folder, and itself as b"."."""
    top = os.fsencode(top)
    found = {b".": facts_of(top)}
    for where, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(where, name)
            found[os.path.relpath(path, top)] = facts_of(path)
    return found
