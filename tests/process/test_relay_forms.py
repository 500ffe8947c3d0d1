"""Forms of browsers through the relay: the application gets the file, although the relay sends the body in segments."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

import pytest
from tests.process.relayed import relaying, storing
from tests.unit.uploads.protocols.test_form import TYPE, body, part

from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.core.engine import Engine
from changeover.uploads.dialects.public_url import PublicUrl
from changeover.uploads.server.receive import Receiver

FILE = os.urandom(5_000_000)
FORM = body(part("album", b"summer"), part("file", FILE, "köln.png", "Content-Type: image/png"), part("note", b"hi"))


@pytest.mark.parametrize("chunk", [0, 100_003], ids=["length", "chunks"])
def test_the_application_gets_the_file_of_a_form(tmp_path: Path, chunk: int) -> None:
    async def go() -> None:
        completed: list[CompletedUpload] = []

        async def on_complete(upload: CompletedUpload) -> Response:
            completed.append(upload)
            return Response(201, (), (await upload.digest()).encode())

        engine = Engine(FileStore(tmp_path, durable=False), on_complete)
        async with contextlib.AsyncExitStack() as stack:
            receiver = await stack.enter_async_context(Receiver(engine, "127.0.0.1", 0, root="/upload"))
            relayed = await stack.enter_async_context(relaying(receiver.address, segment_size=1_000_000))
            client = await stack.enter_async_context(relayed.client())
            got = await client.post(FORM, chunk=chunk, content_type=TYPE)
        assert (got.status, got.body.decode()) == (201, hashlib.sha256(FILE).hexdigest())
        (upload,) = completed
        assert (upload.size, upload.filename, upload.content_type) == (len(FILE), "köln.png", "image/png")
        assert upload.metadata["album"] == "summer"

    asyncio.run(go())


def test_a_malformed_form_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def go() -> None:
        async with storing(tmp_path) as relayed, relayed.client() as client:
            got = await client.post(FORM[:-10], content_type=TYPE)
            assert (got.status, got.problem["detail"]) == (400, "the form ends before its last boundary")
            assert relayed.finished == []

    asyncio.run(go())


def test_an_absolute_location_does_not_lead_the_relay_out_of_the_chain(tmp_path: Path) -> None:
    async def go() -> None:
        async def on_complete(upload: CompletedUpload) -> Response:
            return Response(201, (), (await upload.digest()).encode())

        engine = Engine(FileStore(tmp_path, durable=False), on_complete)
        url = PublicUrl("https://example.com/api")
        async with contextlib.AsyncExitStack() as stack:
            receiver = Receiver(engine, "127.0.0.1", 0, root="/upload", public_url=url)
            await stack.enter_async_context(receiver)
            relayed = await stack.enter_async_context(relaying(receiver.address))
            client = await stack.enter_async_context(relayed.client())
            got = await client.post(FILE)
        assert (got.status, got.body.decode()) == (201, hashlib.sha256(FILE).hexdigest())

    asyncio.run(go())
