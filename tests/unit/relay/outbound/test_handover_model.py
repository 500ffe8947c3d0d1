"""A handover to stores that fail as they like, and to stores that lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from changeover.relay.outbound.handover import (
    LONGEST_PAUSE,
    Append,
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
