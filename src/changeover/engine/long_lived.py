"""What of an instance's connections is long-lived: open for longer than `drain.long_lived.after` of its tier.

Refuses to guess: where the routers do not know the ages, the answer is unknown, and not none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from changeover.model.chain import Tier
from changeover.ports import Router, SeesAges, Unknown


@dataclass(frozen=True)
class LongLived:
    """The long-lived connections of one instance. `oldest`: seconds, 0 without any."""

    connections: int
    oldest: float


Ages = Mapping[str, Sequence[float]]


async def ages_of(router: Router) -> Ages | None:
    """Instance -> seconds for which each of its connections has been open; None: its routers do not know."""
    if not isinstance(router, SeesAges):
        return None
    try:
        return await router.ages()
    except Unknown:
        return None


def long_lived(tier: Tier, ages: Ages | None, instance: str) -> LongLived | None:
    """The long-lived connections of an instance of that tier; None: unknown."""
    if ages is None:
        return None
    old = [age for age in ages.get(instance, ()) if age >= tier.drain.long_lived.after]
    return LongLived(len(old), max(old, default=0.0))
