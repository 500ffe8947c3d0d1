"""One body, sent to the upstream in segments: which request comes next. Pure: responses in, requests out.

    create (empty, "careful creation")  ->  append, append, ...  ->  the final response

Bytes are dropped once they are acknowledged, not before. After a request without a response, the relay asks any
instance for the offset, and appends from there. A final response that was lost is asked for by an empty append at the
end, which the upstream answers with the same response. Sections are those of draft-ietf-httpbis-resumable-upload.

Refuses an offset beyond what was sent, or below what was acknowledged: it belongs to another upload, or acknowledged
bytes are lost. Sending more repairs neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from changeover.uploads.protocols import ietf

FIRST_PAUSE = 0.05
"""Seconds before a retry; the pause is doubled up to the longest."""
LONGEST_PAUSE = 2.0
"""Seconds: a tier that comes back is used within this time."""


@dataclass(frozen=True)
class Create:
    """Begin the upload, with none of its bytes: if the response is lost, the request can be repeated."""

    length: int | None


@dataclass(frozen=True)
class Append:
    """Send bytes from `offset` on; `complete`: all that are here, and they are the last ones."""

    offset: int
    complete: bool


@dataclass(frozen=True)
class AskOffset:
    """Ask for the offset (HEAD)."""


@dataclass(frozen=True)
class Gather:
    """Wait for more of the body."""


@dataclass(frozen=True)
class Pause:
    """Wait until then."""

    until: float


@dataclass(frozen=True)
class PassOn:
    """Send the last response to the client."""


@dataclass(frozen=True)
class GiveUp:
    """Answer the client with this status."""

    status: int
    why: str


PLAIN_PATH = re.compile(r"(?:/[0-9A-Za-z_~-][0-9A-Za-z._~-]*)+")
"""A path without dot segments, as most locations are: parsing it and joining it would not change it, and costs more
than all else that a response needs (measured)."""

HandoverAction = Create | Append | AskOffset | Gather | Pause | PassOn | GiveUp


class Handover:
    """One body. Times are seconds of any clock that does not go back.

    `length`: of the whole body, if the client announced it. `patience`: seconds without progress, counted from the
    first failure, after which the upload is given up. `has_key`: the client's request has an Idempotency-Key, so the
    creation may be answered with the response to an earlier request.
    """

    def __init__(self, length: int | None, *, patience: float, has_key: bool = False) -> None:
        self.location = ""
        """The URI of the upload; empty until it is created."""
        self.capability = ""
        """The URI by which the upload continues without the client's credentials; empty if there is none."""
        self.acknowledged = 0
        self.sent_again = 0
        """Bytes that had been sent before."""
        self.failures = 0
        """Failed requests in a row."""
        self.needs_connection = False
        """The last request failed, so the next one needs a new connection, which may lead to another instance. After an
        offset it does not: the connection has just carried a response."""
        self._length = length
        self._patience = patience
        self._has_key = has_key
        self._asked: HandoverAction = Gather()
        self._sent_to = 0
        """The end of what was sent: bytes may arrive after a lower offset was reported, so any up to here is valid."""
        self._completing = False
        """The last bytes were sent with Upload-Complete: ?1."""
        self._unsure = False
        self._refused_capability: int | None = None
        """The status of the response that refused the capability."""
        self._end: PassOn | GiveUp | None = None
        self._failing_since = 0.0
        self._pause = FIRST_PAUSE
        self._pause_until = 0.0
        self._last_failure = GiveUp(504, "the upstream did not respond")

    def next(self, *, enough: bool, ended: bool, now: float) -> HandoverAction:
        """What to do next. `enough`: a segment is here; `ended`: all bytes are, and they fit one segment."""
        self._asked = self._decide(enough, ended, now)
        return self._asked

    def _decide(self, enough: bool, ended: bool, now: float) -> HandoverAction:
        if self._end is not None:
            return self._end
        if self.failures and now - self._failing_since > self._patience:
            return self._last_failure
        if now < self._pause_until:
            return Pause(self._pause_until)
        if not self.location:
            return Create(self._length)
        if self._unsure:
            return AskOffset()
        if enough or ended or self.failures:  # the bytes that failed are here: patience does not wait for a slow client
            self._completing = self._completing or ended
            return Append(self.acknowledged, ended)
        return Gather()

    @property
    def is_responded(self) -> bool:
        """Whether the last response is the one for the client."""
        return isinstance(self._end, PassOn)

    def failed(self, failure: GiveUp, sent: int, now: float) -> None:
        """The request has no response. `sent`: bytes of its body that were sent."""
        self._count(sent)
        self._fail(failure, now)

    def responded(self, status: int, fields: Mapping[str, str], sent: int, now: float) -> None:
        """The request has this response."""
        upload = ietf.read_response(fields)
        self._count(sent)
        self.needs_connection = False
        match self._asked:
            case Create():
                self._creation_responded(status, upload, fields, now)
            case AskOffset() | Append() if self.capability and status in _CAPABILITY_REFUSED and not upload.complete:
                self._continue_without_capability(status)
            case AskOffset():
                self._offset_received(status, upload, now)
            case Append() as append:
                self._append_responded(append, status, upload, now)
            case other:
                raise AssertionError(f"a response, but {other} is no request")

    def _count(self, sent: int) -> None:
        if isinstance(self._asked, Append):
            end = self._asked.offset + sent
            self.sent_again += min(self._sent_to, end) - self._asked.offset
            self._sent_to = max(self._sent_to, end)

    def _creation_responded(
        self, status: int, upload: ietf.ResponseFields, fields: Mapping[str, str], now: float
    ) -> None:
        """Section "Upload Creation"."""
        location, capability = fields.get("location", ""), fields.get("upload-capability", "")
        if upload.complete and upload.offset and self._length in (None, upload.offset):
            self._end = PassOn()  # its Idempotency-Key names an upload that is complete: this is the stored response
        elif status >= 500:
            self._fail(_failure(status, "the upload could not be created"), now)
        elif not 200 <= status < 300 or (upload.complete and self._has_key):
            self._end = PassOn()
        elif upload.complete is not False:
            # The application took the empty request for the whole one. It would act twice if the body followed.
            self._end = GiveUp(502, "the upstream does not support resumable uploads on this route")
        elif not _is_reference(location):
            self._end = GiveUp(502, "the response to the creation of the upload has no usable Location")
        else:
            self.location, self.capability = location, capability if _is_reference(capability) else ""
            self._progressed()

    def _continue_without_capability(self, status: int) -> None:
        """Continue at the location, with the client's credentials.

        A middleware that does not know of capabilities refuses it, and so does an instance of an older release. Whether
        the upload is gone, its location states.
        """
        self.capability, self._unsure = "", True
        self._refused_capability = status

    def _offset_received(self, status: int, upload: ietf.ResponseFields, now: float) -> None:
        """Section "Offset Retrieval"."""
        refused = self._refused_capability if status in _UNAUTHORISED else None
        if status in _GONE or refused in _GONE:
            self._end = GiveUp(502, f"the upload is gone: the upstream answered {refused or status}")
        elif refused is not None:
            self._end = GiveUp(
                502, f"the upstream accepts neither the upload's capability nor the credentials: {status}"
            )
        elif upload.offset is None:
            self._fail(_failure(status, "the upstream did not report the offset"), now)
        elif upload.complete and not self._is_whole(upload):
            self._end = _OTHER_UPLOAD
        else:
            self._continue_at(upload.offset)

    def _append_responded(self, append: Append, status: int, upload: ietf.ResponseFields, now: float) -> None:
        """Section "Upload Append". A response with `?1` is the application's, whatever its status."""
        if upload.complete:
            if append.complete and self._is_whole(upload):
                self._end, self.acknowledged = PassOn(), self._sent_to
            else:
                self._end = _OTHER_UPLOAD
        elif status in _GONE:
            self._end = GiveUp(502, f"the upload is gone: the upstream answered {status}")
        elif upload.offset is not None and (status < 300 or status == 409 or status >= 500):
            if status >= 300 or upload.offset == append.offset:  # it stored nothing
                self._fail(_failure(status, "the upstream refused an append"), now)
            self._continue_at(upload.offset)
        elif 400 <= status < 500 and status not in _LATER:
            self._end = PassOn()
        else:
            self._fail(_failure(status, "the upstream refused an append"), now)

    def _is_whole(self, upload: ietf.ResponseFields) -> bool:
        """Whether an upload that the upstream calls complete can be this one."""
        known = {upload.offset, self._length} - {None}
        return self._completing and known <= {self._sent_to}

    def _continue_at(self, offset: int) -> None:
        if not self.acknowledged <= offset <= self._sent_to:
            possible = f"only {self.acknowledged} to {self._sent_to} are possible"
            self._end = GiveUp(502, f"the upstream reports the offset {offset} of the upload; {possible}")
            return
        if offset > self.acknowledged:
            self._progressed()
        self.acknowledged = offset
        self._unsure = False

    def _progressed(self) -> None:
        self.failures, self._pause, self._pause_until = 0, FIRST_PAUSE, 0.0

    def _fail(self, failure: GiveUp, now: float) -> None:
        self._last_failure, self._unsure, self.needs_connection = failure, bool(self.location), True
        if not self.failures:
            self._failing_since = now
        else:  # the first retry, which the next instance gets, is immediate
            self._pause_until, self._pause = now + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self.failures += 1


_VISIBLE = re.compile(r"[!-~]+")
_GONE = frozenset({404, 410})
_UNAUTHORISED = frozenset({401, 403, 407})
_CAPABILITY_REFUSED = _GONE | _UNAUTHORISED
_LATER = frozenset({408, 425, 429})


_OTHER_UPLOAD = GiveUp(502, "another client has completed the upload")


def _is_reference(location: str) -> bool:
    """Whether it is a URI reference (RFC 9110, section 10.2.2), as far as it can be put into a request."""
    if PLAIN_PATH.fullmatch(location) is not None:
        return True
    try:
        return urlsplit(location).geturl() != "" and _VISIBLE.fullmatch(location) is not None
    except ValueError:
        return False


def _failure(status: int, what: str) -> GiveUp:
    return GiveUp(status if status in (503, 504) else 502, f"{what}: {status}")
