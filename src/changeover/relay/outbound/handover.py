"""One body, handed inward in segments: what to ask next of whoever stores it. Pure: answers in, requests out.

    create (empty, "careful creation")  ->  append, append, ...  ->  the final answer

Bytes are forgotten when they are acknowledged, and not before. Whenever it is not known what became of a request, the
offset is asked for, wherever that request is answered, and appending goes on from there; a final answer that was lost
is asked for by an empty append at the end, to which the same answer is given again. Sections are those of
draft-ietf-httpbis-resumable-upload.

Refuses to trust an offset that it cannot have sent, or that goes back: it belongs to another upload, or bytes that were
acknowledged are lost. Neither can be mended by sending more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from changeover.uploads.protocols import ietf

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
"""Seconds before something is tried again: doubled from the first to the longest."""


@dataclass(frozen=True)
class Create:
    """Begin the upload, with none of its bytes: a request whose answer is lost can then be made again."""

    length: int | None


@dataclass(frozen=True)
class Append:
    """Send bytes from `offset` on; `complete`: all that are here, and they are the last ones."""

    offset: int
    complete: bool


@dataclass(frozen=True)
class AskOffset:
    """HEAD: how far is it?"""


@dataclass(frozen=True)
class Gather:
    """More of the body has to come first."""


@dataclass(frozen=True)
class Pause:
    """Do nothing until then."""

    until: float


@dataclass(frozen=True)
class PassOn:
    """The answer that was just seen is the answer to the client."""


@dataclass(frozen=True)
class GiveUp:
    """The client is told that status; what was committed is in the text."""

    status: int
    why: str


HandoverAction = Create | Append | AskOffset | Gather | Pause | PassOn | GiveUp


class Handover:
    """One body. Times are seconds of any clock that does not go back.

    `length`: of the whole, if the client said so. `patience`: seconds without progress, counted from the first failure,
    after which it is given up.
    """

    def __init__(self, length: int | None, *, patience: float) -> None:
        self.place = ""
        """Where the upload is; empty until it is made."""
        self.acknowledged = 0
        self.sent_again = 0
        """Bytes that had been sent before."""
        self.failures = 0
        """In a row."""
        self._length = length
        self._patience = patience
        self._asked: HandoverAction = Gather()
        self._sent_to = 0
        """What was sent may still arrive when an offset before it was told: any up to here can be true."""
        self._completing = False
        """All was asked to be stored, and to be taken for complete."""
        self._unsure = False
        self._end: PassOn | GiveUp | None = None
        self._failing_since = 0.0
        self._pause = FIRST_PAUSE
        self._pause_until = 0.0
        self._last_failure = GiveUp(504, "no answer")

    def next(self, *, enough: bool, ended: bool, now: float) -> HandoverAction:
        """What to do. `enough`: bytes for a segment are here; `ended`: all are, and one segment can take them."""
        self._asked = self._decide(enough, ended, now)
        return self._asked

    def _decide(self, enough: bool, ended: bool, now: float) -> HandoverAction:
        if self._end is not None:
            return self._end
        if self.failures and now - self._failing_since > self._patience:
            return self._last_failure
        if now < self._pause_until:
            return Pause(self._pause_until)
        if not self.place:
            return Create(self._length)
        if self._unsure:
            return AskOffset()
        if enough or ended or self.failures:  # what was refused is here: patience is not for a slow client
            self._completing = self._completing or ended
            return Append(self.acknowledged, ended)
        return Gather()

    @property
    def is_answered(self) -> bool:
        """Whether the answer that was just seen is the client's."""
        return isinstance(self._end, PassOn)

    def broke(self, failure: GiveUp, sent: int, now: float) -> None:
        """The request that was asked for has no answer. `sent`: bytes of its body that went out all the same."""
        self._count(sent)
        self._fail(failure, now)

    def answered(self, status: int, fields: Mapping[str, str], sent: int, now: float) -> None:
        """The request that was asked for has this answer."""
        said = ietf.read_response(fields)
        self._count(sent)
        match self._asked:
            case Create():
                self._created(status, said, fields.get("location", ""), now)
            case AskOffset():
                self._offset_received(status, said, now)
            case Append() as append:
                self._appended(append, status, said, now)
            case other:
                raise AssertionError(f"an answer, but {other} asks for none")

    def _count(self, sent: int) -> None:
        if isinstance(self._asked, Append):
            end = self._asked.offset + sent
            self.sent_again += min(self._sent_to, end) - self._asked.offset
            self._sent_to = max(self._sent_to, end)

    def _created(self, status: int, said: ietf.ResponseFields, place: str, now: float) -> None:
        """Section "Upload Creation"."""
        if status >= 500:
            self._fail(_unable(status, "the upload could not be begun"), now)
        elif not 200 <= status < 300:
            self._end = PassOn()
        elif said.complete is not False:
            # The application took an empty request for the real one. Were the body sent now, it would act twice.
            self._end = GiveUp(502, "whoever stores uploads does not speak of resuming them")
        elif not _is_reference(place):
            self._end = GiveUp(502, "the upload was begun, but not where it is")
        else:
            self.place = place
            self._goes_well()

    def _offset_received(self, status: int, said: ietf.ResponseFields, now: float) -> None:
        """Section "Offset Retrieval"."""
        if status in _GONE:
            self._end = GiveUp(502, f"the upload is gone: {status}")
        elif said.offset is None:
            self._fail(_unable(status, "the offset was not told"), now)
        elif said.complete and not self._is_whole(said):
            self._end = _FOREIGN
        else:
            self._goes_on_at(said.offset)

    def _appended(self, append: Append, status: int, said: ietf.ResponseFields, now: float) -> None:
        """Section "Upload Append". An answer with `?1` is the application's own, whatever its status."""
        if said.complete:
            if append.complete and self._is_whole(said):
                self._end, self.acknowledged = PassOn(), self._sent_to
            else:
                self._end = _FOREIGN
        elif status in _GONE:
            self._end = GiveUp(502, f"the upload is gone: {status}")
        elif said.offset is not None and (status < 300 or status == 409 or status >= 500):
            if status >= 300 or said.offset == append.offset:  # nothing came of it
                self._fail(_unable(status, "an append was refused"), now)
            self._goes_on_at(said.offset)
        elif 400 <= status < 500 and status not in _LATER:
            self._end = PassOn()
        else:
            self._fail(_unable(status, "an append was refused"), now)

    def _is_whole(self, said: ietf.ResponseFields) -> bool:
        """Whether an upload that is said to be complete can be this one."""
        told = {said.offset, self._length} - {None}
        return self._completing and told <= {self._sent_to}

    def _goes_on_at(self, offset: int) -> None:
        if not self.acknowledged <= offset <= self._sent_to:
            possible = f"only {self.acknowledged} to {self._sent_to} are possible"
            self._end = GiveUp(502, f"the upload is said to go on at byte {offset}; {possible}")
            return
        if offset > self.acknowledged:
            self._goes_well()
        self.acknowledged = offset
        self._unsure = False

    def _goes_well(self) -> None:
        self.failures, self._pause, self._pause_until = 0, FIRST_PAUSE, 0.0

    def _fail(self, failure: GiveUp, now: float) -> None:
        self._last_failure, self._unsure = failure, bool(self.place)
        if not self.failures:
            self._failing_since = now
        else:  # the first time, whoever is next is asked at once
            self._pause_until, self._pause = now + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self.failures += 1


_VISIBLE = re.compile(r"[!-~]+")
_GONE = frozenset({403, 404, 410})
_LATER = frozenset({408, 425, 429})


_FOREIGN = GiveUp(502, "the upload was completed by somebody else")


def _is_reference(place: str) -> bool:
    """Whether it is a URI reference (RFC 9110, section 10.2.2), as far as it can be put into a request."""
    try:
        return urlsplit(place).geturl() != "" and _VISIBLE.fullmatch(place) is not None
    except ValueError:
        return False


def _unable(status: int, what: str) -> GiveUp:
    return GiveUp(status if status in (503, 504) else 502, f"{what}: {status}")
