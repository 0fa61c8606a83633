"""Manifests, indexes and configs: the plain checks judge as our schemas do but for the listed differences, and our schemas as image-spec's."""

import copy
import json
import os
import pathlib
import re
import sys

import jsonschema
import pytest
import referencing
import referencing.jsonschema

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "spec"))

from spec_mutations import mutations

from pyoci.minidocker.errors import ImageProblem
from pyoci.minidocker.images import documents
from pyoci.spec.explain import schema

HEX = "0123456789abcdef" * 4


def descriptor(kind, number, **more):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{HEX[number:]}{HEX[:number]}", "size": 1000 + number, **more}


MANIFEST = {
    "schemaVersion": 2,
    "mediaType": documents.OCI_MANIFEST,
    "artifactType": "application/vnd.example+type",
    "config": descriptor("config.v1+json", 1, data="e30=", artifactType="application/x"),
    "layers": [
        descriptor("layer.v1.tar+gzip", 2, urls=["https://example.com/blob"], annotations={"a": "b"}),
        descriptor("layer.v1.tar+zstd", 3),
        descriptor("layer.nondistributable.v1.tar", 4),
    ],
    "subject": descriptor("manifest.v1+json", 5),
    "annotations": {"com.example.key": "value"},
}
INDEX = {
    "schemaVersion": 2,
    "mediaType": documents.OCI_INDEX,
    "artifactType": "application/vnd.example+type",
    "manifests": [
        descriptor("manifest.v1+json", 1, platform={"architecture": "ppc64le", "os": "linux"}, annotations={"a": "b"}),
        descriptor("manifest.v1+json", 2, platform={"architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "1", "os.features": ["x"]}, urls=["https://example.com/x"]),
    ],
    "subject": descriptor("manifest.v1+json", 5, data="e30=", artifactType="a/b"),
    "annotations": {"com.example.key": "value"},
}
CONFIG = {
    "created": "2015-10-31T22:22:56.015925234Z",
    "author": "A. U. Thor <author@example.com>",
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "os.version": "1",
    "os.features": ["x"],
    "config": {
        "User": "alice",
        "ExposedPorts": {"8080/tcp": {}},
        "Env": ["PATH=/bin", "FOO=docker_is_a_really"],
        "Entrypoint": ["/bin/my-app"],
        "Cmd": ["--foreground"],
        "Volumes": {"/var/log": {}},
        "WorkingDir": "/home/alice",
        "Labels": {"com.example.project.git.url": "https://example.com/project.git"},
        "StopSignal": "SIGTERM",
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{HEX}", f"sha512:{HEX * 2}"]},
    "history": [
        {"created": "2015-10-31T22:22:54Z", "created_by": "ADD file in /", "author": "a", "comment": "c"},
        {"created": "2015-10-31T22:22:55Z", "created_by": "CMD [\"sh\"]", "empty_layer": True},
    ],
}
DOCUMENTS = {"manifest": (MANIFEST, documents.check_manifest), "index": (INDEX, documents.check_index), "config": (CONFIG, documents.check_config)}
# What the plain checks refuse beyond the schemas, by their words; schemas/README.md says why.
STRICTER = re.compile(
    r"is no digest|is not an image's|is no layer's|belongs into an index|must be from 0 to 9223372036854775807"
    r"|config\.(Healthcheck|Shell|OnBuild|StopTimeout)"
)
MAPS = ("annotations", "Labels", "ExposedPorts", "Volumes")
UNREAD = ("subject", "data")


def validator(kind):
    return jsonschema.Draft4Validator(schema(f"image-{kind}"))


def as_read(document):
    """Without what is null or not read: the listed laxities."""
    if isinstance(document, dict):
        read = ((key, value) for key, value in document.items() if value is not None and key not in UNREAD)
        return {key: value if key in MAPS else as_read(value) for key, value in read}
    return [as_read(value) for value in document] if isinstance(document, list) else document


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_schema_is_valid_and_accepts_a_document_with_every_member(kind):
    jsonschema.Draft4Validator.check_schema(schema(f"image-{kind}"))
    document, judge = DOCUMENTS[kind]
    assert list(validator(kind).iter_errors(document)) == []
    assert judge(copy.deepcopy(document)) == document


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_plain_checks_judge_mutations_as_the_schema_does_apart_from_the_lists(kind):
    document, judge = DOCUMENTS[kind]
    ours = validator(kind)
    for what, mutated in mutations(document):
        lenient = as_read(mutated)
        if lenient.get("layers") == []:
            lenient["layers"] = document["layers"]
        accepted_by_schema = ours.is_valid(lenient)
        try:
            judge(mutated)
        except ImageProblem as error:
            assert not accepted_by_schema or STRICTER.search(str(error)), f"{what}: {error}"
            assert "\n" not in str(error), what
        else:
            assert accepted_by_schema, what


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_problem_is_explained_in_words(kind):
    for what, mutated in mutations(DOCUMENTS[kind][0]):
        for path, problem in documents.explain(mutated, kind) if what.endswith(("= 1", "= None", "dropped")) else ():
            assert path and problem and "\n" not in problem, what


def test_explanation_names_each_member():
    broken = {"schemaVersion": 1, "config": {"mediaType": "x", "size": -1}, "layers": []}
    found = dict(documents.explain(broken, "manifest"))
    assert found.pop("config.mediaType").startswith('"x" does not match ')
    assert found == {"config.digest": "missing", "config.size": "-1 is below 0", "layers": "must not be empty", "schemaVersion": "1 is below 2"}


# --- image-spec's own schemas


def official_validator(kind):
    folder = os.environ.get("PYOCI_OFFICIAL_IMAGE_SCHEMAS")
    if not folder:
        pytest.skip("PYOCI_OFFICIAL_IMAGE_SCHEMAS names no folder")
    files = {file.name: without_ids(json.loads(file.read_text())) for file in pathlib.Path(folder).glob("*.json")}
    resource = referencing.jsonschema.DRAFT4.create_resource
    registry = referencing.Registry().with_resources((f"urn:oci:{name}", resource(absolute(content, name))) for name, content in files.items())
    name = {"manifest": "image-manifest-schema.json", "index": "image-index-schema.json", "config": "config-schema.json"}[kind]
    return jsonschema.Draft4Validator(absolute(files[name], name), registry=registry)


def without_ids(value):
    """Their ids are addresses, not names of files."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if not (key == "id" and isinstance(item, str))}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def absolute(value, name):
    if isinstance(value, dict):
        return {key: f"urn:oci:{name if item.startswith('#') else ''}{item}" if key == "$ref" else absolute(item, name) for key, item in value.items()}
    return [absolute(item, name) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_schema_agrees_with_the_official_one_on_every_mutation(kind):
    official, ours = official_validator(kind), validator(kind)
    document = DOCUMENTS[kind][0]
    assert official.is_valid(document)
    assert [what for what, mutated in mutations(document) if ours.is_valid(mutated) != official.is_valid(mutated)] == []


# --- what the schemas do not say


def test_dockers_own_manifests_and_lists_are_known():
    docker = {
        "schemaVersion": 2,
        "mediaType": documents.DOCKER_MANIFEST,
        "config": {**descriptor("x", 1), "mediaType": documents.DOCKER_CONFIG},
        "layers": [{**descriptor("x", 2), "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}],
    }
    assert documents.kind_of(documents.check_manifest(docker)) == "manifest"
    assert documents.kind_of({"schemaVersion": 2}, documents.DOCKER_LIST) == "index"
    assert documents.kind_of({"schemaVersion": 2, "manifests": []}) == "index"


BAD = {
    "no json": (lambda: documents.decode(b"{", "manifest"), "manifest: no JSON"),
    "deep json": (lambda: documents.decode(b"[" * 100_000, "manifest"), "manifest: no JSON"),
    "not utf-8": (lambda: documents.decode(b'{"a":"\xff"}', "manifest"), "manifest: no JSON"),
    "array": (lambda: documents.decode(b"[]", "manifest"), "manifest: not an object but an array"),
    "schema 1": (lambda: documents.kind_of({"schemaVersion": 1}), "Docker's schema 1"),
    "unknown type": (lambda: documents.kind_of({"mediaType": "a/b"}), "unknown media type 'a/b'"),
    "many layers": (lambda: documents.check_manifest({**MANIFEST, "layers": MANIFEST["layers"] * 200}), "600 of them; overlayfs takes 500"),
    "artifact": (lambda: documents.check_manifest({**MANIFEST, "config": descriptor("empty.v1+json", 1)}), "is not an image's"),
    "diff ids": (lambda: documents.check_pair(MANIFEST, CONFIG), "3 layers, but the config has 2 diff ids"),
    "digest of a path": (lambda: documents.check_manifest({**MANIFEST, "config": {**descriptor("config.v1+json", 1), "digest": "sha256:../../x"}}), "is no digest"),
    "healthcheck": (lambda: documents.check_config({**CONFIG, "config": {"Healthcheck": {"Test": "x"}}}), "config.Healthcheck.Test: must be an array, not a string"),
}


@pytest.mark.parametrize(("deed", "words"), BAD.values(), ids=BAD.keys())
def test_what_can_not_be_trusted_is_refused_in_one_line(deed, words):
    with pytest.raises(ImageProblem) as caught:
        deed()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
