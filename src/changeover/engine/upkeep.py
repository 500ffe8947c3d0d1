"""What a chain needs from the outside while it runs: members that a router lost, certificates that were renewed.

The controller does both beside its rollouts, and the keeper at all other times. Refuses to start or stop anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.kit.clock import Clock
from changeover.model.instance import Instance
from changeover.ports import LosesMembers, RenewsCertificates, Unknown


async def restore_members(runtime: ChainRuntime, tiers: Collection[str], on_progress: ProgressListener) -> None:
    """Give the routers of these tiers, if they restarted, the members that they lost."""
    for tier in tiers:
        router = runtime.routers[tier]
        if isinstance(router, LosesMembers):
            with contextlib.suppress(Unknown):
                for text in await router.restore():
                    on_progress(Progress(Clock().now(), tier, text, level="warning"))


async def renew_certificates(
    runtime: ChainRuntime, instances: Collection[Instance], on_progress: ProgressListener
) -> None:
    """Have each of these instances serve its certificate as it is on the disk. One that does not answer is asked again
    at the next call."""
    for instance in instances:
        hop: object = runtime.hops.get(instance.tier)
        if isinstance(hop, RenewsCertificates):
            with contextlib.suppress(Unknown):
                now = Clock().now()
                for text in await hop.renew(instance, now):
                    on_progress(Progress(now, instance.tier, text, instance.name, level="warning"))
