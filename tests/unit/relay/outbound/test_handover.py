"""Handing one body inward: stories that can be checked by eye, stores that fail as they like, and stores that lie.

Some lies cannot be told from the truth: that more of what was sent is stored than is, and that all of it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from changeover.relay.outbound.handover import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Append,
    AskOffset,
    Create,
    Gather,
    GiveUp,
    Handover,
    HandoverAction,
    PassOn,
    Pause,
)
from changeover.uploads.protocols import ietf

PATIENCE = 30.0
RESET = GiveUp(502, "reset")
SILENCE = GiveUp(504, "silence")


class Story:
    """One body and its clock: what is asked for, and what comes of it."""

    def __init__(self, length: int | None = 300) -> None:
        self.handover = Handover(length, patience=PATIENCE)
        self.now = 1000.0

    def asks(self, action: HandoverAction, *, enough: bool = False, ended: bool = False) -> Story:
        assert self.handover.next(enough=enough, ended=ended, now=self.now) == action
        return self

    def answer(self, status: int, *, at: int | None = None, complete: bool | None = False, sent: int = 0) -> Story:
        fields = {} if at is None else {"upload-offset": str(at)}
        if complete is not None:
            fields["upload-complete"] = "?1" if complete else "?0"
        self.handover.responded(status, fields, sent, self.now)
        return self

    def failed(self, failure: GiveUp = RESET, *, sent: int = 0) -> Story:
        self.handover.failed(failure, sent, self.now)
        return self

    def later(self, seconds: float) -> Story:
        self.now += seconds
        return self

    def gives_up(self, status: int, *, ended: bool = True) -> GiveUp:
        action = self.handover.next(enough=True, ended=ended, now=self.now)
        assert isinstance(action, GiveUp)
        assert action.status == status
        assert not self.handover.is_responded
        return action


def created(length: int | None = 300, place: str = "/uploads/1") -> Story:
    story = Story(length).asks(Create(length))
    story.handover.responded(201, {"location": place, "upload-complete": "?0"}, 0, story.now)
    assert story.handover.location == place
    return story


def test_the_plain_story() -> None:
    story = created()
    story.asks(Gather()).asks(Append(0, False), enough=True).answer(204, at=100, sent=100)
    assert story.handover.acknowledged == 100
    story.asks(Gather()).asks(Append(100, True), ended=True).answer(200, at=300, complete=True, sent=200)
    story.asks(PassOn(), ended=True)
    assert story.handover.is_responded
    assert (story.handover.sent_again, story.handover.failures) == (0, 0)


def test_a_body_without_a_length_ends_when_it_ends() -> None:
    created(None).asks(Append(0, True), ended=True).answer(200, at=7, complete=True, sent=7).asks(PassOn())


def test_when_the_answer_to_the_creation_is_lost_it_is_created_again() -> None:
    story = Story().asks(Create(300)).failed().asks(Create(300))
    story.handover.responded(201, {"location": "/uploads/2", "upload-complete": "?0"}, 0, story.now)
    story.asks(Append(0, False), enough=True)


def test_after_a_reset_the_offset_is_asked_for_and_only_the_rest_is_sent_again() -> None:
    story = created().asks(Append(0, True), ended=True).failed(sent=250).asks(AskOffset(), ended=True)
    story.answer(204, at=180).asks(Append(180, True), ended=True)
    assert story.handover.acknowledged == 180
    story.answer(200, at=300, complete=True, sent=120).asks(PassOn())
    assert story.handover.sent_again == 70  # bytes 180 to 250


def test_a_409_tells_the_true_offset() -> None:
    story = created().asks(Append(0, False), enough=True).answer(204, at=100, sent=200)
    story.asks(Append(100, True), ended=True).answer(409, at=150, sent=80).asks(Append(150, True), ended=True)


def test_what_was_sent_may_arrive_after_its_offset_was_told() -> None:
    story = created().asks(Append(0, True), ended=True).failed(sent=300).asks(AskOffset()).answer(204, at=40)
    story.asks(Append(40, True), ended=True).answer(409, at=300).asks(Append(300, True), ended=True)
    story.answer(200, at=300, complete=True).asks(PassOn())


def test_less_can_be_acknowledged_than_was_sent() -> None:
    story = created().asks(Append(0, False), enough=True).answer(204, at=60, sent=100)
    story.asks(Append(60, False), enough=True)
    assert story.handover.failures == 0


@pytest.mark.parametrize("status", [204, 409, 503])
def test_an_offset_beyond_what_was_sent_is_never_trusted(status: int) -> None:
    story = created().asks(Append(0, False), enough=True).answer(status, at=101, sent=100)
    assert "only 0 to 100 are possible" in story.gives_up(502).why


def test_an_offset_that_goes_back_is_never_trusted() -> None:
    story = created().asks(Append(0, False), enough=True).answer(204, at=100, sent=100)
    story.asks(Append(100, False), enough=True).failed(sent=50).asks(AskOffset()).answer(204, at=99)
    assert "only 100 to 150 are possible" in story.gives_up(502).why


def test_an_instance_that_leaves_tells_how_far_it_came() -> None:
    story = created().asks(Append(0, False), enough=True).answer(503, at=60, sent=100)
    story.asks(Append(60, False), enough=True)
    assert story.handover.acknowledged == 60


def test_a_503_that_tells_nothing_is_followed_by_a_question() -> None:
    story = created().asks(Append(0, False), enough=True).answer(503, complete=None, sent=100)
    story.asks(AskOffset()).answer(204, at=0).asks(Append(0, False), enough=True)


def test_a_final_answer_that_was_lost_is_asked_for_by_an_empty_append() -> None:
    story = created().asks(Append(0, True), ended=True).failed(sent=300)
    story.asks(AskOffset()).answer(204, at=300, complete=True)
    story.asks(Append(300, True), ended=True).answer(422, at=300, complete=True).asks(PassOn())
    assert story.handover.sent_again == 0


@pytest.mark.parametrize("status", [201, 400, 422, 500, 503])
def test_an_answer_that_says_complete_is_the_applications_whatever_its_status(status: int) -> None:
    created().asks(Append(0, True), ended=True).answer(status, at=300, complete=True, sent=300).asks(PassOn())


@pytest.mark.parametrize(("at", "sent"), [(500, 300), (200, 300), (None, 200)])
def test_an_upload_that_is_complete_at_another_length_is_somebody_elses(at: int | None, sent: int) -> None:
    created().asks(Append(0, True), ended=True).answer(200, at=at, complete=True, sent=sent).gives_up(502)


def test_an_upload_that_is_complete_before_it_was_completed_is_somebody_elses() -> None:
    created().asks(Append(0, False), enough=True).answer(200, at=100, complete=True, sent=100).gives_up(502)
    story = created().asks(Append(0, False), enough=True).failed(sent=100)
    story.asks(AskOffset()).answer(204, at=100, complete=True).gives_up(502)


@pytest.mark.parametrize("status", [307, 400, 401, 413, 429])
def test_a_creation_that_is_refused_is_the_answer(status: int) -> None:
    Story().asks(Create(300)).answer(status, complete=None).asks(PassOn())
    Story().asks(Create(300)).answer(status, complete=False).asks(PassOn())


@pytest.mark.parametrize("complete", [None, True])
def test_an_application_that_took_the_empty_creation_for_the_request_is_given_up(complete: bool | None) -> None:
    Story().asks(Create(300)).answer(200, complete=complete).gives_up(502)


@pytest.mark.parametrize("place", ["", "/a b", "http://[::1/a", "//[", "/\xe4", "/a\tb"])
def test_a_creation_that_does_not_say_where_it_is_is_given_up(place: str) -> None:
    story = Story().asks(Create(300))
    story.handover.responded(201, {"location": place, "upload-complete": "?0"}, 0, story.now)
    story.gives_up(502)
    assert story.handover.location == ""


@pytest.mark.parametrize("place", ["/uploads/1", "1", "../1?a=b", "//h/1", "http://[::1]:80/uploads/1"])
def test_places_of_every_kind_are_taken(place: str) -> None:
    created(place=place)


@pytest.mark.parametrize("complete", [None, False])
def test_a_creation_that_fails_is_tried_again(complete: bool | None) -> None:
    Story().asks(Create(300)).answer(503, complete=complete).asks(Create(300))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_upload_that_is_gone_is_given_up(status: int) -> None:
    created().asks(Append(0, False), enough=True).answer(status, complete=None, sent=9).gives_up(502)
    story = created().asks(Append(0, False), enough=True).failed().asks(AskOffset())
    story.answer(status, complete=None).gives_up(502)


@pytest.mark.parametrize("status", [400, 401, 413, 415])
def test_an_append_that_is_refused_is_the_answer(status: int) -> None:
    created().asks(Append(0, False), enough=True).answer(status, complete=None, sent=9).asks(PassOn())


@pytest.mark.parametrize("status", [302, 408, 425, 429, 500, 502])
def test_an_append_that_may_do_later_is_tried_again(status: int) -> None:
    story = created().asks(Append(0, False), enough=True).answer(status, complete=None, sent=9)
    story.asks(AskOffset()).answer(204, at=0).asks(Append(0, False), enough=True)


def test_pauses_double_and_are_bounded_and_patience_ends_with_the_last_failure() -> None:
    story, pauses, began = Story(), list[float](), 1000.0
    story.asks(Create(300)).failed()
    while True:
        match story.handover.next(enough=False, ended=False, now=story.now):
            case Create():
                story.failed(SILENCE)
            case Pause(until):
                pauses.append(round(until - story.now, 6))
                story.now = until
            case action:
                break
    assert action == SILENCE
    assert pauses[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert set(pauses[7:]) == {LONGEST_PAUSE}
    assert PATIENCE < story.now - began <= PATIENCE + LONGEST_PAUSE


def test_pauses_begin_anew_when_something_went_well() -> None:
    story = Story()
    for _ in range(4):
        story.asks(Create(300)).failed().later(LONGEST_PAUSE)
    story.asks(Create(300))
    story.handover.responded(201, {"location": "/1", "upload-complete": "?0"}, 0, story.now)
    story.asks(Append(0, False), enough=True).failed().asks(AskOffset()).failed().asks(Pause(story.now + FIRST_PAUSE))


@pytest.mark.parametrize(("status", "told"), [(500, 502), (502, 502), (503, 503), (504, 504)])
def test_what_is_given_up_in_the_end_has_the_status_of_the_last_failure(status: int, told: int) -> None:
    story = created().asks(Append(0, False), enough=True).failed(SILENCE).asks(AskOffset())
    story.answer(status, complete=None).later(PATIENCE + 1).gives_up(told)


def test_patience_counts_from_the_first_failure_and_not_from_the_last_byte_of_a_slow_client() -> None:
    story = created().later(10 * PATIENCE).asks(Gather()).asks(Append(0, False), enough=True)
    story.answer(204, at=100, sent=100).later(10 * PATIENCE).asks(Append(100, False), enough=True).failed(sent=9)
    story.later(PATIENCE - 1).asks(AskOffset()).answer(204, at=100).asks(Append(100, False), enough=True)


def test_what_was_refused_is_tried_again_before_more_is_waited_for() -> None:
    story = created().asks(Append(0, False), enough=True).failed().asks(AskOffset()).answer(204, at=0)
    story.asks(Append(0, False), enough=False)


@pytest.mark.parametrize("status", [204, 409, 503])
def test_appends_that_make_no_progress_end(status: int) -> None:
    story, appends = created(), 0
    while not isinstance(action := story.handover.next(enough=True, ended=False, now=story.now), GiveUp):
        if isinstance(action, Pause):
            story.now = action.until
        else:
            assert action == Append(0, False)
            story.answer(status, at=0, sent=100)
            appends += 1
    assert action.status in (502, 503)
    assert appends < 30
    assert story.now - 1000 > PATIENCE


# -- stores that fail as they like, and stores that lie ---------------------------------------------------------------

ENOUGH, MOST = 5, 12
"""Bytes that make a segment, and of one segment at the most."""
FAULTS = ["unreached", "lost", "reset", "late", "leaves", "less", "409", "429", "503"]
LIES = ["before", "beyond", "too early", "longer"]
"""An offset before what is stored, or beyond what was sent; complete before it was asked to be, or beyond that too."""


@dataclass
class Store:
    """Keeps one upload; its next answers are as `faults` say, each with a number of bytes, and then as `fine` says."""

    faults: list[tuple[str, int]]
    fine: bool = True
    content: bytes = b""
    complete: bool = False
    most_sent: int = 0
    in_vain: int = 0
    """Bytes that were sent in requests that failed."""
    lied: bool = False
    _completing: bool = False
    _late: tuple[int, bytes] = (0, b"")
    """Bytes that are on their way still, and where they belong."""

    def ask(self, action: HandoverAction, data: bytes) -> tuple[int | None, dict[str, str], int]:
        """The status (None: no answer comes), the fields, and how many of the bytes were sent."""
        kind, size = self.faults.pop(0) if self.faults else ("fine" if self.fine else "503", 0)
        late, self._late = self._late, (0, b"")
        status, fields, sent = self._answer(action, data, kind, min(size, len(data)))
        self._commit(*late)
        if isinstance(action, Append):
            self.most_sent = max(self.most_sent, action.offset + sent)
            self._completing = self._completing or action.complete
        if kind != "fine" or status == 409:
            self.in_vain += sent
        if kind in LIES and "upload-offset" in fields and not (kind == "too early" and self._completing):
            self.lied = True
            offset = {"too early": len(self.content), "before": max(0, len(self.content) - size - 1)}.get(kind)
            told = self.most_sent + size + 1 if offset is None else offset
            fields = {"upload-offset": str(told), "upload-complete": "?1" if kind in ("too early", "longer") else "?0"}
        return status, fields, sent

    def _answer(
        self, action: HandoverAction, data: bytes, kind: str, size: int
    ) -> tuple[int | None, dict[str, str], int]:
        match action, kind:
            case _, "unreached":
                return None, {}, 0
            case _, "429" | "503" if not isinstance(action, Create):
                return int(kind), {}, size
            case Create(), _:
                made = {"location": "/1", "upload-complete": "?0"}
                return (None, {}, 0) if kind in ("lost", "reset", "late", "429", "503") else (201, made, 0)
            case Append(), "409" if not self.complete:
                return 409, self._at(), size
            case Append(offset), "reset" | "late" | "leaves" | "less" if not self.complete:
                self._commit(offset, data[:size])
                if kind == "late":
                    self._late = offset + size, data[size:]
                status = {"leaves": 503, "less": 204}.get(kind)
                return status, {} if status is None else self._at(), len(data)
            case Append(), _:
                status, fields = self._append(action, data)
            case _:
                status, fields = 204, self._at()
        return (None, {}, len(data)) if kind in ("lost", "reset", "late") else (status, fields, len(data))

    def _append(self, action: Append, data: bytes) -> tuple[int, dict[str, str]]:
        if action.offset != len(self.content):
            return 409, self._at()
        if self.complete and data:
            return 400, {}
        self.content += data
        self.complete = self.complete or action.complete
        return 200 if self.complete else 204, self._at()

    def _commit(self, offset: int, data: bytes) -> None:
        if offset == len(self.content) and not self.complete:
            self.content += data

    def _at(self) -> dict[str, str]:
        return {"upload-offset": str(len(self.content)), "upload-complete": "?1" if self.complete else "?0"}


@dataclass
class Life:
    """One body on its way into a store, as the relay carries it: in pieces as its client sends them."""

    handover: Handover
    store: Store
    body: bytes
    pieces: list[int]
    now: float = 0.0
    asked: int = 0

    def run(self) -> PassOn | GiveUp:
        arrived, kept = 0, b""
        while True:
            ended = arrived == len(self.body) and len(kept) <= MOST
            action = self.handover.next(enough=len(kept) >= ENOUGH, ended=ended, now=self.now)
            match action:
                case PassOn() | GiveUp():
                    return action
                case Gather():
                    assert arrived < len(self.body)
                    piece = self.body[arrived : arrived + (self.pieces.pop() if self.pieces else len(self.body))]
                    arrived, kept = arrived + len(piece), kept + piece
                    self.now += 100  # a client may be as slow as it likes
                case Pause(until):
                    assert self.now < until <= self.now + LONGEST_PAUSE
                    self.now = until
                case _:
                    before = self.handover.acknowledged
                    self._ask(action, kept[:MOST])
                    taken = self.handover.acknowledged - before
                    assert 0 <= taken <= len(kept)
                    kept = kept[taken:]
                    assert self.handover.acknowledged <= len(self.store.content)

    def _ask(self, action: HandoverAction, data: bytes) -> None:
        self.now += 0.01
        self.asked += 1
        assert self.asked < 500
        assert data or not isinstance(action, Append) or action.complete
        status, fields, sent = self.store.ask(action, data if isinstance(action, Append) else b"")
        if status is None:
            self.handover.failed(RESET, sent, self.now)
        else:
            self.handover.responded(status, fields, sent, self.now)


bodies = st.binary(min_size=1, max_size=60)
pieces = st.lists(st.integers(1, 20), max_size=10)
often = settings(max_examples=3 * settings().max_examples)


def some(kinds: list[str]) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, MOST)), max_size=12)


def arrives(
    body: bytes,
    sizes: list[int],
    faults: list[tuple[str, int]],
    told: bool,
    handing: type[Handover],
) -> None:
    """Every byte once and in order, whatever goes wrong on the way, and the answer in the end."""
    store = Store([*faults])
    handover = handing(len(body) if told else None, patience=PATIENCE)
    assert Life(handover, store, body, [*sizes]).run() == PassOn()
    assert (store.content, store.complete, handover.acknowledged >= len(body) - MOST) == (body, True, True)
    assert handover.sent_again <= store.in_vain


lives = given(bodies, pieces, some(FAULTS), st.booleans())


@often
@lives
def test_every_byte_arrives_once_and_in_order_whatever_fails_on_the_way(
    body: bytes, sizes: list[int], faults: list[tuple[str, int]], told: bool
) -> None:
    arrives(body, sizes, faults, told, Handover)


@often
@given(bodies, pieces, some(FAULTS))
def test_with_a_store_that_stays_broken_it_ends(body: bytes, sizes: list[int], faults: list[tuple[str, int]]) -> None:
    store = Store([*faults], fine=False)
    end = Life(Handover(len(body), patience=PATIENCE), store, body, [*sizes]).run()
    assert end != PassOn() or store.complete
    assert body.startswith(store.content)


def is_not_deceived(body: bytes, sizes: list[int], faults: list[tuple[str, int]], handing: type[Handover]) -> None:
    """What is passed on as done is done; and after a lie it is given up."""
    store = Store([*faults])
    end = Life(handing(len(body), patience=PATIENCE), store, body, [*sizes]).run()
    if end == PassOn():
        assert (store.content, store.complete) == (body, True)
    else:
        assert store.lied


@often
@given(bodies, pieces, some(FAULTS + LIES * 2))
def test_a_store_that_lies_is_not_believed(body: bytes, sizes: list[int], faults: list[tuple[str, int]]) -> None:
    is_not_deceived(body, sizes, faults, Handover)


class Hopeful(Handover):
    """Takes what was sent for what arrived."""

    def failed(self, failure: GiveUp, sent: int, now: float) -> None:
        super().failed(failure, sent, now)
        self.acknowledged = self._sent_to


class Deaf(Handover):
    """Takes what was sent for what is told."""

    def _continue_at(self, offset: int) -> None:
        super()._continue_at(self._sent_to)


class Trusting(Handover):
    """Takes any offset that it is told."""

    def _continue_at(self, offset: int) -> None:
        self.acknowledged, self._unsure = offset, False


class Gullible(Handover):
    """Takes any upload that is complete for its own."""

    def _is_whole(self, said: ietf.ResponseFields) -> bool:
        return True


def first_failure(check: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
    settings(often, max_examples=3000, phases=[Phase.generate], database=None, report_multiple_bugs=False)(
        given(*strategies)(check)
    )()


@pytest.mark.parametrize("handing", [Hopeful, Deaf])
def test_a_handover_that_loses_or_doubles_bytes_is_found_out(handing: type[Handover]) -> None:
    with pytest.raises(AssertionError):
        first_failure(arrives, bodies, pieces, some(FAULTS), st.booleans(), st.just(handing))


@pytest.mark.parametrize("handing", [Trusting, Gullible])
def test_a_handover_that_believes_everything_is_found_out(handing: type[Handover]) -> None:
    with pytest.raises(AssertionError):
        first_failure(is_not_deceived, bodies, pieces, some(FAULTS + LIES * 2), st.just(handing))
