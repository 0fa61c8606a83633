"""A config.json that is broken, hostile or wrong: one line that says where and what, exit status 1, and nothing is left."""

import copy
import os
import shutil

import pytest
import support
from rich_bundles import rich

from pyoci.errors import AlreadyExists, ConfigError, OperationFailed, PyociError

pytestmark = pytest.mark.needs("root", "busybox", "init", "shim")

HUGE = 1 << 70
WRONG_VALUES = {
    "null": None, "number": 7, "negative": -1, "huge": HUGE, "fraction": 1.5, "true": True, "string": support.TOKEN, "empty": "",
    "nul": "a\0b", "newline": "a\nb", "list": [], "list of lists": [[]], "object": {}, "object of objects": {"a": {}},
}  # fmt: skip


# --- the file


def broken(text, **more):
    return pytest.param(text, **more)


@pytest.mark.parametrize(
    "text, said",
    [
        pytest.param(b"", "broken JSON: the document is empty", id="empty"),
        pytest.param(b"{", "broken JSON at line 1, column 2: ", id="cut"),
        pytest.param(b'{"ociVersion": "1.0.0",}', "broken JSON at line 1, column ", id="comma"),
        pytest.param(b"\xff\xfe{}", "not UTF-8: byte 0xff at offset 0", id="no-utf8"),
        pytest.param(b'{"a": "\\udc80"}', "\\udc80 is half of a surrogate pair", id="half-a-pair"),
        pytest.param(b"[]", "expected an object, got an array", id="array"),
        pytest.param(b"null", "expected an object, got null", id="null"),
        pytest.param(b"3", "expected an object, got a number", id="number"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep-list"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply", id="deep-object"),
        pytest.param(b'{"a": ' + b"9" * 10_000 + b"}", "too many digits", id="digits"),
        pytest.param(b'{"a": NaN}', "NaN is not a JSON number", id="nan"),
        pytest.param(b"{}", "ociVersion: missing", id="nothing-in-it"),
        pytest.param(b" " * (100 << 20), "larger than 16777216 bytes", id="huge"),
    ],
)
def test_broken_document_is_one_line(bundle, pyoci, tmp_path, text, said):
    (bundle.path / "config.json").write_bytes(text)
    before = support.snapshot(tmp_path)
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert line.startswith("pyoci create failed: config.json: ")
    assert said in line
    support.assert_unchanged(before)


def test_missing_config_is_told_with_the_bundle(bundle, pyoci):
    os.unlink(bundle.path / "config.json")
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert line == f"pyoci create failed: config.json: JSON specification file config.json not found in {bundle.path}"


def test_missing_bundle_is_told(pyoci, tmp_path):
    line = pyoci.fails("create", "--bundle", tmp_path / "nothing", pyoci.new_id())
    assert "nothing" in line


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["directory", "fifo"])
def test_config_that_is_no_file_is_refused(bundle, pyoci, make):
    os.unlink(bundle.path / "config.json")
    make(bundle.path / "config.json")
    assert "config.json: " in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id(), timeout_s=10)


# --- the rootfs


def test_missing_rootfs_is_told(bundle, pyoci):
    shutil.rmtree(bundle.rootfs)
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert "config.json:1: root.path: 'rootfs': no such file or directory (config.md#root)" in line


def test_rootfs_that_is_a_file_is_refused(bundle, pyoci):
    shutil.rmtree(bundle.rootfs)
    bundle.rootfs.write_text("")
    assert "root.path: 'rootfs' is no directory (config.md#root)" in pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())


def test_rootfs_that_is_a_link_is_refused(bundle, pyoci):
    bundle.rootfs.rename(bundle.path / "real")
    bundle.rootfs.symlink_to("real")
    line = pyoci.fails("create", "--bundle", bundle.path, pyoci.new_id())
    assert f"root.path: invalid rootfs: not an absolute path, or a symlink: 'rootfs' leads to {bundle.path}/real" in line


# --- every field


def every_field(value, path=()):
    """The paths of all members and items below."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from every_field(inner, (*path, key))


def changed(config, path, value):
    found = copy.deepcopy(config)
    owner = found
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    return found


def roots_of(path):
    """The spellings by which a message may name the place: it, or what is around it."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
        yield text
    yield from (str(key) for key in path if not isinstance(key, int))


@pytest.fixture
def case(open_path):
    made = rich(open_path)
    made.bundle.config["process"].update(apparmorProfile="", selinuxLabel="")
    yield made
    made.close()


def sections():
    return ("ociVersion", "process", "root", "hostname", "mounts", "hooks", "annotations", "linux")


