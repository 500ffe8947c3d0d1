"""Rolls that meet what goes wrong on Google Cloud: each has a clear end, and neither requests nor VMs are lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.traffic import Traffic
from tests.gcp.worlds import ZONE

pytestmark = pytest.mark.timeout(300)  # every command imports the client of Google, 2 s of a core each

GROUP = f"zones/{ZONE}/instanceGroupManagers/web"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(agent_world(), tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture(scope="module")
def chain(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> GcpChain:
    ZonalGroup(fake).serving(2)
    made = GcpChain(fake, tmp_path_factory.mktemp("chain"), tier={"update": {"progress_deadline": "15s"}})
    made.run("up")
    return made


@pytest.fixture
def group(fake: Fake) -> Iterator[ZonalGroup]:
    """The group, which ends with two VMs of one template that serve."""
    made = ZonalGroup(fake)
    yield made
    fake.http.delete("/fake/faults").raise_for_status()
    until(lambda: len(made.instances()) == 2, "two VMs")
    assert made.get().target_size == 2
    assert len({one.version.instance_template for one in made.instances().values()}) == 1


def other_template(chain: GcpChain) -> str:
    return "v2" if chain.status()["tiers"][0]["template"] == "v1" else "v1"


def roll(chain: GcpChain, fake: Fake, code: int = 0) -> str:
    """Roll to the other template under traffic, none of which is lost."""
    with Traffic(fake.address("web")) as traffic:
        said = chain.run("roll", "web", "--to", other_template(chain), code=code)
    assert traffic.lost == []
    assert traffic.outcomes["POST 200"]
    return said


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param("stockout", "ZONE_RESOURCE_POOL_EXHAUSTED", marks=pytest.mark.soak),
        pytest.param("quota", "QUOTA_EXCEEDED", marks=pytest.mark.soak),
    ],
)
def test_vms_that_cannot_be_created_end_a_roll_with_the_reason_and_are_deleted(
    error: str, text: str, chain: GcpChain, fake: Fake, group: ZonalGroup
) -> None:
    before = set(group.instances())
    fake.fault(do="creation", group="web", error=error, times=None)
    said = roll(chain, fake, code=1)
    assert text in said
    until(lambda: set(group.instances()) == before, "the VMs that could not be created to be deleted")
    assert group.get().status.version_target.is_reached, "or a proactive updater would replace what was kept"


def test_lost_answers_errors_after_the_effect_and_a_change_in_between_delay_a_roll_alone(
    chain: GcpChain, fake: Fake, group: ZonalGroup
) -> None:
    fake.fault(
        do="act",
        on="instanceGroupManagers.patch",
        verb="PATCH",
        path=f"projects/shop/{GROUP}",
        body={"description": "changed"},
    )
    fake.fault(do="error", on="instanceGroupManagers.createInstances", error=503, when="after")
    fake.fault(do="drop", on="instanceGroupManagers.deleteInstances", when="after")
    fake.fault(do="error", on="instanceGroupManagers.listManagedInstances", error="tooManyRequests", skip=3)
    fake.fault(do="health", service="web", answer="empty", times=3)
    roll(chain, fake)
    patches = fake.log("instanceGroupManagers.patch")
    assert any(call["status"] == 412 for call in patches)
    assert len({one for one in group.instances() if one.startswith("web-v")}) == 2


@pytest.mark.soak
def test_a_vm_that_its_balancer_never_finds_healthy_is_deleted_and_the_roll_undone(
    chain: GcpChain, fake: Fake, group: ZonalGroup
) -> None:
    before = set(group.instances())
    fake.fault(do="unhealthy", instance=f"web-{other_template(chain)}-*", times=None)
    said = roll(chain, fake, code=1)
    assert "healthy at its router" in said
    until(lambda: set(group.instances()) == before, "the unhealthy VM to be deleted")
    assert group.get().versions[0].instance_template == next(iter(group.instances().values())).version.instance_template


def test_an_update_of_another_tool_is_never_overwritten(chain: GcpChain, fake: Fake, group: ZonalGroup) -> None:
    foreign = {"versions": [{"instanceTemplate": "global/instanceTemplates/web-v3"}]}
    fake.fault(do="act", on="instanceGroupManagers.patch", verb="PATCH", path=f"projects/shop/{GROUP}", body=foreign)
    was = [version.instance_template for version in group.get().versions]
    said = roll(chain, fake, code=1)
    assert "another client is updating group web: its version is web-v3" in said
    assert group.get().versions[0].instance_template.endswith("/web-v3")
    fake.call("PATCH", GROUP, {"versions": [{"instanceTemplate": was[0]}]}).raise_for_status()


@pytest.mark.soak
def test_a_group_that_another_client_resizes_during_a_roll_is_named(
    chain: GcpChain, fake: Fake, group: ZonalGroup
) -> None:
    fake.fault(
        do="act", on="instanceGroupManagers.createInstances", verb="POST", path=f"projects/shop/{GROUP}/resize?size=3"
    )
    said = roll(chain, fake, code=1)
    assert "its group has 3 VMs, and the chain 2 instances" in said
    assert "its platform differs" in chain.run("history")
    until(lambda: group.get().status.is_stable, "a stable group")
    foreign = [name for name in group.instances() if not name.startswith("web-v")]
    assert len(foreign) == 1
    assert "its group has 3" in chain.run("roll", "web", "--to", other_template(chain), code=2)
    group.wait(group.delete(*foreign))
