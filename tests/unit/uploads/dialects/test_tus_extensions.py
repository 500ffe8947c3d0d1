"""tus 1.0.0: the other extensions, section by section."""

from __future__ import annotations

import base64
import hashlib

import crc32c
import pytest
from tests.unit.uploads.dialects.tus_client import BYTES, TUS, Client
from tests.unit.uploads.serving import Instance, Sending, content

from changeover.uploads import FileStore, Limits


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


# -- Expiration ------------------------------------------------------------------------------------------------------


async def test_an_upload_says_until_when_it_can_go_on_and_is_gone_then(store: FileStore) -> None:
    now = 0.0
    client = Client(Instance(store, limits=Limits(max_age=60), now=lambda: now))
    got = await client.create(5)
    assert got.headers["upload-expires"] == "Thu, 01 Jan 1970 00:01:00 GMT"
    assert (await client.patch(got.id, 0, b"hel")).headers["upload-expires"] == "Thu, 01 Jan 1970 00:01:00 GMT"
    now = 60.0
    assert (await client.patch(got.id, 3, b"lo")).status == 404
    assert (await client.head(got.id)).status == 404


async def test_a_complete_upload_has_no_end(client: Client) -> None:
    assert "upload-expires" not in (await client.create(5, b"hello")).headers


# -- Checksum --------------------------------------------------------------------------------------------------------


def checksum(algorithm: str, data: bytes) -> str:
    digest = crc32c.crc32c(data).to_bytes(4) if algorithm == "crc32c" else hashlib.new(algorithm, data).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


every_checksum = pytest.mark.parametrize("algorithm", ["sha1", "sha256", "crc32c"])


@every_checksum
async def test_bytes_with_their_checksum_are_kept(client: Client, algorithm: str) -> None:
    id = (await client.create(5)).id
    assert (await client.patch(id, 0, b"hello", upload_checksum=checksum(algorithm, b"hello"))).status == 204
    assert await content(client.instance, id) == b"hello"


@every_checksum
async def test_bytes_with_another_checksum_are_discarded(client: Client, algorithm: str) -> None:
    """'The Server MUST discard the received chunk and its progress'."""
    id = (await client.create(5, b"he")).id
    assert (await client.patch(id, 2, b"llo", upload_checksum=checksum(algorithm, b"LLO"))).status == 460
    assert (await client.head(id)).headers["upload-offset"] == "2"
    assert (await client.patch(id, 2, b"llo", upload_checksum=checksum(algorithm, b"llo"))).status == 204
    assert await content(client.instance, id) == b"hello"


@pytest.mark.parametrize("text", ["md5 aGVsbG8=", "sha1 !!", "sha1", ""])
async def test_a_checksum_that_is_not_offered_is_refused(client: Client, text: str) -> None:
    id = (await client.create(5)).id
    assert (await client.patch(id, 0, b"hello", upload_checksum=text)).status in (400, 460)
    assert (await client.head(id)).headers["upload-offset"] == "0"


async def test_nothing_unchecked_is_kept_of_a_client_that_hung_up(client: Client) -> None:
    id = (await client.create(5)).id
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    headers = {"content_type": BYTES, "upload_offset": "0", "upload_checksum": checksum("sha1", b"hello")}
    assert await client.instance.ask("PATCH", f"/{id}", body, **TUS, **headers) is None
    assert (await client.head(id)).headers["upload-offset"] == "0"


# -- Termination -----------------------------------------------------------------------------------------------------


async def test_a_terminated_upload_is_gone(client: Client) -> None:
    id = (await client.create(5, b"hel")).id
    assert (await client.ask("DELETE", f"/{id}")).status == 204
    assert (await client.head(id)).status == 404
    assert (await client.patch(id, 3, b"lo")).status == 404
    assert (await client.ask("DELETE", f"/{id}")).status == 404


# -- Concatenation ---------------------------------------------------------------------------------------------------


