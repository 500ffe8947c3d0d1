"""Uploads in a bucket: Amazon S3 and what speaks like it, or Google Cloud Storage.

    PREFIX/a/ID/record      the record; its first line is a mark that every write draws anew
    PREFIX/a/ID/NAME-n      the n-th segment of one writer; objects do not grow, so every commit makes one

Compare-and-swap is the service's own: a put that is refused when the record's ETag (S3) or generation (GCS) is another.
Because of the mark no two records are alike, so an ETag, which is a digest of the content, never comes back.

Did it happen? An answer may be lost after the service did what it was asked, and whoever then tries again is refused
*because* he was successful. So no refusal is believed, and no silence, before the record has been read again: when it
bears this write's mark, the write happened. When it is what it was before, the same put is made again with the same
mark, which cannot do harm: whichever of the two arrives first makes the condition of the other one false. What stays
unknown after that is Unavailable; should it arrive later, then the record is what the caller wanted it to be, all its
segments are there, and the caller's version is refused like that of anybody who was overtaken.

Retries of obstore's own (RETRIES): after 5xx, 408 and 429 for every request; after a broken connection or a timeout for
all but conditional puts, which are those above.

Memory: a writer holds what was written since the last commit, and beside it what is being uploaded. With the engine
that is two segments for every upload under way; more than MOST uncommitted is refused. A reader holds one piece. No
byte is copied on the way out.

Google allows about one change a second of one object and answers 429 to more, which slows down what is committed often:
there, let `limits.segment` be what a client sends in a second or more.

What stays behind: the segment of a writer that was overtaken or killed, until the upload is dropped; and one that
arrives while it is being dropped, for good, unless the bucket has a rule for the age of objects.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from changeover.model.extras import install_command

try:
    import obstore
    import obstore.store as services
    from obstore import exceptions as refused
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"uploads in a bucket need obstore: {install_command('obstore')}") from error

from changeover.uploads.core.manifest import Segment
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, StoreUnavailable

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion
    from obstore.store import ClientConfig, RetryConfig

PIECE = 1024 * 1024
"""Bytes asked for at once. Every request ends before its piece is given out: no slow reader holds one open."""
MOST = 64 * 1024 * 1024
"""Bytes that may wait for a commit."""
ATTEMPTS = 3
"""How often a conditional put whose outcome is unknown is made; the record is read after each."""
PAUSE = 0.05
"""Seconds before the second of these attempts; doubled before the next."""
CLIENT: ClientConfig = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=30)}
RETRIES: RetryConfig = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_KIND = re.compile(r"kind: (\w+)")
_NO_ROOM = re.compile(r"<Code>\w*(QuotaExceeded|StorageFull)</Code>|status code: 507")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist")

_REFUSED = (refused.AlreadyExistsError, refused.PreconditionError)
_FORBIDDEN = (refused.PermissionDeniedError, refused.UnauthenticatedError)


class ObjectStore:
    """A Store in a bucket, which must exist. `condition`: what names one state of an object there."""

    segment = 8 * 1024 * 1024

    def __init__(self, service: services.ObjectStore, prefix: str, condition: Literal["e_tag", "version"]) -> None:
        self._service = service
        self._prefix = prefix.strip("/")
        self._condition = condition

    async def create(self, id: str, record: bytes) -> RecordVersion:
        return await self._put(self._record(id), record, None)

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        _, record, version = await self._get(self._record(id))
        return record, version

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        return await self._put(self._record(id), record, version)

    async def _put(self, path: str, record: bytes, expected: RecordVersion | None) -> RecordVersion:
        """Write the record if it is still at that version (None: if there is none), and find out whether it was."""
        mark = secrets.token_hex(16).encode()
        content = mark + b"\n" + record
        unknown: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                done = await obstore.put_async(
                    self._service, path, content, mode=self._mode(expected), use_multipart=False
                )
                return self._version(done["e_tag"], done["version"])
            except _FORBIDDEN as error:
                raise _unavailable(error) from error
            except (refused.BaseError, OSError) as error:
                if _NO_BUCKET.search(str(error)):
                    raise _unavailable(error) from error
                unknown = error
            try:
                found, _, version = await self._get(path)
            except RecordMissing:
                if expected is not None:
                    raise
                continue  # what a create collided with is gone, or it never arrived
            if found == mark:
                return version
            if version != expected:
                raise RecordChanged from unknown
        assert unknown is not None
        raise _unavailable(unknown) from unknown

    def _mode(self, expected: RecordVersion | None) -> PutMode:
        if expected is None:
            return "create"
        told: UpdateVersion = {"e_tag": expected} if self._condition == "e_tag" else {"version": expected}
        return told

    def _version(self, e_tag: str | None, version: str | None) -> RecordVersion:
        named = e_tag if self._condition == "e_tag" else version
        if named is None:
            raise StoreUnavailable(f"the service does not say which {self._condition} an object has")
        return named

    async def _get(self, path: str) -> tuple[bytes, bytes, RecordVersion]:
        """A record with its mark. Raises Missing, Unavailable."""
        with _told():
            got = await obstore.get_async(self._service, path)
            content = bytes(await got.bytes_async())
        mark, newline, record = content.partition(b"\n")
        if not newline:
            raise StoreUnavailable("what lies in the record's place is not a record")
        return mark, record, self._version(got.meta.get("e_tag"), got.meta.get("version"))

    async def drop(self, id: str) -> None:
        # The record goes last: half dropped, the upload is found again by the next collection, which drops the rest.
        # It never looks whole, for it was marked as cancelled before.
        record = self._record(id)
        with _told():
            async for chunk in obstore.list(self._service, self._folder(id)):
                paths = [meta["path"] for meta in chunk if meta["path"] != record]
                if paths:
                    await self._delete(paths)
            await self._delete([record])

    async def _delete(self, paths: list[str]) -> None:
        try:
            await obstore.delete_async(self._service, paths)
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise
            for path in paths if len(paths) > 1 else ():  # somebody else drops it too; let none be left out
                await self._delete([path])

    async def ids(self) -> AsyncIterator[str]:
        # A shelf at a time: obstore follows the pages of a listing by delimiter, but gives them out as one.
        for shelf in await self._folders(self._prefix):
            for name in await self._folders(shelf):
                id = name.rpartition("/")[2]
                if _ID.fullmatch(id) is not None:
                    yield id

    async def _folders(self, path: str) -> Sequence[str]:
        with _told():
            found = await obstore.list_with_delimiter_async(self._service, path or None)
        return found["common_prefixes"]

    def writer(self, id: str, name: str) -> ObjectWriter:
        return ObjectWriter(self._service, self._folder(id), name)

    async def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        folder = self._folder(id)
        for segment in segments:
            if start >= segment.size:
                start -= segment.size
                continue
            for offset in range(start, segment.size, PIECE):
                wanted = min(PIECE, segment.size - offset)
                with _told():
                    piece = bytes(
                        await obstore.get_range_async(
                            self._service, f"{folder}/{segment.name}", start=offset, length=wanted
                        )
                    )
                if len(piece) < wanted:
                    raise StoreUnavailable(f"segment {segment.name} of {id} is shorter than its record says")
                yield piece
            start = 0

    def _record(self, id: str) -> str:
        return f"{self._folder(id)}/record"

    def _folder(self, id: str) -> str:
        """Raises Missing for what cannot be an id, such as `../x`: it must not become a path."""
        if _ID.fullmatch(id) is None:
            raise RecordMissing
        return f"{self._prefix}/{id[0]}/{id}".lstrip("/")


class S3Store(ObjectStore):
    """A Store in a bucket of S3, or of a service that speaks like it and honours If-Match and If-None-Match on PUT.

    `options`: what `obstore.store.S3Store` takes (region, endpoint, client_options, ...); credentials are found as
    usual there. They must allow listing the bucket: without it S3 says "forbidden" of what is not there.
    """

    def __init__(self, bucket: str, prefix: str = "", **options: Any) -> None:
        service = services.S3Store(bucket, **_with_defaults(options))
        super().__init__(service, prefix, "e_tag")


class GCSStore(ObjectStore):
    """A Store in a bucket of Google Cloud Storage. `options`: what `obstore.store.GCSStore` takes."""

    def __init__(self, bucket: str, prefix: str = "", **options: Any) -> None:
        service = services.GCSStore(bucket, **_with_defaults(options))
        super().__init__(service, prefix, "version")


class ObjectWriter:
    """One object for every commit."""

    def __init__(self, service: services.ObjectStore, folder: str, name: str) -> None:
        self._service = service
        self._folder = folder
        self._name = name
        self._count = 0
        self._pending = bytearray()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        if len(self._pending) + len(piece) > MOST:
            raise StoreUnavailable(f"more than {MOST} bytes came before any of them could be stored")
        self._pending += piece

    async def commit(self) -> Sequence[Segment]:
        if not self._pending:
            return ()
        content, self._pending = self._pending, bytearray()
        segment = Segment(f"{self._name}-{self._count}", len(content))
        self._count += 1
        try:
            with _told():
                await obstore.put_async(self._service, f"{self._folder}/{segment.name}", content, use_multipart=False)
        except RecordMissing as error:  # there is nothing that a new object could fail to find
            raise StoreUnavailable("the service does not take new objects: 404") from error
        return (segment,)

    def close(self) -> None:
        self._pending = bytearray()


def _with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    return {
        **options,
        "client_options": {**CLIENT, **options.get("client_options", {})},
        "retry_config": {**RETRIES, **options.get("retry_config", {})},
    }


def _unavailable(error: Exception) -> StoreUnavailable:
    """What the service said, without the addresses and headers that obstore adds: clients are told it."""
    text = str(error)
    if (status := _STATUS.search(text)) is not None:
        said = [status[1].strip(), *(found[1] for found in (_CODE.search(text), _MESSAGE.search(text)) if found)]
    else:
        said = ["no answer", *(found[1] for found in (_KIND.search(text),) if found)]
    return StoreUnavailable(": ".join(said), full=_NO_ROOM.search(text) is not None)


@contextmanager
def _told() -> Iterator[None]:
    """An error of obstore as the engine understands it."""
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET.search(str(error)):
            raise _unavailable(error) from error
        raise RecordMissing from None
    except (refused.BaseError, OSError) as error:
        raise _unavailable(error) from error
