"""Uploads in parts, in any order and side by side."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.uploads.serving import Got, Instance, Sending, content, settled

from changeover.uploads import FileStore, Limits


@pytest.fixture
def client(instance: Instance) -> Client:
    return Client(instance)


class Client:
    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    async def create(self) -> str:
        got = await self.instance.got("POST", "/?parts")
        assert got.status == 201
        id: str = json.loads(got.body)["id"]
        assert json.loads(got.body)["url"] == got.headers["location"] == f"/files/{id}"
        return id

    async def put(self, id: str, number: Any, body: bytes | Sending) -> Got:
        return await self.instance.got("PUT", f"/{id}/parts/{number}", body)

    async def parts(self, id: str) -> list[tuple[int, int]]:
        got = await self.instance.got("GET", f"/{id}/parts")
        return [(part["part"], part["size"]) for part in json.loads(got.body)["parts"]]

    async def complete(self, id: str, *order: int) -> Got:
        return await self.instance.got(
            "POST", f"/{id}/complete", json.dumps({"parts": order}).encode() if order else b""
        )


async def test_parts_come_in_any_order_and_are_joined_by_number(client: Client) -> None:
    id = await client.create()
    got = await client.put(id, 2, b"lo")
    assert (got.status, json.loads(got.body)) == (200, {"part": 2, "size": 2})
    await client.put(id, 1, b"hel")
    assert await client.parts(id) == [(1, 3), (2, 2)]
    assert (await client.complete(id)).body == b"thanks"
    assert await content(client.instance, id) == b"hello"


async def test_parts_come_side_by_side(client: Client) -> None:
    id = await client.create()
    await asyncio.gather(*(client.put(id, number, b"%03d" % number) for number in range(1, 33)))
    await client.complete(id)
    assert await content(client.instance, id) == b"".join(b"%03d" % number for number in range(1, 33))


async def test_a_part_that_is_sent_again_takes_the_place_of_the_first(client: Client) -> None:
    id = await client.create()
    await client.put(id, 1, b"HELLO")
    await client.put(id, 1, b"hello")
    await client.complete(id)
    assert await content(client.instance, id) == b"hello"


async def test_only_the_parts_that_are_named_are_joined(client: Client) -> None:
    id = await client.create()
    for number, body in enumerate((b"hel", b"???", b"lo"), 1):
        await client.put(id, number, body)
    await client.complete(id, 1, 3)
    assert await content(client.instance, id) == b"hello"


async def test_a_part_that_is_missing_completes_nothing(client: Client) -> None:
    id = await client.create()
    await client.put(id, 1, b"hel")
    assert (await client.complete(id, 1, 2)).status == 400
    assert not client.instance.finished
    await client.put(id, 2, b"lo")
    assert (await client.complete(id, 1, 2)).status == 200


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"parts": []}', b'{"parts": [2, 1]}', b'{"parts": [1, 1]}', b"{}"])
async def test_a_list_that_makes_no_sense_is_refused(client: Client, body: bytes) -> None:
    id = await client.create()
    await client.put(id, 1, b"hel")
    await client.put(id, 2, b"lo")
    assert (await client.instance.got("POST", f"/{id}/complete", body)).status == 400


async def test_the_answer_is_given_again_to_who_completes_again(client: Client) -> None:
    id = await client.create()
    await client.put(id, 1, b"hello")
    assert (await client.complete(id)).body == (await client.complete(id)).body == b"thanks"
    assert len(client.instance.finished) == 1


async def test_a_complete_upload_takes_no_more_parts(client: Client) -> None:
    id = await client.create()
    await client.put(id, 1, b"hello")
    await client.complete(id)
    assert (await client.put(id, 1, b"HELLO")).status == 409
    assert await content(client.instance, id) == b"hello"


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", "01x", "99999999999"])
async def test_parts_are_numbered_from_1_to_10000(client: Client, number: str) -> None:
    id = await client.create()
    assert (await client.put(id, number, b"hello")).status == 400


async def test_a_part_whose_client_hung_up_leaves_nothing(client: Client) -> None:
    id = await client.create()
    body = Sending()
    body.send(b"hel")
    body.hang_up()
    assert await client.instance.ask("PUT", f"/{id}/parts/1", body) is None
    assert await client.parts(id) == []


async def test_a_part_that_is_begun_again_ends_its_first_attempt(client: Client) -> None:
    id = await client.create()
    body = Sending()
    old = asyncio.ensure_future(client.put(id, 1, body))
    body.send(b"HEL")
    await settled(body.pieces.empty)
    assert (await client.put(id, 1, b"hello")).status == 200
    assert (await old).status == 503
    assert await client.parts(id) == [(1, 5)]


async def test_an_upload_in_parts_can_be_given_up(client: Client) -> None:
    id = await client.create()
    await client.put(id, 1, b"hello")
    assert (await client.instance.got("DELETE", f"/{id}")).status == 204
    assert (await client.complete(id)).status == 404


async def test_parts_together_are_held_to_the_limit(store: FileStore) -> None:
    client = Client(Instance(store, limits=Limits(max_size=5)))
    id = await client.create()
    assert (await client.put(id, 1, b"hello!")).status == 413
    assert (await client.put(id, 1, b"hel")).status == 200
    assert (await client.put(id, 2, b"lo!")).status == 413
    assert (await client.put(id, 1, b"hello")).status == 200


async def test_bytes_of_an_upload_that_is_not_in_parts_are_not_replaced_by_parts(client: Client) -> None:
    id = (await client.instance.got("POST", "/", b"hel", upload_complete="?0")).id
    assert (await client.put(id, 1, b"x")).status == 400
    assert (await client.complete(id)).status == 400
    assert (await client.instance.got("HEAD", f"/{id}")).headers["upload-offset"] == "3"


async def test_an_upload_in_parts_is_not_appended_to(client: Client) -> None:
    id = await client.create()
    headers = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
    assert (await client.instance.got("PATCH", f"/{id}", b"hello", **headers)).status == 400
    assert not client.instance.finished


async def test_what_means_nothing_to_an_upload_in_parts_is_not_found(client: Client) -> None:
    id = await client.create()
    assert (await client.instance.got("POST", f"/{id}/parts/1", b"x")).status == 404
