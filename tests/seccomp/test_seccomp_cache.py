"""The cache of filters: what is a hit, what must never be one, and what others can do to the directory."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import pytest

from pyoci.errors import ConfigError
from pyoci.seccomp import cache, program

pytestmark = pytest.mark.needs("libseccomp")
PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "nonsense"], "action": "SCMP_ACT_ALLOW"}]}
WARNING = 'linux.seccomp.syscalls[0].names[1]: unknown system call "nonsense" skipped'
TREE = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    """A directory with one entry, PROFILE's."""
    path = tmp_path / "filters"
    cache.load(PROFILE, str(path))
    assert len(list(path.iterdir())) == 1
    return path


@pytest.fixture
def compilations(monkeypatch):
    """The objects that were compiled."""
    seen = []
    compile_filter = program.compile_filter
    monkeypatch.setattr(program, "compile_filter", lambda seccomp: seen.append(seccomp) or compile_filter(seccomp))
    return seen


def entry_of(folder):
    (entry,) = folder.iterdir()
    return entry


def expected():
    made = program.compile_filter(PROFILE)
    return made.bpf, made.flags


def test_first_load_makes_a_closed_directory_and_file(tmp_path):
    folder = tmp_path / "filters"
    before = os.umask(0)
    try:
        assert cache.load(PROFILE, str(folder)) == expected()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert entry_of(folder).stat().st_mode & 0o7777 == 0o600


def test_second_load_compiles_nothing(folder, compilations):
    assert cache.load(PROFILE, str(folder)) == expected()
    assert compilations == [PROFILE]  # by expected() itself


def test_hit_tells_the_warnings_again(folder, compilations):
    said = []
    cache.load(PROFILE, str(folder), said.append)
    assert (said, compilations) == ([WARNING], [])


def test_hit_in_another_process_maps_no_libseccomp(folder):
    text = (
        "import json, sys\nfrom pyoci.seccomp import cache\n"
        "bpf, flags = cache.load(json.loads(sys.argv[1]), sys.argv[2])\n"
        "print(bpf.hex(), flags, 'libseccomp' in open('/proc/self/maps').read(), 'pyoci.seccomp.program' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", text, json.dumps(PROFILE), folder], capture_output=True, text=True, check=True, cwd=TREE)
    bpf, flags = expected()
    assert done.stdout.split() == [bpf.hex(), str(flags), "False", "False"]


def test_no_object_and_no_filter_are_not_stored(tmp_path):
    assert cache.load(None, str(tmp_path / "filters")) is None
    assert cache.load({}, str(tmp_path / "filters")) is None
    assert not (tmp_path / "filters").exists()


def test_refusal_is_the_compiler_s(tmp_path):
    with pytest.raises(ConfigError, match="linux.seccomp.defaultAction"):
        cache.load({"defaultAction": "DENY"}, str(tmp_path / "filters"))


def test_without_a_directory_every_load_compiles(compilations):
    assert [cache.load(PROFILE, "") for _ in range(2)] == [expected()] * 2
    assert len(compilations) == 3  # one is expected()'s


# What is the same, and what isn't.


def test_key_is_of_the_content_and_not_of_the_objects():
    copy = json.loads(json.dumps(PROFILE))
    one, same, interned = b"read".decode(), b"read".decode(), "read"
    assert cache.key_of(copy) == cache.key_of(PROFILE)
    assert cache.key_of({"names": [one, one]}) == cache.key_of({"names": [interned, same]})


@pytest.mark.parametrize("other", [1.0, True, "1", [1], None, 2, 2**64])
def test_key_tells_values_apart(other):
    assert cache.key_of({"value": 1}) != cache.key_of({"value": other})


@pytest.mark.parametrize("attribute", ["release", "machine"])
def test_key_tells_hosts_apart(monkeypatch, attribute):
    class Host:
        release, machine = os.uname().release, os.uname().machine

    before = cache.key_of(PROFILE)
    setattr(Host, attribute, "other")
    monkeypatch.setattr(cache.posix, "uname", lambda: Host)
    assert cache.key_of(PROFILE) != before


def test_key_tells_releases_of_pyoci_apart(monkeypatch):
    before = cache.key_of(PROFILE)
    monkeypatch.setattr(cache, "__version__", "0.0.0")
    assert cache.key_of(PROFILE) != before


def test_object_too_deep_for_a_key_is_still_compiled(tmp_path):
    deep = []
    for _ in range(3000):
        deep = [deep]
    assert cache.key_of(deep) is None
    assert cache.load({**PROFILE, "com.example.deep": deep}, str(tmp_path / "filters")) == expected()


