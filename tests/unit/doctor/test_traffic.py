"""What doctor finds of the URL map whose weights share the requests between the two groups of a tier."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.doctor.healthy import GROUP, REGION, ROOT, SERVICE, facts

from changeover.doctor.examine import examine, examine_adoption
from changeover.doctor.facts import TierFacts, UrlMap

BLUE, GREEN, OTHER = (f"global/backendServices/{name}" for name in ("edge-bs", "edge-green-bs", "other"))
ALL_TO_BLUE = UrlMap("edge-map", ({BLUE: 1000, GREEN: 0}, {BLUE: 1, GREEN: 0}), frozenset({OTHER}))
BLUE_SERVICE = {**SERVICE, "loadBalancingScheme": "EXTERNAL_MANAGED"}
GREEN_SERVICE = {
    **BLUE_SERVICE,
    "name": "edge-green-bs",
    "backends": [{"group": f"{ROOT}/{REGION}/instanceGroups/edge-green"}],
}


def weighed(url_map: UrlMap | None = ALL_TO_BLUE, *, blue: Any = None, green: Any = None, **given: Any) -> TierFacts:
    group = {
        **deepcopy(GROUP),
        "name": "edge-green",
        "targetSize": 0,
        "instanceGroup": f"{ROOT}/{REGION}/instanceGroups/edge-green",
    }
    services = {"edge-green-bs": {**GREEN_SERVICE, **(green or {})}}
    common = {"url_map_name": "edge-map", "url_map": url_map, **given}
    idle = facts(group_name="edge-green", group=group, vms=[], agents={}, services=services, **common)
    return facts(idle=idle, services={"edge-bs": {**BLUE_SERVICE, **(blue or {})}}, **common)


def found(of: TierFacts) -> list[tuple[str, str]]:
    return [(one.check, f"{one.read}; {one.cure}") for one in examine(of)]


def test_a_map_that_weighs_both_services_wherever_it_names_one_is_fine() -> None:
    assert found(weighed()) == []
    assert found(weighed(replace(ALL_TO_BLUE, weighted=(*ALL_TO_BLUE.weighted, {OTHER: 5})))) == []


@pytest.mark.parametrize(
    ("url_map", "text"),
    [
        (replace(ALL_TO_BLUE, direct=frozenset({BLUE})), "leads to edge-bs without a weight"),
        (replace(ALL_TO_BLUE, weighted=({BLUE: 1000},)), "does not have edge-bs and edge-green-bs"),
        (replace(ALL_TO_BLUE, weighted=({BLUE: 900, GREEN: 0, OTHER: 100},)), "and no other service"),
        (replace(ALL_TO_BLUE, weighted=()), "does not have edge-bs and edge-green-bs"),
        (replace(ALL_TO_BLUE, weighted=({BLUE: 900, GREEN: 100},)), "does not send all requests of the tier to group"),
        (replace(ALL_TO_BLUE, weighted=({BLUE: 0, GREEN: 1000},)), "to group edge-mig, which has its VMs"),
    ],
)
def test_a_map_that_would_leave_requests_where_no_instance_is_is_refused(url_map: UrlMap, text: str) -> None:
    ((check, said),) = found(weighed(url_map))
    assert check == "weights-do-not-fit"
    assert text in said
    assert "Name edge-bs with weight 1000 and edge-green-bs with 0" in said
    assert "gcloud compute url-maps edit edge-map --global" in said


def test_a_map_that_does_not_exist_is_named_and_one_that_could_not_be_read_is_not_taken_for_missing() -> None:
    ((check, said),) = found(weighed(None))
    assert check == "url-map-missing"
    assert "there is no URL map edge-map" in said
    assert [
        name for name, _ in found(weighed(None, unread={"URL map edge-map": "URL map edge-map: 403: Forbidden"}))
    ] == ["permission-missing"]


@pytest.mark.parametrize("scheme", ["EXTERNAL", "INTERNAL"])
def test_a_scheme_whose_url_maps_take_no_weights_is_refused(scheme: str) -> None:
    ((check, said),) = found(weighed(blue={"loadBalancingScheme": scheme}))
    assert check == "scheme-takes-no-weights"
    assert f"its scheme is {scheme}, whose URL maps take no weights" in said


def test_session_affinity_is_refused_since_a_session_ends_with_its_weight() -> None:
    ((check, said),) = found(weighed(green={"sessionAffinity": "GENERATED_COOKIE"}))
    assert check == "affinity-with-weights"
    assert "update edge-green-bs --global --session-affinity=NONE" in said


def test_the_service_of_the_group_without_vms_is_examined_too() -> None:
    elsewhere = weighed(green={"backends": []})
    assert [name for name, _ in found(elsewhere)] == ["group-not-behind-service"]
    assert [one.check for one in examine_adoption(elsewhere)] == ["group-not-behind-service"]
    assert [name for name, _ in found(weighed(green={"healthChecks": []}))] == ["lame-duck-unseen"]
