"""What `doctor` finds of the tiers that a command is about to move. It only asks; on this machine it asks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from changeover.cli.cloud_audit import examined
from changeover.cli.rendering.output import Output
from changeover.doctor.diagnosis import Diagnosis
from changeover.doctor.facts import UploadLoad
from changeover.doctor.verdict import refusals, unknown, warnings
from changeover.model.errors import ChangeoverError
from changeover.wiring import Wired

if TYPE_CHECKING:
    from changeover.platforms.gcp.reading import TierRead


async def findings(found: Wired, tiers: Collection[str]) -> list[Diagnosis]:
    """Those of these tiers, in the order of the chain."""
    return await _findings(found, tiers, await _read(found, tiers))


async def check_preconditions(output: Output, found: Wired, tiers: Collection[str]) -> Mapping[str, Any]:
    """Name what is unknown and what is a warning. Raises ChangeoverError with everything that is fatal.

    Returns what was read of each tier, for a platform that adopts them.
    """
    read = await _read(found, tiers)
    those = await _findings(found, tiers, read)
    for note in (*unknown(those), *warnings(those)):
        output.note(note)
    if problems := refusals(those):
        raise ChangeoverError(*problems)
    return read


async def _read(found: Wired, tiers: Collection[str]) -> Mapping[str, TierRead]:
    if (checkup := found.checkup) is None:
        return {}
    here = [tier for tier in found.chain.tiers if tier.name in tiers]
    read = await asyncio.gather(*map(checkup.read, here))
    return dict(zip((tier.name for tier in here), read, strict=True))


async def _findings(found: Wired, tiers: Collection[str], read: Mapping[str, TierRead]) -> list[Diagnosis]:
    if (checkup := found.checkup) is None:
        return []
    here = [tier for tier in found.chain.tiers if tier.name in tiers]
    facts = await asyncio.gather(*(checkup.facts(tier, UploadLoad(), read[tier.name]) for tier in here))
    return [one for its in facts for one in examined(its)]
