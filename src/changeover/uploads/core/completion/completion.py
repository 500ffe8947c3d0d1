"""Call the handler for a complete upload once, store its response, and replay it.

One process at a time calls the handler, under a lease. A response counts when it is stored. So the handler is called
again only if its process died during the call, or the call failed. A result that could not be replayed is a failed
call (`responses.py`).

Refuses to know how bytes arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from changeover.uploads.core.completion import form
from changeover.uploads.core.completion.completed import CompletedUpload
from changeover.uploads.core.completion.lease import CompletionLease, ObservedLeases
from changeover.uploads.core.completion.responses import UnusableResponse, of_refusal, usable
from changeover.uploads.core.digests import REPR, Digests
from changeover.uploads.core.errors import BadRequest, DigestMismatch, RetryLater, UploadError, WrongLength
from changeover.uploads.core.identity import ProcessIdentity
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.manifest import Manifest, Response, UploadState
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.segments.lists import pieces
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordChanged, RecordVersion, Store, StoreUnavailable

Handler = Callable[[CompletedUpload], Response | Awaitable[Response]]
"""Gets a complete upload; its response is stored and replayed. It may be a coroutine function.

It refuses an upload for good by raising Forbidden, Rejected, or an exception with `status_code` and `detail`, such as
the HTTPException of Starlette and FastAPI, with a status from 400 to 499: the refusal is stored and replayed too. If it
raises anything else (also 408, 423, 425 and 429), or does not return a Response that can be sent (also if it returns
None), the call failed: the client gets 503, and a later request or collection calls it again."""

_LOG = logging.getLogger(__name__)


class Completion:
    """The handler calls of one process."""

    def __init__(
        self,
        repository: Repository,
        handler: Handler,
        limits: Limits,
        timing: UploadTiming,
        identity: ProcessIdentity,
    ) -> None:
        self.leaving = False
        """Whether this instance shuts down and no longer waits for calls of other processes."""
        self._repository = repository
        self._handler = handler
        self._limits = limits
        self._timing = timing
        self._identity = identity
        self._leases = ObservedLeases(timing.handler_lease)
        self._calls: dict[str, asyncio.Future[Response | None]] = {}
        """Calls of this process, by upload, until their response is stored."""

    async def response(self, id: str, owner: str) -> Response:
        """The handler's response to a complete upload.

        Raises NotFound, Cancelled. Raises WrongLength if the upload is not complete. Raises DigestMismatch, and cancels
        the upload, if it does not match its `Repr-Digest`; BadRequest, and cancels it, if it is a form that cannot be
        read. Raises RetryLater if the handler fails, or if this instance shuts down during a call of another process.
        """
        while True:
            read_at = asyncio.get_running_loop().time()
            manifest, version = await self._repository.read(id, owner)
            match manifest.state:
                case UploadState.DONE:
                    assert manifest.response is not None
                    return manifest.response
                case UploadState.RECEIVING:
                    raise WrongLength(f"the upload is not complete: it has {manifest.offset} bytes")
            call = self._calls.get(id)
            if call is None and self._is_held(manifest, version, read_at):
                if self.leaving:
                    raise RetryLater("this instance is shutting down")
                await asyncio.sleep(self._timing.response_poll)
                continue
            # Shielded: a client that disconnects must not cancel the handler.
            response = await asyncio.shield(call or self._start(id, self._call(manifest, version)))
            if response is not None:
                return response

    def _is_held(self, manifest: Manifest, version: RecordVersion, read_at: float) -> bool:
        """Whether another process may be calling the handler."""
        if manifest.holder in ("", self._identity.name) or not manifest.lease_until:
            self._leases.forget(manifest.id)
            return False
        return self._leases.is_held(manifest.id, version, read_at)

    async def complete_abandoned(self, manifest: Manifest, version: RecordVersion, read_at: float) -> bool:
        """Call the handler for a complete upload that no process handles: its process may have died, its client left.

        If the handler fails, a later collection retries it. Returns whether another process may be calling the handler:
        only a second look, after the length of a lease, shows whether that process lives.
        """
        if manifest.state is not UploadState.COMPLETE or not manifest.needs_handler or manifest.id in self._calls:
            return False
        if self._is_held(manifest, version, read_at):
            return True
        with contextlib.suppress(UploadError):
            await self.response(manifest.id, manifest.owner)
        return False

    async def wait_until_idle(self) -> None:
        """Wait until every handler call of this process has ended and every event is delivered."""
        while self._calls:
            await asyncio.wait(self._calls.values())
        await self._repository.events.delivered()

    def _start(self, id: str, work: Coroutine[Any, Any, Response | None]) -> asyncio.Future[Response | None]:
        """Until it has ended, this process starts no other call, and `wait_until_idle` waits for it."""
        call = self._calls[id] = asyncio.ensure_future(work)
        call.add_done_callback(partial(self._ended, id))
        return call

    def _ended(self, id: str, call: asyncio.Future[Response | None]) -> None:
        if self._calls.get(id) is call:
            del self._calls[id]
        if not call.cancelled():
            call.exception()  # it is logged already; all its clients may have disconnected

    async def _call(self, manifest: Manifest, version: RecordVersion) -> Response | None:
        """Call the handler. None if another process was first."""
        repository = self._repository
        manifest = await self._with_form_read(manifest, version)
        manifest = manifest.leased(self._identity.name, repository.now() + self._timing.handler_lease)
        try:
            with repository.translated_errors():
                version = await repository.swap(manifest, version)
        except RecordChanged:
            return None

        def still_held(it: Manifest) -> Manifest:
            if it.epoch != manifest.epoch:
                raise RetryLater("another instance has taken over this upload")
            return it

        lease = CompletionLease(repository, manifest, version, self._timing.handler_lease)
        upload = CompletedUpload(repository.store, manifest)
        try:
            async with lease:
                with repository.translated_errors():
                    await _check_digest(repository.store, manifest)
                response = await self._respond(upload)
        except DigestMismatch:
            await repository.cancel(lease.manifest, lease.version, still_held)
            raise
        except Exception as error:
            repository.metrics.handler_calls.labels("failed").inc()
            call = (_name(self._handler), manifest.id, manifest.attempts)
            if isinstance(error, UnusableResponse):
                _LOG.error("the response of handler %s to upload %s, attempt %d, is unusable: %s", *call, error)  # noqa: TRY400
            elif not isinstance(error, RetryLater):
                _LOG.exception("handler %s failed on upload %s, attempt %d", *call)
            with contextlib.suppress(UploadError):
                await self._store(lease, lambda it: still_held(it).released())
            raise RetryLater("the upload is complete, but the application failed to handle it") from error
        repository.metrics.handler_calls.labels("succeeded").inc()
        expires = None if self._limits.keep_done is None else repository.now() + self._limits.keep_done
        await self._store(lease, lambda it: still_held(it).responded(response, expires))
        return response

    async def _respond(self, upload: CompletedUpload) -> Response:
        """The handler's response or refusal. Raises UnusableResponse, and what the handler raises."""
        try:
            result = self._handler(upload)
            return usable(await result if inspect.isawaitable(result) else result)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RuntimeError("the handler cancelled its own call") from error
        except UnusableResponse:
            raise
        except Exception as error:
            if (refusal := of_refusal(error)) is None:
                raise
            return refusal

    async def _with_form_read(self, manifest: Manifest, version: RecordVersion) -> Manifest:
        """The manifest with the place of the file, if the body is a form. Cancels an upload whose form is malformed."""
        if not form.is_unread(manifest):
            return manifest
        repository = self._repository
        try:
            with repository.translated_errors():
                return await form.read(manifest, pieces(repository.store, manifest), self._limits)
        except BadRequest:
            await repository.cancel(manifest, version)
            raise

    async def _store(self, lease: CompletionLease, change: Callable[[Manifest], Manifest]) -> None:
        """Store the outcome of a call.

        If the store is unavailable, waiting clients get RetryLater, and the write is retried until it succeeds or
        another process takes over: a failing store is no reason to call the handler twice.
        """
        try:
            manifest, _ = await self._repository.change(lease.manifest, lease.version, change)
        except RetryLater as error:
            if isinstance(error.__cause__, StoreUnavailable) and not self.leaving:
                self._start(lease.manifest.id, self._store_later(lease, change))
            raise
        if manifest.state is UploadState.DONE:
            self._repository.events.emit("handled", manifest)

    async def _store_later(self, lease: CompletionLease, change: Callable[[Manifest], Manifest]) -> None:
        await asyncio.sleep(self._timing.response_poll)
        await self._store(lease, change)


def _name(handler: Handler) -> str:
    while isinstance(handler, partial):
        handler = handler.func
    named = handler if hasattr(handler, "__qualname__") else type(handler)
    return f"{named.__module__}.{named.__qualname__}"


async def _check_digest(store: Store, manifest: Manifest) -> None:
    """Compare an upload with its `Repr-Digest`, if it has one. Raises DigestMismatch, StoreUnavailable.

    Not computed while bytes arrive: one instance cannot hand the state of a digest to another.
    """
    if REPR not in manifest.headers:
        return
    if digests := Digests(REPR, manifest.headers[REPR]):
        async for piece in pieces(store, manifest):
            digests.update(piece)
        digests.check()
