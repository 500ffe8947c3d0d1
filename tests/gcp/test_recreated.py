"""A VM that its group creates anew in the middle of a roll, as autohealing does: its death is named, no VM is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.worlds import ZONE

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

GROUP = f"zones/{ZONE}/instanceGroupManagers/web"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(agent_world(), tmp_path_factory.mktemp("fake")) as made:
        yield made


def test_an_old_vm_that_is_created_anew_counts_as_dead_and_is_replaced(fake: Fake, tmp_path: Path) -> None:
    group, chain = ZonalGroup(fake), GcpChain(fake, tmp_path)
    victim = max(group.serving(2))
    chain.run("up")
    roll = chain.start("roll", "web", "--to", "v2")
    with roll:
        try:
            until(lambda: fake.log("instanceGroupManagers.createInstances"), "the first new VM", 90)
            body = {"instances": [f"zones/{ZONE}/instances/{victim}"]}
            fake.call("POST", f"{GROUP}/recreateInstances", body).raise_for_status()
            said, error = roll.communicate(timeout=180)
        finally:
            roll.kill()
    assert f"{victim}" in said + error
    assert "created it anew" in said + error
    assert {one["template"] for one in chain.status()["instances"]} == {"v2"}
    until(lambda: len(group.instances()) == 2, "no other VM to be left", 60)
    assert {one.version.instance_template.rpartition("/")[2] for one in group.instances().values()} == {"web-v2"}
    chain.run("down")
