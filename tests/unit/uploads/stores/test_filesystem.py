"""File systems that lack something: hard links, atomic renames, syncs of folders, room, permission, case."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.uploads.serving import Instance
from tests.unit.uploads.serving import content as content_of
from tests.unit.uploads.storing import ID, asynchronous, content, ids, written

from changeover.uploads.stores import filesystem
from changeover.uploads.stores.files import FileStore
from changeover.uploads.stores.store import RecordChanged, StoreUnavailable


def failing(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, fail)


without_links = pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])


@without_links
@asynchronous
async def test_a_file_system_without_hard_links_holds_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, os, "link", number)
    instance = Instance(FileStore(tmp_path))
    got = await instance.got("POST", "/", b"hello")
    assert got.status == 200
    assert await content_of(instance, got.id) == b"hello"


@without_links
@asynchronous
async def test_of_swaps_that_race_without_hard_links_exactly_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, os, "link", number)
    store = FileStore(tmp_path, durable=False)
    version = await store.create(ID, b"0")
    for _ in range(20):
        found = await asyncio.gather(*(store.swap(ID, b"%d" % n, version) for n in range(8)), return_exceptions=True)
        [version] = [each for each in found if isinstance(each, str)]
        assert all(isinstance(each, (str, RecordChanged)) for each in found)
        record, version = await store.read(ID)
        assert record == b"%d" % next(n for n, each in enumerate(found) if isinstance(each, str))


@without_links
def test_a_file_system_without_any_atomic_new_name_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, os, "link", number)
    failing(monkeypatch, filesystem, "rename_noreplace", errno.EINVAL)
    with pytest.raises(OSError, match="neither hard links nor renameat2") as caught:
        FileStore(tmp_path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOTSUP, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@asynchronous
async def test_a_file_system_that_loses_both_later_names_the_reason_and_no_temporary_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path)
    failing(monkeypatch, os, "link", errno.EPERM)
    failing(monkeypatch, filesystem, "rename_noreplace", errno.EINVAL)
    with pytest.raises(StoreUnavailable, match=r"^the file system has neither hard links nor renameat2"):
        await store.create(ID, b"0")
    assert await ids(store) == []


def test_renaming_without_replacement_replaces_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        filesystem.rename_noreplace(tmp_path / "one", tmp_path / "two")
    with pytest.raises(FileNotFoundError):
        filesystem.rename_noreplace(tmp_path / "three", tmp_path / "four")
    filesystem.rename_noreplace(tmp_path / "one", tmp_path / "three")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"two": "two", "three": "one"}


def test_a_file_system_that_cannot_sync_folders_is_refused_unless_durability_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, os, "fsync", errno.EINVAL)
    with pytest.raises(OSError, match="cannot sync folders"):
        FileStore(tmp_path)
    FileStore(tmp_path, durable=False)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, os, "open", number)
    with pytest.raises(OSError, match=os.strerror(number)):
        FileStore(tmp_path)


@pytest.mark.parametrize("call", ["open", "link"])
@asynchronous
async def test_a_full_disk_at_start_serves_what_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = FileStore(tmp_path)
    await before.create(ID, b"record")
    segments = await written(before, "0", b"hello")
    with monkeypatch.context() as patched:
        failing(patched, os, call, errno.ENOSPC)
        store = FileStore(tmp_path)
    assert (await store.read(ID))[0] == b"record"
    assert await content(store, segments) == b"hello"


@asynchronous
async def test_a_store_that_starts_leaves_nothing_of_its_check(tmp_path: Path) -> None:
    FileStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def folded(path: Path) -> Path:
    """The path as a file system finds it that ignores case: an existing name in another case is that name."""
    found = Path(path.anchor)
    for part in path.parts[1:]:
        existing = [name for name in filesystem.names(found) if name.lower() == part.lower()]
        found /= existing[0] if existing else part
    return found


@asynchronous
async def test_an_id_in_another_case_is_no_upload_where_the_file_system_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path, durable=False)
    original: Callable[[FileStore, str], Path] = FileStore._folder
    monkeypatch.setattr(FileStore, "_folder", lambda self, id: folded(original(self, id)))
    instance = Instance(store)
    id = (await instance.got("POST", "/", b"", upload_complete="?0")).id
    assert (await instance.got("HEAD", f"/{id}")).status == 204
    assert (await instance.got("HEAD", f"/{id.swapcase()}")).status == 404
