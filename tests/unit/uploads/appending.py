"""Requests that append, and an application and a clock that the test controls."""

from __future__ import annotations

import asyncio

from tests.unit.uploads.serving import Got, Instance, Sending, settled

from changeover.uploads import CompletedUpload, Response
from changeover.uploads.core.timing import UploadTiming

PARTIAL = "application/partial-upload"

TIMING = UploadTiming()


async def begun(instance: Instance, body: bytes = b"", **headers: str) -> str:
    return (await instance.got("POST", "/", body, upload_complete="?0", **headers)).id


async def append(instance: Instance, id: str, offset: int, body: bytes | Sending, *, complete: bool = True) -> Got:
    headers = {"upload_offset": str(offset), "upload_complete": f"?{complete:d}", "content_type": PARTIAL}
    return await instance.got("PATCH", f"/{id}", body, **headers)


async def offset_of(instance: Instance, id: str) -> int:
    return int((await instance.got("HEAD", f"/{id}")).headers["upload-offset"])


async def under_way(instance: Instance, id: str, offset: int, body: bytes) -> tuple[asyncio.Task[Got], Sending]:
    """An append that has sent this much and goes on."""
    sending = Sending()
    task = asyncio.create_task(append(instance, id, offset, sending))
    sending.send(body)
    await settled(sending.pieces.empty)
    return task, sending


class Held:
    """A handler that returns when the test lets it."""

    def __init__(self, answer: bytes = b"thanks") -> None:
        self.go_on = asyncio.Event()
        self.answer = answer

    async def __call__(self, _: CompletedUpload) -> Response:
        await self.go_on.wait()
        return Response(200, (), self.answer)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def settled_offset(instance: Instance, id: str, offset: int) -> None:
    async with asyncio.timeout(10):
        while (await instance.engine.find(id, "")).offset < offset:
            await asyncio.sleep(0.01)
