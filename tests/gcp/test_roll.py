"""A tier on Google Cloud from `up` to `down`: adopted, rolled under traffic without a lost request, and released."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.traffic import Traffic

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

POLICY = {"type": "PROACTIVE", "maxSurge": {"fixed": 1}, "maxUnavailable": {"fixed": 0}}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    world = agent_world(updatePolicy=POLICY, drain=5)
    with running(world, tmp_path_factory.mktemp("fake")) as made:
        ZonalGroup(made).serving(2)
        yield made


def template_names(group: ZonalGroup) -> set[str]:
    return {each.version.instance_template.rpartition("/")[2] for each in group.instances().values()}


def test_a_tier_is_adopted_rolled_under_traffic_undone_and_released(fake: Fake, tmp_path: Path) -> None:
    group, chain = ZonalGroup(fake), GcpChain(fake, tmp_path)
    before = set(group.instances())
    assert "Adopted 2 instances" in chain.run("up")
    status = chain.status()
    assert status["state"] == "serving"
    assert {one["name"]: one["template"] for one in status["instances"]} == dict.fromkeys(before, "v1")
    assert not fake.log("instanceGroupManagers.patch"), "to adopt changes nothing"

    planned = json.loads(chain.run("plan", "web", "--to", "v2", "--json", code=4))["tiers"][0]
    assert planned["max_instances"] == 3
    assert planned["deletion_seconds"] == 65, "the drain time of the backend service, and a minute"
    assert planned["max_machines"] == 4, "two new VMs beside two that are being deleted"
    with Traffic(fake.address("web")) as traffic:
        said = chain.run("roll", "web", "--to", "v2")
    assert "died" not in said
    assert traffic.lost == []
    assert traffic.outcomes["GET 200"] > 20
    assert traffic.outcomes["POST 200"] > 3
    assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
    until(lambda: len(group.instances()) == 2, "the old VMs to be deleted")
    assert template_names(group) == {"web-v2"}
    found = group.get()
    assert found.target_size == 2
    assert [each.instance_template.rpartition("/")[2] for each in found.versions] == ["web-v2"]
    assert found.update_policy.type_ == "OPPORTUNISTIC"
    assert all(call["body"].get("fingerprint") for call in fake.log("instanceGroupManagers.patch"))

    assert "Released 2 instances" in chain.run("down")
    found = group.get()
    assert found.update_policy.type_ == "PROACTIVE"
    assert found.status.version_target.is_reached
    assert found.target_size == 2
    assert chain.status()["state"] == "down"
