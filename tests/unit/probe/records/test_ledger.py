from __future__ import annotations

import contextlib
import json
import resource
from pathlib import Path

import pytest
from tests.unit.probe.rows import row

from changeover.model.errors import ChangeoverError
from changeover.probe.records.ledger import Ledger, has_ended, read_ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "ledger.jsonl"


def test_rows_come_back_as_they_went_in(path: Path) -> None:
    rows = [row(), row(kind="upload", sha256="ab", ref="r", bytes_sent=5), row(status=None, outcome="lost")]
    with Ledger(path) as ledger:
        for each in rows:
            ledger.record(each)
    assert list(read_ledger(path)) == rows


def test_a_line_carries_the_latency_and_leaves_out_what_is_not_known(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row(scheduled=999.5, instance=None))
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[1])
    assert line["latency_ms"] == 510
    assert "instance" not in line
    assert "reason" not in line


def test_a_loss_is_in_the_file_at_once_with_all_that_came_before(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row())
        assert path.read_text(encoding="utf-8") == ""
        ledger.record(row(outcome="lost", reason="timeout", tier_state={"moving": "edge", "at": Path("x")}))
        assert [each.reason for each in read_ledger(path)] == [None, "timeout"]


def test_an_existing_ledger_is_not_overwritten(path: Path) -> None:
    Ledger(path).close()
    with pytest.raises(ChangeoverError, match="the ledger file exists already"):
        Ledger(path)


def test_a_disk_that_takes_no_more_is_an_error_that_names_the_ledger(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Ledger(path) as ledger:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel then cuts the write short
        try:
            with pytest.raises(ChangeoverError, match=r"ledger\.jsonl: the ledger cannot be written: No space"):
                ledger.record(row(outcome="lost", reason="timeout"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_is_no_row_is_named(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row())
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind":"get","pa')
    rows = read_ledger(path)
    assert next(rows) == row()
    with pytest.raises(ChangeoverError, match=r"ledger\.jsonl:4: this line is not a row"):
        next(rows)


def test_a_ledger_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(ChangeoverError, match="cannot be read: No such file"):
        next(read_ledger(path))


def test_the_first_line_is_a_header_with_the_version_of_the_format(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row())
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0]) == {"format": 1}


def test_a_ledger_from_before_the_header_is_read(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row())
    path.write_text(path.read_text(encoding="utf-8").split("\n", 1)[1], encoding="utf-8")
    assert list(read_ledger(path)) == [row()]


def test_a_ledger_of_a_later_format_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"format":2}\n', encoding="utf-8")
    with pytest.raises(ChangeoverError, match="the ledger has format 2, and this version of changeover reads format 1"):
        next(read_ledger(path))


def test_a_run_that_ended_has_an_end_line_that_counts_its_rows(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row())
        ledger.record(row())
        ledger.flush()
        assert not has_ended(path, path.stat().st_size)
    assert has_ended(path, path.stat().st_size)
    assert not has_ended(path, path.stat().st_size - 1)
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["rows"] == 2


def test_a_run_that_an_error_ended_has_no_end_line(path: Path) -> None:
    with contextlib.suppress(RuntimeError), Ledger(path) as ledger:
        ledger.record(row())
        raise RuntimeError
    assert list(read_ledger(path)) == [row()]
    assert not has_ended(path, path.stat().st_size)


def test_a_row_that_is_missing_before_the_end_line_is_an_error(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record(row())
        ledger.record(row())
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")
    with pytest.raises(ChangeoverError, match="the probe wrote 2 rows, and the ledger has 1"):
        list(read_ledger(path))
