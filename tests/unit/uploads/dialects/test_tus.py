"""tus 1.0.0 (tus.io/protocols/resumable-upload), section by section: the core and the creation."""

from __future__ import annotations

import asyncio
import base64

import pytest
from tests.unit.uploads.dialects.tus_client import BYTES, TUS, Client
from tests.unit.uploads.serving import Instance, Sending, content, settled

from changeover.uploads import CompletedUpload, FileStore, Limits, Response


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


# -- Core Protocol ---------------------------------------------------------------------------------------------------


async def test_an_upload_goes_on_where_it_ended(client: Client) -> None:
    id = (await client.create(5)).id
    got = await client.patch(id, 0, b"hel")
    assert (got.status, got.headers["upload-offset"], got.body) == (204, "3", b"")
    assert not client.instance.finished
    got = await client.patch(id, 3, b"lo")
    assert (got.status, got.headers["upload-offset"]) == (204, "5")
    assert await content(client.instance, id) == b"hello"
    assert len(client.instance.finished) == 1


async def test_head_tells_offset_and_length_and_is_not_cached(client: Client) -> None:
    id = (await client.create(5, b"hel")).id
    got = await client.head(id)
    assert got.status == 200
    assert (got.headers["upload-offset"], got.headers["upload-length"]) == ("3", "5")
    assert got.headers["cache-control"] == "no-store"


async def test_head_of_an_upload_nobody_made_has_no_offset(client: Client) -> None:
    got = await client.head("a" * 32)
    assert got.status == 404
    assert "upload-offset" not in got.headers


async def test_bytes_of_another_type_are_refused(client: Client) -> None:
    id = (await client.create(5)).id
    assert (await client.patch(id, 0, b"hello", content_type="application/octet-stream")).status == 415
    assert (await client.head(id)).headers["upload-offset"] == "0"


async def test_bytes_for_another_offset_change_nothing(client: Client) -> None:
    id = (await client.create(5, b"hel")).id
    assert (await client.patch(id, 2, b"llo")).status == 409
    assert (await client.head(id)).headers["upload-offset"] == "3"


@pytest.mark.parametrize("offset", ["-1", "x", "1.0", "+1", "", "1 1", "٣"])
async def test_an_offset_that_is_no_number_is_refused(client: Client, offset: str) -> None:
    id = (await client.create(5)).id
    headers = {"content_type": BYTES, "upload_offset": offset.encode().decode("latin-1")}
    got = await client.instance.ask("PATCH", f"/{id}", b"hello", **TUS, **headers)
    assert got is not None
    assert got.status == 400


async def test_bytes_without_an_offset_are_refused(client: Client) -> None:
    id = (await client.create(5)).id
    assert (await client.ask("PATCH", f"/{id}", b"hello", content_type=BYTES)).status == 400


async def test_more_bytes_than_the_length_are_refused(client: Client) -> None:
    id = (await client.create(3)).id
    assert (await client.patch(id, 0, b"hello")).status == 400
    assert not client.instance.finished


async def test_what_had_arrived_before_the_client_hung_up_is_kept(client: Client) -> None:
    id = (await client.create(5)).id
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    assert await client.instance.ask("PATCH", f"/{id}", body, **TUS, content_type=BYTES, upload_offset="0") is None
    assert (await client.head(id)).headers["upload-offset"] == "3"


async def test_the_last_answer_is_given_again_when_it_got_lost(client: Client) -> None:
    id = (await client.create(5, b"hello")).id
    got = await client.patch(id, 5)
    assert (got.status, got.headers["upload-offset"]) == (204, "5")
    assert len(client.instance.finished) == 1


async def test_the_last_bytes_sent_again_are_no_new_ones(client: Client) -> None:
    id = (await client.create(5, b"hel")).id
    await client.patch(id, 3, b"lo")
    got = await client.patch(id, 3, b"lo")
    assert (got.status, got.headers["upload-offset"]) == (409, "5")
    assert (await client.patch(id, 5, b"!")).status == 409
    assert await content(client.instance, id) == b"hello"


