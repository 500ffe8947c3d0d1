"""What a chain needs from the outside while it runs: members that a router lost, certificates that were renewed.

The controller does both beside its rollouts, and the keeper at all other times. Refuses to start or stop anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import INTERRUPTION, LogLine
from changeover.engine.runtime import ChainRuntime, Progress, ProgressListener
from changeover.kit.clock import Clock
from changeover.model.instance import Instance
from changeover.ports import LosesMembers, RenewsCertificates, Unknown


async def restore_members(
    runtime: ChainRuntime, tiers: Collection[str], journal: Journal, on_progress: ProgressListener
) -> None:
    """Give the routers of these tiers, if they restarted, the members that they lost.

    What may have broken requests is written into the log of a rollout in progress.
    """
    for tier in tiers:
        router = runtime.routers[tier]
        if isinstance(router, LosesMembers):
            with contextlib.suppress(Unknown):  # a rollout that needs the router says so
                for found in await router.restore():
                    now = Clock().now()
                    on_progress(Progress(now, tier, found.text, level="warning"))
                    if found.broke:
                        journal.write_incident(now, LogLine(INTERRUPTION, f"Router of tier {tier}: {found.text}."))


def silent_nodes(runtime: ChainRuntime) -> list[tuple[str, str]]:
    """Tier and node, for each node that did not answer when its members were to be restored."""
    routers = runtime.routers.items()
    return [(tier, node) for tier, router in routers if isinstance(router, LosesMembers) for node in router.silent]


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
