"""An operation in words, and the plan as a document that schemas/plan.schema.json describes."""

import json
import pathlib
import re

import jsonschema
import pytest
from hypothesis import given
from plan_decoder import WHOLE_OPERATIONS

from pyoci.cgroup.layout import Layout
from pyoci.compile.container import Facts, compile_container
from pyoci.plan import show
from pyoci.plan.ops import KINDS, TABLE, argument_names
from pyoci.plan.plan import Op, Plan
from pyoci.spec.decode import decode

TREE = pathlib.Path(__file__).parents[2]
SCHEMA = json.loads((TREE / "schemas/plan.schema.json").read_text())
BUNDLES = sorted(path.parent.name for path in TREE.glob("bundles/*/config.json"))
CONTROLLERS = ("cpu", "cpuset", "memory", "devices", "freezer", "pids", "blkio")
LAYOUT_V1 = Layout(
    1, {name: (f"/sys/fs/cgroup/{name}", "/") for name in CONTROLLERS}, dict.fromkeys(CONTROLLERS, "/"), frozenset(CONTROLLERS)
)
LAYOUT_V2 = Layout(2, {"": ("/sys/fs/cgroup", "/")}, {"": "/own.scope"}, frozenset(("cpu", "cpuset", "memory", "pids", "io")))
SAMPLE = {"i": 0x20020000, "f": -1, "s": "/text", "l": ["one\ttwo", "three\tfour"], "b": b"bytes"}


def judge(document):
    """Raise jsonschema.ValidationError unless the document is as the schema says."""
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft4Validator)


def sample(number):
    return Op(TABLE[number][0], "mounts[1]", *(SAMPLE[kind] for kind in KINDS[number]))


def plan_of(ops):
    plan = Plan()
    plan.create = list(ops)
    return plan


def plan_of_bundle(name, layout):
    facts = Facts(layout, (6, 1), f"/bundles/{name}/rootfs", seccomp=(0, b"12345678"))
    config = decode((TREE / "bundles" / name / "config.json").read_bytes())
    return compile_container("container", f"/bundles/{name}", config, facts)


@pytest.mark.parametrize("number", range(len(TABLE)), ids=[row[0] for row in TABLE])
def test_operation_is_told_in_one_line_of_words(number):
    words = show.describe(sample(number))
    assert words == words.strip() and "\n" not in words and words[0].islower()
    assert "None" not in words and "{" not in words


def test_operation_without_a_teller_is_told_by_its_name_and_arguments():
    untold = [row[0] for row in TABLE if row[0] not in show._TELLERS]
    assert untold == ["personality"]
    assert show.describe(Op("personality", "default", 8)) == "personality 8"


def test_no_teller_is_left_of_an_operation_that_is_gone():
    assert set(show._TELLERS) <= {row[0] for row in TABLE}


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Op("mount", "default", "tmpfs", "tmpfs", "/dev", 0x2 | 0x20, ["sync"], ["mode=755"], 0, 1),
         "mount tmpfs on /dev with sync,mode=755 (nosuid,strictatime)"),
        (Op("bind", "default", "/srv", "/data", -1, 1, 0x1, 0, 0x8, 0, 0), "bind /srv on /data (ro,noexec)"),
        (Op("open_source", "default", "/srv", "/data", 5), "open /srv for init"),
        (Op("propagate_root", "default", 0x80000 | 0x4000), "make / rslave"),
        (Op("spawn", "default", 0x20020000, 0, 0, None, 0), "start init in new namespaces: mount, pid"),
        (Op("spawn", "default", 0, 0, 0, None, 0), "start init in new namespaces: none"),
        (Op("make_device", "default", "/dev/null", 0o020000, 1, 3, 0o666, 0, 5, 1), "make /dev/null c 1:3 mode 0666 owner 0:5"),
        (Op("make_cgroup", "default", ["\t/sys/fs/cgroup/a"]), "make the cgroup /sys/fs/cgroup/a"),
        (Op("make_cgroup", "default", ["cpu\t/x/cpu/a/b", "pids\t/x/pids/a/b"]), "make the cgroup .../a/b of cpu pids"),
        (Op("limit_process", "default", 7, 5, 2**64 - 1, "RLIMIT_NOFILE"), "limit RLIMIT_NOFILE to 5, at most unlimited"),
        (Op("capabilities", "default", 0, 1 << 5 | 1, 0, 0), "hold capabilities: chown kill"),
        (Op("capabilities", "default", 0, 0, 0, 0), "hold capabilities: none"),
        (Op("find_program", "default", "sh", "/bin"), "find sh in /bin"),
        (Op("find_program", "default", "/bin/sh", None), "find /bin/sh"),
        (Op("seccomp", "default", 0, b"12345678"), "install a filter of 8 bytes"),
    ],
    ids=lambda value: value.name if isinstance(value, Op) else "",
)  # fmt: skip
def test_words_say_what_it_is_on(op, words):
    assert show.describe(op) == words


@given(WHOLE_OPERATIONS)
def test_any_operation_can_be_told_and_is_as_the_schema_says(op):
    judge(json.loads(json.dumps(show.document(plan_of([op])))))


@pytest.mark.parametrize("layout", [LAYOUT_V1, LAYOUT_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", BUNDLES)
def test_plan_of_each_bundle_is_as_the_schema_says(name, layout):
    document = json.loads(json.dumps(plan_of_bundle(name, layout).json_document()))
    judge(document)
    for act in document["acts"].values():
        assert [one["index"] for one in act] == list(range(len(act)))
        for one in act:
            assert set(one["arguments"]) == set(argument_names([row[0] for row in TABLE].index(one["operation"])))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("acts"),
        lambda document: document.update(version=2),
        lambda document: document["acts"].pop("delete"),
        lambda document: document["acts"].update(create=[]),
        lambda document: document["acts"]["create"][0].update(actor="kernel"),
        lambda document: document["acts"]["create"][0].update(origin=""),
        lambda document: document["acts"]["create"][0].update(arguments={"name": 1.5}),
        lambda document: document["acts"]["create"][0].update(new=1),
        lambda document: document["acts"]["create"][0].pop("source"),
        lambda document: document["acts"]["create"][0].update(actor="init", overlapped=True),
    ],
)
def test_schema_refuses_what_is_no_plan(spoil):
    document = plan_of_bundle("hello", LAYOUT_V1).json_document()
    judge(document)
    spoil(document)
    with pytest.raises(jsonschema.ValidationError):
        judge(document)


def test_text_has_a_line_an_operation_with_its_origin():
    plan = plan_of([sample(number) for number in range(len(TABLE))])
    plan.warnings.append("left out")
    lines = plan.text().splitlines()
    assert lines[0] == "create:" and lines[len(TABLE) + 1 :] == ["start:", "delete:", "warning: left out"]
    for number, line in enumerate(lines[1 : len(TABLE) + 1]):
        found = re.fullmatch(r" +(\d+) (host|init)  (\S.*)    # mounts\[1\]", line)
        assert found and int(found[1]) == number and found[3] == show.describe(sample(number))
        assert found[2] == ("host", "init")[TABLE[number][1]]


def test_overlapped_operation_is_marked_in_the_text():
    plan = plan_of([Op("limit", "default", "cpu", "cpu.shares", ["5"], 0, overlapped=True)])
    assert plan.text().splitlines()[1] == "    0 host| write 5 to cpu.shares"
