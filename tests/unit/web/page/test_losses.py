"""The requests that broke are read from ledgers as they grow, and a line that is no row is said, not passed over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow, RequestOutcome
from changeover.web.page import losses
from changeover.web.page.losses import LossReader


def row(at: float, outcome: RequestOutcome = "lost", path: str = "/") -> LedgerRow:
    return LedgerRow("get", path, at, at, at, "fresh", outcome, reason="reset", tier_state={"moving": "runtime"})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledgers/one.jsonl") as found:
        yield found


def test_what_broke_in_the_time_of_a_rollout_is_found_as_the_ledger_grows(tmp_path: Path, ledger: Ledger) -> None:
    reader = LossReader(tmp_path)
    for one in (row(5), row(11, "ok"), row(12)):
        ledger.record(one)
    assert [(one.at, one.tier, one.reason) for one in reader.between(10, 20).found] == [(12, "runtime", "reset")]
    ledger.record(row(15, "duplicated"))
    assert [(one.at, one.outcome) for one in reader.between(10, 20).found] == [(12, "lost"), (15, "duplicated")]


def test_a_path_that_looks_like_an_outcome_hides_no_loss(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(row(12, path='/?"outcome":"ok"'))
    assert len(LossReader(tmp_path).between(10, 20).found) == 1


def test_half_a_line_waits_for_its_rest_and_a_line_that_is_no_row_is_named(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(row(12))
    text = ledger.path.read_bytes()
    ledger.path.write_bytes(text[:-9])
    reader = LossReader(tmp_path)
    before = reader.between(10, 20)
    assert (list(before.found), list(before.unread)) == ([], [])
    ledger.path.write_bytes(text + b'{"kind": "get"}\n')
    found = reader.between(10, 20)
    assert len(found.found) == 1
    assert found.unread == ["one.jsonl:3: this line is not a row of a ledger"]


def test_the_ledger_of_a_probe_that_has_ended_is_read_to_its_end(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledgers/one.jsonl", ["get"]) as ledger:
        ledger.record(row(12))
    found = LossReader(tmp_path).between(10, 20)
    assert (len(found.found), found.unread, found.behind) == (1, [], False)


def test_a_long_ledger_takes_several_looks_and_the_reader_says_that_it_is_behind(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(10, 20):
        ledger.record(row(at))
    monkeypatch.setattr(losses, "AT_ONCE", ledger.path.stat().st_size // 2)
    reader = LossReader(tmp_path)
    first, second, third = (reader.between(10, 20) for _ in range(3))
    assert first.behind
    assert 0 < len(first.found) < len(second.found) <= len(third.found) == 10
    assert not third.behind


def test_losses_over_the_limit_are_counted(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "KEPT", 2)
    for at in range(10, 15):
        ledger.record(row(at))
    found = LossReader(tmp_path).between(10, 20)
    assert (len(found.found), found.more) == (2, 3)


def test_a_ledger_that_was_replaced_is_read_anew(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record(row(12))
    reader = LossReader(tmp_path)
    assert len(reader.between(10, 20).found) == 1
    ledger.path.unlink()
    with Ledger(ledger.path) as other:
        other.record(row(13))
    assert [one.at for one in reader.between(10, 20).found] == [13]


def test_looks_at_one_time_read_each_line_once(tmp_path: Path, ledger: Ledger) -> None:
    for at in range(1000):
        ledger.record(row(10 + at / 1000))
    reader = LossReader(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: reader.between(10, 20), range(16)))
    assert [(len(one.found), list(one.unread)) for one in found] == [(1000, [])] * 16


def test_a_ledger_elsewhere_has_its_marks_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledgers").mkdir()
    link = tmp_path / "ledgers/2.jsonl"
    link.symlink_to(tmp_path / "mine.jsonl")
    with Ledger(tmp_path / "mine.jsonl") as ledger:
        ledger.record(row(12))
        assert len(LossReader(tmp_path).between(10, 20).found) == 1
    ledger.path.unlink()
    began = link.lstat().st_mtime
    assert LossReader(tmp_path).between(10, began + 1).unread == ["2.jsonl: No such file or directory"]
    assert LossReader(tmp_path).between(10, began - 1).unread == []
