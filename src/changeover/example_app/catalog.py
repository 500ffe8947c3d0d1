"""The application's own record of the uploads that came to `/upload`: what an application keeps in its database.

    stored/ID/record.json   what the application responded with
    refs/REF/ID             an empty file for each upload with the client's reference REF

All instances share the folder. The bytes stay in the uploads library. The handler may be called twice for one upload,
so an entry is made once, by its id. The marker in `refs` is made before the entry, so that no entry lacks its marker; a
marker without an entry (a crash between the two) is ignored.

Refuses the event loop: every method blocks and belongs in a thread.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TypedDict

_ID = re.compile(r"[A-Za-z0-9_-]{22,32}")
_REF = re.compile(r"[A-Za-z0-9_-]{1,64}")


class UploadRecord(TypedDict):
    """The response to an upload at `/upload`, which any instance can repeat."""

    id: str
    bytes: int
    sha256: str
    ref: str | None
    version: str
    instance: str


def is_ref(text: str) -> bool:
    """Whether a reference can be a file name: 1 to 64 letters, digits, `_` and `-`."""
    return _REF.fullmatch(text) is not None


class Catalog:
    """The entries in one folder. Raises OSError if the folder cannot be created."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("stored", "refs"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def add(self, record: UploadRecord) -> None:
        """Make a durable entry. An entry of the same id stays as it is. Raises OSError."""
        if record["ref"] is not None:
            self._mark(record["ref"], record["id"])
        folder = self._root / "stored" / record["id"]
        folder.mkdir(exist_ok=True)
        temporary = folder / f".{secrets.token_hex(8)}"
        try:
            with temporary.open("x", encoding="utf-8") as file:
                json.dump(record, file)
                file.flush()
                os.fsync(file.fileno())
            # Unlike a rename, a link leaves the entry of a faster instance in place.
            (folder / "record.json").hardlink_to(temporary)
        except FileExistsError:
            return
        finally:
            temporary.unlink(missing_ok=True)
        _sync(folder)
        _sync(folder.parent)

    def record(self, upload_id: str) -> UploadRecord | None:
        """The entry of an upload; None if there is none, or the id is malformed."""
        if _ID.fullmatch(upload_id) is None:  # such as `../x`, which must not become a path
            return None
        try:
            found: UploadRecord = json.loads((self._root / "stored" / upload_id / "record.json").read_bytes())
        except FileNotFoundError:
            return None
        return found

    def ids(self, ref: str) -> list[str]:
        """The ids of all entries with this reference, in order."""
        folder = self._root / "refs" / ref
        if not folder.is_dir():
            return []
        return sorted(marker.name for marker in folder.iterdir() if self.record(marker.name) is not None)

    def _mark(self, ref: str, upload_id: str) -> None:
        folder = self._root / "refs" / ref
        folder.mkdir(exist_ok=True)
        (folder / upload_id).touch()
        _sync(folder)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file does not do that for its own name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
