"""How clients speak: the same few requests in each dialect, and what an answer to them says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from tests.unit.uploads.serving import Got


@dataclass(frozen=True)
class Ask:
    """One request but for its body."""

    method: str
    path: str
    headers: dict[str, str]


class Ietf:
    def create(self, length: int) -> Ask:
        return Ask("POST", "/", {"upload_complete": "?0"})

    def append(self, id: str, first: int, last: int, length: int) -> Ask:
        headers = {"upload_offset": str(first), "upload_complete": f"?{last == length:d}"}
        return Ask("PATCH", f"/{id}", {**headers, "content_type": "application/partial-upload"})

    def ask(self, id: str, length: int) -> Ask:
        return Ask("HEAD", f"/{id}", {})

    def offset(self, got: Got) -> int | None:
        return int(got.headers["upload-offset"]) if "upload-offset" in got.headers else None

    def answered(self, got: Got, length: int) -> bool:
        return got.status == 200 and got.headers["upload-complete"] == "?1"


class Tus(Ietf):
    _VERSION: ClassVar = {"tus_resumable": "1.0.0"}

    def create(self, length: int) -> Ask:
        return Ask("POST", "/", {**self._VERSION, "upload_length": str(length)})

    def append(self, id: str, first: int, last: int, length: int) -> Ask:
        kind = {"content_type": "application/offset+octet-stream"}
        return Ask("PATCH", f"/{id}", {**self._VERSION, **kind, "upload_offset": str(first)})

    def ask(self, id: str, length: int) -> Ask:
        return Ask("HEAD", f"/{id}", self._VERSION)

    def answered(self, got: Got, length: int) -> bool:
        return got.status == 204 and got.headers.get("upload-offset") == str(length)


class ContentRange:
    def create(self, length: int) -> Ask:
        return Ask("POST", "/?uploadType=resumable", {})

    def append(self, id: str, first: int, last: int, length: int) -> Ask:
        value = f"bytes {first}-{last - 1}/{length}" if last > first else f"bytes */{length}"
        return Ask("PUT", f"/{id}", {"content_range": value})

    def ask(self, id: str, length: int) -> Ask:
        return Ask("PUT", f"/{id}", {"content_range": "bytes */*"})

    def offset(self, got: Got) -> int | None:
        return int(got.headers["range"].rpartition("-")[2]) + 1 if "range" in got.headers else None

    def answered(self, got: Got, length: int) -> bool:
        return got.status == 200


class Parts:
    """In order, each under the number of its first byte."""

    def create(self, length: int) -> Ask:
        return Ask("POST", "/?parts", {})

    def append(self, id: str, first: int, last: int, length: int) -> Ask:
        return Ask("PUT", f"/{id}/parts/{first + 1}", {})

    def ask(self, id: str, length: int) -> Ask:
        return Ask("GET", f"/{id}/parts", {})

    def offset(self, got: Got) -> int | None:
        value = json.loads(got.body)
        return sum(part["size"] for part in value["parts"]) if "parts" in value else None

    def answered(self, got: Got, length: int) -> bool:
        return got.status == 200
