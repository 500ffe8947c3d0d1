"""A client of draft-ietf-httpbis-resumable-upload in one interop version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.uploads.serving import Got, Instance, Sending

VERSIONS = (3, 5, 6, 8, 9)
every_version = pytest.mark.parametrize("version", VERSIONS)
PARTIAL = "application/partial-upload"


class Client:
    """Speaks one interop version, as its draft says."""

    def __init__(self, instance: Instance, version: int = 9) -> None:
        self.instance = instance
        self.version = version

    def fields(self, complete: bool | None) -> dict[str, str]:
        document = {"upload_draft_interop_version": str(self.version)}
        if complete is not None and self.version == 3:
            document["upload_incomplete"] = "?0" if complete else "?1"
        elif complete is not None:
            document["upload_complete"] = "?1" if complete else "?0"
        return document

    async def create(self, body: bytes | Sending = b"", *, complete: bool = False, **more: str) -> Got:
        return await self.instance.got("POST", "/", body, **self.fields(complete), **more)

    async def append(self, id: str, offset: int, body: bytes | Sending, *, complete: bool = False, **more: str) -> Got:
        kind = {"content_type": PARTIAL} if self.version > 5 else {}
        at = {"upload_offset": str(offset)}
        return await self.instance.got("PATCH", f"/{id}", body, **{**kind, **at, **self.fields(complete), **more})

    async def head(self, id: str, **more: str) -> Got:
        return await self.instance.got("HEAD", f"/{id}", **self.fields(None), **more)

    def is_complete(self, got: Got) -> bool:
        if self.version == 3:
            return got.headers["upload-incomplete"] == "?0"
        return got.headers["upload-complete"] == "?1"


def document(got: Got) -> Mapping[str, Any]:
    """A problem document."""
    assert got.headers["content-type"] == "application/problem+json"
    found: Mapping[str, Any] = json.loads(got.body)
    assert found["status"] == got.status
    return found
