"""Uploads in a folder, on one machine or on a file system that several machines share.

    ROOT/ab/ID/record.N         version N of the record; the highest N is valid
    ROOT/ab/ID/segments/NAME    a segment
    ROOT/ab/ID~X                the rest of a deleted upload

Compare-and-swap without a lock: version N+1 is written to a file of its own and then linked to `record.N+1`, or renamed
without replacement where there are no hard links (`filesystem.py`); this fails if another process was first. So a
stopped or killed process never blocks another one, and link(2) is atomic over NFS too. A writer may sleep so long that
`record.N+1` is created and deleted meanwhile; it then finds a higher version, and knows. Until then its record exists
and was never valid, so a reader looks for a higher version again after reading. Segments have a folder of their own so
that the folder of records stays small enough to be listed in one call: a listing in several calls can miss a record
that changes meanwhile.

Over NFS a client that caches folders and names (it does unless mounted with `noac`, or `actimeo=0,lookupcache=none`)
may read an outdated record for some seconds; a swap is correct even then.

With `durable`, acknowledged bytes survive a power failure: data, record and folder are synced before the response.
Without it, they survive the death of the process only. Threads wait for the disk, many at once: a journalling file
system takes concurrent syncs into one transaction, so that uploads share a flush of the disk (bench/commits.py). Writes
into the page cache use no thread: one write has at most one piece, and a thread was measured to cost more than it
saves.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from changeover.uploads.stores.filesystem import (
    NO_ROOM,
    FileModes,
    check_folder,
    forget,
    name_once,
    names,
    remove,
    sync_folder,
    write_all,
)
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Segment, StoreUnavailable

_LOG = logging.getLogger(__name__)

PIECE = 1024 * 1024
"""Bytes read from a segment at once."""
_DISK = ThreadPoolExecutor(32, "uploads-disk")
"""Threads that wait for the disk. Flushes per commit, with 64 concurrent uploads on ext4: 4.0 with one thread; 3.0 with
six (asyncio's default on two cores); with 32, from 0.7 on an idle machine to 3.4 where commits wait for the CPU."""

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_RECORD = re.compile(r"record\.(\d+)")
_SEGMENTS = "segments"
_LEFT_OVER = re.compile(r"[A-Za-z0-9_-]{16,64}~[0-9a-f]{8}")

P = ParamSpec("P")
R = TypeVar("R")


class FileStore:
    """A Store in a folder, which it creates.

    Raises OSError if that fails, or if the file system lacks what the store needs (`filesystem.check_folder`).

    `durable`: whether acknowledged bytes survive a power failure, and not only the death of the process. `file_mode`:
    mode of its files, such as `0o640` for readers of its group; folders get the right to enter them in addition. A
    folder that exists keeps its mode.
    """

    segment = 64 * 1024 * 1024

    def __init__(self, root: Path, *, durable: bool = True, file_mode: int = 0o600) -> None:
        self._root = root
        self._durable = durable
        self._modes = FileModes(file_mode)
        root.parent.mkdir(parents=True, exist_ok=True)
        self._modes.make_folder(root)  # its entries are ids, which give access to uploads
        check_folder(root, durable=durable)

    async def create(self, id: str, record: bytes) -> RecordVersion:
        folder = self._folder(id)
        try:
            return await _in_thread(self._create, folder, record)
        except RecordMissing:
            raise StoreUnavailable("the folder of uploads was deleted") from None

    def _create(self, folder: Path, record: bytes) -> RecordVersion:
        self._check_root()
        self._modes.make_folder(folder.parent)
        self._modes.make_folder(folder)
        try:
            self._modes.make_folder(folder / _SEGMENTS)
            version = self._write(folder, record, 0)
        except OSError:
            if not _versions(folder):  # without a record no collection would delete it
                for empty in (folder / _SEGMENTS, folder):
                    with contextlib.suppress(OSError):
                        empty.rmdir()
            raise
        if self._durable:
            sync_folder(folder.parent)
            sync_folder(self._root)
        return version

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        return await _in_thread(self._read, self._folder(id))

    def _read(self, folder: Path) -> tuple[bytes, RecordVersion]:
        while True:
            newest = self._newest(folder)
            try:
                record = (folder / f"record.{newest}").read_bytes()
            except FileNotFoundError:
                continue  # a newer record replaced it just now
            # Otherwise it may be the record of a writer that slept, which was never valid.
            if self._newest(folder) == newest:
                return record, str(newest)

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        return await _in_thread(self._write, self._folder(id), record, int(version))

    def _write(self, folder: Path, record: bytes, version: int) -> RecordVersion:
        """Write the record if that version is valid (0: if there is no record)."""
        if (self._newest(folder) if version else max(_versions(folder), default=0)) != version:
            raise RecordChanged
        self._link(folder, record, version + 1)
        found = _versions(folder)
        for older in found:
            if older <= version:
                forget(folder / f"record.{older}")
        if max(found, default=0) > version + 1:
            # Other processes continued from `version` and deleted the file that would have made the link fail, while
            # this thread slept before it; or they have continued from this very record. Either way it is outdated.
            forget(folder / f"record.{version + 1}")
            raise RecordChanged
        return str(version + 1)

    def _newest(self, folder: Path) -> int:
        """The valid version. Raises RecordMissing."""
        if not (found := _versions(folder)):
            self._check_root()
            raise RecordMissing
        return max(found)

    def _check_root(self) -> None:
        """Distinguish a missing upload from a missing file system. Raises OSError."""
        if not self._root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the folder of uploads does not exist")

    def _link(self, folder: Path, record: bytes, version: int) -> None:
        temporary = folder / f".{secrets.token_hex(8)}"
        try:
            descriptor = self._modes.create_file(temporary)
            try:
                write_all(descriptor, record)
                if self._durable:
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            name_once(temporary, folder / f"record.{version}")
        except FileExistsError:
            raise RecordChanged from None
        except FileNotFoundError:
            raise RecordMissing from None  # deleted meanwhile
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if self._durable:
            sync_folder(folder)

    async def drop(self, id: str) -> None:
        await _in_thread(self._drop, self._folder(id))

    def _drop(self, folder: Path) -> None:
        # The rename deletes it at once: a swap that slept meanwhile finds no folder, and if this process dies the rest
        # is no upload any more.
        rest = folder.with_name(f"{folder.name}~{secrets.token_hex(4)}")
        try:
            folder.rename(rest)
        except FileNotFoundError:
            self._check_root()
            return
        if self._durable:
            sync_folder(folder.parent)
        _remove_rest(rest)

    async def age(self, id: str) -> float:
        return await _in_thread(self._age, self._folder(id))

    def _age(self, folder: Path) -> float:
        """By the clock of the file system: that of its server, if it is remote."""
        written = (folder / f"record.{self._newest(folder)}").stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".") as clock:
            return os.fstat(clock.fileno()).st_mtime - written

    async def ids(self) -> AsyncIterator[str]:
        await _in_thread(self._check_root)
        for folder in await _in_thread(names, self._root):
            for name in await _in_thread(names, self._root / folder):
                if _ID.fullmatch(name):
                    yield name
                elif _LEFT_OVER.fullmatch(name):
                    await _in_thread(_remove_rest, self._root / folder / name)

    def writer(self, id: str, name: str) -> FileWriter:
        return FileWriter(self._folder(id) / _SEGMENTS / name, name, self._modes, durable=self._durable)

    async def stored(self, id: str) -> Sequence[Segment]:
        return await _in_thread(_sizes, self._folder(id) / _SEGMENTS)

    async def trim(self, id: str, segments: Sequence[Segment]) -> None:
        await _in_thread(_trim, self._folder(id) / _SEGMENTS, segments)

    async def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        folder = self._folder(id) / _SEGMENTS
        for batch in _batches(segments, start):
            if len(piece := await _in_thread(_read, folder, batch)) < sum(size for _, _, size in batch):
                raise StoreUnavailable(f"a segment of {id} is shorter than its record states: {batch[0][0]} or later")
            yield piece

    def _folder(self, id: str) -> Path:
        """Raises RecordMissing for a malformed id, such as `../x`, which must not become a path."""
        if _ID.fullmatch(id) is None:
            raise RecordMissing
        return self._root / id[:2] / id