def test_other_libseccomp_makes_the_entry_stale(folder, compilations, monkeypatch):
    key = entry_of(folder).name
    library = folder.parent / "libseccomp.so.2"
    library.write_text("one")
    makers = cache.identities([os.fsencode(library)])
    entry_of(folder).write_bytes(cache.entry_of(key, b"B" * 8, 4, makers, b""))
    assert cache.load(PROFILE, str(folder)) == (b"B" * 8, 4)
    library.write_text("another")
    assert cache.load(PROFILE, str(folder))[0] != b"B" * 8
    assert compilations == [PROFILE]


def test_entry_names_the_library_and_the_compiler(folder):
    content = entry_of(folder).read_bytes()
    for name in (b"libseccomp.so.2\t", b"program.py\t", b"layers.py\t", b"enosys.py\t", b"binding.py\t"):
        assert name in content


def test_entry_whose_makers_are_gone_is_stale(folder, compilations):
    key = entry_of(folder).name
    entry_of(folder).write_bytes(cache.entry_of(key, b"B" * 8, 4, b"/nonexistent\t1 1 1 1 1", b""))
    assert cache.load(PROFILE, str(folder))[0] != b"B" * 8


def test_entry_without_makers_is_stale(folder):
    key = entry_of(folder).name
    entry_of(folder).write_bytes(cache.entry_of(key, b"B" * 8, 4, b"", b""))
    assert cache.load(PROFILE, str(folder))[0] != b"B" * 8


# Hostile and broken directories.


def forged(folder):
    """An entry that would pass if it were where it should be: another's filter, right in every digest."""
    entry = entry_of(folder)
    parts = entry.read_bytes()
    makers = parts[cache.HEADER.size + cache.HEADER.unpack_from(parts)[3] :][: cache.HEADER.unpack_from(parts)[4]]
    return cache.entry_of(entry.name, b"EVIL----", 0, makers, b"")


def is_ignored(folder):
    return cache.load(PROFILE, str(folder)) == expected()


def test_forged_entry_of_the_tests_would_pass(folder):
    entry_of(folder).write_bytes(forged(folder))
    assert cache.load(PROFILE, str(folder)) == (b"EVIL----", 0)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o1777, 0o701])
def test_directory_open_to_others_is_no_cache(folder, mode, compilations):
    entry_of(folder).write_bytes(forged(folder))
    folder.chmod(mode)
    said = []
    assert cache.load(PROFILE, str(folder), said.append) == expected()
    assert said == [f"seccomp cache: {folder}: not a directory of the caller's own with mode 0700, so filters are not kept", WARNING]


@pytest.mark.needs("root")
def test_directory_of_another_owner_is_no_cache(folder):
    entry_of(folder).write_bytes(forged(folder))
    os.chown(folder, 12345, -1)
    assert is_ignored(folder)


def test_directory_that_is_a_symbolic_link_is_no_cache(folder):
    entry_of(folder).write_bytes(forged(folder))
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert is_ignored(link)


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), lambda path: os.mkfifo(path)], ids=["file", "fifo"])
def test_directory_that_is_none_is_no_cache(tmp_path, make):
    make(tmp_path / "filters")
    assert is_ignored(tmp_path / "filters")


def test_directory_without_a_parent_is_no_cache(tmp_path):
    said = []
    assert cache.load(PROFILE, str(tmp_path / "a" / "b"), said.append) == expected()
    assert said[0] == f"seccomp cache: {tmp_path}/a/b: No such file or directory"


@pytest.mark.needs("root")
def test_entry_of_another_owner_is_replaced(folder):
    entry = entry_of(folder)
    entry.write_bytes(forged(folder))
    os.chown(entry, 12345, -1)
    assert is_ignored(folder)
    assert entry.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("mode", [0o640, 0o602, 0o666])
def test_entry_open_to_others_is_replaced(folder, mode):
    entry = entry_of(folder)
    entry.write_bytes(forged(folder))
    entry.chmod(mode)
    assert is_ignored(folder)
    assert entry.stat().st_mode & 0o777 == 0o600


def test_entry_that_is_a_symbolic_link_is_replaced(folder):
    entry = entry_of(folder)
    target = folder.parent / "target"
    target.write_bytes(forged(folder))
    target.chmod(0o600)
    entry.unlink()
    entry.symlink_to(target)
    assert is_ignored(folder)
    assert not entry.is_symlink()
    assert b"EVIL" in target.read_bytes()


def test_entry_that_is_a_fifo_is_replaced_without_waiting(folder):
    entry = entry_of(folder)
    entry.unlink()
    os.mkfifo(entry, 0o600)
    assert is_ignored(folder)
    assert entry.is_file()


