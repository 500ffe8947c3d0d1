"""A response on its way from the upstream to a client, and responses of the relay itself."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from http import HTTPStatus

from changeover.http1 import head as heads
from changeover.http1.chunked import BadChunk, Chunks
from changeover.http1.head import Field, ResponseHead
from changeover.relay.io.epoll import STEPS, Channel, Waker
from changeover.relay.outbound.upstream import UpstreamConnection, UpstreamFailed

PIECE = 128 * 1024

ABOUT_THE_UPLOAD = frozenset(
    {b"upload-complete", b"upload-offset", b"upload-limit", b"upload-length", b"upload-capability"}
)
"""Fields between the relay and the upstream, which mean nothing to a client that sent a plain request."""


def problem(status: int, detail: str, *headers: Field, **more: object) -> tuple[int, list[Field], bytes]:
    """A problem document (RFC 9457)."""
    document = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return status, [(b"Content-Type", b"application/problem+json"), *headers], json.dumps(document).encode()


async def write(channel: Channel, waker: Waker, data: bytes, until: float) -> None:
    """Send all of it. Raises OSError, and TimeoutError if the client takes nothing until then."""
    view = memoryview(data)
    while view:
        waker.clear()
        count = channel.send(view)
        view = view[count:]
        if not count:
            if time.monotonic() > until:
                raise TimeoutError
            await waker.wait()


async def pass_on(
    connection: UpstreamConnection,
    response: ResponseHead,
    client: Channel,
    waker: Waker,
    *,
    close: bool,
    chunks_understood: bool,
    silence: float,
    without: frozenset[bytes] = frozenset(),
) -> bool:
    """Send the whole response; whether the client's connection can carry another one.

    Raises UpstreamFailed if it ends too early: the client has a part of it, so its connection must be reset. Raises
    OSError if the client is gone.
    """
    fields = response.passed_on(without)
    cut = response.until_close or (response.chunked and not chunks_understood)
    if response.chunked and chunks_understood:
        fields.append((b"Transfer-Encoding", b"chunked"))
    if close or cut:
        fields.append((b"Connection", b"close"))
    elif not chunks_understood:  # HTTP/1.0, which waits for the end of the connection without this (RFC 9112, C.2.2)
        fields.append((b"Connection", b"keep-alive"))
    out: bytes | memoryview = heads.format_response(response.status, response.reason, fields)
    chunks = Chunks() if response.chunked else None
    left, inbox, ended = response.length or 0, b"", response.length == 0
    if not ended:  # bytes after a response without content belong to none: they stay, so its connection closes
        inbox, connection.inbox = connection.inbox, b""
    quiet_since = time.monotonic()
    for step in itertools.count(1):
        waker.clear()
        moved = False
        if not ended and len(out) < PIECE:
            data = inbox or connection.recv(PIECE)
            inbox = b""
            if data == b"":
                if not response.until_close:
                    raise UpstreamFailed("the response broke off")
                ended = moved = True
            elif data is not None:
                moved = True
                if chunks is not None:
                    try:
                        content, used = chunks.feed(data)
                    except BadChunk as error:
                        raise UpstreamFailed(f"the body of the response: {error}") from None
                    connection.inbox = data[used:]
                    data = data[:used] if chunks_understood else b"".join(content)
                    ended = chunks.ended
                elif not response.until_close:
                    connection.inbox, data = data[left:], data[:left]
                    left -= len(data)
                    ended = not left
                out = b"".join((out, data)) if out else data
        if out:
            count = client.send(out)
            out = memoryview(out)[count:]
            moved = moved or count > 0
        if ended and not out:
            return not (close or cut)
        if moved:
            quiet_since = time.monotonic()
            if step % STEPS == 0:
                await asyncio.sleep(0)
        elif client.gone:
            raise ConnectionResetError
        elif time.monotonic() - quiet_since > silence:
            raise UpstreamFailed("the response stood still", timeout=True)
        else:
            await waker.wait()
    raise AssertionError("it is returned from, or raised")
