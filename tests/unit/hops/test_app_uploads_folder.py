"""What may be found in the shared folder, whatever went wrong while an upload was stored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.example_app.uploads_folder import UploadsFolder

SYNCS = 6
"""Calls of fsync for one upload with a reference: content, record, and the four folders that name them."""


def store(folder: UploadsFolder) -> None:
    incoming = folder.begin()
    try:
        incoming.write(bytearray(b"hello"))
        incoming.store("ref", "v1", "runtime-1")
    except OSError:
        incoming.discard()
        raise


@pytest.mark.parametrize("failing", range(SYNCS))
def test_a_disk_that_fails_at_any_step_leaves_nothing(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UploadsFolder(tmp_path)
    calls = iter(range(SYNCS))

    def fsync(descriptor: int) -> None:
        if next(calls) == failing:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        store(folder)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert folder.ids("ref") == []


def test_all_of_it_is_synced_before_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", fsync)
    folder = UploadsFolder(tmp_path)
    store(folder)
    (upload,) = folder.ids("ref")
    incoming, stored, refs = (str(tmp_path / name) for name in ("incoming", "stored", "refs"))
    own = f"{incoming}/{upload}"
    assert synced == [f"{own}/content", f"{own}/record.json", own, f"{refs}/ref", refs, stored]
    assert len(synced) == SYNCS


def test_a_marker_whose_upload_was_never_stored_is_passed_over(tmp_path: Path) -> None:
    folder = UploadsFolder(tmp_path)
    store(folder)
    (tmp_path / "refs" / "ref" / ("A" * 22)).touch()
    assert len(folder.ids("ref")) == 1
