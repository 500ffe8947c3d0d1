"""PUT with Content-Range, as clients of Google Cloud Storage speak it."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.uploads.serving import Got, Instance, Sending, content, settled

from changeover.uploads import FileStore


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


class Client:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    async def create(self, **headers: str) -> str:
        got = await self.instance.got("POST", "/?uploadType=resumable", **headers)
        assert got.status == 200
        return got.id

    async def put(self, id: str, value: str, body: bytes | Sending = b"") -> Got:
        return await self.instance.got("PUT", f"/{id}", body, content_range=f"bytes {value}")


async def test_bytes_come_in_ranges_until_all_are_here(client: Client) -> None:
    id = await client.create(x_upload_content_type="image/png")
    got = await client.put(id, "0-2/*", b"hel")
    assert (got.status, got.headers["range"]) == (308, "bytes=0-2")
    got = await client.put(id, "3-4/5", b"lo")
    assert (got.status, got.body) == (200, b"thanks")
    assert await content(client.instance, id) == b"hello"
    assert client.instance.finished[0].headers == {"content-type": "image/png"}


async def test_a_length_that_was_announced_completes(client: Client) -> None:
    id = await client.create(x_upload_content_length="5")
    assert (await client.put(id, "0-4/*", b"hello")).status == 200


async def test_a_question_tells_how_far_it_is(client: Client) -> None:
    id = await client.create()
    got = await client.put(id, "*/*")
    assert got.status == 308
    assert "range" not in got.headers
    await client.put(id, "0-2/5", b"hel")
    got = await client.put(id, "*/5")
    assert (got.status, got.headers["range"]) == (308, "bytes=0-2")


async def test_a_question_with_the_length_of_what_is_here_completes(client: Client) -> None:
    id = await client.create()
    await client.put(id, "0-4/*", b"hello")
    assert (await client.put(id, "*/5")).body == b"thanks"


async def test_a_question_about_a_complete_upload_gets_its_answer_again(client: Client) -> None:
    id = await client.create()
    await client.put(id, "0-4/5", b"hello")
    assert (await client.put(id, "*/5")).body == b"thanks"
    assert (await client.put(id, "0-4/5", b"hello")).body == b"thanks"
    assert len(client.instance.finished) == 1


async def test_bytes_from_elsewhere_are_answered_with_how_far_it_is(client: Client) -> None:
    id = await client.create()
    await client.put(id, "0-2/5", b"hel")
    got = await client.put(id, "2-4/5", b"llo")
    assert (got.status, got.headers["range"]) == (308, "bytes=0-2")


@pytest.mark.parametrize("value", ["0-4", "4-0/5", "0-5/5", "a-b/c", "0-4/5, 5-6/7", "-1-4/5"])
async def test_a_range_that_cannot_be_read_is_refused(client: Client, value: str) -> None:
    id = await client.create()
    assert (await client.put(id, value, b"hello")).status == 400


async def test_a_range_that_its_body_contradicts_is_refused(client: Client) -> None:
    id = await client.create()
    assert (await client.put(id, "0-3/5", b"hello")).status == 400
    assert "range" not in (await client.put(id, "*/5")).headers


async def test_no_more_is_taken_of_a_body_than_its_range_says(client: Client) -> None:
    id = await client.create()
    body = Sending()
    body.send(b"hello")
    body.end()
    assert (await client.put(id, "0-2/9", body)).status == 400
    assert "range" not in (await client.put(id, "*/9")).headers


async def test_another_length_than_before_is_refused(client: Client) -> None:
    id = await client.create()
    await client.put(id, "0-2/5", b"hel")
    assert (await client.put(id, "3-4/6", b"lo")).status == 400


async def test_a_length_that_is_no_number_is_refused(instance: Instance) -> None:
    assert (await instance.got("POST", "/?uploadType=resumable", x_upload_content_length="many")).status == 400


async def test_a_part_is_never_taken_for_a_whole(instance: Instance) -> None:
    """RFC 9110, section 14.4: where it means nothing, a Content-Range is refused."""
    assert (await instance.got("PUT", "/", b"hel", content_range="bytes 0-2/5")).status == 400
    assert not instance.finished


async def test_a_question_ends_what_is_under_way(store: FileStore) -> None:
    client = Client(Instance(store))
    id = await client.create()
    body = Sending()
    old = asyncio.ensure_future(client.put(id, "0-4/5", body))
    body.send(b"hel")
    await settled(body.pieces.empty)
    assert (await client.put(id, "*/5")).headers["range"] == "bytes=0-2"
    assert (await old).status == 503
    assert (await client.put(id, "3-4/5", b"lo")).status == 200


async def test_a_put_without_a_range_brings_all_of_it(client: Client) -> None:
    id = await client.create()
    assert (await client.instance.got("PUT", f"/{id}", b"hello")).body == b"thanks"
    assert await content(client.instance, id) == b"hello"
    empty = await client.create()
    assert (await client.instance.got("PUT", f"/{empty}")).body == b"thanks"


async def test_a_put_without_a_range_does_not_overwrite_what_is_here(client: Client) -> None:
    id = await client.create()
    await client.put(id, "0-2/5", b"hel")
    got = await client.instance.got("PUT", f"/{id}", b"hello")
    assert (got.status, got.headers["range"]) == (308, "bytes=0-2")


async def test_a_put_that_says_nothing_of_its_size_is_refused(client: Client) -> None:
    id, body = await client.create(), Sending()
    body.send(b"hello")
    body.end()
    assert (await client.instance.got("PUT", f"/{id}", body)).status == 400
    assert "range" not in (await client.put(id, "*/5")).headers
