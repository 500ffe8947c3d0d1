"""A real HAProxy and a real Envoy find an instance ready by the question that the chain file names, and by no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.process.balanced import HOST, Balancer, through_envoys, through_haproxy

from changeover.hops.app.hop import App
from changeover.kit.direct_http import DirectClient
from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance

TOKEN = 'it\'s 100% "secret" # \\ $HOME'
HEALTH = {
    "interval": "100ms",
    "path": "/state?full=1",
    "status": [207],
    "headers": {"Host": "shop.example", "X-Token": TOKEN},
    "body": "réady: 100% 'yes'",
}


class Checked:
    """A server that gives the right answer to the right question alone; `wrong` changes one part of its answer."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.agents: list[str] = []

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[Instance]:
        server = await asyncio.start_server(self._serve, HOST, 0)
        address = Address(*server.sockets[0].getsockname()[:2])
        try:
            yield Instance(name, "web", "v1", address, address, readiness=tier().health.question("/"))
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
            self.agents.append(headers.get("user-agent", ""))
            asked = (line, headers["host"], headers.get("x-token"))
            right = asked == ("GET /state?full=1 HTTP/1.1", "shop.example", TOKEN)
            status = 500 if not right else 200 if self.wrong == "status" else 207
            body = ("starting" if self.wrong == "body" else str(HEALTH["body"])).encode()
            head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()


def tier(**health: Any) -> Tier:
    return Tier.model_validate({"name": "web", "kind": "app", "templates": {"v1": {}}, "health": health or HEALTH})


async def is_asked(balancer: Balancer) -> None:
    right, others = Checked(), {"status": Checked("status"), "body": Checked("body")}
    async with contextlib.AsyncExitStack() as stack:
        good = await stack.enter_async_context(right.running("web-v1-1"))
        bad = {wrong: await stack.enter_async_context(one.running(f"web-v1-{wrong}")) for wrong, one in others.items()}
        for one in bad.values():
            await balancer.router.admit(one, 100)
        await balancer.admits(good)
        async with asyncio.timeout(40):
            while not all(len(one.agents) > 2 for one in others.values()):
                await asyncio.sleep(0.02)
        seen = await balancer.router.membership(frozenset(one.name for one in bad.values()))
        assert [one.admitted for one in seen.values()] == [False, False]
        client = DirectClient()
        app = App(client)
        assert await app.not_ready(good) == ""
        assert "answered 200" in await app.not_ready(bad["status"])
        assert "without the text of `health.body`" in await app.not_ready(bad["body"])
    assert set(right.agents) == {"changeover"}


def test_haproxy_asks_and_expects_what_the_controller_does(tmp_path: Path) -> None:
    async def checked() -> None:
        async with through_haproxy(tmp_path, tier()) as balancer:
            await is_asked(balancer)

    asyncio.run(checked())


def test_envoy_asks_and_expects_what_the_controller_does(tmp_path: Path) -> None:
    async def checked() -> None:
        async with through_envoys(tmp_path, tier(), nodes=1) as balancer:
            await is_asked(balancer)

    asyncio.run(checked())


@pytest.mark.parametrize("through", [through_haproxy, through_envoys])
def test_each_router_asks_once_in_an_interval(through: Any, tmp_path: Path) -> None:
    """One question more than that, and the log of an application at rest would be longer than docs/app.md says."""

    async def counted() -> None:
        server = Checked()
        async with through(tmp_path, tier()) as balancer, server.running("web-v1-1") as member:
            await balancer.admits(member)
            began, before = asyncio.get_running_loop().time(), len(server.agents)
            async with asyncio.timeout(30):
                while len(server.agents) < before + 20 * len(balancer.nodes or balancer.at):
                    await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - began >= 0.9 * 20 * 0.1

    asyncio.run(counted())


@pytest.mark.parametrize("through", [through_haproxy, through_envoys])
def test_a_server_without_a_path_of_readiness_is_admitted_as_soon_as_it_accepts_connections(
    through: Any, tmp_path: Path
) -> None:
    async def checked() -> None:
        web = tier(tcp=True, interval="100ms")
        async with through(tmp_path, web) as balancer:
            silent = await asyncio.start_server(lambda reader, writer: writer.close(), HOST, 0)
            at = Address(*silent.sockets[0].getsockname()[:2])
            listening = Instance("web-v1-1", "web", "v1", at, at)
            nobody = Instance("web-v1-2", "web", "v1", Address(HOST, 1), Address(HOST, 1))
            await balancer.router.admit(nobody, 100)
            await balancer.admits(listening)
            assert not (await balancer.router.membership(frozenset([nobody.name])))[nobody.name].admitted
            await balancer.removes(listening)
            silent.close()

    asyncio.run(checked())
