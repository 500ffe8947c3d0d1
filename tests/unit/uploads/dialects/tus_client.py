"""A client of tus 1.0.0."""

from __future__ import annotations

from tests.unit.uploads.serving import Got, Instance, Sending

BYTES = "application/offset+octet-stream"
TUS = {"tus_resumable": "1.0.0"}


class Client:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    async def ask(self, method: str, path: str, body: bytes | Sending = b"", **headers: str) -> Got:
        got = await self.instance.got(method, path, body, **TUS, **headers)
        assert got.headers["tus-resumable"] == "1.0.0"  # section "Headers": in every response
        return got

    async def create(self, length: int | None, body: bytes = b"", **headers: str) -> Got:
        size = {"upload_length": str(length)} if length is not None else {"upload_defer_length": "1"}
        kind = {"content_type": BYTES} if body else {}
        return await self.ask("POST", "/", body, **size, **kind, **headers)

    async def patch(self, id: str, offset: int, body: bytes | Sending = b"", **headers: str) -> Got:
        return await self.ask("PATCH", f"/{id}", body, **{"content_type": BYTES, **headers}, upload_offset=str(offset))

    async def head(self, id: str) -> Got:
        return await self.ask("HEAD", f"/{id}")
