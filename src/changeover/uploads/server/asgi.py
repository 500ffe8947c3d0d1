"""The library as an ASGI application, to be mounted where uploads are received.

    app = Starlette(routes=[Mount("/files", Uploads(FileStore(Path("/srv/uploads")), on_complete))])

Each request is dispatched to the dialect that it uses. Refuses every scope but HTTP.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from changeover.http1.head import MAX_HEAD
from changeover.uploads.core.completion.completion import Handler
from changeover.uploads.core.engine import Engine, Validate
from changeover.uploads.core.errors import ClientDisconnected, UploadError
from changeover.uploads.core.events import EventListener
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.dialects.dispatch import dispatch
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, error_response, problem
from changeover.uploads.server.uvicorn_trailers import separate_trailers
from changeover.uploads.stores.store import Store

FRAMING = len(b": \r\n")
"""Bytes of a field in a head, besides its name and its value."""

Authorise = Callable[[Scope], str | Awaitable[str]]
"""Returns the owner of a request; may be a coroutine function. Raises Forbidden to refuse the request."""


class Uploads:
    """An ASGI application. Each process has one of its own; all of them share the store.

    `on_complete`: gets each complete upload, and returns the response for its client. `limits`: what clients may send.
    `authorise`: returns the owner of a request; other owners do not find the upload. `validate`: examines an upload
    before it is created. `on_event`: receives events. `base_path`: path of the uploads, if other routes create some of
    them; by default the path of the mount. `keep_headers`: request headers to keep for the handler, in addition to
    those that describe the content. `registry`: for the Prometheus metrics; None: the default registry. `timing`: of
    commits, leases and the collection. `now`: the clock, in seconds since the epoch of Unix.
    """

    def __init__(
        self,
        store: Store,
        on_complete: Handler,
        *,
        limits: Limits | None = None,
        authorise: Authorise | None = None,
        validate: Validate | None = None,
        on_event: EventListener | None = None,
        base_path: str = "",
        keep_headers: Sequence[str] = (),
        registry: CollectorRegistry | None = None,
        timing: UploadTiming | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        separate_trailers()
        self._engine = Engine(
            store,
            on_complete,
            limits,
            validate=validate,
            on_event=on_event,
            registry=registry,
            timing=timing,
            now=now,
        )
        self._authorise = authorise
        self._base_path = base_path
        self._keep_headers = tuple(name.lower() for name in keep_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request. Raises NotImplementedError unless the scope is `http`."""
        if scope["type"] != "http":
            raise NotImplementedError(f"uploads need HTTP, not {scope['type']}")
        body = _Content(receive)
        try:
            if _is_over_bound(scope):
                response = problem(431, f"the head has more than {MAX_HEAD} bytes")
            else:
                response = await self._respond(scope, body)
        except ClientDisconnected:
            return
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        if response.status != 204 and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if response.stream is not None and scope["method"] != "HEAD":
            async for piece in response.stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    async def _respond(self, scope: Scope, body: _Content) -> DialectResponse:
        try:
            request = DialectRequest(
                method=scope["method"],
                root=scope.get("root_path", ""),
                rest=_rest(scope),
                query=scope.get("query_string", b"").decode("latin-1"),
                headers=_headers(scope),
                body=body,
                owner=await self._owner(scope),
                base_path=self._base_path,
                keep_headers=self._keep_headers,
            )
            return await dispatch(self._engine, request)
        except UploadError as error:
            return error_response(error)

    async def _owner(self, scope: Scope) -> str:
        if self._authorise is None:
            return ""
        owner = self._authorise(scope)
        return owner if isinstance(owner, str) else str(await owner)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the application's lifespan: collect at intervals; at the end `leave` and `wait_until_idle`."""
        try:
            async with self._engine.collector.running():
                yield
        finally:
            await self.leave()
            await self.wait_until_idle()

    async def leave(self) -> None:
        """Prepare the shutdown of this process: call it before the server waits for its requests.

        Requests whose client can continue at another instance are interrupted: their bytes are committed, and they get
        503 with `Retry-After: 0`. Plain uploads and parts continue to their end. New uploads get 503.
        """
        await self._engine.leave()

    async def wait_until_idle(self) -> None:
        """Wait until every handler call of this process has ended and every event is delivered. Call it last."""
        await self._engine.completion.wait_until_idle()

    async def collect(self) -> int:
        """Collect expired uploads now, and call the handler for complete uploads that no process handles.

        `running` does so every ten minutes. Returns the number of uploads deleted. Raises StoreUnavailable.
        """
        return await self._engine.collector.collect()


class _Content:
    """The body of an ASGI request, piece by piece. Raises ClientDisconnected."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    def __aiter__(self) -> _Content:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        self._ended = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


def _rest(scope: Scope) -> str:
    """The path below the mount."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def _is_over_bound(scope: Scope) -> bool:
    """Whether the head is over the bound of `http1`: uvicorn's parser httptools takes heads of any size."""
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value) + FRAMING
        if size > MAX_HEAD:
            return True
    return False


def _headers(scope: Scope) -> dict[str, str]:
    fields: dict[str, list[str]] = {}  # joined once: joining one by one is quadratic in the lines of a head
    for name, value in scope["headers"]:
        fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {name: ", ".join(values) for name, values in fields.items()}
