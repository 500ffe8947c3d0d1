"""What a real HAProxy does as a tier: names clients, hides control paths, sends again, and drains without a loss."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.process.balanced import HOST, PATIENCE
from tests.process.test_forwarded import CLIENT, HIDDEN, NAMED, SMUGGLED, SPELLINGS, forwarded, status
from tests.process.test_routes import BODY, Behind
from tests.unit.hops import contexts

from changeover.hops.haproxy.hop import HaproxyHttp, HaproxyTcp
from changeover.kit import process, sockets
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Address, Instance


@dataclass
class Tier:
    """An instance in front of a server, and its hop."""

    hop: HaproxyHttp | HaproxyTcp
    instance: Instance
    behind: Behind

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.instance.address.host, self.instance.address.port)
        with contextlib.closing(writer):
            yield reader, writer

    async def ask(self, method: str = "GET", *, before: str = "", **headers: str) -> bytes:
        """The response to a request on a connection of its own."""
        async with self.client() as (reader, writer):
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            body = "Content-Length: 1\r\n\r\nx" if method == "POST" else "\r\n"
            writer.write(f"{before}{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}{body}".encode())
            return await reader.read()


def run(
    folder: Path,
    story: Callable[[Tier], Awaitable[None]],
    *,
    made: type[HaproxyHttp | HaproxyTcp] = HaproxyHttp,
    proxied: bool = False,
    behind: Behind | None = None,
    **context: Any,
) -> None:
    async def go(behind: Behind) -> None:
        server = await asyncio.start_server(behind.serve, HOST, 0)
        control = DirectClient()
        async with server, asyncio.timeout(PATIENCE):
            port = sockets.free_port(HOST)
            instance = contexts.instance(port=port, control=sockets.free_port(HOST, {port}))
            instance = replace(instance, proxied=proxied, directory=str(folder))
            inner = replace(contexts.INNER, address=Address(*server.sockets[0].getsockname()[:2]))
            hop = made(control)
            settings: Any = made.traits.settings()
            launch = hop.launch(settings, contexts.launch_context(instance=instance, behind=(inner,), **context))
            (folder / "haproxy.cfg").write_text(launch.files["haproxy.cfg"])
            pid, born = process.spawn(launch.argv, home=folder, env=dict(os.environ))
            try:
                while await hop.not_ready(instance):
                    await asyncio.sleep(0.02)
                await story(Tier(hop, replace(instance, pid=pid, born=born), behind))
            finally:
                process.kill_session(pid, born, folder)

    asyncio.run(go(behind or Behind()))


# -- clients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proxied", "peer"), [(True, CLIENT), (False, "127.0.0.1")])
def test_it_removes_forwarded_headers_of_other_peers_and_passes_those_of_trusted_ones(
    tmp_path: Path, proxied: bool, peer: str
) -> None:
    before = f"PROXY TCP4 {CLIENT} 127.0.0.1 4711 443\r\n" if proxied else ""

    async def refused(tier: Tier) -> None:
        assert b" 200 " in await tier.ask(before=before, **NAMED, X_Forwarded_For="10.9.9.9")
        assert forwarded(tier.behind.headers) == {"x-forwarded-for": peer}
        assert tier.behind.headers["x-forwarded-proto"] == "http"
        assert "x_forwarded_for" not in tier.behind.headers

    async def believed(tier: Tier) -> None:
        assert b" 200 " in await tier.ask(before=before, **NAMED)
        passed = {name.lower(): value for name, value in NAMED.items()} | {"x-forwarded-for": f"10.9.9.9, {peer}"}
        assert {name: tier.behind.headers.get(name) for name in passed} == passed

    for number, (trusted, story) in enumerate(
        (((), refused), (("192.0.2.0/24",), refused), ((f"{peer}/32",), believed))
    ):
        home = tmp_path / str(number)
        home.mkdir()
        run(home, story, proxied=proxied, trusted_peers=trusted)


def test_behind_another_tier_it_passes_what_that_says_of_the_client(tmp_path: Path) -> None:
    async def story(tier: Tier) -> None:
        await tier.ask(**NAMED)
        got = tier.behind.headers
        assert (got["x-forwarded-for"], got["forwarded"]) == ("10.9.9.9, 127.0.0.1", "10.9.9.9")
        assert got["x-forwarded-proto"] == "10.9.9.9"

    run(tmp_path, story)


def test_a_client_smuggles_nothing_and_gets_no_control_answer(tmp_path: Path) -> None:
    async def story(tier: Tier) -> None:
        async with tier.client() as (reader, writer):
            lines = "".join(f"{name}: {value}\r\n" for name, value in SMUGGLED.items())
            upgrade = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
            writer.write(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}{upgrade}\r\n".encode())
            await reader.readuntil(b"ok")
        got = tier.behind.headers
        assert forwarded(got) == {"x-forwarded-for": "127.0.0.1"}
        assert not {"x_forwarded_for", "x-real_ip", "upgrade"} & got.keys()
        assert "forwarded" not in got["connection"]
        at = tier.instance.address.host, tier.instance.address.port
        assert {path: await status(at, path) for path in SPELLINGS} == dict.fromkeys(SPELLINGS, 404)
        assert [await status(at, path) for path in ("/readyz/x", "/", "/x")] == [200] * 3

    run(tmp_path, story, trusted_peers=(), hidden_paths=HIDDEN)


def test_a_safe_request_whose_connection_broke_is_sent_again_and_no_other_one(tmp_path: Path) -> None:
    async def story(tier: Tier) -> None:
        for method, wanted, times in (("GET", b" 200 ", 2), ("POST", b" 502 ", 1)):
            tier.behind.cuts, tier.behind.asked = 1, []
            assert wanted in (await tier.ask(method)).splitlines()[0]
            assert len(tier.behind.asked) == times

    run(tmp_path, story)


UPGRADE = "Connection: Upgrade", "Upgrade: websocket"


class Talking(Behind):
    """It answers an upgrade, sends one message at once, and goes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go = asyncio.Event()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 101 Switching Protocols", *UPGRADE, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        writer.write("\r\n".join([*head, "", "hello"]).encode())
        await self.may_go.wait()


