"""draft-ietf-httpbis-resumable-upload: appends, and what interrupts them."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.uploads.dialects.ietf_client import PARTIAL, Client, document, every_version
from tests.unit.uploads.serving import Instance, Sending, content, settled

from changeover.uploads import CompletedUpload, FileStore, Response
from changeover.uploads.stores.store import Store


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


# -- Upload Append ---------------------------------------------------------------------------------------------------


@every_version
async def test_an_upload_goes_on_where_it_ended(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create(b"he")).id
    got = await client.append(id, 2, b"ll")
    assert (got.status, got.headers["upload-offset"]) == (204, "4")
    assert not client.is_complete(got)
    got = await client.append(id, 4, b"o", complete=True)
    assert (got.status, got.body) == (200, b"thanks")
    assert client.is_complete(got)
    assert await content(instance, id) == b"hello"


@every_version
async def test_bytes_for_another_offset_are_refused_with_the_right_one(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create(b"hel")).id
    got = await client.append(id, 2, b"llo", complete=True)
    assert (got.status, got.headers["upload-offset"]) == (409, "3")
    assert not client.is_complete(got)
    problem = document(got)
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
    assert (problem["expected-offset"], problem["provided-offset"]) == (3, 2)
    assert (await client.append(id, 3, b"lo", complete=True)).status == 200


@pytest.mark.parametrize("version", [6, 8, 9])
async def test_an_append_of_another_media_type_is_refused(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create()).id
    got = await client.append(id, 0, b"hello", content_type="application/octet-stream")
    assert (got.status, got.headers["accept-patch"]) == (415, PARTIAL)
    assert (await client.head(id)).headers["upload-offset"] == "0"


@pytest.mark.parametrize("version", [3, 5])
async def test_the_older_drafts_know_no_media_type(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create()).id
    assert (await client.append(id, 0, b"hello", content_type="application/octet-stream")).status == 204


@pytest.mark.parametrize("missing", ["upload_offset", "upload_complete"])
async def test_an_append_without_one_of_its_fields_is_refused(client: Client, missing: str) -> None:
    id = (await client.create()).id
    headers = {"upload_offset": "0", "upload_complete": "?0", "content_type": PARTIAL}
    del headers[missing]
    assert (await client.instance.got("PATCH", f"/{id}", b"hello", **headers)).status == 400


@pytest.mark.parametrize("offset", ["-1", "1.5", "five", "?0", '"0"', "0, 0", "", "9" * 16])
async def test_an_offset_that_is_no_number_counts_as_missing(client: Client, offset: str) -> None:
    """'Other values MUST cause the entire header field to be ignored'."""
    id = (await client.create()).id
    assert (await client.append(id, 0, b"hello", upload_offset=offset)).status == 400
    assert (await client.head(id, upload_offset=offset)).status == 204


@pytest.mark.parametrize("complete", ["1", "true", "?2", "", "?1, ?1"])
async def test_an_upload_is_not_begun_on_a_misread_boolean(instance: Instance, complete: str) -> None:
    assert (await instance.got("POST", "/", b"hello", upload_complete=complete)).status == 400
    assert not instance.finished


async def test_a_length_that_is_no_number_is_ignored(client: Client) -> None:
    got = await client.create(b"hello", complete=True, upload_length="many")
    assert got.status == 200


async def test_parameters_of_a_field_are_allowed(instance: Instance) -> None:
    """RFC 9651, section 3.3: every Item may carry them."""
    assert (await instance.got("POST", "/", b"hello", upload_complete="?1;a=b")).status == 200


@every_version
async def test_what_had_arrived_before_the_client_hung_up_is_kept(instance: Instance, version: int) -> None:
    """'The server SHOULD append as much of the patch document as possible'."""
    client = Client(instance, version)
    id = (await client.create()).id
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    kind = {"content_type": PARTIAL}
    assert await instance.ask("PATCH", f"/{id}", body, upload_offset="0", **kind, **client.fields(True)) is None
    assert (await client.head(id)).headers["upload-offset"] == "3"
    assert not instance.finished


@every_version
async def test_an_answer_that_got_lost_is_given_again(instance: Instance, version: int) -> None:
    """'The server can choose to replay the final response': here it always does."""
    client = Client(instance, version)
    id = (await client.create(b"hello", complete=True)).id
    got = await client.append(id, 5, b"", complete=True)
    assert (got.status, got.body, got.headers["x-size"]) == (200, b"thanks", "5")
    assert client.is_complete(got)
    assert len(instance.finished) == 1


async def test_an_answer_that_refuses_the_content_is_told_apart_from_one_about_the_upload(store: Store) -> None:
    """'4xx or 5xx status codes indicate in this case that the representation was fully transmitted'."""

    async def refuse(_: CompletedUpload) -> Response:
        return Response(422, (("Content-Type", "text/plain"),), b"no image")

    client = Client(Instance(store, refuse))
    got = await client.create(b"hello", complete=True)
    assert (got.status, got.headers["upload-complete"], got.body) == (422, "?1", b"no image")


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        (3, None),
        (5, None),
        (6, "completed-upload"),
        (8, "inconsistent-upload-length"),
        (9, "inconsistent-upload-length"),
    ],
)
async def test_more_bytes_for_a_complete_upload_are_refused(
    instance: Instance, version: int, problem: str | None
) -> None:
    """'If the upload is already complete, the server MUST NOT modify [it] and MUST reject the request'."""
    client = Client(instance, version)
    id = (await client.create(b"hello", complete=True)).id
    got = await client.append(id, 5, b"!", complete=True)
    assert got.status == 400
    assert document(got).get("type", "").rpartition("#")[2] == (problem or "")
    assert await content(instance, id) == b"hello"


@every_version
async def test_a_request_that_is_sent_again_after_completion_learns_the_offset(
    instance: Instance, version: int
) -> None:
    client = Client(instance, version)
    id = (await client.create(b"hel")).id
    await client.append(id, 3, b"lo", complete=True)
    got = await client.append(id, 3, b"lo", complete=True)
    assert (got.status, got.headers["upload-offset"]) == (409, "5")
    assert len(instance.finished) == 1


# -- Concurrency -----------------------------------------------------------------------------------------------------


@every_version
async def test_the_offset_that_is_told_ends_what_is_under_way_and_holds(store: FileStore, version: int) -> None:
    """'The offset sent by the server MUST be accepted in a subsequent request'."""
    client = Client(Instance(store), version)
    id = (await client.create()).id
    body = Sending()
    appending = asyncio.ensure_future(client.append(id, 0, body))
    body.send(b"hel")
    await settled(body.pieces.empty)
    assert (await client.head(id)).headers["upload-offset"] == "3"
    old = await appending
    assert (old.status, old.headers["upload-offset"]) == (503, "3")
    assert not client.is_complete(old)
    assert (await client.append(id, 3, b"lo", complete=True)).status == 200
    assert await content(client.instance, id) == b"hello"


async def test_what_means_nothing_to_an_upload_says_what_does(client: Client) -> None:
    id = (await client.create()).id
    got = await client.instance.got("POST", f"/{id}", b"hello")
    assert (got.status, got.headers["allow"]) == (405, "HEAD, GET, PATCH, DELETE")


async def test_a_client_that_asks_how_far_it_is_has_the_application_asked(store: FileStore) -> None:
    """One whose last answer got lost asks this, hears that the upload is complete, and is content."""

    async def once(finished: CompletedUpload) -> Response:
        if finished.attempt == 1:
            raise RuntimeError("no database")
        return Response(200)

    instance = Instance(store, once)
    id = (await instance.got("POST", "/", upload_complete="?0")).id
    last = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
    assert (await instance.got("PATCH", f"/{id}", b"hello", **last)).status == 503
    assert (await instance.got("HEAD", f"/{id}")).headers["upload-complete"] == "?1"
    assert [one.attempt for one in instance.finished] == [1, 2]
