"""What is known of one upload, and how it may change. Written whole to the store at every change, by compare-and-swap.

The manifest is the truth: a byte is there when a segment in it says so, whatever files or objects lie about. Whoever
appends holds an `epoch`; taking over counts it up, so that what a holder that was thought dead writes later is refused.
Every holder writes to segments named after its epoch: what two of them write never meets in one file.

Pure: no clock, no store. Times are seconds since the epoch of Unix.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal

FORMAT = 1
"""Of the record; one that a later release wrote in another way is refused instead of misread."""

Dialect = Literal["ietf", "tus", "parts", "content-range", "plain"]


class UploadState(StrEnum):
    """Where an upload is in its life."""

    RECEIVING = "receiving"  # bytes are missing, or nobody has said yet that none are
    COMPLETE = "complete"  # all bytes are there; the application has not answered yet
    DONE = "done"  # the application has answered, and the answer is kept
    CANCELLED = "cancelled"  # never to go on; its bytes may be gone


@dataclass(frozen=True)
class Segment:
    """A run of bytes in the store: its name, and how many."""

    name: str
    size: int


def merge_segments(before: Iterable[Segment], more: Iterable[Segment]) -> tuple[Segment, ...]:
    """The one after the other. A segment that grew takes the place of what it was."""
    found = list(before)
    for segment in more:
        if found and found[-1].name == segment.name:
            if segment.size < found[-1].size:
                raise ValueError(f"segment {segment.name} shrank from {found[-1].size} to {segment.size} bytes")
            found[-1] = segment
        else:
            found.append(segment)
    return tuple(found)


@dataclass(frozen=True)
class UploadPart:
    """One part of a chunked upload: a whole of its own, replaced as a whole when it is sent again."""

    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)


@dataclass(frozen=True)
class Response:
    """The application's answer, kept so that it can be given again."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Manifest:
    """One upload."""

    id: str
    dialect: Dialect
    created: float
    expires: float | None
    """From then on it is gone for everybody, and may be collected; None: never."""
    owner: str = ""
    """Who made it, as the authorisation hook says; nobody else finds it."""
    method: str = "POST"
    target: str = ""
    """The request that made it: its method and its path."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Fields of that request that describe the content."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the client said of the upload: file name, type and the like. Untrusted text."""
    length: int | None = None
    """Bytes it will have in the end; None while nobody has said."""
    segments: tuple[Segment, ...] = ()
    parts: Mapping[int, UploadPart] = field(default_factory=dict)
    state: UploadState = UploadState.RECEIVING
    epoch: int = 0
    holder: str = ""
    """Which process appends, or has the application answer; empty while nobody does."""
    held_until: float = 0.0
    """Until when the application's answer is waited for before somebody else asks it again."""
    attempts: int = 0
    """How often the application was asked."""
    answer: Response | None = None
    concat: str = ""
    """Its part in a tus concatenation, in the words of the client: `partial`, or `final` and what it is made of."""

    @property
    def offset(self) -> int:
        """Bytes that are there for good. Never goes back."""
        return sum(segment.size for segment in self.segments)

    @property
    def joined(self) -> bool:
        """Whether it is made of other uploads, and takes no bytes of its own."""
        return self.concat.startswith("final")

    @property
    def is_for_application(self) -> bool:
        """Whether the application is to be asked about it, and not about what it becomes a piece of."""
        return self.concat != "partial"

    # -- changes ---------------------------------------------------------------------------------------------------

    def taken(self, holder: str) -> Manifest:
        """In new hands: whoever had it before is refused from now on."""
        return replace(self, epoch=self.epoch + 1, holder=holder)

    def released(self) -> Manifest:
        """In nobody's hands."""
        return replace(self, holder="", held_until=0.0)

    def appended(self, segments: Iterable[Segment]) -> Manifest:
        """With more bytes."""
        return replace(self, segments=merge_segments(self.segments, segments))

    def with_part(self, number: int, part: UploadPart) -> Manifest:
        return replace(self, parts={**self.parts, number: part})

    def assembled(self, numbers: Iterable[int]) -> Manifest:
        """Its parts in that order are the upload; the others are forgotten."""
        segments = tuple(segment for number in numbers for segment in self.parts[number].segments)
        return replace(self, segments=segments, parts={})

    def completed(self) -> Manifest:
        """All bytes are there."""
        return replace(self, state=UploadState.COMPLETE, length=self.offset)

    def asked(self, holder: str, until: float) -> Manifest:
        """The application is being asked for its answer, by that process, until then."""
        return replace(self.taken(holder), held_until=until, attempts=self.attempts + 1)

    def answered(self, answer: Response, expires: float | None) -> Manifest:
        return replace(self.released(), state=UploadState.DONE, answer=answer, expires=expires)

    def cancelled(self) -> Manifest:
        return replace(self, state=UploadState.CANCELLED, epoch=self.epoch + 1, holder="")

    # -- as it is kept ---------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The record."""
        # Not by `asdict`, which copies what it finds: for a thousand segments that takes twenty milliseconds.
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        told["segments"] = _spelt(self.segments)
        told["parts"] = {number: {"segments": _spelt(part.segments)} for number, part in self.parts.items()}
        if (answer := self.answer) is not None:
            body = base64.b64encode(answer.body).decode()
            told["answer"] = {"status": answer.status, "headers": answer.headers, "body": body}
        return json.dumps({"format": FORMAT, **told}, separators=(",", ":")).encode()

    @classmethod
    def load(cls, record: bytes) -> Manifest:
        """The manifest of a record. Raises ValueError on what this release cannot read."""
        try:
            told: dict[str, Any] = json.loads(record)
            if (found := told.pop("format")) != FORMAT:
                raise ValueError(f"a record of format {found}; this release reads {FORMAT}")
            told["segments"] = tuple(Segment(**each) for each in told["segments"])
            told["parts"] = {
                int(n): UploadPart(tuple(Segment(**s) for s in p["segments"])) for n, p in told["parts"].items()
            }
            told["state"] = UploadState(told["state"])
            if (answer := told["answer"]) is not None:
                headers = tuple((name, value) for name, value in answer["headers"])
                told["answer"] = Response(answer["status"], headers, base64.b64decode(answer["body"]))
            return cls(**told)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a record of an upload: {error!r}") from error


def _spelt(segments: Iterable[Segment]) -> list[dict[str, object]]:
    return [{"name": segment.name, "size": segment.size} for segment in segments]
