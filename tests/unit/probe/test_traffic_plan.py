from __future__ import annotations

import pytest
from tests.probe_plans import example_plan

from changeover.model.errors import ChangeoverError
from changeover.model.probe import Get, Post, ProbeSettings
from changeover.probe.traffic_plan import TrafficPlan


@pytest.mark.parametrize("url", ["127.0.0.1:8443", "https://127.0.0.1:84430", "https://", "ftp://x", "http://x/#a"])
def test_an_address_of_no_server_is_refused(url: str) -> None:
    with pytest.raises(ChangeoverError, match="not an http:// or https:// address"):
        example_plan(url)


def test_traffic_without_a_request_is_refused() -> None:
    with pytest.raises(ChangeoverError, match="proves nothing"):
        TrafficPlan("http://x", ProbeSettings())


def test_what_is_planned_must_be_seen_by_the_verdict() -> None:
    assert example_plan("http://x").planned == ("get", "upload", "readback")
    assert example_plan("http://x", uploads=0).planned == ("get",)
    assert example_plan("http://x", rate=0).planned == ("upload", "readback")
    bare = ProbeSettings(get=(Get(path="/"),), post=(Post(path="/u"),))
    assert TrafficPlan("http://x", bare).planned == ("get", "upload")


def test_a_query_of_the_url_that_no_request_would_have_is_refused() -> None:
    with pytest.raises(ChangeoverError, match="query"):
        TrafficPlan("http://x/a?b=1", ProbeSettings(get=(Get(path="/"),)))
