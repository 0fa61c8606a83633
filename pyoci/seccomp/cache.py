"""Filters that were compiled before, found by content.

load() is what create and exec call: a hit costs a digest, an open and a read, and maps no libseccomp. It decides nothing about what a filter means.
The directory must be the caller's own and closed to everybody else; else there is no cache, and every filter is compiled. Each entry is a file named after
the digest of what it was made from; it carries the identity of the files that made it (libseccomp, the compiler's source) and a digest of itself.
Whatever is foreign, torn, stale or too large counts as a miss, and is replaced. Nothing here takes a lock: entries appear by rename, and are never changed.
Hot. `marshal` is loaded in every interpreter, `_blake2` is built in on Debian (0.05 ms; hashlib 3 ms).
"""

import marshal
import posix
from _blake2 import blake2b
from _struct import Struct

from pyoci import __version__

MAGIC = b"pyociBPF"
FORMAT = 1  # raise it when the layout of an entry changes
DIGEST_BYTES = 32
MOST_ENTRY_BYTES = 256 * 1024  # a program has at most 32 kB, the rest is warnings
MOST_ENTRIES = 256
ABANDONED_AFTER_S = 60  # a temporary file this old has lost its writer
# magic, format, flags for seccomp(2), then the lengths of program, makers and warnings, which follow, and a digest of all that
HEADER = Struct("=8sIIIII")

FILE_FLAGS = posix.O_CLOEXEC | posix.O_NOFOLLOW
S_IFMT, S_IFDIR, S_IFREG = 0o170000, 0o040000, 0o100000
OTHERS = 0o077


def load(seccomp, directory, warn=None):
    """(bpf, flags) for a linux.seccomp object, or None if it asks for no filter.

    seccomp    the object as decoded from JSON, or None
    directory  where filters are kept; made (0700) if its parent exists; "" for no cache
    warn       called with each line for the debug log: calls that the filter skips, and why nothing could be stored
    bpf is the array of struct sock_filter, flags are for SECCOMP_SET_MODE_FILTER. Raises ConfigError, UnsupportedConfig.
    """
    if seccomp is None:
        return None
    key = key_of(seccomp) if directory else None
    found = find(key, directory) if key else None
    if found is None:
        found = make(seccomp, key, directory, warn)
        if found is None:
            return None
    bpf, flags, warnings = found
    if warn and warnings:
        for line in warnings.decode().split("\n"):
            warn(line)
    return bpf, flags


def key_of(seccomp):
    """The digest (hex) of the object and of what else decides the program; None for an object that is no JSON."""
    host = posix.uname()
    try:
        # marshal's version 2 writes no references, so that equal objects are equal bytes; it tells 1 from 1.0 and from true.
        text = marshal.dumps((FORMAT, __version__, host.machine, host.release, seccomp), 2)
    except ValueError:
        return None
    return blake2b(text, digest_size=DIGEST_BYTES).hexdigest()


def find(key, directory):
    """(bpf, flags, warnings) of the entry, or None."""
    directory_fd = open_directory(directory)
    if directory_fd < 0:
        return None
    try:
        entry = read_entry(directory_fd, key)
    except OSError:
        return None
    finally:
        posix.close(directory_fd)
    return parse(entry, key) if entry else None


def open_directory(directory):
    """A descriptor of the directory, or -1 unless it is one, the caller's own, and nobody else's business."""
    try:
        fd = posix.open(directory, FILE_FLAGS | posix.O_DIRECTORY)
    except OSError:
        return -1
    if is_private(posix.fstat(fd), S_IFDIR):
        return fd
    posix.close(fd)
    return -1


def is_private(status, kind):
    return status.st_mode & S_IFMT == kind and status.st_uid == posix.geteuid() and not status.st_mode & OTHERS


def read_entry(directory_fd, name):
    """The bytes of a file that is what store() makes, or None. Raises OSError."""
    # O_NONBLOCK: a FIFO of that name must not hang us.
    fd = posix.open(name, FILE_FLAGS | posix.O_NONBLOCK, dir_fd=directory_fd)
    try:
        status = posix.fstat(fd)
        if not is_private(status, S_IFREG) or not HEADER.size < status.st_size <= MOST_ENTRY_BYTES:
            return None
        return posix.read(fd, status.st_size)
    finally:
        posix.close(fd)


