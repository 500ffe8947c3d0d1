from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from changeover.model.guard import SHIPPED, Condition, Guard, Prometheus, known_guards, resolve

PLAIN: dict[str, Any] = {"name": "one", "source": "probe", "measure": "latency", "at_most": 250}
COMPARED: dict[str, Any] = {"name": "one", "source": "probe", "measure": "latency", "against_baseline": True}
QUERY: dict[str, Any] = {"name": "one", "source": "prometheus", "measure": "query", "at_most": 1, "query": "up"}


def condition(base: dict[str, Any], **changes: Any) -> Condition:
    return Condition.model_validate({**base, **changes})


def test_what_is_written_in_a_chain_file_is_a_guard() -> None:
    guard = Guard.model_validate(
        {"name": "mine", "conditions": [{**PLAIN, "interval": "500ms", "percentile": 99, "dry_run": True}]}
    )
    assert guard.conditions[0].interval == 0.5
    assert guard.conditions[0].dry_run


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (PLAIN, {"source": "router"}, "router cannot measure latency. It can: broken_requests, error_ratio"),
        (PLAIN, {"source": "prometheus"}, "prometheus cannot measure latency. It can: query"),
        (PLAIN, {"at_most": None}, "either at_most or against_baseline, and neither is given"),
        (PLAIN, {"against_baseline": True}, "either at_most or against_baseline, and both are given"),
        (COMPARED, {"measure": "broken_requests"}, "broken_requests is a count and cannot be compared"),
        (COMPARED, {"count": 5}, "5 samples are too few for a comparison with alpha 0.01"),
        (PLAIN, {"query": "up"}, "measure latency has no query"),
        (QUERY, {"query": " "}, "measure query needs the key query"),
        (QUERY, {"query": "up{i=~'$instance'}"}, r"\$instance is not a placeholder of a query"),
        (QUERY, {"at_most": None, "against_baseline": True}, "the query selects no instances"),
        (PLAIN, {"measure": "error_ratio", "at_most": 0.01, "min_requests": 50}, "one broken request of 50 exceeds"),
        (PLAIN, {"at_most": float("nan")}, "finite"),
        (PLAIN, {"interval": 5}, "a time with its unit"),
        (PLAIN, {"limit": 5}, "Extra inputs"),
    ],
)
def test_what_could_not_be_judged_is_refused(base: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        condition(base, **changes)


def test_two_conditions_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two conditions of guard mine are named one"):
        Guard.model_validate({"name": "mine", "conditions": [PLAIN, PLAIN]})


def test_the_anchors_of_a_regular_expression_are_no_placeholders() -> None:
    assert condition(QUERY, query='up{instance=~"^(${addresses})$"}[$interval]')


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 20),
        ({"percentile": 99}, 100),
        ({"percentile": 50}, 20),
        ({"min_requests": 7}, 7),
        ({"measure": "error_ratio", "at_most": 0.01}, 100),
        ({"measure": "error_ratio", "at_most": 0}, 20),
    ],
)
def test_no_single_request_decides_a_sample(changes: dict[str, Any], needed: int) -> None:
    assert condition(PLAIN, **changes).requests_needed == needed


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("count", [10, 11, 30])
def test_all_looks_of_a_round_together_spend_alpha(count: int, alpha: float) -> None:
    one = condition(COMPARED, count=count, alpha=alpha)
    assert one.first_look is not None
    assert sum(one.alpha_of(look) for look in range(one.first_look, count + 1)) == pytest.approx(alpha)


def test_the_shipped_guards_are_known_by_name() -> None:
    assert set(SHIPPED) == {"no-broken-requests", "latency-not-worse"}
    assert resolve(SHIPPED) == tuple(SHIPPED.values())


def test_an_unknown_guard_is_an_error_that_lists_the_known_ones() -> None:
    mine = Guard.model_validate({"name": "mine", "conditions": [PLAIN]})
    assert resolve(["mine"], [mine]) == (mine,)
    with pytest.raises(
        ValueError, match=r"no guard is called latency-not-wors\. Did you mean latency-not-worse\? "
    ) as e:
        resolve(["latency-not-wors"], [mine])
    assert "There are: latency-not-worse, mine, no-broken-requests" in str(e.value)


def test_a_name_stands_for_one_guard() -> None:
    mine = Guard.model_validate({"name": "mine", "conditions": [PLAIN]})
    shipped = Guard.model_validate({"name": "latency-not-worse", "conditions": [PLAIN]})
    with pytest.raises(ValueError, match="two guards are named mine"):
        known_guards([mine, mine])
    with pytest.raises(ValueError, match="latency-not-worse is built in and cannot be changed"):
        known_guards([shipped])


@pytest.mark.parametrize("part", [Condition, Guard, Prometheus])
def test_every_key_says_what_it_means(part: type[Condition | Guard | Prometheus]) -> None:
    unsaid = [name for name, field in part.model_fields.items() if not field.description and name != "name"]
    assert not unsaid


def test_prometheus_is_an_address() -> None:
    assert Prometheus.model_validate({"url": "http://127.0.0.1:9090"}).timeout == 5
    with pytest.raises(ValidationError):
        Prometheus.model_validate({"url": "127.0.0.1:9090"})