class FileWriter:
    """One segment that grows: a file that no other writer uses."""

    def __init__(self, path: Path, name: str, modes: FileModes, *, durable: bool) -> None:
        self._name = name
        self._durable = durable
        self._size = 0
        self._committed = 0
        self._fresh = True
        self._path = path
        self._closed = False
        with _translated_errors():
            self._descriptor = modes.create_file(path)

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        with _translated_errors():
            write_all(self._descriptor, piece)
        self._size += len(piece)

    async def commit(self) -> Sequence[Segment]:
        size = self._size
        if size == self._committed:
            return ()
        if self._durable:
            await _in_thread(self._sync)
        self._committed = size
        return (Segment(self._name, size),)

    def _sync(self) -> None:
        os.fdatasync(self._descriptor)
        if self._fresh:  # its name must be durable too
            sync_folder(self._path.parent)
            self._fresh = False

    def close(self) -> None:
        if self._closed:
            return  # the descriptor may be in use again
        self._closed = True
        with contextlib.suppress(OSError):
            if self._committed and os.fstat(self._descriptor).st_size > self._committed:
                os.ftruncate(self._descriptor, self._committed)
            os.close(self._descriptor)
        if not self._committed:
            forget(self._path)


Extent = tuple[str, int, int]
"""A run of bytes in one segment: its name, the offset, the number of bytes."""


