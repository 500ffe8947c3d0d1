"""Requests through URL maps of the fake: shares by weight, which change while clients ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.worlds import PORT, ZONE, world

URL = "https://www.googleapis.com/compute/v1/projects/shop"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    """Two groups of one instance each, blue and green, each behind a service; everything to blue."""
    spec = world(size=1)
    resources = spec["resources"]
    (group,) = resources[f"zones/{ZONE}/instanceGroupManagers"]
    (service,) = resources["global/backendServices"]
    colours = ("blue", "green")
    resources[f"zones/{ZONE}/instanceGroupManagers"] = [{**group, "name": colour} for colour in colours]
    resources["global/backendServices"] = [
        {**service, "name": colour, "backends": [{"group": f"{URL}/zones/{ZONE}/instanceGroups/{colour}"}]}
        for colour in colours
    ]
    rule = {
        "name": "web",
        "IPAddress": "@network@.1.1",
        "portRange": str(PORT),
        "target": "global/targetHttpProxies/web",
    }
    del resources["global/forwardingRules"]
    resources |= {
        "global/urlMaps": [
            {
                "name": "web",
                "defaultRouteAction": weights(blue=1000, green=0),
                "hostRules": [{"hosts": ["*"], "pathMatcher": "all"}],
                "pathMatchers": [
                    {
                        "name": "all",
                        "defaultRouteAction": weights(blue=1000, green=0),
                        "pathRules": [{"paths": ["/green/*"], "service": "global/backendServices/green"}],
                    }
                ],
            }
        ],
        "global/targetHttpProxies": [{"name": "web", "urlMap": "global/urlMaps/web"}],
        "global/forwardingRules": [rule],
    }
    with running(spec, tmp_path_factory.mktemp("fake")) as made:
        yield made


def weights(**shares: int) -> Json:
    return {
        "weightedBackendServices": [
            {"backendService": f"global/backendServices/{name}", "weight": weight} for name, weight in shares.items()
        ]
    }


def served(fake: Fake, path: str = "/", count: int = 20) -> Counter[str]:
    """Which group answered how often; `5` for an error of the balancer."""
    address = f"http://{fake.address('web')}{path}"
    answers = [fake.http.get(address) for _ in range(count)]
    return Counter(each.text.partition("-")[0] if each.is_success else "5" for each in answers)


def test_weights_share_the_requests_and_change_without_losing_one(fake: Fake) -> None:
    until(lambda: served(fake, count=2) == {"blue": 2}, "the blue service")
    until(lambda: served(fake, "/green/x", 2) == {"green": 2}, "the green service")
    old = fake.call("GET", "global/urlMaps/web").json()
    matcher = {**old["pathMatchers"][0], "defaultRouteAction": weights(blue=750, green=250)}
    changed = fake.call("PATCH", "global/urlMaps/web", {"fingerprint": old["fingerprint"], "pathMatchers": [matcher]})
    assert changed.status_code == 200
    until(lambda: fake.call("GET", "global/urlMaps/web").json()["fingerprint"] != old["fingerprint"], "the change")
    until(lambda: served(fake) == {"blue": 15, "green": 5}, "the new weights")
    stale = fake.call("PATCH", "global/urlMaps/web", {"fingerprint": old["fingerprint"], "pathMatchers": [matcher]})
    assert stale.status_code == 412
