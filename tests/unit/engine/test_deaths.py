"""What a death cost, by what routers counted before it and after it. Pure, but for the looks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from changeover.engine.deaths import DeathCosts, cost_of
from changeover.engine.timing import EngineTiming
from changeover.model.instance import DeathCost
from changeover.ports import Broken, Router, Unknown

NAME, OTHER = "web-v1-1", "web-v1-2"
FAST = EngineTiming(serving_look=0.0, settle_look=0.0, settled_after=5.0)


def test_equal_counts_of_routers_that_read_requests_are_no_cost() -> None:
    cost = cost_of({"envoy": Broken(7, 2)}, {"envoy": Broken(7, 0)})
    assert (cost, str(cost), cost.is_nothing) == (DeathCost(), "0 requests broken", True)


def test_what_broke_since_the_look_before_is_the_cost_over_all_routers() -> None:
    cost = cost_of({"a": Broken(7, 0), "b": Broken(0, 0)}, {"a": Broken(9, 0), "b": Broken(1, 0), "c": Broken(1, 0)})
    assert (cost.broken, str(cost), cost.is_nothing) == (4, "4 requests broken", False)
    assert str(DeathCost(1)) == "1 request broken"


def test_an_instance_that_no_router_lists_and_listed_broke_nothing() -> None:
    assert cost_of({}, {}) == cost_of(None, {}) == DeathCost()


def test_counts_without_a_look_before_them_are_unknown_unless_they_are_zero() -> None:
    assert cost_of(None, {"envoy": Broken(0, 0)}) == DeathCost()
    cost = cost_of(None, {"envoy": Broken(3, 0)})
    assert str(cost) == "unknown whether requests broke: envoy counts 3 broken so far, and was not asked before"


def test_a_router_that_ended_or_began_anew_took_its_counts_with_it() -> None:
    cost = cost_of({"a": Broken(1, 0), "b": Broken(1, 0)}, {"b": Broken(0, 0)})
    assert cost.unknown == "a has ended with its counts; b began to count anew"
    assert not cost.is_nothing


def test_what_a_router_still_holds_is_unknown() -> None:
    cost = cost_of({"envoy": Broken(0, 1)}, {"envoy": Broken(0, 1)})
    assert str(cost) == "unknown whether requests broke: envoy still holds 1 connection"


def test_a_router_that_passes_bytes_knows_only_that_no_connection_carried_a_request() -> None:
    quiet = Broken(0, 0, connections=5)
    assert cost_of({"haproxy": quiet}, {"haproxy": quiet}) == DeathCost()
    held = cost_of({"haproxy": Broken(0, 2, 5)}, {"haproxy": Broken(0, 0, 6)})
    assert held.unknown == "haproxy passes bytes, and cannot tell whether 3 connections carried a request"
    reset = cost_of({"haproxy": Broken(0, 2, 5)}, {"haproxy": Broken(1, 0, 5)})
    assert str(reset) == (
        "at least 1 request broken: haproxy passes bytes, and cannot tell whether 1 connection carried a request"
    )
    assert cost_of({"haproxy": Broken(0, 1, 5)}, {"haproxy": Broken(1, 0, 5)}) == DeathCost(1)


class Counting:
    """A router with one answer for each question; the last one stays."""

    def __init__(self, *answers: Mapping[str, Broken] | Unknown) -> None:
        self.answers = list(answers)

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Unknown):
            raise answer
        return dict.fromkeys(names, answer)


def costs(router: Any, looks: int, *dead: str) -> list[DeathCost]:
    async def go() -> list[DeathCost]:
        clock = iter(range(1000))
        found = DeathCosts(cast(Router, router), lambda: next(clock) / 100, FAST)
        for _ in range(looks):
            await found.look(frozenset([NAME, OTHER]))
        return [await found.of(name) for name in dead]

    return asyncio.run(go())


def test_the_look_before_the_last_one_counts_because_requests_break_before_the_end_is_seen() -> None:
    first, second, broke = {"envoy": Broken(1, 1)}, {"envoy": Broken(2, 0)}, {"envoy": Broken(2, 0)}
    assert costs(Counting(first, second, broke), 2, NAME) == [DeathCost(1)]


def test_the_routers_are_asked_until_nothing_is_open_and_the_counts_stay() -> None:
    open_, half, done = ({"envoy": Broken(*counts)} for counts in ((0, 2), (1, 1), (2, 0)))
    assert costs(Counting(open_, open_, half, half, done, done), 1, NAME) == [DeathCost(2)]


def test_what_a_source_of_the_whole_tier_counted_is_the_cost_of_one_death_and_not_of_two() -> None:
    before, after = {"envoy": Broken(0, 0)}, {"envoy": Broken(3, 0)}
    assert costs(Counting(before, after), 1, NAME, OTHER) == [DeathCost(3), DeathCost(0)]


def test_routers_that_do_not_count_or_do_not_answer_leave_the_cost_unknown() -> None:
    assert costs(object(), 1, NAME) == [DeathCost(unknown="its routers do not count requests that break")]
    assert costs(Counting(Unknown("gateway-v1-1 is silent")), 1, NAME) == [DeathCost(unknown="gateway-v1-1 is silent")]