async def test_options_tell_what_is_spoken(store: FileStore) -> None:
    got = await Instance(store, limits=Limits(max_size=100)).got("OPTIONS", "/")
    assert got.status == 204
    assert got.headers["tus-version"] == "1.0.0"
    assert got.headers["tus-max-size"] == "100"
    assert got.headers["tus-checksum-algorithm"] == "sha1,sha256,crc32c"
    assert got.headers["tus-extension"].split(",") == [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    ]


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("HEAD", "/" + "a" * 32), ("PATCH", "/" + "a" * 32)])
async def test_another_version_is_refused_before_anything_is_done(instance: Instance, method: str, path: str) -> None:
    got = await instance.got(method, path, b"hello", tus_resumable="0.2.2", upload_length="5", content_type=BYTES)
    assert (got.status, got.headers["tus-version"]) == (412, "1.0.0")
    assert not instance.finished


async def test_the_method_can_be_overridden(client: Client) -> None:
    """Header "X-HTTP-Method-Override": it "MUST be interpreted as the request's method by the Server"."""
    id = (await client.create(5)).id
    got = await client.ask(
        "POST", f"/{id}", b"hello", content_type=BYTES, upload_offset="0", x_http_method_override="PATCH"
    )
    assert (got.status, got.headers["upload-offset"]) == (204, "5")


async def test_a_method_that_means_nothing_is_refused(client: Client) -> None:
    id = (await client.create(5)).id
    assert (await client.ask("PUT", f"/{id}", b"hello")).status == 405
    assert (await client.ask("PATCH", "/", b"hello")).status == 405


# -- Creation --------------------------------------------------------------------------------------------------------


async def test_an_upload_is_made_at_a_place_of_its_own(client: Client) -> None:
    got = await client.create(5)
    assert got.status == 201
    assert got.headers["location"] == got.id  # to be resolved against the collection, which ends with a slash
    assert (await client.create(5)).id != got.id
    assert (await client.ask("POST", "", upload_length="5")).headers["location"].startswith("/files/")


async def test_an_empty_upload_is_complete_at_once(client: Client) -> None:
    got = await client.create(0)
    assert got.status == 201
    assert [finished.size for finished in client.instance.finished] == [0]


async def test_metadata_reaches_the_application_and_comes_back(client: Client) -> None:
    name = base64.b64encode("世界.png".encode()).decode()
    got = await client.create(5, upload_metadata=f"filename {name},is_confidential")
    assert (await client.head(got.id)).headers["upload-metadata"] == f"filename {name},is_confidential"
    await client.patch(got.id, 0, b"hello")
    assert client.instance.finished[0].metadata == {"filename": "世界.png", "is_confidential": ""}


@pytest.mark.parametrize("text", ["name !!!", "name aGk=,name aGk=", "na me aGk=", "name /w==", ",", "name aGk"])
async def test_metadata_that_cannot_be_read_is_refused(client: Client, text: str) -> None:
    assert (await client.create(5, upload_metadata=text)).status == 400


async def test_an_upload_that_announces_too_much_is_refused(store: FileStore) -> None:
    assert (await Client(Instance(store, limits=Limits(max_size=4))).create(5)).status == 413


@pytest.mark.parametrize("length", ["-1", "x", "5.0", "1" * 30])
async def test_a_length_that_is_no_number_is_refused(client: Client, length: str) -> None:
    assert (await client.ask("POST", "/", upload_length=length)).status == 400


async def test_a_length_is_needed_or_its_deferral(client: Client) -> None:
    assert (await client.ask("POST", "/")).status == 400
    assert (await client.ask("POST", "/", upload_length="5", upload_defer_length="1")).status == 400


# -- Creation Defer Length -------------------------------------------------------------------------------------------