def test_entry_that_is_a_directory_is_replaced_or_left(folder):
    entry = entry_of(folder)
    entry.unlink()
    entry.mkdir(mode=0o700)
    assert is_ignored(folder)
    assert entry.is_file()
    entry.unlink()
    entry.mkdir(mode=0o700)
    (entry / "x").touch()
    assert is_ignored(folder)
    assert sorted(folder.iterdir()) == [entry]


def test_entry_cut_anywhere_is_replaced(folder, compilations):
    entry = entry_of(folder)
    whole = entry.read_bytes()
    for length in [0, 1, cache.HEADER.size, len(whole) // 2, len(whole) - cache.DIGEST_BYTES, len(whole) - 1]:
        entry.write_bytes(whole[:length])
        compilations.clear()
        cache.load(PROFILE, str(folder))
        assert (length, compilations, entry.read_bytes()) == (length, [PROFILE], whole)


def test_entry_with_any_byte_changed_is_not_used(folder):
    entry = entry_of(folder)
    whole = entry.read_bytes()
    for at in range(len(whole)):
        assert cache.parse(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], entry.name) is None
    assert cache.parse(whole, entry.name) is not None


def test_entry_under_another_name_is_not_used(folder):
    other = {**PROFILE, "defaultErrnoRet": 2}
    entry_of(folder).rename(folder / cache.key_of(other))
    assert cache.load(other, str(folder)) != expected()


@pytest.mark.parametrize("change", [{"MAGIC": b"pyociOLD"}, {"FORMAT": 99}])
def test_entry_of_another_layout_is_not_used(folder, monkeypatch, change):
    entry = entry_of(folder)
    content = entry.read_bytes()
    for name, value in change.items():
        monkeypatch.setattr(cache, name, value)
    assert cache.parse(content, entry.name) is None


def test_lengths_that_do_not_add_up_are_not_used(folder):
    name = entry_of(folder).name
    body = cache.HEADER.pack(cache.MAGIC, cache.FORMAT, 0, 2**32 - 8, 0, 16) + b"x" * 8
    assert cache.parse(body + cache.digest_of(body, name), name) is None


def test_huge_entry_is_not_read(folder):
    entry = entry_of(folder)
    with entry.open("r+b") as file:
        file.truncate(2**40)
    assert is_ignored(folder)
    assert entry.stat().st_size < cache.MOST_ENTRY_BYTES


# A full house, and many writers.


def numbered(number):
    return {**PROFILE, "com.example.number": number}


def test_oldest_entries_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MOST_ENTRIES", 3)
    folder = tmp_path / "filters"
    for number in range(6):
        cache.load(numbered(number), str(folder))
        os.utime(folder / cache.key_of(numbered(number)), ns=(number, number))
    assert {path.name for path in folder.iterdir()} == {cache.key_of(numbered(number)) for number in (3, 4, 5)}


def test_what_a_dead_writer_left_is_removed_and_what_a_live_one_writes_is_not(folder):
    dead, live = folder / ".dead", folder / ".live"
    dead.touch()
    live.touch()
    os.utime(dead, (0, 0))
    cache.load(numbered(1), str(folder))
    assert (dead.exists(), live.exists()) == (False, True)


def test_full_disk_leaves_nothing_and_still_gives_the_filter(folder, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(cache.posix, "write", lambda fd, data: real_write(fd, data[:100]))
    said = []
    assert cache.load(numbered(1), str(folder), said.append) == expected()
    assert said == [f"seccomp cache: {folder}: No space left on device", WARNING]
    assert len(list(folder.iterdir())) == 1


def test_many_warnings_do_not_make_an_entry_too_large(tmp_path, compilations):
    folder = str(tmp_path / "filters")
    profile = {**PROFILE, "syscalls": [{"names": [f"nonsense_{n}" for n in range(5000)], "action": "SCMP_ACT_ALLOW"}]}
    first, second = [], []
    cache.load(profile, folder, first.append)
    cache.load(profile, folder, second.append)
    assert (len(first), len(second), len(compilations)) == (5000, 1, 1)


def load_all(folder):
    return [cache.load(numbered(number), folder) for number in [*range(8), *range(8)]]


def test_many_processes_at_once_agree(tmp_path):
    folder = tmp_path / "filters"
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        answers = list(pool.map(load_all, [str(folder)] * 12))
    assert answers == [[expected()] * 16] * 12
    assert {path.name for path in folder.iterdir()} == {cache.key_of(numbered(number)) for number in range(8)}
