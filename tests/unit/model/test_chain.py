"""Questions to a chain, and the hash that identifies a template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from changeover.hops.app.settings import AppSettings
from changeover.hops.nginx.settings import HttpSettings
from changeover.model.chain import Chain, Tier, content_hash


def tier(name: str = "runtime", **given: Any) -> dict[str, Any]:
    return {"name": name, "kind": "app", "templates": {"v1": {}}, **given}


def chain(*names: str) -> Chain:
    return branching(*(tier(name) for name in names))


def branching(*tiers: dict[str, Any]) -> Chain:
    return Chain.model_validate({"tiers": tiers})


def names(tiers: Iterable[Tier]) -> list[str]:
    return [tier.name for tier in tiers]


def test_a_chain_is_started_and_rolled_from_the_inside_out() -> None:
    assert [tier.name for tier in chain("edge", "l4", "runtime").inside_out] == ["runtime", "l4", "edge"]


def test_each_tier_sends_its_requests_to_the_next_and_the_last_to_none() -> None:
    whole = chain("edge", "l4", "runtime")
    assert [names(whole.behind(tier.name)) for tier in whole.tiers] == [["l4"], ["runtime"], []]
    assert names(whole.path("runtime")) == ["edge", "l4"]


def test_a_tier_with_several_behind_it_names_them() -> None:
    whole = branching(tier("edge", to=["gateway", "web"]), tier("gateway"), tier("api"), tier("web"))
    assert [names(whole.behind(one.name)) for one in whole.tiers] == [["gateway", "web"], ["api"], [], []]
    assert [names(whole.path(one.name)) for one in whole.tiers] == [[], ["edge"], ["edge", "gateway"], ["edge"]]
    assert names(whole.inside_out) == ["web", "api", "gateway", "edge"]


@pytest.mark.parametrize(
    ("tiers", "reason"),
    [
        ((tier("edge", to=["apo"]), tier("api")), "`to` of tier edge names apo, and there is no such tier"),
        ((tier("edge", to=["api"]), tier("api", to=["edge"])), "put it below it in the list"),
        ((tier("edge", to=["edge"]), tier("api")), "put it below it in the list"),
        ((tier("edge", to=["api", "web"]), tier("api", to=["web"]), tier("web")), "names tier web twice"),
        ((tier("edge", to=["web"]), tier("api"), tier("web")), "no tier leads to tier api"),
    ],
)
def test_a_tier_that_no_tier_or_several_lead_to_is_refused(tiers: tuple[dict[str, Any], ...], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        branching(*tiers)


def test_a_tier_is_found_by_its_name() -> None:
    found = chain("edge", "runtime").tier("runtime")
    assert found is not None
    assert found.name == "runtime"
    assert chain("edge").tier("nobody") is None


def test_up_starts_the_template_that_stands_first() -> None:
    assert Tier.model_validate(tier(templates={"v2": {}, "v1": {}})).first == "v2"


def test_shares_are_those_of_the_tiers_size() -> None:
    found = Tier.model_validate(tier(size=10, update={"max_surge": "25%", "max_unavailable": "25%"}))
    assert (found.surge, found.unavailable) == (3, 2)


@pytest.mark.parametrize("update", [{"max_surge": 0}, {"max_surge": 0, "max_unavailable": "25%"}, {"max_surge": "0%"}])
def test_a_tier_of_which_nothing_could_ever_be_replaced_is_refused(update: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"nothing could ever be replaced\. Set max_surge to 1 or more"):
        Tier.model_validate(tier(size=2, update=update))


@pytest.mark.parametrize("name", ["", "Edge", "1edge", "edge_1", "edge.one", "e" * 32, "é"])
def test_names_are_such_as_load_balancers_and_file_systems_accept(name: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        chain(name)


def test_a_template_is_known_by_what_it_says_and_not_by_how_it_is_written() -> None:
    written_out = HttpSettings.model_validate({"keepalive_time": "60s", "headers": {}})
    assert content_hash("nginx", HttpSettings()) == content_hash("nginx", written_out)
    assert content_hash("nginx", HttpSettings.model_validate({"keepalive_time": "1m"})) == content_hash(
        "nginx", written_out
    )


def test_a_template_that_says_something_else_is_another() -> None:
    hashes = [
        content_hash("nginx", HttpSettings()),
        content_hash("nginx", HttpSettings.model_validate({"keepalive_time": "61s"})),
        content_hash("nginx", HttpSettings.model_validate({"headers": {"X-Version": "v2"}})),
        content_hash("app", AppSettings()),
        content_hash("other", AppSettings()),
    ]
    assert len(set(hashes)) == len(hashes)