async def test_a_length_can_be_told_later(client: Client) -> None:
    id = (await client.create(None)).id
    head = await client.head(id)
    assert head.headers["upload-defer-length"] == "1"
    assert "upload-length" not in head.headers
    await client.patch(id, 0, b"hel")
    await client.patch(id, 3, b"l", upload_length="5")
    head = await client.head(id)
    assert head.headers["upload-length"] == "5"
    assert "upload-defer-length" not in head.headers
    assert (await client.patch(id, 4, b"o")).status == 204
    assert await content(client.instance, id) == b"hello"


async def test_a_length_is_told_only_once(client: Client) -> None:
    """'Once it is set the Client MUST NOT change it'."""
    id = (await client.create(5)).id
    assert (await client.patch(id, 0, b"hel", upload_length="6")).status == 400
    assert (await client.head(id)).headers["upload-length"] == "5"


async def test_a_length_that_is_here_already_completes(client: Client) -> None:
    id = (await client.create(None, b"hello")).id
    assert (await client.patch(id, 5, upload_length="5")).status == 204
    assert len(client.instance.finished) == 1


@pytest.mark.parametrize("deferred", ["0", "2", "yes"])
async def test_a_deferral_is_spelt_one(client: Client, deferred: str) -> None:
    """'If the Upload-Defer-Length header contains any other value the Server should return 400'."""
    assert (await client.ask("POST", "/", upload_defer_length=deferred)).status == 400


# -- Creation With Upload --------------------------------------------------------------------------------------------


async def test_an_upload_can_be_begun_with_its_bytes(client: Client) -> None:
    got = await client.create(5, b"hel")
    assert (got.status, got.headers["upload-offset"]) == (201, "3")
    got = await client.create(5, b"hello")
    assert (got.status, got.headers["upload-offset"]) == (201, "5")
    assert await content(client.instance, got.id) == b"hello"


async def test_a_body_of_another_type_is_no_part_of_the_upload(client: Client) -> None:
    got = await client.ask("POST", "/", b"hel", upload_length="5", content_type="text/plain")
    assert (got.status, got.headers["upload-offset"]) == (201, "0")


# -- beside the specification ----------------------------------------------------------------------------------------


async def test_a_new_patch_ends_an_old_one_and_goes_on_from_its_bytes(client: Client) -> None:
    id = (await client.create(5)).id
    body = Sending()
    old = asyncio.ensure_future(client.patch(id, 0, body))
    body.send(b"hel")
    await settled(body.pieces.empty)
    assert (await client.patch(id, 0, b"hello")).status == 409
    assert ((await old).status, (await old).headers["upload-offset"]) == (503, "3")
    assert (await client.patch(id, 3, b"lo")).status == 204


async def test_an_application_that_fails_is_asked_again_with_the_next_patch(store: FileStore) -> None:
    async def once(finished: CompletedUpload) -> Response:
        if finished.attempt == 1:
            raise RuntimeError("no database")
        return Response(200)

    client = Client(Instance(store, once))
    id = (await client.create(5)).id
    assert (await client.patch(id, 0, b"hello")).status == 503
    assert (await client.patch(id, 5)).status == 204


async def test_a_client_that_asks_how_far_it_is_has_the_application_asked(store: FileStore) -> None:
    """One whose last answer got lost asks this, hears that every byte is there, and is content."""

    async def once(finished: CompletedUpload) -> Response:
        if finished.attempt == 1:
            raise RuntimeError("no database")
        return Response(200)

    client = Client(Instance(store, once))
    id = (await client.create(5)).id
    assert (await client.patch(id, 0, b"hello")).status == 503
    assert [one.attempt for one in client.instance.finished] == [1]
    assert (await client.head(id)).headers["upload-offset"] == "5"
    assert [one.attempt for one in client.instance.finished] == [1, 2]
    await client.head(id)
    assert len(client.instance.finished) == 2