def _batches(segments: Sequence[Segment], start: int) -> Iterator[list[Extent]]:
    """The bytes from `start` on, as extents of PIECE bytes together: small segments are read many at once."""
    batch: list[Extent] = []
    room = PIECE
    for segment in segments:
        offset = min(start, segment.size)
        start -= offset
        while offset < segment.size:
            batch.append((segment.name, offset, size := min(room, segment.size - offset)))
            offset, room = offset + size, room - size
            if not room:
                yield batch
                batch, room = [], PIECE
    if batch:
        yield batch


def _read(folder: Path, batch: Sequence[Extent]) -> bytes:
    """The bytes of the extents; fewer if a segment is shorter."""
    found = []
    for name, offset, size in batch:
        descriptor = os.open(folder / name, os.O_RDONLY)
        try:
            found.append(os.pread(descriptor, size, offset))
        finally:
            os.close(descriptor)
    return b"".join(found)


def _sizes(folder: Path) -> Sequence[Segment]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        return [Segment(entry.name, entry.stat().st_size) for entry in found]
    return ()


def _trim(folder: Path, segments: Sequence[Segment]) -> None:
    for segment in segments:
        with contextlib.suppress(FileNotFoundError):
            if not segment.size:
                (folder / segment.name).unlink()
            elif (folder / segment.name).stat().st_size > segment.size:
                os.truncate(folder / segment.name, segment.size)


def _versions(folder: Path) -> list[int]:
    """The versions of the record in the folder: usually one."""
    return [int(found[1]) for name in names(folder) if (found := _RECORD.fullmatch(name))]


def _remove_rest(folder: Path) -> None:
    """Delete the rest of a deleted upload. If that fails (NFS keeps open files), a later listing retries it."""
    try:
        remove(folder)
    except OSError as error:
        _LOG.warning("cannot delete the rest of a deleted upload yet: %s", error)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Translate errors of the operating system into errors of a store."""
    try:
        yield
    except FileNotFoundError:
        raise RecordMissing from None
    except OSError as error:
        raise StoreUnavailable(error.strerror or str(error), full=error.errno in NO_ROOM) from error


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with _translated_errors():
        return await asyncio.get_running_loop().run_in_executor(_DISK, partial(work, *args, **kwargs))
