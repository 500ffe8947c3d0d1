"""Everything that `changeover render` prints of the examples has no finding that it does not accept with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.audit.expectations import violations
from typer.testing import CliRunner

from changeover import chain_files, wiring
from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit, audit
from changeover.audit.files import load
from changeover.cli.main import cli
from changeover.conf.tree import parse

EXAMPLES = Path(__file__).parents[3] / "examples"
ROUTED = "01-four-tiers/chain.yaml"
AGENT = ("--set", "kind=nginx", "--set", "port=80", "--set", "control=127.0.0.1:8081", "--set", "token_env=TOKEN")
SHORT = "{name: short, tiers: [{name: edge, kind: %s, drain: {deadline: 20s%s}, templates: {v1: {}}}, %s]}"
APP = "{name: app, kind: app, templates: {v1: {}}}"


def renders() -> Iterator[tuple[str, str]]:
    """Each example with each kind that `render` has of it."""
    for file in sorted(EXAMPLES.glob("*/chain.yaml")):
        tiers = parse(file.read_text(encoding="utf-8"), str(file))[0].maps("tiers")
        local = file.parent.name != "03-google-cloud"
        kinds = {tier.text("kind") or "" for tier in tiers} & set(wiring.configurable()) | {"systemd"}
        yield from ((file.parent.name, kind) for kind in sorted(kinds) if local)
        yield file.parent.name, "gcp"


def rendered(kind: str, chain: Path, folder: Path, *options: str) -> Audit:
    words = ["render", kind, "-f", str(chain), "--state", str(folder / "state"), "--output", str(folder / "out")]
    result = CliRunner().invoke(cli, [*words, *options])
    assert result.exit_code == 0, result.output
    loaded = load([folder / "out"])
    assert not loaded.unreadable
    assert loaded.texts or kind == "envoy"
    return audit(loaded.documents, Assumptions(), loaded.texts)


@pytest.mark.parametrize(("example", "kind"), [*renders()])
def test_what_is_rendered_of_an_example_is_clean(example: str, kind: str, tmp_path: Path) -> None:
    chain = EXAMPLES / example / "chain.yaml"
    local = chain_files.read_chain(chain)[0].chain.platform.kind == "local"
    place = ["--project", "project-1", "--region", "europe-west1"] if kind == "gcp" and local else []
    found = rendered(kind, chain, tmp_path, *place)
    assert violations(found) == set()
    assert not found.unused
    assert not found.unreasoned


@pytest.mark.parametrize("words", [["agent", *AGENT], ["kong", "-f", str(EXAMPLES / ROUTED)]])
def test_what_is_printed_of_an_agent_and_for_kong_is_clean(words: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["render", *words, "--json", "--state", str(tmp_path / "state")])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    files = printed if words[0] == "agent" else {"kong.json": json.dumps(printed)}
    (tmp_path / "out").mkdir()
    for name, text in files.items():
        (tmp_path / "out" / name).write_text(text, encoding="utf-8")
    loaded = load([tmp_path / "out"])
    assert not loaded.unreadable
    assert loaded.texts
    assert violations(audit(loaded.documents, Assumptions(), loaded.texts)) == set()


@pytest.mark.parametrize(
    ("kind", "rule"), [("nginx", "NGX03"), ("nginx-stream", "STR01"), ("haproxy", "HAP01"), ("haproxy-tcp", "HAP01")]
)
def test_a_short_deadline_is_accepted_because_a_drain_waits_and_found_where_it_cuts(
    kind: str, rule: str, tmp_path: Path
) -> None:
    chain = tmp_path / "chain.yaml"
    for policy, cut in (("", False), (", policy: cut", True)):
        chain.write_text(SHORT % (kind, policy, APP), encoding="utf-8")
        found = rendered(kind, chain, tmp_path / f"folder{cut}")
        assert (rule in {name for _, _, name in violations(found)}) is cut
        assert (rule in {one.rule.id for one in found.judged if one.suppressed}) is not cut


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_the_default_deadline_needs_no_comment(kind: str, tmp_path: Path) -> None:
    chain = tmp_path / "chain.yaml"
    chain.write_text((SHORT % (kind, "", APP)).replace("20s", "600s"), encoding="utf-8")
    found = rendered(kind, chain, tmp_path)
    assert violations(found) == set()
    assert not found.unused
