"""What the page says of a tier: each template counted by itself, and no number where one is not known."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.web.page.snapshot import Snapshot
from changeover.web.page.view import TierView, chain_view


def tier(*instances: dict[str, Any]) -> TierView:
    """The runtime, of these instances."""
    facts = {"tier": "runtime", "serving": True, "reason": "", "drain_seconds_left": None, "phase": "admitted"}
    row = {"id": 1, "tier": "runtime", "from": "v1", "to": "v2", "ended": None, "restart": False}
    about = {"name": "runtime", "kind": "app", "template": "v2", "status": "rolling", "serving": 2, "size": 2}
    status = {
        "state": "serving",
        "up": False,
        "active_command": None,
        "tiers": [about | {"canary_share": None}],
        "instances": [facts | one for one in instances],
    }
    (found,) = chain_view(1, "chain", Snapshot(0.0, status, [row])).tiers
    return found


def instance(name: str, template: str, requests: int | None, connections: int | None) -> dict[str, Any]:
    flight: dict[str, Any] = {"requests": requests, "connections": connections, "uploads": []}
    return {"name": name, "template": template, "in_flight": flight}


def test_old_and_new_instances_are_counted_apart() -> None:
    found = tier(instance("a", "v1", 3, 4), instance("b", "v2", 1, 1), instance("c", "v1", 2, 2))
    assert [(group.side, group.template, group.requests) for group in found.groups] == [
        ("old", "v1", 5),
        ("new", "v2", 1),
    ]
    assert found.flow == 6


@pytest.mark.parametrize(
    ("requests", "connections", "flow"), [(None, 0, (3, False)), (None, None, (3, True)), (None, 2, (6, False))]
)
def test_the_flow_is_a_number_of_requests_and_says_where_an_instance_has_no_count(
    requests: int | None, connections: int | None, flow: tuple[int, bool]
) -> None:
    """An instance that stops has no count of requests, and none without a connection."""
    found = tier(instance("a", "v1", requests, connections), instance("b", "v2", 3, 4))
    assert (found.flow, found.more) == flow


def test_one_instance_without_a_count_hides_no_sum_of_the_others() -> None:
    found = tier(instance("a", "v1", 2, 2), instance("b", "v1", None, None), instance("c", "v2", None, None))
    assert [(one.requests, one.unknown) for one in found.groups] == [(2, 1), (None, 1)]
    assert (found.flow, found.more) == (2, True)
    assert (tier().flow, tier().more) == (0, False)
    assert (tier(instance("a", "v1", None, None)).flow, tier(instance("a", "v1", None, 7)).flow) == (None, 7)
