"""The library's front: an ASGI application to be mounted where uploads are to go.

    app = Starlette(routes=[Mount("/files", Uploads(FileStore(Path("/srv/uploads")), on_complete))])

Every request is looked at once to see which dialect it speaks; from there on a dialect and the engine do the rest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from starlette.types import Receive, Scope, Send

from changeover.uploads.core.completion.completion import Handler
from changeover.uploads.core.engine import Engine, Validate
from changeover.uploads.core.errors import BadRequest, ClientDisconnected, NotFound, UploadError
from changeover.uploads.core.events import EventListener
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.manifest import UploadState
from changeover.uploads.dialects import content_range, ietf, parts, plain, tus
from changeover.uploads.dialects.http import HttpRequest, HttpResponse, problem, refusal
from changeover.uploads.protocols import digest
from changeover.uploads.protocols import ietf as ietf_wire
from changeover.uploads.stores.store import Store

Authorise = Callable[[Scope], str | Awaitable[str]]
"""Says who a request's owner is. Raises Forbidden."""


class Uploads:
    """An ASGI application. One for each process; they share the store.

    `base_path`: path of the uploads, if other routes create some of them; by default the path of the mount.
    `keep_headers`: request headers to keep for the handler, in addition to those that describe the content.
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
        now: Callable[[], float] = time.time,
    ) -> None:
        self.engine = Engine(store, on_complete, limits, validate=validate, on_event=on_event, now=now)
        self._authorise = authorise
        self._base_path = base_path
        self._keep_headers = tuple(name.lower() for name in keep_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"uploads come over HTTP, not {scope['type']}")
        body = Content(receive)
        try:
            response = await self._respond(scope, body)
        except ClientDisconnected:
            return  # to nobody
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        if response.status != 204 and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if response.stream is not None and scope["method"] != "HEAD":
            async for piece in response.stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    async def _respond(self, scope: Scope, body: Content) -> HttpResponse:
        try:
            request = HttpRequest(
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
            return await dispatch(self.engine, request)
        except UploadError as error:
            return refusal(error)

    async def _owner(self, scope: Scope) -> str:
        if self._authorise is None:
            return ""
        told = self._authorise(scope)
        if isinstance(told, str):
            return told
        return str(await told)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the application's lifespan: collects what has expired, and leaves politely at the end."""
        try:
            async with self.engine.collecting():
                yield
        finally:
            await self.engine.leave()
            await self.engine.completion.wait_until_idle()


class Content:
    """The body of an ASGI request, piece by piece. Raises ClientDisconnected."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    def __aiter__(self) -> Content:
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


async def dispatch(engine: Engine, request: HttpRequest) -> HttpResponse:
    """Answer a request in the dialect that it speaks. Raises UploadError."""
    headers, method = request.headers, request.method
    if method == "OPTIONS":
        limits = ietf.limits(engine, ietf_wire.NEWEST)
        wanted = (("Want-Content-Digest", digest.WANTED), ("Want-Repr-Digest", digest.WANTED))
        return HttpResponse(204, (*tus.options(engine), *limits, ("Accept-Patch", ietf_wire.PARTIAL), *wanted))
    if "tus-resumable" in headers:
        return await tus.handle(engine, request)
    if not request.id:
        return await _begin(engine, request)
    if request.below == "content" and method in ("GET", "HEAD"):
        return await _content(engine, request)
    if request.below:
        return await parts.handle(engine, request)
    if method == "PUT" and not ietf_wire.is_spoken(headers):
        return await content_range.handle(engine, request)
    return await ietf.handle(engine, request)


async def _begin(engine: Engine, request: HttpRequest) -> HttpResponse:
    """A request to the collection: which dialect an upload begins in."""
    if ietf_wire.is_spoken(request.headers):
        return await ietf.handle(engine, request)
    if request.method not in ("POST", "PUT"):
        return problem(405, f"{request.method} means nothing here", ("Allow", "POST, PUT, OPTIONS"))
    if "content-range" in request.headers:
        # RFC 9110, section 14.4: a part must not be taken for the whole.
        raise BadRequest("a Content-Range goes to the upload, not to where uploads begin")
    if request.query == "parts":
        return await parts.create(engine, request)
    if "uploadType=resumable" in request.query.split("&"):
        return await content_range.create(engine, request)
    return await plain.handle(engine, request)


async def _content(engine: Engine, request: HttpRequest) -> HttpResponse:
    manifest = await engine.find(request.id, request.owner)
    if manifest.state is UploadState.RECEIVING:
        raise NotFound("this upload is not complete")
    headers = (
        ("Content-Length", str(manifest.offset)),
        ("Content-Type", "application/octet-stream"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return HttpResponse(200, headers, stream=engine.store.pieces(manifest.id, manifest.segments))


def _rest(scope: Scope) -> str:
    """What follows the place where the library is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
