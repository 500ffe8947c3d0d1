"""The time that a line names, whichever software wrote it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from changeover.kit.clock import utc
from changeover.logs.times import time_of


@pytest.fixture(autouse=True)
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("2026-11-29T06:44:19.123Z  edge", "2026-11-29T06:44:19.123Z"),
        ("2026-11-29T06:44:19+01:00 started", "2026-11-29T05:44:19.000Z"),
        ("2026-11-29 06:44:19,500 INFO python", "2026-11-29T11:44:19.500Z"),
        ("2026/07/29 06:44:19 [error] 7#7: *1 nginx", "2026-07-29T10:44:19.000Z"),
        ("[2026-11-29 06:44:19.250][12][warning] envoy", "2026-11-29T11:44:19.250Z"),
        ('127.0.0.1 - - [29/Nov/2026:06:44:19 +0000] "GET / HTTP/1.1" 200', "2026-11-29T06:44:19.000Z"),
        ('{"level":30,"time":1795934659123,"msg":"pino"}', "2026-11-29T06:44:19.123Z"),
        ('{"ts":1795934659.5,"msg":"zap"}', "2026-11-29T06:44:19.500Z"),
    ],
)
def test_the_time_of_common_forms_is_read(line: str, moment: str) -> None:
    found = time_of(line)
    assert found is not None
    assert utc(found + 0.0001) == moment


@pytest.mark.parametrize(
    "line",
    [
        "listening on 127.0.0.1:8000",
        "Nov 29 06:44:19 classic syslog names no year",
        "2026-02-31 06:44:19 no such day",
        "99999-11-29T06:44:19Z",
        '{"time": 17959346591}',
        "x" * 200 + " 2026-11-29T06:44:19Z far behind",
        "",
    ],
)
def test_a_line_without_a_readable_time_has_none(line: str) -> None:
    assert time_of(line) is None
