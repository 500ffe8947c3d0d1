"""Whether the routers of a tier can do what a strategy asks of them, and which keys it leaves unread."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from changeover.engine.journal.journal import Journal
from changeover.engine.runtime import ChainRuntime
from changeover.model.errors import fail
from changeover.model.revision import is_restart
from changeover.model.update import Strategy
from changeover.model.without_effect import OF_STRATEGY, of_other_strategies
from changeover.ports import FollowsHealth


def check_strategy(
    runtime: ChainRuntime, journal: Journal, targets: Mapping[str, str], strategy: Strategy | None
) -> None:
    """Refuse blue-green where routers send new instances requests before the switch. Raises ChangeoverError."""
    for name, goal in targets.items():
        tier, state = runtime.chain.tier(name), journal.tier(name)
        if tier is None or (strategy or tier.update.strategy) != "blue-green":
            continue
        if not isinstance(router := runtime.routers[name], FollowsHealth):
            continue
        what, ways = f"the routers of tier {name} send requests to an instance as soon as it is healthy", ""
        if router.holds_new:
            if state is None or not is_restart(state.goal, goal):
                continue
            what += ", and a restart creates the new instances in the group of the old ones"
        else:
            ways = ", or `second_group` in the chain file"
        raise fail(
            f"{what}: blue-green cannot hold them back until the switch",
            state="Nothing was changed.",
            next=f"Use `--strategy rolling` or `--strategy canary`{ways}.",
        )


def unread_keys(
    runtime: ChainRuntime, targets: Collection[str], strategy: Strategy | None
) -> Iterator[tuple[str, str, Strategy]]:
    """Tier, key of its `update`, and the strategy that it is for, of each key that this roll does not read."""
    for tier in runtime.chain.tiers:
        if tier.name in targets:
            for key in of_other_strategies(tier, strategy or tier.update.strategy):
                yield tier.name, key, OF_STRATEGY[key]
