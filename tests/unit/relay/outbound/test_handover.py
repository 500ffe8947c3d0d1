"""Handing one body inward: stories that can be checked by eye, stores that fail as they like, and stores that lie.

Some lies cannot be told from the truth: that more of what was sent is stored than is, and that all of it is complete.
"""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("length", [300, None])
def test_a_creation_whose_key_names_a_complete_upload_gets_its_stored_response(status: int, length: int | None) -> None:
    Story(length).asks(Create(length)).answer(status, at=300, complete=True).asks(PassOn())


def test_a_complete_upload_of_another_length_is_not_the_response_to_a_creation() -> None:
    Story(300).asks(Create(300)).answer(200, at=299, complete=True).gives_up(502)


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


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_that_is_gone_is_given_up(status: int) -> None:
    created().asks(Append(0, False), enough=True).answer(status, complete=None, sent=9).gives_up(502)
    story = created().asks(Append(0, False), enough=True).failed().asks(AskOffset())
    story.answer(status, complete=None).gives_up(502)


@pytest.mark.parametrize("status", [400, 401, 403, 413, 415])
def test_an_append_that_is_refused_is_the_answer(status: int) -> None:
    created().asks(Append(0, False), enough=True).answer(status, complete=None, sent=9).asks(PassOn())


@pytest.mark.parametrize("status", [401, 403])
def test_an_upload_is_not_called_gone_when_the_credentials_are_refused(status: int) -> None:
    story = created().asks(Append(0, False), enough=True).failed().asks(AskOffset())
    story.answer(status, complete=None).later(1).asks(AskOffset())
    story.answer(204, at=0).later(1).asks(Append(0, False), enough=True)


def granted() -> Story:
    story = Story().asks(Create(300))
    fields = {"location": "/uploads/1", "upload-complete": "?0", "upload-capability": "/uploads/1/continue/s"}
    story.handover.responded(201, fields, 0, story.now)
    assert story.handover.capability == "/uploads/1/continue/s"
    return story


@pytest.mark.parametrize("status", [401, 403, 404, 407, 410])
def test_where_a_capability_is_refused_the_upload_continues_with_the_credentials(status: int) -> None:
    story = granted().asks(Append(0, False), enough=True).answer(status, complete=None, sent=9)
    assert story.handover.capability == ""
    story.asks(AskOffset()).answer(204, at=0).asks(Append(0, False), enough=True)
    assert story.handover.failures == 0


@pytest.mark.parametrize(("first", "then"), [(404, 404), (404, 401), (410, 403), (401, 404)])
def test_with_a_capability_an_upload_is_gone_only_when_both_its_urls_are(first: int, then: int) -> None:
    story = granted().asks(Append(0, False), enough=True).answer(first, complete=None, sent=9)
    assert "gone" in story.asks(AskOffset()).answer(then, complete=None).gives_up(502).why


def test_a_response_of_the_application_is_no_refusal_of_the_capability() -> None:
    granted().asks(Append(0, True), ended=True).answer(404, at=300, complete=True, sent=300).asks(PassOn())


def test_a_capability_that_is_no_uri_is_not_used() -> None:
    story = Story().asks(Create(300))
    fields = {"location": "/uploads/1", "upload-complete": "?0", "upload-capability": "a b"}
    story.handover.responded(201, fields, 0, story.now)
    assert story.handover.capability == ""


def test_after_an_offset_the_connection_that_carried_it_is_used_again() -> None:
    story = created().asks(Append(0, False), enough=True).failed()
    assert story.handover.needs_connection
    story.asks(AskOffset()).answer(204, at=0).asks(Append(0, False), enough=True)
    assert not story.handover.needs_connection


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
