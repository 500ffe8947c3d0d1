"""The weights of a URL map between the two groups of a tier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.doctor.facts import UrlMap
from changeover.doctor.traffic import shares
from changeover.platforms.gcp.weights import judge_share, split
from changeover.ports import Membership

BLUE, GREEN, OTHER = (f"global/backendServices/{name}" for name in ("blue", "green", "other"))
PATHS = {"b": BLUE, "g": GREEN}
ALL_TO_BLUE = UrlMap("web", ({BLUE: 1000, GREEN: 0}, {BLUE: 1, GREEN: 0}), frozenset({OTHER}))


@pytest.mark.parametrize(
    ("totals", "weights"),
    [
        ({"b": 200, "g": 0}, {"b": 1000, "g": 0}),
        ({"b": 0, "g": 300}, {"b": 0, "g": 1000}),
        ({"b": 300, "g": 100}, {"b": 750, "g": 250}),
        ({"b": 256000, "g": 1}, {"b": 999, "g": 1}),
        ({"b": 1, "g": 256000}, {"b": 1, "g": 999}),
        ({"b": 0, "g": 0}, {}),
    ],
)
def test_the_weight_of_a_group_is_the_sum_of_its_instances_and_never_rounded_to_nothing(
    totals: dict[str, int], weights: dict[str, int]
) -> None:
    assert split(totals) == weights


def test_places_of_the_map_that_differ_give_no_share() -> None:
    assert shares(ALL_TO_BLUE, PATHS) == {"b": 1000, "g": 0}
    assert shares(replace(ALL_TO_BLUE, weighted=({BLUE: 3, GREEN: 1},)), PATHS) == {"b": 750, "g": 250}
    assert shares(replace(ALL_TO_BLUE, weighted=({BLUE: 3, GREEN: 1}, {BLUE: 1, GREEN: 0})), PATHS) is None
    assert shares(replace(ALL_TO_BLUE, weighted=({BLUE: 0, GREEN: 0}, {OTHER: 5})), PATHS) is None


ADMITTED = Membership(admitted=True, removed=False)
PENDING = Membership(admitted=False, removed=False, pending="its backend services")


def test_healthy_without_a_share_is_not_admitted_and_is_out_once_every_proxy_follows() -> None:
    first = judge_share(ADMITTED, 0, 0.0, 100, 10.0)
    assert (first.admitted, first.removed) == (False, False)
    assert "sends its group nothing" in first.pending
    assert not judge_share(ADMITTED, 0, 9.0, 100, 10.0).removed
    for found in (ADMITTED, PENDING):
        assert judge_share(found, 0, 10.0, 100, 10.0).removed


def test_with_a_share_health_decides_and_the_weight_is_known_where_the_map_has_what_was_asked_for() -> None:
    assert judge_share(ADMITTED, 250, 0.0, 85, 10.0) == replace(ADMITTED, weight=85)
    assert judge_share(ADMITTED, 250, 0.0, None, 10.0).weight is None
    assert judge_share(PENDING, 250, 0.0, 85, 10.0) == PENDING
    removed = Membership(admitted=False, removed=True)
    assert judge_share(removed, None, 0.0, None, 10.0) == removed


def test_weights_that_are_not_known_confirm_nothing() -> None:
    for found in (ADMITTED, PENDING):
        unknown = judge_share(found, None, 60.0, 100, 10.0)
        assert (unknown.admitted, unknown.removed, unknown.silent) == (False, False, True)
