"""The probe against a server that knows nothing of changeover."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.process.foreign_server import ForeignServer, foreign_server
from tests.process.probing import Enough, Ran, rows, run_plan

from changeover.model.probe import ProbeSettings
from changeover.probe.traffic_plan import TrafficPlan

UPLOAD = {"path": "/in", "body": 300_000, "time": "100ms"}


@pytest.fixture
def server() -> Iterator[ForeignServer]:
    with foreign_server() as server:
        yield server


def probed(folder: Path, server: ForeignServer, enough: Enough, **traffic: Any) -> Ran:
    plan = TrafficPlan(server.url, ProbeSettings.model_validate({"rate": 200, "timeout": "5s", **traffic}))
    return asyncio.run(run_plan(folder, plan, enough))


def test_the_probe_requests_what_it_was_asked_to_and_nothing_else(tmp_path: Path, server: ForeignServer) -> None:
    gets = [
        {"path": "/shop/", "weight": 3, "text": "Welcome", "headers": {"Accept": "text/html"}},
        {"path": "/old", "status": 302},
    ]
    ran = probed(tmp_path, server, rows(40), get=gets, headers={"X-Token": "a"}, fresh_share=0)
    assert ran.verdict.clean, ran.wrong()
    asked = Counter(server.asked)
    assert set(asked) == {"GET /shop/", "GET /old"}
    assert asked["GET /shop/"] == pytest.approx(3 * asked["GET /old"], abs=3)
    assert {headers.get("X-Token") for headers in server.headers} == {"a"}
    assert {
        (path.split()[1], headers.get("Accept")) for path, headers in zip(server.asked, server.headers, strict=True)
    } == {
        ("/shop/", "text/html"),
        ("/old", None),
    }


@pytest.mark.parametrize(
    ("get", "outcome", "reason"),
    [
        ({"path": "/shop/", "text": "Goodbye"}, "corrupted", "expected text missing"),
        ({"path": "/shop/", "status": [204, 302]}, "lost", "status 200"),
        ({"path": "/old"}, "lost", "status 302"),
        ({"path": "/shop/", "fields": {"state": "up"}}, "corrupted", "wrong body"),
    ],
)
def test_an_answer_that_is_not_as_expected_is_broken(
    tmp_path: Path, server: ForeignServer, get: dict[str, Any], outcome: str, reason: str
) -> None:
    ran = probed(tmp_path, server, rows(3), get=[get])
    assert set(ran.wrong()) == {("get", outcome, reason)}
    assert ran.verdict.kinds_without_success == ("get",)


@pytest.mark.parametrize("how", [{"form": "file"}, {}, {"method": "PUT"}], ids=["form", "raw", "put"])
def test_an_upload_is_proved_by_a_digest_in_a_header_and_by_reading_it_back(
    tmp_path: Path, server: ForeignServer, how: dict[str, str]
) -> None:
    post = {**UPLOAD, **how, "digest": {"header": "Repr-Digest"}, "read_back": "{location}"}
    ran = probed(tmp_path, server, rows(2, "upload"), post=[post])
    assert ran.verdict.clean, ran.wrong()
    assert {len(content) for content in server.files.values()} == {300_000}
    assert ran.verdict.uploads_read_back == ran.verdict.counts["upload"].ok >= 2
    assert ran.verdict.uploads_answered_only == 0
    assert "answered only" not in ran.verdict.summary


def test_an_upload_without_a_proof_counts_as_answered_only(tmp_path: Path, server: ForeignServer) -> None:
    ran = probed(tmp_path, server, rows(2, "upload"), post=[UPLOAD])
    assert ran.verdict.clean
    assert {row.note for row in ran.rows} == {"answered only"}
    number = ran.verdict.counts["upload"].ok
    assert ran.verdict.summary.endswith(f"; {number} POST answered only, receipt not proved")


def test_a_server_that_answers_without_reading_the_body_has_not_received_it(
    tmp_path: Path, server: ForeignServer
) -> None:
    post = {"path": "/deaf", "body": 50_000_000, "time": "3s"}
    ran = probed(tmp_path, server, rows(1, "upload"), post=[post])
    assert ran.wrong() == [("upload", "corrupted", "wrong length")]


@pytest.mark.parametrize(
    "proof", [{"digest": {"header": "X-None"}}, {"read_back": "/files/{id}"}, {"digest": {"field": "a.b"}}]
)
def test_a_proof_that_the_answer_does_not_hold_is_a_broken_upload(
    tmp_path: Path, server: ForeignServer, proof: dict[str, Any]
) -> None:
    ran = probed(tmp_path, server, rows(1, "upload"), post=[{**UPLOAD, **proof}])
    assert ran.wrong()[0] == ("upload", "corrupted", "wrong acknowledgement")


@pytest.mark.parametrize(
    "naming", [{"version_header": "X-Release"}, {"version_pattern": r"build ([0-9.]+)"}], ids=["header", "body"]
)
def test_versions_are_told_apart_with_the_times_of_their_first_and_last_answer(
    tmp_path: Path, server: ForeignServer, naming: dict[str, str]
) -> None:
    def enough(tally: Any) -> bool:
        if tally.count() == 10:
            server.version = "8.0"
        return "8.0" in tally.versions and tally.versions["8.0"].answers >= 10

    ran = probed(tmp_path, server, enough, get=[{"path": "/shop/"}], **naming)
    old, new = ran.verdict.versions.values()
    assert list(ran.verdict.versions) == ["7.1", "8.0"]
    assert old.answers + new.answers == len(ran.rows)
    assert old.first < old.last <= new.last
    assert ran.verdict.gets_by_version == {"7.1": old.answers, "8.0": new.answers}
