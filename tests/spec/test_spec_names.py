"""names.py: the numbers are the kernel's, and the two parsers are total."""

import pathlib
import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.errors import UsageError
from pyoci.spec import names
from pyoci.spec.names import (
    CAPABILITIES,
    MOUNT_ATTR_ATIME_MASK,
    MOUNT_OPTIONS,
    NAMESPACES,
    RLIMITS,
    SIGNALS,
    parse_mount_options,
    signal_number,
)


@pytest.mark.parametrize(
    ("word", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigterm", 15), ("term", 15), ("9", 9), ("0", 0), ("64", 64), ("SIGRTMIN", 34),
     ("RTMIN+3", 37), ("rtmin+0", 34), ("SIGRTMAX-1", 63), ("RTMAX", 64), ("RTMIN+30", 64), ("CLD", 17), ("POLL", 29)],
)  # fmt: skip
def test_signal_is_known_by_name_and_number(word, number):
    assert signal_number(word) == number


@pytest.mark.parametrize(
    "word",
    ["", "SIG", "65", "-1", "+9", "9 ", "1_5", "٩", "²", "SIGSIGTERM", "RTMIN+", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN3", "RTMAX-31",
     "RT", "99999999999999999999", "FOO"],
)  # fmt: skip
def test_unknown_signal_is_refused_with_the_text_of_runc(word):
    with pytest.raises(UsageError) as caught:
        signal_number(word)
    assert str(caught.value) == f'unknown signal "{word}"'


@given(st.text() | st.from_regex(r"(SIG)?RT(MIN|MAX)[+-][0-9]+", fullmatch=True))
def test_signal_parser_is_total(word):
    try:
        assert 0 <= signal_number(word) <= 64
    except UsageError as error:
        assert "\n" not in str(error)


def test_signal_numbers_are_those_of_this_system():
    ours = {"SIG" + name: number for name, number in SIGNALS.items() if name != "UNUSED"}
    theirs = {name: number.value for name, number in signal.Signals.__members__.items() if not name.startswith("SIGRT")}
    assert theirs.items() <= ours.items()


def test_rlimit_numbers_are_those_of_this_system():
    for name, number in RLIMITS.items():
        assert getattr(resource, name, number) == number
    assert sorted(RLIMITS.values()) == list(range(16))


def test_capability_numbers_are_dense():
    assert list(CAPABILITIES.values()) == list(range(41))


HEADERS = {"capability": CAPABILITIES, "sched": {"CLONE_NEW" + {"mount": "NS", "network": "NET"}.get(kind, kind.upper()): flag for kind, flag in NAMESPACES.items()}}


@pytest.mark.parametrize("header", HEADERS)
def test_numbers_are_those_of_the_kernel_headers(header):
    file = pathlib.Path(f"/usr/include/linux/{header}.h")
    if not file.is_file():
        pytest.skip("no kernel headers")
    defined = dict(line.split()[1:3] for line in file.read_text().splitlines() if line.startswith("#define") and len(line.split()) > 2)
    for name, number in HEADERS[header].items():
        assert int(defined[name], 0) == number


def test_mount_attributes_are_those_of_the_kernel_headers():
    file = pathlib.Path("/usr/include/linux/mount.h")
    if not file.is_file():
        pytest.skip("no kernel headers")
    words = [line.split() for line in file.read_text().splitlines()]
    defined = {line[1]: int(line[2], 0) for line in words if line[:1] == ["#define"] and len(line) > 2 and line[2][:2] == "0x"}
    attributes = {name: value for name, value in vars(names).items() if name.startswith("MOUNT_ATTR_")}
    assert attributes.pop("MOUNT_ATTR_ATIME_MASK") == defined["MOUNT_ATTR__ATIME"]
    assert attributes.items() <= defined.items()


