"""The validator that every message of the fake passes: what it refuses, and that nobody overlooks a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.gcp.fake.wire.discovery import Discovery
from tests.gcp.fakes import Fake
from tests.gcp.worlds import ZONE, world

GROUPS = f"projects/shop/zones/{ZONE}/instanceGroupManagers"


@pytest.fixture(scope="module")
def discovery() -> Discovery:
    return Discovery()


def problems(discovery: Discovery, verb: str, path: str, body: Any = None, **query: str) -> list[str]:
    call = discovery.match(verb, path)
    assert call is not None
    return discovery.request_problems(call, list(query.items()), body)


GOOD = {"fingerprint": "AAAA", "versions": [{"name": "v2"}], "updatePolicy": {"type": "PROACTIVE"}, "targetSize": 3}


def test_a_right_message_has_no_problem(discovery: Discovery) -> None:
    assert problems(discovery, "PATCH", f"{GROUPS}/web", GOOD, requestId="x") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"finger_print": "AAAA"}, "body.finger_print: unknown field"),
        ({"updatePolicy": {"type": "EAGER"}}, "body.updatePolicy.type: 'EAGER' is none of"),
        ({"targetSize": "3"}, "body.targetSize: str is no integer"),
        ({"targetSize": True}, "body.targetSize: bool is no integer"),
        ({"targetSize": 2**31}, "body.targetSize: 2147483648 is no int32"),
        ({"versions": {}}, "body.versions: dict is no array"),
        ({"versions": [{"size": 1}]}, "body.versions[0].size: unknown field"),
        ({"fingerprint": "?"}, "body.fingerprint: '?' is no base64"),
        ({"id": "x"}, "body.id: 'x' is no integer"),
    ],
)
def test_a_wrong_field_is_named(discovery: Discovery, change: dict[str, Any], problem: str) -> None:
    (found,) = problems(discovery, "PATCH", f"{GROUPS}/web", {**GOOD, **change})
    assert found.startswith(problem)


def test_a_required_field_and_parameter_are_missed(discovery: Discovery) -> None:
    assert problems(discovery, "POST", GROUPS, {"targetSize": 1}) == ["body.name: required"]
    assert problems(discovery, "POST", f"{GROUPS}/web/resize") == ["parameter size: missing"]
    assert problems(discovery, "POST", f"{GROUPS}/web/createInstances") == ["body: missing"]


def test_a_wrong_parameter_is_named(discovery: Discovery) -> None:
    assert problems(discovery, "POST", f"{GROUPS}/web/resize", size="three") == [
        "parameter size: 'three' is no integer"
    ]
    assert problems(discovery, "GET", f"{GROUPS}/web", dryRun="true") == ["parameter dryRun: unknown"]


def test_a_wrong_answer_is_named(discovery: Discovery) -> None:
    call = discovery.match("GET", f"{GROUPS}/web")
    assert call is not None
    assert discovery.response_problems(call, {"name": "web", "status": {"isStable": True}}) == []
    assert discovery.response_problems(call, {"status": {"stable": True}}) == ["response.status.stable: unknown field"]


def test_what_the_api_does_not_have_is_no_method(discovery: Discovery) -> None:
    assert discovery.match("GET", f"{GROUPS}/web/instances") is None
    assert discovery.match("PUT", f"{GROUPS}/web") is None


def test_a_message_that_breaks_the_contract_fails_the_run(tmp_path: Path) -> None:
    fake = Fake(world(size=0), tmp_path)
    answer = fake.call("PATCH", f"zones/{ZONE}/instanceGroupManagers/web", {"targetsize": 3})
    assert answer.status_code == 400
    assert "fake: schema: instanceGroupManagers.patch: body.targetsize: unknown field" in answer.text
    assert fake.http.get("/storage/v1/b").status_code == 501, "nor is another API part of it"
    assert len(fake.state()["violations"]) == 2
    assert fake.stop() == 1
    assert "targetsize" in fake.errors()
