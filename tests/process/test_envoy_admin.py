"""A real Envoy: local users ask for its readiness, and the operator alone changes it."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from tests.process.balanced import Balancer, Web, through_envoys
from tests.process.test_affinity import run

from changeover import wiring
from changeover.hops.envoy.hop import Envoy
from changeover.model.instance import Instance


@pytest.mark.parametrize("folder", ["short", "long" * 30])
def test_its_control_address_answers_readiness_alone(tmp_path: Path, folder: str) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        (node,) = balancer.nodes
        socket = Path(node.directory) / "admin.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        async with wiring.client() as control, httpx.AsyncClient(trust_env=False) as stranger:
            for path in ("/healthcheck/fail", "/quitquitquit", "/stats", "/clusters", "/ready/x"):
                assert (await stranger.post(f"http://{node.control}{path}")).status_code == 404, path
            hop = Envoy(control)
            assert await hop.ready(node)
            await hop.lame_duck(node, True)
            assert not await hop.ready(node)
            await hop.lame_duck(node, False)
            assert await hop.ready(node)
            assert (await hop.in_flight(node)).requests == 0

    (tmp_path / folder).mkdir()
    run(tmp_path / folder, through_envoys, "none", story, nodes=1)
