"""draft-ietf-httpbis-resumable-upload, section by section, in every supported interop version: all but appends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.uploads.dialects.ietf_client import PARTIAL, Client, document, every_version
from tests.unit.uploads.serving import Instance, Sending, content, settled

from changeover.uploads import Limits
from changeover.uploads.stores.store import Store


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


# -- Upload Creation -------------------------------------------------------------------------------------------------


@every_version
async def test_a_whole_upload_in_one_request_gets_the_answer_of_the_application(
    instance: Instance, version: int
) -> None:
    client = Client(instance, version)
    got = await client.create(b"hello", complete=True)
    assert (got.status, got.body, got.headers["x-size"]) == (200, b"thanks", "5")
    assert client.is_complete(got)
    assert await content(instance, got.id) == b"hello"


@every_version
async def test_an_upload_can_be_begun_with_some_of_its_bytes(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    got = await client.create(b"hel")
    assert (got.status, got.headers["upload-offset"]) == (201, "3")
    assert not client.is_complete(got)
    assert not instance.finished


@every_version
async def test_an_upload_can_be_begun_with_none_of_its_bytes(instance: Instance, version: int) -> None:
    """Which asks for no 104: "another mechanism to learn the URI"."""
    got = await Client(instance, version).create()
    assert (got.status, got.headers["upload-offset"]) == (201, "0")


async def test_an_empty_upload_can_be_complete(client: Client) -> None:
    got = await client.create(b"", complete=True)
    assert (got.status, got.headers["x-size"]) == (200, "0")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_every_method_with_content_begins_an_upload(instance: Instance, method: str) -> None:
    got = await instance.got(method, "/", b"hello", upload_complete="?1")
    assert got.status == 200
    assert instance.finished[0].method == method


async def test_the_application_learns_what_describes_the_content(client: Client) -> None:
    got = await client.create(content_type="image/png", content_language="zh")
    await client.append(got.id, 0, b"hello", complete=True)
    assert client.instance.finished[0].headers == {"content-type": "image/png", "content-language": "zh"}


async def test_without_the_version_field_the_newest_is_meant(instance: Instance) -> None:
    got = await instance.got("POST", "/", b"hel", upload_complete="?0")
    assert (got.status, got.headers["upload-complete"]) == (201, "?0")


async def test_a_version_that_is_not_spoken_cannot_be_resumed(instance: Instance) -> None:
    got = await instance.got("POST", "/", b"hello", upload_complete="?0", upload_draft_interop_version="4")
    assert got.status == 400
    assert "3, 5, 6, 8, 9" in document(got)["detail"]
    assert not instance.finished


async def test_a_first_request_that_hides_whether_it_is_the_last_is_refused(instance: Instance) -> None:
    assert (await instance.got("POST", "/", b"hello", upload_draft_interop_version="9")).status == 400


@every_version
async def test_no_interim_response_is_ever_sent(store: Store, version: int) -> None:
    """nginx takes 104 for the final response; an ASGI server cannot send it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    body = Sending()
    body.send(b"hello")
    body.end()
    instance = Instance(store)
    headers = Client(instance, version).fields(True)
    await instance.app(
        {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        },
        body.receive,
        send,
    )
    assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [200]


# -- Limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "lifetime"), [(6, "expires"), (8, "max-age"), (9, "max-age")])
async def test_limits_are_announced_where_an_upload_is_begun(store: Store, version: int, lifetime: str) -> None:
    instance = Instance(store, limits=Limits(max_size=100, max_append=10, max_age=60), now=lambda: 1000.0)
    got = await Client(instance, version).create()
    assert got.headers["upload-limit"] == f"max-size=100, max-append-size=10, {lifetime}=60"


async def test_the_age_is_what_is_left_of_it(store: Store) -> None:
    now = 1000.0
    instance = Instance(store, limits=Limits(max_age=60), now=lambda: now)
    got = await Client(instance).create()
    now = 1045.0
    assert (await Client(instance).head(got.id)).headers["upload-limit"] == "max-age=15"


