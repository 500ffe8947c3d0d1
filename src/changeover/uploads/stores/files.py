"""Uploads in a folder: of one machine, or of a file system that several share.

    ROOT/ab/ID/record.N         the record at its N-th version; the highest N is the one that holds
    ROOT/ab/ID/segments/NAME    a segment
    ROOT/ab/ID~X                what is left of a dropped one

Compare-and-swap without a lock: version N+1 is written whole to a file of its own and then linked to `record.N+1`,
which fails if somebody else was first. So no process that was stopped or killed ever holds anybody up, and link(2) is
atomic over NFS too. A writer that slept so long that `record.N+1` has come and gone again finds a higher one and knows.
Until it knows, its record lies there and never held: so a reader looks again, after reading, whether there is a higher
one. Segments have a folder of their own so that the one with the records stays so small that it is read in one call: in
one that is read in pieces while records come and go, the record could be missed.

Over NFS a client that caches folders and names (it does unless mounted with `noac`, or `actimeo=0,lookupcache=none`)
may for some seconds read a record that others have replaced already; a swap is right even then.

With `durable`, what is acknowledged survives a loss of power: data, record and folder are synced before the answer.
Without, it survives the death of the process alone. The disk is waited for in threads, in many at once: a journalling
file system takes the syncs that come while one is under way into its next transaction together, so that many uploads
share a flush of the disk (bench/commits.py). Writing into the page cache is not worth a thread (at most a piece at a
time; measured: a thread costs more than it saves).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from changeover.uploads.core.manifest import Segment
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, StoreUnavailable

_LOG = logging.getLogger(__name__)

PIECE = 1024 * 1024
"""Bytes read from a segment at once."""
_DISK = ThreadPoolExecutor(32, "uploads-disk")
"""Who waits for the disk. Flushes for each commit of 64 uploads at once, on ext4: 4.0 with one thread, 3.0 with six (as
asyncio has on two cores), with 32 from 0.7 on an idle machine to 3.4 where the CPU is what commits wait for."""

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_RECORD = re.compile(r"record\.(\d+)")
_SEGMENTS = "segments"
_LEFT_OVER = re.compile(r"[A-Za-z0-9_-]{16,64}~[0-9a-f]{8}")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

P = ParamSpec("P")
R = TypeVar("R")


class FileStore:
    """A Store in a folder. Raises OSError when the folder cannot be made."""

    segment = 64 * 1024 * 1024

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self._root = root
        self._durable = durable
        root.mkdir(parents=True, exist_ok=True)

    async def create(self, id: str, record: bytes) -> RecordVersion:
        folder = self._folder(id)
        try:
            return await _in_thread(self._create, folder, record)
        except RecordMissing:
            raise StoreUnavailable("the folder of uploads went away") from None

    def _create(self, folder: Path, record: bytes) -> RecordVersion:
        self._check_root()
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        try:
            (folder / _SEGMENTS).mkdir(exist_ok=True)
            version = self._write(folder, record, 0)
        except OSError:
            if not _versions(folder):  # without a record it would be nobody's to collect
                for empty in (folder / _SEGMENTS, folder):
                    with contextlib.suppress(OSError):
                        empty.rmdir()
            raise
        if self._durable:
            _sync_folder(folder.parent)
            _sync_folder(self._root)
        return version

    async def read(self, id: str) -> tuple[bytes, RecordVersion]:
        return await _in_thread(self._read, self._folder(id))

    def _read(self, folder: Path) -> tuple[bytes, RecordVersion]:
        while True:
            newest = self._newest(folder)
            try:
                record = (folder / f"record.{newest}").read_bytes()
            except FileNotFoundError:
                continue  # a newer one took its place just now
            if self._newest(folder) == newest:  # otherwise it may be that of a writer that slept, which never held
                return record, str(newest)

    async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
        return await _in_thread(self._write, self._folder(id), record, int(version))

    def _write(self, folder: Path, record: bytes, version: int) -> RecordVersion:
        """Put the record in the place of that version; 0: of none."""
        if (self._newest(folder) if version else max(_versions(folder), default=0)) != version:
            raise RecordChanged
        self._link(folder, record, version + 1)
        found = _versions(folder)
        for older in found:
            if older <= version:
                _forget(folder / f"record.{older}")
        if max(found, default=0) > version + 1:
            # Either others had gone on from here, and cleared away what was in the way of the link, while this thread
            # slept before it; or they went on from this very record since. Both mean that it is no longer ours.
            _forget(folder / f"record.{version + 1}")
            raise RecordChanged
        return str(version + 1)

    def _newest(self, folder: Path) -> int:
        """The version that holds. Raises Missing."""
        if not (found := _versions(folder)):
            self._check_root()
            raise RecordMissing
        return max(found)

    def _check_root(self) -> None:
        """That no upload is there because nothing is there is not to be told to clients. Raises OSError."""
        if not self._root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "the folder of uploads is not there")

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
                # NFS may have lost the answer, and the client tried again: two names mean that it was we who were there
                if temporary.stat().st_nlink < 2:
                    raise RecordChanged from None
        except FileNotFoundError:
            raise RecordMissing from None  # dropped meanwhile
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if self._durable:
            _sync_folder(folder)

    async def drop(self, id: str) -> None:
        await _in_thread(self._drop, self._folder(id))

    def _drop(self, folder: Path) -> None:
        # It goes at once, by its name: a swap that slept meanwhile finds no folder to bring it back in, and what is
        # left of it when this process dies is no upload any more.
        rest = folder.with_name(f"{folder.name}~{secrets.token_hex(4)}")
        try:
            folder.rename(rest)
        except FileNotFoundError:
            self._check_root()
            return
        if self._durable:
            _sync_folder(folder.parent)
        _clear_away(rest)

    async def ids(self) -> AsyncIterator[str]:
        await _in_thread(self._check_root)
        for shelf in await _in_thread(_names, self._root):
            for name in await _in_thread(_names, self._root / shelf):
                if _ID.fullmatch(name):
                    yield name
                elif _LEFT_OVER.fullmatch(name):
                    await _in_thread(_clear_away, self._root / shelf / name)

    def writer(self, id: str, name: str) -> FileWriter:
        return FileWriter(self._folder(id) / _SEGMENTS / name, name, durable=self._durable)

    async def pieces(self, id: str, segments: Sequence[Segment], start: int = 0) -> AsyncIterator[bytes]:
        folder = self._folder(id) / _SEGMENTS
        for segment in segments:
            if start >= segment.size:
                start -= segment.size
                continue
            with contextlib.closing(await _in_thread(_Reader, folder / segment.name)) as reader:
                for offset in range(start, segment.size, PIECE):
                    wanted = min(PIECE, segment.size - offset)
                    piece = await _in_thread(reader.read, offset, wanted)
                    if len(piece) < wanted:
                        raise StoreUnavailable(f"segment {segment.name} of {id} is shorter than its record says")
                    yield piece
            start = 0

    def _folder(self, id: str) -> Path:
        """Raises Missing for what cannot be an id, such as `../x`: it must not become a path."""
        if _ID.fullmatch(id) is None:
            raise RecordMissing
        return self._root / id[:2] / id


class FileWriter:
    """One segment that grows: a file that nobody else writes to."""

    def __init__(self, path: Path, name: str, *, durable: bool) -> None:
        self._name = name
        self._durable = durable
        self._size = 0
        self._committed = 0
        self._fresh = True
        self._path = path
        self._closed = False
        with _told():
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        with _told():
            _write_all(self._descriptor, piece)
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
        if self._fresh:  # its name must last too
            _sync_folder(self._path.parent)
            self._fresh = False

    def close(self) -> None:
        if self._closed:
            return  # by now its descriptor may be somebody else's
        self._closed = True
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        if not self._committed:
            _forget(self._path)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def close(self) -> None:
        os.close(self._descriptor)


def _versions(folder: Path) -> list[int]:
    """The versions of the record that lie there: usually one."""
    return [int(found[1]) for name in _names(folder) if (found := _RECORD.fullmatch(name))]


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _clear_away(folder: Path) -> None:
    """What is left of a dropped upload; what cannot go now (NFS keeps what is still open) goes with a later listing."""
    try:
        _remove(folder)
    except OSError as error:
        _LOG.warning("what is left of a dropped upload stays for now: %s", error)


def _remove(folder: Path) -> None:
    """With all that is in it, also while others do the same."""
    while True:
        try:
            return shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return None


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found]
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
        raise RecordMissing from None
    except OSError as error:
        raise StoreUnavailable(error.strerror or str(error), full=error.errno in _NO_ROOM) from error


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with _told():
        return await asyncio.get_running_loop().run_in_executor(_DISK, partial(work, *args, **kwargs))
