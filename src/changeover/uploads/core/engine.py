"""One upload, whichever protocol its client uses: created, appended to, taken over, concatenated, cancelled.

    durable bytes  ->  compare-and-swap of the manifest under an epoch  ->  only then acknowledge

A new request for an upload interrupts an older one. In this process the older request commits what it has and ends; in
another process the epoch fences it out. So no client waits for a dead connection, and none gets "locked".

Refuses to know any protocol (`dialects/`), where bytes lie (`stores/`), or how the handler responds (`completion/`).
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry

from changeover.uploads.core.active_requests import ActiveRequests, BodyPieces
from changeover.uploads.core.appending import Appender, ContentVerifier
from changeover.uploads.core.collector import Collector
from changeover.uploads.core.completion import form
from changeover.uploads.core.completion.completed import content_pieces
from changeover.uploads.core.completion.completion import Completion, Handler
from changeover.uploads.core.concatenation import concatenated
from changeover.uploads.core.digests import REPR, check_readable
from changeover.uploads.core.errors import (
    BadRequest,
    ClientDisconnected,
    RetryLater,
    TooManyUploads,
    UploadError,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.core.events import EventDispatcher, EventListener
from changeover.uploads.core.idempotency import CreationKey, IdempotentCreation, fingerprint
from changeover.uploads.core.identity import ProcessIdentity
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.limits.quota import Quota
from changeover.uploads.core.limits.rate_limit import RateLimits
from changeover.uploads.core.manifest import Dialect, Manifest, UploadState
from changeover.uploads.core.metrics import metrics_in
from changeover.uploads.core.parts import PartUploads, check_receiving
from changeover.uploads.core.record import encode
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordVersion, Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewUpload:
    """An upload to be created, as the `validate` hook gets it. All but dialect and owner comes from the client."""

    dialect: Dialect
    """The protocol of the request that creates it."""
    owner: str = ""
    """As `authorise` returned it; empty without that hook."""
    method: str = "POST"
    """The method of the request that creates it."""
    target: str = ""
    """The path of that request."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Fields of that request that describe the content, and those of `keep_headers`, by lower-case name."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """File name, type and the like (tus). Untrusted text."""
    length: int | None = None
    """Bytes; None while unknown."""
    concat: str = ""
    """`Upload-Concat` of tus; empty for an upload of its own."""


Validate = Callable[[NewUpload], object]
"""Examines an upload before it is created; may be a coroutine function. Raises Forbidden or Rejected to refuse it."""


