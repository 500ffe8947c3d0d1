"""The least time a rollout could take: what the simulator and the reports measure a real controller against."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from changeover.rollout.strategies import canary
from changeover.rollout.strategies.next_actions import Target
from changeover.rollout.tier.state import RolloutSettings


def floor(rules: RolloutSettings, starts: Sequence[float], drains: Sequence[float]) -> float:
    """What an ideal controller needs for these starts and drains: nothing fails, and it sees and is obeyed at once.

    It is bound by the same ceiling and by the same least number that serve, so it goes in waves where the rules leave
    no other way: each lasts start + min_ready + what was in flight. An instance that failed instead of being drained
    counts as drained at once.
    """
    if rules.strategy == "blue-green":  # the old colour drains while the new one is baked
        return max(starts, default=0.0) + rules.min_ready + max(rules.bake, *drains, 0.0)
    size, now = rules.size, 0.0
    existing = serving = size
    coming, leaving = list(starts[:size])[::-1], [0.0] * (size - len(drains)) + list(drains[:size])[::-1]
    under_way: list[tuple[float, bool]] = []
    for new, gone in _stages(rules):
        while True:
            while len(coming) > size - new and existing < size + rules.surge:
                existing += 1
                heappush(under_way, (now + coming.pop() + rules.min_ready, True))
            while len(leaving) > size - gone and serving > size - rules.unavailable:
                serving -= 1
                heappush(under_way, (now + leaving.pop(), False))
            if not under_way:
                break
            now, came = heappop(under_way)
            serving += came
            existing -= not came
    return now


def _stages(rules: RolloutSettings) -> list[tuple[int, int]]:
    """How many are to be new, and how many old ones gone, before it is waited for all of them to be there."""
    stages = [(rules.size, rules.size)]
    if rules.strategy == "canary":
        want = Target("", rules.size, rules.surge, rules.unavailable)
        shares = [step.share for step in rules.steps if step.kind == "share"]
        needed = [canary.instances(share, want, weighed=rules.beside) for share in shares]
        stages[:0] = [(new, rules.size - old) for new, old in needed]
    return stages
