"""Lines of a file that is written to, emptied and replaced meanwhile: each once, and none missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from changeover.logs.reader import LONGEST, LogReader
from changeover.platforms.local.logs import bound


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def reader(log: Path) -> Iterator[LogReader]:
    with closing(LogReader(log)) as reader:
        yield reader


def append(log: Path, text: str | bytes) -> None:
    with log.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def new(reader: LogReader) -> list[str]:
    return [line for line, _ in reader.lines(to_the_end=False)]


def test_a_log_that_is_not_there_yet_has_no_lines(log: Path, reader: LogReader) -> None:
    assert new(reader) == []
    append(log, "one\n")
    assert new(reader) == ["one"]
    assert new(reader) == []


def test_a_line_is_given_once_it_has_its_end(log: Path, reader: LogReader) -> None:
    append(log, "one\ntw")
    assert new(reader) == ["one"]
    append(log, "o\r\nthree")
    assert new(reader) == ["two"]
    assert list(reader.lines(to_the_end=True)) == [("three", 14)]


def test_what_was_moved_to_the_predecessor_is_read_first(log: Path, reader: LogReader) -> None:
    append(log, "one\ntwo\n")
    bound(log, 4)
    append(log, "three\n")
    assert new(reader) == ["two", "three"]


@pytest.mark.parametrize("again", [1, 3])
def test_a_log_that_is_cut_between_two_reads_misses_no_line(log: Path, reader: LogReader, again: int) -> None:
    written: list[str] = []
    read: list[str] = []
    for turn in range(4):
        for part in range(again):
            lines = [f"line {turn}.{part}.{number}" for number in range(50)]
            written += lines
            append(log, "".join(f"{line}\n" for line in lines))
        bound(log, 100 * again * 20)
        read += new(reader)
    assert read == written


def test_a_log_that_another_takes_the_place_of_is_read_from_its_beginning(log: Path, reader: LogReader) -> None:
    append(log, "one\n")
    assert new(reader) == ["one"]
    log.rename(log.with_name("elsewhere"))
    append(log.with_name("elsewhere"), "two\n")
    append(log, "three\n")
    assert new(reader) == ["two", "three"]


def test_bytes_that_are_no_text_are_replaced_and_a_long_line_is_shortened(log: Path, reader: LogReader) -> None:
    append(log, b"\xff\n" + b"x" * (3 * LONGEST) + b"\nlast\n")
    first, long, last = new(reader)
    assert (first, last) == ("�", "last")
    assert long == "x" * LONGEST + " [...]"