class Engine:
    """All uploads of one store, as one process sees them."""

    def __init__(
        self,
        store: Store,
        handler: Handler,
        limits: Limits | None = None,
        *,
        validate: Validate | None = None,
        on_event: EventListener | None = None,
        registry: CollectorRegistry | None = None,
        timing: UploadTiming | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self._timing = timing or UploadTiming()
        self._validate = validate
        self._metrics = metrics_in(registry)
        self._events = EventDispatcher(on_event, self._metrics, self._timing.listener_timeout)
        self._now = now
        self._identity = ProcessIdentity()
        self._repository = Repository(store, self._events, self._metrics, now)
        self._active = ActiveRequests(self._metrics, self._timing.interrupt_timeout)
        self._rate_limits = RateLimits(self.limits.rate)
        limit = self.limits.max_unfinished
        self._quota = None if limit is None else Quota(store, limit, self._repository.is_unfinished)
        self.completion = Completion(self._repository, handler, self.limits, self._timing, self._identity)
        self.parts = PartUploads(self._repository, self.limits, self._active, self._rate_limits)
        self.idempotent = IdempotentCreation(self._repository, self.create, self._cancel_unfinished)
        self.collector = Collector(self._repository, self.completion, self._timing, self.limits.max_age)

    # -- creating and reading --------------------------------------------------------------------------------------

    async def create(self, new: NewUpload, *, capability: str = "") -> Manifest:
        """Create an empty upload. `capability`: the hash of the one that its client gets.

        Raises TooLarge, TooManyUploads, BadRequest, Forbidden, Rejected, RetryLater.
        """
        self._active.check_staying()
        self.limits.check_size(new.length)
        check_readable(new.headers.get(REPR))
        if form.is_form(new.dialect, new.headers):
            form.check_boundary(new.headers["content-type"], self.limits)
        await self._check_valid(new)
        if self._quota is not None:
            with self._repository.translated_errors():
                await self._quota.check(new.owner)
        now = self._now()
        manifest = Manifest(
            id=secrets.token_urlsafe(24),
            dialect=new.dialect,
            created=now,
            expires=now + self.limits.max_age,
            owner=new.owner,
            method=new.method,
            target=new.target,
            headers=dict(new.headers),
            metadata=dict(new.metadata),
            length=new.length,
            concat=new.concat,
            capability=capability,
        )
        with self._repository.translated_errors():
            await self.store.create(manifest.id, encode(manifest))
            if self._quota is not None:
                try:
                    await self._quota.enter(new.owner, manifest.id)
                except TooManyUploads:
                    await self.store.drop(manifest.id)
                    raise
        self._events.emit("created", manifest)
        return manifest

    async def _check_valid(self, new: NewUpload) -> None:
        if self._validate is None:
            return
        try:
            result = self._validate(new)
            if inspect.isawaitable(result):
                await result
        except UploadError:
            raise
        except Exception as error:
            _LOG.exception("the validate hook failed")
            raise RetryLater("the application failed to validate this upload; none of its bytes was taken") from error

    async def find(self, id: str, owner: str) -> Manifest:
        """An upload as it is; a request for it goes on. Raises NotFound, Cancelled, RetryLater."""
        return (await self._repository.read(id, owner))[0]

    async def owner_by_capability(self, id: str, secret: str) -> str:
        """The owner of the upload that this capability belongs to. Raises NotFound, RetryLater."""
        return await self._repository.owner_by_capability(id, secret)

    async def fence(self, id: str, owner: str) -> Manifest:
        """An upload whose offset no older request can change any more. Raises NotFound, Cancelled, RetryLater."""
        is_fenced = False

        def fenced(manifest: Manifest) -> Manifest:
            nonlocal is_fenced
            is_fenced = manifest.state is UploadState.RECEIVING and manifest.holder != ""
            return manifest.taken_by("") if is_fenced else manifest

        manifest, _ = await self._repository.change(*await self._interrupted(id, owner), fenced)
        self._count_fenced(is_fenced)
        return manifest

    async def _interrupted(self, id: str, owner: str) -> tuple[Manifest, RecordVersion]:
        """An upload of that owner, whose active request has ended. A stranger's request ends none.

        Raises NotFound, Cancelled, RetryLater.
        """
        found = await self._repository.read(id, owner)
        return await self._repository.read(id, owner) if await self._active.interrupt(id) else found

    def content(self, manifest: Manifest, start: int, size: int) -> AsyncIterator[bytes]:
        """At most `size` bytes of the content of a complete upload from `start` on. Raises StoreUnavailable."""
        return content_pieces(self.store, manifest, start, size)

    def seconds_left(self, manifest: Manifest | None) -> float | None:
        """Seconds until an upload expires, or until a new one would (None as argument); None: never."""
        if manifest is None:
            return self.limits.max_age
        return None if manifest.expires is None else max(0.0, manifest.expires - self._now())

    # -- appending -------------------------------------------------------------------------------------------------

    async def append(
        self,
        id: str,
        owner: str,
        offset: int,
        body: BodyPieces,
        *,
        complete: bool | None,
        length: int | None = None,
        announced: int | None = None,
        verify: ContentVerifier | None = None,
        repr_digest: str | None = None,
        resumable: bool = True,
    ) -> Manifest:
        """Append a body at `offset`. Returns the manifest afterwards.

        `complete`: whether this body is the last; None: it is if it reaches the known length. `length`: of the whole
        upload, as the client states it. `announced`: of this body, if known; a body that is too large is then refused
        as a whole. `verify`: gets every piece, and decides at the end whether any of it is kept. `repr_digest`: the
        field of that name, to be compared with the complete upload. `resumable`: whether the client can continue at
        another instance, so that a shutdown may interrupt it.

        Raises NotFound, Cancelled, BadRequest, WrongOffset, WrongLength, TooLarge, AlreadyComplete, ChecksumMismatch,
        Interrupted, ClientDisconnected, RetryLater. Except after a mismatch, bytes that have arrived are kept.
        """
        is_fenced = False

        def taken(manifest: Manifest) -> Manifest:
            nonlocal is_fenced
            if manifest.dialect == "parts":
                raise BadRequest("this upload is in parts")
            check_receiving(manifest)
            is_fenced = manifest.holder != ""
            if offset == manifest.offset:
                headers = manifest.headers if repr_digest is None else {**manifest.headers, REPR: repr_digest}
                agreed = self._agreed_length(manifest, length)
                return replace(manifest, length=agreed, headers=headers).taken_by(self._identity.name)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            return manifest.taken_by("")  # its holder may be about to commit; the client gets an offset that stays true

        self.limits.check_request(announced)
        check_readable(repr_digest)
        found = await self._repository.read(id, owner)
        async with self._active.begun(id, resumable=resumable) as request:
            if request.replaces:
                found = await self._repository.read(id, owner)
            manifest, version = await self._repository.change(*found, taken)
            self._count_fenced(is_fenced)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            appender = Appender(self._repository, self.limits, self._timing, manifest, version, request, verify)
            with self._metrics.active_requests.track_inprogress():
                return await appender.run(self._rate_limits.limited(id, body), complete)

    def _agreed_length(self, manifest: Manifest, length: int | None) -> int | None:
        if length is None:
            return manifest.length
        self.limits.check_size(length)
        if manifest.length not in (None, length):
            raise WrongLength(f"the upload has a length of {manifest.length} bytes, not {length}")
        if length < manifest.offset:
            raise WrongLength(f"the upload has {manifest.offset} bytes already; its length cannot be {length}")
        return length

    def _count_fenced(self, is_fenced: bool) -> None:
        """Count the takeover of an upload that another process held."""
        if is_fenced:
            self._metrics.takeovers.labels("fenced").inc()

    # -- concatenating, cancelling, leaving ------------------------------------------------------------------------

    async def concatenate(self, new: NewUpload, ids: list[str], key: CreationKey | None = None) -> Manifest:
        """Create an upload from the bytes of complete partial ones, which stay.

        The same concatenation again, of a client whose response was lost, gives the upload that there is, even if its
        partial ones are gone. Raises BadRequest, NotFound, Interrupted and what `create` raises.
        """
        key = key or CreationKey(f"final {fingerprint(new)}")
        if (earlier := await self.idempotent.find(new, key, restarts=True)) is not None:
            return earlier
        found = {id: await self.find(id, new.owner) for id in dict.fromkeys(ids)}
        sources = [found[id] for id in ids]
        unfit = [one.id for one in found.values() if one.state is UploadState.RECEIVING or one.concat != "partial"]
        if unfit:
            raise BadRequest(f"not complete partial uploads: {', '.join(unfit)}")
        whole = replace(new, length=sum(one.offset for one in sources))
        manifest, is_earlier = await self.idempotent.create(whole, key, restarts=True)
        if is_earlier:
            return manifest
        async with self.cancelled_on_error(manifest), self._active.begun(manifest.id, resumable=True) as request:
            read = await self._repository.read(manifest.id, new.owner)
            taken, version = await self._repository.change(*read, lambda it: it.taken_by(self._identity.name))
            commit_size = self.limits.segment or self.store.segment
            return await concatenated(self._repository, taken, version, sources, request, commit_size)

    async def cancel(self, id: str, owner: str) -> None:
        """Cancel an upload and delete its bytes. Raises NotFound, Cancelled, RetryLater."""
        await self._repository.cancel(*await self._interrupted(id, owner))

    async def _cancel_unfinished(self, id: str, owner: str) -> None:
        """Raises AlreadyComplete, and what `cancel` raises."""
        await self._repository.cancel(*await self._interrupted(id, owner), check_receiving)

    @contextlib.asynccontextmanager
    async def cancelled_on_error(self, manifest: Manifest) -> AsyncIterator[None]:
        """Cancel an upload if its first request fails: the client does not know its URL, and cannot continue.

        An upload that is complete is not cancelled because its client disconnects: it has every byte of it.
        """
        try:
            yield
        except UploadError:
            with contextlib.suppress(UploadError):
                await self.cancel(manifest.id, manifest.owner)
            raise
        except ClientDisconnected:
            with contextlib.suppress(UploadError):
                found, version = await self._repository.read(manifest.id, manifest.owner)
                if found.state is UploadState.RECEIVING:
                    await self._repository.cancel(found, version)
            raise

    async def leave(self) -> None:
        """Interrupt every request whose client can continue at another instance; its bytes are committed.

        Other requests (plain uploads, parts) continue to their end, for which the server has to wait.
        """
        self.completion.leaving = True
        await self._active.leave()