def parse(entry, key):
    """(bpf, flags, warnings) if the entry is whole, was made for this key, and its makers are still the same; else None."""
    body, digest = entry[:-DIGEST_BYTES], entry[-DIGEST_BYTES:]
    if len(body) < HEADER.size or digest_of(body, key) != digest:
        return None
    magic, layout, flags, bpf_bytes, makers_bytes, warnings_bytes = HEADER.unpack_from(body)
    if magic != MAGIC or layout != FORMAT or len(body) != HEADER.size + bpf_bytes + makers_bytes + warnings_bytes:
        return None
    makers_at = HEADER.size + bpf_bytes
    warnings_at = makers_at + makers_bytes
    if not are_unchanged(body[makers_at:warnings_at]):
        return None
    return body[HEADER.size : makers_at], flags, body[warnings_at:]


def digest_of(body, key):
    """The key is in it, so that an entry under another's name is a broken one."""
    return blake2b(body, digest_size=DIGEST_BYTES, key=key.encode()[:64]).digest()


def are_unchanged(makers):
    """Whether each file that made the entry is still the one that it was: an upgraded libseccomp makes another program."""
    paths = [line.partition(b"\t")[0] for line in makers.split(b"\n")]
    return makers != b"" and identities(paths) == makers


def identities(paths):
    """One line for each file: its path, a tab, and what changes when it is replaced or written to. b"" if one is gone."""
    try:
        status_of = [(path, posix.stat(path)) for path in paths]
    except OSError:
        return b""
    return b"\n".join(
        b"%b\t%d %d %d %d %d" % (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        for path, status in status_of
    )


# A miss: from here on nothing is in a hurry.


def make(seccomp, key, directory, warn):
    """Compile the filter and store it. (bpf, flags, warnings), or None if the object asks for no filter."""
    from pyoci.seccomp import program

    made = program.compile_filter(seccomp)
    if made is None:
        return None
    warnings = "\n".join(made.warnings).encode(errors="replace")
    makers = identities([path.encode(errors="surrogateescape") for path in made.makers]) if key else b""
    if makers:
        try:
            store(directory, key, entry_of(key, made.bpf, made.flags, makers, warnings))
        except OSError as error:
            if warn:
                warn(f"seccomp cache: {directory}: {error.strerror}")
    return made.bpf, made.flags, warnings


def entry_of(key, bpf, flags, makers, warnings):
    """The bytes of an entry. Warnings that would make it too large are not kept."""
    if len(warnings) > MOST_ENTRY_BYTES // 2:
        warnings = b"seccomp: too many system calls were skipped to list them"
    body = HEADER.pack(MAGIC, FORMAT, flags, len(bpf), len(makers), len(warnings)) + bpf + makers + warnings
    return body + digest_of(body, key)


def store(directory, key, entry):
    """Put the entry under its name, in place of whatever is there, and drop the oldest beyond MOST_ENTRIES. Raises OSError."""
    try:
        posix.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    directory_fd = open_directory(directory)
    if directory_fd < 0:
        raise PermissionError(1, "not a directory of the caller's own with mode 0700, so filters are not kept")
    try:
        write_entry(directory_fd, key, entry)
        drop_oldest(directory_fd)
    finally:
        posix.close(directory_fd)


def write_entry(directory_fd, key, entry):
    # Not O_TMPFILE and linkat: that cannot replace a broken entry.
    temporary = f".{key}.{posix.urandom(8).hex()}"
    fd = posix.open(temporary, FILE_FLAGS | posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL, 0o600, dir_fd=directory_fd)
    try:
        try:
            if posix.write(fd, entry) != len(entry):
                raise OSError(28, posix.strerror(28))  # a short write to a file is a full disk
        finally:
            posix.close(fd)
        replace(directory_fd, temporary, key)
    except BaseException:
        remove(directory_fd, temporary)
        raise


def replace(directory_fd, temporary, name):
    """Rename over whatever bears the name; an empty directory in the way is removed, a full one is an OSError."""
    try:
        posix.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except IsADirectoryError:
        posix.rmdir(name, dir_fd=directory_fd)
        posix.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)


def drop_oldest(directory_fd):
    """Remove the oldest entries beyond MOST_ENTRIES, and what writers that died have left."""
    import time

    names = posix.listdir(directory_fd)
    abandoned_before_ns = time.time_ns() - ABANDONED_AFTER_S * 10**9
    for name in names:
        if name.startswith(".") and written_ns(directory_fd, name) < abandoned_before_ns:
            remove(directory_fd, name)
    entries = [name for name in names if not name.startswith(".")]
    if len(entries) > MOST_ENTRIES:
        entries.sort(key=lambda name: written_ns(directory_fd, name))
        for name in entries[:-MOST_ENTRIES]:
            remove(directory_fd, name)


def written_ns(directory_fd, name):
    """When the file was written, 0 if another process has just removed it."""
    try:
        return posix.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:
        return 0


def remove(directory_fd, name):
    try:
        posix.unlink(name, dir_fd=directory_fd)
    except (FileNotFoundError, IsADirectoryError):
        pass