@pytest.mark.parametrize("section", sections())
def test_wrong_value_anywhere_is_told_with_its_place_or_does_no_harm(case, section):
    """What is refused is refused in one line that names the place; what is accepted can be created and deleted."""
    config = case.bundle.config
    before = support.snapshot()
    found = []
    paths = [path for path in every_field(config) if path[0] == section]
    for path in paths:
        for name, value in WRONG_VALUES.items():
            case.bundle.config = changed(config, path, value)
            found += [f"{'.'.join(map(str, path))} = {name}: {text}" for text in complaints(case, path, value)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)
    support.assert_unchanged(before)


def complaints(case, path, value):
    case.bundle.write()
    runtime = case.runtime()
    name = f"{support.TOKEN}-field"
    try:
        runtime.create(name, str(case.bundle.path), **case.options)
    except (ConfigError, OperationFailed) as error:
        line = str(error)
        if not line.isprintable():
            # The command line escapes what it prints; the library gives what the user wrote.
            line = line.replace("\n", "").replace("\0", "")
        # What is missed elsewhere for want of this (namespaces, a /dev/pts) is told with the place that misses it.
        absent = not value or value == {"a": {}} or path[-1] == "destination"
        named = roots_of(path) if not absent else [error.path if isinstance(error, ConfigError) else error.origin]
        if not any(place and place in line for place in named):
            yield f"does not name the place: {line}"
    except PyociError as error:
        yield f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - a traceback is what must not come
        yield f"internal error: {type(error).__name__}: {error}"
    else:
        runtime.delete(name, force=True)
        os.unlink(case.options["pid_file"])
    case.tidy()
    if os.listdir(case.root) not in ([], ["@seccomp"]):
        yield f"left {os.listdir(case.root)}"
        runtime.delete(name, force=True)


@pytest.mark.parametrize(
    "path, value",
    [
        (("linux", "namespaces", 0, "type"), "pod"),
        (("linux", "rootfsPropagation"), "rsomething"),
        (("linux", "personality", "domain"), "BSD"),
        (("linux", "seccomp", "defaultAction"), "SCMP_ACT_PRAY"),
        (("linux", "seccomp", "syscalls", 0, "action"), "SCMP_ACT_PRAY"),
        (("linux", "devices", 0, "type"), "q"),
        (("linux", "resources", "devices", 0, "access"), "rx"),
        (("process", "rlimits", 0, "type"), "RLIMIT_PATIENCE"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_unknown_word_is_quoted_with_its_place(case, pyoci, path, value):
    case.bundle.config = changed(case.bundle.config, path, value)
    case.bundle.write()
    line = pyoci.fails("create", "--bundle", case.bundle.path, pyoci.new_id())
    place = list(roots_of(path))[len(path) - 1]
    assert f"config.json:1: {place}: " in line
    assert f"'{value}'" in line or f'"{value}"' in line


# --- the id


@pytest.mark.parametrize("name", ["a/b", "../a", "..", ".", "a b", "ä", "a\nb", "a" * 2000, "a\\b", "@seccomp", "a*", "-"], ids=ascii)
def test_id_that_is_no_name_is_refused_before_anything(bundle, pyoci, tmp_path, name):
    before = support.snapshot(tmp_path)
    for verb in (("create", "--bundle", bundle.path), ("state",), ("delete", "--force"), ("start",), ("kill",)):
        done = pyoci(*verb, "--", name) if name == "-" else pyoci(*verb, name)
        if name == "-" and verb[0] != "create":
            assert "container does not exist: -" in done.stderr or done.returncode == 0
        elif name != "-":
            support.assert_one_line(done)
            assert "invalid container ID format: " in done.stderr
    if name == "-":
        pyoci("delete", "--force", "--", name)
        shutil.rmtree(pyoci.root, ignore_errors=True)
    support.assert_unchanged(before)


def test_id_with_a_nul_is_refused_by_the_library(bundle, pyoci):
    for name in ("a\0b", "", "a" * 1025):
        with pytest.raises(PyociError, match="container id cannot be empty|invalid container ID format"):
            pyoci.api().create(name, str(bundle.path))


def test_longest_id_works(bundle, pyoci):
    """A name in a directory has 255 bytes."""
    name = (pyoci.new_id() + "x" * 255)[:255]
    pyoci.create(bundle, name)
    assert pyoci.state(name)["status"] == "created"


def test_id_that_is_too_long_for_a_file_name_is_one_line(bundle, pyoci):
    line = pyoci.fails("create", "--bundle", bundle.path, "a" * 300)
    assert "File name too long (ENAMETOOLONG)" in line


def test_second_create_of_an_id_does_not_disturb_the_first(bundle, pyoci):
    name = pyoci.start(bundle)
    before = support.snapshot(pyoci.root)
    state = pyoci.state(name)
    line = pyoci.fails("create", "--bundle", bundle.path, name)
    assert line == f"pyoci create failed: {AlreadyExists(name)}"
    support.assert_unchanged(before)
    assert pyoci.state(name) == state
