"""An agent that answers in another way, or not at all, while its VM drains: the VM stays until its count is known."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.chains import GcpChain, agent_world
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.traffic import Traffic

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

FAULTS = {
    "hangs": "no answer within",
    "refuses": "it closed the connection without a response",
    "garbage": "another form of",
    "token": "401 another token",
}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(agent_world(drain=5), tmp_path_factory.mktemp("fake")) as made:
        ZonalGroup(made).serving(2)
        yield made


@pytest.mark.parametrize("fault", FAULTS)
def test_a_vm_whose_agent_fails_during_its_drain_is_deleted_when_its_count_is_known_again(
    fault: str, fake: Fake, tmp_path: Path
) -> None:
    group, chain = ZonalGroup(fake), GcpChain(fake, tmp_path)
    group.serving(2)
    chain.run("up")
    before = chain.status()["tiers"][0]["template"]
    with Traffic(fake.address("web"), uploads=4, upload_seconds=4.0) as traffic:
        until(lambda: traffic.outcomes["POST 200"] >= 4 or traffic.lost, "uploads to arrive")
        roll = chain.start("roll", "web", "--to", "v1" if before == "v2" else "v2")
        assert roll.stdout is not None
        assert roll.stderr is not None
        said: list[str] = []
        readers = [threading.Thread(target=said.extend, args=(stream,)) for stream in (roll.stdout, roll.stderr)]
        for reader in readers:
            reader.start()
        try:
            victim = until(lambda: draining(chain, before), "a VM to drain", 90)
            (folder,) = fake.folder.rglob(f"{victim}-*/")
            (folder / "agent-fault").write_text(fault)
            # After half a minute, and so much later than the last upload on the VM ends.
            until(lambda: any(victim in line and FAULTS[fault] in line for line in said), "the roll to name it", 90)
            asked = [call for call in fake.log("instanceGroupManagers.deleteInstances") if victim in json.dumps(call)]
            assert not asked, "deleted while its count was unknown"
            (folder / "agent-fault").unlink()
            assert roll.wait(120) == 0, said
        finally:
            roll.kill()
            roll.wait()
            for reader, stream in zip(readers, (roll.stdout, roll.stderr), strict=True):
                reader.join()
                stream.close()
    assert traffic.lost == []
    assert victim not in {one["name"] for one in chain.status()["instances"]}
    chain.run("down")


def draining(chain: GcpChain, template: str) -> str:
    found = [one for one in chain.status()["instances"] if one["template"] == template and one["phase"] == "draining"]
    return str(found[0]["name"]) if found else ""