@pytest.mark.parametrize("version", [3, 5])
async def test_drafts_that_know_no_limits_are_told_none(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    got = await client.create()
    assert "upload-limit" not in {*got.headers, *(await client.head(got.id)).headers}


async def test_an_upload_that_never_ends_still_announces_a_limit(client: Client) -> None:
    """'MUST indicate the limits': `min-size=0` where there are none."""
    got = await client.create(b"hello", complete=True)
    assert (await client.head(got.id)).headers["upload-limit"] == "min-size=0"


async def test_options_announce_the_limits_and_the_media_type(store: Store) -> None:
    got = await Instance(store, limits=Limits(max_size=100)).got("OPTIONS", "/")
    assert got.status == 204
    assert got.headers["accept-patch"] == PARTIAL
    assert got.headers["upload-limit"] == "max-size=100, max-age=86400"


async def test_an_upload_that_announces_too_much_is_refused_with_the_limits(store: Store) -> None:
    """'A server responding with a 413 ... MUST include the Upload-Limit header'."""
    got = await Client(Instance(store, limits=Limits(max_size=4))).create(upload_length="5")
    assert got.status == 413
    assert got.headers["upload-limit"].startswith("max-size=4")


async def test_a_request_that_is_too_large_leaves_nothing_and_the_upload_goes_on(store: Store) -> None:
    """'SHOULD retry the request with a smaller size'."""
    client = Client(Instance(store, limits=Limits(max_append=4)))
    id = (await client.create()).id
    got = await client.append(id, 0, b"hello")
    assert got.status == 413
    assert "max-append-size=4" in got.headers["upload-limit"]
    assert (await client.append(id, 0, b"hell")).headers["upload-offset"] == "4"


# -- Length ----------------------------------------------------------------------------------------------------------


async def test_a_length_that_was_told_is_told_again(client: Client) -> None:
    id = (await client.create(upload_length="5")).id
    assert (await client.head(id)).headers["upload-length"] == "5"


async def test_the_size_of_a_whole_request_is_the_length(client: Client) -> None:
    """Section "Length", the first of two ways."""
    body = Sending()
    id = (await client.create()).id
    body.send(b"he")
    body.hang_up()
    gone = {"upload_offset": "0", "content_type": PARTIAL, "upload_complete": "?1", "content_length": "5"}
    assert await client.instance.ask("PATCH", f"/{id}", body, **gone) is None
    head = await client.head(id)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("2", "5")


async def test_two_ways_to_say_the_length_must_agree(client: Client) -> None:
    got = await client.create(b"hello", complete=True, upload_length="6")
    assert (got.status, got.headers["upload-complete"]) == (400, "?0")
    assert document(got)["type"].endswith("#inconsistent-upload-length")
    assert "upload-limit" in got.headers
    assert not client.instance.finished


async def test_another_length_than_before_is_refused_and_ends_the_upload(client: Client) -> None:
    id = (await client.create(b"he", upload_length="5")).id
    got = await client.append(id, 2, b"l", upload_length="6")
    assert got.status == 400
    assert document(got)["type"].endswith("#inconsistent-upload-length")
    assert (await client.head(id)).status == 404


async def test_more_bytes_than_the_length_are_refused_and_end_the_upload(client: Client) -> None:
    """'Rejecting the request once the offset exceeds the length, marking the upload resource invalid'."""
    id = (await client.create(upload_length="3")).id
    got = await client.append(id, 0, b"hello")
    assert document(got)["type"].endswith("#inconsistent-upload-length")
    assert (await client.head(id)).status == 404


async def test_fewer_bytes_than_the_length_are_not_complete(client: Client) -> None:
    id = (await client.create(upload_length="9")).id
    assert (await client.append(id, 0, b"hello", complete=True)).status == 400
    assert not client.instance.finished


async def test_all_bytes_are_not_enough_to_be_complete(client: Client) -> None:
    """'The offset could match the length, but the upload can still be incomplete'."""
    id = (await client.create(b"hello", upload_length="5")).id
    head = await client.head(id)
    assert (head.headers["upload-offset"], head.headers["upload-complete"]) == ("5", "?0")
    assert (await client.append(id, 5, b"", complete=True)).body == b"thanks"


# -- Offset Retrieval ------------------------------------------------------------------------------------------------


@every_version
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_the_offset_is_told_and_not_to_be_cached(instance: Instance, version: int, method: str) -> None:
    client = Client(instance, version)
    id = (await client.create(b"hel")).id
    got = await instance.got(method, f"/{id}", **client.fields(None))
    assert (got.status, got.headers["upload-offset"], got.headers["cache-control"]) == (204, "3", "no-store")
    assert not client.is_complete(got)


@every_version
async def test_an_upload_that_is_complete_says_so(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create(b"hello", complete=True)).id
    got = await client.head(id)
    assert (got.status, got.headers["upload-offset"]) == (204, "5")
    assert client.is_complete(got)


@pytest.mark.parametrize(("version", "status"), [(3, 400), (5, 400), (6, 400), (8, 204), (9, 204)])
async def test_a_question_that_carries_an_offset_is_refused_where_the_draft_says_so(
    instance: Instance, version: int, status: int
) -> None:
    """'The server MUST reject requests with either of these fields', in the drafts until -05."""
    client = Client(instance, version)
    id = (await client.create()).id
    assert (await client.head(id, upload_offset="0")).status == status
    got = await instance.got("HEAD", f"/{id}", **client.fields(False))
    assert got.status == status


async def test_an_upload_nobody_made_is_not_found(client: Client) -> None:
    got = await client.head("a" * 32)
    assert got.status == 404
    assert "upload-offset" not in got.headers


@pytest.mark.parametrize("id", ["..", "%2e%2e", "a", "x" * 200, "..%2fetc"])
async def test_what_cannot_be_an_id_is_not_found(client: Client, id: str) -> None:
    assert (await client.head(id)).status == 404


# -- Upload Cancellation ---------------------------------------------------------------------------------------------


@every_version
async def test_a_cancelled_upload_is_gone(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create(b"hel")).id
    assert (await instance.got("DELETE", f"/{id}", **client.fields(None))).status == 204
    assert (await client.head(id)).status == 404
    assert (await client.append(id, 3, b"lo", complete=True)).status == 404


async def test_cancelling_ends_an_append_that_is_under_way(client: Client) -> None:
    """'SHOULD terminate any in-flight requests'."""
    id = (await client.create()).id
    body = Sending()
    appending = asyncio.ensure_future(client.append(id, 0, body))
    body.send(b"hel")
    await settled(body.pieces.empty)
    assert (await client.instance.got("DELETE", f"/{id}")).status == 204
    assert (await appending).status in (404, 503)
