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


@pytest.mark.parametrize(("requests", "connections", "flow"), [(None, 0, 3), (None, None, None), (None, 2, 6)])
def test_the_flow_is_a_number_of_requests_where_each_instance_is_known(
    requests: int | None, connections: int | None, flow: int | None
) -> None:
    """An instance that stops has no count of requests, and none without a connection."""
    assert tier(instance("a", "v1", requests, connections), instance("b", "v2", 3, 4)).flow == flow
