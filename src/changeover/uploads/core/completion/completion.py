"""What the application says of an upload that is complete: asked once, written down, and given again.

One process asks at a time, under a lease; an answer counts when it is written down. So a process that dies while it is
asking makes another one ask again, and nothing else does.

Refuses to know how bytes arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from changeover.uploads.core import metrics
from changeover.uploads.core.appending import translated_errors
from changeover.uploads.core.completion.completed import CompletedUpload
from changeover.uploads.core.completion.lease import CompletionLease, lease_from
from changeover.uploads.core.digests import check_whole
from changeover.uploads.core.errors import DigestMismatch, RetryLater, UploadError, WrongLength
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.manifest import Manifest, Response, UploadState
from changeover.uploads.core.repository import Repository
from changeover.uploads.stores.store import RecordChanged, RecordVersion, StoreUnavailable

Handler = Callable[[CompletedUpload], Awaitable[Response]]
"""Gets an upload of which every byte is there; its answer is kept and is given again to whoever asks again."""

_LOG = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between two looks for an answer that another instance is getting."""


class Completion:
    """The application, as one process asks it. `name`: of this process."""

    def __init__(self, records: Repository, handler: Handler, limits: Limits, name: str) -> None:
        self.leaving = False
        """Nobody else's answer is waited for any more."""
        self._records = records
        self._handler = handler
        self._limits = limits
        self._name = name
        self._asking: dict[str, asyncio.Future[Response | None]] = {}
        """What is asked from here, by upload, until its answer is written down."""

    async def response(self, id: str, owner: str) -> Response:
        """The application's answer to a complete upload.

        Raises NotFound, Cancelled, WrongLength when it is not complete, DigestMismatch when it is not what its client
        said (it is given up then), TryLater when the application failed or another instance is asking it and does not
        come to an end.
        """
        while True:
            manifest, version = await self._records.read(id, owner)
            match manifest.state:
                case UploadState.DONE:
                    assert manifest.answer is not None
                    return manifest.answer
                case UploadState.RECEIVING:
                    raise WrongLength(f"the upload is not complete: {manifest.offset} bytes are here")
            asking = self._asking.get(id)
            if asking is None and manifest.holder not in ("", self._name) and self._is_asked(manifest):
                if self.leaving:
                    raise RetryLater("this instance is leaving")
                await asyncio.sleep(POLL)
                continue
            # Shielded: a client that hangs up now must not break off the application in the midst of what it does.
            answer = await asyncio.shield(asking or self._go_on(id, self._ask(manifest, version)))
            if answer is not None:
                return answer

    def _is_asked(self, manifest: Manifest) -> bool:
        return self._records.now() < manifest.held_until

    async def complete_abandoned(self, manifest: Manifest) -> None:
        """Ask about an upload that nobody is asking about: whoever completed it may have died, and its client be gone.

        What the application cannot do now stays to be asked for again.
        """
        if manifest.state is UploadState.COMPLETE and manifest.is_for_application and not self._is_asked(manifest):
            with contextlib.suppress(UploadError):
                await self.response(manifest.id, manifest.owner)

    async def wait_until_idle(self) -> None:
        """Wait until the application has answered whatever it was asked from here, its clients gone or not, and until
        its listener has been told."""
        while self._asking:
            await asyncio.wait(self._asking.values())
        await self._records.events.delivered()

    def _go_on(self, id: str, work: Coroutine[Any, Any, Response | None]) -> asyncio.Future[Response | None]:
        """Until it has ended nobody asks from here, and `ended` waits."""
        asking = self._asking[id] = asyncio.ensure_future(work)
        asking.add_done_callback(partial(self._asked, id))
        return asking

    def _asked(self, id: str, asking: asyncio.Future[Response | None]) -> None:
        if self._asking.get(id) is asking:
            del self._asking[id]
        if not asking.cancelled():
            asking.exception()  # has been logged; whoever waited for it may have gone

    async def _ask(self, manifest: Manifest, version: RecordVersion) -> Response | None:
        """None: somebody else was faster."""
        records = self._records
        manifest = manifest.asked(self._name, lease_from(records.now()))
        try:
            with translated_errors():
                version = await records.store.swap(manifest.id, manifest.dump(), version)
        except RecordChanged:
            return None

        def still_mine(it: Manifest) -> Manifest:
            if it.epoch != manifest.epoch:
                raise RetryLater("another instance has taken this upload over")
            return it

        lease = CompletionLease(records.store, manifest, version, records.now)
        finished = CompletedUpload(records.store, manifest)
        try:
            async with lease:
                with translated_errors():
                    await check_whole(finished)
                answer = await self._handler(finished)
        except DigestMismatch:
            await records.give_up(lease.manifest, lease.version, still_mine)
            raise
        except Exception as error:
            metrics.ATTEMPTS.labels("failed").inc()
            if not isinstance(error, RetryLater):
                _LOG.exception("the application failed on upload %s, attempt %d", manifest.id, manifest.attempts)
            with contextlib.suppress(UploadError):
                await self._write_down(lease, lambda it: still_mine(it).released())
            raise RetryLater("every byte is here, but the application failed on them") from error
        metrics.ATTEMPTS.labels("answered").inc()
        expires = None if self._limits.keep_done is None else records.now() + self._limits.keep_done
        await self._write_down(lease, lambda it: still_mine(it).answered(answer, expires))
        return answer

    async def _write_down(self, lease: CompletionLease, change: Callable[[Manifest], Manifest]) -> None:
        """What came of asking. Whoever waits is told when the store cannot keep it now, and it is tried again until it
        can, or another instance has asked: the application is not to be asked twice for the sake of a store."""
        try:
            manifest, _ = await self._records.change(lease.manifest, lease.version, change)
        except RetryLater as error:
            if isinstance(error.__cause__, StoreUnavailable) and not self.leaving:
                self._go_on(lease.manifest.id, self._write_down_later(lease, change))
            raise
        if manifest.state is UploadState.DONE:
            self._records.events.emit("answered", manifest)

    async def _write_down_later(self, lease: CompletionLease, change: Callable[[Manifest], Manifest]) -> None:
        await asyncio.sleep(POLL)
        await self._write_down(lease, change)