async def test_partial_uploads_are_joined_in_the_order_that_is_named(client: Client) -> None:
    a = await client.create(3, b"hel", upload_concat="partial")
    b = await client.create(2, b"lo", upload_concat="partial")
    assert not client.instance.finished
    named = f"final;{a.headers['location']} https://example.org/files/{b.headers['location']}"
    got = await client.ask("POST", "/", upload_concat=named, upload_metadata="name aGk=")
    assert got.status == 201
    assert await content(client.instance, got.id) == b"hello"
    assert [(finished.size, finished.metadata) for finished in client.instance.finished] == [(5, {"name": "hi"})]
    head = await client.head(got.id)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("5", "5")
    assert head.headers["upload-concat"] == named  # "and its value as received in the upload creation request"
    assert (await client.head(a.id)).headers["upload-concat"] == "partial"


async def test_a_partial_upload_can_be_joined_more_than_once(client: Client) -> None:
    place = (await client.create(2, b"ha", upload_concat="partial")).headers["location"]
    got = await client.ask("POST", "/", upload_concat=f"final;{place} {place}")
    assert await content(client.instance, got.id) == b"haha"


async def test_a_final_upload_takes_no_bytes(client: Client) -> None:
    a = await client.create(3, b"hel", upload_concat="partial")
    final = await client.ask("POST", "/", upload_concat=f"final;{a.headers['location']}")
    assert (await client.patch(final.id, 3, b"lo")).status == 403
    assert await content(client.instance, final.id) == b"hel"


async def test_what_is_not_a_complete_partial_upload_cannot_be_joined(client: Client) -> None:
    """Extension "concatenation-unfinished" is not offered."""
    unfinished = await client.create(3, b"he", upload_concat="partial")
    whole = await client.create(3, b"hel")
    for one in (unfinished, whole):
        assert (await client.ask("POST", "/", upload_concat=f"final;{one.headers['location']}")).status == 400
    assert (await client.ask("POST", "/", upload_concat="final;/files/" + "a" * 32)).status == 404
    assert (await client.ask("POST", "/", upload_concat="final;/elsewhere/" + "a" * 32)).status == 400


@pytest.mark.parametrize("text", ["final", "final;", "whole", "final ;/a", "partial;/a"])
async def test_a_concatenation_that_cannot_be_read_is_refused(client: Client, text: str) -> None:
    assert (await client.ask("POST", "/", upload_concat=text, upload_length="5")).status == 400


async def test_a_final_upload_may_be_larger_than_one_request(store: FileStore) -> None:
    client = Client(Instance(store, limits=Limits(max_append=3)))
    place = (await client.create(3, b"hel", upload_concat="partial")).headers["location"]
    got = await client.ask("POST", "/", upload_concat=f"final;{place} {place}")
    assert await content(client.instance, got.id) == b"helhel"


async def test_fields_to_keep_reach_the_handler_and_the_type_of_tus_does_not(store: FileStore) -> None:
    instance = Instance(store, keep_headers=("X-Album",))
    client = Client(instance)
    await client.create(5, b"hello", x_album="summer", content_disposition="attachment")
    assert instance.finished[0].headers == {"x-album": "summer", "content-disposition": "attachment"}
    part = (await client.create(5, b"hello", upload_concat="partial", x_album="other")).id
    await client.ask("POST", "/", upload_concat=f"final;/files/{part}", x_album="winter")
    assert instance.finished[1].headers == {"x-album": "winter"}


@pytest.mark.parametrize("url", ["http://[", "http://[::1", "//[", "http://[v1.x]:x/files/a"])
async def test_a_final_upload_of_what_is_no_url_is_refused(client: Client, url: str) -> None:
    assert 400 <= (await client.ask("POST", "/", upload_concat=f"final;{url}")).status < 500


async def test_a_final_upload_refuses_a_body_instead_of_losing_it(client: Client) -> None:
    part = (await client.create(5, b"hello", upload_concat="partial")).id
    got = await client.ask("POST", "/", b"more", upload_concat=f"final;/files/{part}")
    assert got.status == 400
    assert not client.instance.finished
