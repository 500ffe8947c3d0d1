"""A client stays at its instance, moves when that one leaves, and only then; at HAProxy and at Envoy alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.process.balanced import Balancer, Client, Start, Web, through_envoys, through_haproxy

from changeover.model.chain import Tier
from changeover.model.instance import Instance

BALANCERS = pytest.mark.parametrize("start", [through_haproxy, through_envoys], ids=["haproxy", "envoy"])


def tier(affinity: str | dict[str, str]) -> Tier:
    health = {"interval": "50ms", "rise": 1, "fall": 2}
    given = {"name": "web", "kind": "app", "templates": {"v1": {}}, "health": health, "affinity": affinity}
    return Tier.model_validate(given)


Story = Callable[[Balancer, list[Web], list[Instance]], Awaitable[None]]


def run(folder: Path, start: Start, affinity: str | dict[str, str], story: Story, **more: Any) -> None:
    """Tell it with three instances, of which two are members."""

    async def go() -> None:
        async with AsyncExitStack() as stack:
            webs = [Web(f"web-v1-{number}") for number in range(3)]
            instances = [await stack.enter_async_context(web.running()) for web in webs]
            balancer = await stack.enter_async_context(start(folder, tier(affinity), **more))
            await balancer.admits(*instances[:2])
            await story(balancer, webs, instances)

    asyncio.run(go())


@BALANCERS
def test_by_cookie_only_whose_instance_leaves_moves_and_moves_once(tmp_path: Path, start: Start) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        clients = [Client() for _ in range(12)]
        before = await balancer.answers(clients)
        assert {*before} == {"web-v1-0", "web-v1-1"}
        assert await balancer.answers(clients) == before
        await balancer.admits(instances[2])
        assert await balancer.answers(clients) == before
        # The request that its client has at the leaving instance is answered by it, all others go elsewhere.
        mine = before.index("web-v1-0")
        held = asyncio.create_task(clients[mine].get(balancer.at[0], "/held"))
        await webs[0].held.wait()
        await balancer.removes(instances[0])
        after = await balancer.answers(clients)
        webs[0].let_go.set()
        assert await held == "web-v1-0"
        assert "web-v1-0" not in after
        assert [now for was, now in zip(before, after, strict=True) if was != "web-v1-0"] == [
            "web-v1-1"
        ] * before.count("web-v1-1")
        assert await balancer.answers(clients) == after
        assert "web-v1-0" not in await balancer.answers([Client() for _ in range(12)])

    run(tmp_path, start, {"cookie": "route"}, story)


@BALANCERS
def test_by_cookie_a_client_that_keeps_none_goes_everywhere(tmp_path: Path, start: Start) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        client = Client(keeps_cookies=False)
        assert {*(await balancer.answers([client] * 12))} == {"web-v1-0", "web-v1-1"}
        assert client.set_cookie.startswith("route=")
        assert "httponly" in client.set_cookie.lower()
        assert "expires" not in client.set_cookie.lower()
        assert "max-age" not in client.set_cookie.lower()

    run(tmp_path, start, {"cookie": "route"}, story)


@BALANCERS
def test_a_member_that_was_taken_out_and_let_in_again_has_its_clients_back(tmp_path: Path, start: Start) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        clients = [Client() for _ in range(6)]
        before = await balancer.answers(clients)
        await balancer.removes(instances[0])
        await balancer.admits(instances[0])
        assert await balancer.answers(clients) == before

    run(tmp_path, start, {"cookie": "route"}, story)


async def moves_by_hash_alone(balancer: Balancer, clients: list[Client], instances: list[Instance]) -> None:
    """Who comes takes some clients from the others, and who leaves gives up its own.

    Envoy's Maglev table moves 0.05 % of all others besides, so one or two may be seen to; a plain hash would move half.
    """
    two = await balancer.answers(clients)
    assert {*two} == {"web-v1-0", "web-v1-1"}
    assert await balancer.answers(clients) == two
    await balancer.admits(instances[2])
    three = await balancer.answers(clients)
    assert {*three} == {"web-v1-0", "web-v1-1", "web-v1-2"}
    assert sum(was != now != "web-v1-2" for was, now in zip(two, three, strict=True)) <= 2
    await balancer.removes(instances[0])
    rest = await balancer.answers(clients)
    assert {*rest} == {"web-v1-1", "web-v1-2"}
    assert sum("web-v1-0" != was != now for was, now in zip(three, rest, strict=True)) <= 2


@BALANCERS
def test_by_header_clients_with_the_same_value_stay_together(tmp_path: Path, start: Start) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        await moves_by_hash_alone(balancer, [Client({"X-User": f"user{n}"}) for n in range(40)], instances)

    run(tmp_path, start, {"header": "X-User"}, story)


@BALANCERS
def test_by_address_behind_a_proxy_is_by_the_one_it_forwards(tmp_path: Path, start: Start) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        clients = [Client({"X-Forwarded-For": f"10.0.{n}.{n}"}) for n in range(40)]
        await moves_by_hash_alone(balancer, clients, instances)

    run(tmp_path, start, "client-ip", story)


def test_by_address_the_first_tier_goes_by_that_of_the_connection(tmp_path: Path) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        clients = [Client(source=f"127.0.{n}.{n + 1}") for n in range(40)]
        await moves_by_hash_alone(balancer, clients, instances)

    run(tmp_path, through_haproxy, "client-ip", story, first=True)


def test_the_first_tier_gets_the_address_of_the_client_and_passes_it_on(tmp_path: Path) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        (envoy,) = balancer.nodes
        gateway = tier("none").model_copy(update={"name": envoy.tier})
        folder = tmp_path / "in front"
        folder.mkdir()
        async with through_haproxy(folder, gateway, first=True, ready_path="/ready") as front:
            await front.admits(envoy)
            clients = [Client(source=f"127.0.0.{n + 2}") for n in range(20)]
            before = [(await front.answers([client]))[0] for client in clients]
            assert {*before} == {"web-v1-0", "web-v1-1"}
            assert {webs[0].forwarded, webs[1].forwarded} < {client.source for client in clients}
            assert await front.answers(clients) == before

    run(tmp_path, through_envoys, "client-ip", story, nodes=1, proxied=True)


@BALANCERS
def test_without_affinity_no_client_stays(tmp_path: Path, start: Start) -> None:
    async def story(balancer: Balancer, webs: list[Web], instances: list[Instance]) -> None:
        client = Client({"X-User": "user", "X-Forwarded-For": "10.0.0.1"})
        assert {await client.get(at) for at in balancer.at * 12} == {"web-v1-0", "web-v1-1"}
        assert client.set_cookie == ""

    run(tmp_path, start, "none", story)
