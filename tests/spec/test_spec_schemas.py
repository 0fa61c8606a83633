"""The schemas judge as the official ones do, and validate.py judges as the schemas do, apart from the two lists of rules.py."""

import json
import os
import pathlib

import jsonschema
import pytest
import referencing
from spec_documents import FEATURES, LINUX, MINIMAL, OTHERS, STATE, parts
from spec_mutations import mutations

from pyoci.errors import ConfigError
from pyoci.spec.explain import schema
from pyoci.spec.rules import STRICTER, without_laxities
from pyoci.spec.validate import (
    PROCESS,
    RESOURCES,
    validate,
    validate_process,
    validate_resources,
)

DOCUMENTS = {
    "config-linux": ("config", LINUX),
    "config-minimal": ("config", MINIMAL),
    "config-others": ("config", OTHERS),
    "state": ("state", STATE),
    "features": ("features", FEATURES),
}


def validator(kind):
    return jsonschema.Draft4Validator(schema(kind))


def official_folder():
    folder = os.environ.get("PYOCI_OFFICIAL_SCHEMAS")
    if not folder:
        pytest.skip("PYOCI_OFFICIAL_SCHEMAS names no folder")
    return pathlib.Path(folder)


def official_validator(folder, kind):
    """The validator of runtime-spec's schema/ folder, whose files refer to each other by name."""
    files = {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}
    registry = referencing.Registry().with_resources(
        ("urn:oci:" + name, referencing.jsonschema.DRAFT4.create_resource(content)) for name, content in files.items()
    )
    name = f"{kind}-schema.json"
    content = {**files[name], "id": "urn:oci:" + name}
    return jsonschema.Draft4Validator(_absolute(content), registry=_absolute_registry(registry, files))


def _absolute(value):
    """References with the file's name become references into the registry."""
    if isinstance(value, dict):
        return {key: _reference(item) if key == "$ref" else _absolute(item) for key, item in value.items()}
    return [_absolute(item) for item in value] if isinstance(value, list) else value


def _reference(text):
    return text if text.startswith("#") or not isinstance(text, str) else "urn:oci:" + text


def _absolute_registry(registry, files):
    return registry.with_resources(
        ("urn:oci:" + name, referencing.jsonschema.DRAFT4.create_resource(_absolute(content))) for name, content in files.items()
    )


@pytest.mark.parametrize("kind", ["config", "state", "features"])
def test_schema_is_itself_valid(kind):
    jsonschema.Draft4Validator.check_schema(schema(kind))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_accepts_a_document_with_every_member(name):
    kind, document = DOCUMENTS[name]
    assert list(validator(kind).iter_errors(document)) == []


@pytest.mark.parametrize("kind", ["config", "state", "features"])
def test_every_member_of_the_schema_is_in_the_documents(kind):
    """So that the mutations reach every member."""
    used = set()
    for used_kind, document in DOCUMENTS.values():
        if used_kind == kind:
            used |= member_names(document)
    assert described_names(schema(kind)) - used == set()


def member_names(value):
    if isinstance(value, list):
        return set().union(*map(member_names, value))
    if isinstance(value, dict):
        return set(value).union(*map(member_names, value.values()))
    return set()


def described_names(value):
    if isinstance(value, list):
        return set().union(*map(described_names, value))
    if not isinstance(value, dict):
        return set()
    own = set(value["properties"]) if isinstance(value.get("properties"), dict) else set()
    return own.union(*map(described_names, value.values()))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_agrees_with_the_official_one_on_every_mutation(name):
    folder = official_folder()
    kind, document = DOCUMENTS[name]
    assert differences(kind, validator(kind), official_validator(folder, kind), document) == []


def differences(kind, ours, official, document):
    """What was done to each mutation on which the two validators differ."""
    return [what for what, mutated in all_mutations(kind, document) if ours.is_valid(mutated) != official.is_valid(mutated)]


def all_mutations(kind, document):
    if kind != "config":
        return list(mutations(document))
    return [found for steps, part in parts(document) for found in mutations(part, steps)]


@pytest.mark.parametrize("kind", ["config", "state", "features"])
def test_schema_agrees_with_the_official_one_on_the_official_documents(kind):
    folder = official_folder()
    ours, official = validator(kind), official_validator(folder, kind)
    for file in (folder / "test" / kind).rglob("*.json"):
        try:
            document = json.loads(file.read_text())
        except ValueError:
            assert file.parent.name == "bad", file
            continue
        assert ours.is_valid(document) == official.is_valid(document) == (file.parent.name == "good"), file
        assert differences(kind, ours, official, document) == [], file


def verdict(judge, document):
    """(whether accepted, the stricter rule that refused or "")."""
    try:
        judge(document)
    except ConfigError as error:
        return False, error.rule
    return True, ""


def check_same_verdict(judge, ours, what, document):
    accepted, rule = verdict(judge, document)
    by_schema = ours.is_valid(without_laxities(document))
    if rule:
        assert rule in STRICTER, what
        assert by_schema or rule == "nul", f"{what}: the schema refuses it too, but {rule} spoke first"
    else:
        assert accepted == by_schema, what


@pytest.mark.parametrize("name", ["config-linux", "config-minimal", "config-others"])
def test_validator_judges_mutations_as_the_schema_does_apart_from_the_lists(name):
    ours = validator("config")
    for what, mutated in all_mutations("config", DOCUMENTS[name][1]):
        check_same_verdict(validate, ours, what, mutated)


def section_validator(*steps):
    """The schema of one section of config.json, as a document of its own."""
    whole = schema("config")
    part = whole
    for step in steps:
        part = part["properties"][step]
    return jsonschema.Draft4Validator({**part, "definitions": whole["definitions"]})


def section_mutations(*section):
    """The mutations of one section of LINUX, each as a document of its own."""
    for steps, part in parts(LINUX):
        if steps[: len(section)] == section:
            for step in section:
                part = part[step]
            yield from mutations(part, steps[len(section) :])


def test_validator_judges_process_documents_as_the_schema_does():
    ours = section_validator("process")
    for what, mutated in section_mutations("process"):
        check_same_verdict(validate_process, ours, what, mutated)


def test_validator_judges_resources_documents_as_the_schema_does():
    ours = section_validator("linux", "resources")
    for what, mutated in section_mutations("linux", "resources"):
        # without_laxities knows the section by its name
        accepted, rule = verdict(validate_resources, mutated)
        plain = without_laxities({"resources": mutated})["resources"]
        assert rule or accepted == ours.is_valid(plain), what
        assert not rule or (rule in STRICTER and ours.is_valid(plain)), what


@pytest.mark.parametrize("value", [None, [], "x", 5, True])
@pytest.mark.parametrize("judge", [validate, validate_process, validate_resources])
def test_a_document_that_is_no_object_is_refused(judge, value):
    with pytest.raises(ConfigError, match="expected an object"):
        judge(value)


@pytest.mark.parametrize(("table", "steps"), [(PROCESS, ["process"]), (RESOURCES, ["linux", "resources"])])
def test_table_and_schema_know_the_same_members(table, steps):
    part = schema("config")
    for step in steps:
        part = part["properties"][step]
    assert set(table) - {None} == set(part["properties"])
