"""A chain file from disk, and the schema by which editors check one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from changeover import wiring
from changeover.model.errors import ChangeoverError

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*/chain.yaml"))
SCHEMA = wiring.schema()


def told(file: Path) -> str:
    with pytest.raises(ChangeoverError) as error:
        wiring.read_chain(file)
    assert error.value.exit_code == 2
    return str(error.value)


def write(folder: Path, *tiers: str) -> Path:
    """A chain of tiers `name: kind`."""
    file = folder / "chain.yaml"
    lines = ["  - {name: %s, kind: %s, templates: {v1: {}}}" % tuple(tier.split(": ")) for tier in tiers]  # noqa: UP031
    file.write_text("\n".join(["tiers:", *lines]))
    return file


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_examples_are_chains(file: Path) -> None:
    read, text = wiring.read_chain(file)
    assert text == file.read_text()
    for tier in read.chain.tiers:
        assert set(read.settings[tier.name]) == set(tier.templates)


def test_the_first_example_is_the_chain_of_the_readme() -> None:
    read, _ = wiring.read_chain(ROOT / "examples/01-four-tiers/chain.yaml")
    assert [(tier.name, tier.kind) for tier in read.chain.tiers] == [
        ("edge", "nginx"),
        ("l4", "nginx-stream"),
        ("gateway", "envoy"),
        ("runtime", "app"),
    ]


def test_a_chain_ends_with_an_application(tmp_path: Path) -> None:
    file = write(tmp_path, "edge: nginx", "gateway: envoy")
    assert told(file) == (
        f"{file}: tier gateway (envoy) is the last tier and has nothing to pass requests to\n"
        "  The last tier of a chain, and only that one, is of kind app."
    )


def test_nothing_stands_behind_an_application(tmp_path: Path) -> None:
    file = write(tmp_path, "runtime: app", "other: app")
    assert told(file).startswith(f"{file}: tier runtime (app) answers requests by itself\n")


FIRST = "  - {name: front, kind: %s, templates: {v1: {}}%s}"
LAST = "  - {name: runtime, kind: app, templates: {v1: {}}%s}"
BYTES = "  - {name: l4, kind: nginx-stream, templates: {v1: {}}, affinity: %s}"


@pytest.mark.parametrize(
    ("tiers", "problem", "next"),
    [
        (
            [FIRST % ("nginx", ", affinity: {cookie: route}"), LAST % ""],
            "tier front (nginx): affinity {cookie: route}: its balancer sees TLS, and no cookie",
            "Give the cookie to a tier further in that answers HTTP, or say `affinity: client-ip` here.",
        ),
        (
            [FIRST % ("nginx", ""), BYTES % "{header: X-User}", LAST % ""],
            "tier l4 (nginx-stream): affinity {header: X-User}: its balancer sees bytes, and no header",
            "Give the header to a tier further in that answers HTTP.",
        ),
        (
            [FIRST % ("nginx", ""), BYTES % "client-ip", LAST % ""],
            "tier l4 (nginx-stream): affinity client-ip: its connections come from tier front, whose addresses are not "
            "those of clients",
            "Say it at tier front, or at a tier further in that answers HTTP.",
        ),
        (
            [FIRST % ("nginx-stream", ""), LAST % ", affinity: client-ip"],
            "tier runtime (app): affinity client-ip: nobody tells it who the client is: front (nginx-stream) does not "
            "pass it on",
            "Say it at tier front, or begin the chain with a tier of kind envoy or nginx or relay.",
        ),
    ],
)
def test_an_affinity_by_what_the_balancer_cannot_see_is_refused(
    tmp_path: Path, tiers: list[str], problem: str, next: str
) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text("\n".join(["tiers:", *tiers]))
    assert told(file) == f"{file}: {problem}\n  {next}"


@pytest.mark.parametrize("affinity", ["client-ip", "{cookie: route}", "{header: X-User}"])
def test_an_affinity_by_what_it_can_see_is_taken(tmp_path: Path, affinity: str) -> None:
    file = tmp_path / "chain.yaml"
    last = LAST % f", affinity: {affinity}"
    file.write_text("\n".join(["tiers:", FIRST % ("envoy", f", affinity: {affinity}"), last]))
    assert wiring.read_chain(file)


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.yaml"
    assert told(file) == f"{file}: the chain file cannot be read: No such file or directory\n  Name one with -f."


def test_a_file_that_is_not_text_is_named_too(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "the chain file cannot be read: it is not text" in told(file)


def test_a_mistake_in_a_file_is_told_with_its_path_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "edge: ngnix", "runtime: app")
    assert told(file).startswith(f"{file}:2: tiers.0.kind: no tier kind is called ngnix\n  Did you mean nginx?")


# -- the schema ----------------------------------------------------------------------------------------------------


def resolve(at: dict[str, Any]) -> dict[str, Any]:
    return resolve(SCHEMA["$defs"][at["$ref"].rsplit("/", 1)[-1]]) if "$ref" in at else at


def models(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Chain", schema
    yield from ((name, found) for name, found in schema["$defs"].items() if "properties" in found)


PROPERTIES = [
    pytest.param(said, id=f"{model}.{name}")
    for model, found in models(SCHEMA)
    for name, said in found["properties"].items()
]


@pytest.mark.parametrize("said", PROPERTIES)
def test_every_key_of_a_chain_file_says_what_it_is_for(said: dict[str, Any]) -> None:
    assert said.get("description") or resolve(said).get("description")


def test_every_default_is_in_the_schema() -> None:
    for model, found in models(SCHEMA):
        required = set(found.get("required", ()))
        for name, said in found["properties"].items():
            assert (name in required) != ("default" in said), f"{model}.{name}"


def test_the_schema_knows_every_kind_of_tier_and_what_its_templates_may_say() -> None:
    tier = SCHEMA["$defs"]["Tier"]
    assert tier["properties"]["kind"]["enum"] == sorted(wiring.HOPS)
    cases = {case["if"]["properties"]["kind"]["const"]: case["then"] for case in tier["allOf"]}
    for kind, hop in wiring.HOPS.items():
        said = resolve(cases[kind]["properties"]["templates"]["additionalProperties"])
        assert set(said["properties"]) == set(hop.Settings.model_fields)
        assert said["additionalProperties"] is False


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
    document = yaml.safe_load(file.read_text())
    check(document, SCHEMA, "chain")
    cases = {case["if"]["properties"]["kind"]["const"]: case["then"] for case in SCHEMA["$defs"]["Tier"]["allOf"]}
    for tier in document["tiers"]:
        check(tier["templates"], cases[tier["kind"]]["properties"]["templates"], f"{tier['name']}.templates")


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
    patterns = [said for pattern, said in at.get("patternProperties", {}).items() if re.search(pattern, key)]
    found = [at.get("properties", {}).get(key), *patterns, at.get("additionalProperties")]
    known = next((said for said in found if said), None)
    return ANYTHING if known is True else known


def test_an_unknown_key_is_refused_everywhere() -> None:
    for model, found in models(SCHEMA):
        assert found["additionalProperties"] is False, model
