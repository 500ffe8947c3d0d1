"""A regional group of the fake: its zones, and the rules that only such groups have."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import compute_v1
from tests.gcp.clients import RegionalGroup, client
from tests.gcp.fakes import Fake, running, until
from tests.gcp.worlds import REGION, SPEED, ZONES, world


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    """Behind a global service without a drain, and behind a regional one with 50 s."""
    spec = world(size=3, regional=True)
    spec["delays"], resources = {"after_drain": 1}, spec["resources"]
    resources[f"regions/{REGION}/healthChecks"] = [
        {"name": "near", "type": "TCP", "tcpHealthCheck": {"portSpecification": "USE_SERVING_PORT"}}
    ]
    (service,) = resources["global/backendServices"]
    resources[f"regions/{REGION}/backendServices"] = [
        {
            **service,
            "name": "near",
            "protocol": "TCP",
            "loadBalancingScheme": "INTERNAL_MANAGED",
            "healthChecks": [f"regions/{REGION}/healthChecks/near"],
            "connectionDraining": {"drainingTimeoutSec": 50},
        }
    ]
    resources[f"regions/{REGION}/targetTcpProxies"] = [
        {"name": "near", "service": f"regions/{REGION}/backendServices/near", "proxyHeader": "NONE"}
    ]
    resources[f"regions/{REGION}/forwardingRules"] = [
        {"name": "near", "portRange": "8081-8081", "target": f"regions/{REGION}/targetTcpProxies/near"}
    ]
    with running(spec, tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture
def group(fake: Fake) -> Iterator[RegionalGroup]:
    """With three instances, one in each zone, before and after."""
    made = RegionalGroup(fake)
    until(lambda: made.stable(3), "three instances")
    yield made
    made.wait(made.resize(3))
    until(lambda: made.stable(3), "three instances")


def test_instances_spread_over_the_zones(group: RegionalGroup) -> None:
    assert group.zones() == dict.fromkeys(ZONES, 1)
    group.wait(group.resize(5))
    until(lambda: group.stable(5), "five instances")
    assert sorted(group.zones().values()) == [1, 2, 2]


def test_a_named_instance_is_made_in_the_emptiest_zone(group: RegionalGroup) -> None:
    group.wait(group.create("web-one", "web-two", "web-three"))
    until(lambda: group.stable(6), "six instances")
    assert group.zones() == dict.fromkeys(ZONES, 2)
    url = group.instances()["web-two"].instance
    group.wait(group.delete(url))
    until(lambda: group.stable(5), "five instances")
    assert "web-two" not in group.instances()


def test_proactive_redistribution_moves_instances_back_into_balance(group: RegionalGroup) -> None:
    group.wait(group.resize(5))
    until(lambda: group.stable(5), "five instances")
    smallest = min(ZONES, key=lambda zone: group.zones()[zone])
    (url,) = [each.instance for each in group.instances().values() if f"/{smallest}/" in each.instance]
    group.wait(group.delete(url))
    until(lambda: sorted(group.zones().values()) == [1, 1, 2] and group.stable(4), "an even spread")


def test_without_redistribution_they_stay_where_they_are(group: RegionalGroup) -> None:
    policy = {"instance_redistribution_type": "NONE"}
    group.wait(group.patch(update_policy=policy))
    group.wait(group.resize(5))
    until(lambda: group.stable(5), "five instances")
    smallest = min(ZONES, key=lambda zone: group.zones()[zone])
    (url,) = [each.instance for each in group.instances().values() if f"/{smallest}/" in each.instance]
    group.wait(group.delete(url))
    until(lambda: group.stable(4), "four instances")
    assert sorted(group.zones().values()) == [2, 2]
    group.wait(group.patch(update_policy={"instance_redistribution_type": "PROACTIVE"}))


def test_a_regional_service_has_its_own_health_and_address(fake: Fake, group: RegionalGroup) -> None:
    services = client(compute_v1.RegionBackendServicesClient, fake)
    reference = compute_v1.ResourceGroupReference(group=group.get().instance_group)
    here = {"project": "shop", "region": REGION, "backend_service": "near"}

    def healthy() -> set[str]:
        found = services.get_health(**here, resource_group_reference_resource=reference).health_status
        return {each.instance.rpartition("/")[2] for each in found if each.health_state == "HEALTHY"}

    until(lambda: healthy() == set(group.instances()), "every instance to be healthy")
    assert fake.http.get(f"http://{fake.address('near')}/").text.startswith("web-")


def test_of_services_that_share_a_group_the_longest_drain_holds(group: RegionalGroup) -> None:
    url = group.instances()[min(group.instances())].instance
    began = time.monotonic()
    group.wait(group.delete(url))
    until(lambda: group.stable(2), "the instance to be gone")
    assert time.monotonic() - began >= 50 / SPEED


def test_a_fixed_bound_below_the_number_of_zones_is_refused(group: RegionalGroup) -> None:
    assert group.get().update_policy.max_surge.calculated == len(ZONES)
    with pytest.raises(BadRequest, match="at least equal to the number of zones"):
        group.patch(update_policy={"max_surge": {"fixed": 1}, "max_unavailable": {"fixed": 0}})


def test_an_instance_of_another_region_is_refused_whatever_is_skipped(group: RegionalGroup) -> None:
    with pytest.raises(BadRequest, match=f"not in {REGION}"):
        group.delete("zones/us-east1-b/instances/web-x", skip_instances_on_validation_error=True)


def test_unknown_members_are_skipped_where_the_request_says_so(group: RegionalGroup) -> None:
    url = f"zones/{ZONES[0]}/instances/web-x"
    with pytest.raises(BadRequest, match="not a member"):
        group.delete(url)
    assert not group.wait(group.delete(url, skip_instances_on_validation_error=True)).error.errors
    assert group.get().target_size == 3
