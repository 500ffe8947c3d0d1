"""The controller is killed at calls of a roll, before and after their effect; another one goes on with the same VMs.

Each call that creates or deletes is for both VMs of the tier.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import DEADLINE, GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.traffic import Traffic

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

GROUPS = "instanceGroupManagers"
SAMPLE = (
    (f"{GROUPS}.createInstances", "after"),
    (f"{GROUPS}.deleteInstances", "after"),
)
CALLS = (
    *(f"{GROUPS}.{method}" for method in ("get", "patch", "listManagedInstances", "createInstances")),
    *("operations.get", "instances.get", "backendServices.getHealth", f"{GROUPS}.deleteInstances"),
)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    with running(agent_world(), tmp_path / "fake") as made:
        ZonalGroup(made).serving(2)
        yield made


@pytest.mark.parametrize(
    "kills",
    [
        SAMPLE,
        pytest.param([(call, "before") for call in CALLS], marks=[pytest.mark.soak, pytest.mark.timeout(400)]),
        pytest.param([(call, "after") for call in CALLS], marks=[pytest.mark.soak, pytest.mark.timeout(400)]),
    ],
    ids=["sample", "before each", "after each"],
)
def test_a_controller_that_is_killed_at_a_call_loses_no_request_and_leaves_no_vm(
    kills: tuple[tuple[str, str], ...], fake: Fake, tmp_path: Path
) -> None:
    group = ZonalGroup(fake)
    chain = GcpChain(fake, tmp_path / "chain", tier={"update": {"max_surge": 2}})
    chain.run("up")
    with Traffic(fake.address("web")) as traffic:
        for call, when in kills:
            process = chain.start("roll", "web", "--to", "v2")
            fake.fault(do="kill_client", on=call, when=when, pid=process.pid)
            out, error = process.communicate(timeout=DEADLINE)
            assert process.returncode == -signal.SIGKILL, f"{call} {when}: {out}{error}"
        said = chain.run("roll", "web", "--to", "v2")
    assert traffic.lost == []
    assert "died" not in said
    until(lambda: len(group.instances()) == 2, "the old VMs to be deleted")
    status = chain.status()
    assert {one["name"]: one["template"] for one in status["instances"]} == dict.fromkeys(group.instances(), "v2")
    assert group.get().target_size == 2
    created = [
        tuple(one["name"] for one in call["body"]["instances"]) for call in fake.log(f"{GROUPS}.createInstances")
    ]
    assert len(set(created)) == 1, "each controller repeats the call of the one before it"
    assert len(created[0]) == 2
