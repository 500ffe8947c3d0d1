"""Uploads at the pace of a slow client, each verified after its acknowledgement.

An acknowledgement must name the length and hash of the bytes that were sent. The probe then fetches the upload through
an instance that did not store it, and counts its copies on the server. Refuses to retry a lost upload.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass

from changeover.probe.bodies import json_object, paced
from changeover.probe.client import Connection, TimeLimits
from changeover.probe.copy_checks import CopyChecks, SentUpload
from changeover.probe.http_exchange import HttpRequest, HttpResponse
from changeover.probe.ledger_row import LedgerRow
from changeover.probe.session import CheckResult, Session

READ_BACK_TRIES = 8
"""Attempts to reach an instance other than the writer. With two instances, 1 upload in 256 reaches none."""


async def send_uploads(session: Session, copies: CopyChecks) -> None:
    """Keep the planned number of uploads running until the stop, then verify those that have started."""
    run = secrets.token_hex(4)
    start = session.clock.now()
    apart = session.plan.upload_seconds / max(1, session.plan.uploads)
    async with asyncio.TaskGroup() as group:
        for index in range(session.plan.uploads):
            group.create_task(_work(session, copies, f"{run}-{index}", index, start + index * apart))


async def _work(session: Session, copies: CopyChecks, name: str, index: int, start: float) -> None:
    number = 0
    with Connection(session.target) as connection:
        while await session.until(start):
            began = session.clock.now()
            upload = _ProbeUpload(session, connection, f"{name}-{number}", chunked=(index + number) % 2 == 0)
            row = await upload.send()
            stored = SentUpload(upload.ref, upload.id if row.outcome == "ok" else None)
            if stored.id is not None:
                await upload.read_back(row)
                await copies.count(stored, connection)
            else:
                copies.count_at_the_end(stored)
                start = began + session.plan.upload_seconds
            number += 1


@dataclass
class _ProbeUpload:
    """One upload; the acknowledgement sets `id`."""

    session: Session
    connection: Connection
    ref: str
    chunked: bool
    id: str = ""
    sha256: str = ""

    async def send(self) -> LedgerRow:
        plan, digest, body = self.session.plan, hashlib.sha256(), bytearray()
        pieces = paced(self.ref.encode(), plan.upload_size, plan.upload_seconds, self.session.clock.now, digest.update)

        def check(_: HttpResponse) -> CheckResult:
            acknowledgement = json_object(body)
            self.sha256 = digest.hexdigest()
            found = acknowledgement.get("id")
            self.id = found if isinstance(found, str) else ""
            if not self.id:
                return CheckResult("corrupted", "wrong acknowledgement", self.sha256)
            if acknowledgement.get("bytes") != plan.upload_size:
                return CheckResult("corrupted", "wrong length", self.sha256)
            good = acknowledgement.get("sha256") == self.sha256
            return CheckResult("ok" if good else "corrupted", None if good else "wrong sha256", self.sha256)

        request = HttpRequest(
            "POST",
            f"{self.session.target.prefix}/upload",
            headers=(("X-Upload-Ref", self.ref), ("Content-Type", "application/octet-stream")),
            body=pieces,
            size=None if self.chunked else plan.upload_size,
            sink=body.extend,
        )
        # A chain that reads a body at less than half of its pace has failed, not slowed down.
        limits = TimeLimits(2 * plan.upload_seconds + 2 * plan.timeout, idle=plan.timeout)
        self.session.uploading += 1
        try:
            return await self.session.send("upload", request, self.connection, check, limits=limits, ref=self.ref)
        finally:
            self.session.uploading -= 1

    async def read_back(self, written: LedgerRow) -> None:
        """Fetch the upload and compare it, from another instance than the writer if one responds."""
        for left in reversed(range(READ_BACK_TRIES)):
            row = await self._fetch(written.instance, other_only=left > 0)
            if row.note != "left to the writer":
                return

    async def _fetch(self, writer: str | None, *, other_only: bool) -> LedgerRow:
        digest = hashlib.sha256()

        def check(response: HttpResponse) -> CheckResult:
            if response.abandoned:
                return CheckResult(note="left to the writer")
            by_writer = writer is not None and response.instance == writer
            if digest.hexdigest() != self.sha256:
                return CheckResult("corrupted", "wrong body", digest.hexdigest())
            return CheckResult(sha256=digest.hexdigest(), note="read by the writer" if by_writer else None)

        request = HttpRequest(
            "GET",
            f"{self.session.target.prefix}/upload/{self.id}/content",
            sink=digest.update,
            accept=(lambda instance: instance is None or instance != writer) if other_only else None,
        )
        plan = self.session.plan
        limits = TimeLimits(plan.upload_seconds + 2 * plan.timeout, idle=plan.timeout)
        return await self.session.send("readback", request, self.connection, check, limits=limits, ref=self.ref)
