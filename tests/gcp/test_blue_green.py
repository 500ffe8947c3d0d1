"""Blue-green over two groups of a tier: held back until complete, switched, taken back, and finished, without a loss.

A control takes the same step as the backend service alone does it, and must lose uploads.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import REGION, ZONE

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

LINK = f"https://www.googleapis.com/compute/v1/projects/shop/zones/{ZONE}/instanceGroups"
GROUPS = f"zones/{ZONE}/instanceGroupManagers"
POLICY = {"type": "PROACTIVE", "maxSurge": {"fixed": 1}, "maxUnavailable": {"fixed": 0}}
COLOURS = ("web", "web-green")
PATIENCE = 180
"""Seconds for a step of a rollout. On a machine that does other things, a controller alone took up to 70 s to start."""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    """`web` has two instances, `web-green` none; no drain, so that whatever is in flight at a removal is lost."""
    world = agent_world(drain=0, updatePolicy=POLICY)
    groups = world["resources"][GROUPS]
    groups.append({**groups[0], "name": "web-green", "targetSize": 0})
    with running(world, tmp_path_factory.mktemp("fake")) as made:
        until(lambda: len(served(made)) == 2, "two serving instances", PATIENCE)
        yield made


@pytest.fixture(scope="module")
def chain(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> GcpChain:
    update = {"strategy": "blue-green", "switch": "when-promoted", "bake": "5m"}
    tier = {"second_group": "web-green", "update": update}
    made = GcpChain(fake, tmp_path_factory.mktemp("chain"), tier=tier)
    made.run("up")
    return made


def served(fake: Fake) -> set[str]:
    """The instances that answer now; an error of the balancer is one of them."""
    answers = [fake.http.get(f"http://{fake.address('web')}/") for _ in range(12)]
    return {each.text.strip('"') if each.is_success else str(each.status_code) for each in answers}


def group(fake: Fake, name: str) -> Json:
    return dict(fake.call("GET", f"{GROUPS}/{name}").json())


def backends(fake: Fake, path: str = "global/backendServices/web") -> set[str]:
    service = fake.call("GET", path).json()
    return {one["group"].rpartition("/")[2] for one in service["backends"]}


def phases(chain: GcpChain, template: str) -> list[str]:
    return [one["phase"] for one in chain.status()["instances"] if one["template"] == template]


def test_a_switch_is_held_back_taken_back_and_finished_without_a_lost_request(chain: GcpChain, fake: Fake) -> None:
    blue = served(fake)
    with Traffic(fake.address("web")) as traffic:
        roll = chain.start("roll", "web", "--to", "v2")
        until(lambda: phases(chain, "v2") == ["ready", "ready"], "the new instances to be complete", PATIENCE)
        assert group(fake, "web-green")["targetSize"] == 2
        assert backends(fake) == {"web"}, "the new group gets nothing before the switch"
        assert served(fake) == blue
        chain.run("promote", "web")
        until(lambda: served(fake).isdisjoint(blue), "all traffic at the new instances", PATIENCE)
        assert backends(fake) == {"web", "web-green"}
        until(lambda: phases(chain, "v1") == ["draining", "draining"], "the old ones to be kept", PATIENCE)
        chain.run("abort", "web")
        said, error = roll.communicate(timeout=PATIENCE)
        assert roll.returncode == 1, said + error
        assert served(fake) == blue, "the very instances that served before"
        assert backends(fake) == {"web"}
        assert group(fake, "web-green")["targetSize"] == 0

        chain.write(update={"min_ready": "200ms", "watch": "200ms", "strategy": "blue-green", "bake": "1s"})
        chain.run("roll", "web", "--to", "v2")
        assert backends(fake) == {"web-green"}
        assert [group(fake, name)["targetSize"] for name in COLOURS] == [0, 2]
        assert len(green := served(fake)) == 2
        assert green.isdisjoint(blue)
    assert traffic.lost == []
    assert traffic.outcomes["POST 200"] > 5


def test_the_way_back_is_a_switch_too_and_down_restores_both_groups(chain: GcpChain, fake: Fake) -> None:
    planned = json.loads(chain.run("plan", "web", "--to", "v1", "--json", code=4))
    assert [one["check"] for one in planned["preconditions"] if one["refuses"]] == [], "of the group that serves now"
    assert planned["tiers"][0]["max_instances"] == 4
    with Traffic(fake.address("web")) as traffic:
        chain.run("undo", "web")
    assert traffic.lost == []
    assert backends(fake) == {"web"}
    assert {one["template"] for one in chain.status()["instances"]} == {"v1"}
    assert {group(fake, name)["updatePolicy"]["type"] for name in COLOURS} == {"OPPORTUNISTIC"}
    assert "a restart creates the new instances in the group of the old ones" in chain.run(
        "roll", "web", "--restart", code=2
    )
    chain.run("down")
    assert {group(fake, name)["updatePolicy"]["type"] for name in COLOURS} == {"PROACTIVE"}


def test_control_a_switch_of_the_backends_alone_loses_uploads(fake: Fake) -> None:
    fake.call("POST", f"{GROUPS}/web-green/resize?size=2").raise_for_status()
    until(lambda: group(fake, "web-green")["status"]["isStable"], "the second group", PATIENCE)
    with Traffic(fake.address("web")) as traffic:
        until(lambda: traffic.outcomes["POST 200"] > 0, "an upload", PATIENCE)
        fake.call("PATCH", "global/backendServices/web", {"backends": [{"group": f"{LINK}/web-green"}]})
        fake.call("POST", f"{GROUPS}/web/resize?size=0").raise_for_status()
        until(lambda: traffic.lost, "an upload that is cut", PATIENCE)


KILLS = (
    ("instanceGroupManagers.patch", "after"),
    ("instanceGroupManagers.createInstances", "after"),
    ("backendServices.patch", "before"),
    ("backendServices.patch", "after"),
    ("backendServices.patch", "before"),
    ("backendServices.patch", "after"),
    ("instanceGroupManagers.deleteInstances", "before"),
    ("backendServices.patch", "before"),
    ("backendServices.patch", "after"),
)
"""Of both services; the last two: when the emptied group is taken out."""


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_controller_that_is_killed_at_a_switch_loses_no_request_and_leaves_one_backend(tmp_path: Path) -> None:
    """Behind a global service with a URL map's protocol, and a regional one behind a TCP proxy."""
    where = f"regions/{REGION}"
    world = agent_world(drain=0, regional=True, updatePolicy={**POLICY, "maxSurge": {"fixed": 3}})
    resources = world["resources"]
    groups, (service,) = resources[f"{where}/instanceGroupManagers"], resources["global/backendServices"]
    groups.append({**groups[0], "name": "web-green", "targetSize": 0})
    checks = [{**resources["global/healthChecks"][1], "name": "near"}]
    near = {
        **service,
        "name": "near",
        "protocol": "TCP",
        "loadBalancingScheme": "INTERNAL_MANAGED",
        "healthChecks": [f"{where}/healthChecks/near"],
    }
    resources[f"{where}/healthChecks"] = checks
    resources[f"{where}/backendServices"] = [near]
    resources[f"{where}/targetTcpProxies"] = [
        {"name": "near", "service": f"{where}/backendServices/near", "proxyHeader": "NONE"}
    ]
    resources[f"{where}/forwardingRules"] = [
        {"name": "near", "portRange": "8081-8081", "target": f"{where}/targetTcpProxies/near"}
    ]
    with running(world, tmp_path / "fake") as fake:
        until(lambda: len(served(fake)) == 2, "two serving instances", PATIENCE)
        update = {"strategy": "blue-green", "bake": "1s"}
        tier = {"second_group": "web-green", "backend_services": ["web", "near"], "update": update}
        chain = GcpChain(fake, tmp_path / "chain", regional=True, tier=tier)
        chain.run("up")
        # The TCP proxy leaves a connection open until the application closes it, which that of the tests does not.
        with Traffic(fake.address("web")) as traffic, Traffic(fake.address("near"), uploads=0) as near_traffic:
            for call, when in KILLS:
                process = chain.start("roll", "web", "--to", "v2")
                fake.fault(do="kill_client", on=call, when=when, pid=process.pid)
                out, error = process.communicate(timeout=PATIENCE)
                assert process.returncode == -signal.SIGKILL, f"{call} {when}: {out}{error}"
            said = chain.run("roll", "web", "--to", "v2")
        assert traffic.lost == []
        assert near_traffic.lost == []
        assert "died" not in said
        assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
        assert backends(fake) == backends(fake, f"{where}/backendServices/near") == {"web-green"}
        sizes = [fake.call("GET", f"{where}/instanceGroupManagers/{name}").json()["targetSize"] for name in COLOURS]
        assert sizes == [0, 2]

        with Traffic(fake.address("web")) as traffic:  # other strategies have a group for each template, too
            chain.run("roll", "web", "--to", "v1", "--strategy", "rolling")
        assert traffic.lost == []
        assert backends(fake) == {"web"}
