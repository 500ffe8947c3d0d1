from __future__ import annotations

from typing import Any

import pytest

from changeover.model.errors import ChangeoverError
from changeover.probe.traffic_plan import TrafficPlan


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"url": "127.0.0.1:8443"}, "not an http:// or https:// address"),
        ({"url": "https://127.0.0.1:84430"}, "not an http:// or https:// address"),
        ({"url": "https://"}, "not an http:// or https:// address"),
        ({"rate": -1.0}, "must not be negative"),
        ({"rate": 0.0, "uploads": 0}, "proves nothing"),
        ({"connections": 0}, "connections must be at least 1"),
        ({"fresh_share": 1.1}, "from 0 to 1"),
        ({"blob_size": 0}, "at least 1 byte"),
        ({"upload_seconds": 0.0}, "more than 0"),
    ],
)
def test_a_load_that_could_prove_nothing_is_refused(fault: dict[str, Any], says: str) -> None:
    with pytest.raises(ChangeoverError, match=says):
        TrafficPlan(**{"url": "https://127.0.0.1:8443", **fault})


def test_what_is_planned_must_be_seen_by_the_verdict() -> None:
    assert TrafficPlan("http://x").planned == ("get", "upload", "readback")
    assert TrafficPlan("http://x", uploads=0).planned == ("get",)
    assert TrafficPlan("http://x", rate=0).planned == ("upload", "readback")