def parsed(*options):
    """The MountOptions as a dict of what is not empty."""
    result = parse_mount_options(options)
    return {name: getattr(result, name) for name in result.__slots__ if getattr(result, name)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {}),
        (("defaults", "silent", "loud", "iversion", "noiversion", ""), {}),
        (("ro",), {"attr_set": 0x1}),
        (("ro", "rw"), {"attr_clr": 0x1}),
        (("rw", "ro"), {"attr_set": 0x1}),
        (("nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"), {"attr_set": 0x20008E}),
        (("suid", "dev", "exec", "diratime", "symfollow"), {"attr_clr": 0x20008E}),
        (("noatime",), {"attr_set": 0x10, "attr_clr": 0x70}),
        (("relatime",), {"attr_clr": 0x70}),
        (("strictatime",), {"attr_set": 0x20, "attr_clr": 0x70}),
        (("noatime", "strictatime"), {"attr_set": 0x20, "attr_clr": 0x70}),
        (("noatime", "relatime"), {"attr_clr": 0x70}),
        (("noatime", "atime"), {"attr_clr": 0x70}),
        (("strictatime", "atime"), {"attr_set": 0x20, "attr_clr": 0x70}),
        (("strictatime", "nostrictatime"), {"attr_clr": 0x70}),
        (("noatime", "norelatime"), {"attr_set": 0x10, "attr_clr": 0x70}),
        (("rro", "rnosuid", "rnodev", "rnoexec", "rnodiratime", "rnosymfollow"), {"rattr_set": 0x20008F}),
        (("rrw", "rsuid", "rdev", "rexec", "rdiratime", "rsymfollow"), {"rattr_clr": 0x20008F}),
        (("rro", "ro", "rrw"), {"attr_set": 0x1, "rattr_clr": 0x1}),
        (("rnoatime",), {"rattr_set": 0x10, "rattr_clr": 0x70}),
        (("rrelatime",), {"rattr_clr": 0x70}),
        (("rstrictatime", "ratime"), {"rattr_set": 0x20, "rattr_clr": 0x70}),
        (("rnoatime", "rnostrictatime"), {"rattr_set": 0x10, "rattr_clr": 0x70}),
        (("rnorelatime",), {"rattr_clr": 0x70}),
        (("shared", "slave", "private", "unbindable"), {"propagation": [1 << 20, 1 << 19, 1 << 18, 1 << 17]}),
        (("rslave", "rshared"), {"propagation": [0x84000, 0x104000]}),
        (("rprivate", "runbindable"), {"propagation": [0x44000, 0x24000]}),
        (("sync", "dirsync", "lazytime", "mand"), {"sb_flags": ["sync", "dirsync", "lazytime", "mand"]}),
        (("sync", "async", "nolazytime", "nomand"), {"sb_flags": ["async", "nolazytime", "nomand"]}),
        (("dirsync", "dirsync", "async", "sync"), {"sb_flags": ["dirsync", "sync"]}),
        (("bind",), {"bind": True}),
        (("rbind",), {"bind": True, "recursive": True}),
        (("remount", "tmpcopyup"), {"remount": True, "tmpcopyup": True}),
        (("idmap",), {"idmap": "idmap"}),
        (("ridmap",), {"idmap": "ridmap"}),
        (("mode=755", "newinstance", "size=64k", "acl"), {"data": ["mode=755", "newinstance", "size=64k", "acl"]}),
    ],
)  # fmt: skip
def test_mount_options_are_sorted_by_who_carries_them_out(options, expected):
    assert parsed(*options) == expected


@given(st.lists(st.sampled_from(sorted(MOUNT_OPTIONS)) | st.text(), max_size=8))
def test_mount_attributes_are_what_mount_setattr_accepts(options):
    result = parse_mount_options(options)
    for attr_set, attr_clr in ((result.attr_set, result.attr_clr), (result.rattr_set, result.rattr_clr)):
        assert attr_set & attr_clr & ~MOUNT_ATTR_ATIME_MASK == 0
        assert attr_clr & MOUNT_ATTR_ATIME_MASK in (0, MOUNT_ATTR_ATIME_MASK)
        assert attr_set & MOUNT_ATTR_ATIME_MASK in (0, 0x10, 0x20)
        assert not attr_set & MOUNT_ATTR_ATIME_MASK or attr_clr & MOUNT_ATTR_ATIME_MASK
    assert result.data == [option for option in options if option and option not in MOUNT_OPTIONS]


def test_every_option_has_its_recursive_twin():
    """The specification's own table lacks rnodev; its list of features has it."""
    for option, (what, bits) in list(MOUNT_OPTIONS.items()):
        if what < 4:
            assert MOUNT_OPTIONS["r" + option] == (what + 16, bits)
