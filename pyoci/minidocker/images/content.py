"""Blobs by digest, in the shape of an OCI image layout: what is published is whole and verified, and never changes.

    DATA/blobs/ALGORITHM/HEX     published
    DATA/ingest/ALGORITHM-HEX    on its way; its length says where to go on, its flock(2) who writes: one flight a blob on the whole host
    DATA/ingest/new-*            on its way, the digest not known yet
    DATA/ingest/lease-*          digests and chain ids that a living process (it holds the flock) is about to record
    DATA/ingest/gc.lock          shared: a lease grows; exclusive: garbage is being collected

A blob that nobody recorded is garbage, unless a lease names it: whoever adds content takes a lease first, names each digest *before* he looks
whether it is there, and lets go after his record is written.
Source: image-spec image-layout.md, descriptor.md#digests; flock(2), rename(2).
"""

import contextlib
import fcntl
import hashlib
import os
import time

from pyoci.minidocker.errors import BadRequest, ImageProblem, MiniDockerError
from pyoci.minidocker.images.disk import disk_errors
from pyoci.minidocker.images.reference import check_digest

CHUNK_BYTES = 1 << 20
LOCK_POLL_S = 0.05
MIB = 1 << 20


def digest_of(data, algorithm="sha256"):
    """`sha256:HEX` of bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def split_digest(digest):
    """(algorithm, hex).  Raises ImageProblem for what is no digest: nothing else ever becomes part of a path."""
    try:
        return check_digest(digest)
    except (BadRequest, AttributeError, TypeError):
        raise ImageProblem(f"not a digest: {digest!r}") from None


class Content:
    """The blobs of these roots (paths.Roots).  Any number of processes and threads may use one at once."""

    def __init__(self, roots):
        self.roots = roots

    def path(self, digest):
        """Where the blob is or would be.  Raises ImageProblem for what is no digest."""
        algorithm, value = split_digest(digest)
        return f"{self.roots.data}/blobs/{algorithm}/{value}"

    def has(self, digest):
        """Whether the blob is here."""
        return os.path.isfile(self.path(digest))

    def size(self, digest):
        """The blob's bytes.  Raises ImageProblem if it is not here."""
        with self.open(digest) as file:
            return os.fstat(file.fileno()).st_size

    def open(self, digest):
        """The blob as an unbuffered binary file.  Raises ImageProblem if it is not here."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise ImageProblem(f"blob {digest}: not in {self.roots.data}/blobs") from None

    def read(self, digest, limit_bytes=4 * MIB):
        """The whole of a small blob, verified.  Raises ImageProblem if it is not here, larger, or damaged."""
        with self.open(digest) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit_bytes:
                raise ImageProblem(f"blob {digest}: {size} bytes, more than the {limit_bytes} that are read of such a document")
            data = file.read(limit_bytes + 1)
        if digest_of(data, digest.partition(":")[0]) != digest:
            raise ImageProblem(f"blob {digest}: damaged on disk", "pull the image again")
        return data

    def add_bytes(self, data, algorithm="sha256"):
        """Publish bytes; returns their digest."""
        digest = digest_of(data, algorithm)
        with self.writer(digest, len(data)) as writer:
            if not writer.done:
                writer.restart()
                writer.write(data)
                writer.commit()
        return digest

    def writer(self, digest="", size=0, cancelled=None):
        """A Writer, for a with block.  `digest` and `size` (0: not known) are what is to come.  Waits for another writer of the same digest;
        `cancelled()` ends the wait with an exception of its own."""
        return Writer(self, digest, size, cancelled)

    @contextlib.contextmanager
    def lease(self):
        """A Lease for the with block."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.close()

    def collect(self, needed, partial_age_s=7 * 86400):
        """Remove blobs that are neither in `needed()` (a set of digests, asked under the lock) nor leased, dead leases, and unfinished blobs
        that nobody writes and nobody touched for `partial_age_s` (without a digest: at once).  Returns the bytes freed."""
        if not os.path.isdir(self.roots.data):
            return 0
        with self.collecting() as leased:
            keep = leased | set(needed())
            return self._remove_blobs(keep) + self._remove_partials(partial_age_s)

    @contextlib.contextmanager
    def collecting(self):
        """The collector's lock for the with block; yields the set of leased digests and chain ids.  Read the records inside, not before."""
        with self._gate(fcntl.LOCK_EX):
            yield self._leased()

    @contextlib.contextmanager
    def _gate(self, kind):
        with disk_errors(f"lock {self.roots.ingest}"):
            self.make_ingest()
            lock = os.open(f"{self.roots.ingest}/gc.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)

    def make_ingest(self):
        """Make the folder of unfinished blobs."""
        os.makedirs(self.roots.ingest, 0o700, exist_ok=True)

    def _leased(self):
        found = set()
        for name in os.listdir(self.roots.ingest):
            if name.startswith("lease-"):
                path = f"{self.roots.ingest}/{name}"
                with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
                    if _try_lock(file.fileno()):
                        os.unlink(path)
                    else:
                        found.update(file.read().split())
        return found

    def _remove_blobs(self, keep):
        freed = 0
        for algorithm in _names(f"{self.roots.data}/blobs"):
            folder = f"{self.roots.data}/blobs/{algorithm}"
            for value in _names(folder):
                if f"{algorithm}:{value}" not in keep:
                    freed += os.stat(f"{folder}/{value}").st_size
                    os.unlink(f"{folder}/{value}")
        return freed

    def _remove_partials(self, age_s):
        freed = 0
        for name in _names(self.roots.ingest):
            path = f"{self.roots.ingest}/{name}"
            if name == "gc.lock" or name.startswith("lease-"):
                continue
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                facts = os.fstat(file.fileno())
                # One whose digest nobody knows can't be gone on with.
                if _try_lock(file.fileno()) and (name.startswith("new-") or facts.st_mtime <= time.time() - age_s):
                    os.unlink(path)
                    freed += facts.st_size
        return freed


class Lease:
    """Digests and chain ids that the collector leaves alone while this process lives, or until close."""

    def __init__(self, content):
        self.content = content
        with content._gate(fcntl.LOCK_SH), disk_errors(f"write {content.roots.ingest}"):
            self.path = f"{content.roots.ingest}/lease-{os.urandom(8).hex()}"
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)

    def add(self, *digests):
        """Name what is about to be recorded.  From here on a `has()` that says yes stays true."""
        with self.content._gate(fcntl.LOCK_SH), disk_errors(f"write {self.path}"):
            os.write(self.fd, "".join(f"{digest}\n" for digest in digests).encode("ascii"))

    def close(self):
        """Let go, after the record is written."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        os.close(self.fd)


class Writer:
    """A blob on its way.  `done`: it is published already, write nothing.  `offset`: the bytes that are there (a cut download's too), hashed.

    Leaving the with block without commit keeps the bytes of a known digest for the next try, and nothing of an unknown one.
    """

    def __init__(self, content, digest, size, cancelled):
        self.content = content
        self.digest = digest
        self.size = size
        self.cancelled = cancelled
        self.done = False
        self.fd = -1
        self.offset = 0
        algorithm, value = split_digest(digest) if digest else ("sha256", "")
        self.algorithm = algorithm
        self.path = f"{content.roots.ingest}/{algorithm}-{value}" if digest else f"{content.roots.ingest}/new-{os.urandom(8).hex()}"
        self.hash = hashlib.new(algorithm)

    def __enter__(self):
        with disk_errors(f"write blob {self.digest}".rstrip()):
            self.content.make_ingest()
            while not self.done and not self._open():
                pass
        return self

    def _open(self):
        """Whether the file is ours: locked, and still the one at its path (its last owner may have published or removed it)."""
        if self.digest and self.content.has(self.digest):
            self.done = True
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._wait_for_lock(fd)
            if not _is_at(fd, self.path):
                os.close(fd)
                return False
            self._take(fd)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        return True

    def _wait_for_lock(self, fd):
        while not _try_lock(fd):
            if self.cancelled:
                self.cancelled()
            time.sleep(LOCK_POLL_S)  # flock(2) has no time-out, and a thread in it can't be called off

    def _take(self, fd):
        """Hash what an earlier try has left."""
        there = os.fstat(fd).st_size
        if self.size and there > self.size:
            os.ftruncate(fd, 0)
        while data := os.read(fd, CHUNK_BYTES):
            self.hash.update(data)
            self.offset += len(data)

    def write(self, data):
        """Append bytes.  Raises ImageProblem past the announced size, MiniDockerError where the disk says no (then nothing is kept)."""
        if self.size and self.offset + len(data) > self.size:
            self._forget()
            raise ImageProblem(f"blob {self.digest}: more than the {self.size} bytes that were announced")
        try:
            with disk_errors(f"write blob {self.digest}".rstrip()):
                view = memoryview(data)
                while view:
                    view = view[os.write(self.fd, view) :]
        except MiniDockerError:
            self._forget()
            raise
        self.hash.update(data)
        self.offset += len(data)

    def restart(self):
        """Throw away what is there, and begin anew."""
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        self.hash = hashlib.new(self.algorithm)
        self.offset = 0

    def commit(self):
        """Verify, make durable, publish.  Returns the digest.  Raises ImageProblem, and then nothing is kept."""
        found = f"{self.algorithm}:{self.hash.hexdigest()}"
        self._verify(found)
        target = self.content.path(found)
        try:
            with disk_errors(f"write blob {found}"):
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
                os.fsync(self.fd)
                os.rename(self.path, target)
                os.fchmod(self.fd, 0o444)  # now: who waits for the lock must be able to open the file at the old path
                _sync_folder(os.path.dirname(target))
        except MiniDockerError:
            self._forget()
            raise
        self.done = True
        self.digest = found
        return found

    def _verify(self, found):
        if self.size and self.offset != self.size:
            self._forget()
            raise ImageProblem(f"blob {self.digest}: {self.offset} bytes came, {self.size} were announced")
        if self.digest and found != self.digest:
            self._forget()
            raise ImageProblem(f"blob {self.digest}: the content that came has the digest {found}")

    def _forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def __exit__(self, *_):
        if self.fd >= 0:
            if not self.done and (not self.digest or not self.offset):
                self._forget()
            os.close(self.fd)
            self.fd = -1


def _try_lock(fd):
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd, path):
    """Whether the path leads to the open file."""
    mine = os.fstat(fd)
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _names(folder):
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
