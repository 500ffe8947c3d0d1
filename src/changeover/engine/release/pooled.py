"""Weights over pooled connections: which steps of a canary end before the pool in front has seen them.

A balancer that weighs connections decides once for each. A tier in front that keeps its connections open goes on using
those to the old instances, whatever the weights are by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from changeover.model.chain import Chain, Tier
from changeover.model.hop_traits import KnownHops

ConnectionLives = Mapping[str, float]
"""Tier -> seconds for which it uses a connection inward, of the tiers that pool them."""


@dataclass(frozen=True)
class ShortStep:
    """A step of `tier` that is shorter than the life of a connection from `pool`. Seconds."""

    tier: str
    pool: str
    step: float
    life: float


def short_steps(chain: Chain, hops: KnownHops, lives: ConnectionLives, weighing: Sequence[str]) -> list[ShortStep]:
    """The shortest such step of each tier, if it is a canary. `weighing`: tiers whose router weighs connections."""
    found = []
    for tier in chain.tiers:
        pool = _pool(chain, hops, lives, tier)
        times = [time for step in tier.update.steps if (time := _time(step.pause, step.analyse)) is not None]
        if tier.name not in weighing or pool is None or not times:
            continue
        if min(times) < (life := lives[pool]):
            found.append(ShortStep(tier.name, pool, min(times), life))
    return found


def _time(pause: object, analyse: float | None) -> float | None:
    return pause if isinstance(pause, float) else analyse


def _pool(chain: Chain, hops: KnownHops, lives: ConnectionLives, tier: Tier) -> str | None:
    """The tier that opens the connections to this one. One that passes bytes opens one for each that it gets."""
    for front in reversed(chain.path(tier.name)):
        if front.name in lives:
            return front.name
        if hops[front.kind].takes != "bytes":
            return None
    return None
