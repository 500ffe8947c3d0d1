"""The least time that a rollout can take. The simulator and the reports compare a real controller with it."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from changeover.rollout.strategies import canary
from changeover.rollout.strategies.next_actions import Target
from changeover.rollout.tier.settings import RolloutSettings


def lower_bound(settings: RolloutSettings, starts: Sequence[float], drains: Sequence[float]) -> float:
    """Seconds that an ideal controller needs for these starts and drains: nothing fails, nothing is delayed.

    It keeps the same limits on instances that exist and that serve, so it goes in waves where the settings leave no
    other way: each wave lasts start + min_ready + drain. An instance that failed instead of draining drains in no time.
    """
    if settings.strategy == "blue-green":  # the old colour drains while the new one is baked
        return max(starts, default=0.0) + settings.min_ready + max(settings.bake, settings.watch, *drains, 0.0)
    size, now, admitted = settings.size, 0.0, 0.0
    existing = serving = size
    coming, leaving = list(starts[:size])[::-1], [0.0] * (size - len(drains)) + list(drains[:size])[::-1]
    under_way: list[tuple[float, bool]] = []
    for new, gone in _stages(settings):
        while True:
            while len(coming) > size - new and existing < size + settings.surge:
                existing += 1
                heappush(under_way, (now + coming.pop() + settings.min_ready, True))
            while len(leaving) > size - gone and serving > size - settings.unavailable:
                serving -= 1
                heappush(under_way, (now + leaving.pop(), False))
            if not under_way:
                break
            now, came = heappop(under_way)
            admitted = now if came else admitted
            serving += came
            existing -= not came
    return max(now, admitted + settings.watch)


def _stages(settings: RolloutSettings) -> list[tuple[int, int]]:
    """How many new instances each stage adds up to, and how many old ones it has taken away."""
    stages = [(settings.size, settings.size)]
    if settings.strategy == "canary":
        wanted = Target("", settings.size, settings.surge, settings.unavailable)
        shares = [step.share for step in settings.steps if step.kind == "share"]
        needed = [canary.instances(share, wanted, weighed=settings.canary_beside_all) for share in shares]
        stages[:0] = [(new, settings.size - old) for new, old in needed]
    return stages
