"""The manifest as the record that a store keeps, and back.

The keys are part of the format: uploads outlive the release that began them. Two keys have older names than the fields
(`answer`, `held_until`). Fields that this release does not know are kept. Refuses a record of another format, and a
damaged one, instead of misreading it.

A record without lists has format 1, which earlier releases read. Format 2 adds the lists of an upload with very many
segments or parts; an earlier release refuses it, instead of taking the listed bytes for missing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from changeover.uploads.core import record_fields
from changeover.uploads.core.completion.responses import sendable
from changeover.uploads.core.manifest import Manifest, Response, StoredList, UploadPart, UploadState
from changeover.uploads.stores.store import Segment

FORMAT, FORMAT_WITH_LISTS = 1, 2
_CAPABILITY = "upload-capability"
"""Among the headers: a release without capabilities refuses an unknown key, but continues this upload."""
_FILE = ":file"
"""Among the headers for the same reason; no client can send a field of this name."""


def encode(manifest: Manifest) -> bytes:
    """The record of a manifest."""
    lists = {"lists": manifest.lists, "part_lists": manifest.part_lists}
    record: dict[str, object] = {
        **manifest.unknown,
        "format": FORMAT_WITH_LISTS if any(lists.values()) else FORMAT,
        "id": manifest.id,
        "dialect": manifest.dialect,
        "created": manifest.created,
        "expires": manifest.expires,
        "owner": manifest.owner,
        "method": manifest.method,
        "target": manifest.target,
        "headers": {**manifest.headers, **_encode_additions(manifest)},
        "metadata": dict(manifest.metadata),
        "length": manifest.length,
        "segments": _encode_segments(manifest.segments),
        "parts": {number: {"segments": _encode_segments(part.segments)} for number, part in manifest.parts.items()},
        "state": manifest.state,
        "epoch": manifest.epoch,
        "holder": manifest.holder,
        "held_until": manifest.lease_until,
        "attempts": manifest.attempts,
        "answer": None if manifest.response is None else _encode_response(manifest.response),
        "concat": manifest.concat,
    }
    if any(lists.values()):
        record["lists"] = [_encode_list(each) for each in manifest.lists]
        record["part_lists"] = {key: _encode_list(each) for key, each in manifest.part_lists.items()}
    return json.dumps(record, separators=(",", ":")).encode()


class DamagedRecord(ValueError):
    """A record that no release can read: empty, torn, or without the fields of an upload."""


class NewerRecord(ValueError):
    """A record of a format that only newer releases read."""


def decode(record: bytes) -> Manifest:
    """The manifest of a record. Raises DamagedRecord, NewerRecord."""
    try:
        found: dict[str, Any] = json.loads(record)
        format = found.pop("format")
        if isinstance(format, int) and format > FORMAT_WITH_LISTS:
            raise NewerRecord(f"the record has format {format}; this release reads formats 1 and 2")
        if format not in (FORMAT, FORMAT_WITH_LISTS):
            raise DamagedRecord(f"the record has format {format!r:.80}")
        record_fields.check(found)
        response = _decode_response(found.pop("answer"))
        state = UploadState(found.pop("state"))
        if state is UploadState.DONE and response is None:
            state = UploadState.COMPLETE  # an older release stored what no server can send: the handler is called again
        file = found["headers"].pop(_FILE, "").split()
        manifest = Manifest(
            segments=_decode_segments(found.pop("segments")),
            parts={int(n): UploadPart(_decode_segments(part["segments"])) for n, part in found.pop("parts").items()},
            lists=tuple(_decode_list(each) for each in found.pop("lists", ())),
            part_lists={int(key): _decode_list(each) for key, each in found.pop("part_lists", {}).items()},
            state=state,
            lease_until=found.pop("held_until"),
            response=response,
            capability=found["headers"].pop(_CAPABILITY, ""),
            file=(int(file[0]), int(file[1])) if file else None,
            **{name: found.pop(name) for name in _PLAIN},
        )
    except NewerRecord:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedRecord(f"not a record of an upload: {error!r:.200}") from error
    return replace(
        manifest, unknown=found
    ).settled()  # a process may have died, or an older release stopped, at the last byte


_PLAIN = (
    *("id", "dialect", "created", "expires", "owner", "method", "target", "headers", "metadata", "length"),
    *("epoch", "holder", "attempts", "concat"),
)
"""Fields whose key is their name and whose JSON value is their value."""


def _encode_additions(manifest: Manifest) -> dict[str, object]:
    capability: dict[str, object] = {_CAPABILITY: manifest.capability} if manifest.capability else {}
    return capability if manifest.file is None else {**capability, _FILE: "{} {}".format(*manifest.file)}


def _encode_segments(segments: Iterable[Segment]) -> list[dict[str, object]]:
    return [{"name": segment.name, "size": segment.size} for segment in segments]


def _decode_segments(found: Iterable[dict[str, Any]]) -> tuple[Segment, ...]:
    return tuple(Segment(each["name"], each["size"]) for each in found)


def _encode_list(stored: StoredList) -> dict[str, object]:
    return {"name": stored.segment.name, "length": stored.segment.size, "size": stored.size}


def _decode_list(found: dict[str, Any]) -> StoredList:
    return StoredList(Segment(found["name"], found["length"]), found["size"])


def _encode_response(response: Response) -> dict[str, object]:
    body = base64.b64encode(response.body).decode()
    return {"status": response.status, "headers": response.headers, "body": body}


def _decode_response(found: Any) -> Response | None:
    """The response of a record; None for none, and for one that cannot be replayed."""
    try:
        headers = [(name, value) for name, value in found["headers"]]
        return sendable(Response(found["status"], tuple(headers), base64.b64decode(found["body"])))
    except (TypeError, ValueError, KeyError):
        return None
