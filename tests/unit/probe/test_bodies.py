from __future__ import annotations

import asyncio
import hashlib

import pytest

from changeover.kit.pattern import pattern
from changeover.probe.bodies import json_object, paced


def test_a_paced_body_is_the_pattern_of_its_seed_and_is_digested_as_it_goes() -> None:
    digest = hashlib.sha256()

    async def whole() -> bytes:
        # A clock far ahead: the pace is long met, so nothing is waited for.
        times = iter([0.0])
        pieces = paced(b"seed", 100_001, 1.0, lambda: next(times, 1e9), digest.update)
        return b"".join([piece async for piece in pieces])

    body = asyncio.run(whole())
    assert body == pattern(0, 100_001, b"seed")
    assert digest.digest() == hashlib.sha256(body).digest()


def test_a_piece_is_sent_when_its_share_of_the_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def times() -> list[float]:
        pieces = paced(b"", 1000, 1.0, lambda: now, lambda _: None)
        return [now async for _ in pieces]

    assert asyncio.run(times()) == pytest.approx([5 + n * 0.05 for n in range(20)])


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"null"])
def test_what_is_not_a_json_object_holds_no_key(body: bytes) -> None:
    assert json_object(body) == {}
