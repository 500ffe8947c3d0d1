"""Uploads in a folder: writers that slept, several processes, half-dropped uploads, and a disk that fails."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.uploads.storing import ID, asynchronous, content, ids, written

from changeover.uploads.stores import files
from changeover.uploads.stores.files import FileStore, FileWriter
from changeover.uploads.stores.store import RecordChanged, RecordMissing, StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, happens: Callable[[], object]) -> None:
    """Have something happen, once, just before a call; so that is where the caller slept."""
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        happens()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


def elsewhere(root: Path, *records: bytes) -> None:
    """Another instance, to which the store is all it knows, puts these records one after the other."""

    async def swap() -> None:
        store = FileStore(root)
        for record in records:
            await store.swap(ID, record, (await store.read(ID))[1])

    asyncio.run(swap())


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, fail)


def records(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ID[:2] / ID).iterdir() if path.name != "segments")


# -- writers that slept --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [1, 2, 3, 7])
@asynchronous
async def test_a_writer_that_slept_before_its_link_is_refused_however_far_others_have_come(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    version = await store.create(ID, b"0")
    theirs = [b"%d of others" % number for number in range(others)]
    before(monkeypatch, os, "link", lambda: elsewhere(tmp_path, *theirs))
    with pytest.raises(RecordChanged):
        await store.swap(ID, b"slept", version)
    assert (await store.read(ID))[0] == theirs[-1]
    assert records(tmp_path) == [f"record.{others + 1}"]


@asynchronous
async def test_a_writer_that_slept_before_it_cleared_away_does_not_take_what_came_after_it(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await store.create(ID, b"0")
    before(monkeypatch, files, "forget", lambda: elsewhere(tmp_path, b"two", b"three"))
    assert await store.swap(ID, b"one", version) == "2"  # it held, and others have gone on from it
    assert (await store.read(ID))[0] == b"three"
    assert records(tmp_path) == ["record.4"]


@asynchronous
async def test_a_writer_that_finds_others_gone_on_from_its_record_does_not_take_theirs(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await store.create(ID, b"0")
    before(monkeypatch, files, "sync_folder", lambda: elsewhere(tmp_path, b"two"))
    with pytest.raises(RecordChanged):
        await store.swap(ID, b"one", version)
    assert (await store.read(ID))[0] == b"two"
    assert records(tmp_path) == ["record.3"]


@asynchronous
async def test_one_who_makes_an_upload_and_slept_does_not_put_it_back_to_its_beginning(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_makes_it() -> None:
        asyncio.run(FileStore(tmp_path).create(ID, b"0"))
        elsewhere(tmp_path, b"one", b"two")

    before(monkeypatch, os, "link", another_makes_it)
    with pytest.raises(RecordChanged):
        await store.create(ID, b"slept")
    assert (await store.read(ID))[0] == b"two"


@asynchronous
async def test_a_reader_that_slept_is_not_given_a_record_that_never_held(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.swap(ID, b"one", await store.create(ID, b"0"))

    def others_go_on_and_one_who_slept_has_just_linked() -> None:
        elsewhere(tmp_path, b"two")
        (tmp_path / ID[:2] / ID / "record.2").write_bytes(b"never held")

    before(monkeypatch, Path, "read_bytes", others_go_on_and_one_who_slept_has_just_linked)
    assert await store.read(ID) == (b"two", "3")


@asynchronous
async def test_a_swap_that_slept_while_the_upload_was_dropped_does_not_bring_it_back(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await store.create(ID, b"0")
    before(monkeypatch, os, "link", lambda: asyncio.run(FileStore(tmp_path).drop(ID)))
    with pytest.raises(RecordMissing):
        await store.swap(ID, b"one", version)
    assert await ids(store) == []


@asynchronous
async def test_what_a_killed_writer_left_is_cleared_away_by_the_next(tmp_path: Path, store: FileStore) -> None:
    version = await store.create(ID, b"0")
    for _ in range(2):
        version = await store.swap(ID, b"x", version)
    (tmp_path / ID[:2] / ID / "record.1").write_bytes(b"older")
    (tmp_path / ID[:2] / ID / "record.2").write_bytes(b"never held")
    assert await store.read(ID) == (b"x", "3")
    await store.swap(ID, b"y", "3")
    assert records(tmp_path) == ["record.4"]


@asynchronous
async def test_a_link_whose_answer_was_lost_is_recognised_as_its_own(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await store.create(ID, b"0")
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)  # as an NFS client does that got no answer

    monkeypatch.setattr(os, "link", link_twice)
    assert await store.read(ID) == (b"0", version)
    version = await store.swap(ID, b"one", version)
    monkeypatch.setattr(os, "link", link)
    assert await store.read(ID) == (b"one", version)


# -- several processes ---------------------------------------------------------------------------------------------

COUNT = """
import asyncio, sys
from pathlib import Path
from changeover.uploads.stores.store import RecordChanged
from changeover.uploads.stores.files import FileStore

async def count(store, id, rounds):
    won = []
    while len(won) < rounds:
        record, version = await store.read(id)
        try:
            await store.swap(id, b"%d" % (int(record) + 1), version)
        except RecordChanged:
            continue
        won.append(int(record) + 1)
    return won

