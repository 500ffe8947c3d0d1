"""Whether a response to a GET holds what its author expects, judged while the body arrives.

Keeps at most a megabyte of a body, however long it is. Refuses statuses: the exchange has judged them.
"""

from __future__ import annotations

import hashlib

from changeover.model.probe import Get
from changeover.probe.bodies import as_text, field_of, json_object
from changeover.probe.http.exchange import HttpResponse
from changeover.probe.session import CheckResult, Naming

KEPT = 1_000_000
"""Bytes of a body in which JSON fields and the version are looked for."""


class BodyCheck:
    """One response: `feed` takes the pieces of its body, `judge` the complete response."""

    def __init__(self, get: Get, naming: Naming) -> None:
        self._get = get
        self._naming = naming
        self._text = get.text.encode()
        self._found = not self._text
        self._end = b""
        self._digest = hashlib.sha256() if get.sha256 else None
        self._kept = bytearray()

    def feed(self, piece: bytes | bytearray) -> None:
        if self._digest:
            self._digest.update(piece)
        if not self._found:
            window = self._end + piece
            self._found = self._text in window
            self._end = window[-len(self._text) :]
        if (self._get.fields or self._naming.pattern) and len(self._kept) < KEPT:
            self._kept += piece[: KEPT - len(self._kept)]

    def judge(self, response: HttpResponse) -> CheckResult:
        version = self._naming.version_in(self._kept)
        wrong = self._wrong(response)
        return CheckResult("corrupted", wrong, version=version) if wrong else CheckResult(version=version)

    def _wrong(self, response: HttpResponse) -> str | None:
        if self._digest and self._digest.hexdigest() != self._get.sha256:
            return "wrong body"
        if not self._found:
            return "expected text missing"
        if self._get.fields:
            document = json_object(self._kept)
            placeholders = {"{instance}": self._naming.instance(response), "{version}": self._naming.version(response)}
            for name, value in self._get.fields.items():
                found = field_of(document, name)
                wanted = placeholders.get(value, value)
                if found is None or (wanted is not None and as_text(found) != wanted):
                    return "wrong body"
        return None