def test_a_websocket_passes_and_is_in_flight_until_it_ends(tmp_path: Path) -> None:
    behind = Talking()

    async def story(tier: Tier) -> None:
        async with tier.client() as (reader, writer):
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="  # HAProxy insists on one (RFC 6455)
            writer.write("\r\n".join(["GET / HTTP/1.1", "Host: a", *UPGRADE, key, "", ""]).encode())
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(5) == b"hello"
            await tier.hop.lame_duck(tier.instance, True)
            assert (await tier.hop.in_flight(tier.instance)).requests == 1
            behind.may_go.set()
            assert await reader.read() == b""
        while (await tier.hop.in_flight(tier.instance)).busy:
            await asyncio.sleep(0.01)

    run(tmp_path, story, behind=behind)


# -- draining ------------------------------------------------------------------------------------------------------


def test_a_lame_duck_ends_each_connection_with_its_next_response_and_can_come_back(tmp_path: Path) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    async def story(tier: Tier) -> None:
        async with tier.client() as (reader, writer):
            for on in (False, True):
                await tier.hop.lame_duck(tier.instance, on)
                assert bool(await tier.hop.not_ready(tier.instance)) is on
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert (b"connection: close" in head.lower()) is on
                await reader.readexactly(2)
            assert await reader.read() == b""
        await tier.hop.lame_duck(tier.instance, False)
        async with tier.client() as (reader, writer):
            writer.write(request)
            assert b"connection: close" not in (await reader.readuntil(b"\r\n\r\n")).lower()

    run(tmp_path, story)


@pytest.mark.parametrize("made", [HaproxyHttp, HaproxyTcp])
def test_a_slow_upload_is_in_flight_until_its_response_and_a_soft_stop_waits_for_it(
    tmp_path: Path, made: type[HaproxyHttp | HaproxyTcp]
) -> None:
    size = 100_000

    async def story(tier: Tier) -> None:
        seen = await tier.hop.in_flight(tier.instance)
        assert (seen.requests or 0, seen.connections) == (0, 0)
        async with tier.client() as (reader, writer):
            writer.write(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode() + BODY[: size // 2])
            await tier.behind.began.wait()
            seen = await tier.hop.in_flight(tier.instance)
            assert (seen.requests, seen.connections) == (1 if made is HaproxyHttp else None, 1)
            assert tier.instance.pid is not None
            assert tier.instance.born is not None
            process.send(tier.instance.pid, tier.instance.born, tier.hop.traits.stop_signal)
            while not await tier.hop.not_ready(tier.instance):
                await asyncio.sleep(0.02)
            writer.write(BODY[size // 2 : size])
            assert b" 200 " in await reader.read()
        while process.is_alive(tier.instance.pid, tier.instance.born):
            await asyncio.sleep(0.01)
        assert tier.behind.asked == [("POST", size)]

    run(tmp_path, story, made=made)


def test_the_signal_that_most_scripts_send_would_cut_it(tmp_path: Path) -> None:
    """The control."""

    async def story(tier: Tier) -> None:
        async with tier.client() as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + BODY[:1000])
            await tier.behind.began.wait()
            assert tier.instance.pid is not None
            os.kill(tier.instance.pid, signal.SIGTERM)
            with contextlib.suppress(ConnectionResetError):
                assert b" 200 " not in await reader.read()
        assert not tier.behind.asked

    run(tmp_path, story)
