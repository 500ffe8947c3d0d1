"""Uploads on disk, in one folder that all instances share.

    incoming/ID/            an upload on its way, seen by nobody
    stored/ID/content       its bytes
    stored/ID/record.json   what is known of it
    refs/REF/ID             an empty file for each upload that came with the client's reference REF

Everything is synced before `incoming/ID` is renamed to `stored/ID`: with that rename an upload exists, for
every instance at once. The marker in `refs` is made before it, so that no stored upload lacks its marker; a
marker without its upload (a crash between the two) is passed over.

Refuses the event loop: every method blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, TypedDict

_ID = re.compile(r"[A-Za-z0-9_-]{22,32}")
_REF = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Record(TypedDict):
    """What `POST /upload` answers and any instance can tell again."""

    id: str
    bytes: int
    sha256: str
    ref: str | None
    version: str
    instance: str


def is_ref(text: str) -> bool:
    """True for a reference that can be a file name: letters, digits, `_` and `-`, 1 to 64 of them."""
    return _REF.fullmatch(text) is not None


class Incoming:
    """An upload on its way: written piece by piece, then either stored or discarded.

    `upload_id` is given where somebody else has named it, and may bring it again: it is stored once.
    """

    def __init__(self, root: Path, upload_id: str = "") -> None:
        self._root = root
        self._name = secrets.token_urlsafe(16)  # 128 bits: nobody finds another client's upload by guessing
        self._id = upload_id or self._name
        self._marker: Path | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._temporary.mkdir()
        self._file = (self._temporary / "content").open("xb")

    @property
    def _temporary(self) -> Path:
        return self._root / "incoming" / self._name

    @property
    def _final(self) -> Path:
        return self._root / "stored" / self._id

    @property
    def _is_own(self) -> bool:
        return self._id == self._name

    def write(self, piece: bytes | bytearray) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self._size += len(piece)

    def store(self, ref: str | None, version: str, instance: str) -> Record:
        """Make the upload durable, then visible. After an OSError nothing of it may stay: call `discard`."""
        record = Record(
            id=self._id,
            bytes=self._size,
            sha256=self._hash.hexdigest(),
            ref=ref,
            version=version,
            instance=instance,
        )
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        with (self._temporary / "record.json").open("x") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        _sync(self._temporary)
        if ref is not None:
            self._mark(ref)
        try:
            self._temporary.rename(self._final)
        except OSError:
            if self._is_own or not self._final.is_dir():
                raise
            self.discard()
            record = json.loads((self._final / "record.json").read_bytes())
        _sync(self._final.parent)
        return record

    def discard(self) -> None:
        """Leave nothing behind, whatever was reached. Works on a full disk."""
        with contextlib.suppress(OSError):  # closing writes what is buffered, which may be what failed before
            self._file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        if not self._is_own:
            return  # what is stored was stored whole, perhaps by somebody else, and will be asked for again
        shutil.rmtree(self._final, ignore_errors=True)
        if self._marker is not None:
            self._marker.unlink(missing_ok=True)

    def _mark(self, ref: str) -> None:
        folder = self._root / "refs" / ref
        folder.mkdir(exist_ok=True)
        self._marker = folder / self._id
        self._marker.touch()
        _sync(folder)
        _sync(folder.parent)


class UploadsFolder:
    """The folder shared by all instances."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("incoming", "stored", "refs"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def begin(self, upload_id: str = "") -> Incoming:
        return Incoming(self._root, upload_id)

    def record(self, upload_id: str) -> dict[str, Any] | None:
        """What is known of a stored upload; None if there is none, or the id is not one of ours."""
        folder = self._stored(upload_id)
        return None if folder is None else json.loads((folder / "record.json").read_bytes())

    def content(self, upload_id: str) -> Path | None:
        """The file with its bytes; it never changes again."""
        folder = self._stored(upload_id)
        return None if folder is None else folder / "content"

    def ids(self, ref: str) -> list[str]:
        """Every stored upload that came with this reference, in order of id."""
        folder = self._root / "refs" / ref
        if not folder.is_dir():
            return []
        return sorted(marker.name for marker in folder.iterdir() if self._stored(marker.name) is not None)

    def _stored(self, upload_id: str) -> Path | None:
        if _ID.fullmatch(upload_id) is None:  # such as `../x`, which must not become a path
            return None
        folder = self._root / "stored" / upload_id
        return folder if folder.is_dir() else None


def _sync(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file does not do that for its own name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
