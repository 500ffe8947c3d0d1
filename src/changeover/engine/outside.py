"""Checks routers outside of the chain, which another operator configures: whether they can do what a rollout needs.

Runs before a command starts anything: a rollout would wait without end for a router that refuses a change.
"""

from __future__ import annotations

from collections.abc import Collection

from changeover.engine.runtime import ChainRuntime
from changeover.model.errors import ChangeoverError, Problem
from changeover.ports import ChecksAhead


async def check_routers(runtime: ChainRuntime, tiers: Collection[str]) -> None:
    """Raises ChangeoverError with every reason why a router of one of these tiers will not do."""
    problems = [
        Problem(f"the router of tier {tier} cannot be used: {fault}", state="Nothing was started or changed.")
        for tier, router in runtime.routers.items()
        if tier in tiers and isinstance(router, ChecksAhead)
        for fault in await router.faults()
    ]
    if problems:
        raise ChangeoverError(*problems)
