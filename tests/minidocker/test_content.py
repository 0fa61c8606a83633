"""content.py: blobs are whole or not there, resumable, written once at a time, and collected only when nobody needs them."""

import errno
import hashlib
import os
import subprocess
import sys
import threading

import pytest

from pyoci.minidocker.errors import ImageProblem, MiniDockerError
from pyoci.minidocker.images.content import Content, digest_of

DATA = b"some content" * 1000
DIGEST = digest_of(DATA)


@pytest.fixture
def content(roots):
    return Content(roots)


def ingested(content):
    """The names of unfinished blobs."""
    return sorted(name for name in os.listdir(content.roots.ingest) if name != "gc.lock")


def test_written_blob_is_published_under_its_digest(content):
    with content.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:5])
        writer.write(DATA[5:])
        assert not content.has(DIGEST)
        assert writer.commit() == DIGEST
    assert content.has(DIGEST)
    assert content.read(DIGEST) == DATA
    assert content.path(DIGEST) == f"{content.roots.blobs}/{DIGEST[7:]}"
    assert ingested(content) == []


def test_blob_of_unknown_digest_gets_its_digest_at_commit(content):
    with content.writer() as writer:
        writer.write(DATA)
        assert writer.commit() == DIGEST
    assert content.read(DIGEST) == DATA


def test_unfinished_blob_of_unknown_digest_leaves_nothing(content):
    with pytest.raises(KeyError), content.writer() as writer:
        writer.write(DATA)
        raise KeyError
    assert ingested(content) == []


def test_unfinished_blob_is_gone_on_with(content):
    with pytest.raises(KeyError), content.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:100])
        raise KeyError
    with content.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == 100
        writer.write(DATA[100:])
        writer.commit()
    assert content.read(DIGEST) == DATA


def test_longer_leftover_than_announced_is_thrown_away(content):
    with content.writer(DIGEST) as writer:
        writer.write(DATA + b"more")
    with content.writer(DIGEST, len(DATA)) as writer:
        assert writer.offset == 0
        writer.write(DATA)
        writer.commit()


def test_wrong_content_is_refused_and_not_kept(content):
    with pytest.raises(ImageProblem) as caught, content.writer(DIGEST, len(DATA)) as writer:
        writer.write(b"x" * len(DATA))
        writer.commit()
    assert str(caught.value) == f"blob {DIGEST}: the content that came has the digest {digest_of(b'x' * len(DATA))}"
    assert ingested(content) == []


def test_more_content_than_announced_is_refused_at_once(content):
    with pytest.raises(ImageProblem, match="more than the 4 bytes that were announced"), content.writer(DIGEST, 4) as writer:
        writer.write(b"12345")
    assert ingested(content) == []


def test_less_content_than_announced_is_refused(content):
    with pytest.raises(ImageProblem, match=f"4 bytes came, {len(DATA)} were announced"), content.writer(DIGEST, len(DATA)) as writer:
        writer.write(b"1234")
        writer.commit()
    assert ingested(content) == []


def test_sha512_is_verified_too(content):
    digest = content.add_bytes(DATA, "sha512")
    assert digest == f"sha512:{hashlib.sha512(DATA).hexdigest()}"
    assert content.read(digest) == DATA


@pytest.mark.parametrize("digest", ["", "sha256:../../x", "sha256:" + "A" * 64, "md5:" + "a" * 32, None, "sha256:" + "a" * 64 + "\n"])
def test_only_a_digest_becomes_a_path(content, digest):
    with pytest.raises(ImageProblem, match="not a digest"):
        content.path(digest)


def test_missing_blob_is_named(content):
    with pytest.raises(ImageProblem, match=f"blob {DIGEST}: not in "):
        content.read(DIGEST)


def test_damaged_blob_is_seen(content):
    content.add_bytes(DATA)
    os.chmod(content.path(DIGEST), 0o600)
    with open(content.path(DIGEST), "r+b") as file:
        file.write(b"S")
    with pytest.raises(ImageProblem, match="damaged on disk"):
        content.read(DIGEST)


def test_large_blob_is_not_read_as_a_document(content):
    content.add_bytes(DATA)
    with pytest.raises(ImageProblem, match="12000 bytes, more than the 100 "):
        content.read(DIGEST, limit_bytes=100)


def test_blob_that_is_there_is_not_written_again(content):
    content.add_bytes(DATA)
    with content.writer(DIGEST, len(DATA)) as writer:
        assert writer.done


def test_second_writer_waits_for_the_first_and_finds_its_work_done(content):
    found = []

    def second():
        with content.writer(DIGEST, len(DATA)) as writer:
            found.append(writer.done)

    with content.writer(DIGEST, len(DATA)) as writer:
        thread = threading.Thread(target=second)
        thread.start()
        writer.write(DATA)
        assert not found
        writer.commit()
    thread.join(10)
    assert found == [True]


def test_second_writer_goes_on_where_the_first_gave_up(content):
    found = []

    def second():
        with content.writer(DIGEST, len(DATA)) as writer:
            found.append(writer.offset)

    with content.writer(DIGEST, len(DATA)) as writer:
        thread = threading.Thread(target=second)
        thread.start()
        writer.write(DATA[:7])
    thread.join(10)
    assert found == [7]


def test_waiting_writer_can_be_called_off(content):
    class Cancelled(Exception):
        pass

    def cancelled():
        raise Cancelled

    with content.writer(DIGEST, len(DATA)) as writer:
        with pytest.raises(Cancelled):
            content.writer(DIGEST, len(DATA), cancelled).__enter__()
        writer.write(DATA)
        writer.commit()


def test_full_disk_is_one_line_and_keeps_nothing(content, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(MiniDockerError) as caught, content.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:100])
        monkeypatch.setattr(os, "write", full)
        writer.write(DATA[100:])
    monkeypatch.undo()
    assert str(caught.value) == f"write blob {DIGEST}: No space left on device (ENOSPC)"
    assert caught.value.hint
    assert ingested(content) == []


# --- garbage


def test_unneeded_blob_is_collected(content):
    kept = content.add_bytes(b"kept")
    content.add_bytes(DATA)
    assert content.collect(lambda: {kept}) == len(DATA)
    assert content.has(kept)
    assert not content.has(DIGEST)


def test_leased_blob_stays(content):
    with content.lease() as lease:
        lease.add(DIGEST)
        content.add_bytes(DATA)
        assert content.collect(set) == 0
        assert content.has(DIGEST)
    assert content.collect(set) == len(DATA)


def test_lease_of_a_dead_process_counts_for_nothing(content):
    content.add_bytes(DATA)
    script = (
        "import os, sys; from pyoci.minidocker.paths import Roots; from pyoci.minidocker.images.content import Content;"
        "held = Content(Roots(sys.argv[1], sys.argv[2])).lease(); held.__enter__().add(sys.argv[3]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, content.roots.data, content.roots.run, DIGEST], check=True)
    assert [name for name in ingested(content) if name.startswith("lease-")]
    assert content.collect(set) == len(DATA)
    assert ingested(content) == []


def test_unfinished_blob_is_collected_when_it_is_old(content):
    with content.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:100])
    assert content.collect(set) == 0
    assert content.collect(set, partial_age_s=0) == 100
    assert ingested(content) == []


def test_unfinished_blob_that_is_being_written_stays(content):
    with content.writer(DIGEST, len(DATA)) as writer:
        writer.write(DATA[:100])
        assert content.collect(set, partial_age_s=-60) == 0
        writer.write(DATA[100:])
        writer.commit()
    assert content.read(DIGEST) == DATA
