"""Four tiers on the fake, each a group behind a backend service, rolled by one command under traffic through them all.

It shows that one controller rolls them from the inside out, one after the other, and that no tier cuts an upload which
is in flight on every tier at once. The VMs are small stand-ins; `make demo-gcp` has the real software.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.gcp.chains import AGENT_PORT, PROGRAM, TOKEN, GcpChain, agent_world
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import PORT, ZONE, template

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

KINDS = {"edge": "nginx", "l4": "nginx-stream", "gateway": "envoy", "runtime": "app"}
TIERS = tuple(KINDS)
GROUPS = f"zones/{ZONE}/instanceGroupManagers"


def four_tiers() -> Json:
    world = agent_world(size=1)
    resources = world["resources"]
    (group,), (service,) = resources[GROUPS], resources["global/backendServices"]
    url = f"https://www.googleapis.com/compute/v1/projects/shop/zones/{ZONE}/instanceGroups"

    def script(number: int, tier: str) -> str:
        inward = f" {KINDS[tier]} @network@.1.{number + 1}:{PORT}" if tier != TIERS[-1] else ""
        return f"exec {sys.executable} -I -S {PROGRAM} {PORT} {AGENT_PORT} {TOKEN}{inward}"

    resources["global/instanceTemplates"] = [
        template(f"{tier}-{version}", script(number, tier))
        for number, tier in enumerate(TIERS, 1)
        for version in ("v1", "v2")
    ]
    resources[GROUPS] = [
        {
            **group,
            "name": tier,
            "versions": [{"name": "v1", "instanceTemplate": f"global/instanceTemplates/{tier}-v1"}],
        }
        for tier in TIERS
    ]
    resources["global/backendServices"] = [
        {**service, "name": tier, "backends": [{"group": f"{url}/{tier}"}]} for tier in TIERS
    ]
    resources["global/forwardingRules"] = [
        {
            "name": tier,
            "IPAddress": f"@network@.1.{number}",
            "portRange": str(PORT),
            "backendService": f"global/backendServices/{tier}",
        }
        for number, tier in enumerate(TIERS, 1)
    ]
    return world


class FourTiers(GcpChain):
    def write(self, **changes: object) -> None:
        tiers = [
            {
                "name": tier,
                "kind": kind,
                "group": tier,
                "backend_services": [tier],
                "agent": {"port": AGENT_PORT, "token_env": "AGENT_TOKEN"},
                "update": {"min_ready": "200ms", "watch": "200ms"},
                "templates": {version: {"instance_template": f"{tier}-{version}"} for version in ("v1", "v2")},
            }
            for tier, kind in KINDS.items()
        ]
        place = {"zone": ZONE, "endpoint": self.fake.endpoint, "look": self.look, "propagation": "500ms"}
        platform = {"kind": "gcp", "project": "shop", **place}
        chain = {"name": "shop", "platform": platform, "listen": self.fake.address("edge"), "tiers": tiers}
        self.file.write_text(yaml.safe_dump(chain), encoding="utf-8")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    with running(four_tiers(), tmp_path / "fake") as made:
        until(lambda: made.http.get(f"http://{made.address('edge')}/").is_success, "an answer through all tiers", 90)
        yield made


def test_one_command_rolls_four_tiers_from_the_inside_out_and_no_request_through_them_is_lost(
    fake: Fake, tmp_path: Path
) -> None:
    chain = FourTiers(fake, tmp_path / "chain")
    chain.run("up")
    with Traffic(fake.address("edge"), uploads=2, upload_seconds=1.0) as traffic:
        chain.run("roll", "--all", "--to", "v2")
    assert traffic.lost == []
    assert traffic.outcomes["GET 200"] > 20
    assert traffic.outcomes["POST 200"] > 5
    status = chain.status()
    assert status["state"] == "serving"
    assert {one["template"] for one in status["instances"]} == {"v2"}
    created = [call["path"].rpartition("/")[0] for call in fake.log("instanceGroupManagers.createInstances")]
    assert [path.rpartition("/")[2] for path in created] == list(reversed(TIERS))