store = FileStore(Path(sys.argv[1]), durable=False)
print("ready", flush=True)
sys.stdin.readline()
print(*asyncio.run(count(store, sys.argv[2], int(sys.argv[3]))))
"""


def test_processes_that_count_in_one_record_give_no_number_twice(tmp_path: Path) -> None:
    store, rounds = FileStore(tmp_path, durable=False), 200
    asyncio.run(store.create(ID, b"0"))
    command = [sys.executable, "-c", COUNT, str(tmp_path), ID, str(rounds)]
    counting = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for process in counting:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in counting:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        won = [int(number) for process in counting for number in process.communicate(timeout=60)[0].split()]
    finally:
        for process in counting:
            process.kill()
            process.wait()
    # A swap that was superseded at once may be reported as lost: a number may be unused, but never used twice.
    assert len(won) == len(set(won)) == 3 * rounds
    assert int(asyncio.run(store.read(ID))[0]) >= 3 * rounds
    assert len(records(tmp_path)) == 1


# -- dropping ------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_drop_that_was_killed_half_way_leaves_no_upload_and_is_finished_by_the_next_listing(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(ID, b"0")
    await written(store, "1", b"bytes")

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            store._drop(tmp_path / ID[:2] / ID)
    assert any((tmp_path / ID[:2]).iterdir())
    with pytest.raises(RecordMissing):
        await store.read(ID)
    assert await ids(store) == []
    assert not any((tmp_path / ID[:2]).iterdir())


@asynchronous
async def test_what_cannot_be_removed_now_is_dropped_all_the_same_and_goes_later(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await store.create(ID, b"0")
    await written(store, "1", b"bytes")
    with monkeypatch.context() as patched:
        failing(patched, "rmdir", errno.ENOTEMPTY)
        await store.drop(ID)
        assert await ids(store) == []
    assert "cannot delete the rest" in caplog.text
    assert any((tmp_path / ID[:2]).iterdir())
    (tmp_path / ID[:2] / "not-ours~").touch()
    assert await ids(store) == []
    assert [path.name for path in (tmp_path / ID[:2]).iterdir()] == ["not-ours~"]


@asynchronous
async def test_a_folder_that_is_not_there_is_not_an_upload_that_is_not_there(tmp_path: Path) -> None:
    root = tmp_path / "uploads"
    store = FileStore(root)
    version = await store.create(ID, b"0")
    root.rename(tmp_path / "elsewhere")
    for ask in (store.read(ID), store.swap(ID, b"1", version), store.create(ID, b"0"), store.drop(ID), ids(store)):
        with pytest.raises(StoreUnavailable, match="does not exist"):
            await ask
    (tmp_path / "elsewhere").rename(root)
    assert await store.read(ID) == (b"0", version)


# -- a disk that fails ---------------------------------------------------------------------------------------------

FAILURES = [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False), (errno.EACCES, False), (errno.EROFS, False)]


@pytest.mark.parametrize("call", ["write", "fdatasync", "link", "open"])
@pytest.mark.parametrize(("number", "full"), FAILURES)
@asynchronous
async def test_a_record_that_cannot_be_written_leaves_everything_as_it_was(
    tmp_path: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int, full: bool
) -> None:
    version = await store.create(ID, b"0")
    for ask in (store.swap(ID, b"1", version), store.create(ID + "-2", b"0")):
        with monkeypatch.context() as patched:
            failing(patched, call, number)
            with pytest.raises(StoreUnavailable) as caught:
                await ask
        assert caught.value.full is full
        assert os.strerror(number) in str(caught.value)
    assert await store.read(ID) == (b"0", version)
    assert await ids(store) == [ID]
    assert records(tmp_path) == ["record.1"]
    await store.swap(ID, b"1", version)
    await store.create(ID + "-2", b"0")


async def refusal(writer: FileWriter, piece: bytes) -> StoreUnavailable:
    try:
        writer.write(piece)
        await writer.commit()
    except StoreUnavailable as error:
        return error
    raise AssertionError("it was committed")


@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize(("number", "full"), FAILURES)
@asynchronous
async def test_bytes_that_cannot_be_written_are_not_committed_and_what_was_stays(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int, full: bool
) -> None:
    await store.create(ID, b"0")
    kept = await written(store, "1", b"kept")
    writer = store.writer(ID, "2")
    with monkeypatch.context() as patched:
        failing(patched, call, number)
        caught = await refusal(writer, b"lost")
    writer.close()
    assert caught.full is full
    assert await content(store, kept) == b"kept"
    assert await content(store, [*kept, *await written(store, "3", b" and on")]) == b"kept and on"


@asynchronous
async def test_a_disk_that_takes_a_little_at_a_time_gets_it_all(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    version = await store.create(ID, b"a whole record")
    assert await store.read(ID) == (b"a whole record", version)
    assert await content(store, await written(store, "1", b"whole bytes")) == b"whole bytes"


@asynchronous
async def test_a_folder_that_may_not_be_read_is_unavailable_and_not_missing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(ID, b"0")
    segments = await written(store, "1", b"bytes")
    for call, ask in (
        ("scandir", store.read(ID)),
        ("open", content(store, segments)),
        ("pread", content(store, segments)),
    ):
        with monkeypatch.context() as patched:
            failing(patched, call, errno.EACCES)
            with pytest.raises(StoreUnavailable, match="Permission denied"):
                await ask


@asynchronous
async def test_a_writer_of_an_upload_that_was_dropped_is_told_so(store: FileStore) -> None:
    await store.create(ID, b"0")
    await store.drop(ID)
    with pytest.raises(RecordMissing):
        store.writer(ID, "1")
    assert await ids(store) == []


def test_a_folder_that_the_store_creates_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    """The ids of uploads are the names in it."""
    FileStore(tmp_path / "new", durable=False)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "shared").mkdir(mode=0o750)
    FileStore(tmp_path / "shared", durable=False)
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o750, "the operator chose its mode"
