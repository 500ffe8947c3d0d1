"""The ledger file: a header line with the format's version, one JSON line for every request of a run, and an end line.

The end line says when the run ended and how many rows it has. A probe that was killed writes none: its requests in
flight have no row, so its ledger alone proves nothing. Ledgers written before the header existed are read as well. A
version that this program does not know is an error.

Refuses to overwrite a file: a ledger is evidence. Refuses to continue after a failed write: a request without a row is
a gap in the proof. A failed request reaches the kernel at once, other rows within a second, and never half a line.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Collection, Iterator
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from changeover.model.errors import ChangeoverError, fail
from changeover.probe.bodies import json_object
from changeover.probe.records.row import LedgerRow, RequestKind
from changeover.probe.records.tally import Tally

FORMAT = 1
"""Version of the rows' layout, in the header line. Raise it when a reader of the old rows would misread the new."""
END = b'{"ended":'
"""Begin of the end line. No row begins so."""
_END_SIZE = 128  # bytes that an end line has at most
_FLUSH_INTERVAL = 1.0  # seconds a row may wait: one write per request would cost more than the row itself
_ROW = TypeAdapter(LedgerRow)
_KINDS: TypeAdapter[tuple[RequestKind, ...]] = TypeAdapter(tuple[RequestKind, ...])
_JSON = json.JSONEncoder(separators=(",", ":"), default=str)


class Ledger:
    """Writes rows to the file and adds each to the tally."""

    def __init__(self, path: Path, planned: Collection[RequestKind] = ()) -> None:
        """`planned`: the kinds of request that need a success, for the header; none: the header does not say."""
        self.path = path
        self.tally = Tally()
        self._lines = [_JSON.encode({"format": FORMAT} | ({"planned": list(planned)} if planned else {}))]
        self._rows = 0
        self._flushed = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb", buffering=0)  # one flush is one write: a killed probe leaves no partial line
            fcntl.flock(self._file, fcntl.LOCK_SH)  # until its end: see `is_growing`
        except FileExistsError:
            raise fail(
                "the ledger file exists already",
                where=str(path),
                state="The file is unchanged. No traffic was sent.",
                next="Move the file away, or pass another one with --ledger.",
            ) from None
        except OSError as error:
            raise self._failed(error) from error

    def record(self, row: LedgerRow) -> None:
        """Add one row. Raises ChangeoverError when the file cannot be written."""
        self.tally.add(row)
        self._rows += 1
        self._lines.append(_JSON.encode(row.to_dict()))
        if row.outcome != "ok" or time.monotonic() - self._flushed > _FLUSH_INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write every waiting row to the kernel, where it survives the end of this process."""
        self._flushed = time.monotonic()
        if not self._lines:
            os.utime(self._file.fileno())  # the file shows until when the probe lived, also between slow uploads
            return
        lines, self._lines = self._lines, []
        text = ("\n".join(lines) + "\n").encode()
        try:
            if self._file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file without an end line. Leaving the context without an exception writes the end line."""
        try:
            self.flush()
        finally:
            self._file.close()

    def _failed(self, error: OSError) -> ChangeoverError:
        return fail(
            f"the ledger cannot be written: {error.strerror}",
            where=str(self.path),
            state="The probe stopped its traffic, because a request without a row proves nothing.",
            next="Free disk space, or pass another file with --ledger. Then start the probe again.",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._lines.append(_JSON.encode({"ended": round(time.time(), 6), "rows": self._rows}))
        self.close()


def is_growing(path: Path) -> bool:
    """Whether a probe of this machine still writes this ledger: its requests in flight have no row yet.

    Raises ChangeoverError where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise fail(f"the ledger cannot be read: {error.strerror}", where=str(path)) from error
    return False


def read_ledger(path: Path, size: float = inf) -> Iterator[LedgerRow]:
    """The rows within the first `size` bytes of a ledger, one at a time.

    Raises ChangeoverError at the first line that is not a row, and at an end line that counts other rows.
    """
    rows = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                size -= len(line)
                if size < 0:
                    return
                if number == 1 and _is_header(line, path):
                    continue
                if line.startswith(END):
                    if (counted := json_object(line).get("rows")) != rows:
                        raise fail(f"the probe wrote {counted} rows, and the ledger has {rows}", where=str(path))
                    continue
                rows += 1
                try:
                    yield _ROW.validate_json(line)
                except ValidationError as error:
                    first = error.errors(include_url=False)[0]
                    raise fail(
                        f"this line is not a row of a ledger: {first['msg']}",
                        where=f"{path}:{number}",
                        next="If it is the last line, the disk was full: delete that line to read the rows before it.",
                    ) from error
    except OSError as error:
        raise fail(f"the ledger cannot be read: {error.strerror}", where=str(path)) from error


def has_ended(path: Path, size: int) -> bool:
    """Whether the last of the first `size` bytes are an end line: every request before has a row.

    Raises ChangeoverError where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, size - _END_SIZE))
            tail = file.read(min(size, _END_SIZE))
    except OSError as error:
        raise fail(f"the ledger cannot be read: {error.strerror}", where=str(path)) from error
    return tail.endswith(b"\n") and tail[:-1].rpartition(b"\n")[2].startswith(END)


def planned_kinds(path: Path) -> tuple[RequestKind, ...] | None:
    """The kinds of request that the probe planned; None where the ledger does not say. Raises ChangeoverError."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise fail(f"the ledger cannot be read: {error.strerror}", where=str(path)) from error
    if not _is_header(line, path) or (planned := json_object(line).get("planned")) is None:
        return None
    try:
        return _KINDS.validate_python(planned)
    except ValidationError as error:
        raise fail("the header of the ledger names a kind of request that is not known", where=f"{path}:1") from error


def _is_header(line: bytes, path: Path) -> bool:
    """Whether the line is the header. Raises ChangeoverError for a version that this program does not know."""
    version = json_object(line).get("format")
    if version not in (None, FORMAT):
        raise fail(
            f"the ledger has format {version}, and this version of changeover reads format {FORMAT}",
            where=str(path),
            next="Read it with the version of changeover that wrote it, or a newer one.",
        )
    return version is not None
