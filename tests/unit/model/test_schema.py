"""The schema by which editors check a chain file, with every registered hop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.hops.toy import Toy

from changeover.hops import registry
from changeover.model.schema import chain_schema

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/chain.yaml"))
SCHEMA = chain_schema(registry.known_hops())


def resolve(at: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in at:
        return resolve(SCHEMA["$defs"][at["$ref"].rsplit("/", 1)[-1]])
    given = [one for one in at.get("anyOf", ()) if one.get("type") != "null"]
    return resolve(given[0]) if len(given) == 1 else at  # a key that may be left out


def models(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Chain", schema
    yield from ((name, found) for name, found in schema["$defs"].items() if "properties" in found)


PROPERTIES = [
    pytest.param(given, id=f"{model}.{name}")
    for model, found in models(SCHEMA)
    for name, given in found["properties"].items()
]


@pytest.mark.parametrize("given", PROPERTIES)
def test_every_key_of_a_chain_file_says_what_it_is_for(given: dict[str, Any]) -> None:
    assert given.get("description") or resolve(given).get("description")


def test_every_default_is_in_the_schema() -> None:
    for model, found in models(SCHEMA):
        required = set(found.get("required", ()))
        for name, given in found["properties"].items():
            assert (name in required) != ("default" in given), f"{model}.{name}"


def test_the_schema_knows_every_kind_of_tier_and_what_its_templates_may_say() -> None:
    tier = SCHEMA["$defs"]["Tier"]
    assert tier["properties"]["kind"]["enum"] == sorted(registry.known_hops())
    cases = {case["if"]["properties"]["kind"]["const"]: case["then"] for case in tier["allOf"]}
    for kind, traits in registry.known_hops().items():
        given = resolve(cases[kind]["properties"]["templates"]["additionalProperties"])
        assert set(given["properties"]) == {field.alias or name for name, field in traits.settings.model_fields.items()}
        assert given["additionalProperties"] is False


def test_the_schema_refers_to_nothing_that_is_not_in_it() -> None:
    def references(at: object) -> Iterator[str]:
        if isinstance(at, dict):
            yield from (value for key, value in at.items() if key == "$ref")
            for value in at.values():
                yield from references(value)
        elif isinstance(at, list):
            for value in at:
                yield from references(value)

    assert {reference.rsplit("/", 1)[-1] for reference in references(SCHEMA)} <= set(SCHEMA["$defs"])


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_schema_has_every_key_of_the_examples(file: Path) -> None:
    """Not the whole of JSON Schema, which would need a library: keys, required keys and enumerations."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    check(document, SCHEMA, "chain")
    cases = {case["if"]["properties"]["kind"]["const"]: case["then"] for case in SCHEMA["$defs"]["Tier"]["allOf"]}
    on_google_cloud = SCHEMA["$defs"]["Tier"]["dependentSchemas"]["group"]
    for tier in document["tiers"]:
        templates = (on_google_cloud if "group" in tier else cases[tier["kind"]])["properties"]["templates"]
        check(tier["templates"], templates, f"{tier['name']}.templates")


ANYTHING: dict[str, Any] = {"additionalProperties": True}


def check(value: Any, at: dict[str, Any], where: str) -> None:
    at = resolve(at)
    assert value in at.get("enum", [value]), where
    if isinstance(value, dict):
        assert set(at.get("required", ())) <= set(value), where
        for key, inner in value.items():
            known = schema_of(key, at)
            assert known is not None, f"{where}.{key} is not in the schema"
            check(inner, known, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            check(inner, at.get("items", ANYTHING), where)


def schema_of(key: str, at: dict[str, Any]) -> dict[str, Any] | None:
    patterns = [given for pattern, given in at.get("patternProperties", {}).items() if re.search(pattern, key)]
    found = [at.get("properties", {}).get(key), *patterns, at.get("additionalProperties")]
    known = next((given for given in found if given), None)
    return ANYTHING if known is True else known


def test_an_unknown_key_is_refused_everywhere() -> None:
    for model, found in models(SCHEMA):
        assert found["additionalProperties"] is False, model


def test_a_hop_that_is_registered_is_in_the_schema() -> None:
    with_toy = chain_schema({**registry.known_hops(), Toy.traits.kind: Toy.traits})
    assert "toy" in with_toy["$defs"]["Tier"]["properties"]["kind"]["enum"]
    assert with_toy["$defs"]["ToySettings"]["properties"]["greeting"]["default"] == "hello"
