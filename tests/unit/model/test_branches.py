"""Chains in which a tier has several behind it: where the routes of its templates lead."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from changeover.hops import registry
from changeover.model import chainfile
from changeover.model.chainfile import ParsedChain
from changeover.model.errors import ChangeoverError


def read(edge: str) -> ParsedChain:
    """An edge, which `edge` describes, and two applications."""
    text = f"""
tiers:
  - name: edge
{indent(edge.strip(), "    ")}
  - name: api
    kind: app
    templates: {{v1: {{}}}}
  - name: web
    kind: app
    templates: {{v1: {{}}}}
"""
    return chainfile.read(text, "chain.yaml", registry.known_hops())


@pytest.mark.parametrize("kind", ["nginx", "envoy", "kong"])
def test_a_route_names_the_tier_that_it_leads_to(kind: str) -> None:
    parsed = read(f"""
kind: {kind}
to: [api, web]
templates:
  v1: {{routes: [{{path: /, to: web}}, {{path: /api}}]}}
""")
    assert [tier.name for tier in parsed.chain.behind("edge")] == ["api", "web"]


@pytest.mark.parametrize(
    ("edge", "problem"),
    [
        (
            "kind: nginx\nto: [api, web]\ntemplates:\n  v1:\n    routes: [{path: /, to: web}, {path: /x, to: wbe}]",
            "chain.yaml:8: tiers.0.templates.v1.routes.1.to: tier wbe is not behind tier edge\n"
            "  Behind it: api, web. `to` of the tier sets this.",
        ),
        (
            "kind: envoy\nto: [api, web]\ntemplates: {v1: {}}",
            "chain.yaml:5: tiers.0.to: no route of any template of edge leads to tier web\n"
            "  Give a route `to: web`, or remove the tier.",
        ),
        (
            "kind: nginx-stream\nto: [api, web]\ntemplates: {v1: {}}",
            "chain.yaml:5: tiers.0.to: nginx-stream has no routes, and edge has 2 tiers behind it\n"
            "  Name one tier, or make edge a tier of kind envoy or haproxy or kong or nginx.",
        ),
    ],
)
def test_a_route_to_nowhere_and_a_tier_without_a_route_are_refused(edge: str, problem: str) -> None:
    with pytest.raises(ChangeoverError) as refused:
        read(edge)
    assert problem in [str(one) for one in refused.value.problems]


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_the_routes_of_a_configuration_of_ones_own_are_not_asked_for_in_the_chain_file(kind: str) -> None:
    edge = f"kind: {kind}\nto: [api, web]\ntemplates: {{v1: {{config: own.conf}}}}"
    assert [tier.name for tier in read(edge).chain.behind("edge")] == ["api", "web"]


def test_the_chain_of_the_documentation_is_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs/branches.md").read_text(encoding="utf-8")
    chain = chainfile.read(page.split("```yaml")[1].split("```")[0], "branches.md", registry.known_hops()).chain
    assert {tier.name: [inner.name for inner in chain.behind(tier.name)] for tier in chain.tiers} == {
        "edge": ["gateway", "web"],
        "gateway": ["api", "billing"],
        "api": [],
        "billing": [],
        "web": [],
    }
