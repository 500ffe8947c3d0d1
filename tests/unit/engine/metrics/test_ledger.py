"""A ledger is read while the probe writes it, and not trusted once a line of it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.engine.metrics.probed import (
    BROKEN,
    get,
    lost,
    probed,
    spread,
    why,
    write,
)

from changeover.engine.metrics.ledger import LedgerReader
from changeover.engine.metrics.probe import ProbeSource
from changeover.probe.records.ledger import Ledger
from changeover.rollout.guard.evaluate import Sample


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_a_ledger_is_read_while_it_grows(path: Path) -> None:
    source = ProbeSource(LedgerReader(path))
    assert "cannot be read: No such file" in why(probed(source, **BROKEN))
    with Ledger(path) as ledger:
        assert "is empty" in why(probed(source, **BROKEN))
        for number in range(3):
            ledger.record(get(1001.0 + number))
            ledger.flush()
            assert probed(source, at=1003.0, **BROKEN) == Sample(1003.0, "g/a", 0, of=f"of {number + 1} requests")
        ledger.record(lost(1004))
        seen = probed(source, at=1004.0, **BROKEN)
        assert isinstance(seen, Sample)
        assert seen.value == 1


def test_the_end_line_of_a_probe_is_no_row(path: Path) -> None:
    source = ProbeSource(LedgerReader(path))
    write(path, [get(1001.0), get(1002.0)])
    assert '"ended"' in path.read_text(encoding="utf-8")
    assert probed(source, at=1003.0, **BROKEN) == Sample(1003.0, "g/a", 0, of="of 2 requests")


def test_half_a_line_waits_for_its_other_half(path: Path) -> None:
    source = ProbeSource(LedgerReader(path))
    whole = "".join(json.dumps(each.to_dict()) + "\n" for each in (get(1001), lost(1002)))
    path.write_text(whole[:-40], encoding="utf-8")
    assert probed(source, at=1003.0, **BROKEN) == Sample(1003.0, "g/a", 0, of="of 1 requests")
    with path.open("a", encoding="utf-8") as file:
        file.write(whole[-40:])
    seen = probed(source, at=1003.0, **BROKEN)
    assert isinstance(seen, Sample)
    assert seen.value == 1


@pytest.mark.parametrize("line", ["{", "5", "{}", '{"kind":"get","finished":"soon"}'])
def test_a_whole_line_that_is_no_row_is_not_passed_over(path: Path, line: str) -> None:
    write(path, spread(1000, 1009, 50))
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    source = ProbeSource(LedgerReader(path))
    for _ in range(2):
        assert "is not to be trusted: line 53 is not a row" in why(probed(source, **BROKEN))


def test_a_ledger_of_a_later_format_is_not_trusted(path: Path) -> None:
    path.write_text('{"format":2}\n', encoding="utf-8")
    why_not = why(probed(ProbeSource(LedgerReader(path)), **BROKEN))
    assert "the ledger has format 2, and this program reads format 1" in why_not


def test_a_ledger_that_was_replaced_is_not_to_be_trusted(path: Path) -> None:
    write(path, spread(1000, 1009, 50))
    source = ProbeSource(LedgerReader(path))
    assert isinstance(probed(source, **BROKEN), Sample)
    path.unlink()
    write(path, spread(1000.5, 1009.5, 50))
    assert "it was replaced while it was being read" in why(probed(source, **BROKEN))
