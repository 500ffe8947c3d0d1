from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from changeover.model.probe import Get, ProbeSettings
from changeover.probe.expectation import BodyCheck
from changeover.probe.http.exchange import HttpResponse
from changeover.probe.session import CheckResult, Naming


def judged(get: Get, *pieces: bytes, headers: Sequence[tuple[str, str]] = (), pattern: str = "") -> CheckResult:
    check = BodyCheck(get, Naming.of(ProbeSettings(version_pattern=pattern, version_header="X-V")))
    for piece in pieces:
        check.feed(piece)
    return check.judge(HttpResponse(None, 200, dict(headers), 0, 0, reused=False, abandoned=False))


def test_without_an_expectation_every_body_is_right() -> None:
    assert judged(Get(path="/"), b"anything") == CheckResult()


@pytest.mark.parametrize("pieces", [(b"Wel", b"come"), (b"W", b"e", b"lcome!"), (b"x" * 99, b"Welcome")])
def test_expected_text_is_found_across_the_pieces_of_a_body(pieces: tuple[bytes, ...]) -> None:
    assert judged(Get(path="/", text="Welcome"), *pieces).outcome == "ok"


def test_a_body_without_its_text_is_corrupted() -> None:
    result = judged(Get(path="/", text="Welcome"), b"Wel", b"c0me")
    assert (result.outcome, result.reason) == ("corrupted", "expected text missing")


def test_other_bytes_than_those_of_the_digest_are_corrupted() -> None:
    get = Get(path="/", sha256=hashlib.sha256(b"ab").hexdigest())
    assert judged(get, b"a", b"b").outcome == "ok"
    assert judged(get, b"a").outcome == "corrupted"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"a": {"b": 3}, "v": "1"}', "ok"),
        (b'{"a": {"b": 4}, "v": "1"}', "corrupted"),
        (b'{"a": {"b": 3}, "v": "2"}', "corrupted"),
        (b'{"a": {"b": 3}}', "corrupted"),
        (b'{"a": [{"b": 3}], "v": "1"}', "corrupted"),
        (b'{"a": {"b": 3}, "v":', "corrupted"),
    ],
)
def test_fields_of_a_json_body_have_their_values(body: bytes, outcome: str) -> None:
    get = Get(path="/", fields={"a.b": "3", "v": "{version}"})
    assert judged(get, body, headers=[("x-v", "1")]).outcome == outcome


@pytest.mark.parametrize(("pattern", "version"), [(r"build (\d+)", "17"), (r"build \d+", "build 17"), ("none", None)])
def test_a_version_is_found_in_a_body(pattern: str, version: str | None) -> None:
    assert judged(Get(path="/"), b"<!-- bui", b"ld 17 -->", pattern=pattern).version == version
