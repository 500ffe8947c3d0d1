"""The library as an ASGI application, to be mounted where uploads are received.

    app = Starlette(routes=[Uploads(FileStore(Path("/srv/uploads")), on_complete).mount("/files")])

Each request is dispatched to the dialect that it uses. Refuses every scope but HTTP.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from changeover.http1.head import MAX_HEAD
from changeover.uploads.core import capability
from changeover.uploads.core.completion.completion import Handler
from changeover.uploads.core.engine import Engine, Validate
from changeover.uploads.core.errors import ClientDisconnected, NotFound, UploadError
from changeover.uploads.core.events import EventListener
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.dialects.cors import Cors, preflight, readable
from changeover.uploads.dialects.dispatch import dispatch
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, closed_after, error_response, problem
from changeover.uploads.dialects.public_url import PublicUrl
from changeover.uploads.server.allocator import keep_memory_of_pieces
from changeover.uploads.server.mount import UploadsMount
from changeover.uploads.server.uvicorn_trailers import separate_trailers
from changeover.uploads.stores.store import Store

_LOG = logging.getLogger(__name__)

FRAMING = len(b": \r\n")
"""Bytes of a field in a head, besides its name and its value."""

Authorise = Callable[[Scope], str | Awaitable[str]]
"""Returns the owner of a request; may be a coroutine function. Raises Forbidden to refuse the request."""

CLIENT_CLOSED_REQUEST = 499
"""The status that nginx logs for a client that disconnected; a 5xx would count against this instance."""


class Uploads:
    """An ASGI application. Each process has one of its own; all of them share the store.

    `on_complete`: gets each complete upload, and returns the response for its client. `limits`: what clients may send.
    `authorise`: returns the owner of a request; other owners do not find the upload. `validate`: examines an upload
    before it is created. `on_event`: receives events. `base_path`: path of the uploads, if other routes create some of
    them; by default the path of the mount. `base_url`: scheme, host and any prefix that a proxy strips, for an absolute
    `Location`. `trusted_proxies`: addresses and networks of proxies, or `unix`, whose forwarded fields give the same
    for each request. Without both, `Location` is a path. `keep_headers`: request headers to keep for the handler, in
    addition to those that describe the content. `cors`: which pages of other origins may upload. `registry`: for the
    Prometheus metrics; None: the default registry. `timing`: of commits, leases and the collection. `now`: the clock,
    in seconds since the epoch of Unix.
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
        base_url: str = "",
        trusted_proxies: Sequence[str] = (),
        keep_headers: Sequence[str] = (),
        cors: Cors | None = None,
        registry: CollectorRegistry | None = None,
        timing: UploadTiming | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        separate_trailers()
        keep_memory_of_pieces()
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
        self._cors = cors
        self._warned = False
        self._public_url = PublicUrl(base_url, base_path, trusted_proxies)
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
            # No client receives it, but a middleware of Starlette raises RuntimeError without a response.
            response = problem(CLIENT_CLOSED_REQUEST, "the client disconnected before the end of its request")
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        if response.status != 204 and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(response.body)).encode()))
        if response.stream is not None and scope["method"] != "HEAD":
            async with closed_after(response.stream) as stream:
                streaming = StreamingResponse(stream, response.status)  # it ends where the client disconnects
                streaming.raw_headers = headers
                with contextlib.suppress(ClientDisconnect):
                    await streaming(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    async def _respond(self, scope: Scope, body: _Content) -> DialectResponse:
        headers = _headers(scope)
        if self._cors is None:
            return await self._respond_to_any_origin(scope, headers, body)
        if (answer := preflight(self._cors, scope["method"], headers)) is not None:
            return answer
        return readable(self._cors, await self._respond_to_any_origin(scope, headers, body), headers)

    async def _respond_to_any_origin(self, scope: Scope, headers: Mapping[str, str], body: _Content) -> DialectResponse:
        root, rest = _root_and_rest(scope)
        try:
            if continued := capability.read(rest):
                owner = await self._engine.owner_by_capability(*continued)
                rest = "/" + continued[0]
            else:
                owner = await self._owner(scope)
            request = DialectRequest(
                method=scope["method"],
                root=root,
                rest=rest,
                query=scope.get("query_string", b"").decode("latin-1"),
                headers=headers,
                body=body,
                owner=owner,
                base=self._public_url.base(root, self._peer(scope), scope.get("scheme", "http"), headers),
                keep_headers=self._keep_headers,
            )
            return await dispatch(self._engine, request)
        except UploadError as error:
            return error_response(error)

    def _peer(self, scope: Scope) -> str | None:
        """The address of the other end of the connection; None for a Unix socket."""
        host, port = scope.get("client") or (None, None)
        if host and not port and self._public_url.needs_peer and not self._warned:
            self._warned = True
            _LOG.warning(
                "the server replaced the address of the proxy with %s of X-Forwarded-For, so trusted_proxies cannot be "
                "compared with it. Locations are without host. Run uvicorn with --no-proxy-headers",
                host,
            )
        return host

    async def _owner(self, scope: Scope) -> str:
        if self._authorise is None:
            return ""
        owner = self._authorise(scope)
        return owner if isinstance(owner, str) else str(await owner)

    def mount(self, path: str) -> BaseRoute:
        """The route of the uploads: `path` with and without a final slash. Starlette's Mount redirects one of them."""
        return UploadsMount(path, self)

    async def is_authorised(self, scope: Scope, mount: str) -> bool:
        """Whether a request continues an upload that was authorised at its creation. Raises RetryLater.

        For a middleware in front that checks credentials: a relay sends them with the creation alone, and continues by
        the capability of the upload, which is a part of the path. `mount`: the path of this library in `scope`.
        """
        _, rest = _root_and_rest(scope)
        if not rest.startswith(mount + "/") or not (continued := capability.read(rest[len(mount) :])):
            return False
        try:
            await self._engine.owner_by_capability(*continued)
        except NotFound:
            return False
        return True

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


def _root_and_rest(scope: Scope) -> tuple[str, str]:
    """The path of the mount, and the path below it.

    The path should begin with `root_path`. It does not under some servers, nor below a mount of an application whose
    `root_path` a proxy strips: then it begins with what the mount has added to that.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    for prefix in (root, root.removeprefix(scope.get("app_root_path", "").rstrip("/"))):
        if prefix and (path + "/").startswith(prefix + "/"):
            return root, path[len(prefix) :]
    return root, path


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
