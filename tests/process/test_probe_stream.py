"""The prober's socket: what a client must still learn from a connection that is breaking."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from changeover.model.probe import Tls
from changeover.probe.http.client import ProbeTarget
from changeover.probe.http.stream import ConnectionFailed, Stream


@pytest.fixture(params=["http", "https"])
def secured(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ssl.SSLContext | None, Path | None]:
    """Scheme, the server's TLS context and the CA's file."""
    if request.param == "http":
        return "http", None, None
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return "https", context, tmp_path / "ca.pem"


async def send_without_end(stream: Stream) -> None:
    while True:
        await stream.send(b"x" * 100_000)


def test_what_the_peer_sent_before_it_closed_is_read_after_a_failed_write(
    secured: tuple[str, ssl.SSLContext | None, Path | None],
) -> None:
    scheme, context, ca_file = secured
    closed = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"too large")
        await writer.drain()
        writer.transport.abort()  # with bytes unread: the kernel sends RST
        closed.set()

    async def go() -> bytes:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=context, limit=1) as server:
            target = await ProbeTarget.resolve(
                f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", Tls(ca=str(ca_file or ""))
            )
            stream = await Stream.connect(target.endpoint)
            try:
                await stream.send(b"x" * 100_000)
                await closed.wait()
                with pytest.raises(ConnectionFailed):
                    await send_without_end(stream)
                return await stream.receive()
            finally:
                stream.close()

    async def bounded() -> bytes:
        async with asyncio.timeout(40):
            return await go()

    assert asyncio.run(bounded()) == b"too large"
