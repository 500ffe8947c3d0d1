"""A plain upload through the relay that its client sends again with the same `Idempotency-Key`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from tests.process.relayed import Got, Relayed, storing

BODY = os.urandom(300_000)
KEY = '"8e03978e"'


async def sent(relayed: Relayed, body: bytes = BODY, key: str = KEY) -> Got:
    async with relayed.client() as client:
        return await client.post(body, Idempotency_Key=key)


def test_a_complete_upload_gets_its_stored_response(tmp_path: Path) -> None:
    async def go() -> None:
        async with storing(tmp_path) as relayed:
            first, again = await sent(relayed), await sent(relayed)
            assert first.status == 201
            assert (again.status, again.body) == (first.status, hashlib.sha256(BODY).hexdigest().encode())
            assert len(relayed.finished) == 1
            assert (await sent(relayed, BODY + b"!")).status == 422
            assert (await sent(relayed, key='"another"')).status == 201
            assert len(relayed.finished) == 2

    asyncio.run(go())


def test_an_upload_that_broke_off_begins_again(tmp_path: Path) -> None:
    """Its relay has stored a part of it; the next one has the whole body, and no capability of the first."""

    async def go() -> None:
        async with storing(tmp_path, segment_size=100_000) as relayed:
            async with relayed.client() as client:
                await client.begin("POST", "/upload", content_length=len(BODY), Idempotency_Key=KEY)
                await client.send(BODY[:250_000])
                await relayed.until(lambda: relayed.server.counters.committed_bytes)
                got = await sent(relayed)
            assert (got.status, got.body) == (201, hashlib.sha256(BODY).hexdigest().encode())
            assert [content for _, content in relayed.finished] == [BODY]

    asyncio.run(go())
