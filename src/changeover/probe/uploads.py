"""Uploads at the pace of a slow client, each verified after its acknowledgement as far as the plan says how.

The response must name the digest of the bytes that were sent. The probe then fetches the upload, through an instance
that did not store it where responses name their instance, and counts its copies on the server. An upload with neither
digest nor read-back is noted as answered only. Refuses to retry a lost upload.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from changeover.model.probe import AnswerDigest, Post, placeholders
from changeover.probe.bodies import Form, as_text, field_of, json_object, paced
from changeover.probe.copy_checks import CopyChecks, SentUpload
from changeover.probe.digests import matches
from changeover.probe.http.client import Connection, TimeLimits
from changeover.probe.http.exchange import HttpHeaders, HttpRequest, HttpResponse
from changeover.probe.records.row import LedgerRow
from changeover.probe.session import CheckResult, Session

READ_BACK_TRIES = 8
"""Attempts to reach an instance other than the writer. With two instances, 1 upload in 256 reaches none."""


async def send_uploads(session: Session, post: Post, copies: CopyChecks) -> None:
    """Keep the planned number of uploads running until the stop, then verify those that have started."""
    run = secrets.token_hex(4)
    start = session.clock.now()
    apart = post.time / post.concurrent
    async with asyncio.TaskGroup() as group:
        for index in range(post.concurrent):
            group.create_task(_work(session, post, copies, f"{run}-{index}", index, start + index * apart))


async def _work(session: Session, post: Post, copies: CopyChecks, name: str, index: int, start: float) -> None:
    number = 0
    with Connection(session.target) as connection:
        while await session.until(start):
            began = session.clock.now()
            chunked = post.chunked == "always" or (post.chunked == "alternate" and (index + number) % 2 == 0)
            upload = _ProbeUpload(session, post, connection, f"{name}-{number}", chunked=chunked)
            row = await upload.send()
            stored = upload.sent(acknowledged=row.outcome == "ok")
            if row.outcome == "ok":
                if post.read_back:
                    await upload.read_back(row)
                if stored:
                    await copies.count(stored, connection)
            else:
                if stored:
                    copies.count_at_the_end(stored)
                start = began + post.time
            number += 1


@dataclass
class _ProbeUpload:
    """One upload; its response sets `answer` and `headers`."""

    session: Session
    post: Post
    connection: Connection
    ref: str
    chunked: bool
    answer: dict[str, object] = field(default_factory=dict)
    headers: HttpHeaders = field(default_factory=dict)
    sha256: str = ""

    async def send(self) -> LedgerRow:
        post, session = self.post, self.session
        named = post.digest or AnswerDigest(field="sha256")
        digest, claimed, body = hashlib.sha256(), hashlib.new(named.algorithm, usedforsecurity=False), bytearray()

        def hashed(piece: bytes) -> None:
            digest.update(piece)
            if named.algorithm != "sha256":
                claimed.update(piece)

        pieces = paced(self.ref.encode(), post.body, post.time, session.clock.now, hashed)
        form = Form(post.form, self.ref) if post.form else None
        size = form.size(post.body) if form else post.body
        headers = {"Content-Type": form.content_type if form else "application/octet-stream"}
        headers |= {name: value.replace("{ref}", self.ref) for name, value in post.headers.items()}

        def check(response: HttpResponse) -> CheckResult:
            self.answer, self.headers, self.sha256 = json_object(body), response.headers, digest.hexdigest()
            version = session.naming.version_in(body)
            sums = digest.digest() if named.algorithm == "sha256" else claimed.digest()
            wrong = "wrong length" if response.bytes_sent != size else self._wrong(sums)
            if wrong:
                return CheckResult("corrupted", wrong, self.sha256, version=version)
            return CheckResult(sha256=self.sha256, note=None if post.proved else "answered only", version=version)

        request = HttpRequest(
            post.method,
            session.target.prefix + post.path.replace("{ref}", self.ref),
            headers=session.headers(headers),
            body=form.around(pieces) if form else pieces,
            size=None if self.chunked else size,
            status=post.status,
            sink=body.extend,
        )
        # A chain that reads a body at less than half of its pace has failed, not slowed down.
        timeout = session.plan.traffic.timeout
        limits = TimeLimits(2 * post.time + 2 * timeout, idle=timeout)
        session.uploading += 1
        try:
            return await session.send("upload", request, self.connection, check, limits=limits, ref=self.ref)
        finally:
            session.uploading -= 1

    def _wrong(self, sums: bytes) -> str | None:
        """What is wrong with the acknowledgement, or None."""
        if (named := self.post.digest) is not None:
            value = (
                self.headers.get(named.header.lower()) if named.header else as_text(field_of(self.answer, named.field))
            )
            if value is None:
                return "wrong acknowledgement"
            if not matches(value, sums, named.algorithm):
                return f"wrong {named.algorithm}"
        for template in (self.post.read_back, self.post.copies.path if self.post.copies else ""):
            if self._filled(template) is None:
                return "wrong acknowledgement"
        if self.post.copies and self.post.copies.id and self._value(self.post.copies.id) is None:
            return "wrong acknowledgement"
        return None

    def _value(self, name: str) -> str | None:
        return self.ref if name == "ref" else as_text(field_of(self.answer, name)) or None

    def _filled(self, template: str) -> str | None:
        """The path that a template comes to, with the prefix of the URL; None where a value is missing."""
        located = template.startswith("{location}")
        if located:
            parts = urlsplit(self.headers.get("location", ""))
            if not parts.path.startswith("/"):
                return None
            template = template.removeprefix("{location}")
        path = template
        for name in placeholders(template):
            if (value := self._value(name)) is None:
                return None
            path = path.replace(f"{{{name}}}", quote(value, safe="-._~"))
        if located:
            return parts.path + (f"?{parts.query}" if parts.query else "") + path
        return self.session.target.prefix + path

    def sent(self, *, acknowledged: bool) -> SentUpload | None:
        """What counts the copies; None where nothing does, or where a lost upload has no name to ask for."""
        copies = self.post.copies
        if copies is None or (path := self._filled(copies.path)) is None:
            return None
        id = self._value(copies.id) if copies.id and acknowledged else None
        return SentUpload(self.ref, copies, path, acknowledged, id or "")

    async def read_back(self, written: LedgerRow) -> None:
        """Fetch the upload and compare it, from another instance than the writer if one responds."""
        for left in reversed(range(READ_BACK_TRIES)):
            row = await self._fetch(written.instance, other_only=left > 0)
            if row.note != "left to the writer":
                return

    async def _fetch(self, writer: str | None, *, other_only: bool) -> LedgerRow:
        digest, session = hashlib.sha256(), self.session

        def check(response: HttpResponse) -> CheckResult:
            if response.abandoned:
                return CheckResult(note="left to the writer")
            by_writer = writer is not None and session.naming.instance(response) == writer
            if digest.hexdigest() != self.sha256:
                return CheckResult("corrupted", "wrong body", digest.hexdigest())
            return CheckResult(sha256=digest.hexdigest(), note="read by the writer" if by_writer else None)

        def accept(headers: HttpHeaders) -> bool:
            instance = headers.get(session.naming.instance_header)
            return instance is None or instance != writer

        request = HttpRequest(
            "GET",
            self._filled(self.post.read_back) or "/",
            headers=session.headers(),
            sink=digest.update,
            accept=accept if other_only else None,
        )
        timeout = session.plan.traffic.timeout
        limits = TimeLimits(self.post.time + 2 * timeout, idle=timeout)
        return await session.send("readback", request, self.connection, check, limits=limits, ref=self.ref)
