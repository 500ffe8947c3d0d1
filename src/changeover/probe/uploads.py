"""Uploads at the pace of a slow client, each of them proved after its acknowledgement.

An acknowledgement must name the bytes that were sent. Then the upload is fetched through another instance
than the one that stored it, and the server is asked how many it has of it. Refuses to try a lost upload
again.
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
"""Tries to be answered by another instance than the writer. Of two instances, 1 upload in 256 finds none."""


async def send_uploads(session: Session, copies: CopyChecks) -> None:
    """Keep the load's number of uploads going until the run is stopped and each one begun has been proved."""
    run = secrets.token_hex(4)
    start = session.clock.now()
    apart = session.load.upload_seconds / max(1, session.load.uploads)
    async with asyncio.TaskGroup() as group:
        for place in range(session.load.uploads):
            group.create_task(_work(session, copies, f"{run}-{place}", place, start + place * apart))


async def _work(session: Session, copies: CopyChecks, name: str, place: int, start: float) -> None:
    number = 0
    with Connection(session.target) as connection:
        while await session.until(start):
            began = session.clock.now()
            upload = _Upload(session, connection, f"{name}-{number}", chunked=(place + number) % 2 == 0)
            row = await upload.send()
            stored = SentUpload(upload.ref, upload.id if row.outcome == "ok" else None)
            if stored.id is not None:
                await upload.read_back(row)
                await copies.count(stored, connection)
            else:
                copies.count_at_the_end(stored)
                start = began + session.load.upload_seconds
            number += 1


@dataclass
class _Upload:
    """One upload on its way; `id` is known once it is acknowledged."""

    session: Session
    connection: Connection
    ref: str
    chunked: bool
    id: str = ""
    sha256: str = ""

    async def send(self) -> LedgerRow:
        load, digest, body = self.session.load, hashlib.sha256(), bytearray()
        pieces = paced(self.ref.encode(), load.upload_size, load.upload_seconds, self.session.clock.now, digest.update)

        def check(_: HttpResponse) -> CheckResult:
            said = json_object(body)
            self.sha256 = digest.hexdigest()
            self.id = said["id"] if isinstance(said.get("id"), str) else ""
            if not self.id:
                return CheckResult("corrupted", "wrong acknowledgement", self.sha256)
            if said.get("bytes") != load.upload_size:
                return CheckResult("corrupted", "wrong length", self.sha256)
            good = said.get("sha256") == self.sha256
            return CheckResult("ok" if good else "corrupted", None if good else "wrong sha256", self.sha256)

        request = HttpRequest(
            "POST",
            f"{self.session.target.prefix}/upload",
            headers=(("X-Upload-Ref", self.ref), ("Content-Type", "application/octet-stream")),
            body=pieces,
            size=None if self.chunked else load.upload_size,
            sink=body.extend,
        )
        # A chain that takes a body at less than half the pace it is offered at is not just slow any more.
        limit = TimeLimits(2 * load.upload_seconds + 2 * load.timeout, silence=load.timeout)
        self.session.uploading += 1
        try:
            return await self.session.ask("upload", request, self.connection, check, limit=limit, ref=self.ref)
        finally:
            self.session.uploading -= 1

    async def read_back(self, written: LedgerRow) -> None:
        """Fetch and compare, from another instance where one can be got to answer."""
        for left in reversed(range(READ_BACK_TRIES)):
            row = await self._fetch(written.instance, insist=left > 0)
            if row.note != "left to the writer":
                return

    async def _fetch(self, writer: str | None, *, insist: bool) -> LedgerRow:
        digest = hashlib.sha256()

        def check(answer: HttpResponse) -> CheckResult:
            if answer.left:
                return CheckResult(note="left to the writer")
            by_writer = writer is not None and answer.instance == writer
            if digest.hexdigest() != self.sha256:
                return CheckResult("corrupted", "wrong body", digest.hexdigest())
            return CheckResult(sha256=digest.hexdigest(), note="read by the writer" if by_writer else None)

        request = HttpRequest(
            "GET",
            f"{self.session.target.prefix}/upload/{self.id}/content",
            sink=digest.update,
            wanted=(lambda instance: instance is None or instance != writer) if insist else None,
        )
        load = self.session.load
        limit = TimeLimits(load.upload_seconds + 2 * load.timeout, silence=load.timeout)
        return await self.session.ask("readback", request, self.connection, check, limit=limit, ref=self.ref)
