"""The traffic for the example application: its pages, and uploads that it acknowledges, returns and counts."""

from __future__ import annotations

import hashlib

from changeover.kit.pattern import pattern
from changeover.model.probe import AnswerDigest, Copies, Get, Post, ProbeSettings

_BLOB = 16_384
"""Bytes of the page whose content the probe knows: more than a network packet, and still cheap to serve."""

EXAMPLE = ProbeSettings(
    rate=300.0,
    get=(
        Get(path="/hello", fields={"instance": "{instance}", "version": "{version}"}),
        Get(path=f"/blob/{_BLOB}", sha256=hashlib.sha256(pattern(0, _BLOB)).hexdigest()),
    ),
    post=(
        Post(
            path="/upload",
            concurrent=4,
            chunked="alternate",
            headers={"X-Upload-Ref": "{ref}"},
            digest=AnswerDigest(field="sha256"),
            read_back="/upload/{id}/content",
            copies=Copies(path="/uploads?ref={ref}", field="ids", id="id"),
        ),
    ),
)
