"""The share that a router gives an instance is the one it was set to, at HAProxy and at Envoy.

The bound is the exact binomial one, two-sided, with one false alarm in a million: requests that were drawn one by one
would keep to it, and a round robin by weight lies far within.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.process.balanced import Balancer, Client, Start, Web, through_envoys, through_haproxy
from tests.process.test_affinity import tier

from changeover.model.instance import Instance

REQUESTS = 1000
FALSE_ALARM = 1e-6


def chance(got: int, share: float) -> float:
    """How likely so uneven a count is, if each request goes there with that probability."""
    from scipy.stats import binomtest  # here: it is a twentieth of what every worker imports

    return float(binomtest(got, REQUESTS, share).pvalue)


async def measure(balancer: Balancer, member: Instance, *, reads: bool) -> int:
    """Requests, of new clients, that it gets of REQUESTS; over one connection to each node that reads requests."""
    got = 0
    for at in balancer.at:
        reader, writer = await asyncio.open_connection(at.host, at.port)
        with contextlib.closing(writer):
            for _ in range(REQUESTS // len(balancer.at)):
                if reads:
                    got += await Client().get_on(reader, writer) == member.name
                else:
                    got += await Client().get(at) == member.name
    return got


@pytest.mark.parametrize("affinity", ["none", {"cookie": "route"}], ids=["requests", "new sessions"])
@pytest.mark.parametrize("start", [through_haproxy, through_envoys], ids=["haproxy", "envoy"])
def test_the_measured_share_is_the_one_that_was_set_and_not_another(
    tmp_path: Path, start: Start, affinity: str | dict[str, str]
) -> None:
    async def go() -> None:
        async with AsyncExitStack() as stack:
            members = [await stack.enter_async_context(Web(f"web-v1-{n}").running()) for n in range(3)]
            balancer = await stack.enter_async_context(start(tmp_path, tier(affinity)))
            await balancer.admits(*members)
            canary = members[2]
            for member, weight in zip(members, (90, 90, 20), strict=True):  # a tenth for the last one
                await balancer.weighs(member, weight)
            got = await measure(balancer, canary, reads=affinity != "none" or start is through_envoys)
            assert chance(got, 0.10) >= FALSE_ALARM, got
            assert chance(got, 0.20) < FALSE_ALARM, "a share of 20 % would not have been noticed"
            assert chance(got, 1 / 3) < FALSE_ALARM, "nor would one that was never set"

    asyncio.run(go())
