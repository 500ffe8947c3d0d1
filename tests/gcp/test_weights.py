"""A canary by the weights of a URL map: shares of the requests, taken back and finished, without a lost request.

A control moves the weight before there is a healthy instance, and must lose requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import PORT, ZONE

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

GROUPS = f"zones/{ZONE}/instanceGroupManagers"
LINK = f"https://www.googleapis.com/compute/v1/projects/shop/zones/{ZONE}/instanceGroups"
STEPS = [{"set_weight": 25}, {"pause": "until-promoted"}]
PATIENCE = 90
"""Seconds for a step of a rollout, on a machine that does other things."""


def weights(blue: int, green: int) -> Json:
    services = {"web": blue, "web-green": green}
    return {
        "weightedBackendServices": [
            {"backendService": f"global/backendServices/{name}", "weight": weight} for name, weight in services.items()
        ]
    }


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    """Two groups, each behind a service of its own; a URL map with a rule for other requests, too."""
    world = agent_world(drain=0)
    resources = world["resources"]
    groups, services = resources[GROUPS], resources["global/backendServices"]
    groups.append({**groups[0], "name": "web-green", "targetSize": 0})
    services.append({**services[0], "name": "web-green", "backends": [{"group": f"{LINK}/web-green"}]})
    services.append({**services[0], "name": "other"})
    resources["global/urlMaps"] = [
        {
            "name": "web",
            "defaultRouteAction": weights(1000, 0),
            "hostRules": [{"hosts": ["*"], "pathMatcher": "all"}],
            "pathMatchers": [
                {
                    "name": "all",
                    "defaultRouteAction": weights(1000, 0),
                    "pathRules": [{"paths": ["/other/*"], "service": "global/backendServices/other"}],
                }
            ],
        }
    ]
    resources["global/targetHttpProxies"] = [{"name": "web", "urlMap": "global/urlMaps/web"}]
    rule = {"name": "web", "IPAddress": "@network@.1.1", "portRange": str(PORT)}
    resources["global/forwardingRules"] = [{**rule, "target": "global/targetHttpProxies/web"}]
    with running(world, tmp_path_factory.mktemp("fake")) as made:
        until(lambda: len(set(served(made))) == 2, "two serving instances", PATIENCE)
        yield made


@pytest.fixture(scope="module")
def chain(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> GcpChain:
    tier = {
        "second_group": "web-green",
        "traffic": {"url_map": "web", "second_service": "web-green"},
        "update": {"strategy": "canary", "steps": STEPS, "bake": "1s"},
    }
    made = GcpChain(fake, tmp_path_factory.mktemp("chain"), tier=tier)
    made.run("up")
    return made


def served(fake: Fake, count: int = 12) -> Counter[str]:
    """How often each instance answers; an error of the balancer is one of them."""
    answers = [fake.http.get(f"http://{fake.address('web')}/") for _ in range(count)]
    return Counter(each.text.strip('"') if each.is_success else str(each.status_code) for each in answers)


def shares(fake: Fake) -> list[list[int]]:
    """The weights of both services, in each place of the map."""
    found = fake.call("GET", "global/urlMaps/web").json()
    actions = [found["defaultRouteAction"], found["pathMatchers"][0]["defaultRouteAction"]]
    return [[one.get("weight", 0) for one in action["weightedBackendServices"]] for action in actions]


def test_a_canary_gets_its_share_of_the_requests_is_taken_back_and_finished(chain: GcpChain, fake: Fake) -> None:
    rules = fake.call("GET", "global/urlMaps/web").json()["pathMatchers"][0]["pathRules"]
    assert not fake.log("urlMaps.patch"), "to adopt changes nothing"
    with Traffic(fake.address("web")) as traffic:
        roll = chain.start("roll", "web", "--to", "v2")
        until(lambda: shares(fake) == [[750, 250]] * 2, "a quarter of the requests", PATIENCE)
        until(lambda: chain.status()["tiers"][0]["status"] == "holding", "the pause", PATIENCE)
        until(lambda: len({name.startswith("web-v2") for name in served(fake)}) == 2, "both to answer", PATIENCE)
        chain.run("abort", "web")
        said, error = roll.communicate(timeout=PATIENCE)
        assert roll.returncode == 1, said + error
        assert shares(fake) == [[1000, 0]] * 2
        assert not [name for name in served(fake) if name.startswith("web-v2")]

        roll = chain.start("roll", "web", "--to", "v2")
        until(lambda: chain.status()["tiers"][0]["status"] == "holding", "the pause", PATIENCE)
        chain.run("promote", "web")
        said, error = roll.communicate(timeout=PATIENCE)
        assert roll.returncode == 0, said + error
        assert shares(fake) == [[0, 1000]] * 2
        assert {name.rpartition("-")[0] for name in served(fake)} == {"web-v2"}
    assert traffic.lost == []
    assert fake.call("GET", "global/urlMaps/web").json()["pathMatchers"][0]["pathRules"] == rules
    assert all(call["body"].get("fingerprint") for call in fake.log("urlMaps.patch"))
    assert fake.call("GET", f"{GROUPS}/web").json()["targetSize"] == 0


def test_a_switch_changes_the_weights_after_another_client_has_changed_the_map(chain: GcpChain, fake: Fake) -> None:
    body = {"description": "changed"}
    fake.fault(do="act", on="urlMaps.patch", verb="PATCH", path="projects/shop/global/urlMaps/web", body=body)
    with Traffic(fake.address("web")) as traffic:
        chain.run("roll", "web", "--to", "v1", "--strategy", "blue-green")
    assert traffic.lost == []
    assert shares(fake) == [[1000, 0]] * 2
    assert [call["status"] for call in fake.log("urlMaps.patch")].count(412) == 1
    assert fake.call("GET", "global/urlMaps/web").json()["description"] == "changed"
    chain.run("down")


def test_control_a_weight_without_a_healthy_instance_loses_requests(fake: Fake) -> None:
    with Traffic(fake.address("web")) as traffic:
        body = {"defaultRouteAction": weights(500, 500)}
        matcher = fake.call("GET", "global/urlMaps/web").json()["pathMatchers"][0]
        fake.call("PATCH", "global/urlMaps/web", {**body, "pathMatchers": [{**matcher, **body}]}).raise_for_status()
        until(lambda: traffic.lost, "a request that is lost", PATIENCE)
