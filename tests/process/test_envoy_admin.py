"""A real Envoy: local users ask for its readiness, and the operator alone changes it."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import httpx
import pytest
from tests.process.balanced import Balancer, Client, Web, through_envoys
from tests.process.test_affinity import run

from changeover.hops.envoy.hop import Envoy
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Instance


@pytest.mark.parametrize("folder", ["short", "long" * 30])
def test_its_control_address_answers_readiness_alone(tmp_path: Path, folder: str) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        (node,) = balancer.nodes
        socket = Path(node.directory) / "admin.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        control = DirectClient()
        async with httpx.AsyncClient(trust_env=False) as stranger:
            for path in ("/healthcheck/fail", "/quitquitquit", "/stats", "/clusters", "/ready/x"):
                assert (await stranger.post(f"http://{node.control}{path}")).status_code == 404, path
            hop = Envoy(control)
            assert not await hop.not_ready(node)
            await hop.lame_duck(node, True)
            assert await hop.not_ready(node)
            await hop.lame_duck(node, False)
            assert not await hop.not_ready(node)
            assert (await hop.in_flight(node)).requests == 0

    (tmp_path / folder).mkdir()
    run(tmp_path / folder, through_envoys, "none", story, nodes=1)


def test_more_requests_at_once_than_envoy_sends_by_default_are_answered(tmp_path: Path) -> None:
    """Its circuit breaker would answer 503 to all but 1,024 of them."""

    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        (at,) = balancer.at
        asked: list[asyncio.Task[str]] = []
        try:
            async with asyncio.timeout(60):
                while len(asked) < 1_100:  # a hundred at a time: so many connections wait for this one process at most
                    asked += [asyncio.create_task(Client({"X-Held": "yes"}).get(at, "/held")) for _ in range(100)]
                    while sum("x-held" in head for web in webs for head in web.heads) < len(asked):
                        assert not any(task.done() for task in asked)
                        await asyncio.sleep(0.02)
        finally:
            for web in webs:
                web.let_go.set()
        assert len(await asyncio.gather(*asked)) == 1_100

    run(tmp_path, through_envoys, "none", story, nodes=1)
