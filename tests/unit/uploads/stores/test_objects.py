"""Uploads in a bucket: a service that refuses, stalls, or does what it was asked and never says so."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import obstore
import pytest
from tests.unit.uploads.bucket_stores import SOON, gcs_store, s3_store
from tests.unit.uploads.buckets import Fault, Service
from tests.unit.uploads.serving import Instance, Sending, settled
from tests.unit.uploads.serving import content as content_of
from tests.unit.uploads.storing import ID, asynchronous, content, ids, written

from changeover.uploads import Limits
from changeover.uploads.stores.objects import BucketSettings, ObjectStore, S3Store
from changeover.uploads.stores.store import RecordChanged, RecordMissing, Segment, StoreUnavailable

Make = Callable[..., ObjectStore]


@pytest.fixture(params=["S3", "Google"])
def service(request: pytest.FixtureRequest) -> Service:
    found: Service = request.getfixturevalue("s3" if request.param == "S3" else "gcs")
    found.asked.clear()
    return found


@pytest.fixture
def make(service: Service, request: pytest.FixtureRequest) -> Make:
    """Makes the store in that service; of several in one test, each has a folder of its own."""
    s3 = "S3" in request.node.callspec.id

    def store(**options: Any) -> ObjectStore:
        return (s3_store if s3 else gcs_store)(service.url, **{**SOON, **options})

    return store


# -- what the service says -----------------------------------------------------------------------------------------

FAULTS = [
    pytest.param(Fault("*", status=500, code="InternalError"), r"500.*InternalError", id="500"),
    pytest.param(Fault("*", status=503, code="SlowDown"), r"503.*SlowDown: as the test wanted it", id="slow down"),
    pytest.param(Fault("*", status=429, code="rateLimitExceeded"), r"429.*rateLimitExceeded", id="too often"),
    pytest.param(Fault("*", status=403, code="AccessDenied"), r"403.*AccessDenied", id="forbidden"),
    pytest.param(Fault("*", status=401, code="Unauthenticated"), "401", id="unauthenticated"),
    pytest.param(Fault("*", status=404, code="NoSuchBucket"), r"404.*NoSuchBucket", id="no bucket"),
    pytest.param(Fault("*"), "no response", id="hung up"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
@asynchronous
async def test_a_service_that_fails_is_unavailable_says_why_and_loses_nothing(
    service: Service, make: Make, fault: Fault, reason: str
) -> None:
    store = make()
    version = await store.create(ID, b"0")
    kept = await written(store, "1", b"kept")
    writer = store.writer(ID, "2")
    writer.write(b"lost")
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.create(ID + "-2", b"0"),
        lambda: store.read(ID),
        lambda: store.swap(ID, b"1", version),
        lambda: writer.commit(),
        lambda: content(store, kept),
        lambda: ids(store),
        lambda: store.drop(ID),
    ]
    with service.failing(fault):
        for ask in calls:
            with pytest.raises(StoreUnavailable, match=reason) as caught:
                await ask()
            assert service.url not in str(caught.value)
            assert not caught.value.full
    assert await ids(store) == [ID]
    assert await store.read(ID) == (b"0", version)
    assert await content(store, [*kept, *await written(store, "3", b" and on")]) == b"kept and on"
    await store.swap(ID, b"1", version)
    await store.create(ID + "-2", b"0")


@asynchronous
async def test_a_service_that_does_not_answer_in_time_is_unavailable(service: Service, make: Make) -> None:
    patient = make()
    version = await patient.create(ID, b"0")
    hasty = make(client_options={"timeout": timedelta(milliseconds=200)})
    hasty._prefix = patient._prefix
    for ask in (hasty.read(ID), hasty.swap(ID, b"1", version)):
        with (
            service.failing(Fault("*", held=threading.Event(), status=500)),
            pytest.raises(StoreUnavailable, match="no response: Timeout"),
        ):
            await ask
    assert await patient.read(ID) == (b"0", version)
    await patient.swap(ID, b"1", version)


@pytest.mark.parametrize(("status", "code"), [(507, "InsufficientStorage"), (403, "QuotaExceeded")])
@asynchronous
async def test_a_service_without_room_is_full(service: Service, make: Make, status: int, code: str) -> None:
    store = make()
    await store.create(ID, b"0")
    with service.failing(Fault("PUT", status=status, code=code)), pytest.raises(StoreUnavailable) as caught:
        await written(store, "1", b"bytes")
    assert caught.value.full


@pytest.mark.parametrize("status", [500, 503, 429])
@asynchronous
async def test_a_passing_fault_is_not_noticed(service: Service, make: Make, status: int) -> None:
    store = make()
    for ask in (lambda: store.create(ID, b"0"), lambda: store.read(ID), lambda: written(store, "1", b"bytes")):
        with service.failing(Fault("*", status=status, times=1)):
            await ask()


@asynchronous
async def test_a_conflict_in_passing_is_neither_a_lost_race_nor_the_end_of_it(service: Service, make: Make) -> None:
    store = make()
    with service.failing(Fault("PUT", status=409, code="ConditionalRequestConflict", times=2)):
        version = await store.create(ID, b"0")
    with service.failing(Fault("PUT", status=409, code="ConditionalRequestConflict", times=2)):
        version = await store.swap(ID, b"1", version)
    with (
        service.failing(Fault("PUT", status=409, code="ConditionalRequestConflict")),
        pytest.raises(StoreUnavailable, match=r"409.*ConditionalRequestConflict"),
    ):
        await store.swap(ID, b"2", version)
    assert await store.read(ID) == (b"1", version)


# -- answers that were lost ----------------------------------------------------------------------------------------

LOST = [
    pytest.param({}, id="hung up"),
    pytest.param({"status": 500}, id="500"),
    pytest.param({"status": 412, "code": "PreconditionFailed"}, id="refused after all"),
]


@pytest.mark.parametrize("how", LOST)
@asynchronous
async def test_a_write_whose_answer_was_lost_has_happened(service: Service, make: Make, how: dict[str, Any]) -> None:
    store = make()
    with service.failing(Fault("PUT", done=True, times=1, **how)):
        version = await store.create(ID, b"0")
    assert await store.read(ID) == (b"0", version)
    with service.failing(Fault("PUT", done=True, times=1, **how)):
        version = await store.swap(ID, b"1", version)
    assert await store.read(ID) == (b"1", version)
    await store.swap(ID, b"2", version)


@pytest.mark.parametrize("how", LOST)
@asynchronous
async def test_a_write_whose_answer_was_lost_and_that_others_went_on_from_is_theirs(
    service: Service, make: Make, how: dict[str, Any]
) -> None:
    store = make()
    version = await store.create(ID, b"0")

    def others_go_on() -> None:
        async def swap() -> None:
            record, newest = await store.read(ID)
            assert record == b"1"
            await store.swap(ID, b"2", newest)

        asyncio.run(swap())

    with (
        service.failing(Fault("PUT", done=True, times=1, then=others_go_on, **how)),
        pytest.raises(RecordChanged),
    ):
        await store.swap(ID, b"1", version)
    assert (await store.read(ID))[0] == b"2"


@asynchronous
async def test_the_same_record_of_another_is_not_taken_for_ones_own(service: Service, make: Make) -> None:
    store = make()
    version = await store.create(ID, b"0")

    def another_writes_the_same() -> None:
        asyncio.run(store.swap(ID, b"1", version))

    with service.failing(Fault("PUT", status=412, times=1, then=another_writes_the_same)), pytest.raises(RecordChanged):
        await store.swap(ID, b"1", version)


@asynchronous
async def test_a_write_that_arrives_after_its_second_attempt_changes_nothing(service: Service, make: Make) -> None:
    patient = make()
    version = await patient.create(ID, b"0")
    hasty = make(client_options={"timeout": timedelta(milliseconds=300)})
    hasty._prefix = patient._prefix
    late = Fault("PUT", held=threading.Event(), done=True, times=1)
    with service.failing(late):
        version = await hasty.swap(ID, b"1", version)
    assert await asyncio.to_thread(late.passed.wait, 10)
    assert await patient.read(ID) == (b"1", version)
    await patient.swap(ID, b"2", version)


@asynchronous
async def test_what_is_not_known_after_all_attempts_is_unavailable_and_may_have_happened(
    service: Service, make: Make
) -> None:
    store = make()
    version = await store.create(ID, b"0")
    with service.failing(Fault("PUT", done=True), Fault("GET")), pytest.raises(StoreUnavailable):
        await store.swap(ID, b"1", version)
    record, newest = await store.read(ID)
    assert record == b"1"
    with pytest.raises(RecordChanged):
        await store.swap(ID, b"2", version)
    assert await store.read(ID) == (b"1", newest)


# -- the rest ------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_half_dropped_upload_is_still_listed_and_can_be_dropped_again(service: Service, make: Make) -> None:
    store = make()
    await store.create(ID, b"cancelled")
    for number in range(5):
        await written(store, f"{number}", b"bytes")
    # S3 deletes many at once, by POST; Google one by one.
    with service.failing(Fault("DELETE", status=500), Fault("POST", status=500)), pytest.raises(StoreUnavailable):
        await store.drop(ID)
    assert await ids(store) == [ID]
    assert (await store.read(ID))[0] == b"cancelled"
    await store.drop(ID)
    assert await ids(store) == []
    with pytest.raises(RecordMissing):
        await content(store, [Segment("0-0", 5)])


@asynchronous
async def test_a_writer_holds_no_more_than_it_may_and_keeps_what_came_before(service: Service, make: Make) -> None:
    store = make(settings=BucketSettings(max_uncommitted=10))
    await store.create(ID, b"0")
    writer = store.writer(ID, "1")
    writer.write(b"0123456789")
    with pytest.raises(StoreUnavailable, match="more than 10 bytes"):
        writer.write(b"x")
    segments = list(await writer.commit())
    writer.write(b"and on")
    segments += await writer.commit()
    writer.close()
    assert await content(store, segments) == b"0123456789and on"
    assert [segment.name for segment in segments] == ["1-0", "1-1"]


@asynchronous
async def test_what_was_not_committed_never_went_over_the_wire(service: Service, make: Make) -> None:
    store = make()
    await store.create(ID, b"0")
    service.asked.clear()
    writer = store.writer(ID, "1")
    writer.write(b"bytes")
    writer.close()
    assert list(await writer.commit()) == []
    assert service.asked == []


@asynchronous
async def test_a_record_that_is_not_one_is_not_misread(service: Service, make: Make) -> None:
    store = make()
    await store.create(ID, b"0")
    await obstore.put_async(store._service, store._record(ID), b"something else")
    found, version = await store.read(ID)
    assert found == b"something else"  # the engine finds out that it is no record
    assert await store.swap(ID, b"1", version)


def test_the_library_is_there_without_the_one_for_buckets() -> None:
    caught = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['obstore'] = None; import changeover.uploads; "
         "import changeover.uploads.stores.objects"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert caught.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: stores in buckets need obstore: "
        f"{shlex.quote(sys.executable)} -m pip install 'changeover[objects]'"
    )


@asynchronous
async def test_a_store_at_the_top_of_its_bucket_lists_what_it_has(s3: Service) -> None:
    store = S3Store("top", endpoint=s3.url, region="us-east-1", access_key_id="a", secret_access_key="b",
                    client_options={"allow_http": True}, virtual_hosted_style_request=False)  # fmt: skip
    s3.make_bucket("top")
    await store.create(ID, b"0")
    assert await ids(store) == [ID]
    await store.drop(ID)


@asynchronous
async def test_an_upload_goes_on_at_another_instance_and_its_answer_is_the_same_at_both(
    service: Service, make: Make
) -> None:
    store = make()
    limits = Limits(segment=1000)
    one, other = Instance(store, limits=limits), Instance(store, limits=limits)
    tus = {"tus_resumable": "1.0.0"}
    patch = {**tus, "content_type": "application/offset+octet-stream"}
    whole = secrets.token_bytes(10_000)
    id = (await one.got("POST", "", upload_length="10000", **tus)).id
    breaking_off = Sending()
    calls = asyncio.ensure_future(one.ask("PATCH", f"/{id}", breaking_off, upload_offset="0", **patch))
    for start in range(0, 5000, 500):
        breaking_off.send(whole[start : start + 500])
    await settled(breaking_off.pieces.empty)
    breaking_off.hang_up()
    await calls
    offset = int((await other.got("HEAD", f"/{id}", **tus)).headers["upload-offset"])
    assert offset == 5000
    assert (await other.got("PATCH", f"/{id}", whole[offset:], upload_offset="5000", **patch)).status in (200, 204)
    assert await content_of(one, id) == whole
    assert len(other.finished) == 1
    assert not one.finished
    assert await ids(store) == [id]
