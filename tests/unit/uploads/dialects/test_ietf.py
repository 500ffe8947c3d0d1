"""draft-ietf-httpbis-resumable-upload, section by section, in every interop version that is spoken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.uploads.serving import Got, Instance, Sending, content, settled

from changeover.uploads import CompletedUpload, FileStore, Limits, Response
from changeover.uploads.stores.store import Store

VERSIONS = (3, 5, 6, 8, 9)
every_version = pytest.mark.parametrize("version", VERSIONS)
PARTIAL = "application/partial-upload"


class Client:
    """Speaks one interop version, as its draft says."""

    def __init__(self, instance: Instance, version: int = 9) -> None:
        self.instance = instance
        self.version = version

    def said(self, complete: bool | None) -> dict[str, str]:
        told = {"upload_draft_interop_version": str(self.version)}
        if complete is not None and self.version == 3:
            told["upload_incomplete"] = "?0" if complete else "?1"
        elif complete is not None:
            told["upload_complete"] = "?1" if complete else "?0"
        return told

    async def create(self, body: bytes | Sending = b"", *, complete: bool = False, **more: str) -> Got:
        return await self.instance.got("POST", "/", body, **self.said(complete), **more)

    async def append(self, id: str, offset: int, body: bytes | Sending, *, complete: bool = False, **more: str) -> Got:
        kind = {"content_type": PARTIAL} if self.version > 5 else {}
        at = {"upload_offset": str(offset)}
        return await self.instance.got("PATCH", f"/{id}", body, **{**kind, **at, **self.said(complete), **more})

    async def head(self, id: str, **more: str) -> Got:
        return await self.instance.got("HEAD", f"/{id}", **self.said(None), **more)

    def is_complete(self, got: Got) -> bool:
        if self.version == 3:
            return got.headers["upload-incomplete"] == "?0"
        return got.headers["upload-complete"] == "?1"


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


def told(got: Got) -> Mapping[str, Any]:
    """A problem document."""
    assert got.headers["content-type"] == "application/problem+json"
    found: Mapping[str, Any] = json.loads(got.body)
    assert found["status"] == got.status
    return found


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


async def test_a_version_that_is_not_spoken_is_refused(instance: Instance) -> None:
    got = await instance.got("POST", "/", b"hello", upload_complete="?1", upload_draft_interop_version="4")
    assert got.status == 400
    assert "3, 5, 6, 8, 9" in told(got)["detail"]
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
    headers = Client(instance, version).said(True)
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
    assert told(got)["type"].endswith("#inconsistent-upload-length")
    assert "upload-limit" in got.headers
    assert not client.instance.finished


async def test_another_length_than_before_is_refused_and_ends_the_upload(client: Client) -> None:
    id = (await client.create(b"he", upload_length="5")).id
    got = await client.append(id, 2, b"l", upload_length="6")
    assert got.status == 400
    assert told(got)["type"].endswith("#inconsistent-upload-length")
    assert (await client.head(id)).status == 404


async def test_more_bytes_than_the_length_are_refused_and_end_the_upload(client: Client) -> None:
    """'Rejecting the request once the offset exceeds the length, marking the upload resource invalid'."""
    id = (await client.create(upload_length="3")).id
    got = await client.append(id, 0, b"hello")
    assert told(got)["type"].endswith("#inconsistent-upload-length")
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
    got = await instance.got(method, f"/{id}", **client.said(None))
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
    """'The server MUST reject requests with either of these fields', said the drafts until -05."""
    client = Client(instance, version)
    id = (await client.create()).id
    assert (await client.head(id, upload_offset="0")).status == status
    got = await instance.got("HEAD", f"/{id}", **client.said(False))
    assert got.status == status


async def test_an_upload_nobody_made_is_not_found(client: Client) -> None:
    got = await client.head("a" * 32)
    assert got.status == 404
    assert "upload-offset" not in got.headers


@pytest.mark.parametrize("id", ["..", "%2e%2e", "a", "x" * 200, "..%2fetc"])
async def test_what_cannot_be_an_id_is_not_found(client: Client, id: str) -> None:
    assert (await client.head(id)).status == 404


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
    problem = told(got)
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
    assert await instance.ask("PATCH", f"/{id}", body, upload_offset="0", **kind, **client.said(True)) is None
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
    assert told(got).get("type", "").rpartition("#")[2] == (problem or "")
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


# -- Upload Cancellation ---------------------------------------------------------------------------------------------


@every_version
async def test_a_cancelled_upload_is_gone(instance: Instance, version: int) -> None:
    client = Client(instance, version)
    id = (await client.create(b"hel")).id
    assert (await instance.got("DELETE", f"/{id}", **client.said(None))).status == 204
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
