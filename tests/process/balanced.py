"""A real HAProxy, and real Envoys, over instances that answer with their name, and clients spoken by hand.

Refuses to pool connections: each client has its own and may come from an address of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.unit.hops import contexts

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.hops.envoy.hop import Envoy
from changeover.hops.envoy.router import EnvoyRouter
from changeover.hops.envoy.settings import EnvoySettings
from changeover.kit import process, sockets
from changeover.kit.direct_http import DirectClient
from changeover.model.chain import Chain, Tier
from changeover.model.instance import Address, Instance
from changeover.platforms.local import haproxy
from changeover.ports import Unknown

HOST = "127.0.0.1"
PATIENCE = 40.0


# -- instances -------------------------------------------------------------------------------------------------------


class Web:
    """An instance that answers every request with its name; one to /held when it is let go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held, self.let_go = asyncio.Event(), asyncio.Event()
        self.ready = True
        self.forwarded: str | None = None
        """X-Forwarded-For of the last request that had it."""
        self.heads: list[Mapping[str, str]] = []
        """Headers of every request, by lower-case name."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Instance]:
        server = await asyncio.start_server(self._serve, HOST, 0)
        address = Address(*server.sockets[0].getsockname()[:2])
        try:
            yield Instance(self.name, "web", "v1", address, address)
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                line, headers = _parse(await reader.readuntil(b"\r\n\r\n"))
                self.heads.append(headers)
                self.forwarded = headers.get("x-forwarded-for", self.forwarded)
                if " /held " in line:
                    self.held.set()
                    await self.let_go.wait()
                status = b"503 Unavailable" if "/ready" in line and not self.ready else b"200 OK"
                body = self.name.encode()
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode().rstrip().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


# -- clients ---------------------------------------------------------------------------------------------------------


@dataclass
class Client:
    """One browser: it keeps its cookies, and opens a connection for every request."""

    headers: Mapping[str, str] = field(default_factory=dict)
    source: str = HOST
    keeps_cookies: bool = True
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookie: str = ""
    """The last one that came."""

    async def get(self, at: Address, path: str = "/") -> str:
        """Who answered. Anything but 200 is an error."""
        async with asyncio.timeout(2 * PATIENCE):
            reader, writer = await asyncio.open_connection(at.host, at.port, local_addr=(self.source, 0))
            try:
                return await self.get_on(reader, writer, path)
            finally:
                writer.close()

    async def get_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str = "/") -> str:
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = [f"GET {path} HTTP/1.1", "Host: web", *(f"{name}: {value}" for name, value in self.headers.items())]
        writer.write("\r\n".join([*lines, *([f"Cookie: {jar}"] if jar else []), "", ""]).encode())
        first, headers = _parse(await reader.readuntil(b"\r\n\r\n"))
        assert first.split()[1] == "200", first
        if given := headers.get("set-cookie"):
            self.set_cookie = given
            if self.keeps_cookies:
                name, _, value = given.partition(";")[0].partition("=")
                self.cookies[name] = value.strip('"')
        return (await reader.readexactly(int(headers["content-length"]))).decode()


# -- balancers -------------------------------------------------------------------------------------------------------


@dataclass
class Balancer:
    """`at`: where each of its nodes is reached."""

    at: tuple[Address, ...]
    router: EnvoyRouter | haproxy.HaproxyRouter
    nodes: tuple[Instance, ...] = ()

    async def admits(self, *members: Instance) -> None:
        for member in members:
            await self.router.admit(member, 100)
        await self._until(members, lambda seen: seen.admitted)

    async def weighs(self, member: Instance, weight: int) -> None:
        await self.router.weigh(member, weight)
        await self._until([member], lambda seen: seen.weight == weight)

    async def removes(self, member: Instance) -> None:
        await self.router.remove(member)
        await self._until([member], lambda seen: seen.removed)

    async def _until(self, members: Collection[Instance], holds: Callable[[Any], bool]) -> None:
        names = frozenset(member.name for member in members)
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(Unknown):
                    if all(map(holds, (await self.router.membership(names)).values())):
                        return

    async def answers(self, clients: Iterable[Client]) -> list[str]:
        """Who answers each of them, whichever node it asks; the same one at all of them."""
        found = []
        for client in clients:
            reported = [await client.get(at) for at in self.at]
            assert len(set(reported)) == 1 or not client.keeps_cookies, reported
            found.append(reported[-1])
        return found


Start = Callable[..., Any]


@asynccontextmanager
async def started(folder: Path, *command: str) -> AsyncIterator[None]:
    with (folder / "log").open("wb") as log:
        leader = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    born = process.start_time(leader.pid)
    try:
        yield
    finally:
        if born is not None:
            process.kill_session(leader.pid, born)  # a master of nginx that is killed leaves its workers behind
        await leader.wait()


@asynccontextmanager
async def through_haproxy(
    folder: Path, tier: Tier, *, first: bool = False, ready_path: str = "/readyz", most: int = haproxy.MOST
) -> AsyncIterator[Balancer]:
    """HAProxy in front of `tier`, which is the first one of its chain or the second."""
    front = Tier.model_validate({"name": "front", "kind": "nginx", "templates": {"v1": {}}})
    chain = Chain(tiers=(tier,) if first else (front, tier))
    asked = tier.health.question(ready_path)
    at = Address(HOST, sockets.free_port(HOST, set()))
    (folder / "haproxy.cfg").write_text(haproxy.config(chain, {tier.name: at}, {tier.name: asked}, most))
    api = RuntimeApi(str(folder / haproxy.SOCKET))
    async with started(folder, haproxy.binary(), "-f", "haproxy.cfg", "-db"), asyncio.timeout(60):
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(Unknown):
                    await api.ask("show info")
                    break
        yield Balancer((at,), haproxy.HaproxyRouter(api, tier, tier.name))


@asynccontextmanager
async def through_envoys(
    folder: Path, tier: Tier, *, nodes: int = 2, proxied: bool = False, **context: Any
) -> AsyncIterator[Balancer]:
    """Several Envoys in front of `tier`, with their members in one file. `context`: more of their launch context."""
    membership = folder / "members" / "endpoints.json"
    membership.parent.mkdir()
    client = DirectClient()
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        hop = Envoy(client)
        there: list[Instance] = []
        taken: set[int] = set()
        router = hop.router(tier, str(membership), lambda: tuple(there))
        await router.open()
        for number in range(nodes):
            ports = [sockets.free_port(HOST, taken)]
            ports.append(sockets.free_port(HOST, taken | {*ports}))
            taken |= {*ports}
            home = folder / f"gateway-v1-{number}"
            home.mkdir()
            node = replace(contexts.instance(home.name, *ports), proxied=proxied, directory=str(home))
            launch_context = contexts.launch_context(
                instance=node,
                tier=contexts.tier("envoy"),
                behind=(replace(contexts.INNER, tier=tier, address=None, membership=str(membership)),),
                **context,
            )
            launch = hop.launch(EnvoySettings(), launch_context)
            for name, text in launch.files.items():
                (home / name).write_text(text)
            await stack.enter_async_context(started(home, *launch.argv))
            there.append(node)
        async with asyncio.timeout(PATIENCE):
            for node in there:
                while await hop.not_ready(node):
                    await asyncio.sleep(0.02)
        yield Balancer(tuple(node.address for node in there), router, tuple(there))
