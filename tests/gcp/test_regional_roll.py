"""A regional group is rolled like a zonal one, and its VMs stay spread over its zones."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import RegionalGroup
from tests.gcp.fakes import running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import ZONES

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each


def test_a_regional_group_keeps_its_spread_and_gets_its_redistribution_back(tmp_path: Path) -> None:
    policy = {"type": "OPPORTUNISTIC", "instanceRedistributionType": "PROACTIVE"}
    with running(agent_world(size=3, regional=True, updatePolicy=policy), tmp_path / "fake") as fake:
        group, chain = RegionalGroup(fake), GcpChain(fake, tmp_path / "chain", regional=True)
        until(lambda: group.stable(3), "three VMs")
        assert "Adopted 3 instances" in chain.run("up")
        with Traffic(fake.address("web")) as traffic:
            chain.run("roll", "web", "--to", "v2")
            during = group.get().update_policy.instance_redistribution_type
        assert traffic.lost == []
        assert during == "NONE", "the group would delete VMs to even out its zones"
        until(lambda: group.stable(3), "three VMs")
        assert group.zones() == dict.fromkeys(ZONES, 1)
        assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
        chain.run("down")
        assert group.get().update_policy.instance_redistribution_type == "PROACTIVE"
