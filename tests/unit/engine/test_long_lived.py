"""Which connections count as long-lived, and that unknown ages are not none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from changeover.engine.long_lived import LongLived, ages_of, long_lived
from changeover.model.chain import Tier
from changeover.ports import Router, Unknown

TIER = Tier.model_validate({"name": "web", "kind": "app", "templates": {"v1": {}}})


class Aging:
    def __init__(self, answer: Mapping[str, Sequence[float]] | Unknown) -> None:
        self.answer = answer

    async def ages(self) -> Mapping[str, Sequence[float]]:
        if isinstance(self.answer, Unknown):
            raise self.answer
        return self.answer


def asked(router: object) -> Any:
    return asyncio.run(ages_of(cast(Router, router)))


def test_what_is_open_for_longer_than_the_tier_says_is_long_lived() -> None:
    ages = asked(Aging({"web-v1-1": [1.0, 30.0, 90.0]}))
    assert long_lived(TIER, ages, "web-v1-1") == LongLived(2, 90.0)
    assert long_lived(TIER, ages, "web-v1-2") == LongLived(0, 0.0)


def test_where_routers_do_not_know_ages_the_number_is_unknown() -> None:
    assert long_lived(TIER, asked(object()), "web-v1-1") is None
    assert long_lived(TIER, asked(Aging(Unknown("silent"))), "web-v1-1") is None
