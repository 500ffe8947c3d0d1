"""Waits for operations of the Compute API. An operation that is DONE may have failed, and may have only been planned.

Refuses to take DONE for success: errors of an operation need no HTTP status.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from changeover.platforms.gcp.api.calls import Calls, Refused
from changeover.platforms.gcp.api.retry import Failure
from changeover.ports import Unknown


@dataclass(frozen=True)
class OperationTiming:
    """Seconds."""

    first_look: float = 0.2
    """Between the first two looks; each further one is twice as long: most operations take a second or two."""
    longest_look: float = 3.0
    """Between two looks: they cost calls of the project's quota."""
    limit: float = 300.0
    """Until an operation that is not DONE counts as unknown; the caller asks again with the same request id."""


@dataclass(frozen=True)
class Operation:
    """One answer about it. `error`: what failed, where it failed."""

    name: str
    done: bool
    error: Failure | None = None


def read(answer: Any) -> Operation:
    """An operation as the client of Google returns it."""
    errors = [(str(one.code), str(one.message)) for one in answer.error.errors]
    done = answer.status == type(answer).Status.DONE
    if not errors and not answer.http_error_status_code:
        return Operation(answer.name, done)
    code = int(answer.http_error_status_code) or None
    text = "; ".join(f"{code}: {message}" if message else code for code, message in errors) or answer.http_error_message
    return Operation(answer.name, done, Failure(code or 400, errors[0][0] if errors else "", text))


class Operations:
    """Of one scope: a zone, a region, or with None the operations of global resources."""

    def __init__(self, calls: Calls, project: str, scope: tuple[str, str] | None, timing: OperationTiming) -> None:
        self._calls = calls
        self._where = {"project": project} | ({scope[0]: scope[1]} if scope is not None else {})
        self._client = f"{(scope[0] if scope is not None else 'global').capitalize()}OperationsClient"
        self._timing = timing

    async def finish(self, what: str, operation: Operation) -> None:
        """Wait until it is DONE. Raises Refused where it failed, and Unknown where it is not DONE in time."""
        began, look = time.monotonic(), self._timing.first_look
        while not operation.done:
            if time.monotonic() - began > self._timing.limit:
                raise Unknown(f"{what}: operation {operation.name} was not done after {self._timing.limit:.0f} s")
            await asyncio.sleep(look)
            look = min(2 * look, self._timing.longest_look)
            operation = await self._calls.ask(
                what, self._client, "get", {"operation": operation.name, **self._where}, read
            )
        if operation.error is not None:
            raise Refused(what, operation.error)
