"""Blue-green is refused where routers send new instances requests before the switch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from changeover.engine.release.strategies import check_strategy
from changeover.model.chain import Chain
from changeover.model.errors import ChangeoverError
from changeover.model.update import Strategy
from changeover.rollout.tier.state import TierState


def check(router: object, strategy: Strategy | None, *, goal: str = "v2", own: Strategy = "rolling") -> None:
    tier = {"name": "web", "kind": "app", "templates": {"v1": {}, "v2": {}}, "update": {"strategy": own}}
    chain = Chain.model_validate({"tiers": [tier]})
    runtime: Any = SimpleNamespace(chain=chain, routers={"web": router})
    journal: Any = SimpleNamespace(tier=lambda name: TierState("v1"))
    check_strategy(runtime, journal, {"web": goal}, strategy)


ONE_GROUP = SimpleNamespace(follows_health=True, holds_new=False)
TWO_GROUPS = SimpleNamespace(follows_health=True, holds_new=True)


def test_by_an_option_as_by_the_chain_file() -> None:
    for strategy, own in (("blue-green", "rolling"), (None, "blue-green")):
        with pytest.raises(ChangeoverError, match="as soon as it is healthy"):
            check(ONE_GROUP, strategy, own=own)  # type: ignore[arg-type]


def test_two_groups_hold_back_another_template_but_no_restart() -> None:
    check(TWO_GROUPS, "blue-green")
    with pytest.raises(ChangeoverError, match="a restart creates the new instances in the group of the old ones"):
        check(TWO_GROUPS, "blue-green", goal="v1~3")


def test_other_strategies_and_routers_with_a_list_are_free() -> None:
    check(ONE_GROUP, None)
    check(ONE_GROUP, "canary", own="blue-green")
    check(object(), "blue-green", goal="v1~3")
