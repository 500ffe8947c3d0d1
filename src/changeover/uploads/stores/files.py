"""Uploads in a folder: of one machine, or of a file system that several share.

    ROOT/ab/ID/record.N     the record at its N-th version; the highest N is the one that holds
    ROOT/ab/ID/NAME         a segment

Compare-and-swap without a lock: version N+1 is written whole to a file of its own and then linked to `record.N+1`,
which fails if somebody else was first. So no process that was stopped or killed ever holds anybody up, and link(2) is
atomic over NFS too. A writer that slept so long that `record.N+1` has come and gone again finds a higher one and knows.

With `durable`, what is acknowledged survives a loss of power: data, record and folder are synced before the answer.
Without, it survives the death of the process alone. The disk is waited for in a thread; writing into the page cache is
not worth one (at most a piece at a time; measured: a thread costs more than it saves).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import crc32c

from changeover.uploads.manifest import Segment
from changeover.uploads.store import Changed, Missing, Unavailable, Version

PIECE = 1024 * 1024
"""Bytes read from a segment at once."""

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_RECORD = re.compile(r"record\.(\d+)")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

P = ParamSpec("P")
R = TypeVar("R")


class FileStore:
    """A Store in a folder. Raises OSError when the folder cannot be made."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self._root = root
        self._durable = durable
        root.mkdir(parents=True, exist_ok=True)

    async def create(self, id: str, record: bytes) -> Version:
        return await _in_thread(self._create, self._folder(id), record)

    def _create(self, folder: Path, record: bytes) -> Version:
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        self._link(folder, record, 1)
        if self._durable:
            _sync_folder(folder.parent)
            _sync_folder(self._root)
        return "1"

    async def read(self, id: str) -> tuple[bytes, Version]:
        return await _in_thread(self._read, self._folder(id))

    def _read(self, folder: Path) -> tuple[bytes, Version]:
        while True:
            newest = _newest(folder)
            try:
                return (folder / f"record.{newest}").read_bytes(), str(newest)
            except FileNotFoundError:
                continue  # a newer one took its place just now

    async def swap(self, id: str, record: bytes, version: Version) -> Version:
        return await _in_thread(self._swap, self._folder(id), record, int(version))

    def _swap(self, folder: Path, record: bytes, version: int) -> Version:
        if _newest(folder) != version:
            raise Changed
        self._link(folder, record, version + 1)
        with contextlib.suppress(OSError):
            (folder / f"record.{version}").unlink()
        if _newest(folder) > version + 1:
            # Either others had gone on from here, and cleared away what was in the way of the link, while this thread
            # slept before it; or they went on from this very record since. Both mean that it is no longer ours.
            with contextlib.suppress(OSError):
                (folder / f"record.{version + 1}").unlink()
            raise Changed
        return str(version + 1)

    def _link(self, folder: Path, record: bytes, version: int) -> None:
        temporary = folder / f".{secrets.token_hex(8)}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _write_all(descriptor, record)
                if self._durable:
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(temporary, folder / f"record.{version}")
            except FileExistsError:
                raise Changed from None
        except FileNotFoundError:
            raise Missing from None  # dropped meanwhile
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if self._durable:
            _sync_folder(folder)

    async def drop(self, id: str) -> None:
        await _in_thread(self._drop, self._folder(id))

    def _drop(self, folder: Path) -> None:
        # The records go last but the newest first: half dropped, it is found again by the next collection.
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)

    async def ids(self) -> AsyncIterator[str]:
        for shelf in await _in_thread(_names, self._root):
            for name in await _in_thread(_names, self._root / shelf):
                if _ID.fullmatch(name):
                    yield name

    def writer(self, id: str, name: str) -> FileWriter:
        return FileWriter(self._folder(id) / name, name, durable=self._durable)

    async def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        folder = self._folder(id)
        for segment in segments:
            if start >= segment.size:
                start -= segment.size
                continue
            with contextlib.closing(await _in_thread(_Reader, folder / segment.name)) as reader:
                for offset in range(start, segment.size, PIECE):
                    wanted = min(PIECE, segment.size - offset)
                    piece = await _in_thread(reader.read, offset, wanted)
                    if len(piece) < wanted:
                        raise Unavailable(f"segment {segment.name} of {id} is shorter than its record says")
                    yield piece
            start = 0

    def _folder(self, id: str) -> Path:
        """Raises Missing for what cannot be an id, such as `../x`: it must not become a path."""
        if _ID.fullmatch(id) is None:
            raise Missing
        return self._root / id[:2] / id


class FileWriter:
    """One segment that grows: a file that nobody else writes to."""

    def __init__(self, path: Path, name: str, *, durable: bool) -> None:
        self._name = name
        self._durable = durable
        self._size = 0
        self._committed = 0
        self._crc = 0
        self._fresh = True
        self._path = path
        with _told():
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        with _told():
            _write_all(self._descriptor, piece)
        self._size += len(piece)
        self._crc = crc32c.crc32c(piece, self._crc)

    async def commit(self) -> Sequence[Segment]:
        size, crc = self._size, self._crc
        if size == self._committed:
            return ()
        if self._durable:
            await _in_thread(self._sync)
        self._committed = size
        return (Segment(self._name, size, crc),)

    def _sync(self) -> None:
        os.fdatasync(self._descriptor)
        if self._fresh:  # its name must last too
            _sync_folder(self._path.parent)
            self._fresh = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
            if not self._committed:
                self._path.unlink(missing_ok=True)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        os.close(self._descriptor)


def _newest(folder: Path) -> int:
    """The version that holds. Raises Missing."""
    try:
        numbers = [int(found[1]) for path in folder.iterdir() if (found := _RECORD.fullmatch(path.name))]
    except FileNotFoundError:
        raise Missing from None
    if not numbers:
        raise Missing
    return max(numbers)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file does not do that for its own name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told() -> Iterator[None]:
    """An OSError as the engine understands it."""
    try:
        yield
    except FileNotFoundError:
        raise Missing from None
    except OSError as error:
        raise Unavailable(error.strerror or str(error), full=error.errno in _NO_ROOM) from error


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with _told():
        return await asyncio.to_thread(work, *args, **kwargs)
