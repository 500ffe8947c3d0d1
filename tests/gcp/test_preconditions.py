"""`up`, `roll` and `plan` on the fake run the checks of `doctor` first, and refuse before they change anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.worlds import ZONE

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

CURE = "Cure: gcloud compute health-checks create http web-alive"
GROUP = f"zones/{ZONE}/instanceGroupManagers/web"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(agent_world(), tmp_path_factory.mktemp("fake")) as made:
        ZonalGroup(made).serving(2)
        yield made


def heal(fake: Fake, check: str) -> None:
    """Have the group heal by that health check, and wait until it does: the change is an operation that takes time."""
    policies = [{"healthCheck": f"global/healthChecks/{check}", "initialDelaySec": 300}]
    fake.call("PATCH", GROUP, {"autoHealingPolicies": policies}).raise_for_status()

    def healed_by() -> str:
        return str(fake.call("GET", GROUP).json().get("autoHealingPolicies"))

    until(lambda: f"healthChecks/{check}'" in healed_by(), f"autohealing by {check}")


def changes(fake: Fake, since: int) -> list[str]:
    """The calls that change something."""
    reads = ("listManagedInstances", "getHealth")
    return [
        call["method"] for call in fake.log()[since:] if call["verb"] != "GET" and not call["method"].endswith(reads)
    ]


def test_a_fatal_finding_refuses_up_and_roll_and_stands_in_a_plan_before_anything_is_changed(
    fake: Fake, tmp_path: Path
) -> None:
    chain = GcpChain(fake, tmp_path)
    heal(fake, "ready")
    asked = len(fake.log())
    assert CURE in chain.run("up", code=2)
    assert changes(fake, asked) == []
    heal(fake, "live")
    chain.run("up")

    before = chain.status()["instances"]
    heal(fake, "ready")
    asked = len(fake.log())
    said = chain.run("roll", "web", "--to", "v2", code=2)
    assert "autohealing and backend service web have the same health check, ready" in said
    assert CURE in said
    found = json.loads(chain.run("plan", "web", "--to", "v2", "--json", code=4))["preconditions"]
    assert [one["check"] for one in found if one["refuses"]] == ["healing-shares-check"]
    assert {one["severity"] for one in found if not one["refuses"]} <= {"warning"}
    assert changes(fake, asked) == []
    assert chain.status()["instances"] == before

    heal(fake, "live")
    fake.fault(do="error", on="healthChecks.get", error=501, times=None)
    said = chain.run("roll", "web", "--to", "v2")
    assert "Unknown: tier web, group web: global/healthChecks/ready could not be read" in said
    assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
