"""Requests while too few instances are ready: a router in panic sends them to all that still accept connections."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.process.balanced import Balancer, Client, Start, Web, through_envoys, through_haproxy

from changeover.model.chain import Tier
from changeover.model.instance import Instance

STARTS = pytest.mark.parametrize("start", [through_haproxy, through_envoys], ids=["haproxy", "envoy"])


def tier(panic: str | None, affinity: str | dict[str, str] = "none") -> Tier:
    health = {"interval": "50ms", "rise": 1, "fall": 2, **({"panic": panic} if panic else {})}
    given = {"name": "web", "kind": "app", "templates": {"v1": {}}, "health": health, "affinity": affinity}
    return Tier.model_validate(given)


async def until_admitted(balancer: Balancer, members: list[Instance], *admitted: bool) -> None:
    async with asyncio.timeout(40):
        names = [member.name for member in members]
        while True:
            seen = await balancer.router.membership(frozenset(names))
            if [seen[name].admitted for name in names] == list(admitted):
                return
            await asyncio.sleep(0.02)


async def statuses(balancer: Balancer, count: int) -> set[str]:
    """What clients get: the names of instances, and `none` where no instance answered."""
    found = set()
    for number in range(count):
        try:
            found.add(await Client().get(balancer.at[number % len(balancer.at)]))
        except (AssertionError, asyncio.IncompleteReadError, OSError):
            found.add("none")
    return found


async def until_answered_by(balancer: Balancer, *names: str) -> None:
    """One failed check is not enough for a router, but enough for it not to count as admitted."""
    async with asyncio.timeout(40):
        while await statuses(balancer, 20) != set(names):
            await asyncio.sleep(0.02)


@STARTS
@pytest.mark.parametrize("affinity", ["none", {"cookie": "route"}], ids=["none", "cookie"])
def test_while_no_instance_is_ready_requests_go_to_all_that_answer(
    tmp_path: Path, start: Start, affinity: str | dict[str, str]
) -> None:
    async def go() -> None:
        async with AsyncExitStack() as stack:
            webs = [Web("web-v1-1"), Web("web-v1-2")]
            members = [await stack.enter_async_context(web.running()) for web in webs]
            balancer = await stack.enter_async_context(start(tmp_path, tier(None, affinity)))
            await balancer.admits(*members)
            for web in webs:
                web.ready = False
            await until_admitted(balancer, members, False, False)
            await until_answered_by(balancer, "web-v1-1", "web-v1-2")
            await balancer.removes(members[0])
            assert await statuses(balancer, 20) == {"web-v1-2"}
            webs[1].ready = True
            await until_admitted(balancer, members, False, True)
            await until_answered_by(balancer, "web-v1-2")
            await balancer.router.forget(members[0].name)

    asyncio.run(go())


@STARTS
def test_above_the_percentage_only_ready_instances_get_requests(tmp_path: Path, start: Start) -> None:
    async def go() -> None:
        async with AsyncExitStack() as stack:
            webs = [Web("web-v1-1"), Web("web-v1-2")]
            members = [await stack.enter_async_context(web.running()) for web in webs]
            balancer = await stack.enter_async_context(start(tmp_path, tier("50%")))
            await balancer.admits(*members)
            webs[0].ready = False
            await until_answered_by(balancer, "web-v1-2")
            assert await statuses(balancer, 20) == {"web-v1-2"}

    asyncio.run(go())


@STARTS
def test_without_panic_no_request_is_answered_while_no_instance_is_ready(tmp_path: Path, start: Start) -> None:
    async def go() -> None:
        async with AsyncExitStack() as stack:
            web = Web("web-v1-1")
            member = await stack.enter_async_context(web.running())
            balancer = await stack.enter_async_context(start(tmp_path, tier("0%")))
            await balancer.admits(member)
            web.ready = False
            await until_answered_by(balancer, "none")

    asyncio.run(go())
