"""A canary by the weights of a URL map: shares of the requests, taken back and finished, without a lost request.

A control moves the weight before there is a healthy instance, and must lose requests.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import PORT, REGION, ZONE

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

GROUPS = f"zones/{ZONE}/instanceGroupManagers"
TWO_GROUPS = {"second_group": "web-green", "traffic": {"url_map": "web", "second_service": "web-green"}}
STEPS = [{"set_weight": 25}, {"pause": "until-promoted"}]
PATIENCE = 180
"""Seconds for a step of a rollout. On a machine that does other things, a controller alone took up to 70 s to start."""


def weights(where: str, blue: int, green: int) -> Json:
    """`where`: `global` or `regions/R`."""
    services = {"web": blue, "web-green": green}
    return {
        "weightedBackendServices": [
            {"backendService": f"{where}/backendServices/{name}", "weight": weight} for name, weight in services.items()
        ]
    }


def weighed_world(*, regional: bool = False) -> Json:
    """Two groups, each behind a service of its own; a URL map with a rule for other requests, too.

    `regional`: the groups, and everything of the load balancer, too.
    """
    world = agent_world(drain=0, regional=regional)
    resources, where = world["resources"], f"regions/{REGION}" if regional else "global"
    scope = f"regions/{REGION}" if regional else f"zones/{ZONE}"
    groups, (service,) = resources[f"{scope}/instanceGroupManagers"], resources.pop("global/backendServices")
    groups.append({**groups[0], "name": "web-green", "targetSize": 0})
    link = f"https://www.googleapis.com/compute/v1/projects/shop/{scope}/instanceGroups/web-green"
    slow = {"checkIntervalSec": 10, "timeoutSec": 10}  # on a machine that does other things, an answer takes a while
    resources[f"{where}/healthChecks"] = [{**check, **slow} for check in resources["global/healthChecks"]]
    service = {**service, "healthChecks": [f"{where}/healthChecks/ready"]}
    resources[f"{where}/backendServices"] = [
        service,
        {**service, "name": "web-green", "backends": [{"group": link}]},
        {**service, "name": "other"},
    ]
    resources[f"{where}/urlMaps"] = [
        {
            "name": "web",
            "defaultRouteAction": weights(where, 1000, 0),
            "hostRules": [{"hosts": ["*"], "pathMatcher": "all"}],
            "pathMatchers": [
                {
                    "name": "all",
                    "defaultRouteAction": weights(where, 1000, 0),
                    "pathRules": [{"paths": ["/other/*"], "service": f"{where}/backendServices/other"}],
                }
            ],
        }
    ]
    resources[f"{where}/targetHttpProxies"] = [{"name": "web", "urlMap": f"{where}/urlMaps/web"}]
    rule = {"name": "web", "IPAddress": "@network@.1.1", "portRange": str(PORT)}
    del resources["global/forwardingRules"]
    resources[f"{where}/forwardingRules"] = [{**rule, "target": f"{where}/targetHttpProxies/web"}]
    return world


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(weighed_world(), tmp_path_factory.mktemp("fake")) as made:
        until(lambda: len(set(served(made))) == 2, "two serving instances", PATIENCE)
        yield made


@pytest.fixture(scope="module")
def chain(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> GcpChain:
    tier = {**TWO_GROUPS, "update": {"steps": STEPS, "bake": "1s"}}
    made = GcpChain(fake, tmp_path_factory.mktemp("chain"), tier=tier)
    made.run("up")
    return made


def served(fake: Fake, count: int = 12) -> Counter[str]:
    """How often each instance answers; an error of the balancer is one of them."""
    answers = [fake.http.get(f"http://{fake.address('web')}/") for _ in range(count)]
    return Counter(each.text.strip('"') if each.is_success else str(each.status_code) for each in answers)


def shares(fake: Fake, where: str = "global") -> list[list[int]]:
    """The weights of both services, in each place of the map."""
    found = fake.call("GET", f"{where}/urlMaps/web").json()
    actions = [found["defaultRouteAction"], found["pathMatchers"][0]["defaultRouteAction"]]
    return [[one.get("weight", 0) for one in action["weightedBackendServices"]] for action in actions]


def roll_is_killed(chain: GcpChain, fake: Fake, call: str, when: str, *words: str) -> bool:
    """Whether a controller came to that call, and was killed there. The roll of one that did not has ended."""
    process = chain.start("roll", "web", *(words or ("--to", "v2")))
    fake.fault(do="kill_client", on=call, when=when, pid=process.pid)
    out, error = process.communicate(timeout=PATIENCE)
    if process.returncode == -signal.SIGKILL:
        return True
    fake.http.delete("/fake/faults").raise_for_status()
    assert process.returncode == 0, out + error
    assert "died" not in out + error
    return False


def test_a_canary_gets_its_share_is_taken_back_and_finished(chain: GcpChain, fake: Fake) -> None:
    rules = fake.call("GET", "global/urlMaps/web").json()["pathMatchers"][0]["pathRules"]
    assert not fake.log("urlMaps.patch"), "to adopt changes nothing"
    with Traffic(fake.address("web")) as traffic:
        roll = chain.start("roll", "web", "--to", "v2", "--strategy", "canary")
        until(lambda: shares(fake) == [[750, 250]] * 2, "a quarter of the requests", PATIENCE)
        until(lambda: chain.status()["tiers"][0]["status"] == "holding", "the pause", PATIENCE)
        until(lambda: len({name.startswith("web-v2") for name in served(fake)}) == 2, "both to answer", PATIENCE)
        chain.run("abort", "web")
        said, error = roll.communicate(timeout=PATIENCE)
        assert roll.returncode == 1, said + error
        assert shares(fake) == [[1000, 0]] * 2
        assert not [name for name in served(fake) if name.startswith("web-v2")]

        roll = chain.start("roll", "web", "--to", "v2", "--strategy", "canary")
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


def test_a_switch_goes_on_after_the_death_of_its_controller_and_a_change_of_the_map_by_another_client(
    chain: GcpChain, fake: Fake
) -> None:
    body = {"description": "changed"}
    with Traffic(fake.address("web")) as traffic:
        assert roll_is_killed(chain, fake, "urlMaps.patch", "before", "--to", "v1", "--strategy", "blue-green")
        assert shares(fake) == [[0, 1000]] * 2, "the call was not made"
        fake.fault(do="act", on="urlMaps.patch", verb="PATCH", path="projects/shop/global/urlMaps/web", body=body)
        chain.run("roll", "web", "--to", "v1", "--strategy", "blue-green")
    assert traffic.lost == []
    assert shares(fake) == [[1000, 0]] * 2
    assert [call["status"] for call in fake.log("urlMaps.patch")].count(412) == 1
    assert fake.call("GET", "global/urlMaps/web").json()["description"] == "changed"
    chain.run("down")


def test_control_a_weight_without_a_healthy_instance_loses_requests(fake: Fake) -> None:
    with Traffic(fake.address("web")) as traffic:
        body = {"defaultRouteAction": weights("global", 500, 500)}
        matcher = fake.call("GET", "global/urlMaps/web").json()["pathMatchers"][0]
        fake.call("PATCH", "global/urlMaps/web", {**body, "pathMatchers": [{**matcher, **body}]}).raise_for_status()
        until(lambda: traffic.lost, "a request that is lost", PATIENCE)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", ["global", f"regions/{REGION}"])
def test_a_controller_that_is_killed_at_each_call_of_a_url_map_loses_no_request(where: str, tmp_path: Path) -> None:
    regional = where != "global"
    with running(weighed_world(regional=regional), tmp_path / "fake") as fake:
        until(lambda: len(set(served(fake))) == 2, "two serving instances", PATIENCE)
        chain = GcpChain(fake, tmp_path / "chain", regional=regional, tier=dict(TWO_GROUPS))
        chain.run("up")
        with Traffic(fake.address("web")) as traffic:
            for when in ("before", "after"):
                assert roll_is_killed(chain, fake, "urlMaps.get", when)
            patches = 0
            while roll_is_killed(chain, fake, "urlMaps.patch", ("before", "after")[patches % 2]):
                patches += 1
        assert traffic.lost == []
        assert patches >= 4, "weights change when a new instance is admitted, and when the last old one leaves"
        assert shares(fake, where) == [[0, 1000]] * 2
        assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
        scope = f"regions/{REGION}" if regional else f"zones/{ZONE}"
        managers = [fake.call("GET", f"{scope}/instanceGroupManagers/{name}").json() for name in ("web", "web-green")]
        assert [one["targetSize"] for one in managers] == [0, 2]
