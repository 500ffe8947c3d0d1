"""What the join with a platform gives: the same for each, with what only this machine has beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from changeover.engine.timing import EngineTiming
from changeover.model.chain import Chain, Tier
from changeover.model.stop import Stop
from changeover.platforms.local.platform import LocalPlatform
from changeover.ports import Platform, RunningHop

if TYPE_CHECKING:
    from changeover.platforms.gcp.checkup import Checkup


@dataclass(frozen=True)
class Joined:
    """Keys are tier names. `chain`: with the sizes that the platform knows."""

    chain: Chain
    platform: Platform
    hops: Mapping[str, RunningHop]
    routing: Mapping[str, Tier]
    """Tier -> the tier in front of it that balances over its members."""
    membership_file: Callable[[str], str]
    """Where the router of a tier keeps its member list, if it has no other place."""
    stops: Mapping[str, Mapping[str, Stop]]
    timing: EngineTiming
    local: LocalPlatform | None = None
    checkup: Checkup | None = None
    """Reads the preconditions of a rollout, on Google Cloud."""
