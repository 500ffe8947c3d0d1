"""The modes of a store's files and folders, whatever the umask is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.uploads.serving import Instance

from changeover.uploads import FileStore


@pytest.fixture(params=[0o022, 0o077, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize(("mode", "folders"), [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755)])
async def test_files_and_folders_have_the_mode_that_was_asked_for(
    tmp_path: Path, umask: int, mode: int, folders: int
) -> None:
    root = tmp_path / "uploads"
    store = FileStore(root, durable=False, file_mode=mode)
    assert (await Instance(store).got("POST", "/", b"hello")).status == 200
    found = [root, *root.rglob("*")]
    assert {each.stat().st_mode & 0o777 for each in found if each.is_file()} == {mode}
    assert {each.stat().st_mode & 0o777 for each in found if each.is_dir()} == {folders}


@pytest.mark.parametrize("mode", [0o400, 0o666, 0o755, 0o040, 0, 0o1600, 600])
def test_a_mode_that_cannot_be_used_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ValueError, match="the mode of files"):
        FileStore(tmp_path / "uploads", file_mode=mode)
    assert not (tmp_path / "uploads").exists()
