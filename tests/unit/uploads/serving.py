"""The library behind an in-process client, with a store in a folder: requests in, responses out, no sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from changeover.uploads import CompletedUpload, Cors, Limits, Response, Uploads
from changeover.uploads.core.engine import Validate
from changeover.uploads.core.events import EventListener
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.server.asgi import CLIENT_CLOSED_REQUEST, Authorise
from changeover.uploads.stores.store import Store


@dataclass(frozen=True)
class Got:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The upload that its Location names."""
        return self.headers["location"].rpartition("/")[2]


@dataclass
class Sending:
    """A body that comes when the test says so. `hang_up` instead of `end`: the client is gone."""

    pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    gone: bool = False

    def send(self, piece: bytes) -> None:
        self.pieces.put_nowait(piece)

    def end(self) -> None:
        self.pieces.put_nowait(None)

    def hang_up(self) -> None:
        self.gone = True
        self.pieces.put_nowait(None)

    async def receive(self) -> dict[str, Any]:
        piece = await self.pieces.get()
        if piece is None:
            return {"type": "http.disconnect"} if self.gone else {"type": "http.request", "body": b""}
        return {"type": "http.request", "body": piece, "more_body": True}


class Instance:
    """One process's library, as far as it can tell. Several of them may share a store."""

    def __init__(
        self,
        store: Store,
        handler: Callable[[CompletedUpload], Any] | None = None,
        *,
        limits: Limits | None = None,
        authorise: Authorise | None = None,
        validate: Validate | None = None,
        on_event: EventListener | None = None,
        base_path: str = "",
        base_url: str = "",
        trusted_proxies: Sequence[str] = (),
        cors: Cors | None = None,
        keep_headers: Sequence[str] = (),
        timing: UploadTiming | None = None,
        registry: CollectorRegistry | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.finished: list[CompletedUpload] = []
        self._handler = handler
        self.app = Uploads(
            store,
            self._complete,
            limits=limits,
            authorise=authorise,
            validate=validate,
            on_event=on_event,
            base_path=base_path,
            base_url=base_url,
            trusted_proxies=trusted_proxies,
            cors=cors,
            keep_headers=keep_headers,
            timing=timing,
            registry=registry,
            now=now,
        )
        self.engine = self.app._engine

    async def _complete(self, finished: CompletedUpload) -> Response:
        self.finished.append(finished)
        if self._handler is not None:
            answer: Response = await self._handler(finished)
            return answer
        return Response(200, (("X-Size", str(finished.size)),), b"thanks")

    async def ask(
        self, method: str, path: str, body: bytes | Sending = b"", root: str = "/files", **headers: str
    ) -> Got | None:
        """One request; None when the client is gone before an answer. `upload_offset="5"` is a header."""
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if isinstance(body, bytes):
            whole, body = body, Sending()
            named.append((b"content-length", str(len(whole)).encode()))
            body.send(whole)
            body.end()
        path, _, query = path.partition("?")
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": root + path,
            "root_path": root,
            "query_string": query.encode(),
            "headers": named,
        }
        await self.app(scope, body.receive, send)
        if body.gone and sent[0]["status"] == CLIENT_CLOSED_REQUEST:
            return None
        headers_got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Got(sent[0]["status"], headers_got, b"".join(message.get("body", b"") for message in sent[1:]))

    async def got(self, *args: Any, **headers: Any) -> Got:
        """The same where there is an answer."""
        got = await self.ask(*args, **headers)
        assert got is not None
        return got


async def content(instance: Instance, id: str) -> bytes:
    """What the store has of a complete upload."""
    return (await instance.got("GET", f"/{id}/content")).body


async def settled(condition: Callable[[], object]) -> None:
    """Let the event loop run until it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def aiter_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
