"""The controller is killed at calls of a roll, before and after their effect; another one goes on with the same VMs.

Each call that creates or deletes is for both VMs of the tier.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import DEADLINE, GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.traffic import Traffic

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

GROUPS = "instanceGroupManagers"
CREATES, DELETES = f"{GROUPS}.createInstances", f"{GROUPS}.deleteInstances"
OF_A_ROLL = {CREATES, DELETES, "operations.get", "instances.get", "backendServices.getHealth"}
"""Methods that a roll calls after its first change. It calls more."""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    with running(agent_world(), tmp_path / "fake") as made:
        ZonalGroup(made).serving(2)
        yield made


class Killed:
    """A roll of both VMs of a tier under traffic, whose controller is killed again and again, and its right end."""

    def __init__(self, fake: Fake, folder: Path) -> None:
        self.fake = fake
        self.group = ZonalGroup(fake)
        self.chain = GcpChain(fake, folder, tier={"update": {"max_surge": 2}})
        self.chain.run("up")

    def controller(self, on: str, when: str, spare: Collection[str] = ()) -> str:
        """Go on with the roll until a call of `on`, and give its method. Empty: the roll has ended before."""
        before = len(self._dropped())
        process = self.chain.start("roll", "web", "--to", "v2")
        self.fake.fault(do="kill_client", on=on, when=when, pid=process.pid, spare=list(spare))
        out, error = process.communicate(timeout=DEADLINE)
        if process.returncode == -signal.SIGKILL:
            return self._dropped()[before]
        self.fake.http.delete("/fake/faults").raise_for_status()
        assert process.returncode == 0, out + error
        assert "died" not in out + error
        return ""

    def _dropped(self) -> list[str]:
        return [call["method"] for call in self.fake.log() if call.get("status") == "dropped"]

    def has_ended_well(self) -> None:
        until(lambda: len(self.group.instances()) == 2, "the old VMs to be deleted")
        status = self.chain.status()
        assert {one["name"]: one["template"] for one in status["instances"]} == dict.fromkeys(
            self.group.instances(), "v2"
        )
        assert self.group.get().target_size == 2
        created = [tuple(one["name"] for one in call["body"]["instances"]) for call in self.fake.log(CREATES)]
        assert len(set(created)) == 1, "each controller repeats the call of the one before it"
        assert len(created[0]) == 2


@pytest.fixture
def roll(fake: Fake, tmp_path: Path) -> Killed:
    return Killed(fake, tmp_path / "chain")


def test_a_controller_that_is_killed_at_a_call_loses_no_request_and_leaves_no_vm(roll: Killed) -> None:
    with Traffic(roll.fake.address("web")) as traffic:
        for call in (CREATES, DELETES):
            assert roll.controller(call, "after") == call
        assert not roll.controller("none", "after")
    assert traffic.lost == []
    roll.has_ended_well()


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_controllers_that_are_killed_at_each_kind_of_call_lose_no_request(when: str, roll: Killed) -> None:
    """Each is killed at its first call of a method at which none was: in the order in which the calls come.

    The first change of the group starts this again, so that each kind is met before the roll and in it.
    """
    first = f"{GROUPS}.patch"
    killed: list[str] = []
    with Traffic(roll.fake.address("web")) as traffic:
        while method := roll.controller("*", when, killed):
            killed = [first] if method == first else [*killed, method]
    assert traffic.lost == []
    assert killed[0] == first
    assert set(killed) >= OF_A_ROLL
    roll.has_ended_well()
