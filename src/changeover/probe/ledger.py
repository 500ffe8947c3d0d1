"""The ledger file: JSON lines, one for every request, written while the run goes on.

Refuses to overwrite: a ledger is evidence. Refuses to go on when it cannot write, since a request without a
row is a gap in the proof. Lines reach the kernel at once when something went wrong, otherwise within a
second, always whole.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from changeover.model.errors import ChangeoverError, fail
from changeover.probe.ledger_row import LedgerRow
from changeover.probe.tally import Tally

_KEPT_BACK = 1.0  # seconds a line may wait: a write for every request would cost more than the request's own row
_ROW = TypeAdapter(LedgerRow)
_JSON = json.JSONEncoder(separators=(",", ":"), default=str)


class Ledger:
    """Takes rows, writes them, and keeps the tally over them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tally = Tally()
        self._lines: list[str] = []
        self._flushed = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb", buffering=0)  # one flush is one write: a killed prober tears no line
        except FileExistsError:
            raise fail(
                "there is a ledger already",
                where=str(path),
                state="It was left as it is.",
                next="Move it away, or name another file.",
            ) from None
        except OSError as error:
            raise self._failed(error) from error

    def record(self, row: LedgerRow) -> None:
        """Add one row. Raises ChangeoverError when the file cannot be written."""
        self.tally.add(row)
        self._lines.append(_JSON.encode(row.to_dict()))
        if row.outcome != "ok" or time.monotonic() - self._flushed > _KEPT_BACK:
            self.flush()

    def flush(self) -> None:
        """Hand everything over to the kernel, from where it survives the end of this process."""
        self._flushed = time.monotonic()
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        text = ("\n".join(lines) + "\n").encode()
        try:
            if self._file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._file.close()

    def _failed(self, error: OSError) -> ChangeoverError:
        return fail(
            f"the ledger cannot be written: {error.strerror}",
            where=str(self.path),
            state="The traffic was stopped: requests that leave no row prove nothing.",
            next="Make room or name another file, then start again.",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_ledger(path: Path) -> Iterator[LedgerRow]:
    """The rows of a ledger, one at a time. Raises ChangeoverError at the first line that is not a row."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _ROW.validate_json(line)
                except ValidationError as error:
                    first = error.errors(include_url=False)[0]
                    raise fail(
                        f"not a row of a ledger: {first['msg']}",
                        where=f"{path}:{number}",
                        next="If it is the last line, the disk was full: cut it off to read those before it.",
                    ) from error
    except OSError as error:
        raise fail(f"the ledger cannot be read: {error.strerror}", where=str(path)) from error
