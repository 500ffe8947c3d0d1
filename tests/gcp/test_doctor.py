"""`doctor` on the fake: it reads every resource of a chain and asks every agent, and says what does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

POLICY = {"type": "PROACTIVE", "maxSurge": {"fixed": 1}, "maxUnavailable": {"fixed": 0}}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    world = agent_world(updatePolicy=POLICY, drain=600)
    world["resources"]["global/backendServices"][0]["timeoutSec"] = 600
    with running(world, tmp_path_factory.mktemp("fake")) as made:
        ZonalGroup(made).serving(2)
        yield made


def doctor(chain: GcpChain, *words: str, code: int) -> Any:
    return json.loads(chain.run("doctor", "-f", str(chain.file), "--json", *words, code=code))


def checks(found: Any) -> list[str]:
    return sorted({one["check"] for one in found["tiers"]["web"]})


def test_of_a_chain_that_can_be_rolled_nothing_is_found_and_nothing_is_changed(fake: Fake, tmp_path: Path) -> None:
    chain = GcpChain(fake, tmp_path)
    asked = len(fake.log())
    assert doctor(chain, code=0) == {"counts": {"fatal": 0, "warning": 0, "note": 0}, "tiers": {"web": []}}
    found = doctor(chain, "--upload-size", "500MB", code=1)
    assert checks(found) == ["drain-too-short", "timeout-cuts-uploads"]
    assert found["counts"] == {"fatal": 0, "warning": 2, "note": 0}
    assert {call["verb"] for call in fake.log()[asked:] if "listManagedInstances" not in call["method"]} == {"GET"}


def test_what_does_not_hold_is_named(fake: Fake, tmp_path: Path) -> None:
    chain = GcpChain(fake, tmp_path, tier={"backend_services": ["web", "gone"]})
    chain.write(
        backend_services=["web", "gone"],
        kind="kong",
        templates={"v2": {"instance_template": "web-v2"}, "v9": {"instance_template": "web-v9"}},
    )
    assert checks(doctor(chain, code=1)) == [
        "agent-of-another-kind",
        "service-missing",
        "template-missing",
        "template-unknown",
    ]


def test_without_the_token_of_the_agents_nothing_of_them_is_known(fake: Fake, tmp_path: Path) -> None:
    chain = GcpChain(fake, tmp_path, tier={"agent": {"port": 9180}})
    found = [one for one in doctor(chain, code=1)["tiers"]["web"] if one["check"] == "agent-unreachable"]
    assert len(found) == 2
    assert "token_env" in found[0]["cure"]


def test_what_the_api_does_not_show_is_fatal_and_not_taken_for_missing(fake: Fake, tmp_path: Path) -> None:
    fake.fault(do="error", on="healthChecks.get", error=501, times=None)
    try:
        found = doctor(GcpChain(fake, tmp_path), code=1)
    finally:
        fake.http.delete("/fake/faults")
    assert checks(found) == ["unread"]
    assert found["counts"]["fatal"] == 2


def test_the_role_is_printed_without_a_chain(fake: Fake, tmp_path: Path) -> None:
    assert GcpChain(fake, tmp_path).run("doctor", "--role").startswith("title: changeover\n")
