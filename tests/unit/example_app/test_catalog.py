"""The catalog of the example application: one durable entry for each upload, whatever fails meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.example_app.catalog import Catalog, UploadRecord

ID = "A" * 32
SYNCS = 5
"""Calls of fsync for an entry with a reference: the record, and the four folders that name it and its marker."""


def record(instance: str = "runtime-1", ref: str | None = "ref") -> UploadRecord:
    return UploadRecord(id=ID, bytes=5, sha256="2cf2", ref=ref, version="v1", instance=instance)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_an_entry_is_found_by_id_and_by_reference(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.add(record())
    assert Catalog(tmp_path).record(ID) == record()
    assert catalog.ids("ref") == [ID]
    assert files(tmp_path) == [f"refs/ref/{ID}", f"stored/{ID}/record.json"]


def test_an_upload_without_a_reference_has_no_marker(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.add(record(ref=None))
    assert files(tmp_path) == [f"stored/{ID}/record.json"]


def test_a_second_call_of_the_handler_leaves_the_first_entry(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.add(record("one"))
    catalog.add(record("two"))
    assert catalog.record(ID) == record("one")
    assert catalog.ids("ref") == [ID]
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("failing", range(SYNCS))
def test_a_disk_that_fails_at_any_step_leaves_an_entry_that_can_be_made_again(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(tmp_path)
    calls = iter(range(SYNCS))

    def fsync(descriptor: int) -> None:
        if next(calls) == failing:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space"):
            catalog.add(record())
    assert not [name for name in files(tmp_path) if "/." in name]
    catalog.add(record())
    assert catalog.ids("ref") == [ID]


def test_an_entry_is_synced_after_its_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    Catalog(tmp_path).add(record())
    assert [*synced[:2], *synced[3:]] == ["refs/ref", "refs", f"stored/{ID}", "stored"]
    assert synced[2].startswith(f"stored/{ID}/.")
    assert len(synced) == SYNCS


def test_a_marker_without_an_entry_is_ignored(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.add(record())
    (tmp_path / "refs" / "ref" / ("B" * 22)).touch()
    assert catalog.ids("ref") == [ID]


@pytest.mark.parametrize("id", ["..", "../stored", "A" * 21, "A" * 33, "A" * 21 + "\n", "A" * 21 + "/"])
def test_a_malformed_id_never_becomes_a_path(id: str, tmp_path: Path) -> None:
    assert Catalog(tmp_path).record(id) is None
