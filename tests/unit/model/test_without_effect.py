"""Which keys of a chain file are refused because nothing would read them, over every combination of what decides it."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
from tests.unit.model.known_hops import HOPS

from changeover.hops.registry import HOPS as REGISTERED
from changeover.model.chain import Chain
from changeover.model.chainfile import read
from changeover.model.errors import ChangeoverError
from changeover.model.guard import MEASURES
from changeover.model.update import Strategy, Update
from changeover.model.without_effect import OF_STRATEGY, ignored

GIVEN: dict[str, Any] = {
    "steps": [{"set_weight": 50}],
    "baseline": "fresh",
    "bake": "10s",
    "switch": "when-promoted",
    "preview": "127.0.0.1:0",
}
TRAITS = {kind: hop.traits for kind, hop in REGISTERED.items()}
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def keys(chain: dict[str, Any]) -> list[tuple[str | int, ...]]:
    return [found.path for found in ignored(Chain.model_validate(chain), HOPS)]


def with_tier(**tier: Any) -> dict[str, Any]:
    return {"tiers": [{"name": "runtime", "kind": "server", "templates": {"v1": {}}, **tier}]}


def behind(kind: str, **tier: Any) -> dict[str, Any]:
    front = {"name": "front", "kind": kind, "templates": {"v1": {}}}
    return {"tiers": [front, *with_tier(**tier)["tiers"]]}


@pytest.mark.parametrize(("strategy", "key"), list(product(STRATEGIES, OF_STRATEGY)))
def test_a_key_of_another_strategy_than_the_one_that_is_named_is_refused(strategy: Strategy, key: str) -> None:
    found = keys(with_tier(update={"strategy": strategy, key: GIVEN[key]}))
    assert found == ([] if OF_STRATEGY[key] == strategy else [("tiers", 0, "update", key)])


@pytest.mark.parametrize("key", OF_STRATEGY)
def test_where_no_strategy_is_named_roll_may_name_each(key: str) -> None:
    assert keys(with_tier(update={key: GIVEN[key]})) == []


def test_every_key_that_says_it_is_of_one_strategy_is_known() -> None:
    texts = {name: field.description or "" for name, field in Update.model_fields.items()}
    starts = {"canary": "Of a canary", "blue-green": "Of blue-green"}
    said = {name: of for name, text in texts.items() for of, start in starts.items() if text.startswith(start)}
    assert said == dict(OF_STRATEGY)


def test_a_page_that_no_message_links_is_refused() -> None:
    page = {"page": "https://ops.example.com/chains/1"}
    assert keys(with_tier() | page) == [("page",)]
    assert keys(with_tier() | page | {"notify": [{"url": "json://ops.example.com"}]}) == []
    assert keys(with_tier() | page | {"hooks": [{"point": "on_failure", "command": ["true"]}]}) == []


@pytest.mark.parametrize("policy", ["wait", "ask", "cut"])
def test_a_time_for_long_lived_connections_is_read_by_every_policy(policy: str) -> None:
    """`wait`, too: it is what `status` and `plan` call long-lived."""
    assert keys(with_tier(drain={"long_lived": {"policy": policy, "after": "10s"}})) == []


@pytest.mark.parametrize("kind", [None, *HOPS])
def test_idle_connections_are_timed_only_behind_a_router_that_keeps_them(kind: str | None) -> None:
    tier: dict[str, Any] = {"drain": {"idle_after": "10s"}}
    found = keys(with_tier(**tier) if kind is None else behind(kind, **tier))
    keeps = kind is not None and HOPS[kind].pools and HOPS[kind].routes_inward
    assert found == ([] if keeps else [("tiers", 0 if kind is None else 1, "drain", "idle_after")])


@pytest.mark.parametrize("kind", [kind for kind, traits in TRAITS.items() if traits.external_router is not None])
def test_and_behind_a_router_outside_of_the_chain(kind: str) -> None:
    chain = Chain.model_validate(with_tier(kind="app", drain={"idle_after": "10s"}, router={"kind": kind}))
    assert [found.path[-1] for found in ignored(chain, TRAITS)] == ([] if TRAITS[kind].pools else ["idle_after"])


OF_CONDITIONS: dict[str, Any] = {"percentile": 95, "min_requests": 500, "alpha": 0.05, "worse_by": 2, "margin": 1}


@pytest.mark.parametrize(
    ("source", "measure", "compares", "key"),
    [
        (source, measure, compares, key)
        for source, measures in MEASURES.items()
        for measure in measures
        for compares in (False, True)
        for key in OF_CONDITIONS
        if not (compares and measure == "broken_requests")
    ],
)
def test_a_condition_has_the_keys_that_its_measure_reads(source: str, measure: str, compares: bool, key: str) -> None:
    condition = {
        "name": "one",
        "source": source,
        "measure": measure,
        **({"query": "up{instance=~'$addresses'}"} if measure == "query" else {}),
        **({"against_baseline": True} if compares else {"at_most": 0.5}),
        key: OF_CONDITIONS[key],
    }
    chain = {
        **with_tier(update={"guard": ["own"]}),
        "guards": [{"name": "own", "conditions": [condition]}],
        **({"prometheus": {"url": "http://127.0.0.1:9090"}} if source == "prometheus" else {}),
    }
    reads = {
        "percentile": measure == "latency",
        "min_requests": measure in ("latency", "error_ratio"),
    }.get(key, compares)
    assert keys(chain) == ([] if reads else [("guards", 0, "conditions", 0, key)])


def test_a_guard_that_no_tier_names_watches_nothing() -> None:
    condition = {"name": "one", "source": "probe", "measure": "broken_requests", "at_most": 0}
    guards = [{"name": "own", "conditions": [condition]}]
    assert keys({**with_tier(), "guards": guards}) == [("guards", 0, "name")]
    assert keys({**with_tier(update={"guard": ["own"]}), "guards": guards}) == []


def test_the_message_names_the_line_and_what_to_do_and_a_stored_file_is_still_read() -> None:
    update = "  update:\n    strategy: rolling\n    bake: 10s\n"
    text = f"tiers:\n- name: runtime\n  kind: server\n{update}  templates: {{v1: {{}}}}\n"
    with pytest.raises(ChangeoverError) as refused:
        read(text, "chain.yaml", HOPS)
    assert str(refused.value).splitlines()[0].startswith("chain.yaml:6")
    assert "this has no effect with `strategy: rolling`: only blue-green reads it" in str(refused.value)
    assert read(text, "chain.yaml", HOPS, stored=True).chain.tiers[0].update.bake == 10
