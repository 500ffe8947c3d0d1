"""Creations that are sent again: a request with the key of an earlier one gets the upload of that one.

Each key has a record in the store, under a name made of the owner and the key: the id of its upload, and a fingerprint
of the request. An upload is created first and entered under its key afterwards, by compare-and-swap; of two at once,
one is entered and the other cancelled. A key is free again when its upload is gone; the collection then deletes its
record.

Refuses (422) a key that comes with another request. The bytes of a body are not compared: they are not here yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from changeover.uploads.core.errors import AlreadyComplete, Cancelled, NotFound, Rejected
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.core.repository import Repository
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Store

if TYPE_CHECKING:
    from changeover.uploads.core.engine import NewUpload

FORMAT = "key"


@dataclass(frozen=True)
class CreationKey:
    """Names one creation among those of its owner."""

    text: str
    stated: str = ""
    """What the request states beside its NewUpload, such as the digest of its body."""


def fingerprint(new: NewUpload, key: CreationKey | None = None) -> str:
    """Of what a request states about its upload; of a concatenation without the length, which it does not state."""
    length = None if new.concat.startswith("final") else new.length
    headers = dict(new.headers)
    if headers.get("content-type", "").lower().startswith("multipart/"):
        headers["content-type"] = headers["content-type"].partition(";")[0]  # each attempt may have its own boundary
    stated = [new.dialect, new.method, new.target, headers, dict(new.metadata), length, new.concat]
    return hashlib.sha256(json.dumps([*stated, key and key.stated], sort_keys=True).encode()).hexdigest()


class _Entry(NamedTuple):
    """The record of a key. One that cannot be read names no upload."""

    upload: str
    fingerprint: str
    version: RecordVersion


class Create(Protocol):
    async def __call__(self, new: NewUpload, *, capability: str = "") -> Manifest:
        """As `Engine.create`."""


class IdempotentCreation:
    """Creates uploads of one engine, each key once. `cancel_unfinished` raises AlreadyComplete."""

    def __init__(
        self, repository: Repository, create: Create, cancel_unfinished: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._repository = repository
        self._create = create
        self._cancel_unfinished = cancel_unfinished

    async def create(
        self, new: NewUpload, key: CreationKey | None, *, restarts: bool = False, capability: str = ""
    ) -> tuple[Manifest, bool]:
        """Create an upload, or find the earlier one of that key; whether it is the earlier one. Without key: create.

        `restarts`: the client sends everything again, so an earlier upload that is unfinished is cancelled. Raises what
        `Engine.create` raises, and Rejected if the key came with another request.
        """
        if key is None:
            return await self._create(new, capability=capability), False
        while True:
            if (earlier := await self.find(new, key, restarts=restarts)) is not None:
                return earlier, True
            manifest = await self._create(new, capability=capability)
            if await self._enter(manifest, key, fingerprint(new, key)):
                return manifest, False
            await self._cancel_unfinished(manifest.id, manifest.owner)

    async def find(self, new: NewUpload, key: CreationKey, *, restarts: bool) -> Manifest | None:
        """The earlier upload of that key, as `create` finds it. Raises Rejected, RetryLater."""
        while (entry := await self._entry(new.owner, key)) is not None:
            if (earlier := await self._upload(entry, new.owner)) is None:
                return None
            if entry.fingerprint != fingerprint(new, key):
                raise Rejected(422, "this Idempotency-Key belongs to another request; use a new key")
            if not (restarts and earlier.state is UploadState.RECEIVING):
                return earlier
            with contextlib.suppress(AlreadyComplete, NotFound, Cancelled):
                await self._cancel_unfinished(entry.upload, new.owner)
        return None

    async def _entry(self, owner: str, key: CreationKey) -> _Entry | None:
        try:
            with self._repository.translated_errors():
                record, version = await self._repository.store.read(_record_id(owner, key))
        except NotFound:
            return None
        try:
            found = json.loads(record)
            return _Entry(found["upload"], found["fingerprint"], version)
        except (ValueError, TypeError, KeyError):
            return _Entry("", "", version)

    async def _upload(self, entry: _Entry, owner: str) -> Manifest | None:
        try:
            return (await self._repository.read(entry.upload, owner))[0]
        except (NotFound, Cancelled):
            return None

    async def _enter(self, manifest: Manifest, key: CreationKey, stated: str) -> bool:
        """Whether the key now names this upload: another request may be first."""
        store, id = self._repository.store, _record_id(manifest.owner, key)
        record = json.dumps({"format": FORMAT, "upload": manifest.id, "fingerprint": stated}).encode()
        entry = await self._entry(manifest.owner, key)
        if entry is not None and await self._upload(entry, manifest.owner) is not None:
            return False
        try:
            with self._repository.translated_errors():
                if entry is None:
                    await store.create(id, record)
                else:
                    await store.swap(id, record, entry.version)
        except (RecordChanged, NotFound):
            return False
        return True


def _record_id(owner: str, key: CreationKey) -> str:
    """As long as the id of an owner's record: clients find neither."""
    return hashlib.sha256(f"{FORMAT}\0{owner}\0{key.text}".encode("utf-8", "surrogatepass")).hexdigest()


async def collect_key(store: Store, id: str) -> None:
    """Delete the record of a key whose upload is gone. Leaves every other record. Raises what the store raises.

    A request that takes the key at this moment is not known under it; only a third one would notice.
    """
    try:
        found = json.loads((await store.read(id))[0])
        names_an_upload = found["format"] == FORMAT
    except (ValueError, TypeError, KeyError):
        return  # the next request with that key, or of that owner, writes it anew
    if names_an_upload:
        try:
            await store.read(found["upload"])
        except RecordMissing:
            await store.drop(id)
