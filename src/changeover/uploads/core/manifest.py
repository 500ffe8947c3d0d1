"""What is known of one upload, and how it may change. The store swaps it as a whole (`record.py`) at every change.

The manifest is the truth: a byte is there if a segment in the manifest contains it, whatever else the store holds. The
process that appends holds an `epoch`. A takeover increments the epoch, so that later writes of a holder that was
assumed dead are refused. Segments are named after the epoch, so that two holders never write to the same one, and so
that the collection knows whose writer can no longer commit.

Pure: no clock, no store. Times are seconds since the epoch of Unix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from changeover.uploads.stores.store import Segment

Dialect = Literal["ietf", "tus", "parts", "content-range", "plain"]
"""The protocol that an upload was created with."""

COMPLETE_AT_LENGTH: frozenset[Dialect] = frozenset({"tus", "content-range", "plain"})
"""Dialects whose clients take an upload for complete when its offset has reached its length. Clients of `ietf` declare
the end by `Upload-Complete: ?1`; those of `parts` by a request of its own."""


class UploadState(StrEnum):
    """Where an upload is in its life. The values are stored."""

    RECEIVING = "receiving"  # bytes are missing, or the client has not declared the end
    COMPLETE = "complete"  # every byte is there; the handler has not returned yet
    DONE = "done"  # the handler's response is stored
    CANCELLED = "cancelled"  # cancelled or expired; its bytes may be deleted


def merge_segments(before: Iterable[Segment], more: Iterable[Segment]) -> tuple[Segment, ...]:
    """Both in order. A segment that has grown replaces its earlier state."""
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
    """One part of an upload in parts. A second upload of the same part replaces it as a whole."""

    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)


@dataclass(frozen=True)
class StoredList:
    """A list of segments or of parts that is too long for the record. It is a segment itself, and never changes."""

    segment: Segment
    """Where the list is."""
    size: int
    """Bytes of the upload that the list names."""


@dataclass(frozen=True)
class Response:
    """The handler's response. It is stored with the upload and replayed to every later request for it.

    Fields of the connection and of the dialects are not the handler's: `Connection`, `Upload-Offset` and the like.
    """

    status: int
    """HTTP status."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names and values, at most 8 KiB in all. A `Location` replaces the one that the library would send."""
    body: bytes = b""
    """At most 1 MiB. It is stored in the upload's record: keep it small (some KiB)."""


@dataclass(frozen=True)
class Manifest:
    """One upload."""

    id: str
    dialect: Dialect
    created: float
    expires: float | None
    """From then on no client finds it, and it may be collected. None: never."""
    owner: str = ""
    """As the authorisation hook returned it. Requests of other owners do not find the upload."""
    method: str = "POST"
    target: str = ""
    """Method and path of the request that created it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Fields of that request that describe the content."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The client's file name, type and the like. Untrusted text."""
    length: int | None = None
    """Bytes that it will have; None while unknown."""
    segments: tuple[Segment, ...] = ()
    """The last segments; those before them are in `lists`."""
    parts: Mapping[int, UploadPart] = field(default_factory=dict)
    """By number; further parts are in `part_lists`. No part is in both."""
    lists: tuple[StoredList, ...] = ()
    """Lists of the first segments, in order (`segment_lists.py`)."""
    part_lists: Mapping[int, StoredList] = field(default_factory=dict)
    """Lists of parts, by the range of their numbers (`part_lists.py`)."""
    state: UploadState = UploadState.RECEIVING
    epoch: int = 0
    holder: str = ""
    """The process that appends, or that calls the handler; empty if none does."""
    lease_until: float = 0.0
    """0 unless `holder` calls the handler. The time is by the clock of `holder`, so that other processes only look
    whether it changes; older releases compare it with their own clock."""
    attempts: int = 0
    """Calls to the handler so far."""
    response: Response | None = None
    file: tuple[int, int] | None = None
    """First byte and size of the file within a form; None: the content is the whole body, or the form is unread."""
    concat: str = ""
    """`Upload-Concat` of tus as the client sent it: `partial`, or `final` and its sources."""
    capability: str = ""
    """The hash of its capability (`capability.py`); empty if none was granted."""

    unknown: Mapping[str, object] = field(default_factory=dict)
    """Fields of the record that only newer releases know: they are stored again as they were."""

    @property
    def offset(self) -> int:
        """Bytes that are durable. Never decreases."""
        return sum(each.size for each in self.lists) + sum(segment.size for segment in self.segments)

    @property
    def parts_size(self) -> int:
        """Bytes of all parts."""
        return sum(each.size for each in self.part_lists.values()) + sum(part.size for part in self.parts.values())

    @property
    def content_start(self) -> int:
        """The first byte of the content in the body."""
        return 0 if self.file is None else self.file[0]

    @property
    def content_size(self) -> int:
        """Bytes of the content: of the file, if the body is a form."""
        return self.offset if self.file is None else self.file[1]

    @property
    def is_concatenation(self) -> bool:
        """Whether it consists of other uploads, and takes no bytes of its own."""
        return self.concat.startswith("final")

    @property
    def needs_handler(self) -> bool:
        """Whether the handler is called for it. A partial upload is only a source for a concatenation."""
        return self.concat != "partial"

    # -- changes ---------------------------------------------------------------------------------------------------

    def settled(self) -> Manifest:
        """Complete if its dialect counts it complete: the offset has reached the length, however the request ended.

        Held by no process then, so that any process may call the handler. An upload that no request has taken yet
        (epoch 0) stays: the request that creates an empty upload checks its digests first.
        """
        reached = self.length is not None and self.offset == self.length and self.epoch > 0
        if self.state is UploadState.RECEIVING and self.dialect in COMPLETE_AT_LENGTH and reached:
            return self.completed().released()
        return self

    def taken_by(self, holder: str) -> Manifest:
        """Held by another process, or by none: later writes of the previous holder are refused."""
        return replace(self, epoch=self.epoch + 1, holder=holder)

    def released(self) -> Manifest:
        """Held by no process."""
        return replace(self, holder="", lease_until=0.0)

    def appended(self, segments: Iterable[Segment]) -> Manifest:
        """With more bytes; complete if they are the last ones."""
        return replace(self, segments=merge_segments(self.segments, segments)).settled()

    def with_part(self, number: int, part: UploadPart) -> Manifest:
        """With that part, instead of an earlier one of the same number."""
        return replace(self, parts={**self.parts, number: part})

    def assembled(self, parts: Iterable[UploadPart]) -> Manifest:
        """Made of these parts in this order. Other parts are dropped."""
        segments = tuple(segment for part in parts for segment in part.segments)
        return replace(self, segments=segments, parts={}, part_lists={})

    def completed(self) -> Manifest:
        """With every byte."""
        return replace(self, state=UploadState.COMPLETE, length=self.offset)

    def leased(self, holder: str, until: float) -> Manifest:
        """Held by the process that calls the handler, until then."""
        return replace(self.taken_by(holder), lease_until=until, attempts=self.attempts + 1)

    def responded(self, response: Response, expires: float | None) -> Manifest:
        """With the handler's response."""
        return replace(self.released(), state=UploadState.DONE, response=response, expires=expires)

    def cancelled(self) -> Manifest:
        """Closed to every request."""
        return replace(self, state=UploadState.CANCELLED, epoch=self.epoch + 1, holder="")
