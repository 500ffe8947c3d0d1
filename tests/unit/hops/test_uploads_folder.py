"""What is stored under a name that comes from elsewhere: it may be brought again, and is stored once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from changeover.example_app.uploads_folder import Incoming, UploadsFolder

ID = "A" * 32


def begun(folder: UploadsFolder) -> Incoming:
    incoming = folder.begin(ID)
    incoming.write(b"hello")
    return incoming


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_it_is_stored_once_by_two_who_do_not_know_of_each_other(tmp_path: Path) -> None:
    folder = UploadsFolder(tmp_path)
    first, second = begun(folder), begun(folder)
    told: list[Any] = [each.store("ref", "v1", name) for each, name in ((first, "one"), (second, "two"))]
    assert told[0] == told[1] == folder.record(ID)
    assert told[0]["instance"] == "one"
    assert folder.ids("ref") == [ID]
    assert files(tmp_path) == [f"refs/ref/{ID}", f"stored/{ID}/content", f"stored/{ID}/record.json"]


def test_one_that_gives_up_takes_nothing_from_the_other(tmp_path: Path) -> None:
    folder = UploadsFolder(tmp_path)
    first, second = begun(folder), begun(folder)
    first.store("ref", "v1", "one")
    second.discard()
    assert folder.ids("ref") == [ID]
    assert len(files(tmp_path)) == 3


def test_what_cannot_be_stored_is_no_upload(tmp_path: Path) -> None:
    folder = UploadsFolder(tmp_path)
    incoming = begun(folder)
    (tmp_path / "stored").rmdir()
    with pytest.raises(FileNotFoundError):
        incoming.store(None, "v1", "one")
    incoming.discard()
    assert not files(tmp_path)
