"""An upstream outside of the chain gets the affinity and the health checks of the chain file, or is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kong.kongs import Kong, double, instance, plain_document, run, steered

from changeover.ports import Unknown

BEFORE: dict[str, Any] = {"affinity": {"cookie": "route"}, "health": {"interval": "5s", "rise": 2}}
AFTER: dict[str, Any] = {"affinity": {"header": "X-User"}, "health": {"interval": "1s", "fall": 7}}


@pytest.fixture(params=["database", "documents"])
def kong(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kong]:
    (tmp_path / "kong.json").write_text(json.dumps(plain_document()))
    with double(tmp_path, 2, database=request.param == "database") as found:
        yield found


def opened(kong: Kong, **tier_keys: Any) -> None:
    """As `up` does it, with one instance."""
    router = steered(kong, "/readyz", tier_keys=tier_keys)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(instance(1, 21001), 100))


def upstreams(kong: Kong) -> list[dict[str, Any]]:
    """As each node has it."""
    for served in kong.served:
        served.node.catch_up()
    return [next(iter(served.node.known["upstreams"].values())) for served in kong.served]


def changed(kong: Kong, **keys: Any) -> None:
    """The operator writes these keys of the upstream."""
    if kong.database:
        run(kong.api().create_upstream({"name": "runtime"}))
        run(kong.api().change_upstream("runtime", keys))
    else:
        given = plain_document()
        given["upstreams"][0] |= keys
        (kong.folder / "kong.json").write_text(json.dumps(given))


def test_a_changed_affinity_and_changed_checks_take_effect_when_the_chain_starts_again(kong: Kong) -> None:
    opened(kong, **BEFORE)
    for upstream in upstreams(kong):
        assert (upstream["hash_on"], upstream["hash_on_cookie"]) == ("cookie", "route")
    opened(kong, **AFTER)
    for upstream in upstreams(kong):
        assert (upstream["hash_on"], upstream["hash_on_header"], upstream["hash_fallback"]) == (
            "header",
            "x_user",
            "cookie",
        )
        active = upstream["healthchecks"]["active"]
        assert (active["healthy"]["interval"], active["healthy"]["successes"]) == (1, 1)
        assert (active["unhealthy"]["interval"], active["unhealthy"]["tcp_failures"]) == (1, 7)
    opened(kong)
    assert [upstream["algorithm"] for upstream in upstreams(kong)] == ["round-robin"] * 2


def test_what_the_operator_changed_is_set_back_and_other_keys_stay(kong: Kong) -> None:
    opened(kong, **BEFORE)
    changed(kong, tags=["changeover"], slots=500, algorithm="least-connections")
    opened(kong, **BEFORE)
    assert {(one["algorithm"], one["slots"]) for one in upstreams(kong)} == {("consistent-hashing", 500)}


def test_an_upstream_of_another_owner_that_differs_is_refused_with_every_difference(kong: Kong) -> None:
    checks = {"active": {"healthy": {"interval": 5, "successes": 1}, "unhealthy": {"interval": 5}}}
    changed(kong, tags=["of the operator"], hash_on="ip", algorithm="consistent-hashing", healthchecks=checks)
    with pytest.raises(Unknown) as refused:
        opened(kong, **AFTER)
    for part in (
        "upstream runtime has no tag `changeover`",
        "hash_on is ip, not header",
        "hash_on_header is not set, not x_user",
        "healthchecks.active.healthy.interval is 5, not 1.0",
        "add the tag",
    ):
        assert re.search(re.escape(part), str(refused.value)), str(refused.value)
    if kong.database:
        assert {one["hash_on"] for one in upstreams(kong)} == {"ip"}


def test_the_checks_ask_and_expect_what_the_chain_file_says(kong: Kong) -> None:
    opened(kong, health={"path": "/up", "status": [200, 204], "headers": {"X-Token": "hunter2"}})
    for upstream in upstreams(kong):
        active = upstream["healthchecks"]["active"]
        assert (active["http_path"], active["headers"]) == ("/up", {"X-Token": ["hunter2"]})
        assert active["healthy"]["http_statuses"] == [200, 204]
        assert 302 in active["unhealthy"]["http_statuses"]
    opened(kong, health={"tcp": True})
    assert {upstream["healthchecks"]["active"]["type"] for upstream in upstreams(kong)} == {"tcp"}


def test_a_header_of_the_checks_that_differs_is_named_without_its_value(kong: Kong) -> None:
    changed(kong, tags=["of the operator"])
    with pytest.raises(Unknown, match=r"headers\.X-Token is not the value of the chain file") as refused:
        opened(kong, health={"headers": {"X-Token": "hunter2"}})
    assert "hunter2" not in str(refused.value)


def test_an_upstream_of_another_owner_that_agrees_is_used_as_it_is(kong: Kong) -> None:
    checks = plain_document(affinity="client-ip")["upstreams"][0]["healthchecks"]
    changed(kong, tags=None, hash_on="ip", algorithm="consistent-hashing", slots=777, healthchecks=checks)
    opened(kong, affinity="client-ip", health={"interval": "100ms"})
    assert {(one["hash_on"], one["slots"], str(one["tags"])) for one in upstreams(kong)} == {("ip", 777, "None")}
