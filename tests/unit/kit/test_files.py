"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.kit.files import write_whole


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "record.json"
    found.write_text("old")
    return found


def test_a_file_is_replaced(file: Path) -> None:
    write_whole(file, "new")
    assert file.read_text(encoding="utf-8") == "new"
    assert list(file.parent.iterdir()) == [file]


def test_folders_that_are_missing_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "c", "new")
    assert (tmp_path / "a" / "b" / "c").read_text() == "new"


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    write_whole(tmp_path / "key", "secret", mode=0o600)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_what_is_written_is_on_disk_before_it_takes_the_old_ones_place(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fsync(descriptor: int) -> None:
        seen.append((file.read_text(encoding="utf-8"), Path(f"/proc/self/fd/{descriptor}").read_text(encoding="utf-8")))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(file, "new")
    assert seen == [("old", "new")]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_what_fails_at_any_step_leaves_the_old_file_and_nothing_else(
    file: Path, step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(step, fails)
    with pytest.raises(type(error)):
        write_whole(file, "new")
    monkeypatch.undo()
    assert file.read_text(encoding="utf-8") == "old"
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_an_os_error(file: Path) -> None:
    with pytest.raises(OSError, match=r"exists|directory"):
        write_whole(file / "below a file", "new")
    assert file.read_text(encoding="utf-8") == "old"


def test_two_writers_do_not_mix(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is stopped before its rename, another goes by: each wrote a file of its own."""
    replace = Path.replace

    def overtaken(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(os, "getpid", lambda: 4_194_305)
        write_whole(file, "from the other one")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", overtaken)
    write_whole(file, "from the first one")
    assert file.read_text(encoding="utf-8") == "from the first one"
    assert list(file.parent.iterdir()) == [file]
