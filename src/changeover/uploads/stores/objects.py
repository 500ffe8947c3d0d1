"""Uploads in a bucket of Amazon S3, of a compatible service, or of Google Cloud Storage.

    PREFIX/a/ID/record      the record; its first line is a mark that is new for every write
    PREFIX/a/ID/NAME-n      the n-th segment of one writer; objects cannot grow, so every commit creates one

Compare-and-swap is the service's own: it refuses a put if the record's ETag (S3) or generation (GCS) differs. Because
of the mark no two records are equal, so an ETag, which is a digest of the content, never returns.

A response may be lost after the service has done the put, and a retry is then refused *because* the first attempt
succeeded. So after a refusal, or without a response, the record is read again. If it has the mark of this write, the
write happened. If it is unchanged, the same put is repeated with the same mark. That is safe: whichever of the two
arrives first makes the condition of the other false. If the outcome is still unknown, StoreUnavailable is raised.
Should that put arrive later, the record is what the caller wanted, all its segments exist, and the caller's version is
outdated like that of any overtaken writer.

obstore's own retries (`RETRIES`): after 5xx, 408 and 429 for every request; after a broken connection or a timeout for
all but conditional puts, which this module repeats as above.

Memory: a writer holds the bytes since the last commit, and the bytes that are being uploaded. With the engine that is
two segments for each active upload; a writer refuses more than `max_uncommitted`. A reader holds one piece. Bytes are
not copied on the way out.

Google allows about one change per second of one object and responds 429 to more, which slows down frequent commits. Set
`limits.segment` there to what a client sends in a second or more.

Leftovers: the segment of a writer that was overtaken or killed, and one that arrives while its upload is deleted, stay
until the next collection (`core/sweeper.py`).
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from changeover.model.extras import missing_package
from changeover.model.software import install_command

try:
    import obstore
    import obstore.store as services
    from obstore import exceptions as refused
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"stores in buckets need obstore: {install_command(list(missing_package('obstore', 'a bucket')))}"
    ) from error

from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Segment, StoreUnavailable

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion
    from obstore.store import ClientConfig, RetryConfig

PIECE = 1024 * 1024
"""Bytes of one read request. The request ends before its piece is yielded: no slow reader keeps one open."""
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


@dataclass(frozen=True)
class BucketSettings:
    """How a store uses its bucket."""

    max_uncommitted: int = 64 * 1024 * 1024
    """Bytes that one writer holds at most while they wait for a commit."""
    put_attempts: int = 3
    """Attempts of a conditional put whose outcome is unknown; the record is read after each."""
    put_pause: float = 0.05
    """Seconds before the second attempt; doubled before each further one."""


class ObjectStore:
    """A Store in an existing bucket. `condition`: the property that identifies one state of an object there."""

    segment = 8 * 1024 * 1024

    def __init__(
        self,
        service: services.ObjectStore,
        prefix: str,
        condition: Literal["e_tag", "version"],
        settings: BucketSettings,
    ) -> None:
        self._service = service
        self._prefix = prefix.strip("/")
        self._condition = condition
        self._settings = settings

    async def create(self, id: str, record: bytes) -> RecordVersion:
        return await self._put(self._record(id), record, None)

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        _, record, version = await self._get(self._record(id))
        return record, version

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        return await self._put(self._record(id), record, version)

    async def _put(self, path: str, record: bytes, expected: RecordVersion | None) -> RecordVersion:
        """Write the record if it still has that version (None: if there is no record), and find out the outcome."""
        mark = secrets.token_hex(16).encode()
        content = mark + b"\n" + record
        unknown: Exception | None = None
        for attempt in range(self._settings.put_attempts):
            if attempt:
                await asyncio.sleep(self._settings.put_pause * 2 ** (attempt - 1))
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
                continue  # the record that a create collided with is deleted, or the put never arrived
            if found == mark:
                return version
            if version != expected:
                raise RecordChanged from unknown
        assert unknown is not None
        raise _unavailable(unknown) from unknown

    def _mode(self, expected: RecordVersion | None) -> PutMode:
        if expected is None:
            return "create"
        condition: UpdateVersion = {"e_tag": expected} if self._condition == "e_tag" else {"version": expected}
        return condition

    def _version(self, e_tag: str | None, version: str | None) -> RecordVersion:
        named = e_tag if self._condition == "e_tag" else version
        if named is None:
            raise StoreUnavailable(f"the service does not return the {self._condition} of an object")
        return named

    async def _get(self, path: str) -> tuple[bytes, bytes, RecordVersion]:
        """A record with its mark. Raises Missing, Unavailable."""
        with _translated_errors():
            got = await obstore.get_async(self._service, path)
            content = bytes(await got.bytes_async())
        mark, newline, record = content.partition(b"\n")
        if not newline:  # it was not written here: the engine finds out that it is no record
            mark, record = b"", content
        return mark, record, self._version(got.meta.get("e_tag"), got.meta.get("version"))

    async def drop(self, id: str) -> None:
        # The record is deleted last: the next collection finds an upload that is deleted in part, and deletes the rest.
        # It never looks complete, because its state is "cancelled".
        record = self._record(id)
        with _translated_errors():
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
            for path in paths if len(paths) > 1 else ():  # another process deletes it too; delete each of the others
                await self._delete([path])

    async def age(self, id: str) -> float:
        clock = f"{self._folder(id)}/clock-{secrets.token_hex(4)}"
        with _translated_errors():
            record = await obstore.get_async(self._service, self._record(id))
            await obstore.put_async(self._service, clock, b"", use_multipart=False)
            now = await obstore.get_async(self._service, clock)
            await self._delete([clock])
        return (now.meta["last_modified"] - record.meta["last_modified"]).total_seconds()

    async def ids(self) -> AsyncIterator[str]:
        # One folder at a time: obstore reads all pages of a listing by delimiter before it returns.
        for folder in await self._folders(self._prefix):
            for name in await self._folders(folder):
                id = name.rpartition("/")[2]
                if _ID.fullmatch(id) is not None:
                    yield id

    async def _folders(self, path: str) -> Sequence[str]:
        with _translated_errors():
            found = await obstore.list_with_delimiter_async(self._service, path or None)
        return found["common_prefixes"]

    def writer(self, id: str, name: str) -> ObjectWriter:
        return ObjectWriter(self._service, self._folder(id), name, self._settings.max_uncommitted)

    async def stored(self, id: str) -> Sequence[Segment]:
        record, found = self._record(id), []
        with _translated_errors():
            async for chunk in obstore.list(self._service, self._folder(id)):
                found += [Segment(meta["path"], meta["size"]) for meta in chunk if meta["path"] != record]
        return [Segment(segment.name.rpartition("/")[2], segment.size) for segment in found]

    async def trim(self, id: str, segments: Sequence[Segment]) -> None:
        """Objects do not grow, so none is longer than a record states; shortening one is nothing to do."""
        folder = self._folder(id)
        if paths := [f"{folder}/{segment.name}" for segment in segments if not segment.size]:
            with _translated_errors():
                await self._delete(paths)

    async def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        folder = self._folder(id)
        for segment in segments:
            if start >= segment.size:
                start -= segment.size
                continue
            for offset in range(start, segment.size, PIECE):
                wanted = min(PIECE, segment.size - offset)
                with _translated_errors():
                    piece = bytes(
                        await obstore.get_range_async(
                            self._service, f"{folder}/{segment.name}", start=offset, length=wanted
                        )
                    )
                if len(piece) < wanted:
                    raise StoreUnavailable(f"segment {segment.name} of {id} is shorter than its record states")
                yield piece
            start = 0

    def _record(self, id: str) -> str:
        return f"{self._folder(id)}/record"

    def _folder(self, id: str) -> str:
        """Raises RecordMissing for a malformed id, such as `../x`, which must not become a path."""
        if _ID.fullmatch(id) is None:
            raise RecordMissing
        return f"{self._prefix}/{id[0]}/{id}".lstrip("/")


class S3Store(ObjectStore):
    """A Store in a bucket of S3, or of a compatible service that honours If-Match and If-None-Match on PUT.

    `options`: the arguments of `obstore.store.S3Store` (region, endpoint, client_options, ...), which also finds the
    credentials. They must allow listing the bucket: otherwise S3 responds 403 instead of 404 to a missing object.
    """

    def __init__(
        self, bucket: str, prefix: str = "", *, settings: BucketSettings | None = None, **options: Any
    ) -> None:
        service = services.S3Store(bucket, **_with_defaults(options))
        super().__init__(service, prefix, "e_tag", settings or BucketSettings())


class GCSStore(ObjectStore):
    """A Store in a bucket of Google Cloud Storage. `options`: the arguments of `obstore.store.GCSStore`."""

    def __init__(
        self, bucket: str, prefix: str = "", *, settings: BucketSettings | None = None, **options: Any
    ) -> None:
        service = services.GCSStore(bucket, **_with_defaults(options))
        super().__init__(service, prefix, "version", settings or BucketSettings())


class ObjectWriter:
    """Creates one object for each commit."""

    def __init__(self, service: services.ObjectStore, folder: str, name: str, max_uncommitted: int) -> None:
        self._service = service
        self._folder = folder
        self._name = name
        self._max_uncommitted = max_uncommitted
        self._count = 0
        self._pending = bytearray()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        if len(self._pending) + len(piece) > self._max_uncommitted:
            raise StoreUnavailable(f"more than {self._max_uncommitted} bytes are waiting for a commit")
        self._pending += piece

    async def commit(self) -> Sequence[Segment]:
        if not self._pending:
            return ()
        content, self._pending = self._pending, bytearray()
        segment = Segment(f"{self._name}-{self._count}", len(content))
        self._count += 1
        try:
            with _translated_errors():
                await obstore.put_async(self._service, f"{self._folder}/{segment.name}", content, use_multipart=False)
        except RecordMissing as error:  # a new object refers to no other object, so it is the bucket
            raise StoreUnavailable("the service responds 404 to a new object") from error
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
    """The service's error, without the addresses and headers that obstore adds: clients see the text."""
    text = str(error)
    if (status := _STATUS.search(text)) is not None:
        found = [status[1].strip(), *(each[1] for each in (_CODE.search(text), _MESSAGE.search(text)) if each)]
    else:
        found = ["no response", *(each[1] for each in (_KIND.search(text),) if each)]
    return StoreUnavailable(": ".join(found), full=_NO_ROOM.search(text) is not None)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Translate errors of obstore into errors of a store."""
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET.search(str(error)):
            raise _unavailable(error) from error
        raise RecordMissing from None
    except (refused.BaseError, OSError) as error:
        raise _unavailable(error) from error
